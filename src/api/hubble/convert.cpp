#include "api/hubble/convert.h"

#include <algorithm>
#include <cctype>
#include <limits>

#include <fmt/format.h>

#include "abi/drop.h"
#include "abi/identity.h"
#include "api/hubble/summary.h"
#include "observe/drop_reason.h"
#include "observe/event_type.h"
#include "observe/record.h"

namespace beeline::hubble {
namespace {

using model::FlowEnd;
using model::L7;

constexpr std::int64_t kSecond = 1'000'000'000;
// What Hubble's DNS messages carry as TTL when no record was answered.
constexpr std::uint32_t kNoTtl = std::numeric_limits<std::uint32_t>::max();

// Clients take 0 for "not known" and leave such flows out.
std::uint32_t identity_of(const FlowEnd& end) {
    if (end.identity != 0) return end.identity;
    switch (end.kind) {
    case FlowEnd::Kind::host: return BL_ID_host;
    case FlowEnd::Kind::world: return BL_ID_world;
    case FlowEnd::Kind::remote: return end.space.empty() ? BL_ID_remote_node : BL_ID_unmanaged;
    case FlowEnd::Kind::workload: return BL_ID_unmanaged;
    }
    return BL_ID_world;
}

const char* reserved_label(std::uint32_t identity) {
    switch (identity) {
    case BL_ID_host: return "reserved:host";
    case BL_ID_world: return "reserved:world";
    case BL_ID_unmanaged: return "reserved:unmanaged";
    case BL_ID_health: return "reserved:health";
    case BL_ID_init: return "reserved:init";
    case BL_ID_remote_node: return "reserved:remote-node";
    case BL_ID_kube_apiserver: return "reserved:kube-apiserver";
    case BL_ID_ingress: return "reserved:ingress";
    default: return nullptr;
    }
}

void write_labels(const FlowEnd& end, const Origin& origin, ::flow::Endpoint& out) {
    if (end.space.empty()) {
        if (const char* reserved = reserved_label(out.identity())) out.add_labels(reserved);
    } else {
        out.add_labels("k8s:io.cilium.k8s.policy.cluster=" + origin.cluster);
        out.add_labels("k8s:io.kubernetes.pod.namespace=" + end.space);
    }
    for (const auto& [key, value] : end.labels)
        out.add_labels(fmt::format("k8s:{}={}", key, value));
    std::sort(out.mutable_labels()->begin(), out.mutable_labels()->end());
}

void write_end(const FlowEnd& end, const Origin& origin, ::flow::Endpoint& out) {
    out.set_id(end.endpoint);
    out.set_identity(identity_of(end));
    out.set_namespace_(end.space);
    if (!end.space.empty()) {
        out.set_pod_name(end.name);
        out.set_cluster_name(origin.cluster);
        workload_of(end, *out.add_workloads());
    }
    write_labels(end, origin, out);
}

void write_flags(std::uint8_t bits, ::flow::TCPFlags& out) {
    out.set_fin(bits & 0x01);
    out.set_syn(bits & 0x02);
    out.set_rst(bits & 0x04);
    out.set_psh(bits & 0x08);
    out.set_ack(bits & 0x10);
    out.set_urg(bits & 0x20);
    out.set_ece(bits & 0x40);
    out.set_cwr(bits & 0x80);
}

template <typename T>
void write_ports(const FlowEnd& source, const FlowEnd& destination, T& out) {
    out.set_source_port(source.port);
    out.set_destination_port(destination.port);
}

// `source` and `destination` as the event has them.
void write_transport(const model::Flow& flow, const observe::Event& event, const FlowEnd& source,
                     const FlowEnd& destination, ::flow::Layer4& out) {
    switch (flow.protocol) {
    case model::Protocol::tcp:
        write_ports(source, destination, *out.mutable_tcp());
        if (event.tcp_flags != 0) write_flags(event.tcp_flags, *out.mutable_tcp()->mutable_flags());
        break;
    case model::Protocol::udp: write_ports(source, destination, *out.mutable_udp()); break;
    case model::Protocol::sctp: write_ports(source, destination, *out.mutable_sctp()); break;
    case model::Protocol::icmp:
        out.mutable_icmpv4()->set_type(event.icmp_type);
        out.mutable_icmpv4()->set_code(flow.icmp_code);
        break;
    case model::Protocol::icmpv6:
        out.mutable_icmpv6()->set_type(event.icmp_type);
        out.mutable_icmpv6()->set_code(flow.icmp_code);
        break;
    case model::Protocol::any: break;
    }
}

std::string with_dot(const std::string& name) {
    return name.empty() || name.back() == '.' ? name : name + '.';
}

void write_dns(const L7& l7, ::flow::DNS& out) {
    out.set_query(with_dot(l7.resource));
    out.set_observation_source("proxy");
    for (const auto type : l7.dns.question_types)
        out.add_qtypes(record_type(type));
    if (l7.type == L7::Type::request) return;
    for (const auto& address : l7.dns.addresses)
        out.add_ips(address.to_string());
    for (const auto& name : l7.dns.names)
        out.add_cnames(with_dot(name));
    for (const auto type : l7.dns.answer_types)
        out.add_rrtypes(record_type(type));
    out.set_ttl(l7.dns.answer_types.empty() && l7.dns.addresses.empty() ? kNoTtl : l7.dns.ttl_s);
    out.set_rcode(l7.code);
}

std::string full_url(const L7& l7) {
    const std::string& target = l7.url.empty() ? l7.resource : l7.url;
    if (target.empty() || target.front() != '/') return target;
    return fmt::format("{}://{}{}", l7.tls ? "https" : "http", l7.host, target);
}

void write_http(const L7& l7, ::flow::HTTP& out) {
    out.set_method(l7.method);
    out.set_url(full_url(l7));
    out.set_protocol(l7.version);
    for (const auto& [key, value] : l7.headers) {
        auto& header = *out.add_headers();
        header.set_key(key);
        header.set_value(value);
    }
    if (l7.type == L7::Type::request) return;
    if (l7.protocol != L7::Protocol::grpc) {
        out.set_code(l7.code);
        return;
    }
    // The status of a gRPC call is in a trailer of an answer that HTTP calls a success.
    out.set_code(200);
    auto& header = *out.add_headers();
    header.set_key("grpc-status");
    header.set_value(fmt::format("{}", l7.code));
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

void write_kafka(const L7& l7, ::flow::Kafka& out) {
    out.set_api_key(lower(l7.method));
    out.set_topic(l7.resource);
    if (l7.type == L7::Type::response) out.set_error_code(static_cast<std::int32_t>(l7.code));
}

// 00-<32 hex>-<16 hex>-<2 hex>
std::string_view trace_id(std::string_view parent) {
    constexpr std::size_t kBegin = 3;
    constexpr std::size_t kLength = 32;
    if (parent.size() < kBegin + kLength + 1 || parent[2] != '-' || parent[kBegin + kLength] != '-')
        return {};
    const std::string_view id = parent.substr(kBegin, kLength);
    const bool hex =
        std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
    return hex ? id : std::string_view{};
}

void write_l7(const L7& l7, ::flow::Flow& out) {
    auto& layer = *out.mutable_l7();
    layer.set_type(l7.type == L7::Type::request ? ::flow::REQUEST : ::flow::RESPONSE);
    layer.set_latency_ns(l7.latency_ns);
    switch (l7.protocol) {
    case L7::Protocol::http:
    case L7::Protocol::http2:
    case L7::Protocol::grpc: write_http(l7, *layer.mutable_http()); break;
    case L7::Protocol::dns: write_dns(l7, *layer.mutable_dns()); break;
    case L7::Protocol::kafka: write_kafka(l7, *layer.mutable_kafka()); break;
    default: break;
    }
    if (const auto id = trace_id(l7.trace_parent); !id.empty())
        out.mutable_trace_context()->mutable_parent()->set_trace_id(std::string(id));
}

void write_policies(const model::Flow& flow, ::flow::Flow& out) {
    const bool denied = flow.verdict == model::Flow::Verdict::dropped;
    const bool at_egress = denied && flow.denied_direction == "egress";
    const bool at_ingress = denied && flow.denied_direction == "ingress";
    if (!flow.egress_rule.empty())
        policy_of(flow.egress_rule,
                  at_egress ? *out.add_egress_denied_by() : *out.add_egress_allowed_by());
    if (!flow.ingress_rule.empty())
        policy_of(flow.ingress_rule,
                  at_ingress ? *out.add_ingress_denied_by() : *out.add_ingress_allowed_by());
    for (const auto& title : flow.denied_by) {
        if (at_egress) policy_of(title, *out.add_egress_denied_by());
        if (at_ingress) policy_of(title, *out.add_ingress_denied_by());
    }
}

std::uint64_t mix(std::uint64_t value) {
    value += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

// The same flow has the same id whenever it is read, so that clients can ask for it again. In the form of version 8,
// which is made of whatever its maker likes.
std::string uuid_of(const model::Flow& flow, const std::string& node) {
    std::uint64_t seed = 0xcbf29ce484222325;
    for (const char c : node)
        seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    std::uint64_t high = mix(seed ^ static_cast<std::uint64_t>(flow.time_ns));
    std::uint64_t low = mix(high ^ flow.number);
    high = (high & ~0xf000ULL) | 0x8000;
    low = (low & ~(3ULL << 62)) | (1ULL << 63);
    return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, (high >> 16) & 0xffff,
                       high & 0xffff, low >> 48, low & 0xffffffffffff);
}

const char* kind_text(model::Flow::Kind kind) {
    switch (kind) {
    case model::Flow::Kind::opened: return "opened";
    case model::Flow::Kind::replied: return "replied";
    case model::Flow::Kind::closed: return "closed";
    case model::Flow::Kind::dropped: return "dropped";
    case model::Flow::Kind::revoked: return "revoked";
    case model::Flow::Kind::lost: return "lost";
    case model::Flow::Kind::l7: return "l7";
    }
    return "";
}

void write_process(const model::FlowProcess& process, v1::Process& out) {
    out.set_pid(process.pid);
    out.set_uid(process.uid);
    out.set_start_ns(process.start_ns);
    out.set_comm(process.comm);
    out.set_binary(process.binary);
    out.set_user(process.user);
    out.set_container(process.container);
    for (const auto& binary : process.ancestry)
        out.add_ancestry(binary);
}

void write_l7(const L7& l7, v1::L7& out) {
    out.set_protocol(std::string(to_string(l7.protocol)));
    out.set_response(l7.type == L7::Type::response);
    if (l7.status != L7::Status::unknown)
        out.set_status(l7.status == L7::Status::ok ? "ok" : "error");
    out.set_tls(l7.tls);
    out.set_code(l7.code);
    out.set_latency_ns(l7.latency_ns);
    out.set_method(l7.method);
    out.set_resource(l7.resource);
    out.set_host(l7.host);
    out.set_error(l7.error);
    out.set_request_bytes(l7.request_bytes);
    out.set_response_bytes(l7.response_bytes);
    out.set_version(l7.version);
}

void write_extension(const model::Flow& flow, bool swapped, google::protobuf::Any& out) {
    v1::FlowExtension extension;
    extension.set_kind(kind_text(flow.kind));
    extension.set_number(flow.number);
    const FlowEnd& source = swapped ? flow.destination : flow.source;
    const FlowEnd& destination = swapped ? flow.source : flow.destination;
    if (source.process.pid != 0) write_process(source.process, *extension.mutable_source());
    if (destination.process.pid != 0)
        write_process(destination.process, *extension.mutable_destination());
    extension.set_egress_rule(flow.egress_rule);
    extension.set_ingress_rule(flow.ingress_rule);
    extension.set_denied_direction(flow.denied_direction);
    for (const auto& title : flow.denied_by)
        extension.add_denied_by(title);
    const auto counters = [&](unsigned side, v1::Counters& to) {
        to.set_packets(flow.packets[side]);
        to.set_bytes(flow.bytes[side]);
    };
    if (flow.packets[0] != 0 || flow.packets[1] != 0) {
        counters(swapped ? 1 : 0, *extension.mutable_to_destination());
        counters(swapped ? 0 : 1, *extension.mutable_to_source());
    }
    if (flow.opened_ns != 0 && flow.time_ns > flow.opened_ns)
        extension.set_duration_ns(static_cast<std::uint64_t>(flow.time_ns - flow.opened_ns));
    if (flow.l7) write_l7(*flow.l7, *extension.mutable_l7());
    if (flow.reason != 0) {
        extension.set_drop_reason(std::string(observe::drop_reason_name(flow.reason)));
        extension.set_drop_text(std::string(observe::drop_reason_text(flow.reason)));
    }
    if (!flow.service_address.is_zero()) {
        extension.set_service_address(flow.service_address.to_string());
        extension.set_service_port(flow.service_port);
    }
    out.PackFrom(extension);
}

::flow::TraceObservationPoint point_of(int sub_type) {
    switch (static_cast<observe::TracePoint>(sub_type)) {
    case observe::TracePoint::to_endpoint: return ::flow::TO_ENDPOINT;
    case observe::TracePoint::to_host: return ::flow::TO_HOST;
    case observe::TracePoint::to_stack: return ::flow::TO_STACK;
    }
    return ::flow::UNKNOWN_POINT;
}

void write_event(const model::Flow& flow, const observe::Event& event, ::flow::Flow& out) {
    const bool dropped = flow.verdict == model::Flow::Verdict::dropped;
    auto& type = *out.mutable_event_type();
    type.set_type(static_cast<int>(event.type));
    type.set_sub_type(event.sub_type);
    out.set_type(event.type == observe::EventType::l7 ? ::flow::L7 : ::flow::L3_L4);
    out.set_verdict(dropped ? ::flow::DROPPED : ::flow::FORWARDED);
    out.set_traffic_direction(static_cast<::flow::TrafficDirection>(event.direction));
    out.set_trace_reason(static_cast<::flow::TraceReason>(event.reason));
    out.set_policy_match_type(static_cast<std::uint32_t>(event.match));
    if (event.type == observe::EventType::trace)
        out.set_trace_observation_point(point_of(event.sub_type));
    if (dropped) {
        const auto reason = drop_reason(flow.reason);
        out.set_drop_reason(static_cast<std::uint32_t>(reason));
        out.set_drop_reason_desc(reason);
        if (event.type == observe::EventType::drop) type.set_sub_type(reason);
    }
    if (event.is_reply) {
        out.mutable_is_reply()->set_value(*event.is_reply);
        out.set_reply(*event.is_reply);
    }
}

void write_names(const FlowEnd& end, google::protobuf::RepeatedPtrField<std::string>& out) {
    out.Reserve(static_cast<int>(end.names.size()));
    for (const auto& name : end.names)
        *out.Add() = name;
}

// The end of a name that Kubernetes made for a pod: "-" and five of its own characters.
bool drop_suffix(std::string_view& name, std::size_t length) {
    if (name.size() < length + 2 || name[name.size() - length - 1] != '-') return false;
    name.remove_suffix(length + 1);
    return true;
}

bool drop_ending(std::string_view& name, std::string_view ending) {
    if (!name.ends_with(ending) || name.size() < ending.size() + 2 ||
        name[name.size() - ending.size() - 1] != '-')
        return false;
    name.remove_suffix(ending.size() + 1);
    return true;
}

} // namespace

void set_time(std::int64_t time_ns, google::protobuf::Timestamp& out) {
    std::int64_t seconds = time_ns / kSecond;
    std::int64_t rest = time_ns % kSecond;
    if (rest < 0) {
        rest += kSecond;
        --seconds;
    }
    out.set_seconds(seconds);
    out.set_nanos(static_cast<std::int32_t>(rest));
}

::flow::DropReason drop_reason(unsigned reason) {
    switch (reason) {
    case BL_DROP_UNKNOWN_ENDPOINT: return ::flow::UNKNOWN_SENDER;
    case BL_DROP_ENDPOINT_GONE: return ::flow::STALE_OR_UNROUTABLE_IP;
    case BL_DROP_UNRELATED_ICMP: return ::flow::UNKNOWN_CONNECTION_TRACKING_STATE;
    case BL_DROP_TUNNEL_SOURCE: return ::flow::INVALID_SOURCE_IP;
    case BL_DROP_SERVICE_TUPLE: return ::flow::CT_MAP_INSERTION_FAILED;
    default: break;
    }
    ::flow::DropReason found = ::flow::DROP_REASON_UNKNOWN;
    const auto name = observe::drop_reason_name(reason);
    if (!name.empty()) (void)::flow::DropReason_Parse(std::string(name), &found);
    return found;
}

void policy_of(std::string_view title, ::flow::Policy& out) {
    const auto kind_end = title.find(' ');
    if (kind_end == std::string_view::npos) {
        out.set_name(std::string(title));
        return;
    }
    const std::string_view kind = title.substr(0, kind_end);
    std::string_view name = title.substr(kind_end + 1);
    name = name.substr(0, name.find(' '));
    std::string_view space;
    if (const auto slash = name.find('/'); slash != std::string_view::npos) {
        space = name.substr(0, slash);
        name.remove_prefix(slash + 1);
    }
    out.set_kind(std::string(kind));
    out.set_name(std::string(name));
    out.set_namespace_(std::string(space));
    out.add_labels(fmt::format("k8s:io.cilium.k8s.policy.derived-from={}", kind));
    out.add_labels(fmt::format("k8s:io.cilium.k8s.policy.name={}", name));
    if (!space.empty()) out.add_labels(fmt::format("k8s:io.cilium.k8s.policy.namespace={}", space));
}

void workload_of(const FlowEnd& end, ::flow::Workload& out) {
    constexpr std::size_t kRandom = 5;
    const auto label = [&](const char* key) -> std::string_view {
        const auto found = end.labels.find(key);
        return found == end.labels.end() ? std::string_view{} : std::string_view(found->second);
    };
    std::string_view name = end.name;
    const char* kind = "Pod";
    if (const auto hash = label("pod-template-hash"); !hash.empty()) {
        std::string_view base = name;
        if (drop_suffix(base, kRandom) && drop_ending(base, hash)) {
            name = base;
            kind = "Deployment";
        }
    } else if (!label("statefulset.kubernetes.io/pod-name").empty()) {
        if (const auto dash = name.rfind('-'); dash != std::string_view::npos && dash > 0) {
            name = name.substr(0, dash);
            kind = "StatefulSet";
        }
    } else if (const auto job = label("batch.kubernetes.io/job-name"); !job.empty()) {
        name = job;
        kind = "Job";
    } else if (const auto old_job = label("job-name"); !old_job.empty()) {
        name = old_job;
        kind = "Job";
    } else if (!label("controller-revision-hash").empty() && drop_suffix(name, kRandom)) {
        kind = "DaemonSet";
    }
    out.set_name(std::string(name));
    out.set_kind(kind);
}

void convert(const model::Flow& flow, const Origin& origin, ::flow::Flow& out, bool extension) {
    const observe::Event event = observe::event_of(flow);
    const FlowEnd& source = event.swapped ? flow.destination : flow.source;
    const FlowEnd& destination = event.swapped ? flow.source : flow.destination;
    set_time(flow.time_ns, *out.mutable_time());
    out.set_uuid(uuid_of(flow, origin.node));
    out.set_node_name(origin.node);
    for (const auto& label : origin.labels)
        out.add_node_labels(label);
    out.mutable_emitter()->set_name("Beeline");
    out.mutable_emitter()->set_version(origin.version);
    write_event(flow, event, out);

    auto& ip = *out.mutable_ip();
    ip.set_source(source.address.to_string());
    ip.set_destination(destination.address.to_string());
    ip.set_ipversion(source.address.is_v4() ? ::flow::IPv4 : ::flow::IPv6);
    if (flow.protocol != model::Protocol::any)
        write_transport(flow, event, source, destination, *out.mutable_l4());
    write_end(source, origin, *out.mutable_source());
    write_end(destination, origin, *out.mutable_destination());
    write_names(source, *out.mutable_source_names());
    write_names(destination, *out.mutable_destination_names());
    if (!flow.service.empty()) {
        auto& service =
            event.swapped ? *out.mutable_source_service() : *out.mutable_destination_service();
        const auto slash = flow.service.find('/');
        service.set_name(slash == std::string::npos ? flow.service
                                                    : flow.service.substr(slash + 1));
        if (slash != std::string::npos) service.set_namespace_(flow.service.substr(0, slash));
    }
    if (!flow.interface.empty()) out.mutable_interface()->set_name(flow.interface);
    write_policies(flow, out);
    if (flow.l7) write_l7(*flow.l7, out);
    out.set_summary(summary_of(out, flow.l7.get()));
    if (extension) write_extension(flow, event.swapped, *out.mutable_extensions());
}

::flow::Flow convert(const model::Flow& flow, const Origin& origin) {
    ::flow::Flow out;
    convert(flow, origin, out);
    return out;
}

void convert_lost(const model::Flow& flow, ::flow::LostEvent& out) {
    out.set_source(flow.lost_where == observe::kLostInRing ? ::flow::PERF_EVENT_RING_BUFFER
                                                           : ::flow::HUBBLE_RING_BUFFER);
    out.set_num_events_lost(flow.lost);
    set_time(flow.time_ns, *out.mutable_first());
    set_time(flow.time_ns, *out.mutable_last());
}

} // namespace beeline::hubble
