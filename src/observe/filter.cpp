#include "observe/filter.h"

#include <algorithm>
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
    const model::L7* l7;
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

bool same_text(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        const auto lower = [](char c) {
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
        };
        return lower(x) == lower(y);
    });
}

// '*' stands for any text. Linear: each star begins its search anew and is never gone back behind.
bool fits(std::string_view pattern, std::string_view text) {
    const auto star = pattern.find('*');
    if (star == pattern.npos) return text.starts_with(pattern);
    if (!text.starts_with(pattern.substr(0, star))) return false;
    text.remove_prefix(star);
    pattern.remove_prefix(star + 1);
    for (;;) {
        const auto next = pattern.find('*');
        const auto part = pattern.substr(0, next);
        if (next == pattern.npos) return text.ends_with(part);
        const auto at = text.find(part);
        if (at == text.npos) return false;
        text.remove_prefix(at + part.size());
        pattern.remove_prefix(next + 1);
    }
}

bool has_status(const StatusRange& wanted, const model::L7& l7) {
    if (l7.type != model::L7::Type::response) return false;
    if (wanted.status != model::L7::Status::unknown) return l7.status == wanted.status;
    return wanted.first <= l7.code && l7.code <= wanted.last;
}

bool passes_l7(const FlowFilter& filter, const model::L7* l7) {
    const bool asked =
        filter.l7 || !filter.statuses.empty() || !filter.methods.empty() || !filter.paths.empty();
    if (!asked) return true;
    return l7 != nullptr &&
           none_or_any(filter.statuses, [&](const auto& one) { return has_status(one, *l7); }) &&
           none_or_any(filter.methods,
                       [&](const auto& one) { return same_text(one, l7->method); }) &&
           none_or_any(filter.paths, [&](const auto& one) { return fits(one, l7->resource); });
}

bool passes_protocol(const FlowFilter& filter, const Subject& flow) {
    if (filter.protocols.empty() && filter.l7_protocols.empty()) return true;
    return std::any_of(filter.protocols.begin(), filter.protocols.end(),
                       [&](auto wanted) { return same_protocol(wanted, flow.protocol); }) ||
           (flow.l7 != nullptr && std::find(filter.l7_protocols.begin(), filter.l7_protocols.end(),
                                            flow.l7->protocol) != filter.l7_protocols.end());
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
           passes_protocol(filter, flow) && passes_l7(filter, flow.l7) &&
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
                          {flow.source.process.pid, flow.destination.process.pid},
                          flow.l7.get()});
}

bool FlowFilter::matches(const RecordView& record) const {
    Subject subject{record.time_ns,
                    record.kind,
                    {},
                    {},
                    verdict(record.kind),
                    {},
                    0,
                    0,
                    {},
                    record.l7 != nullptr ? record.l7->get() : nullptr};
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
