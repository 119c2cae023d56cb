#include "security/outputs/alert_store.h"

#include <gtest/gtest.h>

#include <thread>

namespace beeline::security {
namespace {

model::Alert alert(const std::string& rule, model::Priority priority = model::Priority::warning) {
    model::Alert out;
    out.rule = rule;
    out.priority = priority;
    out.time_ns = 1000;
    out.tags = {"host", "process"};
    out.workload = "shop/web";
    out.container = "0123456789ab";
    out.pid = 42;
    out.ancestors = {{42, "sh", "/bin/sh", "sh"}, {7, "nginx", "/usr/sbin/nginx", "nginx"}};
    return out;
}

std::vector<std::string> rules_of(AlertReader reader) {
    std::vector<std::string> out;
    while (auto item = reader.next()) {
        if (const auto* stored = std::get_if<std::shared_ptr<const model::Alert>>(&*item))
            out.push_back((*stored)->rule);
        else
            out.push_back("missed " + std::to_string(std::get<AlertReader::Missed>(*item).count));
    }
    return out;
}

TEST(AlertStore, KeepsTheNewest) {
    AlertStore store(2);
    EXPECT_EQ(store.append(alert("a"))->number, 1);
    store.append(alert("b"));
    EXPECT_EQ(store.append(alert("c"))->number, 3);
    EXPECT_EQ(rules_of(store.read({})), (std::vector<std::string>{"b", "c"}));
    EXPECT_EQ(store.stats().stored, 2);
    EXPECT_EQ(store.stats().total, 3);
}

TEST(AlertStore, LastCountsOnlyMatches) {
    AlertStore store(10);
    for (const auto* rule : {"x", "y", "x", "y", "x"})
        store.append(alert(rule));
    AlertFilter filter;
    filter.rules = {"X"};
    filter.last = 2;
    auto reader = store.read(filter);
    const auto first = reader.next();
    ASSERT_TRUE(first);
    EXPECT_EQ(std::get<0>(*first)->number, 3);
    EXPECT_EQ(rules_of(std::move(reader)), (std::vector<std::string>{"x"}));
    filter.last = 0;
    EXPECT_TRUE(rules_of(store.read(filter)).empty());
}

TEST(AlertStore, SlowReadersHearWhatTheyMissed) {
    AlertStore store(2);
    store.append(alert("a"));
    auto reader = store.read({});
    for (const auto* rule : {"b", "c", "d", "e"})
        store.append(alert(rule));
    EXPECT_EQ(rules_of(std::move(reader)), (std::vector<std::string>{"missed 3", "d", "e"}));
}

TEST(AlertStore, FollowersWaitForTheNext) {
    AlertStore store;
    store.append(alert("old"));
    AlertFilter filter;
    filter.follow = true;
    auto reader = store.read(filter);
    EXPECT_FALSE(reader.next(std::chrono::milliseconds(1)));
    std::thread other([&] { store.append(alert("new")); });
    const auto item = reader.next(std::chrono::seconds(20));
    other.join();
    ASSERT_TRUE(item);
    EXPECT_EQ(std::get<0>(*item)->rule, "new");
}

TEST(AlertFilter, EveryCondition) {
    const auto one = alert("Terminal shell in container", model::Priority::notice);
    const auto check = [&](auto change) {
        AlertFilter filter;
        change(filter);
        return filter.matches(one);
    };
    EXPECT_TRUE(check([](auto&) {}));
    EXPECT_TRUE(check([](auto& f) { f.since_ns = 1000; }));
    EXPECT_FALSE(check([](auto& f) { f.since_ns = 1001; }));
    EXPECT_TRUE(check([](auto& f) { f.least = model::Priority::notice; }));
    EXPECT_FALSE(check([](auto& f) { f.least = model::Priority::warning; }));
    EXPECT_TRUE(check([](auto& f) { f.rules = {"other", "terminal*"}; }));
    EXPECT_FALSE(check([](auto& f) { f.rules = {"terminal"}; }));
    EXPECT_TRUE(check([](auto& f) { f.tags = {"host"}; }));
    EXPECT_FALSE(check([](auto& f) { f.tags = {"hos"}; }));
    EXPECT_TRUE(check([](auto& f) { f.workloads = {"web"}; }));
    EXPECT_TRUE(check([](auto& f) { f.workloads = {"shop/"}; }));
    EXPECT_TRUE(check([](auto& f) { f.workloads = {"shop/web"}; }));
    EXPECT_FALSE(check([](auto& f) { f.workloads = {"shop/we", "blog/", "shop"}; }));
    EXPECT_TRUE(check([](auto& f) { f.containers = {"0123"}; }));
    EXPECT_TRUE(check([](auto& f) { f.containers = {"0123456789abcdef"}; }));
    EXPECT_FALSE(check([](auto& f) { f.containers = {"0124"}; }));
    EXPECT_TRUE(check([](auto& f) { f.pids = {7}; }));
    EXPECT_FALSE(check([](auto& f) { f.pids = {8}; }));
}

} // namespace
} // namespace beeline::security
