// The section `hubble` of the configuration.
#pragma once

#include "api/hubble/options.h"
#include "base/result.h"
#include "source/yaml.h"

namespace beeline::agent {

Result<> read_hubble(const source::yaml::Map& root, hubble::Section& config);

} // namespace beeline::agent
