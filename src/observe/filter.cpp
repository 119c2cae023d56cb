#include "observe/filter.h"

#include <array>
#include <string_view>

#include "base/wanted.h"
#include "model/objects.h"

namespace beeline::observe {
namespace {

struct Pod {
    std::string_view space;
    std::string_view name;
};

// What the fields look at, whichever form the flow has.
struct Subject {
    std::int64_t time_ns;
    model::Flow::Kind kind;
    Pod source;
    Pod destination;
    model::Flow::Verdict verdict;
    model::Protocol protocol;
    std::uint16_t port;
    std::uint16_t service_port;
    std::array<std::uint32_t, 2> pids;
};

Pod pod(model::FlowEnd::Kind kind, std::string_view space, std::string_view name) {
    if (kind != model::FlowEnd::Kind::workload && kind != model::FlowEnd::Kind::remote) return {};
    return {space, name};
}

bool is_pod(const std::string& wanted, const Pod& pod) {
    return model::names_workload(wanted, pod.space, pod.name);
}

bool has_ports(model::Protocol protocol) {
    return protocol == model::Protocol::tcp || protocol == model::Protocol::udp ||
           protocol == model::Protocol::sctp;
}

bool same_protocol(model::Protocol wanted, model::Protocol protocol) {
    return wanted == model::Protocol::any || wanted == protocol ||
           (wanted == model::Protocol::icmp && protocol == model::Protocol::icmpv6);
}

bool passes(const FlowFilter& filter, const Subject& flow) {
    if (filter.since_ns && flow.time_ns < *filter.since_ns) return false;
    if (filter.until_ns && flow.time_ns > *filter.until_ns) return false;
    if (flow.kind == model::Flow::Kind::lost) return true;
    return none_or_any(filter.pods,
                       [&](const auto& wanted) {
                           return is_pod(wanted, flow.source) || is_pod(wanted, flow.destination);
                       }) &&
           none_or_any(filter.to_pods,
                       [&](const auto& wanted) { return is_pod(wanted, flow.destination); }) &&
           none_or_any(filter.verdicts, [&](auto wanted) { return wanted == flow.verdict; }) &&
           none_or_any(filter.protocols,
                       [&](auto wanted) { return same_protocol(wanted, flow.protocol); }) &&
           none_or_any(filter.ports,
                       [&](auto wanted) {
                           return has_ports(flow.protocol) &&
                                  (wanted == flow.port ||
                                   (wanted == flow.service_port && wanted != 0));
                       }) &&
           none_or_any(filter.pids, [&](auto wanted) {
               return wanted == flow.pids[0] || wanted == flow.pids[1];
           });
}

} // namespace

bool FlowFilter::matches(const model::Flow& flow) const {
    return passes(*this, {flow.time_ns,
                          flow.kind,
                          pod(flow.source.kind, flow.source.space, flow.source.name),
                          pod(flow.destination.kind, flow.destination.space, flow.destination.name),
                          flow.verdict,
                          flow.protocol,
                          flow.destination.port,
                          flow.service_port,
                          {flow.source.process.pid, flow.destination.process.pid}});
}

bool FlowFilter::matches(const RecordView& record) const {
    Subject subject{record.time_ns, record.kind, {}, {}, verdict(record.kind), {}, 0, 0, {}};
    if (const Context* context = record.context) {
        const Names& source = *context->source;
        const Names& destination = *context->destination;
        subject.source = pod(source.kind, source.space, source.name);
        subject.destination = pod(destination.kind, destination.space, destination.name);
        subject.protocol = context->path.protocol;
        subject.port = record.port[1];
        subject.service_port = context->path.service_port;
        for (std::size_t end = 0; end < 2; ++end) {
            if (record.process[end]) subject.pids[end] = record.process[end]->key.pid;
        }
    }
    return passes(*this, subject);
}

} // namespace beeline::observe
