// The network configuration of a CNI call, read into values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "model/host_port.h"
#include "model/objects.h"
#include "net/address.h"

namespace beeline::datapath {

struct CniConfig {
    std::string version;
    std::string network;
    std::vector<net::Ip> ips; // asked for
    std::optional<net::Mac> mac;
    std::uint32_t mtu = 0; // 0: the node's
    std::vector<model::HostPort> host_ports;
    model::Bandwidth bandwidth;
    nlohmann::json dns = nlohmann::json::object();
    model::Labels labels; // args.cni.labels
    std::vector<model::NamedPort> ports;
    std::string cgroup; // as given
    std::uint32_t pid = 0;
    std::string source = "cni";
    nlohmann::json previous; // prevResult, null when there is none
    // GC only; absent when the runtime sent no list.
    std::optional<std::vector<std::pair<std::string, std::string>>>
        valid_attachments; // container, interface
};

// Fields of other plugins and of the runtime are passed over. `invalid` names a field that is wrong, `unsupported` one that
// asks for what Beeline does not do; both say its value or what is expected. `args` is CNI_ARGS' IP and MAC, the oldest way
// to ask for an address: it yields to the configuration.
Result<CniConfig> parse_cni_config(const nlohmann::json& config, const std::string& args_ip,
                                   const std::string& args_mac);

} // namespace beeline::datapath
