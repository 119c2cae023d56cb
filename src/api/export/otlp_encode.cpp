#include "api/export/otlp_encode.h"

#include <cmath>
#include <utility>

#include "observe/drop_reason.h"
#include "observe/event_type.h"
#include "observe/owner.h"

namespace beeline::exporting {
namespace {

using Attributes = google::protobuf::RepeatedPtrField<otel::common::v1::KeyValue>;

// Texts come over the wire: protobuf strings must be UTF-8.
std::string utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text)
        out += static_cast<unsigned char>(c) < 0x80 ? c : '?';
    return out;
}

void add(Attributes& out, const char* key, std::string_view value) {
    if (value.empty()) return;
    auto* one = out.Add();
    one->set_key(key);
    one->mutable_value()->set_string_value(utf8(value));
}

void add(Attributes& out, const char* key, std::int64_t value) {
    auto* one = out.Add();
    one->set_key(key);
    one->mutable_value()->set_int_value(value);
}

void add_end(Attributes& out, const std::string& side, const model::FlowEnd& end) {
    add(out, (side + ".address").c_str(), end.address.is_zero() ? "" : end.address.to_string());
    if (end.port != 0) add(out, (side + ".port").c_str(), static_cast<std::int64_t>(end.port));
    add(out, (side + ".k8s.namespace.name").c_str(), end.space);
    add(out, (side + ".k8s.pod.name").c_str(), end.name);
    if (!end.name.empty())
        add(out, (side + ".workload.name").c_str(), observe::owner_of(end.name, end.labels).name);
    if (end.process.pid != 0) {
        add(out, (side + ".process.pid").c_str(), static_cast<std::int64_t>(end.process.pid));
        add(out, (side + ".process.executable.path").c_str(),
            end.process.binary.empty() ? end.process.comm : end.process.binary);
    }
}

std::optional<std::string> unhex(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); i += 2) {
        int value = 0;
        for (const char c : text.substr(i, 2)) {
            int digit = 0;
            if (c >= '0' && c <= '9') {
                digit = c - '0';
            } else if (c >= 'a' && c <= 'f') {
                digit = c - 'a' + 10;
            } else {
                return std::nullopt;
            }
            value = value * 16 + digit;
        }
        out += static_cast<char>(value);
    }
    return out;
}

bool all_zero(const std::string& bytes) { return bytes.find_first_not_of('\0') == bytes.npos; }

bool is_http(const model::L7& l7) {
    using Protocol = model::L7::Protocol;
    return l7.protocol == Protocol::http || l7.protocol == Protocol::http2 ||
           l7.protocol == Protocol::grpc;
}

std::uint64_t unix_nano(std::int64_t time_ns) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(time_ns, 0));
}

template <typename Point>
void fill_labels(const prometheus::ClientMetric& metric, Point& point) {
    for (const auto& label : metric.label) {
        auto* one = point.add_attributes();
        one->set_key(label.name);
        one->mutable_value()->set_string_value(label.value);
    }
}

template <typename Data>
void fill_numbers(const prometheus::MetricFamily& family, std::int64_t start_ns,
                  std::int64_t now_ns, Data& data, bool counter) {
    for (const auto& metric : family.metric) {
        auto* point = data.add_data_points();
        if (counter) point->set_start_time_unix_nano(unix_nano(start_ns));
        point->set_time_unix_nano(unix_nano(now_ns));
        point->set_as_double(counter ? metric.counter.value : metric.gauge.value);
        fill_labels(metric, *point);
    }
}

void fill_histogram(const prometheus::MetricFamily& family, std::int64_t start_ns,
                    std::int64_t now_ns, otel::metrics::v1::Histogram& data) {
    data.set_aggregation_temporality(otel::metrics::v1::AGGREGATION_TEMPORALITY_CUMULATIVE);
    for (const auto& metric : family.metric) {
        auto* point = data.add_data_points();
        point->set_start_time_unix_nano(unix_nano(start_ns));
        point->set_time_unix_nano(unix_nano(now_ns));
        point->set_count(metric.histogram.sample_count);
        point->set_sum(metric.histogram.sample_sum);
        // Prometheus adds its buckets up, OpenTelemetry does not, and has the last one without a bound.
        std::uint64_t below = 0;
        for (const auto& bucket : metric.histogram.bucket) {
            if (std::isinf(bucket.upper_bound)) break;
            point->add_explicit_bounds(bucket.upper_bound);
            point->add_bucket_counts(bucket.cumulative_count - below);
            below = bucket.cumulative_count;
        }
        point->add_bucket_counts(metric.histogram.sample_count - below);
        fill_labels(metric, *point);
    }
}

const char* unit_of(const std::string& name) {
    for (const auto& [part, unit] : {std::pair{"_seconds", "s"}, std::pair{"_bytes", "By"}})
        if (name.find(part) != std::string::npos) return unit;
    return "";
}

} // namespace

