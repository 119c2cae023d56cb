// What answers the calls: the flows of this node, or a relay's peers.
#pragma once

#include <string>

#include <observer/observer.pb.h>
#include <peer/peer.pb.h>

#include "api/hubble/feed.h"

namespace beeline::hubble {

// Methods are called on gRPC's threads and must not wait for anything slow, but for unary calls. What can be slow about
// a stream happens in the OpenFeed. An error Status is the answer to a bad request.
class Backend {
public:
    virtual ~Backend() = default;
    virtual grpc::Status flows(const ::observer::GetFlowsRequest& request, OpenFeed& out) = 0;
    virtual grpc::Status agent_events(const ::observer::GetAgentEventsRequest& request,
                                      OpenFeed& out) = 0;
    virtual grpc::Status debug_events(const ::observer::GetDebugEventsRequest& request,
                                      OpenFeed& out) = 0;
    virtual grpc::Status peers(OpenFeed& out) = 0;
    virtual grpc::Status nodes(::observer::GetNodesResponse& out) = 0;
    virtual grpc::Status namespaces(::observer::GetNamespacesResponse& out) = 0;
    virtual grpc::Status server_status(::observer::ServerStatusResponse& out) = 0;
    // Response header that tells the version, and the version.
    [[nodiscard]] virtual std::pair<std::string, std::string> version_header() const = 0;
};

// Times of a request: fails naming the field.
Result<std::int64_t> time_ns(const google::protobuf::Timestamp& time, const char* field);

// Serialises `message` for a raw stream.
void to_buffer(const google::protobuf::MessageLite& message, grpc::ByteBuffer& out);
[[nodiscard]] grpc::Status status_of(const Error& error);

} // namespace beeline::hubble
