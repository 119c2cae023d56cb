// A relay: the flows of several nodes as one stream in the order of time.
#pragma once

#include <memory>
#include <string>

#include "api/hubble/backend.h"
#include "api/hubble/peers.h"

namespace beeline::hubble {

class RelayBackend final : public Backend {
public:
    RelayBackend(std::shared_ptr<const Peers> peers, std::string version);

    grpc::Status flows(const ::observer::GetFlowsRequest& request, OpenFeed& out) override;
    grpc::Status agent_events(const ::observer::GetAgentEventsRequest& request,
                              OpenFeed& out) override;
    grpc::Status debug_events(const ::observer::GetDebugEventsRequest& request,
                              OpenFeed& out) override;
    grpc::Status peers(OpenFeed& out) override;
    grpc::Status nodes(::observer::GetNodesResponse& out) override;
    grpc::Status namespaces(::observer::GetNamespacesResponse& out) override;
    grpc::Status server_status(::observer::ServerStatusResponse& out) override;
    [[nodiscard]] std::pair<std::string, std::string> version_header() const override;

private:
    const std::shared_ptr<const Peers> peers_;
    const std::string version_;
};

} // namespace beeline::hubble