std::optional<TraceParent> parse_trace_parent(std::string_view text) {
    // Later versions may be longer; "ff" is none.
    if (text.size() < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-') return {};
    const auto version = unhex(text.substr(0, 2));
    const auto trace = unhex(text.substr(3, 32));
    const auto span = unhex(text.substr(36, 16));
    const auto flags = unhex(text.substr(53, 2));
    if (!version || !trace || !span || !flags || *version == "\xff") return {};
    if (text.size() > 55 && (text[55] != '-' || *version == std::string(1, '\0'))) return {};
    if (all_zero(*trace) || all_zero(*span)) return {};
    return TraceParent{*trace, *span, static_cast<std::uint8_t>((*flags)[0])};
}

void fill_resource(const hubble::Origin& origin, otel::resource::v1::Resource& out) {
    auto& attributes = *out.mutable_attributes();
    add(attributes, "service.name", "beeline");
    add(attributes, "service.version", origin.version);
    add(attributes, "host.name", origin.node);
    add(attributes, "k8s.node.name", origin.node);
    add(attributes, "k8s.cluster.name", origin.cluster);
}

void fill_log(const model::Flow& flow, std::string line, otel::logs::v1::LogRecord& out) {
    const bool lost = flow.kind == model::Flow::Kind::lost;
    const bool dropped = flow.verdict == model::Flow::Verdict::dropped;
    out.set_time_unix_nano(unix_nano(flow.time_ns));
    out.set_observed_time_unix_nano(unix_nano(flow.time_ns));
    out.set_severity_number(lost || dropped ? otel::logs::v1::SEVERITY_NUMBER_WARN
                                            : otel::logs::v1::SEVERITY_NUMBER_INFO);
    out.set_severity_text(lost || dropped ? "WARN" : "INFO");
    out.set_event_name(lost ? "flows.lost" : "flow");
    out.mutable_body()->set_string_value(std::move(line));
    auto& attributes = *out.mutable_attributes();
    if (lost) {
        add(attributes, "flows.lost", static_cast<std::int64_t>(flow.lost));
        add(attributes, "flows.lost.where", flow.lost_where);
        return;
    }
    add(attributes, "verdict", dropped ? "DROPPED" : "FORWARDED");
    add(attributes, "network.transport", model::to_string(flow.protocol));
    add(attributes, "network.type", flow.source.address.is_v4() ? "ipv4" : "ipv6");
    add_end(attributes, "source", flow.source);
    add_end(attributes, "destination", flow.destination);
    add(attributes, "traffic_direction", observe::to_string(observe::event_of(flow).direction));
    add(attributes, "service", flow.service);
    if (flow.reason != 0) add(attributes, "drop_reason", observe::drop_reason_name(flow.reason));
    if (!flow.l7) return;
    add(attributes, "l7.protocol", model::to_string(flow.l7->protocol));
    if (const auto parent = parse_trace_parent(flow.l7->trace_parent)) {
        out.set_trace_id(parent->trace_id);
        out.set_span_id(parent->span_id);
        out.set_flags(parent->flags);
    }
}

bool fill_span(const model::Flow& flow, std::string_view span_id, otel::trace::v1::Span& out) {
    if (flow.kind != model::Flow::Kind::l7 || !flow.l7 || !is_http(*flow.l7) ||
        flow.l7->type != model::L7::Type::response)
        return false;
    const model::L7& l7 = *flow.l7;
    const auto parent = parse_trace_parent(l7.trace_parent);
    if (!parent || !parent->sampled()) return false;
    const bool grpc = l7.protocol == model::L7::Protocol::grpc;
    out.set_trace_id(parent->trace_id);
    out.set_parent_span_id(parent->span_id);
    out.set_span_id(std::string(span_id));
    out.set_flags(parent->flags);
    // Paths have no bound; the method does.
    out.set_name(utf8(grpc ? std::string_view(l7.resource).substr(l7.resource.starts_with('/'))
                           : std::string_view(l7.method)));
    const bool server = flow.destination.endpoint != 0;
    out.set_kind(server ? otel::trace::v1::Span::SPAN_KIND_SERVER
                        : otel::trace::v1::Span::SPAN_KIND_CLIENT);
    out.set_end_time_unix_nano(unix_nano(flow.time_ns));
    out.set_start_time_unix_nano(
        unix_nano(flow.time_ns - static_cast<std::int64_t>(l7.latency_ns)));
    auto& attributes = *out.mutable_attributes();
    add(attributes, "http.request.method", l7.method);
    add(attributes, "url.path", l7.resource);
    add(attributes, "server.address", l7.host);
    add(attributes, "network.protocol.name", "http");
    if (const auto slash = l7.version.find('/'); slash != std::string::npos)
        add(attributes, "network.protocol.version", std::string_view(l7.version).substr(slash + 1));
    if (grpc) {
        add(attributes, "rpc.system", "grpc");
        add(attributes, "rpc.grpc.status_code", static_cast<std::int64_t>(l7.code));
    } else {
        add(attributes, "http.response.status_code", static_cast<std::int64_t>(l7.code));
    }
    add_end(attributes, "source", flow.source);
    add_end(attributes, "destination", flow.destination);
    // Of a server, answers below 500 are no errors of its own.
    const bool error = grpc ? l7.code != 0 : l7.code >= (server ? 500U : 400U);
    if (error) {
        out.mutable_status()->set_code(otel::trace::v1::Status::STATUS_CODE_ERROR);
        out.mutable_status()->set_message(utf8(l7.error));
    }
    return true;
}

void fill_metrics(const std::vector<prometheus::MetricFamily>& families, std::int64_t start_ns,
                  std::int64_t now_ns, otel::metrics::v1::ScopeMetrics& out) {
    using prometheus::MetricType;
    for (const auto& family : families) {
        if (family.metric.empty()) continue;
        auto* metric = out.add_metrics();
        metric->set_name(family.name);
        metric->set_description(family.help);
        metric->set_unit(unit_of(family.name));
        if (family.type == MetricType::Counter) {
            auto& sum = *metric->mutable_sum();
            sum.set_is_monotonic(true);
            sum.set_aggregation_temporality(otel::metrics::v1::AGGREGATION_TEMPORALITY_CUMULATIVE);
            fill_numbers(family, start_ns, now_ns, sum, true);
        } else if (family.type == MetricType::Histogram) {
            fill_histogram(family, start_ns, now_ns, *metric->mutable_histogram());
        } else {
            fill_numbers(family, start_ns, now_ns, *metric->mutable_gauge(), false);
        }
    }
}

} // namespace beeline::exporting
