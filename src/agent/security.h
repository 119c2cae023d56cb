// Runtime security of one node: sensors, guard, alerts and containers wired together.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "agent/config.h"
#include "api/server/backend.h"
#include "base/fd.h"
#include "base/result.h"
#include "ebpf/merged_ring.h"
#include "loop/loop.h"
#include "model/workload.h"
#include "observe/processes.h"
#include "observe/store.h"
#include "security/cri/cri_client.h"
#include "security/events/containers.h"
#include "security/guard/guard.h"
#include "security/outputs/alert_store.h"
#include "security/outputs/dispatcher.h"
#include "security/sensor/sensor.h"
#include "source/folder_watch.h"

namespace beeline::agent {

class Security {
public:
    struct Environment {
        SecurityConfig config;
        std::string node;
        std::string cgroup_mount; // of cgroup2; empty: none
        std::string scope;        // folder below it that alone is watched; empty: the whole machine
        const observe::Store* flows = nullptr; // outlives this
    };
    // What takes longest of a start, on threads of its own. Scope and rules are those that start() will be given.
    struct Begun {
        std::future<Result<std::unique_ptr<security::Sensor>>> sensor; // none without rule files
        security::FirstRules rules;
    };
    static Begun begin(const Environment& environment);

    // Control thread, as everything without a remark. `loop` must outlive this.
    static Result<std::unique_ptr<Security>> start(Environment environment, Begun begun,
                                                   loop::Loop& loop);
    ~Security();
    Security(const Security&) = delete;
    Security& operator=(const Security&) = delete;

    void set_workloads(const std::vector<model::Workload>& workloads);

    // Tells what is known of a process of a flow, also of one that is gone. Any thread; never waits. Until the destructor runs.
    void identify(const std::shared_ptr<observe::ProcessInfo>& info);

    // Any thread but the guard's.
    [[nodiscard]] nlohmann::json status();
    [[nodiscard]] nlohmann::json rules();
    Result<nlohmann::json> reload(); // control thread
    std::unique_ptr<api::LineStream> alerts(const security::AlertFilter& filter) const;
    std::unique_ptr<api::LineStream> events(const api::EventQuery& query);
    Result<std::unique_ptr<api::LineStream>> record(bool all); // control thread

private:
    Security(Environment environment, loop::Loop& loop);
    // The kernel's side. Its rings and tables are many megabytes, so it is there from the first rule or recording on.
    struct Sensing {
        std::unique_ptr<security::Sensor> sensor;
        std::unique_ptr<ebpf::MergedRing> ring;
    };

    Result<> open(Begun begun);
    Result<> sense(std::unique_ptr<security::Sensor> sensor);
    Result<> set_capture(const security::Capture& capture);
    [[nodiscard]] Sensing* sensing() const { // any thread; null before it is there
        return sensing_in_use_.load(std::memory_order_acquire);
    }
    Result<> open_outputs();
    Result<> watch_rules();
    void add_flows(model::Alert& alert) const;
    void resolve_names();
    void resolved(const std::string& name, const std::vector<std::string>& addresses);
    void set_scope(std::uint64_t cgroup);
    std::string recording_context();
    Result<> snapshot(bool environment, const security::RecordHandler& handler) const; // any thread
    void tell_name(std::span<const std::byte> record) const;
    [[nodiscard]] std::uint64_t lost() const; // any thread

    Environment environment_;
    loop::Loop& loop_;
    std::shared_ptr<const security::HostFacts> host_;
    security::AlertStore store_;
    std::unique_ptr<security::Dispatcher> dispatcher_;
    std::unique_ptr<security::CriClient> cri_;
    std::unique_ptr<security::ContainerResolver> containers_; // uses cri_
    Fd ring_ready_; // epoll of the ring, once there is one
    std::unique_ptr<Sensing> sensing_;
    std::atomic<Sensing*> sensing_in_use_{nullptr};
    std::vector<std::uint64_t> workload_cgroups_;
    std::optional<observe::Reader> flow_reader_; // guard's thread
    std::unique_ptr<security::Guard> guard_;
    std::vector<std::unique_ptr<source::FolderWatch>> watches_;
    std::vector<loop::Loop::TimerId> timers_;
    std::weak_ptr<void> resolving_;             // the look-up that runs
    std::atomic<std::uint32_t> identifying_{0}; // asked, and not yet answered
    std::atomic<std::uint64_t> unidentified_{0};
    std::shared_ptr<int> alive_ = std::make_shared<int>(0); // for threads that may outlive this
};

} // namespace beeline::agent
