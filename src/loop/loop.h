// The control loop: one thread that owns all mutable state of the agent.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <type_traits>

#include "base/result.h"

namespace beeline::loop {

class Loop {
public:
    using Task = std::function<void()>;
    using TimerId = std::uint64_t;

    static Result<std::unique_ptr<Loop>> create();
    ~Loop();
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    // Runs until stop(). The calling thread becomes the loop's thread.
    void run();
    // Any thread. Tasks that were posted before are still run.
    void stop();

    // Any thread: runs `task` on the loop's thread, in order.
    void post(Task task);

    // Any thread but the loop's own: runs `function` there and returns its value. Must not be called after run()
    // returned; while the loop is stopping the call may still be served.
    template <typename F>
    std::invoke_result_t<F> call(F function) {
        using R = std::invoke_result_t<F>;
        std::packaged_task<R()> task(std::move(function));
        auto result = task.get_future();
        auto shared = std::make_shared<std::packaged_task<R()>>(std::move(task));
        post([shared] { (*shared)(); });
        return result.get();
    }

    // Loop thread only. `events` are EPOLLIN etc.; the handler gets what is ready. The fd stays the caller's.
    Result<> watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> handler);
    void unwatch(int fd);

    // Loop thread only. Timers of CLOCK_MONOTONIC.
    TimerId after(std::uint64_t delay_ms, Task task);
    TimerId every(std::uint64_t period_ms, Task task);
    void cancel(TimerId id);

    // Blocks the signals in the calling thread (and those it starts later) and delivers them on the loop.
    Result<> on_signals(std::initializer_list<int> signals, std::function<void(int)> handler);

private:
    Loop();
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace beeline::loop
