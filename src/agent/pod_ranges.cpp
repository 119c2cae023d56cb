#include "agent/pod_ranges.h"

#include <optional>
#include <tuple>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/log.h"

namespace beeline::agent {
namespace {

using Ranges = std::pair<std::optional<net::Prefix>, std::optional<net::Prefix>>; // IPv4, IPv6

Ranges of(const std::vector<net::Prefix>& prefixes) {
    Ranges ranges;
    for (const auto& prefix : prefixes)
        (prefix.is_v4() ? ranges.first : ranges.second) = prefix;
    return ranges;
}

// As the configuration takes them: addresses for the node itself and one workload.
bool usable(const Ranges& ranges) {
    const auto fits = [](const std::optional<net::Prefix>& range, unsigned least, unsigned most) {
        return !range || (range->length >= least && range->length <= most);
    };
    return fits(ranges.first, 8, 30) && fits(ranges.second, 64, 126);
}

} // namespace

void recall_pod_ranges(const std::string& file, Config& config) {
    if (config.own_ranges) return;
    const auto text = read_file(file);
    if (!text) return;
    const auto json = nlohmann::json::parse(*text, nullptr, false);
    if (!json.is_array()) return;
    std::vector<net::Prefix> prefixes;
    for (const auto& item : json) {
        const auto prefix = item.is_string()
                                ? net::Prefix::parse(item.get_ref<const std::string&>(), false)
                                : Result<net::Prefix>(fail(Code::invalid, "no text"));
        if (!prefix) {
            log_error("remembered pod ranges are damaged", kv("file", file));
            return;
        }
        prefixes.push_back(*prefix);
    }
    if (prefixes.empty() || !usable(of(prefixes))) return;
    std::tie(config.range4, config.range6) = of(prefixes);
}

Result<PodRanges> check_pod_ranges(const std::string& file, const Config& config,
                                   const model::Objects& objects) {
    if (config.own_ranges) return PodRanges::settled;
    const auto own = objects.nodes.find(config.node);
    if (own == objects.nodes.end() || own->second.pod_ranges.empty()) {
        return config.paths.mode == datapath::NodeMode::none ? PodRanges::settled
                                                             : PodRanges::unknown;
    }
    const Ranges ranges = of(own->second.pod_ranges);
    if (ranges == Ranges(config.range4, config.range6)) return PodRanges::settled;
    if (!usable(ranges))
        return fail(
            Code::invalid,
            "Node {}: pod ranges need a prefix length from 8 to 30 (IPv4) and from 64 to 126 "
            "(IPv6)",
            config.node);
    auto json = nlohmann::json::array();
    for (const auto& range : own->second.pod_ranges)
        json.push_back(range.to_string());
    TRY(replace_file(file, json.dump() + "\n"));
    return PodRanges::outdated;
}

} // namespace beeline::agent
