// Random clusters, policies and probes: the compiled tables must give the verdicts and name the rules of the reference.
#include <cstdlib>

#include <gtest/gtest.h>

#include "datapath/compile.h"
#include "support/kernel_model.h"
#include "support/policy_cases.h"
#include "support/random_cluster.h"

namespace beeline::datapath {
namespace {

std::string rule_name(const model::Directory& directory, std::uint32_t rule) {
    const auto found = directory.rules.find(rule);
    return rule == 0 ? "" : found == directory.rules.end() ? "(unknown)" : found->second;
}

// Compares one probe; the empty string when tables and reference agree.
std::string difference(const Compiled& compiled, const model::Decision& expected,
                       const model::Query& query) {
    const test::KernelVerdict verdict =
        test::kernel_verdict(compiled.tables, query.source.address, query.destination.address,
                             query.protocol, query.port);
    const auto text = [](bool allowed, const std::string& rule) {
        return (allowed ? "allow " : "deny ") + rule;
    };
    const std::string wanted = text(expected.egress.allowed, expected.egress.rule) + " / " +
                               text(expected.ingress.allowed, expected.ingress.rule);
    const std::string found =
        text(verdict.egress.allowed, rule_name(*compiled.directory, verdict.egress.rule)) + " / " +
        text(verdict.ingress.allowed, rule_name(*compiled.directory, verdict.ingress.rule));
    if (wanted == found) return {};
    return fmt::format("{}: expected {}, the tables say {}", test::describe(query), wanted, found);
}

TEST(CompileProperty, TablesAgreeWithTheReference) {
    const char* given = std::getenv("BEELINE_SEED");
    const unsigned seed =
        given ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
    fmt::print("seed {} (BEELINE_SEED repeats it)\n", seed);
    std::mt19937 random(seed);
    unsigned denied = 0;
    unsigned decided = 0;
    unsigned probes = 0;
    Tables previous;
    for (int round = 0; round < 300; ++round) {
        const test::ClusterSizes sizes{static_cast<unsigned>(2 + random() % 3),
                                       static_cast<unsigned>(2 + random() % 14),
                                       static_cast<unsigned>(random() % 8),
                                       static_cast<unsigned>(random() % 12), random() % 2 == 0};
        const test::RandomCluster cluster = test::make_cluster(random, sizes);
        const auto compiled =
            compile({cluster.objects, cluster.workloads, cluster.host_addresses, previous});
        ASSERT_TRUE(compiled) << compiled.error().message;
        for (int i = 0; i < 100; ++i, ++probes) {
            const model::Query query = test::make_query(random, cluster);
            const model::Decision expected = test::node_decision(cluster, query);
            const std::string problem = difference(*compiled, expected, query);
            ASSERT_TRUE(problem.empty()) << "round " << round << ": " << problem;
            denied += !expected.allowed;
            decided += !expected.egress.rule.empty() || !expected.ingress.rule.empty();
        }
        // Half of the rounds start from what the one before left in the maps.
        previous = random() % 2 ? compiled->tables : Tables{};
    }
    EXPECT_GE(probes, 20000U);
    // The generator must not degrade into clusters where everything passes, or nothing.
    EXPECT_GT(denied, probes / 10);
    EXPECT_LT(denied, probes * 9 / 10);
    EXPECT_GT(decided, probes / 10);
}

TEST(CompileProperty, TablesAgreeWithTheHandWorkedCases) {
    const test::PolicyStage& stage = test::policy_stage();
    for (const test::PolicyCase& one : test::policy_cases()) {
        model::Objects objects = stage.objects;
        for (const model::Policy& policy : one.policies)
            test::add(objects, policy);
        const auto compiled = compile({objects, stage.workloads, stage.host_addresses, Tables{}});
        ASSERT_TRUE(compiled) << compiled.error().message;
        for (const test::PolicyProbe& probe : one.probes) {
            const model::Query query = test::stage_query(probe.from, probe.to, probe.port);
            model::Decision decision;
            const test::KernelVerdict verdict =
                test::kernel_verdict(compiled->tables, query.source.address,
                                     query.destination.address, query.protocol, query.port);
            decision.allowed = verdict.allowed();
            decision.egress.allowed = verdict.egress.allowed;
            decision.ingress.allowed = verdict.ingress.allowed;
            decision.egress.rule = rule_name(*compiled->directory, verdict.egress.rule);
            decision.ingress.rule = rule_name(*compiled->directory, verdict.ingress.rule);
            const auto selecting = [&](const net::Ip& address, model::Direction direction) {
                const std::uint32_t identity = test::kernel_identity(compiled->tables, address);
                const auto found = compiled->directory->subjects.find(identity);
                if (found == compiled->directory->subjects.end()) return std::vector<std::string>{};
                return found->second.selecting[static_cast<std::size_t>(direction)];
            };
            decision.egress.selecting = selecting(query.source.address, model::Direction::egress);
            decision.ingress.selecting =
                selecting(query.destination.address, model::Direction::ingress);
            EXPECT_EQ(test::outcome_of(decision), probe.outcome)
                << one.title << ": " << probe.from << " -> " << probe.to << " " << probe.port;
        }
    }
}

} // namespace
} // namespace beeline::datapath
