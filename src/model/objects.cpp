#include "model/objects.h"

namespace beeline::model {

Labels Objects::namespace_labels(const std::string& name) const {
    const auto found = namespaces.find(name);
    Labels labels = found == namespaces.end() ? Labels{} : found->second.labels;
    labels["kubernetes.io/metadata.name"] = name;
    return labels;
}

bool names_workload(std::string_view pattern, std::string_view space, std::string_view name) {
    if (name.empty()) return false;
    const auto slash = pattern.find('/');
    if (slash == std::string_view::npos) return pattern == name;
    const std::string_view wanted = pattern.substr(slash + 1);
    return pattern.substr(0, slash) == space && (wanted.empty() || wanted == name);
}

bool names_workload(std::string_view pattern, std::string_view full_name) {
    const auto slash = full_name.find('/');
    return slash != std::string_view::npos &&
           names_workload(pattern, full_name.substr(0, slash), full_name.substr(slash + 1));
}

} // namespace beeline::model
