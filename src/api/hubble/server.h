// Where the services listen.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/hubble/backend.h"
#include "api/hubble/options.h"
#include "api/hubble/service.h"
#include "base/result.h"

namespace beeline::hubble {

struct ServerOptions {
    std::string socket; // path; empty: none
    std::string group = "beeline";
    std::string listen;       // "host:port", ":port"; empty: none
    TlsFiles tls;             // of `listen`; the socket is plain
    bool allow_plain = false; // plain text on an address that is not loopback
    StreamLimits limits;
};

class Server {
public:
    // `backend` must outlive the server. TLS is 1.3.
    static Result<std::unique_ptr<Server>> start(Backend& backend, ServerOptions options);
    ~Server(); // ends all streams
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    [[nodiscard]] const StreamCounters& counters() const;
    [[nodiscard]] int port() const; // of `listen`; 0: none

private:
    Server();
    struct State;
    std::unique_ptr<State> state_;
};

// gRPC in this process: TLS 1.3 only, its log in ours. Before anything of gRPC is used.
void prepare_grpc();

Result<std::string> read_pem(const std::string& path);

} // namespace beeline::hubble
