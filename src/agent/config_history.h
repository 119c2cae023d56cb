// The section `history` of the configuration.
#pragma once

#include "base/result.h"
#include "observe/history/options.h"
#include "source/yaml.h"

namespace beeline::agent {

Result<> read_history(const source::yaml::Map& root, observe::history::Options& options);

} // namespace beeline::agent
