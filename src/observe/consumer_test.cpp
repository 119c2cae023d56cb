#include "observe/consumer.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <thread>

#include "observe/ingest.h"
#include "observe/store.h"
#include "observe/test_events.h"

namespace beeline::observe {
namespace {

using namespace testing;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kFlows = 5000;

// A ring in memory. Like the kernel's it wakes its reader only when told to.
class FakeRing {
public:
    FakeRing() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

    void write(const bl_flow_event& event, bool wake = false) {
        {
            const std::lock_guard lock(mutex_);
            events_.push_back(event);
        }
        if (wake) ::eventfd_write(fd_.get(), 1);
    }
    void break_down() { broken_ = true; }
    void lose(std::uint64_t count) { lost_ += count; }
    RingSource source() {
        return {.fd = fd_.get(),
                .consume = [this](const RingSource::Handler& handler) { return consume(handler); },
                .lost = [this] { return lost_.load(); }};
    }

private:
    Result<std::size_t> consume(const RingSource::Handler& handler) {
        if (broken_.exchange(false)) return fail(Code::system, "ring is broken");
        std::deque<bl_flow_event> batch;
        {
            const std::lock_guard lock(mutex_);
            batch.swap(events_);
        }
        for (const auto& event : batch)
            handler(bytes(event));
        return batch.size();
    }

    Fd fd_;
    std::mutex mutex_;
    std::deque<bl_flow_event> events_;
    std::atomic<std::uint64_t> lost_{0};
    std::atomic<bool> broken_{false};
};

class ConsumerTest : public ::testing::Test {
protected:
    // Waits, within bounds, until `store_` has so many flows.
    void expect_total(std::uint64_t count) {
        const auto deadline = Clock::now() + 20s;
        while (store_.stats().total < count && Clock::now() < deadline)
            std::this_thread::sleep_for(1ms);
        EXPECT_EQ(store_.stats().total, count);
    }

    FakeRing ring_;
    Store store_;
    Ingest ingest_{store_, "/nonexistent"};
};

TEST_F(ConsumerTest, DrainsWithoutBeingWoken) {
    const auto consumer = Consumer::start(ingest_, ring_.source()).value();
    for (int i = 0; i < 100; ++i)
        ring_.write(opened());
    expect_total(100);
    EXPECT_EQ(ingest_.counts().events, 100U);
}

TEST_F(ConsumerTest, DrainsWhatIsLeftWhenItStops) {
    auto consumer = Consumer::start(ingest_, ring_.source()).value();
    ring_.write(opened());
    consumer.reset();
    EXPECT_EQ(store_.stats().total, 1U);
}

TEST_F(ConsumerTest, SleepsWhenNothingHappens) {
    const auto consumer = Consumer::start(ingest_, ring_.source()).value();
    std::this_thread::sleep_for(100ms);
    const std::uint64_t before = consumer->wakeups();
    std::this_thread::sleep_for(400ms);
    EXPECT_LE(consumer->wakeups() - before, 400 / Consumer::kLongestSleepMs + 2);
    EXPECT_GE(consumer->wakeups() - before, 2U);
}

TEST_F(ConsumerTest, ForcedWakeupsAreServedEveryTime) {
    const auto consumer = Consumer::start(ingest_, ring_.source()).value();
    for (std::uint64_t i = 1; i <= 5; ++i) {
        std::this_thread::sleep_for(50ms);
        ring_.write(opened(), true);
        expect_total(i);
    }
    // The eventfd was never read: the ring stays readable, and yet the thread does not spin.
    const std::uint64_t before = consumer->wakeups();
    std::this_thread::sleep_for(200ms);
    EXPECT_LE(consumer->wakeups() - before, 20U);
}

TEST_F(ConsumerTest, KernelLossesBecomeFlows) {
    ring_.lose(1000); // before the start: not news
    const auto consumer = Consumer::start(ingest_, ring_.source()).value();
    Reader reader = store_.read({.follow = true});
    EXPECT_FALSE(reader.next());
    ring_.lose(7);
    ASSERT_TRUE(reader.wait(20'000));
    const model::Flow flow = reader.next().value_or(model::Flow{});
    EXPECT_EQ(flow.kind, model::Flow::Kind::lost);
    EXPECT_EQ(flow.lost, 7U);
    EXPECT_EQ(flow.lost_where, "ring");
    EXPECT_EQ(ingest_.counts().lost, 7U);
}

TEST_F(ConsumerTest, SurvivesAFailingRing) {
    const auto consumer = Consumer::start(ingest_, ring_.source()).value();
    ring_.break_down();
    ring_.write(opened());
    expect_total(1);
    // A look that had begun before takes the record; the next one fails.
    for (int i = 0; i < 2000 && consumer->ring_errors() == 0; ++i)
        std::this_thread::sleep_for(10ms);
    EXPECT_EQ(consumer->ring_errors(), 1U);
}

TEST_F(ConsumerTest, RefusesABadDescriptor) {
    RingSource source = ring_.source();
    source.fd = -1;
    EXPECT_FALSE(Consumer::start(ingest_, source));
}

// The threads of a running agent: ring, directory changes, followers.
TEST_F(ConsumerTest, NamesChangeWhileFlowsCome) {
    const auto consumer = Consumer::start(ingest_, ring_.source()).value();
    std::thread follower([this] {
        Reader reader = store_.read({.last = kFlows, .follow = true});
        std::uint64_t seen = 0;
        while (seen < kFlows) {
            if (reader.next()) {
                ++seen;
            } else {
                ASSERT_TRUE(reader.wait(20'000));
            }
        }
    });
    std::thread names([this] {
        for (int i = 0; i < 200; ++i) {
            ingest_.set_directory(directory());
            EXPECT_LE(ingest_.counts().events, kFlows);
            std::this_thread::yield();
        }
    });
    for (std::uint64_t i = 0; i < kFlows; ++i)
        ring_.write(i % 2 == 0 ? opened() : denied());
    names.join();
    follower.join();
    EXPECT_EQ(ingest_.counts().events, kFlows);
}

} // namespace
} // namespace beeline::observe
