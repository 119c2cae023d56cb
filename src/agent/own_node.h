// The pod ranges of this machine, as its Node object in the API server says.
#pragma once

#include <string>

#include "agent/config.h"
#include "base/result.h"

namespace beeline::agent {

// Nothing to do unless config.ranges_from_node. Waits for the API server and for the ranges, at most as long as the
// configuration says; the ranges of an earlier run, kept in `state`, are taken at once when they cannot be asked for.
Result<> settle_ranges(Config& config, const std::string& state);

} // namespace beeline::agent
