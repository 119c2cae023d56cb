// libs: cni_lib datapath
// The first line is the environment, separated by '|': command, container, interface, CNI_ARGS. The rest is standard
// input. What the plugin accepts goes on to the agent's reading of the configuration.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cni/invocation.h"
#include "datapath/cni_config.h"
#include "datapath/workloads.h"

namespace {

std::string take(std::string_view& text, char separator) {
    const auto at = text.find(separator);
    const std::string part(text.substr(0, at));
    text = at == std::string_view::npos ? std::string_view{} : text.substr(at + 1);
    return part;
}

void require(bool condition) {
    if (!condition) std::abort();
}

// What was accepted is in bounds, and survives the agent's restart.
void check_capabilities(const beeline::datapath::CniConfig& config) {
    require(config.host_ports.size() <= 1024);
    for (std::size_t i = 0; i < config.host_ports.size(); ++i) {
        const auto& port = config.host_ports[i];
        require(port.port != 0 && port.target != 0 && (port.v4 || port.v6));
        require(port.address.is_zero() || port.v4 == port.address.is_v4());
        for (std::size_t j = 0; j < i; ++j)
            require(!overlap(port, config.host_ports[j]));
    }
    for (const auto& rate : {config.bandwidth.ingress, config.bandwidth.egress}) {
        require(rate.bits_per_second == 0 || rate.bits_per_second >= 1000);
        require(rate.bits_per_second != 0 || rate.burst_bits == 0);
    }
    beeline::model::Workload workload;
    workload.id = 1;
    workload.container = "c";
    workload.host_ports = config.host_ports;
    workload.bandwidth = config.bandwidth;
    const auto again =
        beeline::datapath::workload_from_json(beeline::datapath::workload_to_json(workload));
    require(again && again->host_ports == config.host_ports &&
            again->bandwidth == config.bandwidth);
}

void check_error(const std::string& text) {
    const auto object = nlohmann::json::parse(text, nullptr, false);
    require(object.is_object() && object["code"].is_number_integer() && object["msg"].is_string());
    require(text.find('\n') == text.size() - 1);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view input(reinterpret_cast<const char*>(data), size);
    const std::string first = take(input, '\n');
    std::string_view words(first);
    beeline::cni::Environment environment;
    environment.command = take(words, '|');
    environment.container = take(words, '|');
    environment.interface = take(words, '|');
    environment.args = take(words, '|');
    environment.netns = "/run/netns/x";
    environment.path = "/opt/cni/bin";

    const auto parsed = beeline::cni::parse_invocation(environment, input);
    if (!parsed) {
        require(parsed.error().code >= 1 && parsed.error().code <= 7 &&
                !parsed.error().message.empty());
        check_error(beeline::cni::error_json(parsed.error(), "1.1.0"));
        return 0;
    }
    const auto args = beeline::net::parse_cni_args(environment.args);
    const auto config = beeline::datapath::parse_cni_config(parsed->config, args ? args->ip : "",
                                                            args ? args->mac : "");
    if (config) {
        check_capabilities(*config);
    } else {
        using beeline::Code;
        require(config.error().code == Code::invalid || config.error().code == Code::unsupported);
        check_error(beeline::cni::error_json({7, config.error().message, {}}, parsed->version));
    }
    return 0;
}
