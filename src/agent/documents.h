// The JSON documents of the local API, made from the node's state. Loop thread only.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "agent/node.h"
#include "api/server/backend.h"

namespace beeline::agent {

nlohmann::json status_document(Node& node);
nlohmann::json workload_document(Node& node, const model::Workload& workload);
nlohmann::json workloads_document(Node& node);
nlohmann::json services_document(Node& node);
Result<nlohmann::json> maps_document(Node& node);
// `limit` entries at most; the document says when there were more.
Result<nlohmann::json> map_document(Node& node, const std::string& name, std::size_t limit);
Result<nlohmann::json> explain_document(Node& node, const api::ExplainQuery& query);

} // namespace beeline::agent
