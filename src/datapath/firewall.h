// What is left to the host's firewall (table inet beeline of the node's network namespace):
// masquerading what leaves the node, refusing packets that the datapath marked, with a TCP
// reset or an ICMP unreachable, and leading what comes from outside to a host port on to its workload.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "datapath/compile.h"
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

// Replaces the rules in one transaction; host ports of an earlier run stay. Acts in the current network namespace.
Result<> install_firewall(const FirewallOptions& options);
// Makes the host ports these, in one transaction. The client's address is kept.
Result<> set_host_ports(const std::vector<HostPortRoute>& routes);
Result<> remove_firewall();

} // namespace beeline::datapath
