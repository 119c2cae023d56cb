// Every process of the machine (or scope) with its ancestry: fed by records only, so that a recording rebuilds it.
//
// Not thread-safe: one thread applies events and evaluates rules.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "security/events/event.h"
#include "security/events/process.h"

namespace beeline::security {

// Names the container (null: host) and workload of a cgroup2 id. Called once per process and exec; must not block.
struct Placement {
    std::shared_ptr<const Container> container;
    std::string workload;
};
using PlacementOf = std::function<Placement(std::uint64_t cgroup)>;

struct TreeStats {
    std::uint64_t live = 0;
    std::uint64_t exited = 0;    // still kept
    std::uint64_t guessed = 0;   // made from an event of a process that was not known
    std::uint64_t forgotten = 0; // given up early because of `limit`
};

class ProcessTree {
public:
    struct Options {
        std::size_t limit = 65536;                     // processes kept, live and exited
        std::uint64_t keep_exited_ns = 30'000'000'000; // of boot time
        std::int64_t boot_time_ns = 0;                 // CLOCK_REALTIME - CLOCK_BOOTTIME
    };
    ProcessTree(Options options, PlacementOf placement);
    ~ProcessTree();
    ProcessTree(const ProcessTree&) = delete;
    ProcessTree& operator=(const ProcessTree&) = delete;

    // Takes in what the event says of processes, then sets its number, time_ns and process.
    void apply(Event& event);
    // Null if not known.
    [[nodiscard]] const Process* find(const ProcessKey& key) const;
    // The live process with this pid, or the one that had it last.
    [[nodiscard]] const Process* find_pid(std::uint32_t pid) const;
    // The session leader: the process whose pid is `sid`, else the eldest ancestor of the same session; may be null.
    [[nodiscard]] const Process* session_leader(const Process& process) const;
    void for_each(const std::function<void(const Process&)>& visit) const;
    // Containers changed: asks the placement of every live process of this cgroup again (0: of all).
    void place_again(std::uint64_t cgroup);
    [[nodiscard]] TreeStats stats() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace beeline::security
