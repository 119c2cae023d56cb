#include "api/hubble/convert.h"

#include <gtest/gtest.h>

#include "api/hubble/test_flows.h"

namespace beeline::hubble {
namespace {

using testing::dns;
using testing::dropped;
using testing::http;
using testing::opened;
using testing::origin;

std::vector<std::string> list(const google::protobuf::RepeatedPtrField<std::string>& field) {
    return {field.begin(), field.end()};
}

v1::FlowExtension extension_of(const ::flow::Flow& flow) {
    v1::FlowExtension out;
    EXPECT_TRUE(flow.extensions().UnpackTo(&out));
    return out;
}

TEST(HubbleConvert, NewConnection) {
    const auto out = convert(opened(), origin());
    EXPECT_EQ(out.time().seconds(), 1'700'000'000);
    EXPECT_EQ(out.time().nanos(), 123'456'789);
    EXPECT_EQ(out.verdict(), ::flow::FORWARDED);
    EXPECT_EQ(out.type(), ::flow::L3_L4);
    EXPECT_EQ(out.event_type().type(), 4);
    EXPECT_EQ(out.event_type().sub_type(), 0);
    EXPECT_EQ(out.trace_observation_point(), ::flow::TO_ENDPOINT);
    EXPECT_EQ(out.trace_reason(), ::flow::NEW);
    ASSERT_TRUE(out.has_is_reply());
    EXPECT_FALSE(out.is_reply().value());
    EXPECT_EQ(out.traffic_direction(), ::flow::INGRESS);
    EXPECT_EQ(out.node_name(), "node-1");
    EXPECT_EQ(list(out.node_labels()), std::vector<std::string>{"zone=a"});
    EXPECT_EQ(out.ip().source(), "10.0.0.1");
    EXPECT_EQ(out.ip().ipversion(), ::flow::IPv4);
    EXPECT_EQ(out.l4().tcp().source_port(), 40000U);
    EXPECT_EQ(out.l4().tcp().destination_port(), 80U);
    EXPECT_TRUE(out.l4().tcp().flags().syn());
    EXPECT_EQ(out.summary(), "TCP Flags: SYN");
    EXPECT_EQ(out.source().id(), 7U);
    EXPECT_EQ(out.source().identity(), 1007U);
    EXPECT_EQ(out.source().namespace_(), "blog");
    EXPECT_EQ(out.source().pod_name(), "client");
    EXPECT_EQ(out.source().workloads(0).kind(), "Pod");
    EXPECT_EQ(list(out.destination().labels()),
              (std::vector<std::string>{"k8s:app=web", "k8s:io.cilium.k8s.policy.cluster=default",
                                        "k8s:io.kubernetes.pod.namespace=shop", "k8s:tier=front"}));
    const auto extension = extension_of(out);
    EXPECT_EQ(extension.source().binary(), "/usr/bin/curl");
    EXPECT_EQ(extension.source().user(), "root");
    EXPECT_EQ(extension.source().ancestry(0), "/bin/sh");
    EXPECT_FALSE(extension.has_destination());
    EXPECT_EQ(extension.number(), 42U);
}

TEST(HubbleConvert, AnswerHasItsEndsSwapped) {
    auto flow = opened();
    flow.kind = model::Flow::Kind::replied;
    flow.tcp_flags[1] = 0x12;
    flow.packets[0] = 3;
    flow.packets[1] = 2;
    flow.service = "shop/web";
    const auto out = convert(flow, origin());
    EXPECT_TRUE(out.is_reply().value());
    EXPECT_TRUE(out.reply());
    EXPECT_EQ(out.source().pod_name(), "web");
    EXPECT_EQ(out.ip().destination(), "10.0.0.1");
    EXPECT_EQ(out.l4().tcp().source_port(), 80U);
    EXPECT_EQ(out.summary(), "TCP Flags: SYN, ACK");
    EXPECT_EQ(out.source_service().name(), "web");
    EXPECT_EQ(out.source_service().namespace_(), "shop");
    EXPECT_FALSE(out.has_destination_service());
    const auto extension = extension_of(out);
    EXPECT_EQ(extension.to_destination().packets(), 2U);
    EXPECT_EQ(extension.to_source().packets(), 3U);
    EXPECT_EQ(extension.destination().pid(), 77U);
}

TEST(HubbleConvert, Drop) {
    const auto out = convert(dropped(), origin());
    EXPECT_EQ(out.verdict(), ::flow::DROPPED);
    EXPECT_EQ(out.event_type().type(), 1);
    EXPECT_EQ(out.event_type().sub_type(), 133);
    EXPECT_EQ(out.drop_reason(), 133U);
    EXPECT_EQ(out.drop_reason_desc(), ::flow::POLICY_DENIED);
    EXPECT_FALSE(out.has_is_reply());
    EXPECT_EQ(out.traffic_direction(), ::flow::INGRESS);
    ASSERT_EQ(out.ingress_denied_by_size(), 1);
    EXPECT_EQ(out.ingress_denied_by(0).name(), "deny");
    EXPECT_EQ(out.ingress_denied_by(0).namespace_(), "shop");
    EXPECT_EQ(out.ingress_denied_by(0).kind(), "NetworkPolicy");
    EXPECT_EQ(extension_of(out).drop_text(), "Policy denied");
}

// Every reason has a number that Hubble's clients know, and the same name where there is one.
TEST(HubbleConvert, DropReasons) {
#define X(name, number, text)                                                                      \
    EXPECT_TRUE(::flow::DropReason_IsValid(drop_reason(number))) << #name;                         \
    EXPECT_NE(drop_reason(number), ::flow::DROP_REASON_UNKNOWN) << #name;                          \
    if ((number) < 220) {                                                                          \
        EXPECT_EQ(::flow::DropReason_Name(drop_reason(number)), #name);                            \
    }
    BL_DROP_REASONS(X)
#undef X
    EXPECT_EQ(drop_reason(0), ::flow::DROP_REASON_UNKNOWN);
    EXPECT_EQ(drop_reason(255), ::flow::DROP_REASON_UNKNOWN);
}

TEST(HubbleConvert, ReservedEndsHaveLabelsAndIdentities) {
    auto flow = opened();
    flow.source = testing::world("192.0.2.1");
    flow.source.identity = 0;
    flow.destination.kind = model::FlowEnd::Kind::host;
    flow.destination.space.clear();
    flow.destination.name.clear();
    flow.destination.labels.clear();
    flow.destination.identity = 1;
    flow.destination.endpoint = 0;
    const auto out = convert(flow, origin());
    EXPECT_EQ(out.source().identity(), 2U);
    EXPECT_EQ(list(out.source().labels()), std::vector<std::string>{"reserved:world"});
    EXPECT_EQ(list(out.destination().labels()), std::vector<std::string>{"reserved:host"});
    EXPECT_EQ(out.source().workloads_size(), 0);
    EXPECT_EQ(out.source().pod_name(), "");
}

TEST(HubbleConvert, Http) {
    auto out = convert(http(false), origin());
    EXPECT_EQ(out.type(), ::flow::L7);
    EXPECT_EQ(out.event_type().type(), 129);
    EXPECT_EQ(out.l7().type(), ::flow::REQUEST);
    EXPECT_EQ(out.l7().http().code(), 0U);
    EXPECT_EQ(out.l7().http().url(), "http://web.example/cart?item=1");
    EXPECT_EQ(out.summary(), "HTTP/1.1 GET http://web.example/cart?item=1");
    EXPECT_EQ(out.trace_context().parent().trace_id(), "0af7651916cd43dd8448eb211c80319c");
    EXPECT_FALSE(out.is_reply().value());
    out = convert(http(true), origin());
    EXPECT_EQ(out.l7().type(), ::flow::RESPONSE);
    EXPECT_EQ(out.l7().latency_ns(), 3'400'000U);
    EXPECT_EQ(out.summary(), "HTTP/1.1 200 3ms (GET http://web.example/cart?item=1)");
    EXPECT_TRUE(out.is_reply().value());
    EXPECT_EQ(out.source().pod_name(), "web");
    EXPECT_EQ(out.l7().http().headers(0).key(), "User-Agent");
}

TEST(HubbleConvert, Dns) {
    EXPECT_EQ(convert(dns(false), origin()).summary(), "DNS Query example.com. A");
    const auto out = convert(dns(true), origin());
    EXPECT_EQ(out.summary(),
              "DNS Answer \"1.2.3.4,5.6.7.8\" CNAMEs: \"x.\" TTL: 30 (Proxy example.com. A)");
    EXPECT_EQ(list(out.l7().dns().rrtypes()), (std::vector<std::string>{"CNAME", "A", "A"}));
    EXPECT_EQ(convert(dns(true, 3), origin()).summary(),
              "DNS Answer RCode: Non-Existent Domain TTL: 4294967295 (Proxy example.com. A)");
}

TEST(HubbleConvert, OtherProtocolsGoIntoTheExtension) {
    auto flow = opened();
    flow.kind = model::Flow::Kind::l7;
    model::L7 l7;
    l7.protocol = model::L7::Protocol::redis;
    l7.method = "GET";
    l7.resource = "cart:1";
    flow.l7 = std::make_shared<const model::L7>(l7);
    const auto out = convert(flow, origin());
    EXPECT_EQ(out.l7().record_case(), ::flow::Layer7::RECORD_NOT_SET);
    EXPECT_EQ(out.summary(), "redis GET cart:1");
    EXPECT_EQ(extension_of(out).l7().protocol(), "redis");
    EXPECT_EQ(extension_of(out).l7().resource(), "cart:1");
}

TEST(HubbleConvert, Icmp) {
    auto flow = opened();
    flow.protocol = model::Protocol::icmp;
    flow.icmp_type = 8;
    EXPECT_EQ(convert(flow, origin()).summary(), "ICMPv4 EchoRequest");
    flow.icmp_type = 3;
    flow.icmp_code = 3;
    EXPECT_EQ(convert(flow, origin()).summary(), "ICMPv4 DestinationUnreachable(Port)");
    flow.protocol = model::Protocol::icmpv6;
    flow.icmp_type = 135;
    flow.icmp_code = 0;
    EXPECT_EQ(convert(flow, origin()).summary(), "ICMPv6 NeighborSolicitation");
}

TEST(HubbleConvert, UuidStaysAndDiffers) {
    const auto one = convert(opened(), origin()).uuid();
    EXPECT_EQ(one, convert(opened(), origin()).uuid());
    ASSERT_EQ(one.size(), 36U);
    EXPECT_EQ(one[14], '8');
    auto next = opened();
    ++next.number;
    EXPECT_NE(one, convert(next, origin()).uuid());
    auto elsewhere = origin();
    elsewhere.node = "node-2";
    EXPECT_NE(one, convert(opened(), elsewhere).uuid());
}

TEST(HubbleConvert, WorkloadsByTheNamesThatKubernetesGives) {
    struct Row {
        const char* pod;
        model::Labels labels;
        const char* name;
        const char* kind;
    };
    const Row rows[] = {
        {"web-5d8f7c9b4d-x2x9k", {{"pod-template-hash", "5d8f7c9b4d"}}, "web", "Deployment"},
        {"web", {{"pod-template-hash", "5d8f7c9b4d"}}, "web", "Pod"},
        {"db-0", {{"statefulset.kubernetes.io/pod-name", "db-0"}}, "db", "StatefulSet"},
        {"log-abcde", {{"controller-revision-hash", "1"}}, "log", "DaemonSet"},
        {"mail-abcde", {{"batch.kubernetes.io/job-name", "mail"}}, "mail", "Job"},
        {"alone", {}, "alone", "Pod"},
    };
    for (const Row& row : rows) {
        ::flow::Workload out;
        workload_of(testing::pod("a", row.pod, "10.0.0.9", 1, row.labels), out);
        EXPECT_EQ(out.name(), row.name) << row.pod;
        EXPECT_EQ(out.kind(), row.kind) << row.pod;
    }
}

TEST(HubbleConvert, Losses) {
    model::Flow flow;
    flow.kind = model::Flow::Kind::lost;
    flow.lost = 12;
    flow.lost_where = "queue";
    ::flow::LostEvent out;
    convert_lost(flow, out);
    EXPECT_EQ(out.source(), ::flow::HUBBLE_RING_BUFFER);
    EXPECT_EQ(out.num_events_lost(), 12U);
    flow.lost_where = "ring";
    convert_lost(flow, out);
    EXPECT_EQ(out.source(), ::flow::PERF_EVENT_RING_BUFFER);
}

} // namespace
} // namespace beeline::hubble
