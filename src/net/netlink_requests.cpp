// The requests of netlink.h as bytes, and the kernel's answers as values.
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/lwtunnel.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include "net/netlink.h"

namespace beeline::net {
namespace {

constexpr std::uint16_t kChange = NLM_F_REQUEST | NLM_F_ACK;
constexpr std::uint16_t kCreate = kChange | NLM_F_CREATE | NLM_F_EXCL;

std::uint8_t family_of(const Ip& ip) { return ip.is_v4() ? AF_INET : AF_INET6; }

void put_mac(MessageBuilder& message, const Mac& mac) {
    message.attribute(IFLA_ADDRESS, mac.data(), mac.size());
}

NetlinkRequest address_request(std::uint16_t type, std::uint16_t flags, std::uint32_t index,
                               const Ip& ip, std::uint8_t length, bool no_dad, std::string what) {
    MessageBuilder message(type, flags);
    message.header(ifaddrmsg{.ifa_family = family_of(ip),
                             .ifa_prefixlen = length,
                             .ifa_flags = 0,
                             .ifa_scope = RT_SCOPE_UNIVERSE,
                             .ifa_index = index});
    message.attribute_ip(IFA_LOCAL, ip);
    message.attribute_ip(IFA_ADDRESS, ip);
    if (no_dad)
        message.attribute_u32(IFA_FLAGS, IFA_F_NODAD | IFA_F_NOPREFIXROUTE | IFA_F_PERMANENT);
    return message.finish(fmt::format("{} address {}/{}", what, ip.to_string(), length));
}

void put_encapsulation(MessageBuilder& message, const Encapsulation& around) {
    const bool v4 = around.remote.is_v4();
    const std::uint16_t kind = v4 ? LWTUNNEL_ENCAP_IP : LWTUNNEL_ENCAP_IP6;
    message.attribute(RTA_ENCAP_TYPE, &kind, sizeof kind);
    const auto nest = message.begin(RTA_ENCAP);
    const std::uint64_t id = __builtin_bswap64(around.vni);
    // The numbers are the same in both families.
    static_assert(int{LWTUNNEL_IP_ID} == int{LWTUNNEL_IP6_ID} &&
                  int{LWTUNNEL_IP_DST} == int{LWTUNNEL_IP6_DST} &&
                  int{LWTUNNEL_IP_SRC} == int{LWTUNNEL_IP6_SRC});
    message.attribute(LWTUNNEL_IP_ID, &id, sizeof id);
    message.attribute_ip(LWTUNNEL_IP_DST, around.remote);
    if (!around.local.is_zero()) message.attribute_ip(LWTUNNEL_IP_SRC, around.local);
    message.end(nest);
}

NetlinkRequest route_request(std::uint16_t type, std::uint16_t flags, const Route& route,
                             std::string_view what) {
    const bool direct = route.gateway.is_zero();
    MessageBuilder message(type, flags);
    message.header(rtmsg{
        .rtm_family = family_of(route.destination.base),
        .rtm_dst_len = route.destination.length,
        .rtm_src_len = 0,
        .rtm_tos = 0,
        .rtm_table = static_cast<std::uint8_t>(route.table < 256 ? route.table : RT_TABLE_UNSPEC),
        .rtm_protocol = route.protocol,
        .rtm_scope = static_cast<std::uint8_t>(
            type == RTM_DELROUTE ? RT_SCOPE_NOWHERE : (direct ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE)),
        .rtm_type = route.type,
        .rtm_flags = route.onlink ? static_cast<unsigned>(RTNH_F_ONLINK) : 0U});
    message.attribute_u32(RTA_TABLE, route.table);
    if (route.destination.length > 0) message.attribute_ip(RTA_DST, route.destination.base);
    if (!direct) message.attribute_ip(RTA_GATEWAY, route.gateway);
    if (route.index != 0) message.attribute_u32(RTA_OIF, route.index);
    if (route.metric != 0) message.attribute_u32(RTA_PRIORITY, route.metric);
    if (!route.source.is_zero()) message.attribute_ip(RTA_PREFSRC, route.source);
    if (route.encapsulation) put_encapsulation(message, *route.encapsulation);
    if (route.mtu != 0) {
        const auto metrics = message.begin(RTA_METRICS);
        message.attribute_u32(RTAX_MTU, route.mtu);
        message.end(metrics);
    }
    return message.finish(fmt::format("{} route {}{}", what, route.destination.to_string(),
                                      direct ? "" : " via " + route.gateway.to_string()));
}

NetlinkRequest neighbour_request(std::uint16_t type, std::uint16_t flags, std::uint32_t index,
                                 const Ip& ip, const Mac* mac, std::string_view what) {
    MessageBuilder message(type, flags);
    message.header(ndmsg{.ndm_family = family_of(ip),
                         .ndm_pad1 = 0,
                         .ndm_pad2 = 0,
                         .ndm_ifindex = static_cast<std::int32_t>(index),
                         .ndm_state = NUD_PERMANENT,
                         .ndm_flags = 0,
                         .ndm_type = RTN_UNICAST});
    message.attribute_ip(NDA_DST, ip);
    if (mac != nullptr) message.attribute(NDA_LLADDR, mac->data(), mac->size());
    return message.finish(fmt::format("{} neighbour {}", what, ip.to_string()));
}

} // namespace

bool Link::up() const { return (flags & IFF_UP) != 0; }

NetlinkRequest create_veth(const VethSpec& spec) {
    const ifinfomsg head{};
    MessageBuilder message(RTM_NEWLINK, kCreate);
    message.header(head);
    message.attribute_text(IFLA_IFNAME, spec.name);
    if (spec.mac) put_mac(message, *spec.mac);
    if (spec.mtu != 0) message.attribute_u32(IFLA_MTU, spec.mtu);
    const auto info = message.begin(IFLA_LINKINFO);
    message.attribute_text(IFLA_INFO_KIND, "veth");
    const auto data = message.begin(IFLA_INFO_DATA);
    const auto peer = message.begin(VETH_INFO_PEER);
    message.header(head);
    message.attribute_text(IFLA_IFNAME, spec.peer_name);
    if (spec.peer_mac) put_mac(message, *spec.peer_mac);
    if (spec.mtu != 0) message.attribute_u32(IFLA_MTU, spec.mtu);
    if (spec.peer_netns >= 0)
        message.attribute_u32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(spec.peer_netns));
    message.end(peer);
    message.end(data);
    message.end(info);
    return message.finish(fmt::format("create veth pair {} and {}", spec.name, spec.peer_name));
}

