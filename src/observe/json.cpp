#include "observe/json.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <span>

#include <fmt/format.h>

#include "observe/drop_reason.h"

namespace beeline::observe {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

// Length of the UTF-8 sequence that `text` begins with, 0 if it is not one. Neither overlong forms nor surrogates nor
// anything above U+10FFFF counts.
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const auto tail = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xc0U) == 0x80; };
    const unsigned char head = byte(0);
    if (head < 0x80) return 1;
    if (head >= 0xc2 && head <= 0xdf) return tail(1) ? 2 : 0;
    if ((head & 0xf0U) == 0xe0) {
        if (!tail(1) || !tail(2)) return 0;
        const bool overlong = head == 0xe0 && byte(1) < 0xa0;
        const bool surrogate = head == 0xed && byte(1) >= 0xa0;
        return overlong || surrogate ? 0 : 3;
    }
    if (head >= 0xf0 && head <= 0xf4) {
        if (!tail(1) || !tail(2) || !tail(3)) return 0;
        const bool overlong = head == 0xf0 && byte(1) < 0x90;
        const bool too_high = head == 0xf4 && byte(1) >= 0x90;
        return overlong || too_high ? 0 : 4;
    }
    return 0;
}

void append_escape(std::string& out, char c) {
    switch (c) {
    case '"': out += "\\\""; break;
    case '\\': out += "\\\\"; break;
    case '\n': out += "\\n"; break;
    case '\r': out += "\\r"; break;
    case '\t': out += "\\t"; break;
    default: fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(c));
    }
}

bool plain(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\';
}

void append_padded(std::string& out, std::uint32_t value, std::size_t width) {
    const fmt::format_int text(value);
    out.append(width > text.size() ? width - text.size() : 0, '0');
    out.append(text.data(), text.size());
}

// Writes one object and puts the commas. Members with empty values do not appear.
class Object {
public:
    explicit Object(std::string& out) : out_(out) { out_ += '{'; }
    ~Object() { out_ += '}'; }
    Object(const Object&) = delete;
    Object& operator=(const Object&) = delete;

    // Puts the comma before a member; the whole of it must follow.
    std::string& next() {
        if (!first_) out_ += ',';
        first_ = false;
        return out_;
    }
    // Begins a member; its value must follow.
    std::string& key(std::string_view name) {
        next() += '"';
        out_ += name;
        out_ += "\":";
        return out_;
    }
    void text(std::string_view name, std::string_view value) {
        if (!value.empty()) append_json_string(key(name), value);
    }
    void always(std::string_view name, std::uint64_t value) {
        const fmt::format_int digits(value);
        key(name).append(digits.data(), digits.size());
    }
    void number(std::string_view name, std::uint64_t value) {
        if (value != 0) always(name, value);
    }
    void address(std::string_view name, const net::Ip& ip) {
        if (!ip.is_zero()) text(name, ip.to_string());
    }
    void pair(std::string_view name, const std::uint64_t (&value)[2]) {
        if (value[0] == 0 && value[1] == 0) return;
        Object sides(key(name));
        sides.always("source", value[0]);
        sides.always("destination", value[1]);
    }
    template <typename Range>
    void texts(std::string_view name, const Range& values) {
        if (values.empty()) return;
        char separator = '[';
        key(name);
        for (const auto& value : values) {
            out_ += separator;
            append_json_string(out_, value);
            separator = ',';
        }
        out_ += ']';
    }
    // An object of names and texts.
    template <typename Pairs>
    void members(std::string_view name, const Pairs& pairs) {
        if (pairs.empty()) return;
        Object object(key(name));
        for (const auto& [member, value] : pairs) {
            append_json_string(object.next(), member);
            out_ += ':';
            append_json_string(out_, value);
        }
    }

private:
    std::string& out_;
    bool first_ = true;
};

