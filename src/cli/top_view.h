// Rows of `beeline top` from answers of the agent. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace beeline::cli {

enum class TopOrder { rate, errors, drops, bytes, latency, cpu, name };
std::optional<TopOrder> parse_top_order(std::string_view text); // "rate", "errors", ...

struct TopLine {
    std::string name;             // "shop/web"
    double rate = 0;              // requests a second, connections where no requests are seen
    bool requests = false;        // which of the two
    double errors = 0;            // a second
    double drops = 0;             // a second
    double bytes = 0;             // both directions, a second
    std::uint64_t latency_ns = 0; // 95 % of the answers, an upper bound; 0: not known
    std::optional<double> cpu;    // cores in use
    std::optional<double> cpu_us_a_request; // or a connection
};

// `before` is the answer `seconds` earlier, for the CPU time; may be null.
std::vector<TopLine> top_lines(const nlohmann::json& now, const nlohmann::json& before,
                               double seconds, TopOrder order);

nlohmann::json top_json(const TopLine& line, std::string_view time);
std::vector<std::string> top_header();
std::vector<std::string> top_cells(const TopLine& line);

} // namespace beeline::cli
