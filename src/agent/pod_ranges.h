// The node's ranges of workloads as its Node object gives them (spec.podCIDRs). They are settled before anything else starts, so
// what the object says is kept in a file, and the agent begins anew when that changes.
#pragma once

#include <string>

#include "agent/config.h"
#include "model/objects.h"

namespace beeline::agent {

// Puts what `file` remembers into the configuration, unless that has ranges of its own.
void recall_pod_ranges(const std::string& file, Config& config);

enum class PodRanges {
    settled,  // those of the configuration, or of the Node object, are in force
    unknown,  // no Node object gives any, and no others are to be used
    outdated, // remembered: in force when the agent begins anew
};
// Compares the node's own object with what is in force, and remembers a difference.
Result<PodRanges> check_pod_ranges(const std::string& file, const Config& config,
                                   const model::Objects& objects);

} // namespace beeline::agent
