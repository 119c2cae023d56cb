// Keeps what this machine says of itself in etcd, under a lease, in a thread of its own.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "source/etcd/client.h"
#include "source/etcd/feed.h"
#include "source/source.h"

namespace beeline::source {

struct Registration {
    enum class State { waiting, registered, refused };
    State state = State::waiting;
    std::string error;
    std::int64_t lease = 0;
    std::size_t keys = 0; // written
    bool operator==(const Registration&) const = default;
};

// A Node and the Pods of its workloads as manifests; those that no manifest can describe are told in `errors`.
struct Announced {
    std::string node;
    std::map<std::string, std::string> workloads; // key -> manifest
    std::vector<std::string> errors;
    bool operator==(const Announced&) const = default;
};
// `agent`: distinguishes this agent from another one that has the same node name.
Announced manifests_of(const Announcement& announcement, std::string_view prefix,
                       std::string_view agent);

// Level-triggered: what is there is compared with what should be, at each change and several times within the lease.
class EtcdRegistrar {
public:
    // `changed` is called in the registrar's thread.
    EtcdRegistrar(EtcdOptions options, std::string agent,
                  std::function<void(Registration)> changed);
    // The keys stay until the lease ends, so that a restart of the agent is not seen by others.
    ~EtcdRegistrar();
    EtcdRegistrar(const EtcdRegistrar&) = delete;
    EtcdRegistrar& operator=(const EtcdRegistrar&) = delete;

    void set(Announced wanted);

private:
    void run();
    Result<> renew();
    Result<> compare(const Announced& wanted);
    Result<> check_others(const Announced& wanted);
    Result<> write(const std::vector<etcdpb::RequestOp>& changes, std::int64_t node_revision);
    void tell(Registration now);
    [[nodiscard]] std::string lease_file() const { return options_.state_folder + "/etcd-lease"; }

    EtcdOptions options_;
    std::string agent_;
    std::string node_key_;
    std::string workloads_prefix_;
    std::function<void(Registration)> changed_;
    EtcdClient client_;
    Pause pause_;
    Registration told_;
    std::int64_t lease_ = 0;
    std::string checked_; // node manifest that had no conflict with others
    std::mutex mutex_;
    std::condition_variable wake_;
    Announced wanted_;
    bool has_wanted_ = false;
    bool news_ = false;
    bool stop_ = false;
    std::thread thread_;
};

} // namespace beeline::source
