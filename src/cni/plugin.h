// The CNI plugin: checks the call, forwards it to the agent, and does what has to be done when the agent is down.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "api/client/paths.h"
#include "base/result.h"
#include "cni/invocation.h"

namespace beeline::cni {

struct Output {
    int exit_code = 0;
    std::string out; // at most one JSON object and a newline
    std::string err;
};

// Where the instance that the configuration names (empty: none) has its socket: api::paths_from_environment.
using PathsOf = std::function<Result<api::Paths>(std::string_view instance)>;

// ADD waits for an agent that is just being restarted for so long, then fails with "try again later".
inline constexpr int kAddPatienceMs = 1500;

Output run_plugin(const Environment& environment, std::string_view input, const PathsOf& paths_of);

} // namespace beeline::cni
