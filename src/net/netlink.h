// A small rtnetlink client: links, addresses, routes and neighbours of one network namespace.
//
// Changes are NetlinkRequest values made by the free functions below; Netlink::run sends one or many of them in one
// system call. A socket belongs to the namespace that the calling thread was in when it was opened, for good.
// Error codes: exists, not_found, denied, unsupported, else system with the errno.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "net/address.h"
#include "net/netlink_message.h"

namespace beeline::net {

class Namespace;

struct Link {
    std::uint32_t index = 0;
    std::string name;
    std::string kind; // "veth", "bridge", ...; empty for physical devices and loopback
    std::string alias;
    Mac mac{};
    std::uint32_t mtu = 0;
    std::uint16_t hardware = 0;   // ARPHRD_*
    std::uint32_t flags = 0;      // IFF_*
    std::uint32_t master = 0;     // ifindex of the bridge or bond
    std::uint32_t peer_index = 0; // IFLA_LINK: of a veth its peer, in the peer's namespace
    std::optional<std::uint32_t>
        peer_netns; // namespace id of the peer when it is another namespace

    [[nodiscard]] bool up() const;
};

struct InterfaceAddress {
    std::uint32_t index = 0;
    Ip ip;
    std::uint8_t length = 0;
    std::uint8_t scope = 0;  // RT_SCOPE_*
    std::uint32_t flags = 0; // IFA_F_*
};

// What a route puts around packets before its device, a VXLAN one, sends them.
struct Encapsulation {
    std::uint32_t vni = 0;
    Ip remote;
    Ip local; // zero: the kernel chooses
    bool operator==(const Encapsulation&) const = default;
};

struct Route {
    Prefix destination;
    Ip gateway;              // zero: none
    std::uint32_t index = 0; // of the device
    bool onlink = false;     // the gateway is reached directly although no prefix says so
    std::uint32_t mtu = 0;   // 0: the device's
    std::uint32_t table = 254;
    std::uint8_t type = 1;     // RTN_UNICAST
    std::uint8_t protocol = 4; // RTPROT_STATIC
    std::uint32_t metric = 0;
    Ip source; // of the host's own packets; zero: the kernel chooses
    std::optional<Encapsulation> encapsulation; // not read back
    bool operator==(const Route&) const = default;
};

struct Neighbour {
    std::uint32_t index = 0;
    Ip ip;
    Mac mac{};
    std::uint16_t state = 0; // NUD_*
};

struct VethSpec {
    std::string name;
    std::string peer_name;
    int peer_netns = -1; // fd of the peer's namespace; -1: the same one
    std::optional<Mac> mac;
    std::optional<Mac> peer_mac;
    std::uint32_t mtu = 0; // of both ends; 0: the kernel's default
};

// A VXLAN device whose packets say themselves where they go (external mode). It has no neighbours.
struct VxlanSpec {
    std::string name;
    std::uint16_t port = 0;
    std::uint32_t mtu = 0;
};

// Only what is set is changed.
struct LinkChange {
    std::optional<bool> up;
    std::optional<std::uint32_t> mtu;
    std::optional<Mac> mac;
    std::optional<std::uint32_t> master; // 0: none
    std::optional<std::string> name;     // the link must be down
    std::optional<std::string> alias;
    std::optional<bool>
        link_local; // whether IPv6 makes itself a link-local address when the link comes up
};

NetlinkRequest create_veth(const VethSpec& spec);
NetlinkRequest create_bridge(std::string_view name);
NetlinkRequest create_vxlan(const VxlanSpec& spec);
NetlinkRequest change_link(std::uint32_t index, const LinkChange& change);
NetlinkRequest delete_link(std::uint32_t index);
NetlinkRequest delete_link(std::string_view name);
// `no_dad`: the address is usable at once, without IPv6 duplicate detection and without a prefix route.
NetlinkRequest add_address(std::uint32_t index, const Ip& ip, std::uint8_t length,
                           bool no_dad = true);
NetlinkRequest delete_address(std::uint32_t index, const Ip& ip, std::uint8_t length);
NetlinkRequest add_route(const Route& route); // fails with `exists` when there is one
NetlinkRequest replace_route(const Route& route);
NetlinkRequest delete_route(const Route& route);
NetlinkRequest set_neighbour(std::uint32_t index, const Ip& ip, const Mac& mac); // permanent
NetlinkRequest delete_neighbour(std::uint32_t index, const Ip& ip);

// Parsers of what the kernel sends; empty when the message is malformed.
std::optional<Link> parse_link(const NetlinkMessage& message);
std::optional<InterfaceAddress> parse_address(const NetlinkMessage& message);
std::optional<Route> parse_route(const NetlinkMessage& message);
std::optional<Neighbour> parse_neighbour(const NetlinkMessage& message);

class Netlink {
public:
    static Result<Netlink> open();
    static Result<Netlink> open_in(const Namespace& netns);

    // All requests are carried out, in order; the first failure is returned.
    Result<> run(const std::vector<NetlinkRequest>& requests);
    Result<> run(const NetlinkRequest& request);

    Result<std::vector<Link>> links();
    Result<Link> link(std::string_view name);
    Result<Link> link(std::uint32_t index);
    Result<std::vector<InterfaceAddress>> addresses();
    Result<std::vector<Route>> routes(); // of all tables
    Result<std::vector<Neighbour>> neighbours();
    // The route that a packet to `ip` takes, as it stands in the table (not only the address itself).
    Result<Route> route_to(const Ip& ip);

    // The number by which this namespace knows another one (Link::peer_netns); nothing when it has none for it.
    Result<std::optional<std::uint32_t>> namespace_id(const Namespace& netns);

    // Carries out a request whose answer is data: one message, or all of a dump. For other families of netlink too.
    using Use = std::function<bool(const NetlinkMessage&)>;
    Result<> query(const NetlinkRequest& request, const Use& use);

    static Result<Netlink> open_family(int family);

private:
    explicit Netlink(Fd fd) : fd_(std::move(fd)) {}
    Result<> run_some(const NetlinkRequest* first, std::size_t count);
    Result<std::size_t> receive(std::string_view what);
    Result<Link> link(NetlinkRequest request);

    Fd fd_;
    std::uint32_t sequence_ = 0;
    std::vector<std::uint8_t> buffer_;
};

// Tells of address and link changes in the current namespace. fd() becomes readable; then read() until it is empty.
class NetlinkMonitor {
public:
    struct Event {
        enum class Kind { address_added, address_removed, link_changed, link_removed, lost };
        Kind kind = Kind::lost;   // lost: the kernel dropped events, list everything anew
        std::uint32_t index = 0;  // of the link
        InterfaceAddress address; // of address_*
        Link link;                // of link_*
    };

    static Result<NetlinkMonitor> open();
    [[nodiscard]] int fd() const { return fd_.get(); }
    // Never blocks; empty when there is nothing more.
    Result<std::vector<Event>> read();

private:
    explicit NetlinkMonitor(Fd fd) : fd_(std::move(fd)) {}
    Fd fd_;
};

} // namespace beeline::net
