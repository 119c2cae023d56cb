// Flows, requests and metrics as OpenTelemetry's messages.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <opentelemetry/proto/logs/v1/logs.pb.h>
#include <opentelemetry/proto/metrics/v1/metrics.pb.h>
#include <opentelemetry/proto/resource/v1/resource.pb.h>
#include <opentelemetry/proto/trace/v1/trace.pb.h>
#include <prometheus/metric_family.h>

#include "api/hubble/convert.h"
#include "model/flow.h"

namespace beeline::exporting {

namespace otel = opentelemetry::proto;

// W3C traceparent "00-<32 hex>-<16 hex>-<2 hex>"; nothing when it is malformed or all zero.
struct TraceParent {
    std::string trace_id; // 16 bytes
    std::string span_id;  // 8 bytes
    std::uint8_t flags = 0;
    [[nodiscard]] bool sampled() const { return (flags & 1) != 0; }
};
std::optional<TraceParent> parse_trace_parent(std::string_view text);

// Who speaks: the agent.
void fill_resource(const hubble::Origin& origin, otel::resource::v1::Resource& out);
// Its body is the flow's line of JSON as of a file export; the attributes repeat what people search by.
void fill_log(const model::Flow& flow, std::string line, otel::logs::v1::LogRecord& out);
// Of an HTTP answer whose request was traced and sampled; false for any other flow. `span_id` has 8 bytes.
bool fill_span(const model::Flow& flow, std::string_view span_id, otel::trace::v1::Span& out);
// Cumulative since `start_ns`.
void fill_metrics(const std::vector<prometheus::MetricFamily>& families, std::int64_t start_ns,
                  std::int64_t now_ns, otel::metrics::v1::ScopeMetrics& out);

} // namespace beeline::exporting
