#include "observe/dns_names.h"

#include <gtest/gtest.h>

namespace beeline::observe {
namespace {

const net::Ip kWeb = net::Ip::parse("203.0.113.9").value();
const net::Ip kOther = net::Ip::parse("2001:db8::9").value();
using List = std::vector<std::string>;

TEST(DnsNames, EachWorkloadKnowsWhatItWasTold) {
    DnsNames names;
    EXPECT_EQ(names.find(1, kWeb, 0), nullptr);
    names.learn(1, kWeb, "web.example.", 60, 0);
    EXPECT_EQ(*names.find(1, kWeb, 1), List{"web.example"});
    EXPECT_EQ(names.find(2, kWeb, 1), nullptr);
    EXPECT_EQ(names.find(1, kOther, 1), nullptr);
    names.learn(1, net::Ip{}, "nothing.example", 60, 0);
    names.learn(1, kOther, ".", 60, 0);
    EXPECT_EQ(names.size(), 1U);
}

TEST(DnsNames, TheNewestNameComesFirst) {
    DnsNames names;
    for (const char* name : {"a", "b", "c", "d", "e", "c"})
        names.learn(1, kWeb, name, 60, 0);
    EXPECT_EQ(*names.find(1, kWeb, 0), (List{"c", "e", "d", "b"}));
}

TEST(DnsNames, TheyEndWithTheirTime) {
    DnsNames names;
    names.learn(1, kWeb, "old", 3600, 0);
    const std::uint64_t hour = 3600ULL * 1'000'000'000;
    EXPECT_NE(names.find(1, kWeb, hour - 1), nullptr);
    EXPECT_EQ(names.find(1, kWeb, hour), nullptr);
    EXPECT_TRUE(names.empty());
    names.learn(1, kWeb, "old", 1, 0);
    names.learn(1, kWeb, "new", 1, hour);
    EXPECT_EQ(*names.find(1, kWeb, hour), List{"new"});
}

TEST(DnsNames, TheyAreBounded) {
    DnsNames names(2);
    names.learn(1, kWeb, "a", 1, 0);
    names.learn(2, kWeb, "b", 1, 0);
    EXPECT_NE(names.find(1, kWeb, 0), nullptr); // used: the other one goes
    names.learn(3, kWeb, "c", 1, 0);
    EXPECT_EQ(names.size(), 2U);
    EXPECT_NE(names.find(1, kWeb, 0), nullptr);
    EXPECT_EQ(names.find(2, kWeb, 0), nullptr);
}

} // namespace
} // namespace beeline::observe
