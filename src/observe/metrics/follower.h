// The thread that counts: it follows the store as any reader does.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

#include <prometheus/registry.h>

#include "base/fd.h"
#include "base/result.h"
#include "model/directory.h"
#include "observe/metrics/hubble.h"
#include "observe/metrics/options.h"
#include "observe/store.h"

namespace beeline::observe::metrics {

class Follower {
public:
    // Store and registry must outlive it.
    static Result<std::unique_ptr<Follower>> start(const Store& store, const Options& options,
                                                   prometheus::Registry& registry);
    ~Follower();
    Follower(const Follower&) = delete;
    Follower& operator=(const Follower&) = delete;

    // Any thread.
    void set_directory(std::shared_ptr<const model::Directory> directory);
    [[nodiscard]] std::uint64_t counted() const { return counted_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t missed() const { return missed_.load(std::memory_order_relaxed); }

    // Of connections that ended, [0] ingress and [1] egress of workloads here.
    struct Forwarded {
        std::array<std::uint64_t, 2> packets{};
        std::array<std::uint64_t, 2> bytes{};
    };
    [[nodiscard]] Forwarded forwarded() const;

private:
    Follower(const Store& store, const Options& options, prometheus::Registry& registry);
    void run();
    void drain();
    void tidy();
    void add_forwarded(const RecordView& record);

    Reader reader_;
    Hubble hubble_;
    Fd stop_;
    std::atomic<std::uint64_t> counted_{0};
    std::atomic<std::uint64_t> missed_{0};
    mutable std::mutex mutex_;
    Forwarded forwarded_;                               // under mutex_
    Forwarded unshared_;                                // of the thread, until it is idle
    std::shared_ptr<const model::Directory> directory_; // under mutex_; null once it was taken
    std::thread thread_;
};

} // namespace beeline::observe::metrics
