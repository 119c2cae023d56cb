// One flow as one line for people.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "cli/context.h"

namespace beeline::cli {

// Without a newline. With Format::wide times are complete and in UTC, ends have ports, identities and all labels, processes
// their paths. Denials are red and failed
// requests yellow when the context has colours.
std::string flow_text(const Context& context, const nlohmann::json& flow);

} // namespace beeline::cli
