#include "loop/queue.h"

#include <atomic>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

namespace beeline::loop {
namespace {

using namespace std::chrono_literals;

TEST(Queue, KeepsOrderAndMovesItems) {
    Queue<std::unique_ptr<int>> queue(10);
    for (int i = 0; i < 3; ++i)
        EXPECT_TRUE(queue.push(std::make_unique<int>(i)));
    std::vector<std::unique_ptr<int>> out;
    EXPECT_EQ(queue.pop_all(out, 0ms, 2), 2U);
    EXPECT_EQ(queue.pop_all(out), 1U);
    ASSERT_EQ(out.size(), 3U);
    for (int i = 0; i < 3; ++i)
        EXPECT_EQ(*out[static_cast<std::size_t>(i)], i);
    EXPECT_EQ(queue.pop_all(out), 0U);
}

TEST(Queue, CountsWhatDoesNotFit) {
    Queue<int> queue(3);
    std::vector<int> batch{1, 2, 3, 4, 5};
    EXPECT_EQ(queue.push_all(batch), 2U);
    EXPECT_TRUE(batch.empty());
    EXPECT_FALSE(queue.push(6));
    EXPECT_EQ(queue.dropped(), 3U);
    EXPECT_EQ(queue.size(), 3U);
    EXPECT_EQ(queue.pop_all(batch), 3U);
    EXPECT_EQ(batch, (std::vector<int>{1, 2, 3}));
    EXPECT_TRUE(queue.push(7));
}

TEST(Queue, WakesOnlyWhenItStopsBeingEmpty) {
    int wakes = 0;
    Queue<int> queue(10, [&] { ++wakes; });
    std::vector<int> batch{1, 2};
    queue.push_all(batch);
    queue.push(3);
    EXPECT_EQ(wakes, 1);
    queue.push_all(batch); // empty batch
    EXPECT_EQ(wakes, 1);
    queue.pop_all(batch);
    queue.push(4);
    EXPECT_EQ(wakes, 2);
}

TEST(Queue, WaitEndsWithTimeItemOrClose) {
    Queue<int> queue(10);
    std::vector<int> out;
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(queue.pop_all(out, 30ms), 0U);
    EXPECT_GE(std::chrono::steady_clock::now() - start, 29ms);

    std::thread producer([&] {
        std::this_thread::sleep_for(10ms);
        queue.push(1);
    });
    EXPECT_EQ(queue.pop_all(out, 10s), 1U);
    producer.join();

    std::thread closer([&] {
        std::this_thread::sleep_for(10ms);
        queue.close();
    });
    EXPECT_EQ(queue.pop_all(out, 10s), 0U);
    closer.join();
    EXPECT_TRUE(queue.closed());
    EXPECT_FALSE(queue.push(2));
    EXPECT_EQ(queue.dropped(), 1U);
}

// Every item is either taken once or counted as dropped, and each producer's items stay in order.
TEST(Queue, ManyProducersOneConsumer) {
    constexpr int kThreads = 6;
    constexpr int kEach = 20000;
    Queue<std::pair<int, int>> queue(256);
    std::atomic<int> running = kThreads;
    std::vector<std::thread> producers;
    producers.reserve(kThreads);
    for (int t = 0; t < kThreads; ++t) {
        producers.emplace_back([&, t] {
            std::vector<std::pair<int, int>> batch;
            for (int i = 0; i < kEach; ++i) {
                if (t % 2 == 0) {
                    queue.push({t, i});
                    continue;
                }
                batch.emplace_back(t, i);
                if (batch.size() == 50) queue.push_all(batch);
            }
            if (--running == 0) queue.close();
        });
    }
    std::vector<int> last(kThreads, -1);
    std::uint64_t taken = 0;
    std::vector<std::pair<int, int>> out;
    while (queue.pop_all(out, 1s) > 0 || !queue.closed()) {
        for (const auto& [thread, number] : out) {
            EXPECT_GT(number, last[static_cast<std::size_t>(thread)]);
            last[static_cast<std::size_t>(thread)] = number;
        }
        taken += out.size();
        out.clear();
    }
    taken += queue.pop_all(out);
    for (auto& producer : producers)
        producer.join();
    EXPECT_EQ(taken + queue.dropped(), static_cast<std::uint64_t>(kThreads) * kEach);
}

} // namespace
} // namespace beeline::loop
