#include "model/evaluate.h"

#include <gtest/gtest.h>

#include "model/party.h"
#include "support/policy_cases.h"

namespace beeline::model {
namespace {

using test::pods;
using test::policy;
using test::stage_query;
using test::tcp;

Objects stage_with(const std::vector<Policy>& policies) {
    Objects objects = test::policy_stage().objects;
    for (const Policy& one : policies)
        test::add(objects, one);
    return objects;
}

TEST(Evaluate, HandWorkedCases) {
    std::size_t rows = 0;
    for (const test::PolicyCase& one : test::policy_cases()) {
        const Objects objects = stage_with(one.policies);
        for (const test::PolicyProbe& probe : one.probes) {
            const Decision decision =
                evaluate(objects, stage_query(probe.from, probe.to, probe.port));
            EXPECT_EQ(test::outcome_of(decision), probe.outcome)
                << one.title << ": " << probe.from << " -> " << probe.to << " " << probe.port;
            ++rows;
        }
    }
    EXPECT_GE(rows, 120U);
}

TEST(Evaluate, HandWorkedMatrices) {
    const std::vector<std::string> who = test::stage_pods();
    for (const test::PolicyMatrix& matrix : test::policy_matrices()) {
        const Objects objects = stage_with(matrix.policies);
        ASSERT_EQ(matrix.rows.size(), who.size()) << matrix.title;
        for (std::size_t from = 0; from < who.size(); ++from) {
            std::string row;
            for (const std::string& to : who) {
                row +=
                    evaluate(objects, stage_query(who[from], to, matrix.port)).allowed ? '.' : 'X';
            }
            EXPECT_EQ(row, matrix.rows[from]) << matrix.title << ": from " << who[from];
        }
    }
}

TEST(Evaluate, ChangesTakeEffectWithTheObjects) {
    Objects objects = stage_with({policy("x/p", "pod=a").in({test::namespaces("env=test")})});
    const Query query = stage_query("z/b", "x/a", "tcp/80");
    EXPECT_FALSE(evaluate(objects, query).allowed);
    objects.namespaces["z"].labels["env"] = "test";
    EXPECT_TRUE(evaluate(objects, query).allowed);
    objects.namespaces.erase("z");
    EXPECT_FALSE(evaluate(objects, query).allowed);
    objects.policies.clear();
    EXPECT_TRUE(evaluate(objects, query).allowed);
}

TEST(Evaluate, LabelsOfThePodDecideWhoIsSelected) {
    const Objects objects = stage_with({policy("x/p", "pod=a").isolate_in()});
    Query query = stage_query("y/b", "x/a", "tcp/80");
    EXPECT_FALSE(evaluate(objects, query).allowed);
    query.destination.labels["pod"] = "renamed";
    EXPECT_TRUE(evaluate(objects, query).allowed);
}

TEST(Evaluate, APeerWithoutAnyFieldMatchesNobody) {
    const Objects objects = stage_with({policy("x/p").in({Peer{}})});
    EXPECT_FALSE(evaluate(objects, stage_query("x/b", "x/a", "tcp/80")).allowed);
}

TEST(Check, ReportsIsolationEvenWhereNoRuleHadToDecide) {
    const Objects objects = stage_with({policy("x/p").isolate_in()});
    const Query query = stage_query("host", "x/a", "tcp/80");
    const Check ingress = check(objects, query.destination, query.source, Direction::ingress,
                                query.protocol, query.port);
    EXPECT_TRUE(ingress.isolated);
    EXPECT_TRUE(ingress.allowed);
    EXPECT_EQ(ingress.rule, "");
    EXPECT_EQ(ingress.selecting, (std::vector<std::string>{"NetworkPolicy x/p"}));
    EXPECT_FALSE(evaluate(objects, query).egress.isolated);
}

TEST(Check, TitlesNameKindNamespaceDirectionAndIndex) {
    const Objects objects =
        stage_with({policy("x/p", "pod=a").in({pods("pod=c")}).in({pods("pod=b")}, {tcp(80)})});
    EXPECT_EQ(evaluate(objects, stage_query("x/b", "x/a", "tcp/80")).ingress.rule,
              "NetworkPolicy x/p ingress[1]");
}

} // namespace
} // namespace beeline::model
