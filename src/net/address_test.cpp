#include "net/address.h"

#include <gtest/gtest.h>

#include <unordered_set>

namespace beeline::net {
namespace {

TEST(Ip, ParsesAndPrints) {
    for (const char* text :
         {"0.0.0.0", "10.1.2.3", "255.255.255.255", "::", "::1", "fd00::1:0:2", "2001:db8::"}) {
        const auto ip = Ip::parse(text);
        ASSERT_TRUE(ip) << text;
        EXPECT_EQ(ip->to_string(), text);
    }
    EXPECT_EQ(Ip::parse("FD00:0::0001")->to_string(), "fd00::1");
    EXPECT_EQ(Ip::parse("::ffff:10.0.0.1").value(), Ip::parse("10.0.0.1").value());
    for (const char* bad :
         {"", "10.0.0", "10.0.0.256", "10.0.0.1/8", "fe80::1%eth0", " 10.0.0.1", "x", "1:2"}) {
        EXPECT_FALSE(Ip::parse(bad)) << bad;
    }
}

TEST(Ip, FamiliesAndOrder) {
    const Ip four = Ip::v4(0x0a010203);
    EXPECT_TRUE(four.is_v4());
    EXPECT_EQ(four.v4_host_order(), 0x0a010203U);
    EXPECT_EQ(four.to_string(), "10.1.2.3");
    EXPECT_FALSE(Ip::parse("fd00::1")->is_v4());
    EXPECT_TRUE(Ip{}.is_zero());
    EXPECT_FALSE(Ip::v4(0).is_zero());
    EXPECT_LT(Ip::v4(1), Ip::v4(2));
    std::unordered_set<Ip> seen;
    for (std::uint32_t i = 0; i < 1000; ++i)
        seen.insert(Ip::v4(i));
    EXPECT_EQ(seen.size(), 1000U);
}

TEST(Prefix, ParsesAndPrints) {
    for (const char* text :
         {"0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/32", "::/0", "fd00::/64", "fd00::1/128"}) {
        const auto prefix = Prefix::parse(text);
        ASSERT_TRUE(prefix) << text;
        EXPECT_EQ(prefix->to_string(), text);
    }
    EXPECT_EQ(Prefix::parse("10.1.2.3/8")->to_string(), "10.0.0.0/8");
    EXPECT_EQ(Prefix::parse("fd00::ffff/113")->to_string(), "fd00::8000/113");
    EXPECT_EQ(Prefix::parse("::ffff:10.0.0.0/104")->to_string(), "10.0.0.0/8");
    const auto strict = Prefix::parse("10.1.2.3/8", false);
    ASSERT_FALSE(strict);
    EXPECT_NE(strict.error().message.find("10.0.0.0/8"), std::string::npos);
    for (const char* bad : {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x",
                            "fd00::/129", "/8", "x/8"}) {
        EXPECT_FALSE(Prefix::parse(bad)) << bad;
    }
}

TEST(Prefix, Contains) {
    const auto contains = [](const char* prefix, const char* ip) {
        return Prefix::parse(prefix)->contains(Ip::parse(ip).value());
    };
    EXPECT_TRUE(contains("10.0.0.0/8", "10.255.0.1"));
    EXPECT_FALSE(contains("10.0.0.0/8", "11.0.0.0"));
    EXPECT_TRUE(contains("10.1.2.128/25", "10.1.2.200"));
    EXPECT_FALSE(contains("10.1.2.128/25", "10.1.2.127"));
    EXPECT_TRUE(contains("fd00::/9", "fd7f::1"));
    // Never across families, although IPv4 is mapped into IPv6.
    EXPECT_FALSE(contains("::/0", "10.0.0.1"));
    EXPECT_FALSE(contains("0.0.0.0/0", "::1"));
    EXPECT_TRUE(Prefix::all_v4().contains(Prefix::parse("10.0.0.0/8").value()));
    EXPECT_FALSE(Prefix::parse("10.0.0.0/8")->contains(Prefix::all_v4()));
    EXPECT_EQ(Prefix::host(Ip::v4(1)).mapped_length(), 128);
    EXPECT_EQ(Prefix::parse("10.0.0.0/24")->mapped_length(), 120);
}

TEST(Mac, ParsesAndPrints) {
    const auto mac = parse_mac("0A:1b:00:ff:00:01");
    ASSERT_TRUE(mac);
    EXPECT_EQ(to_string(*mac), "0a:1b:00:ff:00:01");
    for (const char* bad : {"", "0a:1b:00:ff:00", "0a:1b:00:ff:00:0", "0a-1b-00-ff-00-01",
                            "0a:1b:00:ff:00:0g", "0a:1b:00:ff:00:001"}) {
        EXPECT_FALSE(parse_mac(bad)) << bad;
    }
}

} // namespace
} // namespace beeline::net
