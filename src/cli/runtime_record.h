// What is known about one `beeline run`, kept as <state>/runs/<namespace>_<name>.json by the process that supervises it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/client/paths.h"
#include "base/result.h"
#include "model/labels.h"

namespace beeline::cli {

struct RunRecord {
    enum class Status { starting, running, exited };

    std::string space;
    std::string name;
    model::Labels labels;
    std::vector<std::string> command;
    std::string user;
    bool detached = false;

    Status status = Status::starting;
    std::string boot; // the start times below count from this boot
    pid_t supervisor = 0;
    std::uint64_t supervisor_start = 0;
    pid_t pid = 0; // the workload's main process, 0 before there is one
    std::uint64_t pid_start = 0;

    std::string container;     // CNI container id
    std::string netns;         // path
    std::string cgroup;        // below the cgroup mount
    nlohmann::json attachment; // body of the CNI calls, null before ADD was tried
    std::vector<std::string> addresses;

    std::int64_t started = 0; // seconds since the epoch
    std::int64_t finished = 0;
    int exit_code = 0; // 128 + signal when killed
    std::string note;  // why it ended, when not by itself

    [[nodiscard]] std::string key() const { return space + "_" + name; }
    [[nodiscard]] std::string title() const { return space + "/" + name; }
    [[nodiscard]] bool supervised() const; // its supervisor lives
};

std::string_view status_name(RunRecord::Status status);

nlohmann::json to_json(const RunRecord& record);
Result<RunRecord> run_record_from_json(const nlohmann::json& json);

// Where an instance keeps what belongs to runs.
struct RunFiles {
    explicit RunFiles(const api::Paths& paths);

    std::string records; // folder
    std::string logs;    // folder
    std::string lock;    // held while records are compared with reality

    [[nodiscard]] std::string record(const std::string& key) const {
        return records + "/" + key + ".json";
    }
    [[nodiscard]] std::string log(const std::string& key) const {
        return logs + "/" + key + ".log";
    }
};

Result<> save_record(const RunFiles& files, const RunRecord& record);
// not_found when there is none.
Result<RunRecord> load_record(const RunFiles& files, const std::string& key);
void remove_record(const RunFiles& files, const std::string& key);

struct RunRecords {
    std::vector<RunRecord> records;    // by namespace and name
    std::vector<std::string> problems; // one message per file that could not be read
};
RunRecords load_records(const RunFiles& files);

} // namespace beeline::cli
