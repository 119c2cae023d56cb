#include "agent/hubble.h"

#include <csignal>
#include <set>

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

std::string address_text(const bl_addr& addr) {
    net::Ip ip;
    std::copy(std::begin(addr.byte), std::end(addr.byte), ip.bytes.begin());
    return ip.to_string();
}

::flow::AgentEvent service_event(const bl_svc_key& key, const bl_svc& service,
                                 const datapath::Tables& tables) {
    ::flow::AgentEvent event;
    event.set_type(::flow::SERVICE_UPSERTED);
    auto& upsert = *event.mutable_service_upsert();
    upsert.set_id(service.id);
    upsert.mutable_frontend_address()->set_ip(address_text(key.addr));
    upsert.mutable_frontend_address()->set_port(__builtin_bswap16(key.port));
    for (std::uint32_t slot = 0; slot < service.count; ++slot) {
        const auto id = tables.slots.find({service.id, service.generation, slot});
        if (id == tables.slots.end()) continue;
        const auto backend = tables.backends.find(id->second);
        if (backend == tables.backends.end()) continue;
        auto& address = *upsert.add_backend_addresses();
        address.set_ip(address_text(backend->second.addr));
        address.set_port(__builtin_bswap16(backend->second.port));
    }
    return event;
}

::flow::AgentEvent ipcache_event(::flow::AgentEventType type, const bl_prefix& prefix,
                                 std::uint32_t identity) {
    ::flow::AgentEvent event;
    event.set_type(type);
    auto& update = *event.mutable_ipcache_update();
    const bl_addr addr = prefix.addr;
    const std::string text = address_text(addr);
    const bool v4 = text.find(':') == std::string::npos && prefix.prefixlen >= 96;
    update.set_cidr(fmt::format("{}/{}", text, v4 ? prefix.prefixlen - 96 : +prefix.prefixlen));
    update.set_identity(identity);
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

void HubbleApi::policy_updated(std::size_t rules, bool deleted) {
    ::flow::AgentEvent event;
    event.set_type(deleted ? ::flow::POLICY_DELETED : ::flow::POLICY_UPDATED);
    event.mutable_policy_update()->set_revision(++revision_);
    event.mutable_policy_update()->set_rule_count(static_cast<std::int64_t>(rules));
    backend_->add(std::move(event));
}

void HubbleApi::tables_changed(const datapath::Tables& before, const datapath::Tables& after) {
    const datapath::BytesEqual same;
    for (const auto& [key, service] : after.services) {
        const auto old = before.services.find(key);
        if (old == before.services.end() || !same(old->second, service))
            backend_->add(service_event(key, service, after));
    }
    for (const auto& [key, service] : before.services) {
        if (after.services.contains(key)) continue;
        ::flow::AgentEvent event;
        event.set_type(::flow::SERVICE_DELETED);
        event.mutable_service_delete()->set_id(service.id);
        backend_->add(std::move(event));
    }
    for (const auto& [key, entry] : after.ipcache) {
        const auto old = before.ipcache.find(key);
        if (old != before.ipcache.end() && same(old->second, entry)) continue;
        auto event = ipcache_event(::flow::IPCACHE_UPSERTED, key, entry.identity);
        if (old != before.ipcache.end())
            event.mutable_ipcache_update()->mutable_old_identity()->set_value(old->second.identity);
        backend_->add(std::move(event));
    }
    for (const auto& [key, entry] : before.ipcache) {
        if (!after.ipcache.contains(key))
            backend_->add(ipcache_event(::flow::IPCACHE_DELETED, key, entry.identity));
    }
    std::set<std::uint32_t> regenerated;
    for (const auto& [address, endpoint] : after.endpoints) {
        const auto old = before.endpoints.find(address);
        if (endpoint.id == 0 || (old != before.endpoints.end() && same(old->second, endpoint)) ||
            !regenerated.insert(endpoint.id).second)
            continue;
        ::flow::AgentEvent event;
        event.set_type(::flow::ENDPOINT_REGENERATE_SUCCESS);
        event.mutable_endpoint_regenerate()->set_id(endpoint.id);
        backend_->add(std::move(event));
    }
}

void HubbleApi::tables_refused(const std::vector<model::Workload>& workloads,
                               const std::string& error) {
    for (const auto& workload : workloads) {
        ::flow::AgentEvent event;
        event.set_type(::flow::ENDPOINT_REGENERATE_FAILURE);
        event.mutable_endpoint_regenerate()->set_id(workload.id);
        event.mutable_endpoint_regenerate()->set_error(error);
        backend_->add(std::move(event));
    }
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
