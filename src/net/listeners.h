// Who listens in a network namespace, by the text of /proc/PID/net/{tcp,tcp6,udp,udp6}.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/address.h"

namespace beeline::net {

struct Listener {
    Ip address; // zero: every address
    std::uint16_t port = 0;
    bool v6 = false; // a socket of IPv6, which on every address takes IPv4 too
    bool operator==(const Listener&) const = default;
};

// TCP sockets that listen, or UDP sockets that are not connected. Rows that are not understood are left out.
std::vector<Listener> parse_listeners(std::string_view text, bool tcp);

// Of the namespace that the process is in; empty when it cannot be read.
std::vector<Listener> listeners_of(const std::string& proc, std::uint32_t pid, bool tcp);

} // namespace beeline::net
