#include "cli/connectivity/cases.h"

#include <gtest/gtest.h>

#include <set>

namespace beeline::cli {
namespace {

TEST(ConnectivityCases, ThereAreEnoughAndEachHasAName) {
    std::set<std::string> names;
    std::set<std::string> without_family;
    for (const auto& one : test_cases()) {
        EXPECT_TRUE(names.insert(one.name).second) << one.name;
        without_family.insert(one.name.substr(0, one.name.size() - 3));
        EXPECT_FALSE(one.proves.empty()) << one.name;
        EXPECT_FALSE(one.look.empty()) << one.name;
    }
    EXPECT_GE(without_family.size(), 60U);
}

TEST(ConnectivityCases, EverythingThatIsNamedExists) {
    const std::set<std::string> places{"host", "gateway", "world"};
    for (const auto& one : test_cases()) {
        EXPECT_TRUE(one.from == "host" || find_test_workload(one.from)) << one.name;
        if (one.to.starts_with("service:")) {
            EXPECT_TRUE(find_test_object("service/" + one.to.substr(8))) << one.name;
            const auto& objects = one.objects;
            EXPECT_NE(std::find(objects.begin(), objects.end(), "service/" + one.to.substr(8)),
                      objects.end())
                << one.name;
        } else {
            EXPECT_TRUE(places.contains(one.to) || find_test_workload(one.to)) << one.name;
        }
        for (const auto& object : one.objects)
            EXPECT_TRUE(find_test_object(object)) << one.name << " " << object;
        for (const auto& server : one.servers)
            EXPECT_TRUE(find_test_workload(server)) << one.name << " " << server;
        if (one.expect == Expect::dropped) {
            EXPECT_TRUE(find_test_object("policy/" + one.denied_by)) << one.name;
        }
    }
    for (const auto& object : test_objects())
        for (const auto& workload : object.workloads)
            EXPECT_TRUE(find_test_workload(workload)) << object.name << " " << workload;
}

TEST(ConnectivityCases, ServerPortsAreListenedOn) {
    const auto has = [](const auto& ports, std::uint16_t port) {
        return std::find(ports.begin(), ports.end(), port) != ports.end();
    };
    for (const auto& one : test_cases()) {
        const auto* to = find_test_workload(one.to);
        if (to == nullptr || one.expect == Expect::refused || one.kind == ProbeKind::ping) continue;
        if (to->dns)
            EXPECT_EQ(one.port, 53) << one.name;
        else
            EXPECT_TRUE(has(one.kind == ProbeKind::udp ? to->udp : to->tcp, one.port)) << one.name;
    }
}

TEST(ConnectivityCases, PatternsSelect) {
    EXPECT_EQ(select_cases({}).size(), test_cases().size());
    EXPECT_EQ(select_cases({"pod-to-pod/tcp/v4"}).size(), 1U);
    for (const auto* one : select_cases({"dns/*", "flows/*"}))
        EXPECT_TRUE(one->group() == "dns" || one->group() == "flows");
    EXPECT_TRUE(select_cases({"nothing"}).empty());
}

TEST(ConnectivityCases, ServiceAddressesDiffer) {
    std::set<net::Ip> seen;
    for (const auto* name : {"web", "sticky", "lonely", "mirror", "slice", "names", "guarded"})
        for (const auto family : {Family::v4, Family::v6})
            EXPECT_TRUE(
                seen.insert(test_service_address(test_service_number(name), family)).second);
}

} // namespace
} // namespace beeline::cli
