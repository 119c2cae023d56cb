// Alerts on their way from the engine to the store and the channels: rate limits, one bounded queue for all, and one for
// each channel. What does not fit is counted, never waited for.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "loop/queue.h"
#include "model/alert.h"
#include "security/outputs/alert_store.h"
#include "security/outputs/channel.h"

namespace beeline::security {

// Token buckets, one a rule. Not thread-safe.
class RateLimit {
public:
    // `per_second` 0: no limit.
    RateLimit(double per_second, double burst) : per_second_(per_second), burst_(burst) {}
    bool allow(const std::string& rule, std::int64_t now_ns);

private:
    struct Bucket {
        double tokens = 0;
        std::int64_t filled_ns = 0;
    };
    double per_second_;
    double burst_;
    std::map<std::string, Bucket, std::less<>> buckets_;
};

struct DispatchOptions {
    bool json = false;     // lines of the channels
    bool iso_8601 = false; // time of text lines
    std::size_t queue = 10'000;
    double per_second = 0; // of one rule; 0: no limit
    double burst = 1000;
    // Runs on the dispatcher's thread before the alert is stored: adds what the engine does not know.
    std::function<void(model::Alert&)> complete;
};

struct ChannelStats {
    std::string name;
    std::uint64_t sent = 0;
    std::uint64_t failed = 0;
    std::uint64_t dropped = 0; // its queue was full
    std::string last_error;
};

struct DispatchStats {
    std::uint64_t alerts = 0;
    std::uint64_t limited = 0; // held back by the rate limit
    std::uint64_t dropped = 0; // the queue before the channels was full
    std::map<std::string, std::uint64_t> limited_by_rule;
    std::vector<ChannelStats> channels;
};

class Dispatcher {
public:
    Dispatcher(DispatchOptions options, AlertStore& store,
               std::vector<std::pair<std::string, std::unique_ptr<Channel>>> channels);
    // Sends what is queued, but gives up on channels that take longer than two seconds.
    ~Dispatcher();
    Dispatcher(const Dispatcher&) = delete;
    Dispatcher& operator=(const Dispatcher&) = delete;

    // Any thread; never blocks.
    void send(model::Alert&& alert);
    [[nodiscard]] DispatchStats stats() const;

private:
    struct Worker;
    void run();

    DispatchOptions options_;
    AlertStore& store_;
    loop::Queue<model::Alert> queue_;
    std::vector<std::unique_ptr<Worker>> workers_;
    RateLimit limit_;
    std::atomic<std::uint64_t> alerts_{0};
    std::atomic<std::uint64_t> limited_{0};
    mutable std::mutex mutex_; // limited_by_rule_
    std::map<std::string, std::uint64_t> limited_by_rule_;
    std::thread thread_;
};

} // namespace beeline::security
