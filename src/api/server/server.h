// HTTP/1.1 over listening sockets, each connection on a thread of its own, so that a slow handler
// or a dead client holds up nobody else.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/server/router.h"
#include "base/fd.h"
#include "base/result.h"

namespace beeline::api {

// What is known of a request before its body.
struct RequestHead {
    std::string_view method;
    std::string_view target;                                  // still encoded
    std::function<std::string_view(const char* name)> header; // empty: it has none
};

struct ServerOptions {
    unsigned connections = 1024;        // more wait in the listen backlog
    std::size_t body_bytes = 16U << 20; // larger bodies are refused with 413
    unsigned idle_timeout_s = 30; // half a request, an answer nobody reads, an unused connection
    std::chrono::milliseconds stall_timeout{
        30000}; // a stream whose client reads nothing is cut after this
    // Asked before the router: what it returns is the answer. Any thread.
    std::function<std::optional<Reply>(const RequestHead&)> gate;
    std::vector<std::pair<std::string, std::string>> headers; // of every answer
};

struct ServerCounters {
    std::uint64_t requests = 0;
    std::uint64_t streams = 0;     // open now
    std::uint64_t streams_cut = 0; // because their client did not read
};

class Server {
public:
    static Result<std::unique_ptr<Server>> create(Router router, ServerOptions options = {});
    ~Server(); // stops
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Serves `listener` too, until stop(). Not thread-safe, as stop().
    Result<> serve(Fd listener);
    // serve(listen_unix(path)); stop() removes the file.
    Result<> serve_unix(const std::string& path, const std::string& group = "beeline");

    // Refuses new connections, lets streams end with their last line, then cuts what is left:
    // within 1 s, plus what handlers that run now still need. When handlers wait for a control
    // loop, that loop must keep running meanwhile: do not call this on its thread.
    void stop();

    [[nodiscard]] ServerCounters counters() const;

private:
    Server();
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace beeline::api
