// The path of a cgroup2 directory from its id.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"

namespace beeline::security {

class CgroupPaths {
public:
    explicit CgroupPaths(std::string mount);

    // Below the mount, with a leading '/'; empty if there is no such cgroup.
    [[nodiscard]] std::string path(std::uint64_t id) const;
    // The ids of the cgroup at `path` and of those above it, deepest first.
    [[nodiscard]] std::vector<std::uint64_t> ids(const std::string& path) const;
    [[nodiscard]] const std::string& mount() const { return mount_; }

private:
    [[nodiscard]] std::string walk(std::uint64_t id) const;

    std::string mount_;
    Fd folder_;
    bool handles_ = false; // the kernel finds the directory by its id
};

} // namespace beeline::security
