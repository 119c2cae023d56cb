// The thread that counts: it follows the store as any reader does.
#pragma once

#include <atomic>
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

private:
    Follower(const Store& store, const Options& options, prometheus::Registry& registry);
    void run();
    void drain();
    void tidy();

    Reader reader_;
    Hubble hubble_;
    Fd stop_;
    std::atomic<std::uint64_t> counted_{0};
    std::atomic<std::uint64_t> missed_{0};
    std::mutex mutex_;
    std::shared_ptr<const model::Directory> directory_; // under mutex_; null once it was taken
    std::thread thread_;
};

} // namespace beeline::observe::metrics
