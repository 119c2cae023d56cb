// Many requests to a Kubernetes API server at once, over one connection where it speaks HTTP/2, in one thread of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/result.h"
#include "kube/access.h"
#include "kube/request.h"

namespace beeline::kube {

// Everything but post() and the destructor belongs to the session's thread: handlers, tasks and timers run there.
class Session {
public:
    using Task = std::function<void()>;
    using Id = std::uint64_t;

    struct Outcome {
        long status = 0;   // 0: there was no answer
        std::string error; // why the answer did not come or broke off; empty: it is complete
        std::string body;  // of a status other than 2xx, its beginning
        [[nodiscard]] bool good() const { return error.empty() && status >= 200 && status < 300; }
        [[nodiscard]] std::string problem() const;
    };
    struct Handler {
        // A good answer begins: its body may take its time.
        std::function<void()> begun;
        // Bytes of a good answer, as they come; false ends the request. Must not cancel it.
        std::function<bool(std::string_view)> data;
        // At the end, but not after cancel().
        std::function<void(const Outcome&)> done;
    };

    explicit Session(Access access);
    // Ends all requests without a word and waits for the thread.
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // Any thread.
    void post(Task task);

    // `done` is called later, also when the request could not begin.
    Id start(Request request, Handler handler);
    void cancel(Id id);
    Id after(std::uint64_t delay_ms, Task task);
    void cancel_timer(Id id);

private:
    struct Transaction;
    using Time = std::uint64_t; // CLOCK_MONOTONIC in ms

    void run();
    void run_tasks();
    void run_timers();
    void begin_waiting();
    void begin(Id id, Transaction& transaction);
    void finish(CURL* handle, CURLcode code);
    void finish(Id id, Outcome outcome);
    [[nodiscard]] int wait_ms() const;

    const Access access_;
    CURLM* multi_ = nullptr;
    Id next_ = 1;
    std::map<Id, std::unique_ptr<Transaction>> transactions_;
    std::vector<Id> waiting_; // to be started outside of libcurl's callbacks
    std::map<std::pair<Time, Id>, Task> timers_;

    std::mutex mutex_;
    std::vector<Task> tasks_;
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

} // namespace beeline::kube
