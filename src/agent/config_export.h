// The section `export` of the configuration.
#pragma once

#include "api/export/options.h"
#include "base/result.h"
#include "source/yaml.h"

namespace beeline::agent {

Result<> read_export(const source::yaml::Map& root, exporting::Options& options);

} // namespace beeline::agent
