#include "model/nearest.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "model/party.h"
#include "support/policy_builder.h"
#include "support/random_cluster.h"

namespace beeline::model {
namespace {

using namespace test; // NOLINT

Party pod(const std::string& name, Labels labels, const std::string& address = "10.0.0.1") {
    return {Party::Kind::pod,
            object_name(name),
            std::move(labels),
            {{"http", Protocol::tcp, 8080}},
            ip(address)};
}

Probe probe_to_web(std::uint16_t port = 80, Protocol protocol = Protocol::tcp) {
    return {pod("shop/web", {{"app", "web"}}), pod("shop/client", {{"app", "client"}}, "10.0.0.2"),
            Direction::ingress, protocol, port};
}

Objects with(const Policy& one) {
    Objects objects;
    add(objects, one);
    add_namespace(objects, "shop");
    add_namespace(objects, "blog", {{"team", "red"}});
    return objects;
}

std::string failed(const Objects& objects, const Probe& probe) {
    const auto near = nearest_rule(objects, probe);
    if (!near) return "nothing";
    std::string out = near->title.substr(near->title.find(' ') + 1);
    for (const auto& one : near->failed)
        out += fmt::format("; {}: {}", to_string(one.kind), one.text);
    return out;
}

TEST(Nearest, SaysWhichConditionFailed) {
    EXPECT_EQ(
        failed(with(policy("shop/p", "app=web").in({pods("app=client")}, {tcp(81), tcp(90, 99)})),
               probe_to_web()),
        "shop/p ingress[0]; port: port TCP 80 is not among TCP 81, TCP 90-99");
    EXPECT_EQ(failed(with(policy("shop/p", "app=web").in({}, {udp(80)})), probe_to_web()),
              "shop/p ingress[0]; protocol: protocol TCP 80 is not among UDP 80");
    EXPECT_EQ(failed(with(policy("shop/p", "app=web").in({pods("app=front")})), probe_to_web()),
              "shop/p ingress[0]; pod_label: shop/client has app=client, the rule wants app=front");
    EXPECT_EQ(failed(with(policy("shop/p", "app=web").in({pods("role")})), probe_to_web()),
              "shop/p ingress[0]; pod_label: shop/client has no label role, the rule wants role");
    EXPECT_EQ(
        failed(with(policy("shop/p", "app=web").in({namespaces("team=blue")})), probe_to_web()),
        "shop/p ingress[0]; namespace_label: namespace shop has no label team, the rule wants "
        "team=blue");
    EXPECT_EQ(failed(with(policy("shop/p", "app=web").in({block("10.1.0.0/16")})), probe_to_web()),
              "shop/p ingress[0]; cidr: 10.0.0.2 is not in 10.1.0.0/16");
    EXPECT_EQ(failed(with(policy("shop/p", "app=web").in({block("10.0.0.0/8", {"10.0.0.0/24"})})),
                     probe_to_web()),
              "shop/p ingress[0]; cidr: 10.0.0.2 is in 10.0.0.0/24, which 10.0.0.0/8 excepts");
    Probe other = probe_to_web();
    other.peer.name.space = "blog";
    EXPECT_EQ(
        failed(with(policy("shop/p", "app=web").in({pods("app=client")})), other),
        "shop/p ingress[0]; namespace: the rule is for pods of namespace shop, client is in blog");
    other.peer = {Party::Kind::world, {}, {}, {}, ip("192.0.2.1")};
    EXPECT_EQ(failed(with(policy("shop/p", "app=web").in({pods("app=client")})), other),
              "shop/p ingress[0]; not_a_pod: the rule is for pods, 192.0.2.1 is none");
}

TEST(Nearest, TheRuleWithTheFewestFailures) {
    Objects objects = with(policy("shop/a", "app=web").in({pods("app=front,tier=x")}, {tcp(81)}));
    add(objects,
        policy("shop/b", "app=web").in({pods("app=client")}, {tcp(443)}).in({pods("x=y")}));
    add(objects, policy("shop/c", "app=db").in()); // selects somebody else
    const auto near = nearest_rule(objects, probe_to_web());
    ASSERT_TRUE(near);
    EXPECT_EQ(near->title, "NetworkPolicy shop/b ingress[0]");
    EXPECT_EQ(near->failed.size(), 1U);
    EXPECT_EQ(failed(with(policy("shop/deny").isolate_in()), probe_to_web()), "nothing");
    EXPECT_EQ(failed(with(policy("shop/deny").isolate_out()), probe_to_web()), "nothing");
}

TEST(Changes, PortIsAddedToTheRuleThatAlmostMatched) {
    const Objects objects = with(policy("shop/p", "app=web").in({pods("app=client")}, {tcp(81)}));
    const auto found = changes(objects, probe_to_web());
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].text, "add port TCP 80 to NetworkPolicy shop/p ingress[0]");
    EXPECT_EQ(to_yaml(found[0]), "apiVersion: networking.k8s.io/v1\n"
                                 "kind: NetworkPolicy\n"
                                 "metadata:\n"
                                 "  name: p\n"
                                 "  namespace: shop\n"
                                 "spec:\n"
                                 "  podSelector: {matchLabels: {app: web}}\n"
                                 "  policyTypes: [Ingress]\n"
                                 "  ingress:\n"
                                 "    - from:\n"
                                 "        - podSelector: {matchLabels: {app: client}}\n"
                                 "      ports:\n"
                                 "        - protocol: TCP\n"
                                 "          port: 81\n"
                                 "        - protocol: TCP\n"
                                 "          port: 80\n");
    EXPECT_EQ(found[1].kind, Change::Kind::new_policy);
    EXPECT_EQ(found[1].target, (ObjectName{"shop", "allow-from-client"}));
}

