// The processes of a workload, as its cgroup lists them now.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace beeline::agent {

// `cgroup` is a path below the cgroup2 mount; empty: an empty list. Bounded; arguments are left out, they can hold secrets.
nlohmann::json processes_document(const std::string& cgroup);

} // namespace beeline::agent
