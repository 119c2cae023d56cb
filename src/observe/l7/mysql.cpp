// MySQL and MariaDB: handshake, text and prepared statements, results of every shape. What a packet means depends on the
// capabilities of the handshake, so a connection is read from its beginning or not at all.
#include <unordered_map>

#include "observe/l7/parser.h"
#include "observe/l7/redact.h"
#include "observe/l7/sql.h"

namespace beeline::observe::l7 {
namespace {

using model::L7;

constexpr std::size_t kLongestPacket = 0xffffff; // the next packet goes on with it
constexpr std::size_t kWantedText = 4096;
constexpr std::size_t kWantedEnd = 512; // of what ends a result
constexpr std::size_t kMaxStatements = 256;

enum Capability : std::uint64_t {
    kOracle = 1, // clear: MariaDB, which has more capabilities
    kWithDatabase = 1U << 3U,
    kCompress = 1U << 5U,
    kProtocol41 = 1U << 9U,
    kSsl = 1U << 11U,
    kSecure = 1U << 15U,
    kLongAuth = 1U << 21U,
    kNoEof = 1U << 24U,
    kOptionalMetadata = 1U << 25U,
    kZstd = 1U << 26U,
    kAttributes = 1U << 27U,
    kCachedMetadata = 1ULL << 36U, // of MariaDB
};

enum Command : std::uint8_t {
    kQuit = 0x01,
    kInitDb = 0x02,
    kQuery = 0x03,
    kFieldList = 0x04,
    kStatistics = 0x09,
    kPing = 0x0e,
    kChangeUser = 0x11,
    kBinlog = 0x12,
    kTableDump = 0x13,
    kRegister = 0x15,
    kPrepare = 0x16,
    kExecute = 0x17,
    kLongData = 0x18,
    kClose = 0x19,
    kFetch = 0x1c,
    kBinlogGtid = 0x1e,
    kBulk = 0xfa,
};

enum Status : std::uint16_t { kMoreResults = 0x8, kCursor = 0x40 };

std::uint64_t length_encoded(Reader& in) {
    const std::uint8_t first = in.u8();
    switch (first) {
    case 0xfc: return in.le16();
    case 0xfd: return in.le24();
    case 0xfe: return in.le64();
    default: return first;
    }
}

Match detect(const Start& start) {
    if (start.datagram || start.middle || !start.client.empty()) return Match::no;
    if (start.server.empty()) return Match::more;
    Reader in(start.server);
    const std::uint32_t size = in.le24();
    const std::uint8_t sequence = in.u8();
    const std::uint8_t version = in.u8();
    if (!in.ok())
        return start.server.size() < 3 || (size > 40 && size < 512) ? Match::more : Match::no;
    if (sequence != 0 || version != 10 || size < 40 || size > 512) return Match::no;
    if (in.left() < size - 1) return Match::more;
    const std::string_view name = in.zero_terminated();
    if (!in.ok() || name.empty() || name.size() > 128) return Match::no;
    return name.front() >= '0' && name.front() <= '9' ? Match::yes : Match::no;
}

class Mysql final : public Parser {
public:
    explicit Mysql(Context& context) : context_(context) {}
    ~Mysql() override {
        for (const Operation& operation : operations_)
            context_.stats.unanswered += operation.told ? 1 : 0;
    }

    // The answer to a client's next command starts with number 1, and nothing else comes in between.
    bool lost(Side side) override {
        if (side == Side::client || phase_ != Phase::commands || searching_ ||
            operations_.size() != 1)
            return false;
        Operation& front = operations_.front();
        if (front.told && front.answer_ns != 0) {
            L7 answer = answer_of(front); // its status stands behind the rows
            answer.response_bytes = 0;
            context_.emit(front.answer_ns, std::move(answer));
        } else if (front.told) {
            ++context_.stats.unanswered;
        }
        operations_.pop_front();
        goes_on_[1] = false;
        return searching_ = true;
    }

    bool enter(const In& in) override {
        if (in.side == Side::client || operations_.size() != 1 || in.data.size() < 5) return false;
        Reader reader(in.data);
        for (std::uint8_t expected = 1; reader.left() >= 4; ++expected) {
            const std::uint32_t size = reader.le24();
            if (reader.u8() != expected || size == 0) return false;
            reader.skip(std::min<std::size_t>(size, reader.left()));
        }
        searching_ = false;
        return true;
    }

