#include "datapath/node_plan.h"

#include <set>

#include <gtest/gtest.h>

#include "datapath/tables.h"
#include "support/policy_builder.h"

namespace beeline::datapath {
namespace {

using test::cidr;
using test::ip;

class NodePlanTest : public ::testing::Test {
protected:
    void SetUp() override {
        options.mode = NodeMode::vxlan;
        options.node = "one";
        options.ranges = {cidr("10.1.0.0/24"), cidr("fd01::/64")};
        node("one", {"192.0.2.1", "2001:db8::1"}, {"10.1.0.0/24", "fd01::/64"});
        node("two", {"192.0.2.2", "2001:db8::2"}, {"10.2.0.0/24", "fd02::/64"});
    }
    void node(const std::string& name, const std::vector<std::string>& addresses,
              const std::vector<std::string>& ranges) {
        model::ClusterNode& made = objects.nodes[name];
        made = {};
        made.name = name;
        for (const auto& address : addresses)
            made.addresses.push_back(ip(address));
        for (const auto& range : ranges)
            made.pod_ranges.push_back(cidr(range));
    }
    NodePlan plan() {
        return plan_nodes(objects, options, 9, [this](const net::Ip& to) -> std::optional<Way> {
            if (unreachable.contains(to.to_string())) return {};
            return Way{routed ? ip(to.is_v4() ? "192.0.2.254" : "fe80::1") : to, 4, "eth0", 1500,
                       true};
        });
    }

    model::Objects objects;
    NodePathOptions options;
    std::set<std::string> unreachable;
    bool routed = false;
};

TEST_F(NodePlanTest, TunnelOverIpv4WhenBothHaveIt) {
    const auto made = plan();
    ASSERT_EQ(made.nodes.size(), 1U);
    const RemoteNode& two = made.nodes[0];
    EXPECT_EQ(two.name, "two");
    EXPECT_EQ(from_abi(two.path.addr), ip("192.0.2.2"));
    EXPECT_EQ(from_abi(two.path.local), ip("192.0.2.1"));
    EXPECT_EQ(two.path.ifindex, 9U);
    EXPECT_EQ(two.path.flags, BL_NODE_TUNNEL);
    EXPECT_EQ(made.mtu, 1450U);
    // The node answers for itself at its addresses and at its gateways.
    EXPECT_EQ(two.addresses,
              (std::vector{ip("192.0.2.2"), ip("2001:db8::2"), ip("10.2.0.1"), ip("fd02::1")}));
    ASSERT_EQ(made.routes.size(), 2U);
    EXPECT_EQ(made.routes[0].destination, cidr("10.2.0.0/24"));
    EXPECT_EQ(made.routes[0].source, ip("192.0.2.1"));
    EXPECT_EQ(made.routes[0].encapsulation,
              (net::Encapsulation{1, ip("192.0.2.2"), ip("192.0.2.1")}));
    EXPECT_EQ(made.routes[1].source, ip("2001:db8::1"));
    EXPECT_TRUE(made.uplinks.empty());
}

TEST_F(NodePlanTest, TunnelOverIpv6WhenThatIsWhatTheyShare) {
    node("two", {"2001:db8::2"}, {"10.2.0.0/24"});
    const auto made = plan();
    EXPECT_EQ(from_abi(made.nodes[0].path.addr), ip("2001:db8::2"));
    EXPECT_EQ(made.mtu, 1430U);
    node("one", {"192.0.2.1"}, {});
    EXPECT_TRUE(plan().routes.empty());
    EXPECT_EQ(plan().warnings.size(), 1U);
}

TEST_F(NodePlanTest, WithoutAnAddressOfItsFamilyTheHostSpeaksAsGateway) {
    node("one", {"192.0.2.1"}, {"10.1.0.0/24", "fd01::/64"});
    EXPECT_EQ(plan().routes[1].source, ip("fd01::1"));
}

TEST_F(NodePlanTest, DirectRoutes) {
    options.mode = NodeMode::direct;
    auto made = plan();
    EXPECT_EQ(made.mtu, 1500U);
    EXPECT_EQ(made.uplinks, std::vector{4U});
    EXPECT_EQ(made.nodes[0].path.flags, 0);
    EXPECT_EQ(made.nodes[0].path.hop4, __builtin_bswap32(0xc0000202));
    EXPECT_EQ(from_abi(made.nodes[0].path.hop6), ip("2001:db8::2"));
    EXPECT_EQ(made.routes[0].gateway, ip("192.0.2.2"));
    routed = true;
    made = plan();
    EXPECT_EQ(made.routes[0].gateway, ip("192.0.2.254"));
    EXPECT_EQ(from_abi(made.nodes[0].path.addr), ip("192.0.2.2"));
}

TEST_F(NodePlanTest, DirectNeedsAnAddressOfEachFamily) {
    options.mode = NodeMode::direct;
    node("two", {"192.0.2.2"}, {"10.2.0.0/24", "fd02::/64"});
    const auto made = plan();
    EXPECT_EQ(made.routes.size(), 1U);
    ASSERT_EQ(made.warnings.size(), 1U);
    EXPECT_NE(made.warnings[0].find("fd02::/64"), std::string::npos);
}

TEST_F(NodePlanTest, OverlappingRangesAreLeftOut) {
    node("three", {"192.0.2.3"}, {"10.2.0.128/25"});
    node("zero", {"192.0.2.4"}, {"10.1.0.0/16"});
    const auto made = plan();
    ASSERT_EQ(made.nodes.size(), 3U);
    EXPECT_EQ(made.warnings.size(), 2U);
    EXPECT_EQ(made.nodes[0].ranges.size(), 1U); // three came first by name
    EXPECT_EQ(made.nodes[1].ranges, std::vector{cidr("fd02::/64")});
    EXPECT_TRUE(made.nodes[2].ranges.empty());
}

TEST_F(NodePlanTest, NoWayNoPath) {
    unreachable = {"192.0.2.2"};
    const auto made = plan();
    EXPECT_TRUE(from_abi(made.nodes[0].path.addr).is_zero());
    EXPECT_TRUE(made.routes.empty());
    EXPECT_EQ(made.warnings.size(), 1U);
}

} // namespace
} // namespace beeline::datapath
