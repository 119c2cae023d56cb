// Which way packets take to the other nodes. Pure: Node objects and what the kernel's routes say in, paths out.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "datapath/remote_node.h"
#include "model/objects.h"
#include "net/netlink.h"

namespace beeline::datapath {

enum class NodeMode { none, vxlan, direct };

struct NodePathOptions {
    NodeMode mode = NodeMode::none;
    std::string node; // own name
    std::string device = "bl_vxlan";
    std::uint16_t port = 8472;
    std::uint32_t vni = 1;
    std::vector<net::Prefix> ranges; // of own pods
};

// How the kernel reaches an address.
struct Way {
    net::Ip hop; // the address itself when its link is here
    std::uint32_t index = 0;
    std::string interface;
    std::uint32_t mtu = 0; // of the device
    bool ethernet = true;
};
using FindWay = std::function<std::optional<Way>(const net::Ip&)>;

inline constexpr std::uint32_t kVxlanOverV4 = 50; // bytes before the inner IP header
inline constexpr std::uint32_t kVxlanOverV6 = 70;
inline constexpr std::uint8_t kRouteProtocol = 190; // of the routes that the agent makes

struct NodePlan {
    std::vector<RemoteNode> nodes; // by name
    std::vector<net::Route> routes;
    std::vector<std::uint32_t> uplinks; // without a tunnel: devices that lead to nodes
    std::uint32_t mtu = 0;              // the longest packet that every path takes; 0: no path
    std::vector<std::string> warnings;
};

// `tunnel` is the ifindex of the VXLAN device, 0 without.
NodePlan plan_nodes(const model::Objects& objects, const NodePathOptions& options,
                    std::uint32_t tunnel, const FindWay& find_way);

// The address that a node has in its range of pods, for its own packets to pods.
net::Ip gateway_of(const net::Prefix& range);

} // namespace beeline::datapath
