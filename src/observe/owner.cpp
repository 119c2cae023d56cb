#include "observe/owner.h"

namespace beeline::observe {
namespace {

const std::string* label(const model::Labels& labels, const std::string& key) {
    const auto found = labels.find(key);
    return found == labels.end() ? nullptr : &found->second;
}

// "web-7d4b9c-x2x9p" without its last part.
std::string_view without_last(std::string_view name) {
    const std::size_t dash = name.rfind('-');
    return dash == std::string_view::npos || dash == 0 ? std::string_view{} : name.substr(0, dash);
}

} // namespace

Owner owner_of(std::string_view pod, const model::Labels& labels) {
    const std::string_view set = without_last(pod);
    if (const auto* hash = label(labels, "pod-template-hash"); hash && !set.empty()) {
        const std::string suffix = "-" + *hash;
        if (set.size() > suffix.size() && set.ends_with(suffix))
            return {std::string(set.substr(0, set.size() - suffix.size())), "Deployment"};
        return {std::string(set), "ReplicaSet"};
    }
    if (label(labels, "statefulset.kubernetes.io/pod-name") && !set.empty())
        return {std::string(set), "StatefulSet"};
    if (label(labels, "controller-revision-hash") && label(labels, "pod-template-generation") &&
        !set.empty())
        return {std::string(set), "DaemonSet"};
    for (const char* key : {"batch.kubernetes.io/job-name", "job-name"})
        if (const auto* job = label(labels, key); job && !job->empty()) return {*job, "Job"};
    return {std::string(pod), "Pod"};
}

} // namespace beeline::observe
