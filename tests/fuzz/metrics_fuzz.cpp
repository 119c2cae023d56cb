// libs: observe_metrics
// The syntax of metrics.hubble: whatever is accepted names labels once each and gives as many values.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string_view>

#include "observe/metrics/enable.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace beeline;
    const auto parsed = observe::metrics::parse_enabled(
        std::string_view(reinterpret_cast<const char*>(data), size));
    if (!parsed) return 0;
    const model::FlowEnd end;
    for (const auto& entry : *parsed) {
        const auto names = entry.contexts.names();
        std::vector<std::string> values;
        entry.contexts.append({end, end, observe::TrafficDirection::ingress}, values);
        if (values.size() != names.size()) std::abort();
        if (std::set<std::string>(names.begin(), names.end()).size() != names.size()) std::abort();
        for (const std::size_t index : entry.contexts.pod_labels().whole)
            if (index >= names.size()) std::abort();
    }
    return 0;
}
