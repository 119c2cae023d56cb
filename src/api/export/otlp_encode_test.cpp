#include "api/export/otlp_encode.h"

#include <gtest/gtest.h>

#include <limits>

namespace beeline::exporting {
namespace {

constexpr const char* kParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(TraceParent, OnlyWellFormedOnes) {
    const auto parent = parse_trace_parent(kParent);
    ASSERT_TRUE(parent.has_value());
    EXPECT_EQ(parent->trace_id, "\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c");
    EXPECT_EQ(parent->span_id, "\xb7\xad\x6b\x71\x69\x20\x33\x31");
    EXPECT_TRUE(parent->sampled());
    for (const char* bad : {"", "00", "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
                            "00-0af7651916cd43dd8448eb211c80319c+b7ad6b7169203331-01"})
        EXPECT_FALSE(parse_trace_parent(bad).has_value()) << bad;
    EXPECT_TRUE(parse_trace_parent("01" + std::string(kParent).substr(2) + "-more").has_value());
}

model::Flow answer(model::L7 l7) {
    model::Flow flow;
    flow.kind = model::Flow::Kind::l7;
    flow.time_ns = 1'000'000'000;
    flow.source.name = "client";
    flow.source.space = "shop";
    flow.destination.endpoint = 8;
    flow.destination.port = 80;
    l7.type = model::L7::Type::response;
    l7.latency_ns = 250'000'000;
    flow.l7 = std::make_shared<const model::L7>(std::move(l7));
    return flow;
}

model::L7 http() {
    model::L7 l7;
    l7.method = "GET";
    l7.resource = "/cart";
    l7.version = "HTTP/1.1";
    l7.host = "web\xff";
    l7.code = 503;
    l7.trace_parent = kParent;
    return l7;
}

TEST(Spans, TracedAnswersBecomeSpans) {
    otel::trace::v1::Span span;
    ASSERT_TRUE(fill_span(answer(http()), "12345678", span));
    EXPECT_EQ(span.name(), "GET");
    EXPECT_EQ(span.kind(), otel::trace::v1::Span::SPAN_KIND_SERVER);
    EXPECT_EQ(span.span_id(), "12345678");
    EXPECT_EQ(span.parent_span_id().size(), 8U);
    EXPECT_EQ(span.start_time_unix_nano(), 750'000'000U);
    EXPECT_EQ(span.end_time_unix_nano(), 1'000'000'000U);
    EXPECT_EQ(span.status().code(), otel::trace::v1::Status::STATUS_CODE_ERROR);
    std::map<std::string, std::string> attributes;
    for (const auto& one : span.attributes())
        attributes[one.key()] = one.value().has_string_value()
                                    ? one.value().string_value()
                                    : std::to_string(one.value().int_value());
    EXPECT_EQ(attributes["http.response.status_code"], "503");
    EXPECT_EQ(attributes["url.path"], "/cart");
    EXPECT_EQ(attributes["server.address"], "web?");
    EXPECT_EQ(attributes["source.k8s.pod.name"], "client");
    EXPECT_EQ(attributes["destination.port"], "80");
    EXPECT_EQ(attributes["network.protocol.version"], "1.1");
}

TEST(Spans, OthersDoNot) {
    otel::trace::v1::Span span;
    model::L7 unsampled = http();
    unsampled.trace_parent.back() = '0';
    EXPECT_FALSE(fill_span(answer(unsampled), "12345678", span));
    model::L7 untraced = http();
    untraced.trace_parent.clear();
    EXPECT_FALSE(fill_span(answer(untraced), "12345678", span));
    model::L7 redis = http();
    redis.protocol = model::L7::Protocol::redis;
    EXPECT_FALSE(fill_span(answer(redis), "12345678", span));
    EXPECT_FALSE(fill_span(model::Flow{}, "12345678", span));
}

TEST(Metrics, BucketsAreNotAddedUp) {
    prometheus::MetricFamily family;
    family.name = "x_seconds";
    family.type = prometheus::MetricType::Histogram;
    prometheus::ClientMetric metric;
    metric.label = {{"a", "b"}};
    metric.histogram.sample_count = 6;
    metric.histogram.sample_sum = 4.5;
    metric.histogram.bucket = {{1, 0.1}, {4, 1.0}, {6, std::numeric_limits<double>::infinity()}};
    family.metric.push_back(metric);
    otel::metrics::v1::ScopeMetrics out;
    fill_metrics({family}, 5, 9, out);
    ASSERT_EQ(out.metrics_size(), 1);
    EXPECT_EQ(out.metrics(0).unit(), "s");
    const auto& point = out.metrics(0).histogram().data_points(0);
    EXPECT_EQ(
        std::vector<std::uint64_t>(point.bucket_counts().begin(), point.bucket_counts().end()),
        (std::vector<std::uint64_t>{1, 3, 2}));
    EXPECT_EQ(point.explicit_bounds_size(), 2);
    EXPECT_EQ(point.start_time_unix_nano(), 5U);
    EXPECT_EQ(point.attributes(0).key(), "a");
}

} // namespace
} // namespace beeline::exporting
