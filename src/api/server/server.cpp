#include "api/server/server.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "api/server/listen.h"
#include "base/log.h"

namespace beeline::api {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kStreamSlice =
    200ms; // how long a stream may wait without looking at its client and at stop()
constexpr auto kStreamsEnd = 500ms; // what stop() grants streams to say goodbye
constexpr std::size_t kStreamBlock = 32U << 10;
constexpr std::size_t kConnectionMemory = 64U << 10; // bounds the head of a request
constexpr std::size_t kThreadStack = 1U << 20;

std::int64_t now_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch())
        .count();
}

// One HTTP request, from its first line to its completion.
struct Exchange {
    std::string target;
    std::optional<Router::Match>
        match; // empty before the headers are complete, and when the request is refused
    std::size_t received = 0;
};

// The library's way to say where it gave up goes to our log.
void log_library(void*, const char* format, va_list arguments) {
    if (log_level() > LogLevel::debug) return;
    char text[512];
    std::vsnprintf(text, sizeof(text), format, arguments);
    const std::string_view line(text);
    log_debug("api server", kv("message", line.substr(0, line.find_last_not_of("\r\n") + 1)));
}

void* begin_exchange(void*, const char* target, MHD_Connection*) {
    auto exchange = std::make_unique<Exchange>();
    exchange->target = target;
    return exchange.release();
}

void end_exchange(void*, MHD_Connection*, void** context, MHD_RequestTerminationCode) {
    delete static_cast<Exchange*>(*context);
    *context = nullptr;
}

void set_timeout(MHD_Connection* connection, unsigned seconds) {
    MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, seconds);
}

} // namespace

struct Server::State {
    struct Listener {
        Fd socket;
        MHD_Daemon* daemon = nullptr;
        SocketFile file;
    };

    // An answer of unknown length. The library calls read() each time it has passed on what it got
    // before, so a client that reads nothing shows as a stream that nobody asks for more.
    struct Stream {
        State& state;
        std::unique_ptr<LineStream> lines;
        int fd;
        std::string line; // what is being sent
        std::size_t sent = 0;
        std::atomic<std::int64_t> idle_since_ms{0}; // 0: read() is running

        ssize_t read(char* out, std::size_t room);
    };

    Router router;
    ServerOptions options;
    std::vector<Listener> listeners;
    std::atomic<bool> stopping = false;
    std::atomic<std::uint64_t> requests = 0;
    std::atomic<std::uint64_t> streams_cut = 0;

    mutable std::mutex mutex;
    std::condition_variable changed; // a stream ended, or stopping
    std::set<Stream*> streams;       // guarded by mutex
    std::thread watchdog;

    void watch_streams();
    MHD_Result send(MHD_Connection* connection, Reply reply);
    MHD_Result on_headers(MHD_Connection* connection, const char* method, Exchange& exchange);
    MHD_Result on_request(MHD_Connection* connection, Exchange& exchange);
    MHD_Response* stream_response(MHD_Connection* connection, std::unique_ptr<LineStream> lines);

    // Called with the head of a request, with each piece of its body, and at its end.
    static MHD_Result handle(void* self, MHD_Connection* connection, const char*,
                             const char* method, const char*, const char* data, std::size_t* size,
                             void** context);
};

