// The agents that a relay follows.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <grpcpp/channel.h>
#include <observer/observer.grpc.pb.h>

#include "api/hubble/options.h"
#include "base/result.h"

namespace beeline::hubble {

class Peer {
public:
    Peer(std::string name, std::string target, bool secure, std::string server_name,
         std::shared_ptr<grpc::Channel> channel);

    [[nodiscard]] std::string name() const;
    void rename(std::string name);
    [[nodiscard]] bool named() const { return named_; }
    [[nodiscard]] bool connected() const; // and tries to be
    [[nodiscard]] const std::string& target() const { return target_; }
    [[nodiscard]] bool secure() const { return secure_; }
    [[nodiscard]] const std::string& server_name() const { return server_name_; }
    [[nodiscard]] ::observer::Observer::Stub& stub() const { return *stub_; }

private:
    const std::string target_;
    const bool secure_;
    const std::string server_name_; // empty: the host of the target
    const std::shared_ptr<grpc::Channel> channel_;
    const std::unique_ptr<::observer::Observer::Stub> stub_;
    mutable std::mutex mutex_;
    std::string name_;
    std::atomic<bool> named_{false};
};

// Connects to them, learns their names, and follows what Notify says of them.
class Peers {
public:
    static Result<std::unique_ptr<Peers>> start(PeerOptions options);
    ~Peers();
    Peers(const Peers&) = delete;
    Peers& operator=(const Peers&) = delete;

    // Sorted by name. Any thread.
    [[nodiscard]] std::vector<std::shared_ptr<Peer>> all() const;

private:
    Peers();
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace beeline::hubble
