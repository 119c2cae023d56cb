#include "net/netlink.h"

#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "net/namespace.h"
#include "net/sysctl.h"

namespace beeline::net {
namespace {

Ip ip(const char* text) { return Ip::parse(text).value(); }

// The one message in a request, as a receiver would see it.
NetlinkMessage only(const NetlinkRequest& request) {
    NetlinkMessage found;
    unsigned count = 0;
    EXPECT_TRUE(for_each_message(request.bytes, [&](const NetlinkMessage& message) {
        found = message;
        ++count;
        return true;
    }));
    EXPECT_EQ(count, 1U);
    return found;
}

TEST(NetlinkMessage, AddressRequestReadsBack) {
    for (const auto& [text, length] : {std::pair{"10.1.2.3", 32}, std::pair{"fd00::5", 128}}) {
        const auto request = add_address(7, ip(text), static_cast<std::uint8_t>(length));
        const auto message = only(request);
        EXPECT_EQ(message.type, RTM_NEWADDR);
        EXPECT_EQ(message.flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        const auto address = parse_address(message);
        ASSERT_TRUE(address);
        EXPECT_EQ(address->index, 7U);
        EXPECT_EQ(address->ip, ip(text));
        EXPECT_EQ(address->length, length);
        EXPECT_EQ(address->flags & IFA_F_NODAD, IFA_F_NODAD);
        EXPECT_NE(request.what.find(text), std::string::npos);
    }
}

TEST(NetlinkMessage, RouteRequestReadsBack) {
    const Route wanted{.destination = Prefix::all_v6(),
                       .gateway = ip("fd00::1"),
                       .index = 3,
                       .onlink = true,
                       .mtu = 1400};
    const auto request = replace_route(wanted);
    const auto message = only(request);
    EXPECT_NE(message.flags & NLM_F_REPLACE, 0);
    const auto route = parse_route(message);
    ASSERT_TRUE(route);
    EXPECT_EQ(route->destination, wanted.destination);
    EXPECT_EQ(route->gateway, wanted.gateway);
    EXPECT_EQ(route->index, 3U);
    EXPECT_TRUE(route->onlink);
    EXPECT_EQ(route->mtu, 1400U);
    EXPECT_EQ(route->table, 254U);
}

TEST(NetlinkMessage, NeighbourRequestReadsBack) {
    const Mac mac{2, 0, 0, 0, 0, 9};
    const auto neighbour = parse_neighbour(only(set_neighbour(4, ip("10.0.0.1"), mac)));
    ASSERT_TRUE(neighbour);
    EXPECT_EQ(neighbour->index, 4U);
    EXPECT_EQ(neighbour->ip, ip("10.0.0.1"));
    EXPECT_EQ(neighbour->mac, mac);
    EXPECT_EQ(neighbour->state, NUD_PERMANENT);
}

TEST(NetlinkMessage, LinkChangeReadsBack) {
    const auto link =
        parse_link(only(change_link(5, {.up = true, .mtu = 1300, .name = "new", .alias = "text"})));
    ASSERT_TRUE(link);
    EXPECT_EQ(link->index, 5U);
    EXPECT_EQ(link->mtu, 1300U);
    EXPECT_EQ(link->name, "new");
    EXPECT_EQ(link->alias, "text");
    EXPECT_TRUE(link->up());
}

TEST(NetlinkMessage, VethRequestNestsItsPeer) {
    const auto request =
        create_veth({.name = "left", .peer_name = "right", .peer_netns = 9, .mtu = 1400});
    const auto link = parse_link(only(request));
    ASSERT_TRUE(link);
    EXPECT_EQ(link->name, "left");
    EXPECT_EQ(link->kind, "veth");
    const std::string text(request.bytes.begin(), request.bytes.end());
    EXPECT_NE(text.find(std::string("right\0", 6)), std::string::npos);
}

TEST(NetlinkMessage, MalformedInputIsRefusedNotRead) {
    auto bytes = add_address(7, ip("10.1.2.3"), 32).bytes;
    const auto ignore = [](const NetlinkMessage&) { return true; };
    for (std::size_t size = 1; size < bytes.size(); ++size) {
        EXPECT_FALSE(for_each_message(Bytes(bytes.data(), size), ignore)) << size;
    }
    // An attribute that claims to be longer than the message ends the parsing.
    const std::uint8_t attribute[] = {200, 0, 1, 0, 1, 2, 3, 4};
    EXPECT_FALSE(Attributes(attribute).get(1));
    const std::uint8_t tiny[] = {3, 0, 1, 0};
    EXPECT_FALSE(Attributes(tiny).get(1));
    EXPECT_FALSE(parse_link({.type = RTM_NEWLINK, .payload = Bytes(bytes.data(), 3)}));
    EXPECT_FALSE(parse_address({.type = RTM_NEWADDR, .payload = Bytes(bytes.data(), 3)}));
    EXPECT_FALSE(parse_route({.type = RTM_NEWROUTE, .payload = Bytes(bytes.data(), 3)}));
    EXPECT_FALSE(parse_ack({.type = NLMSG_ERROR, .payload = Bytes(bytes.data(), 3)}));
}

TEST(NetlinkMessage, AckCarriesTheKernelsWords) {
    MessageBuilder builder(NLMSG_ERROR, NLM_F_ACK_TLVS | NLM_F_CAPPED);
    nlmsgerr head{};
    head.error = -EINVAL;
    builder.header(head);
    builder.attribute_text(NLMSGERR_ATTR_MSG, "Invalid gateway");
    const auto request = builder.finish("x");
    const auto ack = parse_ack(only(request));
    ASSERT_TRUE(ack);
    EXPECT_EQ(ack->number, EINVAL);
    EXPECT_EQ(ack->text, "Invalid gateway");
}

// Each test has a fresh network namespace and a second one for peers.
class NetlinkTest : public testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "needs root to make network namespaces";
        home_ = Namespace::current().value();
        ASSERT_EQ(unshare(CLONE_NEWNET), 0);
        other_ = Namespace::current().value();
        ASSERT_EQ(unshare(CLONE_NEWNET), 0);
        netlink_ = Netlink::open().value();
    }
    void TearDown() override {
        if (home_) {
            ASSERT_EQ(setns(home_->fd(), CLONE_NEWNET), 0);
        }
    }
    // A veth pair a and b, both up; the index of a.
    std::uint32_t make_link() {
        EXPECT_TRUE(netlink_->run(create_veth({.name = "a", .peer_name = "b"})));
        const auto index = netlink_->link("a")->index;
        EXPECT_TRUE(netlink_->run({change_link(netlink_->link("b")->index, {.up = true}),
                                   change_link(index, {.up = true})}));
        return index;
    }
    std::optional<Namespace> home_;
    std::optional<Namespace> other_;
    std::optional<Netlink> netlink_;
};

TEST_F(NetlinkTest, VethAcrossNamespacesWithEverythingGivenAtCreation) {
    const Mac left{2, 0, 0, 0, 0, 1};
    const Mac right{2, 0, 0, 0, 0, 2};
    ASSERT_TRUE(netlink_->run(create_veth({.name = "left",
                                           .peer_name = "right",
                                           .peer_netns = other_->fd(),
                                           .mac = left,
                                           .peer_mac = right,
                                           .mtu = 1400})));
    auto inner = Netlink::open_in(*other_).value();
    const auto a = netlink_->link("left");
    const auto b = inner.link("right");
    ASSERT_TRUE(a) << a.error().message;
    ASSERT_TRUE(b) << b.error().message;
    EXPECT_EQ(a->kind, "veth");
    EXPECT_EQ(a->mac, left);
    EXPECT_EQ(b->mac, right);
    EXPECT_EQ(a->mtu, 1400U);
    EXPECT_EQ(b->mtu, 1400U);
    EXPECT_FALSE(a->up());
    ASSERT_TRUE(a->peer_netns);
    EXPECT_EQ(netlink_->namespace_id(*other_).value(), a->peer_netns);
    EXPECT_EQ(a->peer_index, b->index);
    EXPECT_EQ(b->peer_index, a->index);
    EXPECT_EQ(netlink_->link("right").error().code, Code::not_found);
    EXPECT_EQ(netlink_->link(b->index + 1000).error().code, Code::not_found);

    const auto again = netlink_->run(create_veth({.name = "left", .peer_name = "x"}));
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, Code::exists);
    EXPECT_NE(again.error().message.find("left"), std::string::npos);

