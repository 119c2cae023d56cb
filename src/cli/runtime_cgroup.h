// The cgroup of one workload: made, limited, emptied, removed. `relative` is its path below a cgroup mount, the same in
// cgroup2 and, on hosts that keep controllers in version 1 hierarchies, in those of the controllers that are needed.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace beeline::cli {

struct CgroupMounts {
    std::string unified;                            // cgroup2
    std::map<std::string, std::string> controllers; // version 1: controller -> mount point
};

// `mountinfo` is the text of /proc/self/mountinfo. Fails when no cgroup2 is mounted.
Result<CgroupMounts> parse_cgroup_mounts(std::string_view mountinfo);
Result<CgroupMounts> find_cgroup_mounts();

struct CgroupLimits {
    std::uint64_t memory_bytes = 0; // 0: none
    std::uint32_t cpu_millis = 0;   // 0: none
};

// Makes the cgroup and puts the limits in force. After a failure `cgroup_remove` takes away what was made.
Result<> cgroup_create(const CgroupMounts& mounts, const std::string& relative,
                       const CgroupLimits& limits);
Result<> cgroup_add(const CgroupMounts& mounts, const std::string& relative, pid_t pid);
std::vector<pid_t> cgroup_processes(const CgroupMounts& mounts, const std::string& relative);
// SIGKILL to everything inside, children included. Does nothing when there is no such cgroup.
void cgroup_kill(const CgroupMounts& mounts, const std::string& relative);
// Waits a little for processes that are on their way out. Success when there is no such cgroup.
Result<> cgroup_remove(const CgroupMounts& mounts, const std::string& relative);

struct CgroupUsage {
    std::uint64_t memory_bytes = 0;
    std::uint64_t cpu_us = 0; // since the start
};
CgroupUsage cgroup_usage(const CgroupMounts& mounts, const std::string& relative);
// How many processes the kernel has killed because the memory limit was reached.
std::uint64_t cgroup_oom_kills(const CgroupMounts& mounts, const std::string& relative);

} // namespace beeline::cli
