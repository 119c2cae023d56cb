#include "observe/cache.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace beeline::observe {
namespace {

TEST(LruCache, ForgetsWhatWasUnusedForLongest) {
    LruCache<std::uint32_t, std::string> cache(2);
    cache.put(1, "one");
    cache.put(2, "two");
    ASSERT_NE(cache.find(1), nullptr);
    cache.put(3, "three");
    EXPECT_EQ(cache.find(2), nullptr);
    ASSERT_NE(cache.find(1), nullptr);
    EXPECT_EQ(*cache.find(1), "one");
    EXPECT_EQ(*cache.find(3), "three");
    EXPECT_EQ(cache.size(), 2U);
    cache.clear();
    EXPECT_EQ(cache.find(1), nullptr);
    EXPECT_EQ(cache.size(), 0U);
}

TEST(LruCache, StaysBounded) {
    LruCache<std::uint64_t, std::uint64_t> cache(100);
    for (std::uint64_t i = 0; i < 10'000; ++i)
        cache.put(i, i);
    EXPECT_EQ(cache.size(), 100U);
    for (std::uint64_t i = 9'900; i < 10'000; ++i)
        ASSERT_NE(cache.find(i), nullptr);
}

TEST(Interner, EqualValuesShareOneObject) {
    Interner<std::string> strings;
    const auto first = strings.get("a rule");
    EXPECT_EQ(first, strings.get("a rule"));
    EXPECT_NE(first, strings.get("another rule"));
    EXPECT_EQ(*first, "a rule");
}

TEST(Interner, LetsGoOfWhatNobodyHolds) {
    Interner<std::string> strings;
    const auto kept = strings.get("kept");
    for (int i = 0; i < 100'000; ++i)
        strings.get(std::to_string(i));
    EXPECT_LE(strings.size(), 1024U);
    EXPECT_EQ(kept, strings.get("kept"));
}

} // namespace
} // namespace beeline::observe
