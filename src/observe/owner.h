// Which Deployment, StatefulSet, … a pod belongs to, told from the labels that Kubernetes' controllers put on it.
#pragma once

#include <string>
#include <string_view>

#include "model/labels.h"

namespace beeline::observe {

struct Owner {
    std::string name;
    std::string_view kind; // "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "Pod"
};

// A pod without such labels is its own owner, of kind Pod.
Owner owner_of(std::string_view pod, const model::Labels& labels);

} // namespace beeline::observe
