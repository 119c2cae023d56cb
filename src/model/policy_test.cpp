#include "model/policy.h"

#include <gtest/gtest.h>

#include "support/policy_builder.h"

namespace beeline::model {
namespace {

using test::cidr_block;
using test::ip;

TEST(Policy, Titles) {
    const Policy policy = test::policy("shop/allow-web");
    EXPECT_EQ(policy.title(), "NetworkPolicy shop/allow-web");
    EXPECT_EQ(rule_title(policy, Direction::ingress, 0), "NetworkPolicy shop/allow-web ingress[0]");
    EXPECT_EQ(rule_title(policy, Direction::egress, 12), "NetworkPolicy shop/allow-web egress[12]");
}

TEST(Policy, DirectionsAreKeptApart) {
    const Policy policy = test::policy("shop/p").in().in().isolate_out();
    EXPECT_TRUE(policy.isolates(Direction::ingress));
    EXPECT_TRUE(policy.isolates(Direction::egress));
    EXPECT_EQ(policy.rules(Direction::ingress).size(), 2U);
    EXPECT_TRUE(policy.rules(Direction::egress).empty());
    EXPECT_FALSE(Policy(test::policy("shop/q").in()).isolates(Direction::egress));
}

TEST(CidrBlock, ContainsItsNetworkButNotTheHoles) {
    const CidrBlock net = cidr_block("10.0.0.0/8", {"10.1.0.0/16", "10.2.3.4/32"});
    EXPECT_TRUE(net.contains(ip("10.0.0.0")));
    EXPECT_TRUE(net.contains(ip("10.255.255.255")));
    EXPECT_FALSE(net.contains(ip("11.0.0.0")));
    EXPECT_FALSE(net.contains(ip("10.1.0.0")));
    EXPECT_FALSE(net.contains(ip("10.1.255.255")));
    EXPECT_TRUE(net.contains(ip("10.2.3.3")));
    EXPECT_FALSE(net.contains(ip("10.2.3.4")));
}

TEST(CidrBlock, NeverAcrossFamilies) {
    EXPECT_FALSE(cidr_block("0.0.0.0/0").contains(ip("2001:db8::1")));
    EXPECT_FALSE(cidr_block("::/0").contains(ip("192.0.2.1")));
    EXPECT_TRUE(cidr_block("::/0").contains(ip("2001:db8::1")));
}

} // namespace
} // namespace beeline::model
