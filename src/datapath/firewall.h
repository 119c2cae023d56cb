// What is left to the host's firewall (table inet beeline of the node's network namespace):
// masquerading what leaves the node, and refusing packets that the datapath marked, with a TCP
// reset or an ICMP unreachable.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/address.h"

namespace beeline::datapath {

struct FirewallOptions {
    std::optional<net::Prefix> range4; // workloads' ranges
    std::optional<net::Prefix> range6;
    bool masquerade = true;
    std::uint16_t tunnel_port =
        0; // UDP port whose packets the host's connection tracking leaves alone; 0: none
    std::vector<net::Prefix>
        cluster; // ranges of other nodes: reached under the workload's own address
};

// Replaces the table in one transaction. Acts in the current network namespace.
Result<> install_firewall(const FirewallOptions& options);
Result<> remove_firewall();

} // namespace beeline::datapath
