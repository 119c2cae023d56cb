#include "datapath/shaper.h"

#include <gtest/gtest.h>

namespace beeline::datapath {
namespace {

constexpr std::uint64_t kMs = 1'000'000;

TEST(Shaper, BurstsAreWithinBounds) {
    EXPECT_EQ(limit_way({}).rate, 0U);
    // containerd's burst is none of what a limit is for.
    const auto slow = limit_way({8'000'000, 4'294'967'295});
    EXPECT_EQ(slow.rate, 1'000'000U);
    EXPECT_EQ(slow.burst_ns, 131'072'000U); // 128 KiB
    const auto fast = limit_way({8'000'000'000, 4'294'967'295});
    EXPECT_EQ(fast.burst_ns, 100 * kMs);
    EXPECT_EQ(limit_way({8'000'000'000, 0}).burst_ns, 100 * kMs);
    // 2 MB of 1 GB/s
    EXPECT_EQ(limit_way({8'000'000'000, 16'000'000}).burst_ns, 2 * kMs);
    EXPECT_EQ(limit_way({8'000'000'000, 8}).burst_ns, 131'072U);
    // The least and the most that the configuration lets through.
    EXPECT_EQ(limit_way({1000, 0}).burst_ns, 1'048'576'000'000U);
    EXPECT_EQ(limit_way({1'000'000'000'000'000, 1}).burst_ns, 1U);
}

} // namespace
} // namespace beeline::datapath
