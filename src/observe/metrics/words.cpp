#include "observe/metrics/words.h"

#include <array>
#include <utility>

#include <fmt/format.h>

#include "observe/json.h"

namespace beeline::observe::metrics {
namespace {

constexpr std::size_t kMostText = 200;

constexpr std::array<std::string_view, 12> kRcodes{"No Error",
                                                   "Format Error",
                                                   "Server Failure",
                                                   "Non-Existent Domain",
                                                   "Not Implemented",
                                                   "Query Refused",
                                                   "Name Exists when it should not",
                                                   "RR Set Exists when it should not",
                                                   "RR Set that should exist does not",
                                                   "Not Authorized",
                                                   "Name not contained in zone",
                                                   "DSO-TYPE Not Implemented"};
constexpr std::array<std::string_view, 8> kExtendedRcodes{
    "Bad OPT Version", "Key not recognized",       "Signature out of time window",
    "Bad TKEY Mode",   "Duplicate key name",       "Algorithm not supported",
    "Bad Truncation",  "Bad/missing Server Cookie"}; // from 16

constexpr std::array<std::pair<std::uint16_t, std::string_view>, 22> kTypes{
    {{1, "A"},      {2, "NS"},     {5, "CNAME"}, {6, "SOA"},    {12, "PTR"},   {13, "HINFO"},
     {15, "MX"},    {16, "TXT"},   {28, "AAAA"}, {29, "LOC"},   {33, "SRV"},   {35, "NAPTR"},
     {39, "DNAME"}, {41, "OPT"},   {43, "DS"},   {44, "SSHFP"}, {46, "RRSIG"}, {48, "DNSKEY"},
     {64, "SVCB"},  {65, "HTTPS"}, {255, "ANY"}, {257, "CAA"}}};

} // namespace

std::string_view l7_word(model::L7::Protocol protocol) {
    using Protocol = model::L7::Protocol;
    switch (protocol) {
    case Protocol::http:
    case Protocol::http2:
    case Protocol::grpc: return "HTTP";
    case Protocol::dns: return "DNS";
    case Protocol::kafka: return "Kafka";
    case Protocol::redis: return "Redis";
    case Protocol::postgresql: return "PostgreSQL";
    case Protocol::mysql: return "MySQL";
    case Protocol::mongodb: return "MongoDB";
    case Protocol::amqp: return "AMQP";
    case Protocol::nats: return "NATS";
    case Protocol::memcached: return "memcached";
    case Protocol::cassandra: return "Cassandra";
    case Protocol::count: break;
    }
    return "Unknown L7";
}

std::string protocol_word(const model::Flow& flow, const Event& event) {
    if (event.type == EventType::l7)
        return std::string(flow.l7 ? l7_word(flow.l7->protocol) : "Unknown L7");
    switch (flow.protocol) {
    case model::Protocol::tcp: return "TCP";
    case model::Protocol::udp: return "UDP";
    case model::Protocol::icmp: return "ICMPv4";
    case model::Protocol::icmpv6: return "ICMPv6";
    case model::Protocol::sctp: return "SCTP";
    case model::Protocol::any: break;
    }
    if (static_cast<unsigned>(flow.protocol) == 2) return "IGMP";
    if (static_cast<unsigned>(flow.protocol) == 112) return "VRRP";
    return "Unknown L4";
}

std::string_view type_word(EventType type) {
    switch (type) {
    case EventType::drop: return "Drop";
    case EventType::trace: return "Trace";
    case EventType::policy_verdict: return "PolicyVerdict";
    case EventType::l7: return "L7";
    case EventType::lost: break;
    }
    return "Unknown";
}

std::string subtype_word(const model::Flow& flow, const Event& event) {
    if (event.type == EventType::trace)
        return std::string(to_string(static_cast<TracePoint>(event.sub_type)));
    if (event.type == EventType::l7 && flow.l7) return std::string(l7_word(flow.l7->protocol));
    return "";
}

std::string_view verdict_word(model::Flow::Verdict verdict) {
    return verdict == model::Flow::Verdict::dropped ? "DROPPED" : "FORWARDED";
}

std::string_view reporter_word(TrafficDirection direction) {
    switch (direction) {
    case TrafficDirection::ingress: return "server";
    case TrafficDirection::egress: return "client";
    case TrafficDirection::unknown: break;
    }
    return "unknown";
}

std::string_view direction_word(TrafficDirection direction) {
    return direction == TrafficDirection::unknown ? "traffic_direction_unknown"
                                                  : to_string(direction);
}

std::string_view family_word(const model::Flow& flow) {
    return flow.source.address.is_v4() ? "IPv4" : "IPv6";
}

std::string rcode_word(std::uint32_t rcode) {
    if (rcode < kRcodes.size()) return std::string(kRcodes[rcode]);
    if (rcode >= 16 && rcode - 16 < kExtendedRcodes.size())
        return std::string(kExtendedRcodes[rcode - 16]);
    return std::to_string(rcode);
}

std::string qtype_word(std::uint16_t type) {
    for (const auto& [number, name] : kTypes)
        if (number == type) return std::string(name);
    return fmt::format("TYPE{}", type);
}

std::string qtypes_word(std::span<const std::uint16_t> types) {
    std::string out;
    for (const std::uint16_t type : types) {
        if (!out.empty()) out += ',';
        if (out.size() > kMostText) break;
        out += qtype_word(type);
    }
    return out;
}

std::string label_text(std::string_view text) {
    bool plain = text.size() <= kMostText;
    for (const char c : text)
        plain = plain && c >= 0x20 && c < 0x7f;
    if (plain) return std::string(text);
    // The writer of JSON strings knows what is UTF-8; what it had to escape becomes a question mark.
    std::string quoted;
    append_json_string(quoted, text.substr(0, kMostText));
    std::string out;
    for (std::size_t i = 1; i + 1 < quoted.size(); ++i) {
        if (quoted[i] != '\\') {
            out += quoted[i];
            continue;
        }
        const char what = quoted[++i];
        out += what == '"' || what == '\\' ? what : '?';
        if (what == 'u') i += 4;
    }
    return out;
}

} // namespace beeline::observe::metrics
