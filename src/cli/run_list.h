// What `beeline ps` shows: records of runs joined with the agent's workloads.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/runtime_cgroup.h"
#include "cli/runtime_record.h"

namespace beeline::cli {

struct RunRow {
    std::string space;
    std::string name;
    std::int64_t pid = 0;   // 0: none or not known
    std::string status;     // "running", "starting", "exited 3"
    std::int64_t since = 0; // seconds since the epoch: the start, or the end once it has exited
    std::vector<std::string> addresses;
    std::optional<CgroupUsage> usage; // of live ones whose cgroup is known
    double cpu_percent = 0;           // of one CPU, over the whole life
    std::vector<std::string> command;
    model::Labels labels;
    std::string source; // "run", "cni"
    nlohmann::json asked =
        nlohmann::json::object(); // "host_ports" and "bandwidth", as the agent says them
    std::string note;
    bool exited = false;
    int exit_code = 0;
};

struct RunListing {
    std::string space;    // only this namespace; empty: all
    bool exited = false;  // also those that have ended
    std::int64_t now = 0; // seconds since the epoch
    std::function<CgroupUsage(const std::string& cgroup)> usage;
};

// `workloads` is the array of GET /v1/workloads, null when the agent does not answer: then records alone are shown.
// Sorted by namespace and name.
std::vector<RunRow> list_runs(const std::vector<RunRecord>& records,
                              const nlohmann::json& workloads, const RunListing& listing);

nlohmann::json to_json(const RunRow& row, std::int64_t now);

std::string age_text(std::int64_t seconds);  // "42s", "17m", "5h", "3d"
std::string bytes_text(std::uint64_t bytes); // "512K", "1.5M", "2.0G"
std::string command_text(const std::vector<std::string>& command, std::size_t most); // one line

} // namespace beeline::cli