    ASSERT_TRUE(netlink_->run(delete_link("left")));
    EXPECT_EQ(inner.link("right").error().code, Code::not_found);
    EXPECT_EQ(netlink_->run(delete_link("left")).error().code, Code::not_found);
}

TEST_F(NetlinkTest, LinksAreChangedAndListed) {
    ASSERT_TRUE(
        netlink_->run({create_veth({.name = "a", .peer_name = "b"}), create_bridge("bridge")}));
    const auto a = netlink_->link("a").value();
    const auto bridge = netlink_->link("bridge").value();
    const Mac mac{2, 0, 0, 0, 0, 7};
    ASSERT_TRUE(
        netlink_->run(change_link(a.index, {.mac = mac, .name = "renamed", .alias = "web"})));
    ASSERT_TRUE(
        netlink_->run(change_link(a.index, {.up = true, .mtu = 1280, .master = bridge.index})));
    const auto changed = netlink_->link(a.index).value();
    EXPECT_EQ(changed.name, "renamed");
    EXPECT_EQ(changed.alias, "web");
    EXPECT_EQ(changed.mac, mac);
    EXPECT_EQ(changed.mtu, 1280U);
    EXPECT_EQ(changed.master, bridge.index);
    EXPECT_TRUE(changed.up());
    const auto links = netlink_->links().value();
    for (const char* name : {"lo", "renamed", "b", "bridge"}) {
        EXPECT_TRUE(std::any_of(links.begin(), links.end(), [&](const Link& l) {
            return l.name == name;
        })) << name;
    }
    ASSERT_TRUE(netlink_->run(change_link(a.index, {.up = false, .master = 0})));
    EXPECT_FALSE(netlink_->link(a.index)->up());
    EXPECT_EQ(netlink_->link(a.index)->master, 0U);
}

