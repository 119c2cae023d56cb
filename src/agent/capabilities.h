// What the status documents say of what a runtime asked for by CNI capabilities.
#pragma once

#include <nlohmann/json.hpp>

#include "model/workload.h"

namespace beeline::agent {

class Node;

// "host_ports" and "bandwidth" of a workload that has them.
void add_capabilities(nlohmann::json& document, Node& node, const model::Workload& workload);

} // namespace beeline::agent
