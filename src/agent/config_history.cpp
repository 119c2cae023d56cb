// The section `history` of the configuration.
#include "agent/config_history.h"

namespace beeline::agent {

Result<> read_history(const source::yaml::Map& root, observe::history::Options& options) {
    const auto map = TRY(root.map("history", {"enabled", "path", "hours", "edgeDays", "maxBytes"}));
    if (!map) return {};
    options.enabled = TRY(map->boolean_or("enabled", options.enabled));
    options.path = TRY(map->string_or("path", options.path));
    if (!options.path.empty() && !options.path.starts_with('/'))
        return map->fail_of("path", "expected an absolute path");
    options.flow_hours =
        static_cast<unsigned>(TRY(map->integer_or("hours", 1, 24 * 366, options.flow_hours)));
    options.edge_days =
        static_cast<unsigned>(TRY(map->integer_or("edgeDays", 1, 3660, options.edge_days)));
    options.max_bytes = static_cast<std::uint64_t>(TRY(map->integer_or(
        "maxBytes", 1 << 20, std::int64_t{1} << 46, static_cast<std::int64_t>(options.max_bytes))));
    return {};
}

} // namespace beeline::agent
