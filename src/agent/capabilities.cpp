#include "agent/capabilities.h"

#include "agent/node.h"

namespace beeline::agent {
namespace {

using nlohmann::json;

json host_port(const model::HostPort& port) {
    json families = json::array();
    if (port.v4) families.push_back("ipv4");
    if (port.v6) families.push_back("ipv6");
    return {{"address", port.address.is_zero() ? "" : port.address.to_string()},
            {"families", std::move(families)},
            {"protocol", model::to_string(port.protocol)},
            {"port", port.port},
            {"target", port.target}};
}

json limit(const model::Rate& rate) {
    return {{"bits_per_second", rate.bits_per_second}, {"burst_bits", rate.burst_bits}};
}

} // namespace

void add_capabilities(json& document, Node& /*node*/, const model::Workload& workload) {
    if (!workload.host_ports.empty()) {
        json ports = json::array();
        for (const auto& port : workload.host_ports)
            ports.push_back(host_port(port));
        document["host_ports"] = std::move(ports);
    }
    if (!workload.bandwidth.limited()) return;
    json& limits = document["bandwidth"] = json::object();
    if (workload.bandwidth.ingress.bits_per_second != 0)
        limits["ingress"] = limit(workload.bandwidth.ingress);
    if (workload.bandwidth.egress.bits_per_second != 0)
        limits["egress"] = limit(workload.bandwidth.egress);
}

} // namespace beeline::agent
