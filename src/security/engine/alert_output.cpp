// Alerts as lines: text and JSON.
#include <ctime>

#include <nlohmann/json.hpp>

#include "security/engine/engine.h"
#include "security/engine/match.h"

namespace beeline::security {
namespace {

std::string time_text(std::int64_t time_ns, const char* format, bool utc) {
    std::int64_t seconds = time_ns / 1'000'000'000, nanoseconds = time_ns % 1'000'000'000;
    if (nanoseconds < 0) {
        nanoseconds += 1'000'000'000;
        --seconds;
    }
    const auto time = static_cast<std::time_t>(seconds);
    tm parts{};
    if (utc) {
        gmtime_r(&time, &parts);
    } else {
        localtime_r(&time, &parts);
    }
    char text[64];
    const std::size_t size = std::strftime(text, sizeof text, format, &parts);
    return fmt::format("{}.{:09}", std::string_view(text, size), nanoseconds);
}

std::string line(const model::Alert& alert, bool iso_8601) {
    const std::string when = iso_8601
                                 ? time_text(alert.time_ns, "%Y-%m-%dT%H:%M:%S", true) + "+0000"
                                 : time_text(alert.time_ns, "%H:%M:%S", false);
    return fmt::format("{}: {} {}", when, model::priority_name(alert.priority), alert.message);
}

// A line stays one line, and a terminal is safe from it.
std::string printable(std::string_view text) {
    engine::Arena arena;
    const std::string_view valid = engine::valid_utf8(text, arena);
    std::string out;
    out.reserve(valid.size());
    for (const char c : valid) {
        switch (c) {
        case '\b': out += "\\b"; continue;
        case '\f': out += "\\f"; continue;
        case '\n': out += "\\n"; continue;
        case '\r': out += "\\r"; continue;
        case '\t': out += "\\t"; continue;
        default: break;
        }
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f) {
            out += fmt::format("\\u{:04x}", byte);
        } else {
            out += c;
        }
    }
    return out;
}

nlohmann::json to_json(const model::Alert::Value& value) {
    return std::visit(
        [](const auto& one) -> nlohmann::json {
            if constexpr (std::is_same_v<std::decay_t<decltype(one)>, std::monostate>) {
                return nullptr;
            } else {
                return one;
            }
        },
        value);
}

} // namespace

std::string alert_text(const model::Alert& alert, bool iso_8601) {
    return printable(line(alert, iso_8601));
}

std::string alert_json(const model::Alert& alert, bool iso_8601, bool own_fields) {
    nlohmann::json out = nlohmann::json::object();
    if (own_fields) {
        nlohmann::json own = nlohmann::json::object();
        own["event"] = alert.event;
        if (!alert.workload.empty()) own["workload"] = alert.workload;
        if (!alert.container.empty()) own["container"] = alert.container;
        own["pid"] = alert.pid;
        own["start_ns"] = alert.start_ns;
        if (alert.number != 0) own["number"] = alert.number;
        own["ancestors"] = nlohmann::json::array();
        for (const model::Alert::Ancestor& one : alert.ancestors)
            own["ancestors"].push_back({{"pid", one.pid},
                                        {"name", one.name},
                                        {"exepath", one.exepath},
                                        {"cmdline", one.cmdline}});
        own["flows"] = nlohmann::json::array();
        for (const std::string& flow : alert.flows) {
            auto parsed = nlohmann::json::parse(flow, nullptr, false);
            if (!parsed.is_discarded()) own["flows"].push_back(std::move(parsed));
        }
        out["beeline"] = std::move(own);
    }
    out["hostname"] = alert.hostname;
    out["output"] = line(alert, iso_8601);
    nlohmann::json fields = nlohmann::json::object();
    for (const auto& [name, value] : alert.fields)
        fields[name] = to_json(value);
    out["output_fields"] = std::move(fields);
    out["priority"] = model::priority_name(alert.priority);
    out["rule"] = alert.rule;
    out["source"] = alert.source;
    out["tags"] = alert.tags;
    out["time"] = time_text(alert.time_ns, "%Y-%m-%dT%H:%M:%S", true) + "Z";
    return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

} // namespace beeline::security
