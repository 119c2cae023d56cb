// Which program is a process? (pid, start time) -> path of its binary, by /proc.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "abi/process.h"
#include "base/result.h"
#include "observe/cache.h"

namespace beeline::observe {

struct ProcessInfo {
    bl_process key{};
    std::shared_ptr<const std::string> binary; // null: could not be read, only key.comm is known
};

// One thread. Answers are kept, also "gone already", in a bounded cache. The whole key is compared, comm and uid
// too: a process that executes another program keeps its pid and start time, but not its comm.
class Processes {
public:
    static constexpr std::size_t kCapacity = 16 * 1024;

    explicit Processes(std::string proc = "/proc", std::size_t capacity = kCapacity);

    // Null when `key` names no process. A miss costs a few system calls.
    std::shared_ptr<const ProcessInfo> find(const bl_process& key);
    [[nodiscard]] std::size_t cached() const { return cache_.size(); }

private:
    std::string proc_;
    std::uint64_t tick_ns_;
    LruCache<bl_process, std::shared_ptr<const ProcessInfo>> cache_;
    Interner<std::string> binaries_;
};

// The binary of a live process, without " (deleted)". Fails when the process is gone or when its pid belongs to another one
// now. `tick_ns`: length of a clock tick, the unit of start times in /proc.
Result<std::string> read_binary(const std::string& proc, std::uint32_t pid, std::uint64_t start_ns,
                                std::uint64_t tick_ns);

// Field 22 of the text of /proc/PID/stat.
Result<std::uint64_t> start_ticks(std::string_view stat);

} // namespace beeline::observe
