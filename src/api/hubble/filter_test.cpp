#include "api/hubble/filter.h"

#include <gtest/gtest.h>

#include <google/protobuf/text_format.h>

#include "api/hubble/mask.h"
#include "api/hubble/selector.h"
#include "api/hubble/test_flows.h"

namespace beeline::hubble {
namespace {

::flow::FlowFilter filter(const std::string& text) {
    ::flow::FlowFilter out;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &out)) << text;
    return out;
}

bool matches(const std::string& text, const ::flow::Flow& flow) {
    const auto compiled = Filter::compile(filter(text), "f");
    EXPECT_TRUE(compiled) << text << ": " << (compiled ? "" : compiled.error().message);
    return compiled && compiled->matches(flow);
}

std::string error(const std::string& text) {
    const auto compiled = Filter::compile(filter(text), "f");
    return compiled ? "" : compiled.error().message;
}

struct Row {
    const char* filter;
    bool matches;
};

TEST(HubbleFilter, FieldsOfAConnection) {
    auto model = testing::opened();
    model.destination.names = {"Web.Example.com."};
    model.service = "shop/web";
    model.interface = "eth0";
    const auto flow = convert(model, testing::origin());
    const Row rows[] = {
        {"", true},
        {"source_ip: '10.0.0.1'", true},
        {"source_ip: '10.0.0.2'", false},
        {"source_ip: '10.0.0.0/24' source_ip: 'fd00::/8'", true},
        {"source_ip: '10.0.1.0/24'", false},
        {"source_pod: 'blog/cl'", true},
        {"source_pod: 'blog/'", true},
        {"source_pod: '/client'", true},
        {"source_pod: 'client'", false},
        {"destination_pod: 'shop/web' source_pod: 'blog/x'", false},
        {"destination_service: 'shop/web'", true},
        {"source_service: 'shop/web'", false},
        {"destination_fqdn: '*.example.com'", true},
        {"destination_fqdn: 'web.*'", true},
        {"destination_fqdn: 'example.com'", false},
        {"destination_label: 'k8s:app in (web, api),tier'", true},
        {"destination_label: '!tier' destination_label: 'app=web'", true},
        {"destination_label: 'reserved:host'", false},
        {"source_port: '40000'", true},
        {"destination_port: '080'", true},
        {"destination_port: '81'", false},
        {"source_identity: 1007", true},
        {"source_identity: 7", false},
        {"destination_workload: {kind: 'Pod'}", true},
        {"destination_workload: {name: 'web' kind: 'Deployment'}", false},
        {"destination_workload: {}", true},
        {"source_cluster_name: 'default'", true},
        {"verdict: DROPPED verdict: FORWARDED", true},
        {"verdict: AUDIT", false},
        {"event_type: {type: 4}", true},
        {"event_type: {type: 4 match_sub_type: true sub_type: 3}", false},
        {"event_type: {}", true},
        {"reply: false", true},
        {"reply: true", false},
        {"ip_version: IPv4", true},
        {"ip_version: IPv6", false},
        {"traffic_direction: INGRESS", true},
        {"drop_reason_desc: POLICY_DENIED", false},
        {"encrypted: false", true},
        {"ip_trace_id: 0", false},
        {"protocol: 'Tcp'", true},
        {"protocol: 'icmp'", false},
        {"tcp_flags: {SYN: true}", true},
        {"tcp_flags: {SYN: true ACK: true}", false},
        {"node_name: 'node-*'", true},
        {"node_name: 'default/'", true},
        {"node_name: 'other/node-1'", false},
        {"node_labels: 'zone=a'", true},
        {"interface: {name: 'eth0'}", true},
        {"interface: {name: 'eth1'}", false},
        {"interface: {index: 3}", false},
        {"http_status_code: '200'", false},
        {"dns_query: '.*'", false},
        {"uuid: 'x'", false},
        {"trace_id: 'x'", false},
    };
    for (const Row& row : rows)
        EXPECT_EQ(matches(row.filter, flow), row.matches) << row.filter;
    EXPECT_TRUE(matches("uuid: '" + flow.uuid() + "'", flow));
}

TEST(HubbleFilter, FieldsOfHttpAndDns) {
    const auto http = convert(testing::http(true), testing::origin());
    const Row rows[] = {
        {"http_status_code: '2+'", true},
        {"http_status_code: '20+' http_status_code: '404'", true},
        {"http_status_code: '404'", false},
        {"http_method: 'get'", true},
        {"http_path: '^/cart$'", true},
        {"http_path: 'item'", false},
        {"http_url: 'item=1'", true},
        {"http_header: {key: 'User-Agent' value: 'curl'}", true},
        {"http_header: {key: 'User-Agent' value: 'cur'}", false},
        {"http_method: 'GET' event_type: {type: 129}", true},
        {"trace_id: '0af7651916cd43dd8448eb211c80319c'", true},
        {"protocol: 'http'", true},
        {"reply: true", true},
    };
    for (const Row& row : rows)
        EXPECT_EQ(matches(row.filter, http), row.matches) << row.filter;
    EXPECT_FALSE(
        matches("http_status_code: '2+'", convert(testing::http(false), testing::origin())));
    const auto dns = convert(testing::dns(false), testing::origin());
    EXPECT_TRUE(matches("dns_query: 'example[.]'", dns));
    EXPECT_FALSE(matches("dns_query: '^x'", dns));
    EXPECT_TRUE(matches("protocol: 'dns'", dns));
}

// Nobody answers what was dropped; other events without the mark match neither.
TEST(HubbleFilter, ReplyOfDrops) {
    auto flow = convert(testing::dropped(), testing::origin());
    EXPECT_TRUE(matches("reply: false", flow));
    EXPECT_FALSE(matches("reply: true", flow));
    EXPECT_TRUE(matches("drop_reason_desc: POLICY_DENIED", flow));
    flow.set_verdict(::flow::TRACED);
    EXPECT_FALSE(matches("reply: false", flow));
    EXPECT_FALSE(matches("reply: true", flow));
}

