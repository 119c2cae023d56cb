// The section `security` of the configuration.
#pragma once

#include "agent/config.h"
#include "base/result.h"
#include "source/yaml.h"

namespace beeline::agent {

Result<> read_security(const source::yaml::Map& root, SecurityConfig& config);

} // namespace beeline::agent
