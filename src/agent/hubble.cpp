#include "agent/hubble.h"

#include <csignal>

#include "api/hubble/local.h"
#include "api/hubble/relay.h"
#include "api/hubble/server.h"
#include "base/log.h"
#include "loop/loop.h"

namespace beeline::agent {
namespace {

using nlohmann::json;

// Where others reach an agent that listens on `listen`.
std::string dial_address(const HubbleApi::Environment& environment) {
    const hubble::Section& config = environment.config;
    if (!config.advertise.empty()) return config.advertise;
    if (config.listen.empty()) return "unix://" + environment.socket;
    const auto colon = config.listen.rfind(':');
    const std::string host = config.listen.substr(0, colon);
    const bool every = host == "[::]" || host == "0.0.0.0";
    if (!every || environment.addresses.empty()) return config.listen;
    const net::Ip& ip = environment.addresses.front();
    return fmt::format("{}{}{}{}", ip.is_v4() ? "" : "[", ip.to_string(), ip.is_v4() ? "" : "]",
                       config.listen.substr(colon));
}

::flow::AgentEvent endpoint_event(::flow::AgentEventType type, const model::Workload& workload) {
    ::flow::AgentEvent event;
    event.set_type(type);
    auto& update = *event.mutable_endpoint_update();
    update.set_id(workload.id);
    for (const auto& [key, value] : workload.labels)
        update.add_labels(fmt::format("k8s:{}={}", key, value));
    update.set_pod_name(workload.name.name);
    update.set_namespace_(workload.name.space);
    return event;
}

} // namespace

HubbleApi::HubbleApi() = default;
HubbleApi::~HubbleApi() = default;

Result<std::unique_ptr<HubbleApi>> HubbleApi::start(Environment environment) {
    const hubble::Section& config = environment.config;
    std::unique_ptr<HubbleApi> out(new HubbleApi());
    hubble::LocalOptions options;
    const bool plain_name = config.cluster.empty() || config.cluster == "default";
    options.origin.node = plain_name ? environment.node : config.cluster + "/" + environment.node;
    options.origin.cluster = config.cluster;
    options.origin.version = BEELINE_VERSION;
    options.origin.labels = config.node_labels;
    hubble::PeerNode self;
    self.name = options.origin.node;
    self.address = dial_address(environment);
    if (!config.listen.empty() && !config.tls.cert.empty())
        self.server_name = hubble::server_name(environment.node, config.cluster);
    options.peers.push_back(std::move(self));
    options.peers.insert(options.peers.end(), config.peers.begin(), config.peers.end());
    out->backend_ =
        std::make_unique<hubble::LocalBackend>(std::move(environment.flows), std::move(options));

    hubble::ServerOptions server;
    server.socket = config.socket.value_or(environment.socket);
    server.listen = config.listen;
    server.tls = config.tls;
    server.allow_plain = config.allow_plain;
    server.limits = config.limits;
    if (server.socket.empty() && server.listen.empty()) return out;
    out->socket_ = server.socket;
    out->listen_ = server.listen;
    out->server_ = TRY(hubble::Server::start(*out->backend_, std::move(server)));
    log_info("Hubble's API is served", kv("socket", out->socket_), kv("listen", out->listen_));
    return out;
}

void HubbleApi::workload_attached(const model::Workload& workload) {
    backend_->add(endpoint_event(::flow::ENDPOINT_CREATED, workload));
}

void HubbleApi::workload_detached(const model::Workload& workload) {
    backend_->add(endpoint_event(::flow::ENDPOINT_DELETED, workload));
}

void HubbleApi::policy_updated(std::size_t rules) {
    ::flow::AgentEvent event;
    event.set_type(::flow::POLICY_UPDATED);
    event.mutable_policy_update()->set_revision(++revision_);
    event.mutable_policy_update()->set_rule_count(static_cast<std::int64_t>(rules));
    backend_->add(std::move(event));
}

json HubbleApi::status() const {
    json out{{"socket", socket_}, {"listen", listen_}};
    if (!server_) return out;
    const auto& counters = server_->counters();
    out["streams"] = counters.open.load();
    out["streams_total"] = counters.total.load();
    out["streams_refused"] = counters.refused.load();
    out["streams_cut"] = counters.cut.load();
    out["messages"] = counters.messages.load();
    return out;
}

Result<> run_relay(hubble::RelaySection config) {
    hubble::prepare_grpc();
    const auto loop = TRY(loop::Loop::create());
    TRY(loop->on_signals({SIGTERM, SIGINT}, [&](int) { loop->stop(); }));
    std::signal(SIGPIPE, SIG_IGN);
    const std::shared_ptr<const hubble::Peers> peers =
        TRY(hubble::Peers::start(std::move(config.peers)));
    hubble::RelayBackend backend(peers, BEELINE_VERSION);
    hubble::ServerOptions options;
    options.socket = config.socket.value_or("");
    options.listen = config.listen;
    options.tls = config.tls;
    options.allow_plain = config.allow_plain;
    const auto server = TRY(hubble::Server::start(backend, options));
    log_info("relay ready", kv("listen", options.listen), kv("socket", options.socket),
             kv("port", server->port()));
    loop->run();
    return {};
}

} // namespace beeline::agent
