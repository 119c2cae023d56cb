// What apply, get and delete do with etcd in the agent's place; answers have the shape of the agent's.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "cli/etcd.h"

namespace beeline::cli {

// All objects of the text or none. Checked as an agent would: one that no agent would take is not written.
Result<nlohmann::json> etcd_apply(const EtcdFlags& flags, const std::string& text, bool dry_run);
// Empty: every kind, namespace, name. {"objects": [...]}
Result<nlohmann::json> etcd_get(const EtcdFlags& flags, const std::string& kind,
                                const std::string& space, const std::string& name);
Result<> etcd_remove(const EtcdFlags& flags, const std::string& kind, const std::string& space,
                     const std::string& name);

} // namespace beeline::cli
