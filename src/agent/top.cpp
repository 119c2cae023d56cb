#include "agent/top.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>

#include "base/file.h"
#include "ebpf/system.h"
#include "observe/json.h"
#include "observe/top.h"

namespace beeline::agent {
namespace {

using nlohmann::json;

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

// Of a cgroup and those below it.
std::optional<std::uint64_t> cpu_usec(const std::string& folder) {
    const auto text = read_file(folder + "/cpu.stat");
    if (!text) return {};
    constexpr std::string_view kField = "usage_usec ";
    const auto at = text->find(kField);
    if (at == std::string::npos) return {};
    std::uint64_t value = 0;
    const char* begin = text->data() + at + kField.size();
    if (std::from_chars(begin, text->data() + text->size(), value).ec != std::errc{}) return {};
    return value;
}

json row_document(const observe::TopRow& row) {
    json out{{"connections", row.connections}, {"requests", row.requests},
             {"errors", row.errors},           {"dropped", row.dropped},
             {"sent_bytes", row.sent_bytes},   {"received_bytes", row.received_bytes}};
    if (row.latency_count != 0) {
        out["latency_mean_ns"] = row.latency_sum_ns / row.latency_count;
        out["latency_p95_ns"] = row.latency_quantile_ns(0.95);
    }
    return out;
}

} // namespace

Result<json> top_document(Node& node, loop::Loop& loop, std::int64_t window_ns) {
    const std::int64_t now = now_ns();
    observe::FlowFilter filter;
    filter.since_ns = now - window_ns;
    auto reader = node.store().read(std::move(filter));
    observe::Top top;
    std::uint64_t lost = 0;
    while (const auto seen = reader.next_record()) {
        if (seen->record.kind == model::Flow::Kind::lost || seen->record.context == nullptr)
            lost += seen->overtaken != 0 ? seen->overtaken : seen->record.packets[0];
        else
            top.add(seen->record);
    }
    const auto workloads =
        TRY(loop.call([&]() -> Result<std::vector<model::Workload>> { return node.workloads(); }));
    auto rows = top.rows();
    const auto mount = ebpf::cgroup2_mount();
    json list = json::array();
    const auto add = [&](const std::string& space, const std::string& name, json one) {
        one["namespace"] = space;
        one["name"] = name;
        list.push_back(std::move(one));
    };
    for (const auto& workload : workloads) {
        const auto found = rows.find({workload.name.space, workload.name.name});
        json one = row_document(found != rows.end() ? found->second : observe::TopRow{});
        if (found != rows.end()) rows.erase(found);
        if (mount && !workload.cgroup.empty()) {
            std::string path = workload.cgroup;
            path.erase(0, std::min(path.size(), path.find_first_not_of('/')));
            if (const auto used = cpu_usec(*mount + "/" + path)) one["cpu_usec"] = *used;
        }
        add(workload.name.space, workload.name.name, std::move(one));
    }
    for (const auto& [name, row] : rows) { // gone meanwhile, or on another node
        json one = row_document(row);
        one["gone"] = true;
        add(name.first, name.second, std::move(one));
    }
    std::string time;
    observe::append_time(time, now);
    return json{{"time", time},
                {"window_ms", window_ns / 1'000'000},
                {"workloads", std::move(list)},
                {"unplaced", top.unplaced()},
                {"lost", lost}};
}

} // namespace beeline::agent
