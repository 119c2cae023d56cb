// The kernel side of runtime security: loads the sensors and keeps just those attached that the rules need.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "security/events/capture.h"

namespace beeline::security {

// Not thread-safe; the rings are read by another thread through their descriptors. Everything ends with the object: the
// sensors are not pinned.
class Sensor {
public:
    struct Options {
        // Folder of a cgroup2: only what runs at or below it is seen. Empty: the whole machine.
        std::string scope_cgroup;
        std::uint32_t procs_ring_bytes = 4U << 20; // powers of two
        std::uint32_t events_ring_bytes = 8U << 20;
    };
    static Result<std::unique_ptr<Sensor>> load(const Options& options);
    ~Sensor();
    Sensor(const Sensor&) = delete;
    Sensor& operator=(const Sensor&) = delete;

    // What is wanted from now on. No event that is wanted before and after is lost meanwhile. Begin, binary, name and end of
    // processes are always followed once this was called.
    Result<> set(const Capture& capture);
    // Detaches everything; set() starts again.
    void stop();
    // BL_SCOPE_* of a cgroup2 id; 0 forgets it.
    Result<> set_scope(std::uint64_t cgroup, std::uint32_t flags);

    // The name of a process that was there before; what the sensors have seen of it since counts more.
    Result<> tell_name(std::uint32_t pid, std::uint64_t start_ns, std::string_view comm);

    [[nodiscard]] int procs_ring() const;
    [[nodiscard]] int events_ring() const;

    struct Stat {
        std::string_view name; // as in BL_SENSOR_STATS
        std::uint64_t value = 0;
    };
    [[nodiscard]] Result<std::vector<Stat>> stats() const;
    // What is attached: "process", "syscall", "uring", and enter tracepoints by their kind.
    [[nodiscard]] std::vector<std::string> attached() const;
    // What the automaton could not tell apart: 0 unless there were too many texts.
    [[nodiscard]] std::size_t texts_cut() const;

private:
    struct State;
    explicit Sensor(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace beeline::security