TEST_F(NetlinkTest, AddressesRoutesAndNeighbours) {
    const auto index = make_link();
    const Mac mac{2, 0, 0, 0, 0, 9};
    const Route four{.destination = Prefix::all_v4(),
                     .gateway = ip("169.254.1.1"),
                     .index = index,
                     .onlink = true,
                     .mtu = 1300};
    const Route six{
        .destination = Prefix::all_v6(), .gateway = ip("fd00::1"), .index = index, .onlink = true};
    const Route host{.destination = Prefix::host(ip("10.9.0.1")), .index = index};
    const auto done = netlink_->run(
        {add_address(index, ip("10.0.0.2"), 32), add_address(index, ip("fd00::2"), 128),
         set_neighbour(index, ip("169.254.1.1"), mac), set_neighbour(index, ip("fd00::1"), mac),
         add_route(four), add_route(six), add_route(host)});
    ASSERT_TRUE(done) << done.error().message;

    const auto addresses = netlink_->addresses().value();
    for (const char* text : {"10.0.0.2", "fd00::2"}) {
        const auto found = std::find_if(addresses.begin(), addresses.end(),
                                        [&](const auto& a) { return a.ip == ip(text); });
        ASSERT_NE(found, addresses.end()) << text;
        EXPECT_EQ(found->index, index);
        EXPECT_EQ(found->flags & IFA_F_TENTATIVE, 0U);
    }
    const auto found = netlink_->route_to(ip("8.8.8.8"));
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->destination, Prefix::all_v4());
    EXPECT_EQ(found->gateway, four.gateway);
    EXPECT_EQ(found->index, index);
    EXPECT_EQ(found->mtu, 1300U);
    EXPECT_EQ(netlink_->route_to(ip("10.9.0.1"))->destination, host.destination);
    EXPECT_EQ(netlink_->route_to(ip("2001:db8::1"))->destination, six.destination);
    const auto neighbours = netlink_->neighbours().value();
    EXPECT_EQ(
        std::count_if(neighbours.begin(), neighbours.end(),
                      [&](const Neighbour& n) { return n.mac == mac && n.state == NUD_PERMANENT; }),
        2);

    EXPECT_EQ(netlink_->run(add_route(host)).error().code, Code::exists);
    EXPECT_TRUE(netlink_->run(replace_route(four)));
    ASSERT_TRUE(netlink_->run({delete_route(four), delete_neighbour(index, ip("fd00::1")),
                               delete_address(index, ip("10.0.0.2"), 32)}));
    EXPECT_FALSE(netlink_->route_to(ip("8.8.8.8")));
    EXPECT_EQ(netlink_->run(delete_address(index, ip("10.0.0.2"), 32)).error().code,
              Code::not_found);
}