std::string_view name_of(model::Flow::Kind kind) {
    switch (kind) {
    case model::Flow::Kind::opened: return "opened";
    case model::Flow::Kind::replied: return "replied";
    case model::Flow::Kind::closed: return "closed";
    case model::Flow::Kind::dropped: return "dropped";
    case model::Flow::Kind::revoked: return "revoked";
    case model::Flow::Kind::lost: return "lost";
    case model::Flow::Kind::l7: return "l7";
    }
    return "";
}

std::string_view name_of(model::FlowEnd::Kind kind) {
    switch (kind) {
    case model::FlowEnd::Kind::workload: return "workload";
    case model::FlowEnd::Kind::host: return "host";
    case model::FlowEnd::Kind::world: return "world";
    case model::FlowEnd::Kind::remote: return "remote";
    }
    return "";
}

bool is_icmp(model::Protocol protocol) {
    return protocol == model::Protocol::icmp || protocol == model::Protocol::icmpv6;
}

void write(std::string& out, const model::FlowProcess& process) {
    Object object(out);
    object.always("pid", process.pid);
    object.text("binary", process.binary);
    object.text("comm", process.comm);
    object.always("uid", process.uid);
    object.number("start_ns", process.start_ns);
    object.text("user", process.user);
    object.text("container", process.container);
    object.texts("ancestry", process.ancestry);
}

void write(std::string& out, const model::FlowEnd& end) {
    Object object(out);
    object.text("kind", name_of(end.kind));
    object.address("address", end.address);
    object.number("port", end.port);
    object.number("identity", end.identity);
    object.text("namespace", end.space);
    object.text("name", end.name);
    object.members("labels", end.labels);
    object.texts("names", end.names);
    if (end.process.pid != 0) write(object.key("process"), end.process);
}

void write(std::string& out, const model::L7& l7) {
    Object object(out);
    object.text("protocol", model::to_string(l7.protocol));
    object.text("type", l7.type == model::L7::Type::request ? "request" : "response");
    if (l7.status != model::L7::Status::unknown)
        object.text("status", l7.status == model::L7::Status::ok ? "ok" : "error");
    object.number("tls", l7.tls ? 1 : 0);
    object.number("code", l7.code);
    object.number("latency_ns", l7.latency_ns);
    object.text("method", l7.method);
    object.text("resource", l7.resource);
    object.text("host", l7.host);
    object.text("version", l7.version);
    object.text("url", l7.url);
    object.text("error", l7.error);
    object.text("trace_parent", l7.trace_parent);
    object.members("headers", l7.headers);
    object.number("request_bytes", l7.request_bytes);
    object.number("response_bytes", l7.response_bytes);
    if (l7.protocol != model::L7::Protocol::dns) return;
    std::vector<std::string> addresses;
    addresses.reserve(l7.dns.addresses.size());
    for (const net::Ip& address : l7.dns.addresses)
        addresses.push_back(address.to_string());
    object.texts("addresses", addresses);
    object.texts("cnames", l7.dns.names);
    object.number("ttl_s", l7.dns.ttl_s);
}

struct FlagName {
    std::uint8_t bit;
    std::string_view name;
};
constexpr std::array<FlagName, 8> kTcpFlags{{{0x02, "SYN"},
                                             {0x10, "ACK"},
                                             {0x04, "RST"},
                                             {0x01, "FIN"},
                                             {0x08, "PSH"},
                                             {0x20, "URG"},
                                             {0x40, "ECE"},
                                             {0x80, "CWR"}}};

void write_transport(Object& object, const model::Flow& flow) {
    if (flow.protocol == model::Protocol::tcp) {
        const unsigned seen = flow.tcp_flags[0] | flow.tcp_flags[1];
        std::array<std::string_view, kTcpFlags.size()> names;
        std::size_t count = 0;
        for (const FlagName& flag : kTcpFlags)
            if (seen & flag.bit) names[count++] = flag.name;
        object.texts("tcp_flags", std::span(names.data(), count));
    } else if (is_icmp(flow.protocol)) {
        Object icmp(object.key("icmp"));
        icmp.always("type", flow.icmp_type);
        icmp.always("code", flow.icmp_code);
    }
}

