// The processes that are there already: one `proc` record for each, read from /proc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/result.h"

namespace beeline::security {

struct SnapshotOptions {
    std::string proc = "/proc";
    std::uint64_t scope_cgroup = 0; // only processes at or below this cgroup2 id; 0: all
    std::string cgroup_mount; // of cgroup2; empty: cgroup ids stay 0, and a scope finds nothing
    bool environment = false; // with the environment of each
};

// Calls `record` for each process (parents may come after their children) and returns how many there were. Processes that
// end meanwhile are left out. Start times are those of a clock tick (see ProcessTree).
Result<std::size_t> snapshot(const SnapshotOptions& options,
                             const std::function<void(std::span<const std::byte>)>& record);

} // namespace beeline::security