TEST_F(NetlinkTest, ABatchCarriesOutAllAndNamesTheFirstFailure) {
    const auto index = make_link();
    std::vector<NetlinkRequest> requests;
    for (unsigned i = 0; i < 300; ++i)
        requests.push_back(add_address(index, Ip::v4(0x0a000100 + i), 32));
    requests.insert(requests.begin() + 100, add_address(index, Ip::v4(0x0a000100), 32));
    const auto outcome = netlink_->run(requests);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, Code::exists);
    EXPECT_NE(outcome.error().message.find("10.0.1.0/32"), std::string::npos)
        << outcome.error().message;
    const auto addresses = netlink_->addresses().value();
    EXPECT_EQ(std::count_if(addresses.begin(), addresses.end(),
                            [](const auto& a) { return a.ip.is_v4(); }),
              300);
}

TEST_F(NetlinkTest, MonitorTellsOfAddressesAndLinks) {
    auto monitor = NetlinkMonitor::open().value();
    EXPECT_TRUE(monitor.read()->empty());
    ASSERT_TRUE(netlink_->run(create_veth({.name = "a", .peer_name = "b"})));
    const auto index = netlink_->link("a")->index;
    ASSERT_TRUE(netlink_->run(add_address(index, ip("10.0.0.2"), 32)));
    ASSERT_TRUE(netlink_->run(delete_address(index, ip("10.0.0.2"), 32)));
    ASSERT_TRUE(netlink_->run(delete_link("a")));
    using Kind = NetlinkMonitor::Event::Kind;
    std::vector<Kind> address;
    bool link_added = false;
    bool link_removed = false;
    for (unsigned turn = 0; turn < 100 && !(link_removed && address.size() >= 2); ++turn) {
        pollfd ready{.fd = monitor.fd(), .events = POLLIN, .revents = 0};
        ASSERT_GT(poll(&ready, 1, 2000), 0);
        const auto events = monitor.read().value();
        for (const auto& event : events) {
            if (event.address.ip == ip("10.0.0.2")) address.push_back(event.kind);
            link_added |= event.kind == Kind::link_changed && event.link.name == "a";
            link_removed |= event.kind == Kind::link_removed && event.link.name == "a";
        }
    }
    EXPECT_EQ(address, (std::vector{Kind::address_added, Kind::address_removed}));
    EXPECT_TRUE(link_added);
    EXPECT_TRUE(link_removed);
}

TEST_F(NetlinkTest, SysctlsFollowTheThreadsNamespace) {
    ASSERT_TRUE(write_sysctl("net/ipv4/ip_forward", "1"));
    {
        const auto inside = InNamespace::enter(*other_).value();
        EXPECT_EQ(read_sysctl("net/ipv4/ip_forward").value(), "0");
        ASSERT_TRUE(write_sysctl("net/ipv4/conf/all/rp_filter", "2"));
    }
    EXPECT_EQ(read_sysctl("net/ipv4/ip_forward").value(), "1");
    EXPECT_NE(read_sysctl("net/ipv4/conf/all/rp_filter").value(), "2");
    EXPECT_EQ(write_sysctl("net/ipv4/conf/none/rp_filter", "1").error().code, Code::not_found);
    EXPECT_EQ(write_sysctl("net/ipv4/ip_forward", "many").error().number, EINVAL);
}

TEST_F(NetlinkTest, NamedNamespacesComeAndGo) {
    const auto folder =
        std::filesystem::temp_directory_path() / fmt::format("beeline-netns-{}", getpid());
    const std::string path = folder / "one";
    const auto before = Namespace::current()->inode();
    const auto made = create_named(path);
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(Namespace::current()->inode(), before);
    {
        const auto netns = Namespace::open(path);
        ASSERT_TRUE(netns) << netns.error().message;
        EXPECT_NE(netns->inode(), before);
        const auto inside = InNamespace::enter(*netns).value();
        EXPECT_EQ(Namespace::current()->inode(), netns->inode());
    }
    EXPECT_EQ(Namespace::current()->inode(), before);
    EXPECT_EQ(create_named(path).error().code, Code::exists);
    EXPECT_TRUE(delete_named(path));
    EXPECT_TRUE(delete_named(path));
    EXPECT_EQ(Namespace::open(path).error().code, Code::not_found);
    EXPECT_EQ(Namespace::open("/proc/self/ns/mnt").error().code, Code::invalid);
    EXPECT_EQ(Namespace::open("/etc/passwd").error().code, Code::invalid);
    std::filesystem::remove_all(folder);
}

} // namespace
} // namespace beeline::net
