// `beeline status --wait`: until the agent does what it was told.
#pragma once

#include <chrono>
#include <string>

#include <nlohmann/json.hpp>

#include "cli/context.h"

namespace beeline::cli {

// What is missing until the desired state is in force; empty when nothing is. `status` is the document of /v1/status.
std::string waiting_for(const nlohmann::json& status);

// Asks again and again, and tells on `err` whenever what is waited for changes.
Result<nlohmann::json> wait_for_agent(const Context& context, std::chrono::seconds timeout);

} // namespace beeline::cli
