// Everything below a prefix of etcd, read and followed in a thread of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "source/etcd/client.h"

namespace beeline::source {

// A pause that grows with each failure, and differs between machines that failed together.
class Pause {
public:
    Pause(unsigned first_ms, unsigned longest_ms)
        : first_ms_(first_ms), longest_ms_(longest_ms), random_(std::random_device{}()) {}
    unsigned next_ms();
    void reset() { failures_ = 0; }

private:
    unsigned first_ms_;
    unsigned longest_ms_;
    unsigned failures_ = 0;
    std::minstd_rand random_;
};

class EtcdFeed {
public:
    struct Value {
        std::string key;
        std::string text;
        std::int64_t created = 0;  // revision
        std::int64_t modified = 0; // revision, of the deletion when deleted
        std::int64_t lease = 0;
        bool deleted = false;
    };
    struct Batch {
        bool whole = false;   // all keys; what is not among them is gone
        bool history = false; // of another cluster, or one restored: revisions begin anew
        std::uint64_t cluster = 0;
        std::int64_t revision = 0; // everything up to it has been told now
        std::vector<Value> values;
    };
    struct Handlers {
        std::function<void(Batch)> batch;
        // Empty: connected.
        std::function<void(std::string)> state;
    };

    // `cluster` and `revision`: what is known already, of an earlier run. The handlers are called in the feed's thread.
    EtcdFeed(EtcdOptions options, Handlers handlers, std::uint64_t cluster, std::int64_t revision);
    ~EtcdFeed(); // waits for the thread
    EtcdFeed(const EtcdFeed&) = delete;
    EtcdFeed& operator=(const EtcdFeed&) = delete;

    [[nodiscard]] std::string endpoint() const { return client_.endpoint(); }
    [[nodiscard]] std::uint64_t lists() const { return lists_; }
    [[nodiscard]] std::uint64_t failures() const { return failures_; }

private:
    void run();
    Result<> list();
    Error follow();
    bool take(const etcdpb::WatchResponse& response, Batch& pending);
    bool sleep(unsigned ms); // false: stop

    EtcdOptions options_;
    Handlers handlers_;
    EtcdClient client_;
    std::uint64_t cluster_;
    std::int64_t revision_;
    bool listed_ = false;
    bool connected_ = false;
    int page_;
    Pause pause_;
    std::atomic<std::uint64_t> lists_{0};
    std::atomic<std::uint64_t> failures_{0};
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stop_ = false;
    std::thread thread_;
};

} // namespace beeline::source
