// Containers as the runtimes of Kubernetes know them: containerd and CRI-O through their CRI sockets.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "security/events/container_id.h"
#include "security/events/process.h"

namespace beeline::security {

class CriClient {
public:
    struct Options {
        std::vector<std::string> sockets;         // paths; those that do not exist are skipped
        std::chrono::milliseconds most_wait{500}; // for all that is asked about one container
        std::chrono::milliseconds pause_after_failure{
            5'000}; // a runtime that hangs is left alone so long
    };
    struct SocketStats {
        std::string path;
        std::uint64_t answers = 0;  // containers that it told about
        std::uint64_t failures = 0; // calls that failed or took too long
        std::string last_error;
    };
    explicit CriClient(Options options);
    ~CriClient();
    CriClient(const CriClient&) = delete;
    CriClient& operator=(const CriClient&) = delete;

    // Adds what the first runtime that has the container says, and `complete`; what it says counts more than what was found
    // elsewhere. False if none has it. Blocks; one thread at a time.
    bool describe(const ContainerId& id, Container& container);
    [[nodiscard]] std::vector<SocketStats> stats() const; // any thread

    // Where runtimes have their sockets by default.
    static std::vector<std::string> usual_sockets();

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace beeline::security
