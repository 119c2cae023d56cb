#include "loop/loop.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"

namespace beeline::loop {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

std::unique_ptr<Loop> make_loop() {
    auto loop = Loop::create();
    if (!loop) {
        ADD_FAILURE() << loop.error().message;
        std::abort();
    }
    return std::move(*loop);
}

struct Pipe {
    Fd in;
    Fd out;
    Pipe() {
        int fds[2];
        EXPECT_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
        out.reset(fds[0]);
        in.reset(fds[1]);
    }
    void write(std::string_view text) const {
        EXPECT_EQ(::write(in.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    }
    std::string read() const {
        char buffer[64];
        const auto got = ::read(out.get(), buffer, sizeof(buffer));
        return got > 0 ? std::string(buffer, static_cast<std::size_t>(got)) : "";
    }
};

TEST(Loop, RunsPostedTasksInOrderAndThoseBeforeStop) {
    auto loop = make_loop();
    std::vector<int> seen;
    for (int i = 0; i < 1000; ++i)
        loop->post([&seen, i] { seen.push_back(i); });
    loop->stop();
    loop->post([&seen] { seen.push_back(1000); });
    loop->run();
    ASSERT_GE(seen.size(), 1000U);
    for (int i = 0; i < 1000; ++i)
        EXPECT_EQ(seen[static_cast<std::size_t>(i)], i);
}

TEST(Loop, PostAfterTheEndFreesTheTask) {
    auto loop = make_loop();
    loop->stop();
    loop->run();
    auto token = std::make_shared<int>(1);
    loop->post([token] { ADD_FAILURE() << "must not run"; });
    EXPECT_EQ(token.use_count(), 1);
}

TEST(Loop, TaskThatPostsItselfDoesNotStarveTimers) {
    auto loop = make_loop();
    std::function<void()> again = [&] { loop->post(again); };
    loop->post(again);
    loop->after(20, [&] { loop->stop(); });
    loop->run();
}

TEST(Loop, CallReturnsTheValueFromTheLoopThread) {
    auto loop = make_loop();
    std::thread runner([&] { loop->run(); });
    const auto id = loop->call([] { return std::this_thread::get_id(); });
    EXPECT_EQ(id, runner.get_id());
    auto owned = loop->call([] { return std::make_unique<std::string>("moved"); });
    EXPECT_EQ(*owned, "moved");
    loop->call([] {});
    loop->stop();
    runner.join();
}

TEST(Loop, TimersFireInOrderOfTheirDeadlines) {
    auto loop = make_loop();
    std::string order;
    const auto start = Clock::now();
    loop->after(60, [&] { order += 'c'; });
    loop->after(20, [&] { order += 'a'; });
    loop->after(40, [&] { order += 'b'; });
    loop->after(80, [&] { loop->stop(); });
    loop->run();
    EXPECT_EQ(order, "abc");
    EXPECT_GE(Clock::now() - start, 79ms);
}

TEST(Loop, PeriodicTimerRunsUntilItCancelsItself) {
    auto loop = make_loop();
    int runs = 0;
    Loop::TimerId id = 0;
    id = loop->every(5, [&] {
        if (++runs == 4) loop->cancel(id);
    });
    loop->after(120, [&] { loop->stop(); });
    loop->run();
    EXPECT_EQ(runs, 4);
}

TEST(Loop, CancelledTimerDoesNotFireEvenWhenBothAreDue) {
    auto loop = make_loop();
    Loop::TimerId second = 0;
    loop->after(10, [&] { loop->cancel(second); });
    second = loop->after(10, [] { ADD_FAILURE() << "cancelled"; });
    loop->after(30, [&] { loop->stop(); });
    loop->post([] { std::this_thread::sleep_for(15ms); });
    loop->run();
}

TEST(Loop, MissedPeriodsAreNotMadeUpFor) {
    auto loop = make_loop();
    int runs = 0;
    loop->every(10, [&] {
        if (++runs == 1) std::this_thread::sleep_for(100ms);
    });
    loop->after(118, [&] { loop->stop(); });
    loop->run();
    EXPECT_LE(runs, 4);
}

TEST(Loop, WatchDeliversReadinessAndUnwatchEndsIt) {
    auto loop = make_loop();
    const Pipe pipe;
    std::string got;
    ASSERT_TRUE(loop->watch(pipe.out.get(), EPOLLIN, [&](std::uint32_t events) {
        EXPECT_TRUE(events & EPOLLIN);
        got += pipe.read();
        loop->unwatch(pipe.out.get());
        pipe.write("ignored");
        loop->after(20, [&] { loop->stop(); });
    }));
    const auto twice = loop->watch(pipe.out.get(), EPOLLIN, [](std::uint32_t) {});
    ASSERT_FALSE(twice);
    EXPECT_EQ(twice.error().code, Code::exists);
    pipe.write("hello");
    loop->run();
    EXPECT_EQ(got, "hello");
}

// Two ready fds; the first handler closes the second and reuses its number for a file that has
// nothing to read.
TEST(Loop, StaleEventDoesNotReachTheNextOwnerOfAnFdNumber) {
    auto loop = make_loop();
    const Pipe quiet;
    Pipe first;
    Pipe second;
    int calls = 0;
    const auto replace = [&](Pipe& other) {
        if (++calls > 1) return;
        const int number = other.out.get();
        loop->unwatch(number);
        ASSERT_EQ(dup2(quiet.out.get(), number), number);
        ASSERT_TRUE(
            loop->watch(number, EPOLLIN, [](std::uint32_t) { ADD_FAILURE() << "stale event"; }));
    };
    ASSERT_TRUE(loop->watch(first.out.get(), EPOLLIN, [&](std::uint32_t) {
        first.read();
        replace(second);
    }));
    ASSERT_TRUE(loop->watch(second.out.get(), EPOLLIN, [&](std::uint32_t) {
        second.read();
        replace(first);
    }));
    first.write("x");
    second.write("x");
    loop->after(20, [&] { loop->stop(); });
    loop->run();
    EXPECT_EQ(calls, 1);
}

TEST(Loop, WatchOfABadDescriptorFails) {
    auto loop = make_loop();
    const auto bad = loop->watch(-1, EPOLLIN, [](std::uint32_t) {});
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().number, EBADF);
}

TEST(Loop, SignalsArriveOnTheLoopThread) {
    auto loop = make_loop();
    // A thread of its own, so that the signal mask does not leak into other tests.
    std::thread runner([&] {
        int seen = 0;
        std::thread::id where;
        ASSERT_TRUE(loop->on_signals({SIGUSR1}, [&](int signal) {
            seen = signal;
            where = std::this_thread::get_id();
            loop->stop();
        }));
        loop->post([] { pthread_kill(pthread_self(), SIGUSR1); });
        loop->run();
        EXPECT_EQ(seen, SIGUSR1);
        EXPECT_EQ(where, std::this_thread::get_id());
    });
    runner.join();
}

TEST(Loop, ManyThreadsPostAndCall) {
    constexpr int kThreads = 8;
    constexpr int kEach = 4000;
    auto loop = make_loop();
    std::thread runner([&] { loop->run(); });
    std::vector<std::vector<int>> seen(kThreads); // written by the loop's thread only
    std::atomic<int> served = 0;
    std::vector<std::thread> threads;
    threads.reserve(kThreads);
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < kEach; ++i) {
                loop->post([&seen, t, i] { seen[static_cast<std::size_t>(t)].push_back(i); });
                if (i % 100 == 0) {
                    const auto count =
                        loop->call([&seen, t] { return seen[static_cast<std::size_t>(t)].size(); });
                    if (count == static_cast<std::size_t>(i) + 1) ++served;
                }
            }
        });
    }
    for (auto& thread : threads)
        thread.join();
    loop->stop();
    runner.join();
    EXPECT_EQ(served, kThreads * kEach / 100);
    for (const auto& list : seen) {
        ASSERT_EQ(list.size(), static_cast<std::size_t>(kEach));
        EXPECT_TRUE(std::is_sorted(list.begin(), list.end()));
    }
}

TEST(LoopDeathTest, TimersFromAForeignThreadAbort) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(
        {
            auto loop = make_loop();
            std::thread runner([&] { loop->run(); });
            loop->call([] {});
            loop->after(1, [] {});
        },
        "foreign thread");
}

} // namespace
} // namespace beeline::loop
