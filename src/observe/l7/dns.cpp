// DNS (RFC 1035, 3596): over UDP a message per datagram, over TCP behind its length. Questions and answers are paired
// by id and name.
#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "observe/l7/parser.h"

namespace beeline::observe::l7 {
namespace {

using model::L7;

constexpr std::size_t kHeader = 12;
constexpr std::size_t kMaxRecords = 64; // of an answer; more are not looked at

enum Type : std::uint16_t { kA = 1, kCname = 5, kAaaa = 28, kOpt = 41 };

std::string type_name(std::uint16_t type) {
    switch (type) {
    case 1: return "A";
    case 2: return "NS";
    case 5: return "CNAME";
    case 6: return "SOA";
    case 12: return "PTR";
    case 15: return "MX";
    case 16: return "TXT";
    case 28: return "AAAA";
    case 33: return "SRV";
    case 35: return "NAPTR";
    case 43: return "DS";
    case 46: return "RRSIG";
    case 48: return "DNSKEY";
    case 64: return "SVCB";
    case 65: return "HTTPS";
    case 251: return "IXFR";
    case 252: return "AXFR";
    case 255: return "ANY";
    case 257: return "CAA";
    default: return fmt::format("TYPE{}", type);
    }
}

std::string_view rcode_name(std::uint32_t rcode) {
    static constexpr std::string_view kNames[] = {"",        "FORMERR", "SERVFAIL", "NXDOMAIN",
                                                  "NOTIMP",  "REFUSED", "YXDOMAIN", "YXRRSET",
                                                  "NXRRSET", "NOTAUTH", "NOTZONE"};
    return rcode < std::size(kNames) ? kNames[rcode] : "error";
}

// The name at the reader; it may continue elsewhere in the message. Empty root is ".".
std::optional<std::string> read_name(Bytes message, Reader& in) {
    std::string out;
    Reader jumped(message);
    Reader* at = &in;
    for (unsigned jumps = 0; jumps < 16;) {
        const std::uint8_t length = at->u8();
        if (!at->ok()) return std::nullopt;
        if (length == 0) return out.empty() ? "." : out;
        if ((length & 0xc0U) == 0xc0U) {
            const std::size_t offset = (length & 0x3fU) << 8U | at->u8();
            if (!at->ok() || offset >= message.size()) return std::nullopt;
            jumped = Reader(message);
            jumped.skip(offset);
            at = &jumped;
            ++jumps;
            continue;
        }
        if (length > 63) return std::nullopt;
        const std::string_view label = at->text(length);
        if (!at->ok() || out.size() + length > 254) return std::nullopt;
        if (!out.empty()) out += '.';
        for (const char c : label) {
            const auto byte = static_cast<unsigned char>(c);
            if (byte <= ' ' || byte >= 0x7f || c == '.' || c == '\\')
                out += fmt::format("\\{:03}", byte); // as in zone files
            else
                out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        }
    }
    return std::nullopt;
}

struct Message {
    std::uint16_t id = 0;
    bool answer = false;
    std::uint32_t rcode = 0;
    std::string name;
    std::uint16_t type = 0;
    L7::Dns dns;
    bool whole = false; // read to its end
};

void read_answers(Bytes bytes, Reader& in, unsigned count, Message& out) {
    for (unsigned i = 0; i < std::min<std::size_t>(count, kMaxRecords); ++i) {
        const auto owner = read_name(bytes, in);
        const std::uint16_t type = in.u16();
        in.u16(); // class
        const std::uint32_t ttl = in.u32();
        const std::uint16_t size = in.u16();
        const std::size_t at = in.at();
        const Bytes data = in.take(size);
        if (!owner || !in.ok()) return;
        out.dns.ttl_s = out.dns.answer_types.empty() ? ttl : std::min(out.dns.ttl_s, ttl);
        out.dns.answer_types.push_back(type);
        if (type == kA && size == 4) {
            out.dns.addresses.push_back(net::Ip::v4(Reader(data).u32()));
        } else if (type == kAaaa && size == 16) {
            net::Ip& address = out.dns.addresses.emplace_back();
            std::memcpy(address.bytes.data(), data.data(), 16);
        } else if (type == kCname) {
            Reader name(bytes);
            name.skip(at);
            if (auto target = read_name(bytes, name)) out.dns.names.push_back(std::move(*target));
        }
    }
    out.whole = count <= kMaxRecords;
}

std::optional<Message> read_message(Bytes bytes) {
    Reader in(bytes);
    Message out;
    out.id = in.u16();
    const std::uint16_t flags = in.u16();
    const unsigned questions = in.u16();
    const unsigned answers = in.u16();
    const unsigned authorities = in.u16();
    const unsigned additional = in.u16();
    out.answer = (flags & 0x8000U) != 0;
    out.rcode = flags & 0xfU;
    const unsigned opcode = flags >> 11U & 0xfU;
    // Only plain queries have the shape that is read here; the Z bit is zero.
    if (!in.ok() || opcode != 0 || (flags & 0x40U) != 0 || questions != 1 || authorities > 512 ||
        additional > 512 || (!out.answer && (answers != 0 || out.rcode != 0)))
        return std::nullopt;
    auto name = read_name(bytes, in);
    out.type = in.u16();
    const std::uint16_t class_ = in.u16();
    if (!name || !in.ok() || (class_ != 1 && class_ != 3 && class_ != 255)) return std::nullopt;
    out.name = std::move(*name);
    out.dns.question_types.push_back(out.type);
    if (out.answer)
        read_answers(bytes, in, answers, out);
    else
        out.whole = true;
    return out;
}

class Dns final : public Parser {
public:
    explicit Dns(Context& context) : context_(context), outstanding_(context) {}

