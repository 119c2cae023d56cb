// libs: beeline_datapath beeline_bpf_node
// Packets to and from other nodes. What comes out of a tunnel carries its outer addresses beside the packet, which a test-run
// cannot give: tests/netns/test_nodes.py has those.
#include "node.h"

#include <gtest/gtest.h>

#include "abi/drop.h"
#include "abi/identity.h"
#include "abi/policy.h"

namespace beeline::test {
namespace {

enum : int { TCP = 6 };
constexpr std::uint32_t kWeb = 300, kFar = 310, kStranger = 311;
constexpr std::uint32_t kNode = 3;

struct Family {
    const char* name;
    const char *web, *far, *far_range, *node, *outside, *vip;
    [[nodiscard]] std::string host(const char* address) const {
        return std::string(address) + (std::string_view(name) == "v4" ? "/32" : "/128");
    }
};
const Family kFamilies[] = {
    {"v4", "10.0.0.10", "10.1.0.9", "10.1.0.0/24", "192.0.2.2", "203.0.113.9", "10.96.0.80"},
    {"v6", "fd00::10", "fd01::9", "fd01::/64", "2001:db8:2::2", "2001:db8::9", "fd96::80"},
};
enum : unsigned { web, uplink };

class Nodes : public testing::TestWithParam<Family> {
protected:
    void SetUp() override {
        node_ = TestNode::create(2);
        if (node_ == nullptr) GTEST_SKIP() << "needs root and BPF";
        declare(false, 0);
    }
    void declare(bool tunnel, unsigned web_flags) {
        node_->endpoint(web, f.web, kWeb, web_flags);
        node_->node(kNode, f.node, uplink, tunnel);
        node_->remote(f.far_range, BL_ID_world, kNode);
        node_->remote(f.host(f.far), kFar, kNode);
        node_->remote(f.host(f.node), BL_ID_remote_node, kNode, true);
        node_->commit();
    }
    Packet to_far(std::uint8_t flags) { return Packet::tcp(f.web, 80, f.far, 4000, flags); }
    Packet to_web(std::uint8_t flags) { return Packet::tcp(f.far, 4000, f.web, 80, flags); }

