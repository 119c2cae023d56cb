// Who may talk to whom, and the rule that says so, for every pair of groups of like workloads.
#pragma once

#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/server/backend.h"
#include "model/objects.h"
#include "model/workload.h"
#include "net/address.h"

namespace beeline::agent {

// What the answer depends on; immutable, so any thread can work on it.
struct PolicyScene {
    std::shared_ptr<const model::Objects> objects;
    std::vector<model::Workload> workloads;
    std::vector<net::Ip> host_addresses;
};

// Asks model::evaluate(), as `policy explain` does. Gives up after two seconds and says what is missing.
nlohmann::json policy_matrix_document(const PolicyScene& scene, const api::MatrixQuery& query);

} // namespace beeline::agent
