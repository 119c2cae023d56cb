#include "api/hubble/local.h"

#include <time.h>

#include <algorithm>
#include <utility>

#include "api/hubble/flow_feed.h"

namespace beeline::hubble {
namespace {

constexpr std::int64_t kNamespaceLifeNs = 3600LL * 1'000'000'000;

std::int64_t realtime_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

void set_event(::observer::GetAgentEventsResponse& response, const ::flow::AgentEvent& event) {
    *response.mutable_agent_event() = event;
}
void set_event(::observer::GetDebugEventsResponse& response, const ::flow::DebugEvent& event) {
    *response.mutable_debug_event() = event;
}

struct EventQuery {
    std::optional<std::int64_t> since_ns;
    std::optional<std::int64_t> until_ns;
    std::uint64_t number = 0;
    bool first = false;
    bool follow = false;

    template <typename Request>
    static Result<EventQuery> compile(const Request& request) {
        if (request.first() && request.follow())
            return fail(Code::invalid, "first cannot be specified with follow");
        EventQuery out;
        if (request.has_since()) out.since_ns = TRY(time_ns(request.since(), "since"));
        if (request.has_until()) out.until_ns = TRY(time_ns(request.until(), "until"));
        out.number = request.number();
        out.first = request.first();
        out.follow = request.follow();
        return out;
    }
};

// The same rules of where to begin and end as for flows.
template <typename Event, typename Response>
class EventFeed final : public Feed {
public:
    EventFeed(std::shared_ptr<EventLog<Event>> log, std::string node, EventQuery query)
        : log_(std::move(log)), node_(std::move(node)), query_(query) {
        if (query_.follow) waiter_ = log_->waiter();
        end_ = log_->last();
        if (query_.since_ns || query_.first || (!query_.follow && query_.number == 0)) {
            next_ = 1;
        } else if (query_.number == 0) {
            next_ = end_ + 1;
        } else {
            next_ = log_->first_of_last(query_.number);
        }
    }

