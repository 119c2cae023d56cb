// The section `metrics` of the configuration.
#pragma once

#include "base/result.h"
#include "observe/metrics/options.h"
#include "source/yaml.h"

namespace beeline::agent {

Result<> read_metrics(const source::yaml::Map& root, observe::metrics::Options& options);

} // namespace beeline::agent