    const Family& f = GetParam();
    std::unique_ptr<TestNode> node_;
};

INSTANTIATE_TEST_SUITE_P(Families, Nodes, testing::ValuesIn(kFamilies),
                         [](const auto& row) { return row.param.name; });

TEST_P(Nodes, ConnectionThereGoesPastTheStack) {
    for (const bool tunnel : {false, true}) {
        declare(tunnel, 0);
        const auto row = node_->from_pod(web, Packet::tcp(f.web, 5000, f.far, 80, SYN));
        EXPECT_EQ(row.verdict, kRedirected) << tunnel;
        if (!tunnel) {
            ASSERT_EQ(row.events.size(), 1U);
            EXPECT_EQ(row.events[0].identity[1], kFar);
        }
    }
    EXPECT_EQ(node_->connections(), 1U);
}

TEST_P(Nodes, ConnectionFromThereIsDeliveredAndAnswered) {
    const auto row = node_->from_netdev(uplink, to_web(SYN));
    EXPECT_EQ(row.verdict, kRedirected);
    ASSERT_EQ(row.events.size(), 1U);
    EXPECT_EQ(row.events[0].kind, BL_FLOW_opened);
    EXPECT_EQ(row.events[0].identity[0], kFar);
    EXPECT_EQ(row.events[0].identity[1], kWeb);
    EXPECT_EQ(node_->from_pod(web, to_far(SYN | ACK)).verdict, kRedirected);
    EXPECT_EQ(node_->from_netdev(uplink, to_web(ACK)).verdict, kRedirected);
    EXPECT_EQ(node_->connections(), 1U);
}

TEST_P(Nodes, TheReceiversRuleDecides) {
    declare(false, BL_EP_INGRESS);
    const auto denied = node_->from_netdev(uplink, to_web(SYN));
    EXPECT_EQ(denied.verdict, kDropped);
    ASSERT_EQ(denied.events.size(), 1U);
    EXPECT_EQ(denied.events[0].reason, BL_DROP_POLICY_DENIED);
    EXPECT_EQ(denied.events[0].direction, BL_DIR_INGRESS);
    node_->allow(kWeb, BL_DIR_INGRESS, kFar, TCP, 80, 7);
    node_->commit();
    EXPECT_EQ(node_->from_netdev(uplink, to_web(SYN)).verdict, kRedirected);
}

TEST_P(Nodes, AnotherNodeIsNoOwnHost) {
    declare(false, BL_EP_INGRESS);
    EXPECT_EQ(node_->from_netdev(uplink, Packet::tcp(f.node, 4000, f.web, 80, SYN)).verdict,
              kDropped);
    node_->allow(kWeb, BL_DIR_INGRESS, BL_ID_remote_node, TCP, 80, 7);
    node_->commit();
    EXPECT_EQ(node_->from_netdev(uplink, Packet::tcp(f.node, 4000, f.web, 80, SYN)).verdict,
              kRedirected);
    // The answer goes the way the question came, also when it was judged again.
    const auto answer = Packet::tcp(f.web, 80, f.node, 4000, SYN | ACK);
    EXPECT_EQ(node_->from_pod(web, answer).verdict, kRedirected);
    ASSERT_TRUE(node_->kernel().bump_epoch());
    EXPECT_EQ(node_->from_pod(web, answer).verdict, kRedirected);
}

TEST_P(Nodes, WorkloadAsksANodeThroughTheHost) {
    EXPECT_EQ(node_->from_pod(web, Packet::tcp(f.web, 5000, f.node, 22, SYN)).verdict, kPass);
}

TEST_P(Nodes, AddressOfAnotherWorkloadInheritsNothing) {
    declare(false, BL_EP_INGRESS);
    node_->allow(kWeb, BL_DIR_INGRESS, kFar, TCP, 80, 7);
    node_->commit();
    ASSERT_EQ(node_->from_netdev(uplink, to_web(SYN)).verdict, kRedirected);
    ASSERT_EQ(node_->from_pod(web, to_far(SYN | ACK)).verdict, kRedirected);
    ASSERT_EQ(node_->from_netdev(uplink, to_web(ACK)).verdict, kRedirected);
    node_->remote(f.host(f.far), kStranger, kNode);
    node_->commit();
    const auto row = node_->from_netdev(uplink, to_web(ACK));
    EXPECT_EQ(row.verdict, kDropped);
    ASSERT_EQ(row.events.size(), 2U); // revoked, dropped
    EXPECT_EQ(row.events[0].kind, BL_FLOW_revoked);
    EXPECT_EQ(row.events[0].identity[0], kStranger);
    EXPECT_EQ(node_->from_netdev(uplink, to_web(SYN)).verdict, kDropped);
    EXPECT_EQ(node_->from_pod(web, to_far(ACK)).verdict, kDropped);
}

TEST_P(Nodes, TooLongIsTheHostsToTell) {
    ASSERT_EQ(node_->from_pod(web, Packet::tcp(f.web, 5000, f.far, 80, SYN)).verdict, kRedirected);
    auto fits = Packet::tcp(f.web, 5000, f.far, 80, ACK);
    auto longer = fits;
    const std::size_t headers = std::string_view(f.name) == "v4" ? 40 : 60;
    EXPECT_EQ(node_->from_pod(web, fits.payload(1500 - headers)).verdict, kRedirected);
    EXPECT_EQ(node_->from_pod(web, longer.payload(1501 - headers)).verdict, kPass);
}

TEST_P(Nodes, NodeThatIsGone) {
    ASSERT_EQ(node_->from_pod(web, Packet::tcp(f.web, 5000, f.far, 80, SYN)).verdict, kRedirected);
    node_->no_node(kNode);
    node_->commit();
    EXPECT_EQ(node_->from_pod(web, Packet::tcp(f.web, 5000, f.far, 80, ACK)).verdict, kDropped);
    EXPECT_GT(node_->kernel().drops().value()[BL_DROP_ENDPOINT_GONE], 0U);
}

TEST_P(Nodes, DeviceBringsOthersTraffic) {
    // Of the world, to nobody here, to the host: the host's stack has it.
    EXPECT_EQ(node_->from_netdev(uplink, Packet::tcp(f.outside, 1, f.web, 80, SYN)).verdict, kPass);
    EXPECT_EQ(node_->from_netdev(uplink, Packet::tcp(f.far, 1, f.outside, 80, SYN)).verdict, kPass);
    EXPECT_EQ(node_->connections(), 0U);
}

TEST_P(Nodes, TunnelBelievesNobodyWithoutAnOuterAddress) {
    declare(true, 0);
    const auto unknown = node_->from_tunnel(uplink, Packet::tcp(f.outside, 1, f.web, 80, SYN));
    EXPECT_EQ(unknown.verdict, kDropped);
    ASSERT_EQ(unknown.events.size(), 1U);
    EXPECT_EQ(unknown.events[0].reason, BL_DROP_INVALID_SOURCE_IP);
    const auto far = node_->from_tunnel(uplink, to_web(SYN));
    EXPECT_EQ(far.verdict, kDropped);
    ASSERT_EQ(far.events.size(), 1U);
    EXPECT_EQ(far.events[0].reason, BL_DROP_TUNNEL_SOURCE);
    const auto own = node_->from_tunnel(uplink, Packet::tcp(f.web, 1, f.web, 80, SYN));
    EXPECT_EQ(own.events.at(0).reason, BL_DROP_INVALID_SOURCE_IP);
}

TEST_P(Nodes, BesideTheTunnelNobodySpeaksForAWorkload) {
    declare(true, 0);
    const auto row = node_->to_pod(web, to_web(SYN), node_->ifindex(uplink));
    EXPECT_EQ(row.verdict, kDropped);
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_INVALID_SOURCE_IP);
    // The node itself does: answers to what left with this node's address.
    EXPECT_EQ(node_->to_pod(web, Packet::tcp(f.node, 4000, f.web, 80, SYN), node_->ifindex(uplink))
                  .verdict,
              kPass);
    declare(false, 0);
    EXPECT_EQ(node_->to_pod(web, to_web(SYN), node_->ifindex(uplink)).verdict, kPass);
}

TEST_P(Nodes, ServiceWithABackendThere) {
    node_->service(f.vip, 8080, TCP, 1, {{f.far, 80}});
    node_->commit();
    const auto out = node_->from_pod(web, Packet::tcp(f.web, 5000, f.vip, 8080, SYN));
    EXPECT_EQ(out.verdict, kRedirected);
    EXPECT_EQ(out.packet.dst, ip(f.far));
    EXPECT_EQ(out.packet.dport, 80);
    const auto back = node_->from_netdev(uplink, Packet::tcp(f.far, 80, f.web, 5000, SYN | ACK));
    EXPECT_EQ(back.verdict, kRedirected);
    EXPECT_EQ(back.packet.src, ip(f.vip));
    EXPECT_EQ(back.packet.sport, 8080);
    EXPECT_TRUE(back.packet.checksums_good);
}

TEST_P(Nodes, ErrorsFromThere) {
    const auto request = Packet::udp(f.web, 5000, f.far, 53);
    ASSERT_EQ(node_->from_pod(web, request).verdict, kRedirected);
    EXPECT_EQ(node_->from_netdev(uplink, Packet::unreachable(f.far, f.web, request)).verdict,
              kRedirected);
    const auto other = Packet::udp(f.web, 5001, f.far, 53);
    EXPECT_EQ(node_->from_netdev(uplink, Packet::unreachable(f.far, f.web, other)).verdict,
              kDropped);
}

} // namespace
} // namespace beeline::test
