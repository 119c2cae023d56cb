// Transport protocols by IP protocol number.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace beeline::model {

enum class Protocol : std::uint8_t {
    any = 0,
    icmp = 1,
    tcp = 6,
    udp = 17,
    icmpv6 = 58,
    sctp = 132
};

std::string to_string(Protocol protocol); // "TCP"; a bare number for others
std::optional<Protocol>
parse_protocol(std::string_view text); // any case: tcp, udp, sctp, icmp, icmpv6, any

} // namespace beeline::model
