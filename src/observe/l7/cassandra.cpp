// Cassandra's CQL protocol, versions 3 to 5: statements, prepared ones by what was prepared, batches by their first
// statement. Values are never read. Of compressed bodies (3, 4) only the kind of message is known.
#include <unordered_map>

#include "observe/l7/lines.h"
#include "observe/l7/parser.h"
#include "observe/l7/redact.h"
#include "observe/l7/sql.h"

namespace beeline::observe::l7 {
namespace {

using model::L7;

constexpr std::size_t kHead = 9;
constexpr std::size_t kSegmentHead = 6;
constexpr std::uint32_t kLongest = 256U << 20U;
constexpr std::size_t kWanted = 2048;
constexpr std::size_t kMaxStatements = 256;

enum Opcode : std::uint8_t {
    kError = 0,
    kStartup = 1,
    kReady = 2,
    kAuthenticate = 3,
    kOptions = 5,
    kQuery = 7,
    kResult = 8,
    kPrepare = 9,
    kExecute = 10,
    kBatch = 13,
    kLast = 16
};
enum Flag : std::uint8_t { kCompressed = 1, kTracing = 2, kPayload = 4, kWarnings = 8 };
enum ResultKind : std::uint32_t { kSetKeyspace = 3, kPrepared = 4 };

struct Head {
    std::uint8_t version = 0;
    std::uint8_t flags = 0;
    std::uint16_t stream = 0;
    std::uint8_t opcode = 0;
    std::uint32_t length = 0;
};

std::optional<Head> read_head(Reader& in, Side side) {
    Head out;
    out.version = in.u8();
    out.flags = in.u8();
    out.stream = in.u16();
    out.opcode = in.u8();
    out.length = in.u32();
    const std::uint8_t direction = side == Side::server ? 0x80 : 0;
    if (!in.ok() || (out.version & 0x80U) != direction || (out.version & 0x7fU) < 3 ||
        (out.version & 0x7fU) > 5 || out.flags > 0x1f || out.opcode > kLast || out.opcode == 4 ||
        out.length > kLongest)
        return std::nullopt;
    return out;
}

Match detect(const Start& start) {
    if (start.datagram) return Match::no;
    if (start.client.empty()) return start.server.empty() ? Match::more : Match::no;
    const auto version = static_cast<std::uint8_t>(start.client[0]);
    if (version < 3 || version > 5) return Match::no;
    Reader in(start.client);
    if (start.client.size() < kHead) return start.middle ? Match::no : Match::more;
    const auto head = read_head(in, Side::client);
    if (!head || (head->stream & 0x8000U) != 0) return Match::no;
    if (start.middle) {
        // A whole statement, whose text has the right length.
        if (version == 5 || head->opcode != kQuery || in.left() != head->length) return Match::no;
        return (head->flags & kCompressed) == 0 && in.u32() < head->length && head->length > 8
                   ? Match::likely
                   : Match::no;
    }
    if (head->opcode == kOptions) return head->length == 0 ? Match::yes : Match::no;
    return head->opcode == kStartup && head->length < 1024 ? Match::yes : Match::no;
}

class Cassandra final : public Parser {
public:
    explicit Cassandra(Context& context) : context_(context), outstanding_(context) {}

    bool enter(const In& in) override {
        if (in.side == Side::client)
            return detect({.client = in.data, .server = {}, .middle = true, .datagram = false}) !=
                   Match::no;
        Reader reader(in.data);
        const auto head = read_head(reader, Side::server);
        return head && outstanding_.find(head->stream) != nullptr;
    }

    Step read(const In& in) override {
        Half& half = halves_[static_cast<std::size_t>(in.side)];
        if (!segmented_) return envelope(in, in.data, kLongest + kHead);
        // Version 5: checksummed segments around what other versions send plainly.
        if (half.left == 0) {
            if (half.checksum) {
                half.checksum = false;
                return Step::take(4);
            }
            if (in.data.size() < kSegmentHead) return Step::more();
            const std::uint32_t head = Reader(in.data).le24();
            half.left = head & 0x1ffffU;
            half.checksum = true;
            if (half.left == 0) return Step::give_up(GiveUp::malformed);
            return Step::take(kSegmentHead);
        }
        if (half.envelope != 0) { // goes on from the last segment
            const std::uint64_t size = std::min<std::uint64_t>(half.envelope, half.left);
            half.envelope -= size;
            half.left -= size;
            return Step::take(size);
        }
        const Step step = envelope(
            in, in.data.first(std::min<std::size_t>(in.data.size(), half.left)), half.left);
        if (step.kind != Step::Kind::take) return step;
        const std::uint64_t here = std::min<std::uint64_t>(step.bytes, half.left);
        half.envelope = step.bytes - here;
        half.left -= here;
        return Step::take(here);
    }

private:
    struct Half {
        std::uint64_t left = 0;     // of the segment
        std::uint64_t envelope = 0; // of a message that is longer than its segment
        bool checksum = false;      // behind the segment
    };

