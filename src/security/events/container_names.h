// Users and groups as a container names them.
#pragma once

#include <string>

#include "security/events/process.h"

namespace beeline::security {

// Reads passwd and group of the container that a process in the cgroup at `cgroup_folder` lives in. Files that a container
// could make slow or endless (other mounts, pipes, large ones) are left out. False if there is no process to ask yet.
bool read_container_names(const std::string& cgroup_folder, const std::string& proc,
                          Container& container);

} // namespace beeline::security
