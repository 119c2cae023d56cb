#include "model/protocol.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace beeline::model {
namespace {

constexpr std::array<std::pair<Protocol, std::string_view>, 6> kNames{{
    {Protocol::any, "ANY"},
    {Protocol::icmp, "ICMP"},
    {Protocol::tcp, "TCP"},
    {Protocol::udp, "UDP"},
    {Protocol::icmpv6, "ICMPv6"},
    {Protocol::sctp, "SCTP"},
}};

bool equal_in_any_case(std::string_view a, std::string_view b) {
    const auto lower = [](char c) { return std::tolower(static_cast<unsigned char>(c)); };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [&](char x, char y) { return lower(x) == lower(y); });
}

} // namespace

std::string to_string(Protocol protocol) {
    for (const auto& [value, name] : kNames) {
        if (value == protocol) return std::string(name);
    }
    return std::to_string(static_cast<unsigned>(protocol));
}

std::optional<Protocol> parse_protocol(std::string_view text) {
    for (const auto& [value, name] : kNames) {
        if (equal_in_any_case(text, name)) return value;
    }
    return std::nullopt;
}

} // namespace beeline::model