NetlinkRequest create_bridge(std::string_view name) {
    MessageBuilder message(RTM_NEWLINK, kCreate);
    message.header(ifinfomsg{});
    message.attribute_text(IFLA_IFNAME, name);
    const auto info = message.begin(IFLA_LINKINFO);
    message.attribute_text(IFLA_INFO_KIND, "bridge");
    message.end(info);
    return message.finish(fmt::format("create bridge {}", name));
}

NetlinkRequest create_vxlan(const VxlanSpec& spec) {
    ifinfomsg head{};
    head.ifi_change = IFF_NOARP;
    head.ifi_flags = IFF_NOARP;
    MessageBuilder message(RTM_NEWLINK, kCreate);
    message.header(head);
    message.attribute_text(IFLA_IFNAME, spec.name);
    if (spec.mtu != 0) message.attribute_u32(IFLA_MTU, spec.mtu);
    const auto info = message.begin(IFLA_LINKINFO);
    message.attribute_text(IFLA_INFO_KIND, "vxlan");
    const auto data = message.begin(IFLA_INFO_DATA);
    message.attribute_u8(IFLA_VXLAN_COLLECT_METADATA, 1);
    message.attribute_u8(IFLA_VXLAN_LEARNING, 0);
    message.attribute_u8(IFLA_VXLAN_UDP_ZERO_CSUM6_RX, 1);
    const std::uint16_t port = __builtin_bswap16(spec.port);
    message.attribute(IFLA_VXLAN_PORT, &port, sizeof port);
    message.end(data);
    message.end(info);
    return message.finish(fmt::format("create VXLAN device {}", spec.name));
}

NetlinkRequest change_link(std::uint32_t index, const LinkChange& change) {
    ifinfomsg head{};
    head.ifi_index = static_cast<int>(index);
    if (change.up) {
        head.ifi_change = IFF_UP;
        head.ifi_flags = *change.up ? unsigned{IFF_UP} : 0U;
    }
    MessageBuilder message(RTM_NEWLINK, kChange);
    message.header(head);
    if (change.name) message.attribute_text(IFLA_IFNAME, *change.name);
    if (change.mac) put_mac(message, *change.mac);
    if (change.mtu) message.attribute_u32(IFLA_MTU, *change.mtu);
    if (change.master) message.attribute_u32(IFLA_MASTER, *change.master);
    if (change.alias) message.attribute(IFLA_IFALIAS, change.alias->data(), change.alias->size());
    if (change.link_local) {
        const auto families = message.begin(IFLA_AF_SPEC);
        const auto six = message.begin(AF_INET6);
        message.attribute_u8(IFLA_INET6_ADDR_GEN_MODE,
                             *change.link_local ? IN6_ADDR_GEN_MODE_EUI64 : IN6_ADDR_GEN_MODE_NONE);
        message.end(six);
        message.end(families);
    }
    return message.finish(fmt::format("change link {}", index));
}

NetlinkRequest delete_link(std::uint32_t index) {
    ifinfomsg head{};
    head.ifi_index = static_cast<int>(index);
    MessageBuilder message(RTM_DELLINK, kChange);
    message.header(head);
    return message.finish(fmt::format("delete link {}", index));
}

NetlinkRequest delete_link(std::string_view name) {
    MessageBuilder message(RTM_DELLINK, kChange);
    message.header(ifinfomsg{});
    message.attribute_text(IFLA_IFNAME, name);
    return message.finish(fmt::format("delete link {}", name));
}

