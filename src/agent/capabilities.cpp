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

json limit(const model::Rate& rate, const Result<bl_limit>& usage, int direction) {
    json out{{"bits_per_second", rate.bits_per_second}, {"burst_bits", rate.burst_bits}};
    if (!usage) return out;
    const auto& way = usage->way[direction];
    out["passed_packets"] = way.passed;
    out["delayed_packets"] = way.delayed;
    out["dropped_packets"] = way.dropped;
    return out;
}

} // namespace

void add_capabilities(json& document, Node& node, const model::Workload& workload) {
    if (!workload.host_ports.empty()) {
        json ports = json::array();
        for (const auto& port : workload.host_ports)
            ports.push_back(host_port(port));
        document["host_ports"] = std::move(ports);
    }
    if (!workload.bandwidth.limited()) return;
    const auto usage = node.shaper().usage(workload);
    json& limits = document["bandwidth"] = json::object();
    if (workload.bandwidth.ingress.bits_per_second != 0)
        limits["ingress"] = limit(workload.bandwidth.ingress, usage, BL_DIR_INGRESS);
    if (workload.bandwidth.egress.bits_per_second != 0)
        limits["egress"] = limit(workload.bandwidth.egress, usage, BL_DIR_EGRESS);
}

json capabilities_status(const std::vector<model::Workload>& workloads,
                         const datapath::Shaper& shaper, bool reached_from_outside) {
    std::size_t ports = 0;
    std::size_t limited = 0;
    std::uint64_t delayed = 0;
    std::uint64_t dropped = 0;
    for (const auto& workload : workloads) {
        ports += workload.host_ports.size();
        if (!workload.bandwidth.limited()) continue;
        ++limited;
        const auto usage = shaper.usage(workload);
        if (!usage) continue;
        for (const auto& way : usage->way) {
            delayed += way.delayed;
            dropped += way.dropped;
        }
    }
    return {{"host_ports", {{"count", ports}, {"from_outside", reached_from_outside}}},
            {"limits",
             {{"workloads", limited},
              {"fq_devices", shaper.fq_devices()},
              {"delayed_packets", delayed},
              {"dropped_packets", dropped}}}};
}

} // namespace beeline::agent
