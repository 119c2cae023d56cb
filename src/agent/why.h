// Everything that decides whether one end reaches another, gathered into one answer.
#pragma once

#include <nlohmann/json.hpp>

#include "agent/node.h"
#include "api/server/backend.h"
#include "loop/loop.h"

namespace beeline::agent {

// Not on the loop's thread.
Result<nlohmann::json> why_document(Node& node, loop::Loop& loop, const api::WhyQuery& query);

} // namespace beeline::agent
