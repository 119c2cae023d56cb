#include "observe/metrics/enable.h"

#include <gtest/gtest.h>

namespace beeline::observe::metrics {
namespace {

std::string error_of(std::string_view text) {
    const auto parsed = parse_enabled(text);
    return parsed ? "" : parsed.error().message;
}

TEST(MetricsSyntax, AsHubbleWritesIt) {
    const auto parsed = parse_enabled(
        "dns:query;ignoreAAAA drop  flow:SOURCECONTEXT=pod|ip;destinationContext=dns|ip "
        "httpV2:exemplars=true;labelsContext=traffic_direction,source_ip,source_ip");
    ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
    ASSERT_EQ(parsed->size(), 4U);
    EXPECT_EQ((*parsed)[0].name, "dns");
    EXPECT_TRUE((*parsed)[0].flags.contains("query"));
    EXPECT_TRUE((*parsed)[0].flags.contains("ignoreaaaa"));
    EXPECT_TRUE((*parsed)[1].contexts.names().empty());
    EXPECT_EQ((*parsed)[2].contexts.names(), (std::vector<std::string>{"source", "destination"}));
    EXPECT_EQ((*parsed)[3].contexts.names(),
              (std::vector<std::string>{"source_ip", "traffic_direction"}));
    EXPECT_TRUE(parse_enabled("").value().empty());
}

TEST(MetricsSyntax, MistakesAreNamed) {
    EXPECT_NE(error_of("flows").find("unknown metric \"flows\""), std::string::npos);
    EXPECT_NE(error_of("drop:query").find("unknown option \"query\""), std::string::npos);
    EXPECT_NE(error_of("drop:sourceContext=pods").find("\"pods\""), std::string::npos);
    EXPECT_NE(error_of("drop:sourceContext=pod|").find("as a context"), std::string::npos);
    EXPECT_NE(error_of("drop:labelsContext=source").find("unknown label \"source\""),
              std::string::npos);
    EXPECT_NE(error_of("drop drop").find("twice"), std::string::npos);
    EXPECT_NE(error_of("http httpV2").find("keep one"), std::string::npos);
    EXPECT_NE(error_of("http:exemplars=maybe").find("true or false"), std::string::npos);
}

TEST(MetricsSyntax, TheRecommendedSetIsValid) {
    const auto parsed = parse_enabled(recommended_texts());
    ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
    EXPECT_EQ(parsed->size(), 9U);
}

model::FlowEnd end(const std::string& name) {
    model::FlowEnd out;
    out.kind = model::FlowEnd::Kind::workload;
    out.address = net::Ip::parse("10.0.0.1").value();
    out.identity = 300;
    out.space = "shop";
    out.name = name;
    out.labels = {{"app", "web"}, {"pod-template-hash", "abc12"}};
    out.names = {"a.example", "b.example"};
    return out;
}

std::vector<std::string> values(std::string_view options, const Ends& ends) {
    const auto parsed = parse_enabled("drop:" + std::string(options));
    std::vector<std::string> out;
    if (parsed) parsed->at(0).contexts.append(ends, out);
    return out;
}

TEST(MetricsContexts, EveryValue) {
    const model::FlowEnd a = end("web-abc12-x1");
    const Ends ends{a, a, TrafficDirection::egress};
    const std::pair<const char*, const char*> rows[] = {
        {"identity", "k8s:app=web,k8s:io.cilium.k8s.policy.cluster=default,"
                     "k8s:io.kubernetes.pod.namespace=shop,k8s:pod-template-hash=abc12"},
        {"namespace", "shop"},
        {"pod", "shop/web-abc12-x1"},
        {"pod-name", "web-abc12-x1"},
        {"dns", "a.example,b.example"},
        {"ip", "10.0.0.1"},
        {"reserved-identity", ""},
        {"workload", "shop/web"},
        {"workload-name", "web"},
        {"app", "web"},
        {"reserved-identity|ip", "10.0.0.1"},
    };
    for (const auto& [option, value] : rows)
        EXPECT_EQ(values(std::string("sourceContext=") + option, ends),
                  std::vector<std::string>{value})
            << option;
    EXPECT_EQ(values("labelsContext=source_ip,source_pod,source_namespace,source_workload,"
                     "source_workload_kind,source_app,destination_ip,destination_pod,"
                     "destination_namespace,destination_workload,destination_workload_kind,"
                     "destination_app,traffic_direction",
                     ends),
              (std::vector<std::string>{"10.0.0.1", "web-abc12-x1", "shop", "web", "Deployment",
                                        "web", "10.0.0.1", "web-abc12-x1", "shop", "web",
                                        "Deployment", "web", "egress"}));
}

TEST(MetricsContexts, DirectionsTakePrecedenceAndReservedIdentities) {
    const model::FlowEnd a = end("x");
    model::FlowEnd world;
    world.address = net::Ip::parse("1.1.1.1").value();
    EXPECT_EQ(
        values("sourceContext=ip;sourceEgressContext=pod", {a, world, TrafficDirection::egress}),
        std::vector<std::string>{"shop/x"});
    EXPECT_EQ(
        values("sourceContext=ip;sourceEgressContext=pod", {a, world, TrafficDirection::ingress}),
        std::vector<std::string>{"10.0.0.1"});
    EXPECT_EQ(values("sourceIngressContext=pod", {a, world, TrafficDirection::egress}),
              std::vector<std::string>{""});
    EXPECT_EQ(
        values("destinationContext=pod|reserved-identity", {a, world, TrafficDirection::egress}),
        std::vector<std::string>{"reserved:world"});
    model::FlowEnd api;
    api.identity = 7;
    EXPECT_EQ(values("destinationContext=reserved-identity", {a, api, TrafficDirection::egress}),
              std::vector<std::string>{"reserved:kube-apiserver"});
}

} // namespace
} // namespace beeline::observe::metrics
