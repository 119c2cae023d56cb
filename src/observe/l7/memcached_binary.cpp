// memcached's binary protocol. Answers come in order, but quiet commands have one only in some cases.
#include "observe/l7/lines.h"
#include "observe/l7/parser.h"

namespace beeline::observe::l7 {
namespace {

using model::L7;

constexpr std::size_t kHeader = 24;
constexpr std::uint8_t kRequest = 0x80;
constexpr std::uint8_t kResponse = 0x81;
constexpr std::uint8_t kStat = 0x10;

struct Operation {
    std::string_view name;
    bool quiet = false;
};

std::optional<Operation> operation_of(std::uint8_t code) {
    static constexpr Operation kOperations[] = {
        {"get"},          {"set"},           {"add"},        {"replace"},    {"delete"},
        {"incr"},         {"decr"},          {"quit"},       {"flush"},      {"get", true},
        {"noop"},         {"version"},       {"get"},        {"get", true},  {"append"},
        {"prepend"},      {"stats"},         {"set", true},  {"add", true},  {"replace", true},
        {"delete", true}, {"incr", true},    {"decr", true}, {"quit", true}, {"flush", true},
        {"append", true}, {"prepend", true}, {"verbosity"},  {"touch"},      {"gat"},
        {"gat", true}};
    if (code < std::size(kOperations)) return kOperations[code];
    if (code >= 0x20 && code <= 0x22) return Operation{"auth"}; // SASL: mechanisms, start, step
    if (code == 0x23) return Operation{"gat"};
    if (code == 0x24) return Operation{"gat", true};
    return std::nullopt;
}

std::string_view status_name(std::uint16_t status) {
    static constexpr std::string_view kNames[] = {
        "", "not found", "exists", "too large", "invalid", "not stored", "not a number"};
    if (status < std::size(kNames)) return kNames[status];
    switch (status) {
    case 0x20: return "authentication error";
    case 0x21: return "";
    case 0x81: return "unknown command";
    case 0x82: return "out of memory";
    default: return "error";
    }
}

struct Head {
    std::uint8_t code = 0;
    std::uint16_t key = 0;
    std::uint8_t extras = 0;
    std::uint16_t status = 0;
    std::uint32_t body = 0;
    std::uint32_t opaque = 0;
};

std::optional<Head> read_head(Bytes data, std::uint8_t magic) {
    Reader in(data);
    Head out;
    const std::uint8_t first = in.u8();
    out.code = in.u8();
    out.key = in.u16();
    out.extras = in.u8();
    const std::uint8_t type = in.u8();
    out.status = in.u16(); // of requests: the partition
    out.body = in.u32();
    out.opaque = in.u32();
    if (!in.ok() || first != magic || type != 0 || !operation_of(out.code) || out.key > 250 ||
        out.extras > 20 || out.body > 1U << 30U || out.key + out.extras > out.body)
        return std::nullopt;
    return out;
}

Match detect(const Start& start) {
    if (start.datagram) return Match::no;
    if (start.client.empty()) return start.server.empty() ? Match::more : Match::no;
    if (static_cast<std::uint8_t>(start.client[0]) != kRequest) return Match::no;
    if (start.client.size() < kHeader) return start.middle ? Match::no : Match::more;
    const auto head = read_head(start.client, kRequest);
    return head && head->status == 0 ? Match::yes : Match::no;
}

class MemcachedBinary final : public Parser {
public:
    explicit MemcachedBinary(Context& context) : context_(context), outstanding_(context) {}

    Step read(const In& in) override {
        if (in.data.size() < kHeader) return Step::more();
        const auto head = read_head(in.data, in.side == Side::client ? kRequest : kResponse);
        if (!head) return Step::give_up(GiveUp::malformed);
        const std::uint64_t whole = kHeader + static_cast<std::uint64_t>(head->body);
        const Operation operation = *operation_of(head->code);
        if (in.side == Side::server) {
            if (head->code == kStat && head->key != 0)
                return Step::take(whole); // an empty one ends the list
            return answer(in, *head) ? Step::take(whole) : Step::give_up(GiveUp::malformed);
        }
        L7 request;
        request.protocol = L7::Protocol::memcached;
        request.method = operation.name;
        request.request_bytes = head->body - head->key - head->extras;
        if (operation.name != "auth") {
            const std::size_t end = kHeader + head->extras + head->key;
            if (in.data.size() < end && !in.cut) return Step::more();
            if (in.data.size() >= end)
                request.resource =
                    context_.text(text_of(in.data.subspan(kHeader + head->extras, head->key)));
        }
        const std::uint64_t key = static_cast<std::uint64_t>(head->code) << 32U | head->opaque;
        if (!outstanding_.add(in.time_ns, std::move(request), key, operation.quiet ? 1 : 0))
            return Step::give_up(GiveUp::outstanding);
        return Step::take(whole);
    }

    bool enter(const In& in) override {
        if (in.side == Side::server)
            return !outstanding_.empty() && read_head(in.data, kResponse).has_value();
        return detect({.client = in.data, .server = {}, .middle = true, .datagram = false}) ==
               Match::yes;
    }

private:
    bool answer(const In& in, const Head& head) {
        const std::uint64_t key = static_cast<std::uint64_t>(head.code) << 32U | head.opaque;
        while (!outstanding_.empty() && outstanding_.front().key != key &&
               outstanding_.front().note == 1)
            outstanding_.pop(); // it went the way that needs no answer
        if (outstanding_.empty() || outstanding_.front().key != key) return false;
        L7 answer = Outstanding::answer(*outstanding_.pop(), in.time_ns);
        answer.code = head.status;
        // A miss is no error.
        const bool fine = head.status == 0 || head.status == 1 || head.status == 2 ||
                          head.status == 5 || head.status == 0x21;
        answer.status = fine ? L7::Status::ok : L7::Status::error;
        if (!fine) answer.error = status_name(head.status);
        answer.response_bytes = head.body - head.key - head.extras;
        context_.emit(in.time_ns, std::move(answer));
        return true;
    }

    Context& context_;
    Outstanding outstanding_;
};

} // namespace

const ProtocolEntry kMemcachedBinary = {L7::Protocol::memcached,
                                        {11211, 0, 0, 0},
                                        ProtocolEntry::Middle::quiet,
                                        detect,
                                        [](Context& context) -> std::unique_ptr<Parser> {
                                            return std::make_unique<MemcachedBinary>(context);
                                        }};

} // namespace beeline::observe::l7
