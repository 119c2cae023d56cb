#include "datapath/node_paths.h"

#include <linux/rtnetlink.h>
#include <net/if_arp.h>

#include <algorithm>

#include "base/log.h"
#include "datapath/tables.h"
#include "net/sysctl.h"

namespace beeline::datapath {
namespace {

// What the device was made with, as its alias: a device of other settings is made anew.
std::string alias_of(const NodePathOptions& options) {
    return fmt::format("beeline port {}", options.port);
}

bool same(const NodePlan& a, const NodePlan& b) {
    const auto equal = [](const RemoteNode& x, const RemoteNode& y) {
        return x.name == y.name && x.addresses == y.addresses && x.ranges == y.ranges &&
               BytesEqual{}(x.path, y.path);
    };
    return std::equal(a.nodes.begin(), a.nodes.end(), b.nodes.begin(), b.nodes.end(), equal) &&
           a.routes == b.routes && a.uplinks == b.uplinks && a.mtu == b.mtu &&
           a.warnings == b.warnings;
}

bool same_place(const net::Route& a, const net::Route& b) {
    return a.destination == b.destination && a.index == b.index && a.gateway == b.gateway;
}

} // namespace

Result<NodePaths> NodePaths::create(NodePathOptions options) {
    return NodePaths(std::move(options), TRY(net::Netlink::open()));
}

std::optional<Way> NodePaths::find_way(const net::Ip& ip) {
    const auto route = netlink_.route_to(ip);
    if (!route || route->index == 0 || route->type != RTN_UNICAST) return {};
    const auto link = netlink_.link(route->index);
    if (!link) return {};
    Way way;
    way.hop = route->gateway.is_zero() ? ip : route->gateway;
    way.index = route->index;
    way.interface = link->name;
    way.mtu = link->mtu;
    way.ethernet = link->hardware == ARPHRD_ETHER;
    return way;
}

Result<> NodePaths::make_tunnel() {
    auto device = netlink_.link(std::string_view(options_.device));
    if (device && (device->kind != "vxlan" || device->alias != alias_of(options_))) {
        TRY(netlink_.run(net::delete_link(device->index)));
        device = fail(Code::not_found, "{}", options_.device);
    }
    if (!device && device.error().code == Code::not_found) {
        TRY(netlink_.run(net::create_vxlan({options_.device, options_.port, 0})));
        device = netlink_.link(std::string_view(options_.device));
    }
    if (!device) return Failure(device.error());
    for (const auto& [name, value] : std::initializer_list<std::pair<std::string, const char*>>{
             {fmt::format("net/ipv4/conf/{}/rp_filter", options_.device), "0"},
             {fmt::format("net/ipv6/conf/{}/disable_ipv6", options_.device), "0"},
             {fmt::format("net/ipv6/conf/{}/accept_ra", options_.device), "0"},
             {fmt::format("net/ipv6/conf/{}/accept_dad", options_.device), "0"}}) {
        const auto done = net::write_sysctl(name, value);
        if (!done && done.error().code != Code::not_found) return done;
    }
    net::LinkChange change;
    change.link_local = false;
    change.alias = alias_of(options_);
    TRY(netlink_.run(net::change_link(device->index, change)));
    net::LinkChange up;
    up.up = true;
    TRY(netlink_.run(net::change_link(device->index, up)));
    tunnel_ = device->index;
    return {};
}

Result<bool> NodePaths::plan(const model::Objects& objects) {
    const bool others = std::any_of(objects.nodes.begin(), objects.nodes.end(),
                                    [&](const auto& node) { return node.first != options_.node; });
    if (others && options_.mode == NodeMode::vxlan) TRY(make_tunnel());
    NodePlan next =
        plan_nodes(objects, options_, tunnel_, [this](const net::Ip& ip) { return find_way(ip); });
    if (same(plan_, next)) return false;
    if (tunnel_ != 0 && next.mtu != 0 && next.mtu != plan_.mtu) {
        net::LinkChange change;
        change.mtu = next.mtu;
        TRY(netlink_.run(net::change_link(tunnel_, change)));
    }
    plan_ = std::move(next);
    return true;
}

Result<> NodePaths::install() {
    Result<> outcome;
    const auto attempt = [&](const net::NetlinkRequest& request) {
        if (auto done = netlink_.run(request); !done && outcome) outcome = std::move(done);
    };
    std::vector<net::Route> there;
    for (const auto& route : TRY(netlink_.routes())) {
        if (route.protocol != kRouteProtocol) continue;
        there.push_back(route);
        const bool wanted =
            std::any_of(plan_.routes.begin(), plan_.routes.end(),
                        [&](const net::Route& wish) { return same_place(wish, route); });
        if (!wanted) attempt(net::delete_route(route));
    }
    // A route that is as it was left is not touched: the kernel would forget what it knows of all ways.
    for (const auto& route : plan_.routes) {
        const bool stands =
            std::find(installed_.begin(), installed_.end(), route) != installed_.end() &&
            std::any_of(there.begin(), there.end(),
                        [&](const net::Route& other) { return same_place(route, other); });
        if (!stands) attempt(net::replace_route(route));
    }
    installed_ = outcome ? plan_.routes : std::vector<net::Route>{};
    if (options_.mode != NodeMode::vxlan) {
        const auto device = netlink_.link(std::string_view(options_.device));
        if (device && device->kind == "vxlan") attempt(net::delete_link(device->index));
    }
    return outcome;
}

Result<> NodePaths::remove() {
    for (const auto& route : TRY(netlink_.routes())) {
        if (route.protocol == kRouteProtocol) TRY(netlink_.run(net::delete_route(route)));
    }
    const auto device = netlink_.link(std::string_view(options_.device));
    if (device && device->kind == "vxlan") return netlink_.run(net::delete_link(device->index));
    return {};
}

} // namespace beeline::datapath
