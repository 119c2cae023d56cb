#include "observe/metrics/hubble.h"

#include <gtest/gtest.h>

#include <sstream>

#include <prometheus/text_serializer.h>

#include "abi/drop.h"
#include "net/address.h"

namespace beeline::observe::metrics {
namespace {

using model::Flow;
using model::FlowEnd;
using model::L7;

FlowEnd pod(const std::string& name, const std::string& address, std::uint32_t endpoint) {
    FlowEnd end;
    end.kind = FlowEnd::Kind::workload;
    end.address = net::Ip::parse(address).value();
    end.identity = 300 + endpoint;
    end.endpoint = endpoint;
    end.space = "shop";
    end.name = name;
    end.labels = {{"app", name}};
    return end;
}

Flow flow(Flow::Kind kind = Flow::Kind::opened) {
    Flow out;
    out.kind = kind;
    out.source = pod("client", "10.1.0.2", 7);
    out.source.port = 40000;
    out.destination = pod("web", "10.1.0.3", 8);
    out.destination.port = 8080;
    out.tcp_flags[0] = 0x02;
    out.tcp_flags[1] = 0x12;
    return out;
}

Flow dropped() {
    Flow out = flow(Flow::Kind::dropped);
    out.verdict = Flow::Verdict::dropped;
    out.reason = BL_DROP_POLICY_DENIED;
    out.denied_direction = "ingress";
    return out;
}

Flow with_l7(L7 l7) {
    Flow out = flow(Flow::Kind::l7);
    out.l7 = std::make_shared<const L7>(std::move(l7));
    return out;
}

class Metrics {
public:
    explicit Metrics(std::string_view enabled, std::size_t series = 1000) {
        options.hubble = parse_enabled(enabled).value();
        options.series = series;
        hubble = std::make_unique<Hubble>(options, registry);
    }
    ~Metrics() { hubble.reset(); }

    // The value of a series as it is scraped; -1: there is none.
    double operator()(const std::string& line) const {
        std::istringstream text(prometheus::TextSerializer().Serialize(registry.Collect()));
        for (std::string one; std::getline(text, one);)
            if (one.starts_with(line + " ")) return std::stod(one.substr(line.size() + 1));
        return -1;
    }
    std::string text() const { return prometheus::TextSerializer().Serialize(registry.Collect()); }

