#include "observe/metrics/contexts.h"

#include <algorithm>
#include <utility>

#include <fmt/ranges.h>

#include "observe/owner.h"

namespace beeline::observe::metrics {
namespace {

using Value = Contexts::Value;

constexpr std::array<std::string_view, 9> kReserved{
    "", "host", "world", "unmanaged", "health", "init", "remote-node", "kube-apiserver", "ingress"};

std::string reserved(const model::FlowEnd& end) {
    if (end.identity > 0 && end.identity < kReserved.size())
        return "reserved:" + std::string(kReserved[end.identity]);
    switch (end.kind) {
    case model::FlowEnd::Kind::host: return "reserved:host";
    case model::FlowEnd::Kind::world: return "reserved:world";
    case model::FlowEnd::Kind::remote: return end.space.empty() ? "reserved:remote-node" : "";
    case model::FlowEnd::Kind::workload: break;
    }
    return "";
}

std::string app_of(const model::Labels& labels) {
    for (const char* key : {"app.kubernetes.io/name", "k8s-app", "app"}) {
        const auto found = labels.find(key);
        if (found != labels.end() && !found->second.empty()) return found->second;
    }
    return "";
}

std::string in_namespace(const std::string& space, const std::string& name) {
    if (name.empty()) return "";
    return space.empty() ? name : space + "/" + name;
}

std::string workload_name(const model::FlowEnd& end) {
    return end.name.empty() ? "" : owner_of(end.name, end.labels).name;
}

std::string value_of(Value value, const model::FlowEnd& end) {
    switch (value) {
    case Value::identity: return fmt::format("{}", fmt::join(identity_labels(end), ","));
    case Value::space: return end.space;
    case Value::pod: return in_namespace(end.space, end.name);
    case Value::pod_name: return end.name;
    case Value::dns: return fmt::format("{}", fmt::join(end.names, ","));
    case Value::ip: return end.address.is_zero() ? "" : end.address.to_string();
    case Value::reserved_identity: return reserved(end);
    case Value::workload: return in_namespace(end.space, workload_name(end));
    case Value::workload_name: return workload_name(end);
    case Value::app: return app_of(end.labels);
    }
    return "";
}

std::string first_of(const std::vector<Value>& alternatives, const model::FlowEnd& end) {
    for (const Value value : alternatives) {
        std::string text = value_of(value, end);
        if (!text.empty()) return text;
    }
    return "";
}

struct EndLabel {
    std::string_view name; // after "source_"
    std::string (*value)(const model::FlowEnd& end);
};
constexpr std::array<EndLabel, 6> kEndLabels{{
    {"ip", [](const model::FlowEnd& end) { return value_of(Value::ip, end); }},
    {"pod", [](const model::FlowEnd& end) { return end.name; }},
    {"namespace", [](const model::FlowEnd& end) { return end.space; }},
    {"workload", [](const model::FlowEnd& end) { return workload_name(end); }},
    {"workload_kind",
     [](const model::FlowEnd& end) {
         return end.name.empty() ? std::string() : std::string(owner_of(end.name, end.labels).kind);
     }},
    {"app", [](const model::FlowEnd& end) { return app_of(end.labels); }},
}};
constexpr std::size_t kDirection = 2 * kEndLabels.size(); // index of traffic_direction

std::string label_name(std::size_t index) {
    if (index == kDirection) return "traffic_direction";
    const char* end = index < kEndLabels.size() ? "source_" : "destination_";
    return end + std::string(kEndLabels[index % kEndLabels.size()].name);
}

Result<Value> parse_value(std::string_view text) {
#define X(name, word)                                                                              \
    if (text == word) return Value::name;
    BEELINE_CONTEXTS(X)
#undef X
    return fail(Code::invalid,
                "expected identity, namespace, pod, pod-name, dns, ip, reserved-identity, "
                "workload, workload-name or app as a context, found \"{}\"",
                text.substr(0, 60));
}

template <typename F>
Result<> for_each_part(std::string_view text, char separator, const F& take) {
    while (true) {
        const std::size_t at = text.find(separator);
        TRY(take(text.substr(0, at)));
        if (at == std::string_view::npos) return {};
        text.remove_prefix(at + 1);
    }
}

} // namespace

std::vector<std::string> identity_labels(const model::FlowEnd& end) {
    const std::string kind = reserved(end);
    if (!kind.empty()) return {kind};
    std::vector<std::string> out;
    for (const auto& [key, value] : end.labels)
        out.push_back("k8s:" + key + "=" + value);
    if (!end.space.empty()) {
        out.emplace_back("k8s:io.cilium.k8s.policy.cluster=default");
        out.push_back("k8s:io.kubernetes.pod.namespace=" + end.space);
    }
    std::sort(out.begin(), out.end());
    return out;
}

Result<bool> Contexts::set(std::string_view key, std::string_view value) {
    if (key == "labelscontext") {
        std::vector<std::uint8_t> labels;
        TRY(for_each_part(value, ',', [&](std::string_view name) -> Result<> {
            for (std::size_t i = 0; i <= kDirection; ++i) {
                if (label_name(i) != name) continue;
                labels.push_back(static_cast<std::uint8_t>(i));
                return {};
            }
            return fail(Code::invalid, "unknown label \"{}\" in labelsContext", name.substr(0, 60));
        }));
        // Hubble's order, each label once.
        std::sort(labels.begin(), labels.end());
        labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
        labels_ = std::move(labels);
        return true;
    }
    const std::array<std::pair<std::string_view, Alternatives*>, 6> known{{
        {"sourcecontext", source_.data()},
        {"sourceingresscontext", &source_[1]},
        {"sourceegresscontext", &source_[2]},
        {"destinationcontext", destination_.data()},
        {"destinationingresscontext", &destination_[1]},
        {"destinationegresscontext", &destination_[2]},
    }};
    for (const auto& [name, alternatives] : known) {
        if (key != name) continue;
        Alternatives parsed;
        TRY(for_each_part(value, '|', [&](std::string_view word) -> Result<> {
            parsed.push_back(TRY(parse_value(word)));
            return {};
        }));
        if (parsed.size() > 10) return fail(Code::invalid, "{}: too many alternatives", name);
        *alternatives = std::move(parsed);
        return true;
    }
    return false;
}

std::vector<std::string> Contexts::names() const {
    const auto used = [](const auto& sets) {
        return std::any_of(sets.begin(), sets.end(), [](const auto& set) { return !set.empty(); });
    };
    std::vector<std::string> out;
    if (used(source_)) out.emplace_back("source");
    if (used(destination_)) out.emplace_back("destination");
    for (const std::uint8_t index : labels_)
        out.push_back(label_name(index));
    return out;
}

void Contexts::append(const Ends& ends, std::vector<std::string>& values) const {
    const auto direction = static_cast<std::size_t>(ends.direction);
    const auto add = [&](const std::array<Alternatives, 3>& sets, const model::FlowEnd& end) {
        if (sets[0].empty() && sets[1].empty() && sets[2].empty()) return;
        const bool special = direction != 0 && !sets[direction].empty();
        values.push_back(first_of(special ? sets[direction] : sets[0], end));
    };
    add(source_, ends.source);
    add(destination_, ends.destination);
    for (const std::uint8_t index : labels_) {
        if (index == kDirection) {
            values.emplace_back(to_string(ends.direction));
        } else {
            const bool source = index < kEndLabels.size();
            values.push_back(kEndLabels[index % kEndLabels.size()].value(
                source ? ends.source : ends.destination));
        }
    }
}

Contexts::PodLabels Contexts::pod_labels() const {
    PodLabels out;
    const auto all = names();
    const auto index = [&](std::string_view name) {
        return static_cast<std::size_t>(std::find(all.begin(), all.end(), name) - all.begin());
    };
    const auto has_pod = [](const std::array<Alternatives, 3>& sets) {
        return std::any_of(sets.begin(), sets.end(), [](const Alternatives& set) {
            return std::find(set.begin(), set.end(), Value::pod) != set.end();
        });
    };
    if (has_pod(source_)) out.whole.push_back(index("source"));
    if (has_pod(destination_)) out.whole.push_back(index("destination"));
    for (const std::string end : {"source", "destination"}) {
        const std::size_t space = index(end + "_namespace");
        const std::size_t pod = index(end + "_pod");
        if (space < all.size() && pod < all.size()) out.apart.emplace_back(space, pod);
    }
    return out;
}

} // namespace beeline::observe::metrics
