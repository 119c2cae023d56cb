#include "api/hubble/peers.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <thread>
#include <utility>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <peer/peer.grpc.pb.h>

#include "api/hubble/server.h"
#include "base/log.h"

namespace beeline::hubble {
namespace {

using namespace std::chrono_literals;

constexpr auto kPeriod = 2s;
constexpr auto kFirstPeriod = 100ms; // until all are connected once
constexpr int kQuickRounds = 50;
constexpr int kReconnectMs = 30'000;

bool is_unix(const std::string& target) { return target.starts_with("unix:"); }

Result<std::string> full_target(const std::string& text) {
    if (is_unix(text)) return text;
    if (text.ends_with(".sock") && text.starts_with("/")) return "unix://" + text;
    if (text.starts_with(":")) return fail(Code::invalid, "the peer '{}' has no host", text);
    return listen_address(text, kAgentPort);
}

} // namespace

Peer::Peer(std::string name, std::string target, bool secure, std::string server_name,
           std::shared_ptr<grpc::Channel> channel)
    : target_(std::move(target)), secure_(secure), server_name_(std::move(server_name)),
      channel_(std::move(channel)), stub_(::observer::Observer::NewStub(channel_)),
      name_(std::move(name)), named_(name_ != target_) {}

std::string Peer::name() const {
    const std::lock_guard lock(mutex_);
    return name_;
}

void Peer::rename(std::string name) {
    const std::lock_guard lock(mutex_);
    name_ = std::move(name);
    named_ = true;
}

bool Peer::connected() const { return channel_->GetState(true) == GRPC_CHANNEL_READY; }

struct Peers::State {
    [[nodiscard]] std::shared_ptr<Peer> make(const std::string& name, const std::string& target,
                                             const std::string& certificate) const;
    void watch();
    void learn_names();
    void follow();
    void apply(const ::peer::ChangeNotification& change);
    bool sleep(std::chrono::milliseconds time);

    PeerOptions options;
    std::shared_ptr<grpc::ChannelCredentials> tls; // null: plain text
    mutable std::mutex mutex;
    std::condition_variable changed;
    bool stopping = false;
    std::map<std::string, std::shared_ptr<Peer>> peers; // by target, or by name where Notify told
    grpc::ClientContext* notifying = nullptr;
    std::vector<std::thread> threads;
};

Peers::Peers() : state_(std::make_unique<State>()) {}

Result<std::unique_ptr<Peers>> Peers::start(PeerOptions options) {
    prepare_grpc();
    std::unique_ptr<Peers> out(new Peers());
    State& state = *out->state_;
    if (!options.tls.ca.empty()) {
        grpc::SslCredentialsOptions ssl;
        ssl.pem_root_certs = TRY(read_pem(options.tls.ca));
        if (!options.tls.cert.empty()) {
            ssl.pem_cert_chain = TRY(read_pem(options.tls.cert));
            ssl.pem_private_key = TRY(read_pem(options.tls.key));
        }
        state.tls = grpc::SslCredentials(ssl);
    }
    state.options = std::move(options);
    for (const auto& text : state.options.targets) {
        const std::string target = TRY(full_target(text));
        state.peers[target] = state.make(target, target, "");
    }
    if (!state.options.notifier.empty())
        state.options.notifier = TRY(full_target(state.options.notifier));
    if (state.peers.empty() && state.options.notifier.empty())
        return fail(Code::invalid, "a relay needs peers: give --peers or hubble.relay.peers");
    state.threads.emplace_back([&state] { state.watch(); });
    if (!state.options.notifier.empty()) state.threads.emplace_back([&state] { state.follow(); });
    return out;
}

Peers::~Peers() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->stopping = true;
        if (state_->notifying != nullptr) state_->notifying->TryCancel();
        state_->changed.notify_all();
    }
    for (auto& thread : state_->threads)
        thread.join();
}

