// PostgreSQL, protocol version 3: startup, simple and extended queries, COPY. Operations and what the server says of them
// come in the same order; an error skips to the next Sync.
#include <unordered_map>

#include "observe/l7/parser.h"
#include "observe/l7/redact.h"
#include "observe/l7/sql.h"

namespace beeline::observe::l7 {
namespace {

using model::L7;

constexpr std::uint32_t kCancel = 80877102;
constexpr std::uint32_t kSsl = 80877103;
constexpr std::uint32_t kGss = 80877104;
constexpr std::size_t kLongestStartup = 10000;
constexpr std::size_t kWantedText = 4096; // of a statement
constexpr std::size_t kMaxStatements = 256;

constexpr std::string_view kClientTypes = "QPBEDCSHFXpdcf";
constexpr std::string_view kServerTypes = "RSKZTDCENA123nItGHWdcsvV";

bool is_startup_code(std::uint32_t code) {
    return (code >> 16U == 3 && (code & 0xffffU) < 16) || code == kCancel || code == kSsl ||
           code == kGss;
}

Match detect(const Start& start) {
    if (start.datagram) return Match::no;
    if (start.client.empty()) return start.server.empty() ? Match::more : Match::no;
    if (start.middle) {
        // Whole messages, the first a statement, the last one that asks for an answer.
        Reader in(start.client);
        char type = 0;
        for (bool first = true; in.left() != 0; first = false) {
            type = static_cast<char>(in.u8());
            const std::uint32_t size = in.u32();
            if (kClientTypes.find(type) == std::string_view::npos ||
                (first && type != 'Q' && type != 'P' && type != 'B') || size < 4)
                return Match::no;
            in.skip(size - 4);
            if (!in.ok()) return Match::no;
        }
        return type == 'Q' || type == 'S' ? Match::likely : Match::no;
    }
    Reader in(start.client);
    const std::uint8_t high = in.u8();
    const std::uint8_t next = in.u8();
    if (high != 0 || next != 0) return Match::no;
    if (start.client.size() < 8) return Match::more;
    in = Reader(start.client);
    const std::uint32_t size = in.u32();
    return size >= 8 && size <= kLongestStartup && is_startup_code(in.u32()) ? Match::yes
                                                                             : Match::no;
}

class Postgresql final : public Parser {
public:
    explicit Postgresql(Context& context) : context_(context) {}
    ~Postgresql() override {
        for (const Operation& operation : operations_)
            context_.stats.unanswered += operation.told ? 1 : 0;
    }

    void middle() override { started_ = searching_ = true; }

    // A client that waits for ReadyForQuery shows where its next batch starts, and the answer to that.
    bool lost(Side side) override {
        if (!started_ || asked_ || ignoring_ || searching_) return false;
        if (side == Side::client) {
            forget_operations();
            ignoring_ = true;
            ready_ = failed_ = false;
            return true;
        }
        if (batches() != 1 || operations_.front().kind == Kind::startup) return false;
        Operation& front = operations_.front();
        if (front.told && front.answer_ns != 0) {
            L7 answer = front.answer ? std::move(*front.answer) : answer_of(front, std::nullopt);
            if (answer.error.empty())
                answer.status = L7::Status::unknown; // an error may stand behind the rows
            context_.emit(front.answer_ns, std::move(answer));
            front.told.reset();
        }
        forget_operations();
        searching_ = true;
        return true;
    }

    bool enter(const In& in) override {
        if (in.side == Side::client) {
            if ((ignoring_ && !ready_) ||
                detect({.client = in.data, .server = {}, .middle = true, .datagram = false}) ==
                    Match::no)
                return false;
            ignoring_ = false;
            return true;
        }
        if (operations_.empty()) return false;
        Reader reader(in.data);
        for (bool first = true; reader.left() >= 5; first = false) {
            const char type = static_cast<char>(reader.u8());
            const std::uint32_t size = reader.u32();
            const std::string_view types = first ? std::string_view("123TCEGHInt") : kServerTypes;
            if (types.find(type) == std::string_view::npos || size < 4 || size > 1U << 30U)
                return false;
            reader.skip(std::min<std::size_t>(size - 4, reader.left()));
        }
        if (in.data.size() < 5) return false;
        searching_ = false;
        return true;
    }