    Step read(const In& in) override {
        if (context_.transport == model::Protocol::udp) {
            // Updates and the like are no reason to stop, but many of what cannot be read are.
            odd_ = message(in, in.data) ? 0 : odd_ + 1;
            return odd_ > kMaxOdd ? Step::give_up(GiveUp::malformed) : Step::take(in.data.size());
        }
        if (in.data.size() < 2) return Step::more();
        const std::size_t size = Reader(in.data).u16();
        if (size < kHeader) return Step::give_up(GiveUp::malformed);
        const Bytes body = in.data.subspan(2);
        // An answer that is longer than what is captured is read as far as it goes.
        const std::size_t wanted = std::min(size, kWanted);
        if (body.size() < wanted && !in.cut) return Step::more();
        if (!message(in, body.first(std::min(body.size(), wanted))))
            return Step::give_up(GiveUp::malformed);
        return Step::take(2 + size);
    }

private:
    static constexpr std::size_t kWanted = 4096;
    static constexpr unsigned kMaxOdd = 4;

    bool message(const In& in, Bytes bytes) {
        auto read = read_message(bytes);
        if (!read || read->answer != (in.side == Side::server)) return false;
        const std::uint64_t key = std::hash<std::string_view>{}(read->name) << 32U ^
                                  static_cast<std::uint64_t>(read->id) << 16U ^ read->type;
        if (!read->answer) {
            L7 query;
            query.protocol = L7::Protocol::dns;
            query.method = type_name(read->type);
            query.resource = std::move(read->name);
            query.dns = std::move(read->dns);
            // Questions that are never answered are no reason to stop.
            if (outstanding_.size() >= context_.options.max_outstanding) outstanding_.pop();
            return outstanding_.add(in.time_ns, std::move(query), key);
        }
        L7 answer;
        if (const auto query = outstanding_.pop(key)) {
            answer = Outstanding::answer(*query, in.time_ns);
        } else {
            answer.protocol = L7::Protocol::dns;
            answer.type = L7::Type::response;
            answer.method = type_name(read->type);
            answer.resource = std::move(read->name);
        }
        answer.dns = std::move(read->dns);
        answer.code = read->rcode;
        answer.status = read->rcode == 0 ? L7::Status::ok : L7::Status::error;
        answer.error = rcode_name(read->rcode);
        context_.emit(in.time_ns, std::move(answer));
        return true;
    }

    Context& context_;
    Outstanding outstanding_;
    unsigned odd_ = 0; // datagrams in a row that are no questions or answers
};

Match detect(const Start& start) {
    if (start.datagram) {
        const auto query = read_message(start.client.empty() ? start.server : start.client);
        return query && query->whole && query->answer == start.client.empty() ? Match::yes
                                                                              : Match::no;
    }
    if (start.client.empty()) return start.server.empty() ? Match::more : Match::no;
    Reader in(start.client);
    const std::size_t size = in.u16();
    if (!in.ok()) return start.middle ? Match::no : Match::more;
    if (size < kHeader + 5 || size > 1024) return Match::no;
    const Bytes body = in.rest();
    if (body.size() > 4 && ((static_cast<unsigned>(body[2]) & 0xf8U) != 0 ||
                            (static_cast<unsigned>(body[3]) & 0x4fU) != 0))
        return Match::no;
    if (body.size() < size) return start.middle ? Match::no : Match::more;
    const auto query = read_message(body.first(size));
    return query && !query->answer ? Match::yes : Match::no;
}

} // namespace

const ProtocolEntry kDns = {
    L7::Protocol::dns,
    {53, 0, 0, 0},
    ProtocolEntry::Middle::never,
    detect,
    [](Context& context) -> std::unique_ptr<Parser> { return std::make_unique<Dns>(context); }};

} // namespace beeline::observe::l7
