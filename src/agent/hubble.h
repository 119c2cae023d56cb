// Hubble's API of this node, and the relay.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/client/paths.h"
#include "api/hubble/flow_source.h"
#include "api/hubble/options.h"
#include "datapath/tables.h"
#include "model/workload.h"
#include "net/address.h"

namespace beeline::hubble {
class LocalBackend;
class Server;
} // namespace beeline::hubble

namespace beeline::agent {

class HubbleApi {
public:
    struct Environment {
        hubble::Section config;
        std::string node;
        std::string socket;             // of the instance
        std::vector<net::Ip> addresses; // of the node
        std::shared_ptr<const hubble::FlowSource> flows;
    };
    static Result<std::unique_ptr<HubbleApi>> start(Environment environment);
    ~HubbleApi();

    // Any thread: what GetAgentEvents tells.
    void workload_attached(const model::Workload& workload);
    void workload_detached(const model::Workload& workload);
    void policy_updated(std::size_t rules, bool deleted);
    // The loop's thread: what changed in the kernel's tables is told of services, addresses and workloads.
    void tables_changed(const datapath::Tables& before, const datapath::Tables& after);
    void tables_refused(const std::vector<model::Workload>& workloads, const std::string& error);

    [[nodiscard]] nlohmann::json status() const;

private:
    HubbleApi();
    std::string socket_;
    std::string listen_;
    std::unique_ptr<hubble::LocalBackend> backend_;
    std::unique_ptr<hubble::Server> server_; // goes first
    std::uint64_t revision_ = 0;
};

// `beelined --relay`: until SIGTERM or SIGINT.
Result<> run_relay(hubble::RelaySection config);

} // namespace beeline::agent