    Step read(const In& in) override {
        if (in.side == Side::client && !started_) return startup(in);
        if (in.side == Side::server && asked_) {
            // One byte says whether the connection becomes encrypted.
            const char answer = text_of(in.data).front();
            if (answer == 'S' || answer == 'G') return Step::give_up(GiveUp::encrypted);
            if (answer != 'N') return Step::give_up(GiveUp::malformed);
            asked_ = false;
            return Step::take(1);
        }
        if (in.data.size() < 5) return Step::more();
        Reader reader(in.data);
        const char type = static_cast<char>(reader.u8());
        const std::uint32_t size = reader.u32();
        const std::string_view types = in.side == Side::client ? kClientTypes : kServerTypes;
        if (types.find(type) == std::string_view::npos || size < 4 || size > 1U << 30U)
            return Step::give_up(GiveUp::malformed);
        const std::size_t length = size - 4;
        const std::size_t wanted = std::min(length, wants(in.side, type));
        if (reader.left() < wanted && !in.cut) return Step::more();
        const bool whole = reader.left() >= length;
        const Bytes body = reader.take(std::min(std::min(reader.left(), wanted), length));
        const auto failure = in.side == Side::client
                                 ? sent(in, type, body, !whole || wanted < length, length)
                                 : answered(in, type, body, length);
        return failure ? Step::give_up(*failure) : Step::take(5 + length);
    }

private:
    enum class Kind : std::uint8_t { startup, query, parse, bind, describe, close, execute, sync };
    struct Operation {
        Kind kind;
        std::uint64_t time_ns = 0;
        std::shared_ptr<const L7> told; // of those that are messages
        std::optional<L7> statement;    // of parse: told only when it fails
        std::optional<L7> answer;       // of query, startup: until the server is ready
        std::uint64_t answer_ns = 0;
        std::uint64_t bytes = 0;
    };

    static std::size_t wants(Side side, char type) {
        if (side == Side::server) return type == 'E' ? 1024 : 0;
        switch (type) {
        case 'Q':
        case 'P': return kWantedText;
        case 'B':
        case 'E':
        case 'C': return 256;
        default: return 0;
        }
    }

    Step startup(const In& in) {
        if (in.data.size() < 8) return Step::more();
        Reader reader(in.data);
        const std::uint32_t size = reader.u32();
        const std::uint32_t code = reader.u32();
        if (size < 8 || size > kLongestStartup || !is_startup_code(code))
            return Step::give_up(GiveUp::malformed);
        if (code == kSsl || code == kGss) {
            asked_ = true;
            return Step::take(size);
        }
        if (reader.left() < size - 8) return Step::more();
        started_ = true;
        if (code == kCancel) return Step::take(size);
        Reader fields(reader.take(size - 8));
        std::string_view user;
        std::string_view database;
        for (;;) {
            const std::string_view name = fields.zero_terminated();
            if (name.empty()) break;
            const std::string_view value = fields.zero_terminated();
            if (name == "user") user = value;
            if (name == "database") database = value;
        }
        database_ = context_.text(database.empty() ? user : database);
        L7 request = message();
        request.method = "CONNECT";
        Operation operation{Kind::startup, in.time_ns};
        operation.told = context_.emit(in.time_ns, std::move(request));
        operations_.push_back(std::move(operation));
        return Step::take(size);
    }

    L7 message() const {
        L7 out;
        out.protocol = L7::Protocol::postgresql;
        out.host = database_;
        return out;
    }

    // --- what the client sends

