#include "ebpf/merged_ring.h"

#include <linux/bpf.h>

#include <cstring>
#include <random>
#include <thread>

#include <gtest/gtest.h>

namespace beeline::ebpf {
namespace {

// A ring as the kernel writes it.
class FakeRing {
public:
    explicit FakeRing(std::size_t size = 4096) : size_(size), data_(size / 8) {}

    // False when there is no room.
    bool put(std::uint64_t time, std::size_t length = 16, std::uint32_t bits = 0) {
        const std::size_t whole = (length + BPF_RINGBUF_HDR_SZ + 7) / 8 * 8;
        const std::uint64_t at = producer_;
        if (at + whole - __atomic_load_n(&consumer_, __ATOMIC_ACQUIRE) > size_) return false;
        const std::vector<std::uint8_t> rest(length - sizeof time, static_cast<std::uint8_t>(time));
        write(at + BPF_RINGBUF_HDR_SZ, &time, sizeof time);
        write(at + BPF_RINGBUF_HDR_SZ + sizeof time, rest.data(), rest.size());
        set_header(at, static_cast<std::uint32_t>(length) | bits);
        last_ = at;
        __atomic_store_n(&producer_, at + whole, __ATOMIC_RELEASE);
        return true;
    }
    void finish(std::size_t length = 16) { set_header(last_, static_cast<std::uint32_t>(length)); }
    [[nodiscard]] std::uint64_t consumed() const { return consumer_; }
    [[nodiscard]] std::uint64_t produced() const { return producer_; }
    std::unique_ptr<MergedRing::Source> source() {
        return std::make_unique<MergedRing::Source>(
            &consumer_, &producer_, reinterpret_cast<const std::byte*>(data_.data()), size_);
    }

private:
    void set_header(std::uint64_t at, std::uint32_t value) {
        __atomic_store_n(reinterpret_cast<std::uint32_t*>(&data_[at % size_ / 8]), value,
                         __ATOMIC_RELEASE);
    }
    void write(std::uint64_t at, const void* from, std::size_t length) {
        for (std::size_t i = 0; i < length; ++i) {
            auto* bytes = reinterpret_cast<std::byte*>(data_.data());
            bytes[(at + i) % size_] = static_cast<const std::byte*>(from)[i];
        }
    }

    std::size_t size_;
    std::vector<std::uint64_t> data_;
    std::uint64_t consumer_ = 0, producer_ = 0, last_ = 0;
};

std::uint64_t time_of(std::span<const std::byte> record) {
    std::uint64_t time = 0;
    std::memcpy(&time, record.data(), sizeof time);
    return time;
}

class MergedRingTest : public testing::Test {
protected:
    MergedRingTest() {
        std::vector<std::unique_ptr<MergedRing::Source>> sources;
        sources.push_back(first_.source());
        sources.push_back(second_.source());
        ring_ = MergedRing::over(std::move(sources));
    }
    std::vector<std::uint64_t> take(std::size_t limit = SIZE_MAX) {
        std::vector<std::uint64_t> times;
        ring_->consume([&](std::span<const std::byte> record) { times.push_back(time_of(record)); },
                       limit);
        return times;
    }

    FakeRing first_, second_;
    std::unique_ptr<MergedRing> ring_;
};

TEST_F(MergedRingTest, HandsOutInOrderOfTime) {
    for (const std::uint64_t time : {2, 5, 9})
        first_.put(time);
    for (const std::uint64_t time : {1, 3, 8, 10})
        second_.put(time, 40);
    EXPECT_EQ(take(), (std::vector<std::uint64_t>{1, 2, 3, 5, 8, 9, 10}));
    EXPECT_EQ(first_.consumed(), first_.produced());
    EXPECT_EQ(second_.consumed(), second_.produced());
    EXPECT_TRUE(take().empty());
}

TEST_F(MergedRingTest, TheEarlierRingGoesFirstAtTheSameTime) {
    second_.put(4, 24);
    first_.put(4, 16);
    std::vector<std::size_t> sizes;
    ring_->consume([&](std::span<const std::byte> record) { sizes.push_back(record.size()); });
    EXPECT_EQ(sizes, (std::vector<std::size_t>{16, 24}));
}

TEST_F(MergedRingTest, StopsAtTheLimit) {
    for (std::uint64_t time = 1; time <= 5; ++time)
        first_.put(time);
    EXPECT_EQ(take(2), (std::vector<std::uint64_t>{1, 2}));
    EXPECT_EQ(take(), (std::vector<std::uint64_t>{3, 4, 5}));
}

TEST_F(MergedRingTest, SkipsWhatTheKernelThrewAway) {
    first_.put(1, 16, BPF_RINGBUF_DISCARD_BIT);
    first_.put(2);
    first_.put(3, 16, BPF_RINGBUF_DISCARD_BIT);
    EXPECT_EQ(take(), (std::vector<std::uint64_t>{2}));
    EXPECT_EQ(first_.consumed(), first_.produced());
}

TEST_F(MergedRingTest, WaitsForARecordThatIsBeingWritten) {
    first_.put(1, 16, BPF_RINGBUF_BUSY_BIT);
    second_.put(2);
    EXPECT_TRUE(take().empty()) << "the one that is being written may be older";
    first_.finish();
    EXPECT_EQ(take(), (std::vector<std::uint64_t>{1, 2}));
}

TEST_F(MergedRingTest, GoesRoundAndRound) {
    std::mt19937 random(3);
    std::uint64_t time = 0;
    std::size_t put = 0, taken = 0;
    for (int round = 0; round < 2000; ++round) {
        while ((random() % 2 == 0 ? first_ : second_).put(++time, 8 + random() % 200))
            ++put;
        std::uint64_t last = 0;
        ring_->consume([&](std::span<const std::byte> record) {
            EXPECT_GT(time_of(record), last);
            last = time_of(record);
            for (const std::byte byte : record.subspan(sizeof last))
                EXPECT_EQ(byte, static_cast<std::byte>(last)) << "a record that was cut";
            ++taken;
        });
    }
    EXPECT_EQ(put, taken);
    EXPECT_GT(first_.produced(), 100U * 4096);
}

TEST_F(MergedRingTest, ARingThatWasReadBeforeIsReadOn) {
    for (std::uint64_t time = 1; time <= 3; ++time)
        ASSERT_TRUE(first_.put(time));
    EXPECT_EQ(take().size(), 3U);
    ring_.reset();
    ASSERT_TRUE(first_.put(4));
    std::vector<std::unique_ptr<MergedRing::Source>> sources;
    sources.push_back(first_.source());
    ring_ = MergedRing::over(std::move(sources));
    EXPECT_EQ(take(), (std::vector<std::uint64_t>{4}));
}

// A writer puts the cause into the first ring and the effect into the second; no effect may come before its cause.
TEST_F(MergedRingTest, CausesComeBeforeEffects) {
    constexpr std::uint64_t kPairs = 200000;
    std::thread writer([&] {
        for (std::uint64_t i = 1; i <= kPairs; ++i) {
            while (!first_.put(2 * i))
                std::this_thread::yield();
            while (!second_.put(2 * i + 1))
                std::this_thread::yield();
        }
    });
    std::uint64_t last = 1, count = 0;
    bool in_order = true;
    while (count < 2 * kPairs) {
        const std::size_t got = ring_->consume([&](std::span<const std::byte> record) {
            in_order = in_order && time_of(record) == last + 1;
            last = time_of(record);
        });
        count += got;
        if (got == 0) std::this_thread::yield();
    }
    writer.join();
    EXPECT_TRUE(in_order);
}

} // namespace
} // namespace beeline::ebpf
