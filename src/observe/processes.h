// Who is a process? (pid, start time) -> its binary, user, container and ancestors: by /proc at once, and from somebody who
// follows the machine's processes (the security side) a moment later. That one also knows those that are gone.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "abi/process.h"
#include "base/result.h"
#include "observe/cache.h"

namespace beeline::observe {

struct ProcessFacts {
    std::string binary;                // path; empty: not known
    std::string user;                  // name of the uid
    std::string container;             // whole id; empty: none, or not known
    std::vector<std::string> ancestry; // binaries (comm where not known) from the parent up
    bool operator==(const ProcessFacts&) const = default;
};

// Shared by all flows of a process. Readers may be ahead of the answer of a ProcessSource.
class ProcessInfo {
public:
    ProcessInfo() = default;
    explicit ProcessInfo(const bl_process& process) : key(process) {}

    // Any thread. Never null.
    [[nodiscard]] std::shared_ptr<const ProcessFacts> facts() const {
        return facts_.load(std::memory_order_acquire);
    }
    void set(std::shared_ptr<const ProcessFacts> facts) {
        facts_.store(std::move(facts), std::memory_order_release);
    }

    bl_process key{}; // stays the same once others see it

private:
    std::atomic<std::shared_ptr<const ProcessFacts>> facts_{std::make_shared<ProcessFacts>()};
};

// Asked once for each process; answers by set(), now or later, on any thread, or never. Must not block.
using ProcessSource = std::function<void(const std::shared_ptr<ProcessInfo>&)>;

inline constexpr std::size_t kAncestors = 16; // at most

// One thread, but for set_source(). Answers are kept, also "gone already", in a bounded cache. The whole key is compared,
// comm and uid too: a process that executes another program keeps its pid and start time, but not its comm.
class Processes {
public:
    static constexpr std::size_t kCapacity = 16 * 1024;

    explicit Processes(std::string proc = "/proc", std::size_t capacity = kCapacity,
                       std::string passwd = "/etc/passwd");

    // Any thread; once it returns the old one is not called any more. May be empty.
    void set_source(ProcessSource source);

    // Null when `key` names no process. A miss costs a few system calls.
    std::shared_ptr<const ProcessInfo> find(const bl_process& key);
    [[nodiscard]] std::size_t cached() const { return cache_.size(); }

private:
    struct ParentKey {
        std::uint64_t ticks = 0; // start time
        std::uint32_t pid = 0;
        char comm[16] = {};
        std::uint32_t pad = 0;
    };
    struct FactsHash {
        std::size_t operator()(const ProcessFacts& facts) const noexcept;
    };
    using Chain = std::shared_ptr<const std::vector<std::string>>; // a process, then its ancestors

    ProcessFacts read(const bl_process& key);
    Chain chain(std::uint32_t pid, std::size_t depth);
    std::string user(std::uint32_t uid);

    std::string proc_;
    std::string passwd_;
    std::uint64_t tick_ns_;
    LruCache<bl_process, std::shared_ptr<const ProcessInfo>> cache_;
    LruCache<ParentKey, Chain> chains_;
    Interner<ProcessFacts, FactsHash> facts_;
    std::map<std::uint32_t, std::string> users_;
    std::int64_t users_changed_ns_ = -1; // of the file that users_ is from
    std::uint64_t users_next_ns_ = 0;    // when it is looked at again
    std::mutex mutex_;
    ProcessSource source_; // under mutex_
};

// The binary of a live process, without " (deleted)". Fails when the process is gone or when its pid belongs to another one
// now. `tick_ns`: length of a clock tick, the unit of start times in /proc.
Result<std::string> read_binary(const std::string& proc, std::uint32_t pid, std::uint64_t start_ns,
                                std::uint64_t tick_ns);

// Of the text of /proc/PID/stat.
struct ProcessStat {
    std::string_view comm;
    std::uint32_t parent = 0;
    std::uint64_t start_ticks = 0;
};
Result<ProcessStat> parse_stat(std::string_view stat);
Result<std::uint64_t> start_ticks(std::string_view stat);

// The id of the deepest container in the text of /proc/PID/cgroup; empty if there is none. Only ids of 64 hexadecimal digits,
// as container runtimes give, are recognised.
std::string container_in(std::string_view cgroups);

} // namespace beeline::observe