ssize_t Server::State::Stream::read(char* out, std::size_t room) {
    std::size_t filled = 0;
    while (filled < room) {
        if (sent < line.size()) {
            const std::size_t part = std::min(room - filled, line.size() - sent);
            std::memcpy(out + filled, line.data() + sent, part);
            filled += part;
            sent += part;
            continue;
        }
        if (state.stopping)
            return filled > 0 ? static_cast<ssize_t>(filled) : MHD_CONTENT_READER_END_OF_STREAM;
        if (auto next = lines->next(filled > 0 ? 0ms : kStreamSlice)) {
            line = std::move(*next);
            if (!lines->raw()) line += '\n';
            sent = 0;
            continue;
        }
        if (filled > 0) break;
        if (lines->done()) return MHD_CONTENT_READER_END_OF_STREAM;
        pollfd peer{.fd = fd, .events = 0, .revents = 0};
        if (::poll(&peer, 1, 0) > 0 && (peer.revents & (POLLHUP | POLLERR)) != 0)
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    return static_cast<ssize_t>(filled);
}

MHD_Response* Server::State::stream_response(MHD_Connection* connection,
                                             std::unique_ptr<LineStream> lines) {
    const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info == nullptr) return nullptr;
    auto stream = std::unique_ptr<Stream>(
        new Stream{.state = *this, .lines = std::move(lines), .fd = info->connect_fd, .line = {}});
    stream->idle_since_ms = now_ms();
    const auto read = [](void* self, std::uint64_t, char* out, std::size_t room) -> ssize_t {
        auto& stream = *static_cast<Stream*>(self);
        stream.idle_since_ms = 0;
        ssize_t result = MHD_CONTENT_READER_END_WITH_ERROR;
        try {
            result = stream.read(out, room);
        } catch (const std::exception& e) {
            log_error("a stream failed", kv("error", e.what()));
        }
        stream.idle_since_ms = now_ms();
        return result;
    };
    const auto free = [](void* self) {
        const std::unique_ptr<Stream> stream(static_cast<Stream*>(self));
        State& state = stream->state;
        {
            const std::lock_guard lock(state.mutex);
            state.streams.erase(stream.get());
        }
        state.changed.notify_all();
    };
    MHD_Response* response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, kStreamBlock, read, stream.get(), free);
    if (response == nullptr) return nullptr;
    // An idle stream is no idle connection; the watchdog looks after it, and the connection ends
    // with it.
    set_timeout(connection, 0);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    const std::lock_guard lock(mutex);
    streams.insert(stream.release());
    return response;
}

// Cuts streams whose client reads nothing.
void Server::State::watch_streams() {
    const auto period =
        std::clamp<std::chrono::milliseconds>(options.stall_timeout / 4, 10ms, 1000ms);
    std::unique_lock lock(mutex);
    while (!stopping) {
        changed.wait_for(lock, period, [this] { return stopping.load(); });
        const std::int64_t oldest = now_ms() - options.stall_timeout.count();
        for (Stream* stream : streams) {
            const std::int64_t since = stream->idle_since_ms;
            if (since == 0 || since > oldest) continue;
            // The library's thread wakes up with an error and frees the stream, which needs the
            // mutex: fd is still it.
            if (::shutdown(stream->fd, SHUT_RDWR) != 0) continue;
            stream->idle_since_ms = now_ms();
            ++streams_cut;
            log_warn("a client of a stream read nothing and was cut off",
                     kv("timeout_ms", options.stall_timeout.count()));
        }
    }
}

MHD_Result Server::State::send(MHD_Connection* connection, Reply reply) {
    MHD_Response* response = nullptr;
    if (reply.stream)
        response = stream_response(connection, std::move(reply.stream));
    else
        response = MHD_create_response_from_buffer(reply.body.size(), reply.body.data(),
                                                   MHD_RESPMEM_MUST_COPY);
    if (response == nullptr) return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply.content_type.c_str());
    if (!reply.allow.empty())
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, reply.allow.c_str());
    for (const auto* headers : {&options.headers, &reply.headers})
        for (const auto& [name, value] : *headers)
            MHD_add_response_header(response, name.c_str(), value.c_str());
    const auto queued =
        MHD_queue_response(connection, static_cast<unsigned>(reply.status), response);
    MHD_destroy_response(response);
    return queued;
}

MHD_Result Server::State::on_headers(MHD_Connection* connection, const char* method,
                                     Exchange& exchange) {
    ++requests;
    if (options.gate) {
        const RequestHead head{.method = method,
                               .target = exchange.target,
                               .header = [connection](const char* name) -> std::string_view {
                                   const char* value = MHD_lookup_connection_value(
                                       connection, MHD_HEADER_KIND, name);
                                   return value != nullptr ? value : "";
                               }};
        if (auto answer = options.gate(head)) return send(connection, std::move(*answer));
    }
    auto match = router.match(method, exchange.target);
    if (!match) return send(connection, std::move(match.error()));
    const char* length =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length != nullptr && std::strtoull(length, nullptr, 10) > options.body_bytes) {
        return send(connection, error_reply(Error{Code::exhausted, 0,
                                                  fmt::format("the body is larger than {} bytes",
                                                              options.body_bytes)},
                                            MHD_HTTP_CONTENT_TOO_LARGE));
    }
    exchange.match = std::move(*match);
    return MHD_YES;
}

