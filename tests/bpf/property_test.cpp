// libs: beeline_datapath beeline_bpf_node beeline_test_support
// Random clusters, policies and probes: the kernel's verdict on a real packet, and the rule it names, must be evaluate()'s.
#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "datapath/compile.h"
#include "node.h"
#include "support/random_cluster.h"

namespace beeline::test {
namespace {

constexpr unsigned kWorkloads = 10;
constexpr unsigned kClusters = 120;
constexpr unsigned kProbes = 100;        // of each cluster
constexpr std::uint32_t kOutside = 9999; // an interface that is no workload's

Packet probe(const model::Query& query, std::uint16_t sport) {
    const std::string from = query.source.address.to_string();
    const std::string to = query.destination.address.to_string();
    switch (query.protocol) {
    case model::Protocol::tcp: return Packet::tcp(from, sport, to, query.port, SYN);
    case model::Protocol::udp: return Packet::udp(from, sport, to, query.port);
    case model::Protocol::sctp: return Packet::sctp(from, sport, to, query.port);
    default: return Packet::echo(from, to, true, sport);
    }
}

struct Tally {
    unsigned probes = 0;
    unsigned allowed = 0;
    unsigned rules = 0; // verdicts whose rule was compared
};

void judge(TestNode& node, const RandomCluster& cluster, const model::Directory& directory,
           const model::Query& query, std::uint16_t sport, Tally& tally) {
    const auto workload_at = [&](const net::Ip& ip) -> int {
        for (unsigned i = 0; i < cluster.workloads.size(); ++i) {
            const auto& addresses = cluster.workloads[i].addresses;
            if (std::find(addresses.begin(), addresses.end(), ip) != addresses.end())
                return static_cast<int>(i);
        }
        return -1;
    };
    const int from = workload_at(query.source.address);
    const int to = workload_at(query.destination.address);
    Row row;
    if (from >= 0) {
        row = node.from_pod(static_cast<unsigned>(from), probe(query, sport));
    } else {
        ASSERT_GE(to, 0) << describe(query);
        const bool host = query.source.kind == model::Party::Kind::host;
        row = node.to_pod(static_cast<unsigned>(to), probe(query, sport), host ? 0 : kOutside);
    }
    const auto decision = node_decision(cluster, query);
    ++tally.probes;
    tally.allowed += decision.allowed ? 1 : 0;
    const bool passed = row.verdict == kPass || row.verdict == kRedirected;
    ASSERT_EQ(passed, decision.allowed) << describe(query) << " egress: " << decision.egress.rule
                                        << " ingress: " << decision.ingress.rule;
    ASSERT_EQ(row.events.size(), 1U) << describe(query);
    const auto& event = row.events[0];
    ASSERT_EQ(event.kind, decision.allowed ? BL_FLOW_opened : BL_FLOW_dropped) << describe(query);
    const auto compare = [&](std::uint32_t rule, const std::string& title) {
        if (title.empty()) return;
        ++tally.rules;
        const auto named = directory.rules.find(rule);
        ASSERT_NE(named, directory.rules.end()) << describe(query) << " expected " << title;
        ASSERT_EQ(named->second, title) << describe(query);
    };
    compare(event.rule[BL_DIR_EGRESS], decision.egress.rule);
    // The kernel does not ask the receiver when the sender may not.
    if (decision.egress.allowed) compare(event.rule[BL_DIR_INGRESS], decision.ingress.rule);
}

TEST(Property, KernelAndEvaluateAgree) {
    const auto node = TestNode::create(kWorkloads, 65536);
    if (node == nullptr) GTEST_SKIP() << "needs root and BPF";
    std::random_device device;
    const unsigned seed = device();
    RecordProperty("seed", std::to_string(seed));
    std::printf("seed %u\n", seed);
    std::mt19937 random(seed);
    Tally tally;
    for (unsigned round = 0; round < kClusters && !HasFatalFailure(); ++round) {
        RandomCluster cluster = make_cluster(random, {.workloads = kWorkloads});
        ASSERT_LE(cluster.workloads.size(), kWorkloads);
        for (unsigned i = 0; i < cluster.workloads.size(); ++i) {
            cluster.workloads[i].ifindex = node->ifindex(i);
            cluster.workloads[i].mac = TestNode::mac(i);
        }
        const auto compiled = datapath::compile(
            {cluster.objects, cluster.workloads, cluster.host_addresses, node->tables(), {}});
        ASSERT_TRUE(compiled) << compiled.error().message;
        node->replace(compiled->tables);
        for (unsigned i = 0; i < kProbes && !HasFatalFailure(); ++i) {
            const auto query = make_query(random, cluster);
            // Each probe is a connection of its own.
            judge(*node, cluster, *compiled->directory, query,
                  static_cast<std::uint16_t>(1024 + tally.probes % 60000), tally);
        }
    }
    EXPECT_FALSE(HasFatalFailure()) << "seed " << seed;
    if (!HasFatalFailure()) {
        EXPECT_GE(tally.probes, 10'000U);
        // Neither side of the comparison is trivial.
        EXPECT_GT(tally.allowed, tally.probes / 10);
        EXPECT_GT(tally.probes - tally.allowed, tally.probes / 10);
        EXPECT_GT(tally.rules, tally.probes / 10);
    }
    std::printf("%u probes, %u allowed, %u rules compared\n", tally.probes, tally.allowed,
                tally.rules);
}

} // namespace
} // namespace beeline::test
