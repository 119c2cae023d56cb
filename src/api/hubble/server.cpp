#include "api/hubble/server.h"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <sstream>

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include "base/log.h"

namespace beeline::hubble {
namespace {

constexpr auto kEndStreams = std::chrono::milliseconds(500);
constexpr int kRequestBytes = 4 << 20;

// gRPC 1.51 cannot be told the least version of TLS. Its list of ciphers is that of TLS 1.2 (1.3 has its own): with one that
// needs a key agreed on before, which nobody has, only 1.3 remains.
constexpr const char* kNoTls12 = "PSK-AES256-GCM-SHA384";

void log_grpc(gpr_log_func_args* args) {
    const std::string text = fmt::format("grpc: {}", args->message);
    if (args->severity == GPR_LOG_SEVERITY_ERROR) {
        log_debug(text, kv("file", args->file), kv("line", args->line));
    }
}

Result<> own_socket(const std::string& path, const std::string& group) {
    if (::chmod(path.c_str(), 0660) != 0) return fail_errno(errno, "chmod " + path);
    std::vector<char> buffer(16384);
    struct group entry{};
    struct group* found = nullptr;
    if (::getgrnam_r(group.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
        found == nullptr)
        return {};
    if (::chown(path.c_str(), static_cast<uid_t>(-1), entry.gr_gid) != 0)
        log_warn("the group of the socket could not be set", kv("socket", path), kv("group", group),
                 kv("error", std::strerror(errno)));
    return {};
}

Result<std::shared_ptr<grpc::ServerCredentials>> credentials(const TlsFiles& files) {
    grpc::SslServerCredentialsOptions options(
        files.client_ca.empty() ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    options.pem_key_cert_pairs.push_back({TRY(read_pem(files.key)), TRY(read_pem(files.cert))});
    if (!files.client_ca.empty()) options.pem_root_certs = TRY(read_pem(files.client_ca));
    return grpc::SslServerCredentials(options);
}

} // namespace

struct Server::State {
    std::unique_ptr<Pump> pump;
    std::unique_ptr<StreamContext> streams;
    std::unique_ptr<ObserverService> observer;
    std::unique_ptr<PeerService> peer;
    std::unique_ptr<grpc::Server> server;
    std::string socket;
    int port = 0;
};

Server::Server() : state_(std::make_unique<State>()) {}

Server::~Server() {
    if (state_->server) state_->server->Shutdown(std::chrono::system_clock::now() + kEndStreams);
    state_->server.reset();
    state_->pump.reset();
    if (!state_->socket.empty()) ::unlink(state_->socket.c_str());
}

Result<std::unique_ptr<Server>> Server::start(Backend& backend, ServerOptions options) {
    prepare_grpc();
    std::unique_ptr<Server> out(new Server());
    State& state = *out->state_;
    state.pump = TRY(Pump::start());
    state.streams.reset(new StreamContext{*state.pump, options.limits, {}});
    state.observer = std::make_unique<ObserverService>(backend, *state.streams);
    state.peer = std::make_unique<PeerService>(backend, *state.streams);

    grpc::ServerBuilder builder;
    builder.RegisterService(state.observer.get());
    builder.RegisterService(state.peer.get());
    builder.SetMaxReceiveMessageSize(kRequestBytes);
    // Two servers must not share a port by accident.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    // Clients that vanished without a word.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
    int socket_bound = 1;
    if (!options.socket.empty())
        builder.AddListeningPort("unix:" + options.socket, grpc::InsecureServerCredentials(),
                                 &socket_bound);
    std::string address;
    if (!options.listen.empty()) {
        address = options.listen;
        const bool tls = !options.tls.cert.empty();
        if (!tls && !options.allow_plain && !is_loopback(address))
            return fail(Code::invalid,
                        "{} would be open in plain text: give a certificate (tls), a loopback "
                        "address, or say allowPlain: true",
                        address);
        builder.AddListeningPort(
            address, tls ? TRY(credentials(options.tls)) : grpc::InsecureServerCredentials(),
            &state.port);
    }
    state.server = builder.BuildAndStart();
    if (!state.server || socket_bound == 0 || (!address.empty() && state.port == 0))
        return fail(Code::unavailable, "cannot listen on {}{}{}", options.socket,
                    options.socket.empty() || address.empty() ? "" : " and ", address);
    if (!options.socket.empty()) {
        TRY(own_socket(options.socket, options.group));
        state.socket = options.socket;
    }
    if (auto* health = state.server->GetHealthCheckService()) {
        for (const char* name : {"", "hubble.server.Observer", "observer.Observer", "peer.Peer"})
            health->SetServingStatus(name, true);
    }
    return out;
}

const StreamCounters& Server::counters() const { return state_->streams->counters; }
int Server::port() const { return state_->port; }

void prepare_grpc() {
    static std::once_flag once;
    std::call_once(once, [] {
        ::setenv("GRPC_SSL_CIPHER_SUITES", kNoTls12, 1);
        gpr_set_log_function(log_grpc);
        grpc::EnableDefaultHealthCheckService(true);
        grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    });
}

Result<std::string> read_pem(const std::string& path) {
    std::ifstream file(path);
    if (!file) return fail_errno(errno, "cannot read " + path);
    std::ostringstream text;
    text << file.rdbuf();
    if (text.str().find("-----BEGIN") == std::string::npos)
        return fail(Code::invalid, "{} is no PEM file", path);
    return text.str();
}

} // namespace beeline::hubble
