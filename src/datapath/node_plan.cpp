#include "datapath/node_plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "datapath/tables.h"

namespace beeline::datapath {
namespace {

using model::ClusterNode;

net::Ip address_of(const std::vector<net::Ip>& addresses, bool v4) {
    const auto found = std::find_if(addresses.begin(), addresses.end(),
                                    [&](const net::Ip& ip) { return ip.is_v4() == v4; });
    return found == addresses.end() ? net::Ip{} : *found;
}

bool overlap(const net::Prefix& a, const net::Prefix& b) { return a.contains(b) || b.contains(a); }

std::uint32_t least(std::uint32_t a, std::uint32_t b) { return a == 0 ? b : std::min(a, b); }

class Planner {
public:
    Planner(const model::Objects& objects, const NodePathOptions& options, std::uint32_t tunnel,
            const FindWay& find_way)
        : options_(options), tunnel_(tunnel), find_way_(find_way) {
        const auto own = objects.nodes.find(options.node);
        if (own != objects.nodes.end()) {
            own_ = &own->second;
            for (const auto& range : own_->pod_ranges)
                taken_.emplace_back(range, options.node);
        }
        for (const auto& range : options.ranges)
            taken_.emplace_back(range, options.node);
    }

    void add(const ClusterNode& node);
    NodePlan take();

private:
    void claim_ranges(const ClusterNode& node, RemoteNode& out);
    void by_tunnel(RemoteNode& out, const std::vector<net::Ip>& addresses);
    void directly(RemoteNode& out, const std::vector<net::Ip>& addresses);
    [[nodiscard]] net::Ip own_address(bool v4) const {
        return own_ == nullptr ? net::Ip{} : address_of(own_->addresses, v4);
    }
    // From where the host itself speaks to pods.
    [[nodiscard]] net::Ip own_source(bool v4) const;

