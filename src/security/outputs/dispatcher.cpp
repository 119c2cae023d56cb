#include "security/outputs/dispatcher.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "security/engine/engine.h"

namespace beeline::security {
namespace {

constexpr auto kWait = std::chrono::milliseconds(200);
constexpr auto kLastChance = std::chrono::seconds(2);
constexpr std::size_t kBatch = 64;

} // namespace

bool RateLimit::allow(const std::string& rule, std::int64_t now_ns) {
    if (per_second_ <= 0) return true;
    auto [it, added] = buckets_.try_emplace(rule, Bucket{burst_, now_ns});
    auto& bucket = it->second;
    // Recorded time can stand still or go back.
    const auto passed = std::max<std::int64_t>(0, now_ns - bucket.filled_ns);
    bucket.tokens =
        std::min(burst_, bucket.tokens + per_second_ * static_cast<double>(passed) / 1e9);
    bucket.filled_ns = std::max(bucket.filled_ns, now_ns);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
}

// One channel with its thread. The line is made once for all of them.
struct Dispatcher::Worker {
    struct Item {
        std::shared_ptr<const std::string> line;
        std::shared_ptr<const model::Alert> alert;
    };

    Worker(std::string title, std::unique_ptr<Channel> way, std::size_t capacity, bool json_lines)
        : name(std::move(title)), channel(std::move(way)), queue(capacity), json(json_lines),
          thread([this] { run(); }) {}

    void run() {
        std::vector<Item> items;
        for (;;) {
            if (queue.pop_all(items, kWait, kBatch) == 0 && queue.closed()) return;
            for (const auto& item : items) {
                if (giving_up.load(std::memory_order_relaxed)) {
                    failed.fetch_add(1, std::memory_order_relaxed);
                    continue;
                }
                note(channel->send(*item.line, json, *item.alert));
            }
            items.clear();
        }
    }

    void note(const Result<>& done) {
        if (done) {
            sent.fetch_add(1, std::memory_order_relaxed);
            return;
        }
        failed.fetch_add(1, std::memory_order_relaxed);
        const std::lock_guard lock(mutex);
        // A channel that is down says so once, not for each alert.
        if (last_error != done.error().message)
            log_error("an alert could not be delivered", kv("output", name),
                      kv("error", done.error().message));
        last_error = done.error().message;
    }

    std::string name;
    std::unique_ptr<Channel> channel;
    loop::Queue<Item> queue;
    bool json;
    std::atomic<bool> giving_up{false};
    std::atomic<std::uint64_t> sent{0};
    std::atomic<std::uint64_t> failed{0};
    std::mutex mutex; // last_error
    std::string last_error;
    std::thread thread;
};

Dispatcher::Dispatcher(DispatchOptions options, AlertStore& store,
                       std::vector<std::pair<std::string, std::unique_ptr<Channel>>> channels)
    : options_(std::move(options)), store_(store), queue_(options_.queue),
      limit_(options_.per_second, options_.burst) {
    for (auto& [name, channel] : channels) {
        workers_.push_back(
            std::make_unique<Worker>(name, std::move(channel), options_.queue, options_.json));
    }
    thread_ = std::thread([this] { run(); });
}

Dispatcher::~Dispatcher() {
    queue_.close();
    thread_.join();
    for (auto& worker : workers_)
        worker->queue.close();
    const auto until = std::chrono::steady_clock::now() + kLastChance;
    for (auto& worker : workers_) {
        while (worker->queue.size() > 0 && std::chrono::steady_clock::now() < until)
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        worker->giving_up.store(true, std::memory_order_relaxed);
        worker->thread.join();
    }
}

void Dispatcher::send(model::Alert&& alert) {
    alerts_.fetch_add(1, std::memory_order_relaxed);
    queue_.push(std::move(alert));
}

void Dispatcher::run() {
    std::vector<model::Alert> alerts;
    for (;;) {
        if (queue_.pop_all(alerts, kWait, kBatch) == 0 && queue_.closed()) return;
        for (auto& alert : alerts) {
            if (!limit_.allow(alert.rule, alert.time_ns)) {
                limited_.fetch_add(1, std::memory_order_relaxed);
                const std::lock_guard lock(mutex_);
                ++limited_by_rule_[alert.rule];
                continue;
            }
            if (options_.complete) options_.complete(alert);
            const auto stored = store_.append(std::move(alert));
            if (workers_.empty()) continue;
            const auto line = std::make_shared<const std::string>(
                options_.json ? alert_json(*stored, options_.iso_8601)
                              : alert_text(*stored, options_.iso_8601));
            for (auto& worker : workers_)
                worker->queue.push({line, stored});
        }
        alerts.clear();
    }
}

DispatchStats Dispatcher::stats() const {
    DispatchStats stats;
    stats.alerts = alerts_.load(std::memory_order_relaxed);
    stats.limited = limited_.load(std::memory_order_relaxed);
    stats.dropped = queue_.dropped();
    {
        const std::lock_guard lock(mutex_);
        stats.limited_by_rule = limited_by_rule_;
    }
    for (const auto& worker : workers_) {
        const std::lock_guard lock(worker->mutex);
        stats.channels.push_back({worker->name, worker->sent.load(std::memory_order_relaxed),
                                  worker->failed.load(std::memory_order_relaxed),
                                  worker->queue.dropped(), worker->last_error});
    }
    return stats;
}

} // namespace beeline::security
