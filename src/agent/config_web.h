// The section `web` of the configuration.
#pragma once

#include "api/server/web.h"
#include "source/yaml.h"

namespace beeline::agent {

Result<> read_web(const source::yaml::Map& root, api::WebConfig& config);

} // namespace beeline::agent
