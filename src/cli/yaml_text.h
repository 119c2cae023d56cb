// JSON values as YAML text.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace beeline::cli {

// Block style, keys in the order of `value`; strings are quoted where YAML could take them for something else. Ends with
// a newline.
std::string to_yaml(const nlohmann::json& value);

} // namespace beeline::cli
