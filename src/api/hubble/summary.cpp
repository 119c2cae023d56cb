#include "api/hubble/summary.h"

#include <array>
#include <limits>
#include <string_view>

#include <fmt/format.h>

namespace beeline::hubble {
namespace {

struct Numbered {
    unsigned number;
    std::string_view text;
};

template <std::size_t N>
std::string_view find(const std::array<Numbered, N>& table, unsigned number) {
    for (const Numbered& entry : table)
        if (entry.number == number) return entry.text;
    return {};
}

constexpr std::array<Numbered, 15> kTypes4{{{0, "EchoReply"},
                                            {3, "DestinationUnreachable"},
                                            {4, "SourceQuench"},
                                            {5, "Redirect"},
                                            {8, "EchoRequest"},
                                            {9, "RouterAdvertisement"},
                                            {10, "RouterSolicitation"},
                                            {11, "TimeExceeded"},
                                            {12, "ParameterProblem"},
                                            {13, "TimestampRequest"},
                                            {14, "TimestampReply"},
                                            {15, "InfoRequest"},
                                            {16, "InfoReply"},
                                            {17, "AddressMaskRequest"},
                                            {18, "AddressMaskReply"}}};
constexpr std::array<Numbered, 13> kUnreachable4{{{0, "Net"},
                                                  {1, "Host"},
                                                  {2, "Protocol"},
                                                  {3, "Port"},
                                                  {4, "FragmentationNeeded"},
                                                  {5, "SourceRoutingFailed"},
                                                  {6, "NetUnknown"},
                                                  {7, "HostUnknown"},
                                                  {8, "SourceIsolated"},
                                                  {9, "NetAdminProhibited"},
                                                  {10, "HostAdminProhibited"},
                                                  {11, "NetTOS"},
                                                  {12, "HostTOS"}}};
constexpr std::array<Numbered, 4> kRedirect4{
    {{0, "Net"}, {1, "Host"}, {2, "TOS+Net"}, {3, "TOS+Host"}}};
constexpr std::array<Numbered, 2> kExceeded4{
    {{0, "TTLExceeded"}, {1, "FragmentReassemblyTimeExceeded"}}};
constexpr std::array<Numbered, 13> kTypes6{{{1, "DestinationUnreachable"},
                                            {2, "PacketTooBig"},
                                            {3, "TimeExceeded"},
                                            {4, "ParameterProblem"},
                                            {128, "EchoRequest"},
                                            {129, "EchoReply"},
                                            {133, "RouterSolicitation"},
                                            {134, "RouterAdvertisement"},
                                            {135, "NeighborSolicitation"},
                                            {136, "NeighborAdvertisement"},
                                            {137, "Redirect"},
                                            {130, "MLDv1MulticastListenerQueryMessage"},
                                            {143, "MLDv2MulticastListenerReportMessageV2"}}};
constexpr std::array<Numbered, 8> kUnreachable6{{{0, "NoRouteToDst"},
                                                 {1, "AdminProhibited"},
                                                 {2, "BeyondScopeOfSrc"},
                                                 {3, "AddressUnreachable"},
                                                 {4, "PortUnreachable"},
                                                 {5, "SrcAddressFailedPolicy"},
                                                 {6, "RejectRouteToDst"},
                                                 {7, "SrcRoutingHeaderErr"}}};
constexpr std::array<Numbered, 2> kExceeded6{
    {{0, "HopLimitExceeded"}, {1, "FragmentReassemblyTimeExceeded"}}};
constexpr std::array<Numbered, 10> kResponseCodes{{{1, "Format Error"},
                                                   {2, "Server Failure"},
                                                   {3, "Non-Existent Domain"},
                                                   {4, "Not Implemented"},
                                                   {5, "Query Refused"},
                                                   {6, "Name Exists when it should not"},
                                                   {7, "RR Set Exists when it should not"},
                                                   {8, "RR Set that should exist does not"},
                                                   {9, "Server Not Authoritative for zone"},
                                                   {10, "Name not contained in zone"}}};
constexpr std::array<Numbered, 20> kRecordTypes{
    {{1, "A"},       {2, "NS"},     {5, "CNAME"},  {6, "SOA"},   {12, "PTR"},
     {13, "HINFO"},  {15, "MX"},    {16, "TXT"},   {28, "AAAA"}, {33, "SRV"},
     {35, "NAPTR"},  {39, "DNAME"}, {41, "OPT"},   {43, "DS"},   {46, "RRSIG"},
     {48, "DNSKEY"}, {64, "SVCB"},  {65, "HTTPS"}, {255, "ANY"}, {257, "CAA"}}};

std::string icmp_text(std::string_view family, std::string_view type, std::string_view code,
                      unsigned type_number, unsigned code_number) {
    if (type.empty()) return fmt::format("{} {}({})", family, type_number, code_number);
    if (code.empty()) return fmt::format("{} {}", family, type);
    return fmt::format("{} {}({})", family, type, code);
}

std::string icmp4(const ::flow::ICMPv4& icmp) {
    std::string_view code;
    if (icmp.type() == 3) code = find(kUnreachable4, icmp.code());
    if (icmp.type() == 5) code = find(kRedirect4, icmp.code());
    if (icmp.type() == 11) code = find(kExceeded4, icmp.code());
    return icmp_text("ICMPv4", find(kTypes4, icmp.type()), code, icmp.type(), icmp.code());
}

std::string icmp6(const ::flow::ICMPv6& icmp) {
    std::string_view code;
    if (icmp.type() == 1) code = find(kUnreachable6, icmp.code());
    if (icmp.type() == 3) code = find(kExceeded6, icmp.code());
    return icmp_text("ICMPv6", find(kTypes6, icmp.type()), code, icmp.type(), icmp.code());
}

std::string tcp(const ::flow::TCPFlags& flags) {
    std::string out;
    const auto add = [&](bool set, std::string_view name) {
        if (!set) return;
        if (!out.empty()) out += ", ";
        out += name;
    };
    add(flags.syn(), "SYN");
    add(flags.ack(), "ACK");
    add(flags.rst(), "RST");
    add(flags.fin(), "FIN");
    add(flags.psh(), "PSH");
    add(flags.urg(), "URG");
    add(flags.ece(), "ECE");
    add(flags.cwr(), "CWR");
    add(flags.ns(), "NS");
    return "TCP Flags: " + out;
}

std::string transport(const ::flow::Layer4& l4) {
    switch (l4.protocol_case()) {
    case ::flow::Layer4::kTCP: return tcp(l4.tcp().flags());
    case ::flow::Layer4::kUDP: return "UDP";
    case ::flow::Layer4::kSCTP: return "SCTP";
    case ::flow::Layer4::kICMPv4: return icmp4(l4.icmpv4());
    case ::flow::Layer4::kICMPv6: return icmp6(l4.icmpv6());
    default: return "";
    }
}

std::uint64_t milliseconds(std::uint64_t ns) { return ns / 1'000'000; }

std::string http(const ::flow::HTTP& record, bool response, std::uint64_t latency_ns) {
    if (!response) return fmt::format("{} {} {}", record.protocol(), record.method(), record.url());
    return fmt::format("{} {} {}ms ({} {})", record.protocol(), record.code(),
                       milliseconds(latency_ns), record.method(), record.url());
}

std::string dns(const ::flow::DNS& record, bool response) {
    const std::string types = fmt::format("{}", fmt::join(record.qtypes(), ","));
    if (!response) return fmt::format("DNS Query {} {}", record.query(), types);
    std::string answer;
    if (record.rcode() != 0) {
        const auto name = find(kResponseCodes, record.rcode());
        answer = name.empty() ? fmt::format("RCode: {}", record.rcode())
                              : fmt::format("RCode: {}", name);
    } else {
        if (record.ips_size() > 0) answer = fmt::format("\"{}\"", fmt::join(record.ips(), ","));
        if (record.cnames_size() > 0)
            answer += fmt::format("{}CNAMEs: \"{}\"", answer.empty() ? "" : " ",
                                  fmt::join(record.cnames(), ","));
    }
    return fmt::format("DNS Answer {}{}TTL: {} (Proxy {} {})", answer, answer.empty() ? "" : " ",
                       record.ttl(), record.query(), types);
}

// Protocols that Hubble has no message for.
std::string other(const model::L7& l7) {
    std::string out = fmt::format("{} {}", to_string(l7.protocol), l7.method);
    if (!l7.resource.empty()) out += " " + l7.resource;
    if (l7.type == model::L7::Type::request) return out;
    const std::string_view status = l7.status == model::L7::Status::ok      ? "ok "
                                    : l7.status == model::L7::Status::error ? "error "
                                                                            : "";
    return fmt::format("{} {}{}ms", out, status, milliseconds(l7.latency_ns));
}

} // namespace

std::string record_type(std::uint16_t type) {
    const auto name = find(kRecordTypes, type);
    return name.empty() ? fmt::format("TYPE{}", type) : std::string(name);
}

std::string summary_of(const ::flow::Flow& flow, const model::L7* l7) {
    if (l7 == nullptr) return transport(flow.l4());
    const bool response = flow.l7().type() == ::flow::RESPONSE;
    switch (flow.l7().record_case()) {
    case ::flow::Layer7::kHttp: return http(flow.l7().http(), response, flow.l7().latency_ns());
    case ::flow::Layer7::kDns: return dns(flow.l7().dns(), response);
    default: return other(*l7);
    }
}

} // namespace beeline::hubble
