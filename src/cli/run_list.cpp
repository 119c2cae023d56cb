#include "cli/run_list.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "cli/json_view.h"
#include "cli/table.h"

namespace beeline::cli {
namespace {

model::Labels labels_of(const nlohmann::json& workload) {
    model::Labels labels;
    const auto& found = member(workload, "labels");
    if (!found.is_object()) return labels;
    for (const auto& [key, value] : found.items())
        labels[key] = text(value);
    return labels;
}

// A time of the API, RFC 3339 in UTC, or plain seconds; 0 when it is neither.
std::int64_t time_of(const nlohmann::json& object, const char* key) {
    tm utc{};
    const auto given = text(object, key);
    if (member(object, key).is_number()) return static_cast<std::int64_t>(number(object, key));
    return ::strptime(given.c_str(), "%Y-%m-%dT%H:%M:%S", &utc) != nullptr ? ::timegm(&utc) : 0;
}

void add_usage(RunRow& row, const std::string& cgroup, std::int64_t started,
               const RunListing& listing) {
    if (cgroup.empty()) return;
    row.usage = listing.usage(cgroup);
    const auto life = std::max<std::int64_t>(listing.now - started, 1);
    row.cpu_percent = static_cast<double>(row.usage->cpu_us) / 1e4 / static_cast<double>(life);
}

RunRow row_of(const RunRecord& record, const RunListing& listing) {
    RunRow row;
    row.space = record.space;
    row.name = record.name;
    row.exited = record.status == RunRecord::Status::exited;
    row.exit_code = record.exit_code;
    row.status = row.exited ? fmt::format("exited {}", record.exit_code)
                            : std::string(status_name(record.status));
    row.since = row.exited ? record.finished : record.started;
    row.addresses = record.addresses;
    row.command = record.command;
    row.labels = record.labels;
    row.source = "run";
    row.note = record.note;
    if (!row.exited) {
        row.pid = record.pid;
        add_usage(row, record.cgroup, record.started, listing);
    }
    return row;
}

RunRow row_of(const nlohmann::json& workload, const RunListing& listing) {
    RunRow row;
    row.space = text(workload, "namespace");
    row.name = text(workload, "name");
    row.pid = static_cast<std::int64_t>(number(workload, "pid"));
    row.status = "running";
    row.since = time_of(workload, "created");
    row.addresses = texts(workload, "addresses");
    row.labels = labels_of(workload);
    row.source = text(workload, "source");
    for (const char* key : {"host_ports", "bandwidth"})
        if (workload.contains(key)) row.asked[key] = workload[key];
    const auto cgroup = text(workload, "cgroup");
    add_usage(row, cgroup.substr(std::min(cgroup.find_first_not_of('/'), cgroup.size())), row.since,
              listing);
    return row;
}

} // namespace

std::vector<RunRow> list_runs(const std::vector<RunRecord>& records,
                              const nlohmann::json& workloads, const RunListing& listing) {
    std::map<std::string, const nlohmann::json*> by_container;
    if (workloads.is_array()) {
        for (const auto& workload : workloads)
            if (workload.is_object()) by_container[text(workload, "container")] = &workload;
    }
    std::vector<RunRow> rows;
    for (const auto& record : records) {
        auto row = row_of(record, listing);
        const auto found = by_container.find(record.container);
        if (found != by_container.end()) {
            // The agent knows better: labels of a pod manifest, addresses that it gave out.
            if (auto addresses = texts(*found->second, "addresses"); !addresses.empty())
                row.addresses = addresses;
            if (auto labels = labels_of(*found->second); !labels.empty()) row.labels = labels;
            by_container.erase(found);
        }
        rows.push_back(std::move(row));
    }
    for (const auto& [container, workload] : by_container)
        rows.push_back(row_of(*workload, listing));
    std::erase_if(rows, [&](const RunRow& row) {
        return (row.exited && !listing.exited) ||
               (!listing.space.empty() && row.space != listing.space);
    });
    std::sort(rows.begin(), rows.end(), [](const RunRow& a, const RunRow& b) {
        return std::tie(a.space, a.name) < std::tie(b.space, b.name);
    });
    return rows;
}

nlohmann::json to_json(const RunRow& row, std::int64_t now) {
    nlohmann::json json = {
        {"namespace", row.space},
        {"name", row.name},
        {"status", row.exited ? "exited" : row.status},
        {"addresses", row.addresses},
        {"labels", row.labels},
        {"source", row.source},
        {"command", row.command},
    };
    if (row.since != 0) json["age_s"] = std::max<std::int64_t>(now - row.since, 0);
    if (row.exited) {
        json["exit_code"] = row.exit_code;
        json["finished"] = row.since;
    } else {
        json["pid"] = row.pid;
        json["started"] = row.since;
    }
    if (row.usage) {
        json["memory_bytes"] = row.usage->memory_bytes;
        json["cpu_us"] = row.usage->cpu_us;
        json["cpu_percent"] = std::round(row.cpu_percent * 10) / 10;
    }
    json.update(row.asked);
    if (!row.note.empty()) json["note"] = row.note;
    return json;
}

std::string age_text(std::int64_t seconds) {
    seconds = std::max<std::int64_t>(seconds, 0);
    if (seconds < 120) return fmt::format("{}s", seconds);
    if (seconds < 120 * 60) return fmt::format("{}m", seconds / 60);
    if (seconds < 48 * 3600) return fmt::format("{}h", seconds / 3600);
    return fmt::format("{}d", seconds / 86400);
}

std::string bytes_text(std::uint64_t bytes) {
    if (bytes < 1 << 20) return fmt::format("{}K", bytes >> 10);
    if (bytes < 1 << 30) return fmt::format("{:.1f}M", static_cast<double>(bytes) / (1 << 20));
    return fmt::format("{:.1f}G", static_cast<double>(bytes) / (1 << 30));
}

std::string command_text(const std::vector<std::string>& command, std::size_t most) {
    std::string text;
    for (const auto& word : command) {
        if (!text.empty()) text += ' ';
        const bool plain = !word.empty() && word.find_first_of(" \t\n'\"\\$") == std::string::npos;
        text += plain ? word : "'" + word + "'";
    }
    text = printable(text);
    if (text.size() <= most) return text;
    // Not in the middle of a UTF-8 character.
    std::size_t end = most - 1;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
        --end;
    return text.substr(0, end) + "…";
}

} // namespace beeline::cli
