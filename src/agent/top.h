// What the workloads did lately, with what they used of the machine.
#pragma once

#include <nlohmann/json.hpp>

#include "agent/node.h"
#include "loop/loop.h"

namespace beeline::agent {

// Not on the loop's thread.
Result<nlohmann::json> top_document(Node& node, loop::Loop& loop, std::int64_t window_ns);

} // namespace beeline::agent
