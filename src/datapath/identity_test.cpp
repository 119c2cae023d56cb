#include "datapath/identity.h"

#include <random>
#include <set>

#include <gtest/gtest.h>

#include "support/policy_builder.h"

namespace beeline::datapath {
namespace {

using model::Labels;
using test::block;
using test::cidr;
using test::ip;
using test::policy;

TEST(StableHash, IsFixedForEver) {
    // Numbers in the maps of a running node depend on these.
    EXPECT_EQ(stable_hash("beeline", 1), 0x7a5c3df21fd6aeffU);
    EXPECT_EQ(stable_hash("NetworkPolicy shop/web ingress[0]", 2), 0xc527a47e03524fcdU);
}

TEST(StableHash, SpreadsSimilarTexts) {
    std::set<std::uint64_t> low;
    std::set<std::uint64_t> high;
    std::set<std::uint64_t> whole;
    for (int i = 0; i < 20000; ++i) {
        const std::uint64_t hash = stable_hash("app=web-" + std::to_string(i), 7);
        whole.insert(hash);
        low.insert(hash & 0xffffffff);
        high.insert(hash >> 32);
    }
    EXPECT_EQ(whole.size(), 20000U);
    // Of 20,000 random 32-bit numbers 0.05 pairs meet on average.
    EXPECT_GE(low.size(), 19998U);
    EXPECT_GE(high.size(), 19998U);
    EXPECT_NE(stable_hash("a", 1), stable_hash("a", 2));
    EXPECT_NE(stable_hash("a", 1), stable_hash(std::string_view("a\0", 2), 1));
}

TEST(CidrSet, NestsEachFamilyOnItsOwn) {
    const CidrSet set({cidr("10.0.0.0/8"), cidr("::/0"), cidr("10.1.0.0/16"), cidr("10.0.0.0/8"),
                       cidr("fd00::/16"), cidr("10.0.0.0/24"), cidr("2001:db8::/32")});
    EXPECT_EQ(set.prefixes().size(), 6U);
    const auto longest = [&](const char* address) {
        const std::uint32_t at = set.longest(ip(address));
        return at == CidrSet::kNone ? std::string("none") : set.prefixes()[at].to_string();
    };
    EXPECT_EQ(longest("10.0.0.7"), "10.0.0.0/24");
    EXPECT_EQ(longest("10.0.1.7"), "10.0.0.0/8");
    EXPECT_EQ(longest("10.1.255.255"), "10.1.0.0/16");
    EXPECT_EQ(longest("11.0.0.0"), "none");
    EXPECT_EQ(longest("9.255.255.255"), "none");
    EXPECT_EQ(longest("fd00::1"), "fd00::/16");
    EXPECT_EQ(longest("fe00::1"), "::/0");
    EXPECT_EQ(longest("::1"), "::/0");
    const auto parent = [&](const char* prefix) { return set.parent(set.find(cidr(prefix))); };
    EXPECT_EQ(parent("10.0.0.0/24"), set.find(cidr("10.0.0.0/8")));
    EXPECT_EQ(parent("10.0.0.0/8"), CidrSet::kNone);
    EXPECT_EQ(parent("fd00::/16"), set.find(cidr("::/0")));
    EXPECT_EQ(set.find(cidr("10.0.0.0/9")), CidrSet::kNone);
}

TEST(CidrSet, LongestAgreesWithAskingEverything) {
    std::mt19937 random(11);
    for (int round = 0; round < 50; ++round) {
        std::vector<net::Prefix> prefixes;
        for (int i = 0; i < 30; ++i) {
            const bool v4 = random() % 2;
            const std::string base =
                v4 ? fmt::format("10.{}.{}.{}", random() % 4, random() % 4, random() % 256)
                   : fmt::format("fd00:{:x}::{:x}", random() % 4, random() % 256);
            const unsigned length = v4 ? random() % 33 : random() % 129;
            prefixes.push_back(cidr(fmt::format("{}/{}", base, length)));
        }
        const CidrSet set(prefixes);
        for (int i = 0; i < 200; ++i) {
            const net::Ip address =
                random() % 2
                    ? ip(fmt::format("10.{}.{}.{}", random() % 5, random() % 5, random() % 256))
                    : ip(fmt::format("fd00:{:x}::{:x}", random() % 5, random() % 300));
            std::set<std::string> expected;
            for (const net::Prefix& prefix : prefixes) {
                if (prefix.contains(address)) expected.insert(prefix.to_string());
            }
            std::set<std::string> found;
            for (auto at = set.longest(address); at != CidrSet::kNone; at = set.parent(at)) {
                found.insert(set.prefixes()[at].to_string());
            }
            EXPECT_EQ(found, expected) << address.to_string();
        }
    }
}

class IdentitiesTest : public ::testing::Test {
protected:
    model::Objects objects;
    const net::Ip address = ip("10.0.0.1");
    const std::vector<model::NamedPort> ports{{"http", model::Protocol::tcp, 80},
                                              {"dns", model::Protocol::udp, 53}};
};

TEST_F(IdentitiesTest, SharedByEqualPodsAndNobodyElse) {
    test::add(objects, policy("x/p").in({block("10.0.0.0/24", {"10.0.0.128/25"})}));
    Identities identities(objects);
    const auto one = identities.of_pod("x", {{"app", "web"}}, ports, address, true);
    EXPECT_EQ(identities.of_pod("x", {{"app", "web"}}, {ports[1], ports[0]}, ip("10.0.0.2"), false),
              one);
    std::set<Identities::Index> others{
        identities.of_pod("y", {{"app", "web"}}, ports, address, true),
        identities.of_pod("x", {{"app", "db"}}, ports, address, true),
        identities.of_pod("x", {}, ports, address, true),
        identities.of_pod("x", {{"app", "web"}}, {}, address, true),
        identities.of_pod("x", {{"app", "web"}}, {{"http", model::Protocol::tcp, 81}, ports[1]},
                          address, true),
        identities.of_pod("x", {{"app", "web"}}, ports, ip("10.0.0.200"), true),
        identities.of_pod("x", {{"app", "web"}}, ports, ip("10.0.1.1"), true),
        identities.of_host(address),
        identities.of_world(cidr("10.0.0.0/24")),
        identities.of_world(cidr("10.0.0.128/25")),
        identities.of_world(cidr("0.0.0.0/0")),
    };
    EXPECT_EQ(others.size(), 11U);
    EXPECT_FALSE(others.contains(one));
    EXPECT_EQ(identities.size(), 12U);
    EXPECT_EQ(identities.describe(one), "x app=web in 10.0.0.0/24");
}

TEST_F(IdentitiesTest, TextsWithSeparatorsDoNotMix) {
    Identities identities(objects);
    EXPECT_NE(identities.of_pod("x", {{"a", "1"}, {"b", "2"}}, {}, address, true),
              identities.of_pod("x", {{"a", "1,b=2"}}, {}, address, true));
    EXPECT_NE(identities.of_pod("x", {{"a", "1:b"}}, {}, address, true),
              identities.of_pod("x", {{"a", "1"}, {"b", ""}}, {}, address, true));
}

TEST_F(IdentitiesTest, ReservedNumbersOnlyOutsideAllCidrs) {
    test::add(objects, policy("x/p").in({block("10.0.0.0/8")}));
    Identities identities(objects);
    const auto host = identities.of_host(ip("192.168.0.1"));
    const auto host_inside = identities.of_host(ip("10.0.0.254"));
    const auto world = identities.of_world(net::Prefix::all_v4());
    EXPECT_EQ(identities.of_world(net::Prefix::all_v6()), world);
    identities.assign_numbers({});
    EXPECT_EQ(identities[host].number, std::uint32_t{BL_ID_host});
    EXPECT_EQ(identities[world].number, std::uint32_t{BL_ID_world});
    EXPECT_EQ(identities[host_inside].number, std::uint32_t{BL_ID_FIRST_LOCAL});
    EXPECT_EQ(identities[world].families, Identity::kV4 | Identity::kV6);
}

TEST_F(IdentitiesTest, NumbersAreKeptAndNewOnesAvoidThoseInUse) {
    Table<std::uint32_t, bl_identity> previous;
    {
        Identities before(objects);
        for (const char* app : {"a", "b", "c"})
            before.of_pod("x", {{"app", app}}, {}, address, true);
        before.assign_numbers({});
        for (Identities::Index i = 0; i < 3; ++i)
            previous[before[i].number] = before[i].digest;
    }
    EXPECT_EQ(previous.size(), 3U);
    Identities now(objects);
    const auto fresh = now.of_pod("x", {{"app", "0"}}, {}, address, true);
    const auto kept = now.of_pod("x", {{"app", "c"}}, {}, address, true);
    now.assign_numbers(previous);
    EXPECT_EQ(now[kept].number, 258U);
    EXPECT_EQ(previous[now[kept].number].digest[0], now[kept].digest.digest[0]);
    // 256 and 257 are free now, but the maps may still name them.
    EXPECT_EQ(now[fresh].number, 259U);
    // Once they are gone from the maps, the lowest comes first.
    Identities later(objects);
    const auto next = later.of_pod("x", {{"app", "new"}}, {}, address, true);
    later.assign_numbers({{258, previous[258]}});
    EXPECT_EQ(later[next].number, 256U);
}

TEST_F(IdentitiesTest, NumbersDoNotDependOnTheOrderOfDiscovery) {
    Identities one(objects);
    Identities other(objects);
    for (const char* app : {"a", "b", "c"})
        one.of_pod("x", {{"app", app}}, {}, address, true);
    for (const char* app : {"c", "a", "b"})
        other.of_pod("x", {{"app", app}}, {}, address, true);
    one.assign_numbers({});
    other.assign_numbers({});
    EXPECT_EQ(one[2].number, other[0].number);
    EXPECT_EQ(one[0].number, other[1].number);
}

} // namespace
} // namespace beeline::datapath
