// The ways to the other nodes in the kernel: the VXLAN device and the host's routes. In the network namespace of the caller.
#pragma once

#include "base/result.h"
#include "datapath/node_plan.h"

namespace beeline::datapath {

class NodePaths {
public:
    static Result<NodePaths> create(NodePathOptions options);

    // Plans anew; makes the device that the plan needs. Whether the plan changed. After a failure the earlier plan stays.
    Result<bool> plan(const model::Objects& objects);
    // Makes the host's routes equal to the plan: those of the agent that it does not have go.
    Result<> install();
    // Devices and routes of any earlier run.
    Result<> remove();

    [[nodiscard]] const NodePlan& current() const { return plan_; }
    [[nodiscard]] const NodePathOptions& options() const { return options_; }
    [[nodiscard]] std::uint32_t tunnel() const { return tunnel_; } // ifindex; 0: none

private:
    NodePaths(NodePathOptions options, net::Netlink netlink)
        : options_(std::move(options)), netlink_(std::move(netlink)) {}
    Result<> make_tunnel();
    std::optional<Way> find_way(const net::Ip& ip);

    NodePathOptions options_;
    net::Netlink netlink_;
    NodePlan plan_;
    std::vector<net::Route> installed_;
    std::uint32_t tunnel_ = 0;
};

} // namespace beeline::datapath
