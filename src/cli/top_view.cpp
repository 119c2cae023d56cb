#include "cli/top_view.h"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "cli/json_view.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<std::string_view, TopOrder>, 7> kOrders{
    {{"rate", TopOrder::rate},
     {"errors", TopOrder::errors},
     {"drops", TopOrder::drops},
     {"bytes", TopOrder::bytes},
     {"latency", TopOrder::latency},
     {"cpu", TopOrder::cpu},
     {"name", TopOrder::name}}};

double key_of(const TopLine& line, TopOrder order) {
    switch (order) {
    case TopOrder::rate: return line.rate;
    case TopOrder::errors: return line.errors;
    case TopOrder::drops: return line.drops;
    case TopOrder::bytes: return line.bytes;
    case TopOrder::latency: return static_cast<double>(line.latency_ns);
    case TopOrder::cpu: return line.cpu.value_or(-1);
    case TopOrder::name: return 0;
    }
    return 0;
}

std::string rate_text(double value) {
    if (value == 0) return "-";
    return value < 10 ? fmt::format("{:.1f}", value) : fmt::format("{:.0f}", value);
}

std::string size_text(double bytes) {
    static constexpr std::string_view kUnits = "BKMGT";
    if (bytes < 1) return "-";
    std::size_t unit = 0;
    for (; bytes >= 1024 && unit + 1 < kUnits.size(); ++unit)
        bytes /= 1024;
    return fmt::format("{:.{}f}{}", bytes, unit == 0 ? 0 : 1, kUnits[unit]);
}

std::string time_text(double us) {
    if (us < 1000) return fmt::format("{:.0f}us", us);
    if (us < 10'000'000) return fmt::format("{:.1f}ms", us / 1000);
    return fmt::format("{:.0f}s", us / 1'000'000);
}

} // namespace

std::optional<TopOrder> parse_top_order(std::string_view text) {
    for (const auto& [name, order] : kOrders)
        if (name == text) return order;
    return {};
}

std::vector<TopLine> top_lines(const json& now, const json& before, double seconds,
                               TopOrder order) {
    std::map<std::string, std::uint64_t> used;
    for (const auto& one : list(before, "workloads"))
        if (one.contains("cpu_usec")) used[object_name(one)] = number(one, "cpu_usec");
    const double window = static_cast<double>(number(now, "window_ms")) / 1000;
    std::vector<TopLine> lines;
    for (const auto& one : list(now, "workloads")) {
        TopLine line;
        line.name = object_name(one);
        const auto a_second = [&](std::string_view key) {
            return window > 0 ? static_cast<double>(number(one, key)) / window : 0;
        };
        line.requests = number(one, "requests") != 0;
        line.rate = a_second(line.requests ? "requests" : "connections");
        line.errors = a_second("errors");
        line.drops = a_second("dropped");
        line.bytes = a_second("sent_bytes") + a_second("received_bytes");
        line.latency_ns = number(one, "latency_p95_ns");
        const auto earlier = used.find(line.name);
        const auto total = number(one, "cpu_usec");
        if (one.contains("cpu_usec") && earlier != used.end() && seconds > 0 &&
            total >= earlier->second) {
            const double us_a_second = static_cast<double>(total - earlier->second) / seconds;
            line.cpu = us_a_second / 1e6;
            if (line.rate > 0) line.cpu_us_a_request = us_a_second / line.rate;
        }
        lines.push_back(std::move(line));
    }
    std::sort(lines.begin(), lines.end(), [&](const TopLine& a, const TopLine& b) {
        const double left = key_of(a, order);
        const double right = key_of(b, order);
        return left != right ? left > right : a.name < b.name;
    });
    return lines;
}

json top_json(const TopLine& line, std::string_view time) {
    json out{{"time", time},          {"workload", line.name},
             {"rate", line.rate},     {"requests", line.requests},
             {"errors", line.errors}, {"drops", line.drops},
             {"bytes", line.bytes}};
    if (line.latency_ns != 0) out["latency_p95_ns"] = line.latency_ns;
    if (line.cpu) out["cpu"] = *line.cpu;
    if (line.cpu_us_a_request) out["cpu_us_per_request"] = *line.cpu_us_a_request;
    return out;
}

std::vector<std::string> top_header() {
    return {"WORKLOAD", "RATE/S", "OF", "ERRORS/S", "DROPS/S", "BYTES/S", "P95", "CPU", "CPU/REQ"};
}

std::vector<std::string> top_cells(const TopLine& line) {
    return {line.name,
            rate_text(line.rate),
            line.requests ? "requests" : "connections",
            rate_text(line.errors),
            rate_text(line.drops),
            size_text(line.bytes),
            line.latency_ns == 0 ? "-"
                                 : "<" + time_text(static_cast<double>(line.latency_ns) / 1000),
            line.cpu ? fmt::format("{:.0f}%", *line.cpu * 100) : "-",
            line.cpu_us_a_request ? time_text(*line.cpu_us_a_request) : "-"};
}

} // namespace beeline::cli
