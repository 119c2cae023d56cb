#include "observe/metrics/enable.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include <fmt/ranges.h>

namespace beeline::observe::metrics {
namespace {

struct Known {
    std::string_view name;
    std::vector<std::string_view> flags; // in lower case
};

const std::vector<Known>& known() {
    static const std::vector<Known> list{
        {"dns", {"query", "ignoreaaaa"}},
        {"drop", {}},
        {"flow", {}},
        {"flows-per-pod", {}},
        {"flows-to-world", {"any-drop", "port", "syn-only"}},
        {"http", {"exemplars"}},
        {"httpV2", {"exemplars"}},
        {"icmp", {}},
        {"kafka", {}},
        {"l7", {}},
        {"policy", {}},
        {"port-distribution", {}},
        {"sctp", {}},
        {"tcp", {}},
    };
    return list;
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> out;
    while (true) {
        const std::size_t at = text.find(separator);
        out.push_back(text.substr(0, at));
        if (at == std::string_view::npos) return out;
        text.remove_prefix(at + 1);
    }
}

// What people typed, within a message.
std::string shown(std::string_view text) {
    std::string out;
    for (const char c : text.substr(0, 60))
        out += c >= 0x20 && c < 0x7f ? c : '?';
    return out;
}

Result<> read_option(Enabled& entry, const Known& plugin, std::string_view option) {
    const std::size_t equals = option.find('=');
    const std::string key = lower(option.substr(0, equals));
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view{} : option.substr(equals + 1);
    const bool context = TRY(entry.contexts.set(key, value));
    if (context) return {};
    if (std::find(plugin.flags.begin(), plugin.flags.end(), key) == plugin.flags.end()) {
        return fail(Code::invalid,
                    "metric {}: unknown option \"{}\"; known are: {}{}sourceContext, "
                    "destinationContext, source/destinationEgress/IngressContext, labelsContext",
                    entry.name, shown(option), fmt::join(plugin.flags, ", "),
                    plugin.flags.empty() ? "" : ", ");
    }
    if (!value.empty() && value != "true" && value != "false")
        return fail(Code::invalid, "metric {}: expected true or false after {}=, found \"{}\"",
                    entry.name, key, shown(value));
    if (value == "false") return {};
    // Scrapes are in the text format, which has no exemplars: accepted, without effect.
    entry.flags[key] = value;
    return {};
}

Result<Enabled> parse_one(std::string_view text) {
    const std::size_t colon = text.find(':');
    const std::string_view name = text.substr(0, colon);
    const auto plugin = std::find_if(known().begin(), known().end(),
                                     [&](const Known& one) { return one.name == name; });
    if (plugin == known().end()) {
        std::vector<std::string_view> names;
        for (const Known& one : known())
            names.push_back(one.name);
        return fail(Code::invalid, "unknown metric \"{}\"; known are: {}", shown(name),
                    fmt::join(names, ", "));
    }
    Enabled entry;
    entry.name = name;
    entry.text = text;
    if (colon == std::string_view::npos) return entry;
    for (const std::string_view option : split(text.substr(colon + 1), ';')) {
        if (!option.empty()) TRY(read_option(entry, *plugin, option));
    }
    return entry;
}

Result<> check_list(const std::vector<Enabled>& list) {
    for (std::size_t i = 0; i < list.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            if (list[i].name == list[j].name)
                return fail(Code::invalid, "metric {} is there twice", list[i].name);
            if (lower(list[i].name).starts_with("http") && lower(list[j].name).starts_with("http"))
                return fail(Code::invalid, "http and httpV2 are two forms of the same metrics: "
                                           "keep one of them");
        }
    }
    return {};
}

} // namespace

Result<std::vector<Enabled>> parse_enabled(std::string_view text) {
    std::vector<Enabled> out;
    for (const std::string_view one : split(text, ' ')) {
        if (!one.empty()) out.push_back(TRY(parse_one(one)));
    }
    TRY(check_list(out));
    return out;
}

Result<std::vector<Enabled>> parse_enabled(const std::vector<std::string>& texts) {
    return parse_enabled(std::string_view(fmt::format("{}", fmt::join(texts, " "))));
}

std::vector<std::string> recommended_texts() {
    const std::string pods = "sourceContext=pod;destinationContext=pod;"
                             "labelsContext=source_namespace,destination_namespace";
    const std::string workloads =
        "labelsContext=source_ip,source_namespace,source_workload,destination_ip,"
        "destination_namespace,destination_workload,traffic_direction";
    return {
        "dns:query;" + pods,
        "drop:" + pods,
        "tcp:" + pods,
        "flow:" + pods,
        "icmp:" + pods,
        "port-distribution:" + pods,
        "policy:sourceContext=workload-name|reserved-identity;"
        "destinationContext=workload-name|reserved-identity;"
        "labelsContext=source_namespace,destination_namespace",
        "httpV2:" + workloads,
        "l7:sourceContext=workload-name|reserved-identity;"
        "destinationContext=workload-name|reserved-identity;"
        "labelsContext=source_namespace,destination_namespace",
    };
}

std::vector<Enabled> recommended() {
    auto parsed = parse_enabled(recommended_texts());
    return parsed ? std::move(*parsed) : std::vector<Enabled>{};
}

} // namespace beeline::observe::metrics