TEST(HubbleFilter, ErrorsNameTheField) {
    for (const auto& [text, field] : std::vector<std::pair<const char*, const char*>>{
             {"source_ip: '10.0.0'", "f.source_ip: '10.0.0'"},
             {"source_pod: ''", "f.source_pod"},
             {"destination_pod: 'a/b/c'", "f.destination_pod"},
             {"source_fqdn: 'a b'", "f.source_fqdn"},
             {"destination_label: 'a in b'", "f.destination_label"},
             {"source_port: '70000'", "f.source_port"},
             {"protocol: 'quic'", "f.protocol"},
             {"http_status_code: '6+'", "f.http_status_code"},
             {"http_path: '('", "f.http_path"},
             {"dns_query: '['", "f.dns_query"},
             {"node_name: ''", "f.node_name"},
             {"source_cluster_name: ''", "f.source_cluster_name"},
             {"http_header: {key: 'a'} event_type: {type: 4}", "f.http_header"},
             {"experimental: {cel_expression: 'true'}", "f.experimental.cel_expression"}})
        EXPECT_TRUE(error(text).starts_with(field)) << text << ": " << error(text);
}

TEST(HubbleFilter, Bounds) {
    FlowFilters many;
    for (int i = 0; i <= kMaxFilters; ++i)
        many.Add();
    EXPECT_FALSE(FilterLists::compile(many, {}));
    EXPECT_FALSE(FilterLists::compile({}, many));
    ::flow::FlowFilter values;
    for (int i = 0; i <= kMaxValues; ++i)
        values.add_source_identity(1);
    EXPECT_FALSE(Filter::compile(values, "f"));
    ::flow::FlowFilter text;
    text.add_http_url(std::string(kMaxText + 1, 'x'));
    EXPECT_FALSE(Filter::compile(text, "f"));
    text.set_http_url(0, "(a{1000}){1000}");
    EXPECT_FALSE(Filter::compile(text, "f"));
}

TEST(HubbleFilter, Lists) {
    const auto flow = convert(testing::dropped(), testing::origin());
    FlowFilters yes;
    *yes.Add() = filter("verdict: DROPPED");
    FlowFilters no;
    *no.Add() = filter("verdict: AUDIT");
    EXPECT_TRUE(FilterLists::compile({}, {})->keeps(flow));
    EXPECT_TRUE(FilterLists::compile(yes, no)->keeps(flow));
    EXPECT_FALSE(FilterLists::compile(no, {})->keeps(flow));
    EXPECT_FALSE(FilterLists::compile(yes, yes)->keeps(flow));
    *no.Add() = filter("");
    EXPECT_TRUE(FilterLists::compile(no, {})->keeps(flow));
    EXPECT_FALSE(FilterLists::compile({}, no)->keeps(flow));
}

TEST(HubbleSelector, Syntax) {
    LabelTexts labels;
    for (const char* label : {"k8s:app=web", "k8s:tier=front", "reserved:host", "k8s:size=10",
                              "k8s:io.kubernetes.pod.namespace=shop"})
        *labels.Add() = label;
    const Row rows[] = {
        {"", true},
        {"app", true},
        {"k8s:app", true},
        {"any:app", true},
        {"reserved:app", false},
        {"reserved:host", true},
        {"!reserved:host", false},
        {"app=web", true},
        {"app==web", true},
        {"app = web , tier = front", true},
        {"app!=web", false},
        {"other!=web", true},
        {"app in (api,web)", true},
        {"app notin (api,web)", false},
        {"app notin (api)", true},
        {"!other", true},
        {"size>9", true},
        {"size<10", false},
        {"app>1", false},
        {"io.kubernetes.pod.namespace=shop", true},
        {"k8s:io.kubernetes.pod.namespace = blog", false},
        {"app=", false},
    };
    for (const Row& row : rows) {
        const auto selector = Selector::parse(row.filter);
        ASSERT_TRUE(selector) << row.filter;
        EXPECT_EQ(selector->matches(labels), row.matches) << row.filter;
    }
    for (const char* bad :
         {"=x", "a in", "a in (b", "a in b", "a,", "a b", "!", "a>x", "a=b c", ","})
        EXPECT_FALSE(Selector::parse(bad)) << bad;
}

TEST(HubbleMask, KeepsOnlyWhatIsNamed) {
    google::protobuf::FieldMask mask;
    for (const char* path : {"IP.source", "Summary", "source.pod_name", "l4"})
        mask.add_paths(path);
    auto compiled = FieldMask::compile(mask);
    ASSERT_TRUE(compiled);
    EXPECT_FALSE(compiled->extension());
    auto flow = convert(testing::opened(), testing::origin());
    compiled->apply(flow);
    EXPECT_EQ(flow.ip().source(), "10.0.0.1");
    EXPECT_EQ(flow.ip().destination(), "");
    EXPECT_EQ(flow.source().pod_name(), "client");
    EXPECT_EQ(flow.source().namespace_(), "");
    EXPECT_EQ(flow.l4().tcp().destination_port(), 80U);
    EXPECT_FALSE(flow.has_time());
    EXPECT_EQ(flow.summary(), "TCP Flags: SYN");

    EXPECT_TRUE(FieldMask::compile({})->all());
    mask.add_paths("source.nothing");
    const auto bad = FieldMask::compile(mask);
    ASSERT_FALSE(bad);
    EXPECT_NE(bad.error().message.find("'source.nothing'"), std::string::npos);
}

} // namespace
} // namespace beeline::hubble