    Step read(const In& in) override {
        if (in.data.size() < 4) return Step::more();
        Reader reader(in.data);
        const std::uint32_t size = reader.le24();
        const std::uint8_t sequence = reader.u8();
        const Half half{in, size, sequence};
        bool& goes_on = goes_on_[static_cast<std::size_t>(in.side)];
        if (goes_on) {
            goes_on = size == kLongestPacket;
            return Step::take(4 + static_cast<std::uint64_t>(size));
        }
        if (size != 0 && reader.left() == 0) return Step::more();
        const std::uint8_t first = size != 0 ? static_cast<std::uint8_t>(reader.rest()[0]) : 0;
        const std::size_t wanted = std::min<std::size_t>(size, wants(in.side, first));
        if (reader.left() < wanted &&
            (!in.cut || phase_ == Phase::greeting || phase_ == Phase::login))
            return Step::more();
        const Bytes body =
            reader.take(std::min<std::size_t>(std::min<std::size_t>(reader.left(), wanted), size));
        goes_on = size == kLongestPacket;
        const auto failure =
            in.side == Side::client ? sent(half, first, body) : answered(half, first, body);
        return failure ? Step::give_up(*failure) : Step::take(4 + static_cast<std::uint64_t>(size));
    }

private:
    enum class Phase : std::uint8_t { greeting, login, authentication, commands };
    enum class Wait : std::uint8_t {
        first,
        columns,
        columns_end,
        rows,
        parameters,
        parameters_end
    };
    struct Half {
        const In& in;
        std::uint32_t size;
        std::uint8_t sequence;
    };
    struct Operation {
        std::uint8_t command = 0;
        std::uint64_t time_ns = 0;
        std::shared_ptr<const L7> told;
        std::optional<L7> statement; // of Prepare: told only when it fails
        std::string database;        // of InitDb
        Wait wait = Wait::first;
        std::uint64_t left = 0;  // definitions of columns, of parameters
        std::uint64_t after = 0; // columns behind the parameters
        std::uint64_t answer_ns = 0;
        std::uint64_t bytes = 0;
    };

    std::size_t wants(Side side, std::uint8_t first) const {
        if (phase_ == Phase::greeting || phase_ == Phase::login) return 4096;
        if (side == Side::client) return phase_ == Phase::authentication ? 0 : kWantedText;
        if (!operations_.empty() && operations_.front().wait == Wait::first) return kWantedEnd;
        return first == 0xff || first == 0xfe ? kWantedEnd : 1;
    }

    L7 message(std::string method) const {
        L7 out;
        out.protocol = L7::Protocol::mysql;
        out.host = database_;
        out.method = std::move(method);
        return out;
    }

    // --- what the client sends

    std::optional<GiveUp> sent(const Half& half, std::uint8_t command, Bytes body) {
        if (phase_ == Phase::greeting) return GiveUp::malformed;
        if (phase_ == Phase::login) return login(half, body);
        // Packets of an answer to the server: of the login, or a file that it asked for.
        if (phase_ == Phase::authentication || half.sequence != 0) return std::nullopt;
        Reader reader(body);
        reader.u8();
        const bool part = body.size() < half.size;
        Operation operation;
        operation.command = command;
        operation.time_ns = half.in.time_ns;
        switch (command) {
        case kQuit:
        case kLongData: return std::nullopt;
        case kBinlog:
        case kBinlogGtid:
        case kTableDump:
        case kRegister: return GiveUp::tunnel;
        case kClose: statements_.erase(reader.le32()); return std::nullopt;
        case kQuery:
        case kPrepare: {
            L7 request = message({});
            request.request_bytes = half.size - 1;
            bool readable = true;
            if (command == kQuery && (capabilities_ & kAttributes) != 0) {
                readable = length_encoded(reader) == 0; // attributes stand before the text
                length_encoded(reader);
            }
            if (readable)
                set_statement(request, text_of(reader.rest()), part, SqlDialect::mysql, context_);
            if (command == kPrepare)
                operation.statement = std::move(request);
            else
                operation.told = context_.emit(operation.time_ns, std::move(request));
            break;
        }
        case kExecute:
        case kBulk: {
            const std::uint32_t id = reader.le32();
            if (!reader.ok()) return GiveUp::lost;
            const auto found = statements_.find(id == 0xffffffff ? last_statement_ : id);
            L7 request = found != statements_.end() ? found->second : message("EXECUTE");
            request.request_bytes = half.size - 1;
            operation.told = context_.emit(operation.time_ns, std::move(request));
            break;
        }
        case kInitDb: {
            L7 request = message("USE");
            if (!part)
                operation.database = request.resource = context_.text(text_of(reader.rest()));
            operation.told = context_.emit(operation.time_ns, std::move(request));
            break;
        }
        case kPing: operation.told = context_.emit(operation.time_ns, message("PING")); break;
        case kChangeUser: phase_ = Phase::authentication; break;
        default:
            if (command > 0x20) return GiveUp::malformed;
        }
        if (operations_.size() >= context_.options.max_outstanding) return GiveUp::outstanding;
        operations_.push_back(std::move(operation));
        // A command before the answer to the last one was found: which answer comes next cannot be known.
        return searching_ && operations_.size() > 1 ? std::optional(GiveUp::lost) : std::nullopt;
    }