NetlinkRequest add_address(std::uint32_t index, const Ip& ip, std::uint8_t length, bool no_dad) {
    return address_request(RTM_NEWADDR, kCreate, index, ip, length, no_dad, "add");
}

NetlinkRequest delete_address(std::uint32_t index, const Ip& ip, std::uint8_t length) {
    return address_request(RTM_DELADDR, kChange, index, ip, length, false, "delete");
}

NetlinkRequest add_route(const Route& route) {
    return route_request(RTM_NEWROUTE, kCreate, route, "add");
}

NetlinkRequest replace_route(const Route& route) {
    return route_request(RTM_NEWROUTE, kChange | NLM_F_CREATE | NLM_F_REPLACE, route, "set");
}

NetlinkRequest delete_route(const Route& route) {
    return route_request(RTM_DELROUTE, kChange, route, "delete");
}

NetlinkRequest set_neighbour(std::uint32_t index, const Ip& ip, const Mac& mac) {
    return neighbour_request(RTM_NEWNEIGH, kChange | NLM_F_CREATE | NLM_F_REPLACE, index, ip, &mac,
                             "set");
}

NetlinkRequest delete_neighbour(std::uint32_t index, const Ip& ip) {
    return neighbour_request(RTM_DELNEIGH, kChange, index, ip, nullptr, "delete");
}

std::optional<Link> parse_link(const NetlinkMessage& message) {
    const auto head = message.header<ifinfomsg>();
    if (!head) return {};
    const auto attributes = message.attributes<ifinfomsg>();
    Link link;
    link.index = static_cast<std::uint32_t>(head->ifi_index);
    link.flags = head->ifi_flags;
    link.hardware = head->ifi_type;
    link.name = attributes.text(IFLA_IFNAME).value_or("");
    link.alias = attributes.text(IFLA_IFALIAS).value_or("");
    link.mac = attributes.mac(IFLA_ADDRESS).value_or(Mac{});
    link.mtu = attributes.u32(IFLA_MTU).value_or(0);
    link.master = attributes.u32(IFLA_MASTER).value_or(0);
    link.peer_index = attributes.u32(IFLA_LINK).value_or(0);
    link.peer_netns = attributes.u32(IFLA_LINK_NETNSID);
    if (const auto info = attributes.get(IFLA_LINKINFO)) {
        link.kind = Attributes(*info).text(IFLA_INFO_KIND).value_or("");
    }
    return link;
}

std::optional<InterfaceAddress> parse_address(const NetlinkMessage& message) {
    const auto head = message.header<ifaddrmsg>();
    if (!head) return {};
    const auto attributes = message.attributes<ifaddrmsg>();
    // IFA_ADDRESS is the other end on point-to-point links; IFA_LOCAL, where given, is ours.
    auto ip = attributes.ip(IFA_LOCAL);
    if (!ip) ip = attributes.ip(IFA_ADDRESS);
    if (!ip) return {};
    return InterfaceAddress{.index = head->ifa_index,
                            .ip = *ip,
                            .length = head->ifa_prefixlen,
                            .scope = head->ifa_scope,
                            .flags = attributes.u32(IFA_FLAGS).value_or(head->ifa_flags)};
}

std::optional<Route> parse_route(const NetlinkMessage& message) {
    const auto head = message.header<rtmsg>();
    if (!head || (head->rtm_family != AF_INET && head->rtm_family != AF_INET6)) return {};
    const auto attributes = message.attributes<rtmsg>();
    Route route;
    const Ip any = head->rtm_family == AF_INET ? Ip::v4(0) : Ip{};
    route.destination = {attributes.ip(RTA_DST).value_or(any), head->rtm_dst_len};
    route.gateway = attributes.ip(RTA_GATEWAY).value_or(Ip{});
    route.index = attributes.u32(RTA_OIF).value_or(0);
    route.onlink = (head->rtm_flags & RTNH_F_ONLINK) != 0;
    route.table = attributes.u32(RTA_TABLE).value_or(head->rtm_table);
    route.type = head->rtm_type;
    route.protocol = head->rtm_protocol;
    route.metric = attributes.u32(RTA_PRIORITY).value_or(0);
    route.source = attributes.ip(RTA_PREFSRC).value_or(Ip{});
    if (const auto metrics = attributes.get(RTA_METRICS)) {
        route.mtu = Attributes(*metrics).u32(RTAX_MTU).value_or(0);
    }
    return route;
}

std::optional<Neighbour> parse_neighbour(const NetlinkMessage& message) {
    const auto head = message.header<ndmsg>();
    if (!head) return {};
    const auto attributes = message.attributes<ndmsg>();
    const auto ip = attributes.ip(NDA_DST);
    if (!ip) return {};
    return Neighbour{.index = static_cast<std::uint32_t>(head->ndm_ifindex),
                     .ip = *ip,
                     .mac = attributes.mac(NDA_LLADDR).value_or(Mac{}),
                     .state = head->ndm_state};
}

} // namespace beeline::net