std::vector<std::shared_ptr<Peer>> Peers::all() const {
    std::vector<std::shared_ptr<Peer>> out;
    {
        const std::lock_guard lock(state_->mutex);
        for (const auto& [key, peer] : state_->peers)
            out.push_back(peer);
    }
    std::sort(out.begin(), out.end(),
              [](const auto& a, const auto& b) { return a->name() < b->name(); });
    return out;
}

std::shared_ptr<Peer> Peers::State::make(const std::string& name, const std::string& target,
                                         const std::string& certificate) const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMs);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 1000);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
    // Connections of their own: one peer's trouble is not another's.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const bool secure = tls && !is_unix(target);
    std::string server = certificate.empty() ? options.tls.server_name : certificate;
    if (secure && !server.empty()) {
        std::replace(server.begin(), server.end(), '*', 'x'); // a wildcard is met by any label
        arguments.SetSslTargetNameOverride(server);
    }
    if (is_unix(target)) arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
    return std::make_shared<Peer>(
        name, target, secure, secure ? server : "",
        grpc::CreateCustomChannel(target, secure ? tls : grpc::InsecureChannelCredentials(),
                                  arguments));
}

// False: it is time to stop.
bool Peers::State::sleep(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex);
    return !changed.wait_for(lock, time, [&] { return stopping; });
}

void Peers::State::watch() {
    int round = 0;
    do {
        learn_names();
        ++round;
    } while (sleep(round < kQuickRounds ? kFirstPeriod : std::chrono::milliseconds(kPeriod)));
}

// A Beeline agent tells its name in GetNodes; others are called by their address.
void Peers::State::learn_names() {
    std::vector<std::shared_ptr<Peer>> all;
    {
        const std::lock_guard lock(mutex);
        for (const auto& [key, peer] : peers)
            all.push_back(peer);
    }
    for (const auto& peer : all) {
        if (!peer->connected() || peer->named()) continue;
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + kPeriod);
        ::observer::GetNodesResponse nodes;
        const auto status = peer->stub().GetNodes(&context, {}, &nodes);
        if (status.ok() && nodes.nodes_size() == 1 && !nodes.nodes(0).name().empty()) {
            peer->rename(nodes.nodes(0).name());
            log_info("peer connected", kv("peer", peer->name()), kv("address", peer->target()));
        } else if (status.ok() || status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
            peer->rename(peer->target());
        }
    }
}

void Peers::State::apply(const ::peer::ChangeNotification& change) {
    const auto target = full_target(change.address());
    const std::lock_guard lock(mutex);
    switch (change.type()) {
    case ::peer::PEER_ADDED:
    case ::peer::PEER_UPDATED:
        if (!target) {
            log_warn("a peer's address is not understood", kv("peer", change.name()),
                     kv("address", change.address()));
            return;
        }
        if (const auto found = peers.find(change.name());
            found != peers.end() && found->second->target() == *target)
            return;
        peers[change.name()] = make(change.name(), *target, change.tls().server_name());
        break;
    case ::peer::PEER_DELETED: peers.erase(change.name()); break;
    default: break;
    }
}

void Peers::State::follow() {
    grpc::ChannelArguments arguments;
    if (is_unix(options.notifier)) arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
    const bool secure = tls && !is_unix(options.notifier);
    if (secure && !options.tls.server_name.empty())
        arguments.SetSslTargetNameOverride(options.tls.server_name);
    const auto stub = ::peer::Peer::NewStub(grpc::CreateCustomChannel(
        options.notifier, secure ? tls : grpc::InsecureChannelCredentials(), arguments));
    do {
        grpc::ClientContext context;
        {
            const std::lock_guard lock(mutex);
            if (stopping) return;
            notifying = &context;
        }
        context.set_wait_for_ready(true);
        const auto reader = stub->Notify(&context, {});
        ::peer::ChangeNotification change;
        while (reader->Read(&change))
            apply(change);
        const auto status = reader->Finish();
        const std::lock_guard lock(mutex);
        notifying = nullptr;
        if (!stopping)
            log_warn("the list of peers cannot be followed", kv("from", options.notifier),
                     kv("error", status.error_message()));
    } while (sleep(kPeriod));
}

} // namespace beeline::hubble
