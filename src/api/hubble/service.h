// The gRPC services on top of a backend. Requests and messages of streams are raw bytes here: a message that several
// clients get is written once.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <observer/observer.grpc.pb.h>
#include <peer/peer.grpc.pb.h>

#include "api/hubble/backend.h"
#include "api/hubble/feed.h"
#include "api/hubble/options.h"

namespace beeline::hubble {

struct StreamCounters {
    std::atomic<std::uint64_t> open{0};
    std::atomic<std::uint64_t> total{0};
    std::atomic<std::uint64_t> refused{0}; // over the limit
    std::atomic<std::uint64_t> cut{0};     // because their client did not read
    std::atomic<std::uint64_t> messages{0};
};

// What all streams share; outlives them.
struct StreamContext {
    Pump& pump;
    StreamLimits limits;
    StreamCounters counters;
};

using ObserverBase = ::observer::Observer::WithRawCallbackMethod_GetFlows<
    ::observer::Observer::WithRawCallbackMethod_GetAgentEvents<
        ::observer::Observer::WithRawCallbackMethod_GetDebugEvents<
            ::observer::Observer::WithCallbackMethod_GetNodes<
                ::observer::Observer::WithCallbackMethod_GetNamespaces<
                    ::observer::Observer::WithCallbackMethod_ServerStatus<
                        ::observer::Observer::Service>>>>>>;

class ObserverService final : public ObserverBase {
public:
    using Raw = grpc::ServerWriteReactor<grpc::ByteBuffer>;
    ObserverService(Backend& backend, StreamContext& streams)
        : backend_(backend), streams_(streams) {}

    Raw* GetFlows(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) override;
    Raw* GetAgentEvents(grpc::CallbackServerContext* context,
                        const grpc::ByteBuffer* request) override;
    Raw* GetDebugEvents(grpc::CallbackServerContext* context,
                        const grpc::ByteBuffer* request) override;
    grpc::ServerUnaryReactor* GetNodes(grpc::CallbackServerContext* context,
                                       const ::observer::GetNodesRequest* request,
                                       ::observer::GetNodesResponse* response) override;
    grpc::ServerUnaryReactor* GetNamespaces(grpc::CallbackServerContext* context,
                                            const ::observer::GetNamespacesRequest* request,
                                            ::observer::GetNamespacesResponse* response) override;
    grpc::ServerUnaryReactor* ServerStatus(grpc::CallbackServerContext* context,
                                           const ::observer::ServerStatusRequest* request,
                                           ::observer::ServerStatusResponse* response) override;

private:
    Backend& backend_;
    StreamContext& streams_;
};

class PeerService final : public ::peer::Peer::WithRawCallbackMethod_Notify<::peer::Peer::Service> {
public:
    PeerService(Backend& backend, StreamContext& streams) : backend_(backend), streams_(streams) {}
    grpc::ServerWriteReactor<grpc::ByteBuffer>* Notify(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request) override;

private:
    Backend& backend_;
    StreamContext& streams_;
};

} // namespace beeline::hubble