    std::optional<GiveUp> login(const Half& half, Bytes body) {
        Reader reader(body);
        const std::uint32_t low = reader.le32();
        if ((low & kProtocol41) == 0 || half.size < 32) return GiveUp::unsupported;
        reader.skip(4 + 1 + 19); // longest packet, character set
        const std::uint64_t high = reader.le32();
        if (half.size == 32 && (low & kSsl) != 0) return GiveUp::encrypted;
        std::uint64_t wanted = low;
        if ((low & kOracle) == 0) wanted |= high << 32U;
        capabilities_ &= wanted;
        if ((capabilities_ & (kCompress | kZstd | kOptionalMetadata)) != 0)
            return GiveUp::unsupported;
        reader.zero_terminated(); // user
        if ((low & kLongAuth) != 0)
            reader.skip(length_encoded(reader));
        else if ((low & kSecure) != 0)
            reader.skip(reader.u8());
        else
            reader.zero_terminated();
        if ((low & kWithDatabase) != 0) {
            const std::string_view database = reader.zero_terminated();
            if (reader.ok()) database_ = context_.text(database);
        }
        phase_ = Phase::authentication;
        Operation operation;
        operation.time_ns = half.in.time_ns;
        operation.told = context_.emit(half.in.time_ns, message("CONNECT"));
        operations_.push_back(std::move(operation));
        return std::nullopt;
    }

    // --- what the server says

    std::optional<GiveUp> answered(const Half& half, std::uint8_t first, Bytes body) {
        if (phase_ == Phase::greeting) return greeting(body);
        if (operations_.empty())
            return first == 0xff ? std::nullopt : std::optional(GiveUp::malformed);
        Operation& front = operations_.front();
        if (front.answer_ns == 0) front.answer_ns = half.in.time_ns;
        front.bytes += half.size;
        if (first == 0xff && half.size != 0 && front.wait != Wait::columns &&
            front.wait != Wait::parameters) {
            if (phase_ == Phase::authentication) phase_ = Phase::commands;
            return error(front, body);
        }
        if (phase_ == Phase::authentication) {
            if (first != 0) return std::nullopt; // it asks for more
            phase_ = Phase::commands;
            return done(front);
        }
        switch (front.wait) {
        case Wait::first: return first_answer(half, front, first, body);
        case Wait::parameters:
            if (--front.left == 0) front.wait = Wait::parameters_end;
            if (front.wait == Wait::parameters_end && (capabilities_ & kNoEof) != 0)
                return columns(front, front.after);
            return std::nullopt;
        case Wait::parameters_end: return columns(front, front.after);
        case Wait::columns:
            if (--front.left != 0) return std::nullopt;
            front.wait = Wait::columns_end;
            if ((capabilities_ & kNoEof) != 0) return columns_ended(front, 0);
            return std::nullopt;
        case Wait::columns_end: {
            Reader reader(body);
            reader.skip(3);
            return columns_ended(front, reader.le16());
        }
        case Wait::rows: return row(half, front, first, body);
        }
        return std::nullopt;
    }

    std::optional<GiveUp> greeting(Bytes body) {
        Reader reader(body);
        reader.u8();
        const std::string_view version = reader.zero_terminated();
        reader.skip(4 + 8 + 1); // thread, first part of the challenge
        capabilities_ = reader.le16();
        reader.skip(1 + 2); // character set, status
        capabilities_ |= static_cast<std::uint64_t>(reader.le16()) << 16U;
        reader.skip(1 + 6);
        const std::uint64_t more = reader.le32();
        if ((capabilities_ & kOracle) == 0 || version.find("MariaDB") != std::string_view::npos)
            capabilities_ |= more << 32U;
        phase_ = Phase::login;
        return reader.ok() ? std::nullopt : std::optional(GiveUp::unsupported);
    }

