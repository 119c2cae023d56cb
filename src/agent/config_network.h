// The `network` section's fields about other nodes.
#pragma once

#include "base/result.h"
#include "datapath/node_plan.h"
#include "source/yaml.h"

namespace beeline::agent {

// `mode` and `vxlan` of the section `map`.
Result<> read_node_paths(const source::yaml::Map& map, datapath::NodePathOptions& out);

} // namespace beeline::agent