MHD_Result Server::State::on_request(MHD_Connection* connection, Exchange& exchange) {
    if (exchange.received > options.body_bytes) {
        return send(connection, error_reply(Error{Code::exhausted, 0,
                                                  fmt::format("the body is larger than {} bytes",
                                                              options.body_bytes)},
                                            MHD_HTTP_CONTENT_TOO_LARGE));
    }
    // A handler that takes longer than the timeout must not find its connection closed. Turning the
    // timeout on again starts it afresh.
    set_timeout(connection, 0);
    // A request without a match was answered above.
    Reply reply = Router::run(*exchange.match); // NOLINT(bugprone-unchecked-optional-access)
    set_timeout(connection, options.idle_timeout_s);
    return send(connection, std::move(reply));
}

MHD_Result Server::State::handle(void* self, MHD_Connection* connection, const char*,
                                 const char* method, const char*, const char* data,
                                 std::size_t* size, void** context) {
    auto& state = *static_cast<State*>(self);
    auto& exchange = *static_cast<Exchange*>(*context);
    if (!exchange.match) return state.on_headers(connection, method, exchange);
    if (*size == 0) return state.on_request(connection, exchange);
    // An answer can be queued only at the end of the body; a client that ignores the limit for too
    // long is cut.
    exchange.received += *size;
    if (exchange.received > 4 * state.options.body_bytes) return MHD_NO;
    std::string& body = exchange.match->request.body;
    if (exchange.received <= state.options.body_bytes)
        body.append(data, *size);
    else
        body.clear();
    *size = 0;
    return MHD_YES;
}

Server::Server() : state_(std::make_unique<State>()) {}

Server::~Server() { stop(); }

Result<std::unique_ptr<Server>> Server::create(Router router, ServerOptions options) {
    std::unique_ptr<Server> server(new Server());
    server->state_->router = std::move(router);
    server->state_->options = options;
    server->state_->watchdog =
        std::thread([state = server->state_.get()] { state->watch_streams(); });
    return server;
}

Result<> Server::serve(Fd listener) {
    // The library must not hang in accept() when a client has gone between poll() and accept().
    const int flags = ::fcntl(listener.get(), F_GETFL);
    if (flags < 0 || ::fcntl(listener.get(), F_SETFL, flags | O_NONBLOCK) != 0)
        return fail_errno(errno, "the listening socket");
    MHD_Daemon* daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, nullptr, nullptr, &State::handle, state_.get(), MHD_OPTION_EXTERNAL_LOGGER, &log_library,
        nullptr, MHD_OPTION_LISTEN_SOCKET, listener.get(), MHD_OPTION_CONNECTION_LIMIT,
        state_->options.connections, MHD_OPTION_CONNECTION_TIMEOUT, state_->options.idle_timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionMemory, MHD_OPTION_THREAD_STACK_SIZE,
        kThreadStack, MHD_OPTION_URI_LOG_CALLBACK, &begin_exchange, nullptr,
        MHD_OPTION_NOTIFY_COMPLETED, &end_exchange, nullptr, MHD_OPTION_END);
    if (daemon == nullptr)
        return fail(Code::system, "the HTTP server could not start on its listening socket");
    state_->listeners.push_back({.socket = std::move(listener), .daemon = daemon, .file = {}});
    return {};
}

Result<> Server::serve_unix(const std::string& path, const std::string& group) {
    TRY(serve(TRY(listen_unix(path, group))));
    state_->listeners.back().file = SocketFile(path);
    return {};
}

void Server::stop() {
    State& state = *state_;
    if (!state.watchdog.joinable()) return;
    for (auto& listener : state.listeners) {
        listener.file.remove();
        MHD_quiesce_daemon(listener.daemon); // the socket stays ours and is closed with `listeners`
    }
    {
        std::unique_lock lock(state.mutex);
        state.stopping = true;
        state.changed.notify_all();
        state.changed.wait_for(lock, kStreamsEnd, [&] { return state.streams.empty(); });
    }
    state.watchdog.join();
    for (auto& listener : state.listeners)
        MHD_stop_daemon(listener.daemon);
    state.listeners.clear();
}

ServerCounters Server::counters() const {
    const std::lock_guard lock(state_->mutex);
    return {.requests = state_->requests,
            .streams = state_->streams.size(),
            .streams_cut = state_->streams_cut};
}

} // namespace beeline::api
