// One call of the plugin: its environment and its standard input, read and checked. Pure.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>
#include <tl/expected.hpp>

#include "net/cni_protocol.h"

namespace beeline::cni {

// Larger network configurations are refused.
inline constexpr std::size_t kMaxInput = 1U << 20;

enum class Verb { add, del, check, gc, status, version };
// Lower case, as in the local API.
std::string_view verb_name(Verb verb);

struct Environment {
    std::string command;         // CNI_COMMAND
    std::string container;       // CNI_CONTAINERID
    std::string netns;           // CNI_NETNS
    std::string interface;       // CNI_IFNAME
    std::string args;            // CNI_ARGS
    std::string path;            // CNI_PATH
    bool netns_override = false; // CNI_NETNS_OVERRIDE
};
Environment read_environment(const std::function<const char*(const char*)>& get);

struct Invocation {
    Verb verb = Verb::version;
    Environment environment;
    nlohmann::json config = nlohmann::json::object();
    std::string
        version; // cniVersion of the configuration, "1.1.0" when VERSION is asked without one
    std::string instance; // plugin key "instance", empty when absent
};

// The rules of the CNI specification, with its error codes: 1, 4, 6 and 7. The namespace itself is not looked at.
tl::expected<Invocation, net::CniError> parse_invocation(const Environment& environment,
                                                         std::string_view input);

// {"cniVersion","code","msg","details"}, in the version of the configuration when it is spoken.
std::string error_json(const net::CniError& error, std::string_view version);

} // namespace beeline::cni
