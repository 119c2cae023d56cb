// Which container a cgroup path belongs to.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace beeline::security {

struct ContainerId {
    std::string id;      // whole
    std::string runtime; // what the path says or suggests
    // The path alone does not say it: only a container if a runtime knows the id.
    bool unsure = false;
    std::string runtime_namespace; // containerd's, if it is in the path
};

// `path` is that of a cgroup2 directory below the mount, with a leading '/'. The deepest part that names a container counts,
// so that making cgroups below its own does not get a process out of its container.
std::optional<ContainerId> container_of_cgroup(std::string_view path);

// What users see of an id: 12 characters of a long hexadecimal one, else all.
std::string short_container_id(std::string_view id);

} // namespace beeline::security
