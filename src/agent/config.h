// The agent's configuration file (deploy/conf/beeline.yaml describes every field).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config_source.h"
#include "agent/l7_config.h"
#include "api/export/options.h"
#include "api/hubble/options.h"
#include "api/server/web.h"
#include "base/log.h"
#include "base/result.h"
#include "datapath/kernel.h"
#include "datapath/node_plan.h"
#include "net/address.h"
#include "observe/history/options.h"
#include "observe/metrics/options.h"
#include "security/engine/engine.h"
#include "security/outputs/channel.h"

namespace beeline::agent {

struct SecurityConfig {
    bool enabled = true;
    std::optional<bool>
        whole_machine; // false: only the instance's own cgroup; default: of a named instance
    std::vector<std::string> rules;    // default: of the instance
    std::vector<std::string> storages; // of podman and CRI-O, beside the usual ones
    std::optional<std::vector<std::string>> cri_sockets; // default: the usual places
    std::uint32_t ring_bytes = 8U << 20;
    std::size_t alerts_in_memory = 10'000;
    security::EngineOptions engine;
    bool json = false;
    bool iso_8601 = false;
    std::size_t queue = 10'000;
    double alerts_per_second = 0;
    double alert_burst = 1000;
    bool to_stdout = true;
    bool to_syslog = false;
    std::optional<security::FileOutput> file;
    std::optional<security::ProgramOutput> program;
    std::optional<security::HttpOutput> http;
};

struct Config {
    std::string node;      // default: $BEELINE_NODE, else the host name
    std::string manifests; // default: of the instance
    SourceSection source;
    bool ranges_from_node =
        false; // of the own Node of the source; the two below are empty until they are known
    std::optional<net::Prefix> range4;
    std::optional<net::Prefix> range6;
    bool own_ranges = false; // they are in the file: what the Node object says does not count
    unsigned mtu = 0;        // 0: that of the way out, less what the tunnel takes
    bool masquerade = true;
    datapath::NodePathOptions paths; // to other nodes; its name and ranges are the configuration's
    unsigned address_rest_s = 30;    // how long a released address is not given out again
    bool socket_hooks = true;
    datapath::Attachment attachment = datapath::Attachment::automatic;
    std::uint32_t ct_entries = 524288;
    unsigned ct_sweep_s = 2;
    std::map<std::string, std::uint32_t> ct_timeouts_s;
    std::uint32_t ring_bytes = 8 << 20;
    std::size_t flows_in_memory = 1'000'000;
    observe::history::Options history; // an empty path: of the instance
    SecurityConfig security;
    observe::metrics::Options metrics;
    exporting::Options exports;
    hubble::Section hubble;
    L7Config l7;
    api::WebConfig web;
    LogLevel log_level = LogLevel::info;
};

// An empty text gives the defaults. `file` is only named in errors.
Result<Config> parse_config(std::string_view text, std::string_view file);
Result<Config> read_config(const std::string& path);

} // namespace beeline::agent