    std::optional<GiveUp> sent(const In& in, char type, Bytes body, bool part, std::size_t length) {
        Reader reader(body);
        const auto statement = [&](std::string_view text, bool cut) {
            L7 out = message();
            set_statement(out, text, cut, SqlDialect::standard, context_);
            out.request_bytes = length;
            return out;
        };
        const auto rest = [&] { // a text up to its zero, or as far as it is there
            std::string_view text = text_of(reader.rest());
            return text.substr(0, text.find('\0'));
        };
        // After an error the server leaves out everything up to the next Sync.
        if (type == 'S') failed_ = false;
        if (failed_) return std::nullopt;
        Operation operation{Kind::sync, in.time_ns};
        switch (type) {
        case 'Q': {
            const std::string_view text = rest();
            operation.kind = Kind::query;
            operation.told =
                context_.emit(in.time_ns, statement(text, part && text.size() == body.size()));
            break;
        }
        case 'P': {
            const std::string name(reader.zero_terminated());
            if (!reader.ok()) return GiveUp::lost;
            const std::string_view text = rest();
            operation.kind = Kind::parse;
            operation.statement = statement(text, part && text.size() == reader.left());
            remember(statements_, name, *operation.statement);
            break;
        }
        case 'B': {
            const std::string portal(reader.zero_terminated());
            const std::string name(reader.zero_terminated());
            if (!reader.ok()) return GiveUp::lost;
            operation.kind = Kind::bind;
            const auto found = statements_.find(name);
            L7 bound = found != statements_.end() ? found->second : message();
            bound.request_bytes = length;
            remember(portals_, portal, bound);
            break;
        }
        case 'E': {
            const std::string portal(reader.zero_terminated());
            if (!reader.ok()) return GiveUp::lost;
            operation.kind = Kind::execute;
            const auto found = portals_.find(portal);
            L7 request = found != portals_.end() ? found->second : message();
            if (request.method.empty() && request.url.empty()) request.method = "EXECUTE";
            operation.told = context_.emit(in.time_ns, std::move(request));
            break;
        }
        case 'C':
            operation.kind = Kind::close;
            if (reader.u8() == 'S' && reader.ok()) statements_.erase(std::string(rest()));
            break;
        case 'D': operation.kind = Kind::describe; break;
        case 'S': break;
        case 'F':
            operation.kind = Kind::query;
            break;                    // a call of a function, which nobody uses any more
        default: return std::nullopt; // password, COPY data, Flush, Terminate
        }
        if (operations_.size() >= 4 * context_.options.max_outstanding) return GiveUp::outstanding;
        operations_.push_back(std::move(operation));
        // A batch before the answer to the last one was found: which answer comes next cannot be known.
        return searching_ && batches() > 1 ? std::optional(GiveUp::lost) : std::nullopt;
    }

    // How many times the server will say that it is ready.
    [[nodiscard]] std::size_t batches() const {
        std::size_t count = 0;
        for (const Operation& operation : operations_)
            count += operation.kind == Kind::query || operation.kind == Kind::sync ||
                             operation.kind == Kind::startup
                         ? 1
                         : 0;
        return count;
    }

    void forget_operations() {
        for (const Operation& operation : operations_)
            context_.stats.unanswered += operation.told ? 1 : 0;
        operations_.clear();
    }

    static void remember(std::unordered_map<std::string, L7>& map, const std::string& name,
                         const L7& statement) {
        if (map.size() >= kMaxStatements && map.find(name) == map.end()) map.erase(map.begin());
        map.insert_or_assign(name, statement);
    }

    // --- what the server says