    std::optional<GiveUp> first_answer(const Half& half, Operation& front, std::uint8_t first,
                                       Bytes body) {
        Reader reader(body);
        switch (front.command) {
        case kFieldList:
        case kFetch: front.wait = Wait::rows; return row(half, front, first, body);
        case kStatistics: return done(front);
        case kPrepare: {
            reader.u8();
            const std::uint32_t id = reader.le32();
            const std::uint16_t columns_count = reader.le16();
            const std::uint16_t parameters = reader.le16();
            if (first != 0 || !reader.ok()) return GiveUp::lost;
            if (statements_.size() >= kMaxStatements) statements_.erase(statements_.begin());
            statements_.insert_or_assign(id, std::move(*front.statement));
            last_statement_ = id;
            front.after = columns_count;
            if (parameters == 0) return columns(front, columns_count);
            front.left = parameters;
            front.wait = Wait::parameters;
            return std::nullopt;
        }
        case kQuery:
        case kExecute:
        case kBulk: break;
        default: return done(front);
        }
        if (first == 0) return ended(front, ok_status(body));
        if (first == 0xfb) return std::nullopt; // a file of the client, and then the answer proper
        const std::uint64_t count = length_encoded(reader);
        if (count == 0 || count > 65535 || !reader.ok()) return GiveUp::malformed;
        if ((capabilities_ & kCachedMetadata) != 0 && reader.left() != 0 && reader.u8() == 0) {
            front.wait = Wait::columns_end;
            return (capabilities_ & kNoEof) != 0 ? columns_ended(front, 0) : std::nullopt;
        }
        return columns(front, count);
    }

    std::optional<GiveUp> columns(Operation& front, std::uint64_t count) {
        if (count == 0) return done(front);
        front.left = count;
        front.wait = Wait::columns;
        return std::nullopt;
    }

    std::optional<GiveUp> columns_ended(Operation& front, std::uint16_t status) {
        if (front.command == kPrepare || (status & kCursor) != 0) return done(front);
        front.wait = Wait::rows;
        return std::nullopt;
    }

    std::optional<GiveUp> row(const Half& half, Operation& front, std::uint8_t first, Bytes body) {
        const bool no_eof = (capabilities_ & kNoEof) != 0;
        if (first != 0xfe || half.size >= (no_eof ? kLongestPacket : 9)) return std::nullopt;
        if (no_eof) return ended(front, ok_status(body));
        Reader reader(body);
        reader.skip(3);
        const std::uint16_t status = reader.le16();
        return ended(front, reader.ok() ? std::optional(status) : std::nullopt);
    }

    static std::optional<std::uint16_t> ok_status(Bytes body) {
        Reader reader(body);
        reader.u8();
        length_encoded(reader); // rows
        length_encoded(reader); // last id
        const std::uint16_t status = reader.le16();
        return reader.ok() ? std::optional(status) : std::nullopt;
    }

    // A result is read; another one of the same statement may follow.
    std::optional<GiveUp> ended(Operation& front, std::optional<std::uint16_t> status) {
        if (!status) return GiveUp::lost;
        if ((*status & kMoreResults) == 0) return done(front);
        front.wait = Wait::first;
        return std::nullopt;
    }

    std::optional<GiveUp> done(Operation& front) {
        if (!front.database.empty()) database_ = front.database;
        if (front.told) {
            L7 answer = answer_of(front);
            answer.status = L7::Status::ok;
            context_.emit(front.answer_ns, std::move(answer));
        }
        operations_.pop_front();
        return std::nullopt;
    }

    std::optional<GiveUp> error(Operation& front, Bytes body) {
        Reader reader(body);
        reader.u8();
        const std::uint16_t number = reader.le16();
        if (!reader.ok()) return GiveUp::lost;
        std::string_view text = text_of(reader.rest());
        if (text.starts_with('#')) text.remove_prefix(std::min<std::size_t>(6, text.size()));
        if (front.statement) front.told = context_.emit(front.time_ns, std::move(*front.statement));
        if (front.told) {
            L7 answer = answer_of(front);
            answer.status = L7::Status::error;
            answer.code = number;
            answer.error = context_.text(redact_text(text, context_.options));
            context_.emit(front.answer_ns, std::move(answer));
        }
        operations_.pop_front();
        return std::nullopt;
    }

    static L7 answer_of(const Operation& operation) {
        L7 answer =
            Outstanding::answer({operation.told, operation.time_ns, 0, 0}, operation.answer_ns);
        answer.response_bytes = operation.bytes;
        return answer;
    }

    Context& context_;
    Phase phase_ = Phase::greeting;
    std::uint64_t capabilities_ = 0; // that both sides have
    std::array<bool, 2> goes_on_{};
    bool searching_ = false; // lost(), and not found again
    std::string database_;
    std::deque<Operation> operations_;
    std::unordered_map<std::uint32_t, L7> statements_;
    std::uint32_t last_statement_ = 0;
};

} // namespace

const ProtocolEntry kMysql = {
    L7::Protocol::mysql,
    {3306, 3307, 0, 0},
    ProtocolEntry::Middle::never,
    detect,
    [](Context& context) -> std::unique_ptr<Parser> { return std::make_unique<Mysql>(context); }};

} // namespace beeline::observe::l7
