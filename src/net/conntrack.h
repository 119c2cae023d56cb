// Connections that the kernel's own tracker translates, in the current network namespace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "net/netlink.h"

namespace beeline::net {

// Packets to `from` go to `to`.
struct Translation {
    std::uint8_t protocol = 0;
    Ip from;
    std::uint16_t from_port = 0;
    Ip to;
    std::uint16_t to_port = 0;
    auto operator<=>(const Translation&) const = default;
};

// What a tracked connection's packets are translated to; empty when the message is malformed or nothing is translated.
std::optional<Translation> parse_tracked(const NetlinkMessage& message);

// Forgets every connection with one of these translations, so that its next packet is looked at anew; how many there were.
Result<std::size_t> forget_translated(const std::vector<Translation>& translations);

} // namespace beeline::net
