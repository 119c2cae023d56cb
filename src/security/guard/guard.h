// The thread that turns records into alerts: ring -> decode -> process tree -> rules -> dispatcher; with taps for whoever
// watches or records the stream.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "loop/queue.h"
#include "model/flow.h"
#include "security/engine/engine.h"
#include "security/events/capture.h"
#include "security/events/event.h"
#include "security/events/process_tree.h"
#include "security/rules/rule_set.h"

namespace beeline::security {

using RecordHandler = std::function<void(std::span<const std::byte>)>;

// The sensors, as the guard uses them.
struct EventSource {
    int fd = -1; // wakes epoll when the kernel forces a wake-up; stays the caller's; -1: none
    std::function<std::size_t(const RecordHandler&)> consume; // guard's thread
    std::function<Result<>(const Capture&)> capture;          // control thread
    std::function<std::uint64_t()> lost;                      // records lost so far; any thread
    // Hands over one `proc` record for each process there is, with its environment if that is asked for. Any thread.
    std::function<Result<>(bool environment, const RecordHandler&)> snapshot;
    // The next flow that nobody has taken yet; guard's thread. May be empty.
    std::function<std::optional<model::Flow>()> next_flow;
};

// Receives lines or frames; bounded: what its reader is too slow for is counted.
class Tap {
public:
    explicit Tap(std::size_t capacity) : queue_(capacity) {}
    // One reader.
    std::size_t take(std::vector<std::string>& out, std::chrono::milliseconds wait) {
        return queue_.pop_all(out, wait);
    }
    [[nodiscard]] std::uint64_t lost() const { return queue_.dropped(); }
    void push(std::string item) { queue_.push(std::move(item)); }

private:
    loop::Queue<std::string> queue_;
};

struct GuardStats {
    std::uint64_t records = 0;
    std::uint64_t refused = 0; // not decodable
    std::uint64_t lost = 0;    // by the kernel: the ring was full
    std::uint64_t matches = 0;
    std::uint64_t flows = 0;
    std::uint64_t reloads = 0;
    TreeStats tree;
};

// Files and folders of rules, read and checked; those that do not exist are left out. Any thread.
Result<rules::LoadResult> read_rules(const std::vector<std::string>& paths);
// The same, begun earlier.
using FirstRules = std::future<Result<rules::LoadResult>>;

class Guard {
public:
    struct Options {
        ProcessTree::Options tree;
        EngineOptions engine;
        std::vector<std::string> rules; // files and folders; those that do not exist are left out
        FirstRules first_rules;         // may be empty; taken once
        std::shared_ptr<const HostFacts> host;
        PlacementOf placement;
        Engine::Sink sink; // guard's thread; must not block
    };

    // Starts without rules when the files are faulty: see loaded().
    static Result<std::unique_ptr<Guard>> start(Options options, EventSource source);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

    // The rule files, read again; loaded() then has what was wrong with them, and in that case the rules in force stay. An
    // error when they cannot be read or the sensors cannot follow. Control thread.
    Result<> load_rules();
    // Control thread.
    [[nodiscard]] const rules::LoadResult& loaded() const { return loaded_; }

    // Any thread.
    [[nodiscard]] std::size_t rules_in_force() const { return rules_in_force_; }
    // Host names that the rules compare addresses with (HostFacts::resolved).
    [[nodiscard]] const std::vector<std::string>& names() const { return names_; }

    // Any thread but the guard's.
    [[nodiscard]] std::vector<RuleStats> rule_stats();
    [[nodiscard]] GuardStats stats();
    // Every event that the rules (or another tap) let through, as JSON lines that `wanted` agrees to.
    using EventTest = std::function<bool(const Event&)>;
    std::shared_ptr<Tap> watch(EventTest wanted);
    // Every record as it comes from the kernel. `wider` is added to what the rules need for as long as the tap lives.
    Result<std::shared_ptr<Tap>> record(const Capture& wider);
    // Looks a process up and calls `visit` on the guard's thread; null when it is not known. What the kernel told before this
    // call has been taken in by then. Never waits.
    void find(ProcessKey key, std::function<void(const Process*)> visit);
    // The placement of a cgroup changed (0: of all).
    void place_again(std::uint64_t cgroup);
    void set_host(std::shared_ptr<const HostFacts> host);
    // The control thread calls it now and then: narrows the capture when a recording has ended.
    void tidy();

private:
    Guard(Options options, EventSource source);
    void run();
    void take(std::span<const std::byte> record);
    void take(const model::Flow& flow);
    void judge(Event& event);
    void check_losses();
    void post(std::function<void()> task);
    void on_guard(const std::function<void()>& task); // and waits for it
    Capture wanted_now(const Capture& rules);
    Result<> take_snapshot(const Capture& capture);

    Options options_;
    EventSource source_;
    rules::LoadResult loaded_;
    Capture rules_capture_; // of the rules in force
    std::atomic<std::size_t> rules_in_force_{0};
    std::vector<std::string> names_;
    std::vector<std::pair<std::weak_ptr<Tap>, Capture>> recordings_;

    // guard's thread
    ProcessTree tree_;
    std::unique_ptr<Engine> engine_;
    std::vector<std::pair<std::weak_ptr<Tap>, EventTest>> watchers_;
    std::vector<std::weak_ptr<Tap>> recorders_;
    std::uint64_t lost_seen_ = 0;
    std::int64_t loss_told_ns_ = 0;
    std::int64_t next_loss_check_ns_ = 0;

    Fd epoll_;
    Fd wake_;
    std::mutex mutex_; // tasks_, recordings_
    std::vector<std::function<void()>> tasks_;
    std::atomic<bool> stopping_{false};
    std::atomic<bool> flows_wanted_{false};
    std::atomic<std::uint64_t> records_{0};
    std::atomic<std::uint64_t> refused_{0};
    std::atomic<std::uint64_t> matches_{0};
    std::atomic<std::uint64_t> flows_{0};
    std::atomic<std::uint64_t> reloads_{0};
    std::thread thread_;
};

// What both let through.
Capture united(const Capture& a, const Capture& b);
// Everything that the sensors can see, unfiltered.
Capture everything();

} // namespace beeline::security