void write_lost(Object& object, const model::Flow& flow) {
    object.text("kind", name_of(flow.kind));
    Object lost(object.key("lost"));
    lost.text("where", flow.lost_where);
    lost.always("count", flow.lost);
}

void write_decision(Object& object, const model::Flow& flow) {
    if (flow.reason != 0) {
        Object reason(object.key("drop_reason"));
        reason.always("code", flow.reason);
        reason.text("name", drop_reason_name(flow.reason));
        reason.text("text", drop_reason_text(flow.reason));
    }
    object.text("denied_direction", flow.denied_direction);
    object.texts("denied_by", flow.denied_by);
    object.text("egress_rule", flow.egress_rule);
    object.text("ingress_rule", flow.ingress_rule);
}

} // namespace

void append_json_string(std::string& out, std::string_view text) {
    out += '"';
    while (!text.empty()) {
        std::size_t run = 0;
        while (run < text.size() && plain(text[run]))
            ++run;
        out += text.substr(0, run);
        text.remove_prefix(run);
        if (text.empty()) break;
        if (static_cast<unsigned char>(text[0]) < 0x80) {
            append_escape(out, text[0]);
            text.remove_prefix(1);
        } else if (const std::size_t length = utf8_length(text)) {
            out += text.substr(0, length);
            text.remove_prefix(length);
        } else {
            out += kReplacement;
            text.remove_prefix(1);
        }
    }
    out += '"';
}

void append_time(std::string& out, std::int64_t time_ns) {
    using namespace std::chrono;
    const sys_time<nanoseconds> time{nanoseconds(time_ns)};
    const auto midnight = floor<days>(time);
    const year_month_day date{midnight};
    const hh_mm_ss clock{time - midnight};
    append_padded(out, static_cast<std::uint32_t>(static_cast<int>(date.year())), 4);
    out += '-';
    append_padded(out, static_cast<unsigned>(date.month()), 2);
    out += '-';
    append_padded(out, static_cast<unsigned>(date.day()), 2);
    out += 'T';
    append_padded(out, static_cast<std::uint32_t>(clock.hours().count()), 2);
    out += ':';
    append_padded(out, static_cast<std::uint32_t>(clock.minutes().count()), 2);
    out += ':';
    append_padded(out, static_cast<std::uint32_t>(clock.seconds().count()), 2);
    out += '.';
    append_padded(out, static_cast<std::uint32_t>(clock.subseconds().count()), 9);
    out += 'Z';
}

void append_json(std::string& out, const model::Flow& flow, std::string_view node) {
    Object object(out);
    object.key("time") += '"';
    append_time(out, flow.time_ns);
    out += '"';
    if (flow.kind == model::Flow::Kind::lost) return write_lost(object, flow);

    object.number("number", flow.number);
    object.text("kind", name_of(flow.kind));
    object.text("verdict", flow.verdict == model::Flow::Verdict::dropped ? "DROPPED" : "FORWARDED");
    if (flow.protocol != model::Protocol::any)
        object.text("protocol", model::to_string(flow.protocol));
    write(object.key("source"), flow.source);
    write(object.key("destination"), flow.destination);
    if (!flow.service.empty() || !flow.service_address.is_zero()) {
        Object service(object.key("service"));
        service.text("name", flow.service);
        service.address("address", flow.service_address);
        service.number("port", flow.service_port);
    }
    write_decision(object, flow);
    write_transport(object, flow);
    object.pair("packets", flow.packets);
    object.pair("bytes", flow.bytes);
    if (flow.opened_ns != 0 && flow.kind != model::Flow::Kind::opened)
        object.always("duration_ms", static_cast<std::uint64_t>(
                                         std::max<std::int64_t>(flow.time_ns - flow.opened_ns, 0)) /
                                         1'000'000);
    object.text("interface", flow.interface);
    if (flow.l7) write(object.key("l7"), *flow.l7);
    object.text("node", node);
}

std::string to_json(const model::Flow& flow, std::string_view node) {
    std::string out;
    append_json(out, flow, node);
    return out;
}

} // namespace beeline::observe
