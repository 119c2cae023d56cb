// Labels that tell who the ends of a flow are: Hubble's context options.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/flow.h"
#include "observe/event_type.h"

namespace beeline::observe::metrics {

// A flow in the order in which its event shows the ends.
struct Ends {
    const model::FlowEnd& source;
    const model::FlowEnd& destination;
    TrafficDirection direction = TrafficDirection::unknown;
};

class Contexts {
public:
    // X(enumerator, what the option says)
#define BEELINE_CONTEXTS(X)                                                                        \
    X(identity, "identity")                                                                        \
    X(space, "namespace")                                                                          \
    X(pod, "pod")                                                                                  \
    X(pod_name, "pod-name")                                                                        \
    X(dns, "dns")                                                                                  \
    X(ip, "ip")                                                                                    \
    X(reserved_identity, "reserved-identity")                                                      \
    X(workload, "workload")                                                                        \
    X(workload_name, "workload-name")                                                              \
    X(app, "app")
    enum class Value : std::uint8_t {
#define X(name, text) name,
        BEELINE_CONTEXTS(X)
#undef X
    };

    // Takes `key` (in lower case) when it is a context option; false when it is not one.
    Result<bool> set(std::string_view key, std::string_view value);

    // Names of the labels, in the order of the values.
    [[nodiscard]] std::vector<std::string> names() const;
    void append(const Ends& ends, std::vector<std::string>& values) const;

    // Which of names() hold "namespace/pod", and which pairs hold the two apart: for series of pods that are gone.
    struct PodLabels {
        std::vector<std::size_t> whole;
        std::vector<std::pair<std::size_t, std::size_t>> apart; // namespace, pod
    };
    [[nodiscard]] PodLabels pod_labels() const;

private:
    using Alternatives = std::vector<Value>;
    // Index 0 for any direction, 1 ingress, 2 egress.
    std::array<Alternatives, 3> source_;
    std::array<Alternatives, 3> destination_;
    std::vector<std::uint8_t> labels_; // indices into the list of labelsContext, in its order
};

// "k8s:app=web", or "reserved:world": an identity as Hubble prints it, sorted.
std::vector<std::string> identity_labels(const model::FlowEnd& end);

} // namespace beeline::observe::metrics