    prometheus::Registry registry;
    Options options;
    std::unique_ptr<Hubble> hubble;
};

TEST(HubbleMetrics, FlowsByTypeSubtypeAndVerdict) {
    Metrics metrics("flow:sourceContext=pod;destinationContext=ip");
    EXPECT_EQ(metrics.text().find("\nhubble_"), std::string::npos);
    metrics.hubble->count(flow());
    metrics.hubble->count(flow(Flow::Kind::replied));
    metrics.hubble->count(dropped());
    Flow ruled = flow();
    ruled.ingress_rule = "NetworkPolicy shop/a ingress[0]";
    metrics.hubble->count(ruled);
    metrics.hubble->count(ruled);
    EXPECT_EQ(
        metrics(
            R"(hubble_flows_processed_total{destination="10.1.0.3",protocol="TCP",source="shop/client",subtype="to-endpoint",type="Trace",verdict="FORWARDED"})"),
        1)
        << metrics.text();
    EXPECT_EQ(
        metrics(
            R"(hubble_flows_processed_total{destination="10.1.0.2",protocol="TCP",source="shop/web",subtype="to-endpoint",type="Trace",verdict="FORWARDED"})"),
        1);
    EXPECT_EQ(
        metrics(
            R"(hubble_flows_processed_total{destination="10.1.0.3",protocol="TCP",source="shop/client",subtype="",type="Drop",verdict="DROPPED"})"),
        1);
    EXPECT_EQ(
        metrics(
            R"(hubble_flows_processed_total{destination="10.1.0.3",protocol="TCP",source="shop/client",subtype="",type="PolicyVerdict",verdict="FORWARDED"})"),
        2);
}

TEST(HubbleMetrics, DropsByReason) {
    Metrics metrics("drop");
    metrics.hubble->count(flow());
    metrics.hubble->count(dropped());
    EXPECT_EQ(metrics(R"(hubble_drop_total{protocol="TCP",reason="POLICY_DENIED"})"), 1);
}

TEST(HubbleMetrics, TcpFlagsOfThePacketThatTheEventStandsFor) {
    Metrics metrics("tcp");
    Flow closed = flow(Flow::Kind::closed);
    closed.tcp_flags[0] = 0x13;
    closed.tcp_flags[1] = 0x13;
    metrics.hubble->count(flow());
    metrics.hubble->count(flow(Flow::Kind::replied));
    metrics.hubble->count(closed);
    closed.tcp_flags[1] = 0x14;
    metrics.hubble->count(closed);
    metrics.hubble->count(dropped());
    EXPECT_EQ(metrics(R"(hubble_tcp_flags_total{family="IPv4",flag="SYN"})"), 1);
    EXPECT_EQ(metrics(R"(hubble_tcp_flags_total{family="IPv4",flag="SYN-ACK"})"), 1);
    EXPECT_EQ(metrics(R"(hubble_tcp_flags_total{family="IPv4",flag="FIN"})"), 1);
    EXPECT_EQ(metrics(R"(hubble_tcp_flags_total{family="IPv4",flag="RST"})"), 1);
}

TEST(HubbleMetrics, Icmp) {
    Metrics metrics("icmp");
    Flow ping = flow();
    ping.protocol = model::Protocol::icmp;
    ping.icmp_type = 8;
    metrics.hubble->count(ping);
    ping.kind = Flow::Kind::replied;
    metrics.hubble->count(ping);
    ping.protocol = model::Protocol::icmpv6;
    ping.source.address = net::Ip::parse("fd00::2").value();
    ping.icmp_type = 135;
    ping.kind = Flow::Kind::opened;
    metrics.hubble->count(ping);
    EXPECT_EQ(metrics(R"(hubble_icmp_total{family="IPv4",type="EchoRequest"})"), 1);
    EXPECT_EQ(metrics(R"(hubble_icmp_total{family="IPv4",type="EchoReply"})"), 1);
    EXPECT_EQ(metrics(R"(hubble_icmp_total{family="IPv6",type="NeighborSolicitation"})"), 1);
}

TEST(HubbleMetrics, PortsOfForwardedRequestsOnly) {
    Metrics metrics("port-distribution");
    metrics.hubble->count(flow());
    metrics.hubble->count(flow(Flow::Kind::replied));
    metrics.hubble->count(dropped());
    Flow ping = flow();
    ping.protocol = model::Protocol::icmp;
    metrics.hubble->count(ping);
    EXPECT_EQ(metrics(R"(hubble_port_distribution_total{port="8080",protocol="TCP"})"), 1);
    EXPECT_EQ(metrics(R"(hubble_port_distribution_total{port="0",protocol="ICMPv4"})"), 1);
}

TEST(HubbleMetrics, PolicyVerdictsOfEachDirection) {
    Metrics metrics("policy");
    Flow ruled = flow();
    ruled.ingress_rule = "a";
    ruled.egress_rule = "b";
    metrics.hubble->count(ruled);
    metrics.hubble->count(flow());
    metrics.hubble->count(dropped());
    Flow host = ruled;
    host.source.identity = 1;
    metrics.hubble->count(host);
    L7 http;
    http.type = L7::Type::request;
    metrics.hubble->count(with_l7(http));
    EXPECT_EQ(
        metrics(
            R"(hubble_policy_verdicts_total{action="forwarded",direction="egress",match="l3-l4"})"),
        1);
    EXPECT_EQ(
        metrics(
            R"(hubble_policy_verdicts_total{action="forwarded",direction="ingress",match="l3-l4"})"),
        1);
    EXPECT_EQ(
        metrics(
            R"(hubble_policy_verdicts_total{action="dropped",direction="ingress",match="none"})"),
        1);
    EXPECT_EQ(
        metrics(
            R"(hubble_policy_verdicts_total{action="forwarded",direction="ingress",match="l7/http"})"),
        1);
}

TEST(HubbleMetrics, FlowsToWorld) {
    Flow out = flow();
    out.destination = FlowEnd{};
    out.destination.address = net::Ip::parse("1.2.3.4").value();
    out.destination.port = 443;
    Flow denied = out;
    denied.kind = Flow::Kind::dropped;
    denied.verdict = Flow::Verdict::dropped;
    denied.reason = BL_DROP_CT_MAP_INSERTION_FAILED;
    Flow answered = out;
    answered.kind = Flow::Kind::replied;
    Flow closed = out;
    closed.kind = Flow::Kind::closed;
    closed.tcp_flags[0] = 0x11;

    Metrics plain("flows-to-world:port");
    Metrics strict("flows-to-world:any-drop;syn-only");
    for (const Flow& one : {out, denied, answered, closed, flow()}) {
        plain.hubble->count(one);
        strict.hubble->count(one);
    }
    EXPECT_EQ(
        plain(R"(hubble_flows_to_world_total{port="443",protocol="TCP",verdict="FORWARDED"})"), 2);
    EXPECT_EQ(plain(R"(hubble_flows_to_world_total{port="443",protocol="TCP",verdict="DROPPED"})"),
              -1);
    EXPECT_EQ(strict(R"(hubble_flows_to_world_total{protocol="TCP",verdict="FORWARDED"})"), 1);
    EXPECT_EQ(strict(R"(hubble_flows_to_world_total{protocol="TCP",verdict="DROPPED"})"), 1);
}

TEST(HubbleMetrics, Dns) {
    L7 question;
    question.protocol = L7::Protocol::dns;
    question.resource = "web.shop.";
    question.dns.question_types = {1};
    L7 answer = question;
    answer.type = L7::Type::response;
    answer.code = 3;
    L7 good = answer;
    good.code = 0;
    good.dns.addresses = {net::Ip::parse("10.0.0.1").value()};
    good.dns.answer_types = {5, 1};
    L7 aaaa = question;
    aaaa.dns.question_types = {28};

    Metrics metrics("dns:query;ignoreAAAA;labelsContext=source_namespace,destination_pod");
    for (const L7& one : {question, answer, good, aaaa})
        metrics.hubble->count(with_l7(one));
    const std::string client = R"(,source_namespace="shop"})";
    EXPECT_EQ(
        metrics(
            R"(hubble_dns_queries_total{destination_pod="web",ips_returned="0",qtypes="A",query="web.shop.",rcode="")" +
            client),
        1)
        << metrics.text();
    EXPECT_EQ(
        metrics(
            R"(hubble_dns_responses_total{destination_pod="client",ips_returned="0",qtypes="A",query="web.shop.",rcode="Non-Existent Domain")" +
            client),
        1);
    EXPECT_EQ(
        metrics(
            R"(hubble_dns_responses_total{destination_pod="client",ips_returned="1",qtypes="A",query="web.shop.",rcode="No Error")" +
            client),
        1);
    EXPECT_EQ(
        metrics(
            R"(hubble_dns_response_types_total{destination_pod="client",qtypes="A",query="web.shop.",source_namespace="shop",type="CNAME"})"),
        1);
    EXPECT_EQ(metrics.text().find("AAAA"), std::string::npos);
}

L7 http_answer() {
    L7 http;
    http.type = L7::Type::response;
    http.status = L7::Status::ok;
    http.code = 200;
    http.method = "GET";
    http.version = "HTTP/1.1";
    http.latency_ns = 20'000'000;
    return http;
}

TEST(HubbleMetrics, HttpInBothForms) {
    Metrics first("http:sourceContext=pod-name");
    Metrics second("httpV2:sourceContext=pod-name;exemplars=true");
    L7 request = http_answer();
    request.type = L7::Type::request;
    request.code = 0;
    for (const L7& one : {request, http_answer()}) {
        first.hubble->count(with_l7(one));
        second.hubble->count(with_l7(one));
    }
    EXPECT_EQ(
        first(
            R"(hubble_http_requests_total{method="GET",protocol="HTTP/1.1",reporter="server",source="client"})"),
        1);
    EXPECT_EQ(
        first(
            R"(hubble_http_responses_total{method="GET",protocol="HTTP/1.1",reporter="server",source="web",status="200"})"),
        1);
    EXPECT_EQ(
        first(
            R"(hubble_http_request_duration_seconds_bucket{method="GET",reporter="server",source="web",le="0.01"})"),
        0);
    EXPECT_EQ(
        first(
            R"(hubble_http_request_duration_seconds_bucket{method="GET",reporter="server",source="web",le="0.025"})"),
        1);
    // The second form shows the request's ends.
    EXPECT_EQ(
        second(
            R"(hubble_http_requests_total{method="GET",protocol="HTTP/1.1",reporter="server",source="client",status="200"})"),
        1);
    EXPECT_EQ(
        second(
            R"(hubble_http_request_duration_seconds_count{method="GET",reporter="server",source="client"})"),
        1);
    EXPECT_EQ(second.text().find("responses"), std::string::npos);
}

TEST(HubbleMetrics, GrpcIsHttpAndEveryProtocolCounts) {
    Metrics metrics("httpV2 l7 kafka sctp");
    L7 grpc = http_answer();
    grpc.protocol = L7::Protocol::grpc;
    grpc.code = 14;
    grpc.status = L7::Status::error;
    grpc.method = "POST";
    grpc.version = "HTTP/2";
    metrics.hubble->count(with_l7(grpc));
    L7 kafka = grpc;
    kafka.protocol = L7::Protocol::kafka;
    kafka.method = "Produce";
    kafka.resource = "orders";
    metrics.hubble->count(with_l7(kafka));
    Flow sctp = flow();
    sctp.protocol = model::Protocol::sctp;
    metrics.hubble->count(sctp);
    EXPECT_EQ(
        metrics(
            R"(hubble_http_requests_total{method="POST",protocol="HTTP/2",reporter="server",status="200"})"),
        1);
    EXPECT_EQ(
        metrics(
            R"(beeline_l7_requests_total{protocol="grpc",reporter="server",status="error",tls="false"})"),
        1);
    EXPECT_EQ(
        metrics(R"(beeline_l7_request_duration_seconds_count{protocol="grpc",reporter="server"})"),
        1);
    EXPECT_EQ(
        metrics(
            R"(hubble_kafka_requests_total{api_key="Produce",error_code="14",reporter="server",topic="orders"})"),
        1);
    EXPECT_EQ(
        metrics(
            R"(hubble_kafka_request_duration_seconds_count{api_key="Produce",reporter="server",topic="orders"})"),
        1);
    EXPECT_EQ(metrics(R"(hubble_sctp_chunk_types_total{chunk_type="INIT",family="IPv4"})"), 1);
}

TEST(HubbleMetrics, FlowsPerPod) {
    Metrics metrics("flows-per-pod:sourceContext=pod-name");
    metrics.hubble->count(flow());
    metrics.hubble->count(flow());
    EXPECT_EQ(
        metrics(
            R"(hubble_flows_per_pod_total{protocol="TCP",source="client",verdict="FORWARDED"})"),
        2);
}

TEST(HubbleMetrics, NoMoreSeriesThanAllowed) {
    Metrics metrics("port-distribution httpV2", 3);
    Flow one = flow();
    for (std::uint16_t port = 1; port <= 10; ++port) {
        one.destination.port = port;
        metrics.hubble->count(one);
        metrics.hubble->count(one);
        L7 http = http_answer();
        http.method = "M" + std::to_string(port);
        metrics.hubble->count(with_l7(http));
    }
    EXPECT_EQ(metrics(R"(hubble_port_distribution_total{port="3",protocol="TCP"})"), 2);
    EXPECT_EQ(metrics(R"(hubble_port_distribution_total{port="4",protocol="TCP"})"), -1);
    // Of L7 flows the port distribution counts requests only: these are answers.
    EXPECT_EQ(metrics(R"(beeline_metrics_overflow_total{metric="hubble_port_distribution_total"})"),
              14);
    EXPECT_EQ(metrics(R"(beeline_metrics_overflow_total{metric="hubble_http_requests_total"})"), 7);
    EXPECT_EQ(
        metrics(R"(beeline_metrics_overflow_total{metric="hubble_http_request_duration_seconds"})"),
        7);
}

TEST(HubbleMetrics, HostileTextIsCleaned) {
    Metrics metrics("httpV2");
    for (const std::string& method : {std::string("G\"\n\x01\xff\\T", 7), std::string(500, 'x')}) {
        L7 http = http_answer();
        http.method = method;
        metrics.hubble->count(with_l7(http));
    }
    const std::string text = metrics.text();
    EXPECT_NE(text.find("method=\"G\\\"??\xef\xbf\xbd\\\\T\""), std::string::npos) << text;
    EXPECT_EQ(text.find(std::string(201, 'x')), std::string::npos);
    EXPECT_NE(text.find(std::string(200, 'x')), std::string::npos);
}

model::Directory directory(std::initializer_list<const char*> pods) {
    model::Directory out;
    std::uint8_t last = 1;
    for (const char* name : pods) {
        model::Directory::Entry entry;
        entry.kind = FlowEnd::Kind::workload;
        entry.space = "shop";
        entry.name = name;
        out.by_address[net::Ip::parse("10.1.0." + std::to_string(++last)).value()] = entry;
    }
    return out;
}

TEST(HubbleMetrics, SeriesOfGonePodsGoAMinuteLater) {
    using std::chrono::seconds;
    Metrics metrics(
        "flow:sourceContext=pod tcp:labelsContext=destination_namespace,destination_pod "
        "drop:sourceContext=pod-name");
    const std::string bound =
        R"(hubble_flows_processed_total{protocol="TCP",source="shop/client",subtype="to-endpoint",type="Trace",verdict="FORWARDED"})";
    const std::string pair =
        R"(hubble_tcp_flags_total{destination_namespace="shop",destination_pod="web",family="IPv4",flag="SYN"})";
    const std::string unbound =
        R"(hubble_drop_total{protocol="TCP",reason="POLICY_DENIED",source="client"})";
    const Hubble::Time start{};
    metrics.hubble->set_directory(directory({"client", "web"}), start);
    metrics.hubble->count(flow());
    metrics.hubble->count(dropped());
    metrics.hubble->set_directory(directory({"web"}), start + seconds(10));
    metrics.hubble->remove_stale(start + seconds(69));
    EXPECT_EQ(metrics(bound), 1);
    metrics.hubble->remove_stale(start + seconds(70));
    EXPECT_EQ(metrics(bound), -1);
    EXPECT_EQ(metrics(pair), 1);
    EXPECT_EQ(metrics(unbound), 1);

    // One that comes back keeps its series.
    metrics.hubble->set_directory(directory({}), start + seconds(100));
    metrics.hubble->set_directory(directory({"web"}), start + seconds(120));
    metrics.hubble->remove_stale(start + seconds(500));
    EXPECT_EQ(metrics(pair), 1);
    metrics.hubble->set_directory(directory({}), start + seconds(500));
    metrics.hubble->remove_stale(start + seconds(560));
    EXPECT_EQ(metrics(pair), -1);
    // And counts anew afterwards.
    metrics.hubble->count(flow());
    EXPECT_EQ(metrics(bound), 1);
    EXPECT_EQ(metrics(pair), 1);
}

TEST(HubbleMetrics, RecordsCountAsFlowsDo) {
    Metrics metrics("flow tcp:sourceContext=pod port-distribution");
    auto context = std::make_shared<Context>();
    auto names = std::make_shared<Names>();
    names->kind = FlowEnd::Kind::workload;
    names->endpoint = 7;
    names->space = "shop";
    names->name = "client";
    context->source = names;
    context->destination = names;
    context->path.protocol = model::Protocol::tcp;
    context->path.source = net::Ip::parse("10.1.0.2").value();
    context->path.destination = net::Ip::parse("10.1.0.2").value();
    Record record;
    record.context = context;
    record.port = {40000, 80};
    record.tcp_flags = {0x02, 0};
    for (int i = 0; i < 3; ++i)
        metrics.hubble->count(view(record));
    record.port[1] = 81;
    metrics.hubble->count(view(record));
    metrics.hubble->count(view(lost_record(1, 5)));
    EXPECT_EQ(
        metrics(
            R"(hubble_flows_processed_total{protocol="TCP",subtype="to-endpoint",type="Trace",verdict="FORWARDED"})"),
        4);
    EXPECT_EQ(metrics(R"(hubble_tcp_flags_total{family="IPv4",flag="SYN",source="shop/client"})"),
              4);
    EXPECT_EQ(metrics(R"(hubble_port_distribution_total{port="80",protocol="TCP"})"), 3);
    EXPECT_EQ(metrics(R"(hubble_port_distribution_total{port="81",protocol="TCP"})"), 1);
}

// The datapath leaves `replied` out when a connection ends soon: a SYN ACK is counted all the same, and once.
TEST(HubbleMetrics, AnswersOfShortConnections) {
    Metrics metrics("tcp:sourceContext=pod");
    auto context = std::make_shared<Context>();
    auto client = std::make_shared<Names>();
    client->space = "shop";
    client->name = "client";
    auto server = std::make_shared<Names>(*client);
    server->name = "web";
    context->source = client;
    context->destination = server;
    context->path.protocol = model::Protocol::tcp;
    context->path.source = net::Ip::parse("10.1.0.2").value();
    Record record;
    record.context = context;
    record.port = {40000, 80};
    record.tcp_flags = {0x13, 0x13};
    record.opened_ns = 5;
    record.kind = Flow::Kind::closed;
    const std::string answers =
        R"(hubble_tcp_flags_total{family="IPv4",flag="SYN-ACK",source="shop/web"})";
    metrics.hubble->count(view(record));
    EXPECT_EQ(metrics(answers), 1);
    record.port[0] = 40001;
    record.kind = Flow::Kind::replied;
    metrics.hubble->count(view(record));
    EXPECT_EQ(metrics(answers), 2);
    record.kind = Flow::Kind::closed;
    metrics.hubble->count(view(record));
    EXPECT_EQ(metrics(answers), 2);
    record.tcp_flags[1] = 0x14; // refused
    record.port[0] = 40002;
    metrics.hubble->count(view(record));
    EXPECT_EQ(metrics(answers), 2);
}

} // namespace
} // namespace beeline::observe::metrics
