// A workload attached to this machine's datapath.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/host_port.h"
#include "model/objects.h"

namespace beeline::model {

struct Workload {
    std::uint32_t id = 0; // stable number on this node, from 1
    ObjectName name;      // "default"/container id when the runtime gives no pod name
    Labels labels;
    std::vector<NamedPort> ports;
    std::vector<net::Ip> addresses;
    std::string container;      // CNI container id
    std::string interface;      // name inside the workload, e.g. eth0
    std::string host_interface; // host side of the veth pair
    std::string network;        // CNI network that it was attached for
    std::uint32_t ifindex = 0;  // of the host side
    net::Mac mac{};             // of the workload's own interface
    std::string netns;          // path given by the runtime
    std::uint64_t netns_inode = 0;
    std::string cgroup; // path below the cgroup2 mount, empty if not known
    std::uint64_t cgroup_id = 0;
    std::uint32_t pid = 0;    // of `beeline run` workloads: the main process
    std::string source;       // "run" or "cni"
    std::int64_t created = 0; // seconds since the epoch
    std::vector<HostPort> host_ports;
    Bandwidth bandwidth;
    bool ready = true;
    bool chained = false; // interface made by another plugin
};

} // namespace beeline::model