    const NodePathOptions& options_;
    std::uint32_t tunnel_;
    const FindWay& find_way_;
    const ClusterNode* own_ = nullptr;
    std::vector<std::pair<net::Prefix, std::string>> taken_;
    NodePlan plan_;
};

net::Ip Planner::own_source(bool v4) const {
    const net::Ip address = own_address(v4);
    if (!address.is_zero()) return address;
    for (const auto& range : options_.ranges) {
        if (range.is_v4() == v4) return gateway_of(range);
    }
    return {};
}

void Planner::claim_ranges(const ClusterNode& node, RemoteNode& out) {
    for (const auto& range : node.pod_ranges) {
        const auto other = std::find_if(taken_.begin(), taken_.end(), [&](const auto& taken) {
            return taken.second != node.name && overlap(taken.first, range);
        });
        if (other != taken_.end()) {
            plan_.warnings.push_back(
                fmt::format("Node {}: the pod range {} overlaps {} of Node {} and is left out",
                            node.name, range.to_string(), other->first.to_string(), other->second));
            continue;
        }
        taken_.emplace_back(range, node.name);
        out.ranges.push_back(range);
        out.addresses.push_back(gateway_of(range));
    }
}

void Planner::by_tunnel(RemoteNode& out, const std::vector<net::Ip>& addresses) {
    // One outer family, the same from both sides: IPv4 when both nodes have it.
    const bool v4 =
        !address_of(addresses, true).is_zero() && (own_ == nullptr || !own_address(true).is_zero());
    const net::Ip remote = address_of(addresses, v4);
    const net::Ip local = own_address(v4);
    if (remote.is_zero() || (own_ != nullptr && local.is_zero())) {
        plan_.warnings.push_back(
            fmt::format("Node {}: no address of a family that this node has too", out.name));
        return;
    }
    const auto way = find_way_(remote);
    if (!way) {
        plan_.warnings.push_back(
            fmt::format("Node {}: no route to {}", out.name, remote.to_string()));
        return;
    }
    const std::uint32_t overhead = v4 ? kVxlanOverV4 : kVxlanOverV6;
    const std::uint32_t mtu = way->mtu > overhead ? way->mtu - overhead : 0;
    out.path.addr = to_abi(remote);
    out.path.local = to_abi(local);
    out.path.ifindex = tunnel_;
    out.path.vni = options_.vni;
    out.path.mtu = static_cast<__u16>(std::min<std::uint32_t>(mtu, 65535));
    out.path.flags = BL_NODE_TUNNEL;
    out.interface = options_.device;
    plan_.mtu = least(plan_.mtu, mtu);
    for (const auto& range : out.ranges) {
        net::Route route;
        route.destination = range;
        route.index = tunnel_;
        route.protocol = kRouteProtocol;
        route.source = own_source(range.is_v4());
        route.encapsulation = net::Encapsulation{options_.vni, remote, local};
        plan_.routes.push_back(route);
    }
}

void Planner::directly(RemoteNode& out, const std::vector<net::Ip>& addresses) {
    for (const bool v4 : {true, false}) {
        const net::Ip address = address_of(addresses, v4);
        if (address.is_zero()) continue;
        const auto way = find_way_(address);
        if (!way) {
            plan_.warnings.push_back(
                fmt::format("Node {}: no route to {}", out.name, address.to_string()));
            continue;
        }
        const bool first = out.path.addr.half[0] == 0 && out.path.addr.half[1] == 0;
        if (first) {
            out.path.addr = to_abi(address);
            out.path.ifindex = way->ethernet ? way->index : 0;
            out.interface = way->interface;
            out.path.mtu = static_cast<__u16>(std::min<std::uint32_t>(way->mtu, 65535));
        }
        if (way->index == out.path.ifindex) {
            // Another device than the first family's: that family goes through the host's stack.
            if (v4) {
                out.path.hop4 = __builtin_bswap32(way->hop.v4_host_order());
            } else {
                out.path.hop6 = to_abi(way->hop);
            }
            plan_.uplinks.push_back(way->index);
        }
        plan_.mtu = least(plan_.mtu, way->mtu);
        for (const auto& range : out.ranges) {
            if (range.is_v4() != v4) continue;
            net::Route route;
            route.destination = range;
            route.gateway = way->hop;
            route.index = way->index;
            route.protocol = kRouteProtocol;
            route.source = own_source(v4);
            plan_.routes.push_back(route);
        }
    }
    for (const auto& range : out.ranges) {
        const bool routed = std::any_of(plan_.routes.begin(), plan_.routes.end(),
                                        [&](const auto& r) { return r.destination == range; });
        if (!routed)
            plan_.warnings.push_back(
                fmt::format("Node {}: no address of the family of its pod range {}", out.name,
                            range.to_string()));
    }
}

void Planner::add(const ClusterNode& node) {
    RemoteNode out;
    out.name = node.name;
    out.addresses = node.addresses;
    claim_ranges(node, out);
    if (options_.mode == NodeMode::vxlan) by_tunnel(out, node.addresses);
    if (options_.mode == NodeMode::direct) directly(out, node.addresses);
    plan_.nodes.push_back(std::move(out));
}

NodePlan Planner::take() {
    std::sort(plan_.uplinks.begin(), plan_.uplinks.end());
    plan_.uplinks.erase(std::unique(plan_.uplinks.begin(), plan_.uplinks.end()),
                        plan_.uplinks.end());
    return std::move(plan_);
}

} // namespace

net::Ip gateway_of(const net::Prefix& range) {
    net::Ip gateway = range.base;
    ++gateway.bytes.back();
    return gateway;
}

NodePlan plan_nodes(const model::Objects& objects, const NodePathOptions& options,
                    std::uint32_t tunnel, const FindWay& find_way) {
    Planner planner(objects, options, tunnel, find_way);
    for (const auto& [name, node] : objects.nodes) {
        if (name != options.node) planner.add(node);
    }
    return planner.take();
}

} // namespace beeline::datapath
