// The agent's own metrics: cilium_* where that family has a name for the same thing, else beeline_*. Made from the
// documents of the local API when somebody asks, so that there is one source of these numbers.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <prometheus/metric_family.h>

#include "ebpf/program_stats.h"
#include "observe/metrics/timing.h"

namespace beeline::observe::metrics {

struct AgentFacts {
    nlohmann::json status;    // GET /v1/status
    nlohmann::json rules;     // GET /v1/rules; null: security is off
    nlohmann::json workloads; // GET /v1/workloads

    Timing applies; // of the desired state
    Timing sweeps;  // of the connection table
    std::uint64_t swept = 0;
    std::array<std::uint64_t, 3> service_events{}; // add, update, delete
    struct MapOperations {
        std::string map;
        std::array<std::uint64_t, 2> updates{}; // done, failed
        std::array<std::uint64_t, 2> deletes{};
    };
    std::vector<MapOperations> map_operations;
    std::array<std::uint64_t, 2> forwarded_packets{}; // ingress, egress
    std::array<std::uint64_t, 2> forwarded_bytes{};
    std::uint64_t warnings = 0;
    std::uint64_t errors = 0;
    std::vector<ebpf::ProgramStats> programs; // empty: not asked for
    bool hubble = true;                       // any metric of flows is on
    std::uint64_t counted_flows = 0;

    struct Process {
        double cpu_seconds = 0;
        double resident_bytes = 0;
        double virtual_bytes = 0;
        double open_fds = 0;
        double max_fds = 0;
        double start_seconds = 0; // since the epoch
        double threads = 0;
    } process;
};

// Of this process.
AgentFacts::Process read_process();

std::vector<prometheus::MetricFamily> agent_families(const AgentFacts& facts);

} // namespace beeline::observe::metrics