TEST(Changes, LabelsOfPodsAndNamespaces) {
    auto found =
        changes(with(policy("shop/p", "app=web").in({pods("role=front")})), probe_to_web());
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].text, "give shop/client the label role=front");
    EXPECT_EQ(to_yaml(found[0]),
              "apiVersion: v1\nkind: Pod\nmetadata:\n  name: client\n  namespace: shop\n"
              "  labels: {app: client, role: front}\n");
    Probe other = probe_to_web();
    other.peer.name.space = "blog";
    found = changes(with(policy("shop/p", "app=web").in({namespaces("env=prod")})), other);
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].text, "give namespace blog the label env=prod");
    EXPECT_EQ(found[0].labels.at("team"), "red");
    // A label cannot make `!x` or `app!=client` hold without taking one away.
    found = changes(with(policy("shop/p", "app=web").in({pods("app!=client")})), probe_to_web());
    ASSERT_EQ(found.size(), 1U);
}

TEST(Changes, NothingWhereNothingIsWrong) {
    EXPECT_TRUE(changes(with(policy("shop/p", "app=web").in()), probe_to_web()).empty());
    EXPECT_TRUE(changes(with(policy("shop/p", "app=other").isolate_in()), probe_to_web()).empty());
    EXPECT_TRUE(changes(with(policy("shop/p", "app=web").deny_in()), probe_to_web()).empty())
        << "no rule that allows can help against one that denies";
}

TEST(Changes, NewPolicyLeavesWhatDiffersFromReplicaToReplica) {
    Probe probe = probe_to_web();
    probe.peer.labels["pod-template-hash"] = "abc";
    const auto found = changes(with(policy("shop/deny").isolate_in()), probe);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(to_yaml(found[0]).find("pod-template-hash"), std::string::npos);
}

// --- for any cluster

std::vector<Party> everybody(const RandomCluster& cluster) {
    std::vector<Party> out;
    for (const auto& workload : cluster.workloads)
        out.push_back(party_of(workload, cluster.objects, workload.addresses.front()));
    for (const char* address : {"192.0.2.200", "10.0.0.254", "2001:db8::5"})
        out.push_back(
            party_at(cluster.objects, cluster.workloads, cluster.host_addresses, ip(address)));
    return out;
}

bool has_all(const Labels& labels, const Labels& wanted) {
    return std::all_of(wanted.begin(), wanted.end(), [&](const auto& one) {
        const auto found = labels.find(one.first);
        return found != labels.end() && found->second == one.second;
    });
}

class EveryChange : public ::testing::TestWithParam<unsigned> {};

TEST_P(EveryChange, AllowsTheProbeAndNothingElseThanNecessary) {
    std::mt19937 random(GetParam());
    unsigned denied = 0;
    for (int round = 0; round < 60; ++round) {
        const RandomCluster cluster = make_cluster(random, {3, 8, 3, 6, round % 2 == 0});
        const Query query = make_query(random, cluster);
        for (const bool ingress : {false, true}) {
            const Probe probe{ingress ? query.destination : query.source,
                              ingress ? query.source : query.destination,
                              ingress ? Direction::ingress : Direction::egress, query.protocol,
                              query.port};
            const Check before = check(cluster.objects, probe.subject, probe.peer, probe.direction,
                                       probe.protocol, probe.port);
            const auto found = changes(cluster.objects, probe);
            if (before.allowed || !before.rule.empty()) {
                EXPECT_TRUE(found.empty()) << describe(query);
                continue;
            }
            ++denied;
            ASSERT_FALSE(found.empty()) << describe(query);
            EXPECT_EQ(found.back().kind, Change::Kind::new_policy);
            for (const Change& change : found) {
                Objects after = cluster.objects;
                Probe then = probe;
                apply(change, after, then);
                EXPECT_TRUE(
                    check(after, then.subject, then.peer, then.direction, then.protocol, then.port)
                        .allowed)
                    << change.text;
                const bool adds = change.kind == Change::Kind::new_policy ||
                                  change.kind == Change::Kind::add_port;
                if (!adds) continue;
                for (const Party& subject : everybody(cluster)) {
                    for (const Party& peer : everybody(cluster)) {
                        for (const Direction direction : {Direction::egress, Direction::ingress}) {
                            for (const std::uint16_t port :
                                 {query.port, static_cast<std::uint16_t>(query.port + 1)}) {
                                const auto allowed = [&](const Objects& objects) {
                                    return check(objects, subject, peer, direction, probe.protocol,
                                                 port)
                                        .allowed;
                                };
                                const bool was = allowed(cluster.objects);
                                const bool is = allowed(after);
                                ASSERT_FALSE(was && !is) << change.text << ": takes away";
                                if (was || !is) continue;
                                const bool any_port = probe.port == 0;
                                EXPECT_TRUE(any_port || port == probe.port) << change.text;
                                EXPECT_EQ(direction, probe.direction) << change.text;
                                EXPECT_EQ(subject.name.space, probe.subject.name.space)
                                    << change.text;
                                if (change.kind != Change::Kind::new_policy) continue;
                                EXPECT_TRUE(has_all(subject.labels, probe.subject.labels))
                                    << change.text;
                                if (probe.peer.kind == Party::Kind::pod) {
                                    EXPECT_EQ(peer.name.space, probe.peer.name.space);
                                    EXPECT_TRUE(has_all(peer.labels, probe.peer.labels));
                                } else {
                                    EXPECT_EQ(peer.address, probe.peer.address);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    EXPECT_GT(denied, 10U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, EveryChange, ::testing::Range(1U, 9U));

} // namespace
} // namespace beeline::model
