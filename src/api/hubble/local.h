// The flows of this node.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/hubble/backend.h"
#include "api/hubble/convert.h"
#include "api/hubble/event_log.h"
#include "api/hubble/flow_cache.h"
#include "api/hubble/flow_source.h"
#include "api/hubble/options.h"

namespace beeline::hubble {

struct LocalOptions {
    Origin origin;
    std::vector<PeerNode> peers; // this node first
};

// hubble-grpc name of a node's certificate.
std::string server_name(const std::string& node, const std::string& cluster);

class LocalBackend final : public Backend {
public:
    static constexpr std::size_t kAgentEvents = 4096;

    LocalBackend(std::shared_ptr<const FlowSource> flows, LocalOptions options);

    // Any thread.
    void add(::flow::AgentEvent event);

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
    const std::shared_ptr<const FlowSource> flows_;
    const LocalOptions options_;
    const std::int64_t started_ns_;
    std::shared_ptr<FlowCache> cache_ = std::make_shared<FlowCache>();
    std::shared_ptr<EventLog<::flow::AgentEvent>> agent_events_;
    std::shared_ptr<EventLog<::flow::DebugEvent>> debug_events_;

    std::mutex mutex_;
    std::map<std::string, std::int64_t> seen_; // namespace -> time of its last flow
    std::int64_t read_until_ns_ = 0;           // flows up to here are in seen_
};

} // namespace beeline::hubble