    State next(grpc::ByteBuffer& out) override {
        for (;;) {
            if (!query_.follow && query_.number != 0 && sent_ == query_.number) return State::end;
            if (waiter_) {
                eventfd_t count = 0;
                (void)::eventfd_read(waiter_->get(), &count);
            }
            const auto entry = log_->at(next_);
            if (!entry || (!query_.follow && entry->number > end_))
                return query_.follow ? State::wait : State::end;
            next_ = entry->number + 1;
            if (query_.since_ns && entry->time_ns < *query_.since_ns) continue;
            if (query_.until_ns && entry->time_ns > *query_.until_ns) return State::end;
            ++sent_;
            Response response;
            set_event(response, entry->event);
            response.set_node_name(node_);
            set_time(entry->time_ns, *response.mutable_time());
            to_buffer(response, out);
            return State::message;
        }
    }
    [[nodiscard]] int fd() const override { return waiter_ ? waiter_->get() : -1; }

private:
    const std::shared_ptr<EventLog<Event>> log_;
    const std::string node_;
    const EventQuery query_;
    std::shared_ptr<Fd> waiter_;
    std::uint64_t next_ = 1;
    std::uint64_t end_ = 0;
    std::uint64_t sent_ = 0;
};

// Peers come from the configuration: they are told once, and the stream stays open for a change that needs a restart.
class PeerFeed final : public Feed {
public:
    explicit PeerFeed(std::vector<PeerNode> peers) : peers_(std::move(peers)) {}
    State next(grpc::ByteBuffer& out) override {
        if (next_ == peers_.size()) return State::wait;
        const PeerNode& peer = peers_[next_++];
        ::peer::ChangeNotification message;
        message.set_name(peer.name);
        message.set_address(peer.address);
        message.set_type(::peer::PEER_ADDED);
        if (!peer.server_name.empty()) message.mutable_tls()->set_server_name(peer.server_name);
        to_buffer(message, out);
        return State::message;
    }
    [[nodiscard]] int fd() const override { return -1; }

private:
    const std::vector<PeerNode> peers_;
    std::size_t next_ = 0;
};

} // namespace

std::string server_name(const std::string& node, const std::string& cluster) {
    const auto label = [](std::string text) {
        std::replace(text.begin(), text.end(), '.', '-');
        return text;
    };
    return fmt::format("{}.{}.hubble-grpc.cilium.io", label(node),
                       label(cluster.empty() ? "default" : cluster));
}

LocalBackend::LocalBackend(std::shared_ptr<const FlowSource> flows, LocalOptions options)
    : flows_(std::move(flows)), options_(std::move(options)), started_ns_(realtime_ns()),
      agent_events_(std::make_shared<EventLog<::flow::AgentEvent>>(kAgentEvents)),
      debug_events_(std::make_shared<EventLog<::flow::DebugEvent>>(1)) {
    ::flow::AgentEvent event;
    event.set_type(::flow::AGENT_STARTED);
    set_time(started_ns_, *event.mutable_agent_start()->mutable_time());
    add(std::move(event));
}

void LocalBackend::add(::flow::AgentEvent event) {
    agent_events_->add(realtime_ns(), std::move(event));
}

grpc::Status LocalBackend::flows(const ::observer::GetFlowsRequest& request, OpenFeed& out) {
    auto compiled = FlowRequest::compile(request);
    if (!compiled) return status_of(compiled.error());
    out = [flows = flows_, cache = cache_, origin = std::make_shared<const Origin>(options_.origin),
           wanted = std::make_shared<FlowRequest>(std::move(*compiled))] {
        return flow_feed(*flows, origin, cache, std::move(*wanted));
    };
    return grpc::Status::OK;
}

grpc::Status LocalBackend::agent_events(const ::observer::GetAgentEventsRequest& request,
                                        OpenFeed& out) {
    const auto query = EventQuery::compile(request);
    if (!query) return status_of(query.error());
    out = [log = agent_events_, node = options_.origin.node, query = *query] {
        return std::make_unique<EventFeed<::flow::AgentEvent, ::observer::GetAgentEventsResponse>>(
            log, node, query);
    };
    return grpc::Status::OK;
}

// The datapath has no debug events: the stream is valid and empty.
grpc::Status LocalBackend::debug_events(const ::observer::GetDebugEventsRequest& request,
                                        OpenFeed& out) {
    const auto query = EventQuery::compile(request);
    if (!query) return status_of(query.error());
    out = [log = debug_events_, node = options_.origin.node, query = *query] {
        return std::make_unique<EventFeed<::flow::DebugEvent, ::observer::GetDebugEventsResponse>>(
            log, node, query);
    };
    return grpc::Status::OK;
}

grpc::Status LocalBackend::peers(OpenFeed& out) {
    out = [peers = options_.peers] { return std::make_unique<PeerFeed>(peers); };
    return grpc::Status::OK;
}

// Hubble's own agent leaves this to its relay; a client of one node is better served with the one.
grpc::Status LocalBackend::nodes(::observer::GetNodesResponse& out) {
    ::observer::ServerStatusResponse status;
    (void)server_status(status);
    auto& node = *out.add_nodes();
    node.set_name(options_.origin.node);
    node.set_version(options_.origin.version);
    node.set_state(::relay::NODE_CONNECTED);
    if (!options_.peers.empty()) {
        node.set_address(options_.peers[0].address);
        node.mutable_tls()->set_enabled(!options_.peers[0].server_name.empty());
        node.mutable_tls()->set_server_name(options_.peers[0].server_name);
    }
    node.set_uptime_ns(status.uptime_ns());
    node.set_num_flows(status.num_flows());
    node.set_max_flows(status.max_flows());
    node.set_seen_flows(status.seen_flows());
    return grpc::Status::OK;
}

grpc::Status LocalBackend::namespaces(::observer::GetNamespacesResponse& out) {
    const std::int64_t now = realtime_ns();
    const std::lock_guard lock(mutex_);
    // Only what came since the last call is read.
    FlowQuery query;
    query.begin = FlowQuery::Begin::since;
    query.since_ns = std::max(read_until_ns_, now - kNamespaceLifeNs);
    const auto cursor = flows_->open(std::move(query));
    while (const auto flow = cursor->next()) {
        for (const auto* end : {&flow->source, &flow->destination})
            if (!end->space.empty()) seen_[end->space] = flow->time_ns;
        read_until_ns_ = std::max(read_until_ns_, flow->time_ns);
    }
    std::erase_if(seen_, [&](const auto& one) { return one.second < now - kNamespaceLifeNs; });
    for (const auto& [name, time] : seen_) {
        auto& entry = *out.add_namespaces();
        entry.set_cluster(options_.origin.cluster);
        entry.set_namespace_(name);
    }
    return grpc::Status::OK;
}

grpc::Status LocalBackend::server_status(::observer::ServerStatusResponse& out) {
    const observe::StoreStats stats = flows_->stats();
    out.set_num_flows(stats.stored);
    out.set_max_flows(stats.capacity);
    out.set_seen_flows(stats.total);
    out.set_uptime_ns(
        static_cast<std::uint64_t>(std::max<std::int64_t>(realtime_ns() - started_ns_, 0)));
    out.set_version(options_.origin.version);
    out.set_flows_rate(stats.per_second);
    return grpc::Status::OK;
}

std::pair<std::string, std::string> LocalBackend::version_header() const {
    return {"hubble-server-version", options_.origin.version};
}

} // namespace beeline::hubble
