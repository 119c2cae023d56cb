// The other nodes: what the objects say of them becomes paths in the kernel. Control loop only.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "agent/config.h"
#include "datapath/firewall.h"
#include "datapath/kernel.h"
#include "datapath/node_paths.h"
#include "datapath/plumbing.h"
#include "model/objects.h"

namespace beeline::agent {

class Cluster {
public:
    static Result<std::unique_ptr<Cluster>> create(const Config& config);

    // The rules as long as no other node is known.
    [[nodiscard]] Result<> install_firewall() const;
    // Looks where the other nodes are. True when the tables must be compiled again, and install() called after that.
    bool plan(const model::Objects& objects);
    [[nodiscard]] std::span<const datapath::RemoteNode> nodes() const {
        return paths_.current().nodes;
    }
    // Once the tables are in the kernel: programs, routes, the firewall's exceptions, the size of packets. What cannot be done is
    // told in the status and tried again.
    void install(datapath::Kernel& kernel, datapath::Plumbing& plumbing);
    // Whether install() must be called (again).
    [[nodiscard]] bool pending() const { return pending_; }
    // Routes that somebody else took away come back with the next install().
    void check() { pending_ = pending_ || !paths_.current().routes.empty(); }

    [[nodiscard]] nlohmann::json status(const model::Objects& objects) const;

private:
    Cluster(const Config& config, datapath::NodePaths paths);
    Result<> install_all(datapath::Kernel& kernel, datapath::Plumbing& plumbing);

    datapath::NodePaths paths_;
    datapath::FirewallOptions firewall_;
    bool fixed_mtu_;
    bool pending_ = true;
    std::vector<std::string> warnings_;
    std::string error_;
};

} // namespace beeline::agent
