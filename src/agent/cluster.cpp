#include "agent/cluster.h"

#include <algorithm>

#include "base/log.h"
#include "datapath/tables.h"

namespace beeline::agent {
namespace {

using datapath::NodeMode;
using nlohmann::json;

datapath::NodePathOptions options_of(const Config& config) {
    auto options = config.paths;
    options.node = config.node;
    for (const auto& range : {config.range4, config.range6}) {
        if (range) options.ranges.push_back(*range);
    }
    return options;
}

datapath::FirewallOptions firewall_of(const Config& config) {
    datapath::FirewallOptions options;
    options.range4 = config.range4;
    options.range6 = config.range6;
    options.masquerade = config.masquerade;
    if (config.paths.mode == NodeMode::vxlan) options.tunnel_port = config.paths.port;
    return options;
}

const char* mode_name(NodeMode mode) {
    switch (mode) {
    case NodeMode::none: return "none";
    case NodeMode::vxlan: return "vxlan";
    case NodeMode::direct: return "direct";
    }
    return "none";
}

template <typename T>
json texts(const std::vector<T>& values) {
    json out = json::array();
    for (const auto& value : values)
        out.push_back(value.to_string());
    return out;
}

} // namespace

Cluster::Cluster(const Config& config, datapath::NodePaths paths)
    : paths_(std::move(paths)), firewall_(firewall_of(config)), fixed_mtu_(config.mtu != 0) {}

Result<std::unique_ptr<Cluster>> Cluster::create(const Config& config) {
    return std::unique_ptr<Cluster>(
        new Cluster(config, TRY(datapath::NodePaths::create(options_of(config)))));
}

Result<> Cluster::install_firewall() const { return datapath::install_firewall(firewall_); }

bool Cluster::plan(const model::Objects& objects) {
    const auto changed = paths_.plan(objects);
    if (!changed) {
        if (error_ != changed.error().message)
            log_error("the way to other nodes cannot be prepared",
                      kv("error", changed.error().message));
        error_ = changed.error().message;
        return false;
    }
    error_.clear();
    pending_ = pending_ || *changed;
    if (warnings_ != paths_.current().warnings) {
        warnings_ = paths_.current().warnings;
        for (const auto& warning : warnings_)
            log_warn(warning);
    }
    return *changed;
}

Result<> Cluster::install_all(datapath::Kernel& kernel, datapath::Plumbing& plumbing) {
    const auto& plan = paths_.current();
    std::vector<datapath::Uplink> uplinks;
    if (paths_.tunnel() != 0) uplinks.push_back({paths_.tunnel(), true});
    for (const std::uint32_t ifindex : plan.uplinks)
        uplinks.push_back({ifindex, false});
    TRY(kernel.attach_uplinks(uplinks));
    std::vector<net::Prefix> ranges;
    for (const auto& node : plan.nodes)
        ranges.insert(ranges.end(), node.ranges.begin(), node.ranges.end());
    if (paths_.options().mode != NodeMode::none && ranges != firewall_.cluster) {
        auto firewall = firewall_;
        firewall.cluster = std::move(ranges);
        TRY(datapath::install_firewall(firewall));
        firewall_ = std::move(firewall);
    }
    if (!fixed_mtu_ && plan.mtu != 0) plumbing.set_mtu(plan.mtu);
    return paths_.install();
}

void Cluster::install(datapath::Kernel& kernel, datapath::Plumbing& plumbing) {
    const auto done = install_all(kernel, plumbing);
    pending_ = !done;
    const std::string error = done ? "" : done.error().message;
    if (!error.empty() && error != error_)
        log_error("the way to other nodes is not complete", kv("error", error));
    error_ = error;
}

json Cluster::status(const model::Objects& objects) const {
    const auto& plan = paths_.current();
    json others = json::array();
    for (const auto& node : plan.nodes) {
        const auto object = objects.nodes.find(node.name);
        const bool known = !datapath::BytesEqual{}(node.path.addr, bl_addr{});
        others.push_back(
            {{"name", node.name},
             {"addresses",
              object == objects.nodes.end() ? json::array() : texts(object->second.addresses)},
             {"ranges", texts(node.ranges)},
             {"ready", object != objects.nodes.end() && object->second.ready},
             {"path", known ? datapath::from_abi(node.path.addr).to_string() : ""},
             {"mtu", node.path.mtu}});
    }
    json out{{"mode", mode_name(paths_.options().mode)},
             {"others", others},
             {"mtu", plan.mtu},
             {"warnings", plan.warnings},
             {"error", error_}};
    if (paths_.options().mode == NodeMode::vxlan) {
        out["port"] = paths_.options().port;
        out["vni"] = paths_.options().vni;
    }
    return out;
}

} // namespace beeline::agent
