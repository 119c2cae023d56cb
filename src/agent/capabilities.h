// What the status documents say of what a runtime asked for by CNI capabilities.
#pragma once

#include <vector>

#include <nlohmann/json.hpp>

#include "datapath/shaper.h"
#include "model/workload.h"

namespace beeline::agent {

class Node;

// "host_ports" and "bandwidth" of a workload that has them.
void add_capabilities(nlohmann::json& document, Node& node, const model::Workload& workload);
// How many there are, and whether they are in force.
nlohmann::json capabilities_status(const std::vector<model::Workload>& workloads,
                                   const datapath::Shaper& shaper, bool reached_from_outside);

} // namespace beeline::agent
