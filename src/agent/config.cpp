#include "agent/config.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "agent/config_export.h"
#include "agent/config_history.h"
#include "agent/config_hubble.h"
#include "agent/config_metrics.h"
#include "agent/config_network.h"
#include "agent/config_security.h"
#include "agent/config_source.h"
#include "agent/config_web.h"
#include "source/yaml.h"

namespace beeline::agent {
namespace {

namespace yaml = source::yaml;

// `none` turns a family off, an absent field keeps `otherwise`.
Result<std::optional<net::Prefix>> range(const yaml::Map& map, std::string_view field, bool v4,
                                         const std::optional<net::Prefix>& otherwise) {
    const auto node = map.find(field);
    if (!node) return otherwise;
    const std::string text = TRY(node->string());
    if (text == "none") return std::nullopt;
    const auto prefix = net::Prefix::parse(text, false);
    if (!prefix) return node->failure(prefix.error().message);
    if (prefix->is_v4() != v4) return node->fail("expected an IPv{} range", v4 ? 4 : 6);
    // A gateway and one workload are the least; IPv6 interface identifiers are counted in 64 bits.
    const unsigned least = v4 ? 8 : 64;
    const unsigned most = v4 ? 30 : 126;
    if (prefix->length < least || prefix->length > most) {
        return node->fail("expected a prefix length from {} to {}", least, most);
    }
    return *prefix;
}

Result<> read_network(const yaml::Map& root, Config& config) {
    const auto map = TRY(root.map(
        "network", {"ipv4", "ipv6", "mtu", "masquerade", "addressRestSeconds", "mode", "vxlan"}));
    if (!map) return {};
    if (map->find("ipv4") || map->find("ipv6")) config.ranges_from_node = false;
    TRY(read_node_paths(*map, config.paths));
    config.own_ranges = map->find("ipv4") || map->find("ipv6");
    config.range4 = TRY(range(*map, "ipv4", true, config.range4));
    config.range6 = TRY(range(*map, "ipv6", false, config.range6));
    if (!config.range4 && !config.range6) {
        return map->node().fail("at least one of ipv4 and ipv6 must be a range");
    }
    const auto mtu = map->find("mtu");
    if (mtu && mtu->string() != "auto")
        config.mtu = static_cast<unsigned>(TRY(mtu->integer(1280, 65535)));
    config.masquerade = TRY(map->boolean_or("masquerade", config.masquerade));
    config.address_rest_s = static_cast<unsigned>(
        TRY(map->integer_or("addressRestSeconds", 0, 86400, config.address_rest_s)));
    return {};
}

Result<> read_conntrack(const yaml::Map& root, Config& config) {
    const auto map = TRY(root.map("conntrack", {"maxEntries", "sweepSeconds", "timeoutSeconds"}));
    if (!map) return {};
    config.ct_entries = static_cast<std::uint32_t>(
        TRY(map->integer_or("maxEntries", 64, 1 << 24, config.ct_entries)));
    config.ct_sweep_s =
        static_cast<unsigned>(TRY(map->integer_or("sweepSeconds", 1, 3600, config.ct_sweep_s)));
    // In the file's camel case, by the state's name in the kernel.
    constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kStates{{
        {"synSent", "syn_sent"},
        {"established", "established"},
        {"closing", "closing"},
        {"unreplied", "unreplied"},
        {"replied", "replied"},
        {"icmp", "icmp"},
    }};
    std::vector<std::string_view> fields;
    fields.reserve(kStates.size());
    for (const auto& [field, state] : kStates)
        fields.push_back(field);
    const auto timeouts = TRY(map->map("timeoutSeconds", fields));
    if (!timeouts) return {};
    for (const auto& [field, state] : kStates) {
        const auto node = timeouts->find(field);
        if (node) {
            config.ct_timeouts_s[std::string(state)] =
                static_cast<std::uint32_t>(TRY(node->integer(1, 864000)));
        }
    }
    return {};
}

Result<> read_flows(const yaml::Map& root, Config& config) {
    const auto map = TRY(root.map("flows", {"memory", "ringBytes"}));
    if (!map) return {};
    config.flows_in_memory = static_cast<std::size_t>(TRY(map->integer_or(
        "memory", 1024, 100'000'000, static_cast<std::int64_t>(config.flows_in_memory))));
    config.ring_bytes = static_cast<std::uint32_t>(
        TRY(map->integer_or("ringBytes", 4096, 1 << 30, config.ring_bytes)));
    if (!std::has_single_bit(config.ring_bytes)) {
        return map->node().failure_of("ringBytes", "expected a power of two");
    }
    return {};
}

Result<> read_rest(const yaml::Map& root, Config& config) {
    config.node = TRY(root.string_or("node", config.node));
    if (const auto map = TRY(root.map("services", {"socketHooks"}))) {
        config.socket_hooks = TRY(map->boolean_or("socketHooks", config.socket_hooks));
    }
    if (const auto map = TRY(root.map("datapath", {"attach"}))) {
        const std::string attach = TRY(map->choice_or("attach", {"auto", "tcx", "clsact"}, "auto"));
        config.attachment = attach == "tcx"      ? datapath::Attachment::tcx
                            : attach == "clsact" ? datapath::Attachment::clsact
                                                 : datapath::Attachment::automatic;
    }
    if (const auto map = TRY(root.map("log", {"level"}))) {
        const std::string level =
            TRY(map->choice_or("level", {"debug", "info", "warn", "error"}, "info"));
        config.log_level = level == "debug"   ? LogLevel::debug
                           : level == "warn"  ? LogLevel::warn
                           : level == "error" ? LogLevel::error
                                              : LogLevel::info;
    }
    return {};
}

// In a cluster the Node's name need not be the host's.
std::string node_name() {
    if (const char* name = std::getenv("BEELINE_NODE"); name && *name) return name;
    std::array<char, 256> name{};
    return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

} // namespace

Result<Config> parse_config(std::string_view text, std::string_view file) {
    Config config;
    config.node = node_name();
    config.range4 = net::Prefix::parse("10.96.128.0/17").value();
    config.range6 = net::Prefix::parse("fd00:beef:1::/64").value();
    const auto documents = TRY(yaml::read(text, file));
    if (documents.empty()) return config;
    if (documents.size() > 1) return fail(Code::invalid, "{}: expected one YAML document", file);
    const auto root = TRY(documents[0].root().map(
        {"node", "source", "network", "services", "datapath", "conntrack", "flows", "history",
         "security", "metrics", "hubble", "l7", "export", "web", "log"}));
    TRY(read_rest(root, config));
    TRY(read_source(root, config.source, config.manifests));
    config.ranges_from_node = config.source.kind == SourceKind::kubernetes;
    TRY(read_network(root, config));
    if (config.ranges_from_node) config.range4 = config.range6 = std::nullopt;
    TRY(read_conntrack(root, config));
    TRY(read_flows(root, config));
    TRY(read_history(root, config.history));
    TRY(read_security(root, config.security));
    TRY(read_metrics(root, config.metrics));
    TRY(read_hubble(root, config.hubble));
    TRY(read_l7(root, config.l7));
    TRY(read_web(root, config.web));
    TRY(read_export(root, config.exports));
    return config;
}

Result<Config> read_config(const std::string& path) {
    std::ifstream file(path);
    if (!file) return fail_errno(errno, "cannot read the configuration " + path);
    std::ostringstream text;
    text << file.rdbuf();
    return parse_config(text.str(), path);
}

} // namespace beeline::agent
