// Ports of the node that lead to a workload (the CNI capability portMappings), and how much a workload may send and receive
// (the capability bandwidth).
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "model/protocol.h"
#include "net/address.h"

namespace beeline::model {

struct HostPort {
    net::Ip address; // of the node; zero: all of them
    bool v4 = true;  // families that it is served in
    bool v6 = true;
    Protocol protocol = Protocol::tcp;
    std::uint16_t port = 0;   // of the node
    std::uint16_t target = 0; // of the workload
    auto operator<=>(const HostPort&) const = default;

    // Is it served at this address of the node?
    [[nodiscard]] bool at(const net::Ip& node_address) const;
    [[nodiscard]] std::string to_string() const; // "198.51.100.1:8080/TCP", "*:8080/TCP"
};

// Would some packet belong to both?
bool overlap(const HostPort& a, const HostPort& b);

// Zero: no limit. `burst` zero: Beeline chooses.
struct Rate {
    std::uint64_t bits_per_second = 0;
    std::uint64_t burst_bits = 0;
    auto operator<=>(const Rate&) const = default;
};

// Seen from the workload.
struct Bandwidth {
    Rate ingress;
    Rate egress;
    auto operator<=>(const Bandwidth&) const = default;
    [[nodiscard]] bool limited() const {
        return ingress.bits_per_second != 0 || egress.bits_per_second != 0;
    }
};

} // namespace beeline::model
