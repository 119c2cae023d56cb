#include "datapath/plumbing.h"

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "datapath/node_sysctls.h"
#include "net/cni_protocol.h"
#include "net/sysctl.h"

namespace beeline::datapath {
namespace {

constexpr std::uint32_t kLoopback = 1; // ifindex of lo in every namespace
constexpr const char* kHostDevice = "bl_host";
constexpr const char* kHostPeer = "bl_host_p";

net::Prefix everything(const net::Ip& like) {
    return like.is_v4() ? net::Prefix::all_v4() : net::Prefix::all_v6();
}

// Of the calling thread's namespace. A kernel without IPv6 has no such sysctls, and then needs none.
Result<> set_interface_sysctls(const std::string& interface, bool host_side) {
    const std::string four = "net/ipv4/conf/" + interface + "/";
    const std::string six = "net/ipv6/conf/" + interface + "/";
    std::vector<std::pair<std::string, const char*>> values{
        {four + "rp_filter", "0"},
        // Runtimes may have turned IPv6 off by default.
        {six + "disable_ipv6", "0"},
        {six + "accept_dad", "0"},
        {six + "accept_ra", "0"}};
    if (host_side) {
        values.emplace_back(four + "forwarding", "1");
        values.emplace_back(six + "forwarding", "1");
    }
    for (const auto& [name, value] : values) {
        const auto done = net::write_sysctl(name, value);
        if (!done && !(done.error().code == Code::not_found && name.starts_with(six))) return done;
    }
    return {};
}

Failure wrong(const std::string& what) { return fail(Code::invalid, "{}", what); }

} // namespace

Result<Plumbing> Plumbing::create(NodeNetwork network) {
    Plumbing plumbing(std::move(network), TRY(net::Namespace::current()),
                      TRY(net::Netlink::open()));
    plumbing.mtu_ = plumbing.network_.mtu;
    if (plumbing.mtu_ == 0) plumbing.mtu_ = TRY(plumbing.outside_mtu());
    return plumbing;
}

std::optional<net::Ip> Plumbing::gateway_for(const net::Ip& ip) const {
    return ip.is_v4() ? network_.gateway_v4 : network_.gateway_v6;
}

Result<std::uint32_t> Plumbing::outside_mtu() {
    const auto routes = TRY(netlink_.routes());
    const net::Route* best = nullptr;
    for (const auto& route : routes) {
        const bool is_default = route.destination.length == 0 && route.table == RT_TABLE_MAIN &&
                                route.index != 0 && route.type == RTN_UNICAST;
        if (is_default && (best == nullptr || route.metric < best->metric)) best = &route;
    }
    if (best == nullptr) return 1500;
    const auto link = netlink_.link(best->index);
    return link && link->mtu > 0 ? link->mtu : 1500;
}

Result<std::uint32_t> Plumbing::make_host_device() {
    auto device = netlink_.link(kHostDevice);
    if (!device && device.error().code == Code::not_found) {
        TRY(netlink_.run(net::create_veth({.name = kHostDevice, .peer_name = kHostPeer})));
        device = netlink_.link(kHostDevice);
    }
    if (!device) return Failure(device.error());
    if (device->kind != "veth") {
        return fail(Code::exists, "a device {} of kind '{}' is in the way: remove it", kHostDevice,
                    device->kind);
    }
    const auto peer = TRY(netlink_.link(kHostPeer));
    for (const char* name : {kHostDevice, kHostPeer})
        TRY(set_interface_sysctls(name, true));
    // Neither has anything to say on the pair: no link-local addresses.
    TRY(netlink_.run({net::change_link(device->index, {.mtu = mtu_, .link_local = false}),
                      net::change_link(peer.index, {.mtu = mtu_, .link_local = false}),
                      net::change_link(device->index, {.up = true}),
                      net::change_link(peer.index, {.up = true})}));
    return device->index;
}

Result<> Plumbing::prepare_node() {
    TRY(set_node_sysctls(network_.state + "/node-sysctls.json", network_.gateway_v4.has_value(),
                         network_.gateway_v6.has_value()));
    const std::uint32_t index = TRY(make_host_device());
    std::set<net::Ip> wanted;
    for (const auto& gateway : {network_.gateway_v4, network_.gateway_v6}) {
        if (gateway) wanted.insert(*gateway);
    }
    std::vector<net::NetlinkRequest> requests;
    const auto addresses = TRY(netlink_.addresses());
    for (const auto& address : addresses) {
        if (address.index != index || address.scope == RT_SCOPE_LINK) continue;
        if (wanted.erase(address.ip) == 0)
            requests.push_back(net::delete_address(index, address.ip, address.length));
    }
    for (const auto& ip : wanted)
        requests.push_back(net::add_address(index, ip, net::Prefix::host(ip).length));
    return netlink_.run(requests);
}

Result<> Plumbing::remove_node() {
    TRY(remove_others({}));
    auto removed = netlink_.run(net::delete_link(kHostDevice));
    if (!removed && removed.error().code != Code::not_found) return removed;
    return restore_node_sysctls(network_.state + "/node-sysctls.json");
}

Result<Plumbing::Staged> Plumbing::stage(const Spec& spec, const net::Namespace& netns) {
    if (netns.inode() == home_.inode()) {
        return fail(Code::invalid, "'{}' is the node's own network namespace", netns.path());
    }
    auto inside = TRY(net::Netlink::open_in(netns));
    if (inside.link(spec.interface)) {
        return fail(Code::exists, "the network namespace '{}' has an interface {} already",
                    netns.path(), spec.interface);
    }
    Staged staged{
        .interface = {.host_interface = net::host_interface_name(spec.container, spec.interface),
                      .mac = spec.mac.value_or(
                          net::attachment_mac(spec.container, spec.interface, false)),
                      .host_mac = net::attachment_mac(spec.container, spec.interface, true),
                      .mtu = spec.mtu != 0 ? spec.mtu : mtu_},
        .inside = std::move(inside)};
    auto& interface = staged.interface;
    // One of this name was left by an attempt that a crash ended: nobody knows it.
    TRY(remove(interface.host_interface));
    TRY(netlink_.run(net::create_veth({.name = interface.host_interface,
                                       .peer_name = spec.interface,
                                       .peer_netns = netns.fd(),
                                       .mac = interface.host_mac,
                                       .peer_mac = interface.mac,
                                       .mtu = interface.mtu})));
    auto outcome = stage_host_side(spec, staged);
    if (outcome) {
        const auto guard = net::InNamespace::enter(netns);
        outcome =
            guard ? set_interface_sysctls(spec.interface, false) : Result<>(Failure(guard.error()));
    }
    if (!outcome) {
        (void)remove(interface.host_interface);
        return Failure(outcome.error());
    }
    return staged;
}

Result<> Plumbing::stage_host_side(const Spec& spec, Staged& staged) {
    auto& interface = staged.interface;
    const auto host = TRY(netlink_.link(interface.host_interface));
    interface.ifindex = host.index;
    staged.inner_index = TRY(staged.inside.link(spec.interface)).index;
    TRY(set_interface_sysctls(interface.host_interface, true));
    std::vector<net::NetlinkRequest> requests{net::change_link(host.index, {.link_local = false}),
                                              net::change_link(host.index, {.up = true})};
    for (const auto& ip : spec.addresses) {
        requests.push_back(net::set_neighbour(host.index, ip, interface.mac));
        requests.push_back(
            net::add_route({.destination = net::Prefix::host(ip), .index = host.index}));
    }
    return netlink_.run(requests);
}

Result<> Plumbing::activate(Staged& staged, const Spec& spec) {
    const std::uint32_t index = staged.inner_index;
    // The alias lets the plugin recognise the interface when the agent is down.
    std::vector<net::NetlinkRequest> requests{
        net::change_link(kLoopback, {.up = true}),
        net::change_link(index, {.up = true, .alias = staged.interface.host_interface})};
    for (const auto& ip : spec.addresses) {
        requests.push_back(net::add_address(index, ip, net::Prefix::host(ip).length));
        if (const auto gateway = gateway_for(ip)) {
            requests.push_back(net::set_neighbour(index, *gateway, staged.interface.host_mac));
            requests.push_back(net::replace_route({.destination = everything(ip),
                                                   .gateway = *gateway,
                                                   .index = index,
                                                   .onlink = true}));
        }
    }
    return staged.inside.run(requests);
}

Result<> Plumbing::remove(const std::string& host_interface) {
    auto removed = netlink_.run(net::delete_link(host_interface));
    if (!removed && removed.error().code != Code::not_found) return removed;
    return {};
}

Result<Plumbing::Interface> Plumbing::find_existing(const net::Namespace& netns,
                                                    const std::string& interface) {
    auto inside = TRY(net::Netlink::open_in(netns));
    const auto link = TRY(inside.link(interface));
    const auto no_host_side = [&] {
        return fail(Code::unsupported,
                    "the interface {} of kind '{}' has no end in the node's network namespace: "
                    "only veth pairs can be "
                    "guarded after another plugin",
                    interface, link.kind);
    };
    if (link.kind != "veth" || link.peer_index == 0) return no_host_side();
    const auto host = netlink_.link(link.peer_index);
    const auto number = TRY(netlink_.namespace_id(netns));
    if (!host || host->kind != "veth" || host->peer_index != link.index ||
        host->peer_netns != number) {
        return no_host_side();
    }
    return Interface{.host_interface = host->name,
                     .ifindex = host->index,
                     .mac = link.mac,
                     .host_mac = host->mac,
                     .mtu = link.mtu};
}

Result<> Plumbing::check(const model::Workload& workload, const net::Namespace& netns) {
    auto inside = TRY(net::Netlink::open_in(netns));
    const auto link = inside.link(workload.interface);
    if (!link) return wrong(fmt::format("the workload has no interface {}", workload.interface));
    const auto host = netlink_.link(workload.ifindex);
    if (!host || host->name != workload.host_interface) {
        return wrong(fmt::format("the host's interface {} is gone", workload.host_interface));
    }
    if (workload.chained) return {};
    TRY(check_inside(workload, inside, *link));
    return check_host_side(workload, *host);
}

Result<> Plumbing::check_inside(const model::Workload& workload, net::Netlink& inside,
                                const net::Link& link) {
    if (!link.up()) return wrong(fmt::format("the interface {} is down", link.name));
    if (link.mac != workload.mac) {
        return wrong(fmt::format("the interface {} has the MAC address {}, expected {}", link.name,
                                 net::to_string(link.mac), net::to_string(workload.mac)));
    }
    const auto addresses = TRY(inside.addresses());
    const auto neighbours = TRY(inside.neighbours());
    const auto routes = TRY(inside.routes());
    for (const auto& ip : workload.addresses) {
        const bool has_address =
            std::any_of(addresses.begin(), addresses.end(), [&](const auto& address) {
                return address.index == link.index && address.ip == ip;
            });
        if (!has_address)
            return wrong(fmt::format("the address {} is not on {}", ip.to_string(), link.name));
        const auto gateway = gateway_for(ip);
        if (!gateway) continue;
        const bool has_route = std::any_of(routes.begin(), routes.end(), [&](const auto& route) {
            return route.index == link.index && route.destination == everything(ip) &&
                   route.gateway == *gateway;
        });
        if (!has_route) {
            return wrong(fmt::format("the default route via {} is not on {}", gateway->to_string(),
                                     link.name));
        }
        const bool has_neighbour =
            std::any_of(neighbours.begin(), neighbours.end(), [&](const auto& neighbour) {
                return neighbour.index == link.index && neighbour.ip == *gateway &&
                       (neighbour.state & NUD_PERMANENT) != 0;
            });
        if (!has_neighbour) {
            return wrong(fmt::format("the neighbour entry of {} is not on {}", gateway->to_string(),
                                     link.name));
        }
    }
    return {};
}

Result<> Plumbing::check_host_side(const model::Workload& workload, const net::Link& host) {
    if (!host.up()) return wrong(fmt::format("the host's interface {} is down", host.name));
    for (const auto& ip : workload.addresses) {
        const auto route = netlink_.route_to(ip);
        if (!route || route->destination != net::Prefix::host(ip) || route->index != host.index) {
            return wrong(
                fmt::format("the host has no route to {} over {}", ip.to_string(), host.name));
        }
    }
    return {};
}

bool Plumbing::present(const model::Workload& workload) {
    const auto host = netlink_.link(workload.host_interface);
    return host && host->index == workload.ifindex;
}

Result<std::vector<std::string>> Plumbing::remove_others(const std::set<std::string>& keep) {
    std::vector<std::string> removed;
    const auto links = TRY(netlink_.links());
    for (const auto& link : links) {
        if (link.kind != "veth" || !net::is_host_interface_name(link.name) ||
            keep.contains(link.name))
            continue;
        TRY(remove(link.name));
        removed.push_back(link.name);
    }
    return removed;
}

} // namespace beeline::datapath