    // At most `room` bytes of a message are in one piece.
    Step envelope(const In& in, Bytes data, std::uint64_t room) {
        if (data.size() < kHead)
            return room < kHead ? Step::give_up(GiveUp::malformed) : Step::more();
        Reader reader(data);
        const auto head = read_head(reader, in.side);
        if (!head) return Step::give_up(GiveUp::malformed);
        const std::uint64_t wanted = std::min<std::uint64_t>({head->length, kWanted, room - kHead});
        if (reader.left() < wanted && !in.cut) return Step::more();
        Reader body(reader.rest().first(std::min<std::size_t>(reader.left(), wanted)));
        const auto failure =
            in.side == Side::client ? sent(in, *head, body) : answered(in, *head, body);
        return failure ? Step::give_up(*failure)
                       : Step::take(kHead + static_cast<std::uint64_t>(head->length));
    }

    std::optional<GiveUp> sent(const In& in, const Head& head, Reader body) {
        L7 request;
        request.protocol = L7::Protocol::cassandra;
        request.host = keyspace_;
        request.request_bytes = head.length;
        const bool readable = (head.flags & (kCompressed | kPayload)) == 0;
        switch (head.opcode) {
        case kStartup:
            request.method = "STARTUP";
            compression_ = text_of(body.rest()).find("COMPRESSION") != std::string_view::npos;
            startup_ = head.stream;
            break;
        case kQuery:
        case kPrepare:
            request.method = head.opcode == kQuery ? "QUERY" : "PREPARE";
            if (readable) statement(request, body);
            if (head.opcode == kPrepare) request.method = "PREPARE";
            break;
        case kExecute: {
            request.method = "EXECUTE";
            const std::string id(body.text(body.u16()));
            const auto found = statements_.find(id);
            if (readable && body.ok() && found != statements_.end()) {
                request.method = found->second.method;
                request.resource = found->second.resource;
                request.url = found->second.url;
            }
            break;
        }
        case kBatch: {
            if (readable) {
                body.u8();
                body.u16();
                if (body.u8() == 0) {
                    statement(request, body);
                } else {
                    const auto found = statements_.find(std::string(body.text(body.u16())));
                    if (body.ok() && found != statements_.end())
                        request.resource = found->second.resource;
                }
            }
            request.method = "BATCH";
            break;
        }
        default: return std::nullopt;
        }
        if (!outstanding_.add(in.time_ns, std::move(request), head.stream, head.opcode))
            return GiveUp::outstanding;
        return std::nullopt;
    }

    void statement(L7& request, Reader& body) const {
        const std::uint32_t length = body.u32();
        if (!body.ok()) return;
        const std::string_view text = text_of(body.rest()).substr(0, length);
        const std::string method = request.method;
        set_statement(request, text, text.size() < length, SqlDialect::cql, context_);
        if (request.method.empty()) request.method = method;
    }

    std::optional<GiveUp> answered(const In& in, const Head& head, Reader body) {
        const bool starts =
            startup_ == head.stream && (head.opcode == kReady || head.opcode == kAuthenticate);
        if (starts && (head.version & 0x7fU) == 5) {
            if (compression_) return GiveUp::unsupported;
            segmented_ = true;
            startup_.reset();
        }
        const auto request = outstanding_.pop(head.stream);
        if (!request) return std::nullopt; // of OPTIONS and the like, an event, or from before
        L7 answer = Outstanding::answer(*request, in.time_ns);
        answer.response_bytes = head.length;
        answer.status = head.opcode == kError ? L7::Status::error : L7::Status::ok;
        if ((head.flags & (kCompressed | kPayload)) == 0) {
            if ((head.flags & kTracing) != 0) body.skip(16);
            if ((head.flags & kWarnings) != 0)
                for (std::uint16_t left = body.u16(); left != 0 && body.ok(); --left)
                    body.skip(body.u16());
            if (head.opcode == kError) {
                answer.code = body.u32();
                const std::string_view text = body.text(body.u16());
                if (body.ok()) answer.error = context_.text(redact_text(text, context_.options));
            } else if (head.opcode == kResult) {
                result(*request, body);
            }
        }
        context_.emit(in.time_ns, std::move(answer));
        return std::nullopt;
    }

    void result(const Outstanding::Request& request, Reader& body) {
        const std::uint32_t kind = body.u32();
        if (kind == kSetKeyspace) {
            const std::string_view name = body.text(body.u16());
            if (body.ok()) keyspace_ = context_.text(name);
        } else if (kind == kPrepared && request.note == kPrepare) {
            const std::string id(body.text(body.u16()));
            if (!body.ok()) return;
            if (statements_.size() >= kMaxStatements) statements_.erase(statements_.begin());
            L7 statement = *request.message;
            const std::size_t end = statement.url.find_first_of(" (");
            statement.method = upper(statement.url.substr(0, std::min<std::size_t>(end, 32)));
            statements_.insert_or_assign(id, std::move(statement));
        }
    }

    Context& context_;
    Outstanding outstanding_;
    std::array<Half, 2> halves_;
    bool segmented_ = false;
    bool compression_ = false;
    std::optional<std::uint16_t> startup_; // its stream
    std::string keyspace_;
    std::unordered_map<std::string, L7> statements_;
};

} // namespace

const ProtocolEntry kCassandra = {L7::Protocol::cassandra,
                                  {9042, 0, 0, 0},
                                  ProtocolEntry::Middle::any,
                                  detect,
                                  [](Context& context) -> std::unique_ptr<Parser> {
                                      return std::make_unique<Cassandra>(context);
                                  }};

} // namespace beeline::observe::l7
