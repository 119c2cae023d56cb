#include "datapath/policy_compile.h"

#include <arpa/inet.h>

#include <map>

#include <gtest/gtest.h>

#include "support/policy_builder.h"

namespace beeline::datapath {
namespace {

using model::Protocol;
using test::all_of;
using test::block;
using test::named;
using test::pods;
using test::policy;
using test::tcp;
using test::udp;

std::vector<std::pair<unsigned, unsigned>> ranges_of(const std::vector<PortPrefix>& prefixes) {
    std::vector<std::pair<unsigned, unsigned>> ranges;
    for (const PortPrefix& prefix : prefixes) {
        EXPECT_EQ(prefix.bits >> 16, 6U);
        const unsigned first = prefix.bits & 0xffff;
        ranges.emplace_back(first, first + (1U << (24 - prefix.length)) - 1);
    }
    return ranges;
}

TEST(PortPrefixes, SpecialCases) {
    const auto of = [](unsigned first, unsigned last) {
        return ranges_of(port_prefixes(Protocol::tcp, static_cast<std::uint16_t>(first),
                                       static_cast<std::uint16_t>(last)));
    };
    using Ranges = std::vector<std::pair<unsigned, unsigned>>;
    EXPECT_EQ(of(0, 65535), (Ranges{{0, 65535}}));
    EXPECT_EQ(of(80, 80), (Ranges{{80, 80}}));
    EXPECT_EQ(of(80, 90), (Ranges{{80, 87}, {88, 89}, {90, 90}}));
    EXPECT_EQ(of(65535, 65535), (Ranges{{65535, 65535}}));
    EXPECT_EQ(of(0, 0), (Ranges{{0, 0}}));
    EXPECT_EQ(of(32768, 65535), (Ranges{{32768, 65535}}));
    EXPECT_EQ(of(1, 65534).size(), 30U); // the most there can be
    EXPECT_TRUE(of(90, 80).empty());
}

TEST(PortPrefixes, CoverExactlyTheRange) {
    for (const auto& [first, last] : std::initializer_list<std::pair<unsigned, unsigned>>{
             {1, 1023}, {1024, 65535}, {30000, 32767}, {7, 4099}, {1, 65535}, {0, 65534}}) {
        unsigned next = first;
        for (const auto& [from, to] :
             ranges_of(port_prefixes(Protocol::tcp, static_cast<std::uint16_t>(first),
                                     static_cast<std::uint16_t>(last)))) {
            EXPECT_EQ(from, next);
            next = to + 1;
        }
        EXPECT_EQ(next, last + 1);
    }
}

// Pods "web" (isolated in most tests) and "db" of namespace x, and their entries as text:
// "in db tcp/80/16" -> "x/p ingress[0]", with a leading "deny " for denies; the number after the port is its length.
class PolicyCompile : public ::testing::Test {
protected:
    PolicyCompile() {
        names[0] = "any";
        add_pod("web", "10.0.0.1", {{"http", Protocol::tcp, 8080}});
        add_pod("db", "10.0.0.2", {{"http", Protocol::tcp, 9090}, {"http", Protocol::udp, 9090}});
    }

    struct PodSpec {
        std::string name;
        std::string address;
        std::vector<model::NamedPort> ports;
        bool local;
    };

    void add_pod(const std::string& name, const std::string& address,
                 std::vector<model::NamedPort> ports = {}, bool local = true) {
        specs.push_back({name, address, std::move(ports), local});
    }

    Result<PolicyTables> tables_of(const std::vector<model::Policy>& policies,
                                   std::size_t limit = 1000) {
        model::Objects objects;
        for (const model::Policy& one : policies)
            test::add(objects, one);
        Identities identities(objects);
        std::vector<Identities::Index> indexes;
        indexes.reserve(specs.size());
        for (const PodSpec& spec : specs) {
            indexes.push_back(identities.of_pod("x", {{"app", spec.name}}, spec.ports,
                                                test::ip(spec.address), spec.local));
        }
        std::vector<net::Prefix> outside = identities.cidrs().prefixes();
        outside.push_back(net::Prefix::all_v4());
        std::vector<Identities::Index> worlds;
        worlds.reserve(outside.size());
        for (const net::Prefix& prefix : outside)
            worlds.push_back(identities.of_world(prefix));
        identities.assign_numbers({});
        for (std::size_t i = 0; i < specs.size(); ++i)
            names[identities[indexes[i]].number] = specs[i].name;
        for (const auto index : worlds)
            names[identities[index].number] = identities.describe(index);
        auto tables = compile_policy(objects, identities, limit);
        if (tables) {
            for (std::size_t i = 0; i < specs.size(); ++i)
                flags[specs[i].name] = tables->flags[indexes[i]];
        }
        return tables;
    }

