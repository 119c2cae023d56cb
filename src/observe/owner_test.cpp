#include "observe/owner.h"

#include <gtest/gtest.h>

namespace beeline::observe {
namespace {

void expect(std::string_view pod, const model::Labels& labels, std::string_view name,
            std::string_view kind) {
    const Owner owner = owner_of(pod, labels);
    EXPECT_EQ(owner.name, name) << pod;
    EXPECT_EQ(owner.kind, kind) << pod;
}

TEST(Owner, FromControllersLabels) {
    expect("web-7d4b9c-x2x9p", {{"pod-template-hash", "7d4b9c"}}, "web", "Deployment");
    expect("my-web-7d4b9c-x2x9p", {{"pod-template-hash", "7d4b9c"}}, "my-web", "Deployment");
    expect("web-abc-x2x9p", {{"pod-template-hash", "zzz"}}, "web-abc", "ReplicaSet");
    expect("db-0", {{"statefulset.kubernetes.io/pod-name", "db-0"}}, "db", "StatefulSet");
    expect("agent-x2x9p", {{"controller-revision-hash", "1"}, {"pod-template-generation", "1"}},
           "agent", "DaemonSet");
    expect("sum-x2x9p", {{"job-name", "sum"}}, "sum", "Job");
    expect("client", {{"app", "client"}}, "client", "Pod");
    expect("-", {{"pod-template-hash", "x"}}, "-", "Pod");
}

} // namespace
} // namespace beeline::observe
