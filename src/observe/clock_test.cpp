#include "observe/clock.h"

#include <gtest/gtest.h>

namespace beeline::observe {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

TEST(EventClock, FollowsStepsOfTheTimeOfDay) {
    EventClock::Sample now{100 * kSecond, 5'000 * kSecond};
    int reads = 0;
    EventClock clock([&] {
        ++reads;
        return now;
    });
    EXPECT_EQ(clock.realtime(100 * kSecond), 5'000 * kSecond);
    EXPECT_EQ(clock.realtime(99 * kSecond + 1), 4'999 * kSecond + 1);
    EXPECT_EQ(clock.realtime(100 * kSecond + kSecond / 2), 5'000 * kSecond + kSecond / 2);
    EXPECT_EQ(reads, 1);

    now = {102 * kSecond, 8'000 * kSecond};
    EXPECT_EQ(clock.realtime(102 * kSecond), 8'000 * kSecond);
    EXPECT_EQ(reads, 2);
}

TEST(EventClock, RealClocksAgree) {
    EventClock clock;
    const auto sample = EventClock::sample();
    const std::int64_t converted = clock.realtime(static_cast<std::uint64_t>(sample.monotonic_ns));
    EXPECT_NEAR(static_cast<double>(converted), static_cast<double>(sample.realtime_ns), 1e8);
    EXPECT_NEAR(static_cast<double>(clock.now()), static_cast<double>(sample.realtime_ns), 1e9);
}

} // namespace
} // namespace beeline::observe