    std::map<std::string, std::string> entries_of(const std::vector<model::Policy>& policies,
                                                  const std::string& subject = "web") {
        std::map<std::string, std::string> texts;
        const auto tables = tables_of(policies);
        EXPECT_TRUE(tables);
        for (const auto& [key, value] : tables->entries) {
            if (names[key.subject] != subject) continue;
            const unsigned length = key.prefixlen - BL_POLICY_PREFIX_PEER;
            std::string text = key.direction == BL_DIR_INGRESS ? "in " : "out ";
            text += names.contains(key.peer) ? names[key.peer] : std::to_string(key.peer);
            if (length >= 8)
                text += fmt::format(" {}", model::to_string(static_cast<Protocol>(key.proto)));
            if (length > 8) text += fmt::format(" {}/{}", ntohs(key.port), length - 8);
            std::string rule = tables->rules.at(value.rule);
            rule = rule.substr(rule.find('/') + 1);
            texts[text] = (value.deny ? "deny " : "") + rule;
        }
        return texts;
    }

    using Texts = std::map<std::string, std::string>;
    std::vector<PodSpec> specs;
    std::map<std::uint32_t, std::string> names;
    std::map<std::string, unsigned> flags;
};

TEST_F(PolicyCompile, LevelsOfWildcards) {
    EXPECT_EQ(entries_of({policy("x/p", "app=web")
                              .in({pods("app=db")})
                              .in({}, {all_of(Protocol::udp), tcp(80)})
                              .out({pods("app=db")}, {tcp(80, 83)})}),
              (Texts{{"in db", "p ingress[0]"},
                     {"in any UDP", "p ingress[1]"},
                     {"in any TCP 80/16", "p ingress[1]"},
                     {"out db TCP 80/14", "p egress[0]"}}));
}

TEST_F(PolicyCompile, FlagsAndSelectingPolicies) {
    const auto tables = tables_of(
        {policy("x/b", "app=web").isolate_in(), policy("x/a").isolate_in().isolate_out()});
    ASSERT_TRUE(tables);
    EXPECT_TRUE(tables->entries.empty());
    EXPECT_EQ(flags["web"], unsigned{BL_EP_INGRESS | BL_EP_EGRESS});
    EXPECT_EQ(flags["db"], unsigned{BL_EP_INGRESS | BL_EP_EGRESS});
    for (const auto& [number, subject] : tables->subjects) {
        using Titles = std::vector<std::string>;
        EXPECT_EQ(subject.selecting[BL_DIR_EGRESS], (Titles{"NetworkPolicy x/a"}));
        EXPECT_EQ(subject.selecting[BL_DIR_INGRESS],
                  names[number] == "web" ? (Titles{"NetworkPolicy x/a", "NetworkPolicy x/b"})
                                         : (Titles{"NetworkPolicy x/a"}));
    }
    EXPECT_EQ(tables->subjects.size(), 2U);
}

TEST_F(PolicyCompile, PodsElsewhereArePeersButNotSubjects) {
    add_pod("far", "10.9.0.1", {}, false);
    EXPECT_EQ(entries_of({policy("x/p").in({pods("app=far")})}),
              (Texts{{"in far", "p ingress[0]"}}));
    EXPECT_EQ(entries_of({policy("x/p").in({pods("app=far")})}, "far"), Texts{});
    EXPECT_EQ(flags["far"], 0U);
}

TEST_F(PolicyCompile, NamedPortsOfTheSelectedPodAndOfEachPeer) {
    add_pod("cache", "10.0.0.3");
    EXPECT_EQ(entries_of({policy("x/p", "app=web")
                              .in({pods("app=db")}, {named("http")})
                              .out({}, {named("http")})}),
              (Texts{{"in db TCP 8080/16", "p ingress[0]"},
                     {"out web TCP 8080/16", "p egress[0]"},
                     {"out db TCP 9090/16", "p egress[0]"}}));
    EXPECT_EQ(entries_of({policy("x/p", "app=web").in({}, {named("http")})}),
              (Texts{{"in any TCP 8080/16", "p ingress[0]"}}));
    EXPECT_EQ(
        entries_of(
            {policy("x/p", "app=web").in({}, {named("nothing"), named("http", Protocol::udp)})}),
        Texts{});
}

TEST_F(PolicyCompile, AnEntryNamesTheFirstOfAllRulesThatCoverIt) {
    // Port 80 is covered by both; the narrower entry must name x/a, which is first.
    EXPECT_EQ(entries_of({policy("x/a", "app=web").in({pods("app=db")}, {tcp(80, 95)}),
                          policy("x/b", "app=web").in({pods("app=db")}, {tcp(80)})}),
              (Texts{{"in db TCP 80/12", "a ingress[0]"}}));
    EXPECT_EQ(entries_of({policy("x/b", "app=web").in({pods("app=db")}, {tcp(80, 95)}),
                          policy("x/a", "app=web").in({pods("app=db")}, {tcp(80)})}),
              (Texts{{"in db TCP 80/12", "b ingress[0]"}, {"in db TCP 80/16", "a ingress[0]"}}));
}

TEST_F(PolicyCompile, DenyOverridesWhatItCovers) {
    EXPECT_EQ(
        entries_of({policy("x/a", "app=web").in({pods("app=db")}, {tcp(80), udp(53)}),
                    policy("x/b", "app=web").deny_in({pods("app=db")}, {all_of(Protocol::tcp)})}),
        (Texts{{"in db UDP 53/16", "a ingress[0]"}, {"in db TCP", "deny b ingress[0]"}}));
    EXPECT_EQ(entries_of({policy("x/a", "app=web").in({pods("app=db")}),
                          policy("x/b", "app=web").deny_in({pods("app=db")}, {tcp(80)})}),
              (Texts{{"in db", "a ingress[0]"}, {"in db TCP 80/16", "deny b ingress[0]"}}));
}

TEST_F(PolicyCompile, RulesForEveryoneAndForAPeerStayApart) {
    EXPECT_EQ(entries_of({policy("x/a", "app=web").in({}, {tcp(80)}),
                          policy("x/b", "app=web").in({pods("app=db")}, {tcp(80)})}),
              (Texts{{"in any TCP 80/16", "a ingress[0]"}, {"in db TCP 80/16", "b ingress[0]"}}));
}

TEST_F(PolicyCompile, BlocksBecomeTheIdentitiesInside) {
    add_pod("six", "fd00::1");
    EXPECT_EQ(entries_of({policy("x/p", "app=web").in({block("10.0.0.0/24", {"10.0.0.2/32"})})}),
              (Texts{{"in web", "p ingress[0]"}, {"in world in 10.0.0.0/24", "p ingress[0]"}}));
}

TEST_F(PolicyCompile, FamiliesThatNeverMeetGetNoEntries) {
    add_pod("six", "fd00::1");
    EXPECT_EQ(entries_of({policy("x/p").in({pods("")})}),
              (Texts{{"in web", "p ingress[0]"}, {"in db", "p ingress[0]"}}));
    EXPECT_EQ(entries_of({policy("x/p").in({pods("")})}, "six"),
              (Texts{{"in six", "p ingress[0]"}}));
}

TEST_F(PolicyCompile, RuleIdsDependOnTheTitleOnly) {
    const auto id_of = [&](const PolicyTables& tables, const std::string& title) {
        for (const auto& [id, text] : tables.rules) {
            if (text == title) return id;
        }
        return 0U;
    };
    const auto one = tables_of({policy("x/p", "app=web").in({pods("app=db")}).in()});
    const auto more =
        tables_of({policy("x/o").in(), policy("x/p", "app=db").in().in(), policy("x/q").out()});
    ASSERT_TRUE(one && more);
    EXPECT_EQ(one->rules.size(), 2U);
    EXPECT_EQ(more->rules.size(), 4U);
    const auto id = id_of(*one, "NetworkPolicy x/p ingress[1]");
    EXPECT_NE(id, 0U);
    EXPECT_EQ(id_of(*more, "NetworkPolicy x/p ingress[1]"), id);
}

TEST_F(PolicyCompile, TheLimitNamesTheBiggestPolicy) {
    for (int i = 0; i < 20; ++i)
        add_pod(fmt::format("p{}", i), fmt::format("10.0.1.{}", i));
    const std::vector<model::Policy> policies{policy("x/small", "app=web").in({}, {tcp(80)}),
                                              policy("x/large").in({pods("")}, {tcp(80)})};
    // 22 pods of their own kind may each be reached by 22; one entry is for everyone.
    EXPECT_TRUE(tables_of(policies, 22 * 22 + 1));
    const auto refused = tables_of(policies, 22 * 22);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::exhausted);
    EXPECT_NE(refused.error().message.find("NetworkPolicy x/large"), std::string::npos)
        << refused.error().message;
}

} // namespace
} // namespace beeline::datapath
