#include "api/hubble/relay.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <set>
#include <utility>
#include <vector>

#include "api/hubble/flow_feed.h"
#include "api/hubble/relay_feed.h"

namespace beeline::hubble {
namespace {

using namespace std::chrono_literals;

constexpr auto kAnswerTime = 5s; // the CLI waits 12
constexpr int kMostNames = 10;

template <typename Response>
struct Answer {
    std::shared_ptr<Peer> peer;
    bool asked = false;
    grpc::Status status;
    Response response;
    grpc::ClientContext context;
};

// Asks all connected peers at once. `call(stub, context, response, done)`.
template <typename Response, typename Call>
std::vector<std::unique_ptr<Answer<Response>>> ask(const std::vector<std::shared_ptr<Peer>>& peers,
                                                   Call call) {
    std::mutex mutex;
    std::condition_variable answered;
    std::size_t left = 0;
    std::vector<std::unique_ptr<Answer<Response>>> out;
    for (const auto& peer : peers) {
        auto& answer = *out.emplace_back(std::make_unique<Answer<Response>>());
        answer.peer = peer;
        if (!peer->connected()) continue;
        answer.asked = true;
        answer.context.set_deadline(std::chrono::system_clock::now() + kAnswerTime);
        {
            const std::lock_guard lock(mutex);
            ++left;
        }
        call(peer->stub(), &answer.context, &answer.response, [&](const grpc::Status& status) {
            const std::lock_guard lock(mutex);
            answer.status = status;
            --left;
            answered.notify_all();
        });
    }
    std::unique_lock lock(mutex);
    answered.wait(lock, [&] { return left == 0; });
    return out;
}

const ::observer::ServerStatusRequest kStatusRequest;
const ::observer::GetNamespacesRequest kNamespacesRequest;

auto ask_status(const Peers& peers) {
    return ask<::observer::ServerStatusResponse>(
        peers.all(), [](auto& stub, auto* context, auto* response, auto done) {
            stub.async()->ServerStatus(context, &kStatusRequest, response, std::move(done));
        });
}

} // namespace

RelayBackend::RelayBackend(std::shared_ptr<const Peers> peers, std::string version)
    : peers_(std::move(peers)), version_(std::move(version)) {}

grpc::Status RelayBackend::flows(const ::observer::GetFlowsRequest& request, OpenFeed& out) {
    // What the peers would refuse is refused here, once.
    if (const auto compiled = FlowRequest::compile(request); !compiled)
        return status_of(compiled.error());
    out = [peers = peers_, request] { return relay_feed(peers, request); };
    return grpc::Status::OK;
}

grpc::Status RelayBackend::agent_events(const ::observer::GetAgentEventsRequest& /*request*/,
                                        OpenFeed& /*out*/) {
    return {grpc::StatusCode::UNIMPLEMENTED, "GetAgentEvents is answered by agents, not relays"};
}

grpc::Status RelayBackend::debug_events(const ::observer::GetDebugEventsRequest& /*request*/,
                                        OpenFeed& /*out*/) {
    return {grpc::StatusCode::UNIMPLEMENTED, "GetDebugEvents is answered by agents, not relays"};
}

grpc::Status RelayBackend::peers(OpenFeed& /*out*/) {
    return {grpc::StatusCode::UNIMPLEMENTED, "Notify is answered by agents, not relays"};
}

grpc::Status RelayBackend::nodes(::observer::GetNodesResponse& out) {
    for (const auto& answer : ask_status(*peers_)) {
        auto& node = *out.add_nodes();
        node.set_name(answer->peer->name());
        node.set_address(answer->peer->target());
        node.mutable_tls()->set_enabled(answer->peer->secure());
        node.mutable_tls()->set_server_name(answer->peer->server_name());
        if (!answer->asked) {
            node.set_state(::relay::NODE_UNAVAILABLE);
        } else if (!answer->status.ok()) {
            node.set_state(::relay::NODE_ERROR);
        } else {
            node.set_state(::relay::NODE_CONNECTED);
            node.set_version(answer->response.version());
            node.set_uptime_ns(answer->response.uptime_ns());
            node.set_num_flows(answer->response.num_flows());
            node.set_max_flows(answer->response.max_flows());
            node.set_seen_flows(answer->response.seen_flows());
        }
    }
    return grpc::Status::OK;
}

grpc::Status RelayBackend::namespaces(::observer::GetNamespacesResponse& out) {
    std::set<std::pair<std::string, std::string>> all;
    for (const auto& answer : ask<::observer::GetNamespacesResponse>(
             peers_->all(), [](auto& stub, auto* context, auto* response, auto done) {
                 stub.async()->GetNamespaces(context, &kNamespacesRequest, response,
                                             std::move(done));
             })) {
        for (const auto& one : answer->response.namespaces())
            all.emplace(one.cluster(), one.namespace_());
    }
    for (const auto& [cluster, name] : all) {
        auto& entry = *out.add_namespaces();
        entry.set_cluster(cluster);
        entry.set_namespace_(name);
    }
    return grpc::Status::OK;
}

grpc::Status RelayBackend::server_status(::observer::ServerStatusResponse& out) {
    std::uint32_t connected = 0;
    std::uint32_t unavailable = 0;
    for (const auto& answer : ask_status(*peers_)) {
        if (!answer->asked || !answer->status.ok()) {
            ++unavailable;
            if (out.unavailable_nodes_size() < kMostNames)
                out.add_unavailable_nodes(answer->peer->name());
            continue;
        }
        ++connected;
        const auto& one = answer->response;
        out.set_num_flows(out.num_flows() + one.num_flows());
        out.set_max_flows(out.max_flows() + one.max_flows());
        out.set_seen_flows(out.seen_flows() + one.seen_flows());
        out.set_uptime_ns(std::max(out.uptime_ns(), one.uptime_ns()));
        out.set_flows_rate(out.flows_rate() + one.flows_rate());
    }
    out.mutable_num_connected_nodes()->set_value(connected);
    out.mutable_num_unavailable_nodes()->set_value(unavailable);
    out.set_version(version_);
    return grpc::Status::OK;
}

std::pair<std::string, std::string> RelayBackend::version_header() const {
    return {"hubble-relay-version", version_};
}

} // namespace beeline::hubble