    std::optional<GiveUp> answered(const In& in, char type, Bytes body, std::size_t length) {
        if (type == 'N' || type == 'A' || type == 'S' || type == 'K' || type == 'R' || type == 'v')
            return std::nullopt;
        if (type == 'W') return GiveUp::tunnel; // replication
        if (ignoring_) {
            ready_ |= type == 'Z';
            return std::nullopt;
        }
        if (operations_.empty())
            return type == 'E' ? std::nullopt : std::optional(GiveUp::malformed);
        Operation& front = operations_.front();
        if (front.answer_ns == 0) front.answer_ns = in.time_ns;
        front.bytes += length;
        const auto pop_if = [&](Kind kind) -> std::optional<GiveUp> {
            if (front.kind != kind) return GiveUp::malformed;
            operations_.pop_front();
            return std::nullopt;
        };
        const bool simple = front.kind == Kind::query || front.kind == Kind::startup;
        switch (type) {
        case '1': return pop_if(Kind::parse);
        case '2': return pop_if(Kind::bind);
        case '3': return pop_if(Kind::close);
        case 'T':
        case 'n':
            return simple || front.kind == Kind::execute ? std::nullopt : pop_if(Kind::describe);
        case 'C':
        case 'I':
        case 's':
            if (simple) return std::nullopt; // more may come before the server is ready
            if (front.kind != Kind::execute) return GiveUp::malformed;
            tell(front, std::nullopt);
            operations_.pop_front();
            return std::nullopt;
        case 'E': error(front, body); return std::nullopt;
        case 'Z':
            if (!simple && front.kind != Kind::sync) return GiveUp::malformed;
            if (simple) tell(front, std::nullopt);
            operations_.pop_front();
            return std::nullopt;
        default: return std::nullopt; // rows, COPY
        }
    }

    void error(Operation& front, Bytes body) {
        std::string_view code;
        std::string_view text;
        for (Reader reader(body); reader.left() != 0;) {
            const char field = static_cast<char>(reader.u8());
            const std::string_view value = reader.zero_terminated();
            if (field == 'C') code = value;
            if (field == 'M') text = value;
        }
        // SQLSTATE first. An error whose text was not captured is one all the same.
        std::string error(code);
        if (!text.empty()) (error += ' ') += redact_text(text, context_.options);
        if (front.kind == Kind::query) {
            if (front.told) front.answer = answer_of(front, error);
            return;
        }
        if (front.statement) front.told = context_.emit(front.time_ns, *front.statement);
        tell(front, error);
        if (front.kind == Kind::startup) return operations_.pop_front();
        // Everything up to Sync is left out, be it sent already or not. What was told waits in vain.
        while (!operations_.empty() && operations_.front().kind != Kind::sync) {
            context_.stats.unanswered += operations_.front().told ? 1 : 0;
            operations_.pop_front();
        }
        failed_ = operations_.empty();
    }

    L7 answer_of(const Operation& operation, const std::optional<std::string>& error) const {
        L7 answer =
            Outstanding::answer({operation.told, operation.time_ns, 0, 0}, operation.answer_ns);
        answer.status = error ? L7::Status::error : L7::Status::ok;
        answer.error = context_.text(error.value_or(""));
        return answer;
    }

    void tell(Operation& operation, const std::optional<std::string>& error) {
        if (!operation.told) return;
        L7 answer = operation.answer ? std::move(*operation.answer) : answer_of(operation, error);
        answer.response_bytes = operation.bytes;
        context_.emit(operation.answer_ns, std::move(answer));
        operation.told.reset();
    }

    Context& context_;
    bool started_ = false;
    bool asked_ = false;     // for encryption, and waits for the answer
    bool ignoring_ = false;  // of the client something was lost: answers have no questions
    bool ready_ = false;     // ... and have all come
    bool searching_ = false; // of the server
    bool failed_ = false;    // the server reads on from the next Sync
    std::string database_;
    std::deque<Operation> operations_;
    std::unordered_map<std::string, L7> statements_;
    std::unordered_map<std::string, L7> portals_;
};

} // namespace

const ProtocolEntry kPostgresql = {L7::Protocol::postgresql,
                                   {5432, 6432, 0, 0},
                                   ProtocolEntry::Middle::quiet,
                                   detect,
                                   [](Context& context) -> std::unique_ptr<Parser> {
                                       return std::make_unique<Postgresql>(context);
                                   }};

} // namespace beeline::observe::l7
