#include "observe/store.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <thread>
#include <vector>

#include "observe/enrich.h"
#include "observe/test_events.h"

namespace beeline::observe {
namespace {

using namespace testing;
using Kind = model::Flow::Kind;
using Numbers = std::vector<std::uint64_t>;

constexpr std::uint64_t kFlows = 60'000; // of ManyThreads

class StoreTest : public ::testing::Test {
protected:
    void SetUp() override {
        enricher_.set_directory(directory());
        opened_ = enricher_.enrich(decode_flow(bytes(opened())).value());
        denied_ = enricher_.enrich(decode_flow(bytes(denied())).value());
    }
    // Flow n has the time n.
    void add(Store& store, const Record& record) {
        Record copy = record;
        copy.time_ns = ++time_ns_;
        store.append(std::move(copy));
    }
    void fill(Store& store, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i)
            add(store, opened_);
        store.publish();
    }

    Enricher enricher_{"/nonexistent"};
    Record opened_;
    Record denied_;
    std::int64_t time_ns_ = 0;
};

// A flow of kind opened and number 0 if there is none.
model::Flow take(Reader& reader) { return reader.next().value_or(model::Flow{}); }

Numbers drain(Reader& reader) {
    Numbers out;
    while (const auto flow = reader.next())
        out.push_back(flow->number);
    return out;
}
Numbers drain(Reader&& reader) { return drain(reader); }

Numbers range(std::uint64_t first, std::uint64_t last) {
    Numbers out;
    for (std::uint64_t n = first; n <= last; ++n)
        out.push_back(n);
    return out;
}

bool readable(int fd) {
    pollfd ready{fd, POLLIN, 0};
    return ::poll(&ready, 1, 0) == 1;
}

TEST_F(StoreTest, EmptyStoreHasNothing) {
    Store store;
    EXPECT_EQ(drain(store.read({})), Numbers{});
    EXPECT_EQ(drain(store.read({}, Order::newest_first)), Numbers{});
    EXPECT_EQ(store.stats().stored, 0U);
    EXPECT_EQ(store.stats().capacity, 1'000'000U);
}

TEST_F(StoreTest, BothOrders) {
    Store store;
    fill(store, 3);
    EXPECT_EQ(drain(store.read({})), (Numbers{1, 2, 3}));
    EXPECT_EQ(drain(store.read({}, Order::newest_first)), (Numbers{3, 2, 1}));
    EXPECT_EQ(store.stats().total, 3U);
}

TEST_F(StoreTest, UnpublishedFlowsAreNotHistory) {
    Store store;
    fill(store, 2);
    add(store, opened_);
    EXPECT_EQ(drain(store.read({})), (Numbers{1, 2}));
}

TEST_F(StoreTest, CapacityBoundsHistory) {
    for (const std::size_t capacity : {1UL, 10UL, 1023UL, 1024UL, 1025UL, 5000UL}) {
        Store store(capacity);
        fill(store, 12'345);
        EXPECT_EQ(drain(store.read({})), range(12'345 - capacity + 1, 12'345)) << capacity;
        EXPECT_EQ(drain(store.read({}, Order::newest_first)).size(), capacity);
        EXPECT_EQ(store.stats().stored, capacity);
        EXPECT_EQ(store.stats().total, 12'345U);
        EXPECT_EQ(store.stats().lost_queue, 0U);
    }
}

TEST_F(StoreTest, LastCountsMatches) {
    Store store;
    for (int i = 0; i < 3000; ++i)
        add(store, i % 100 == 0 ? denied_ : opened_); // 1, 101, ... 2901
    store.publish();
    const FlowFilter filter{.verdicts = {model::Flow::Verdict::dropped}, .last = 3};
    EXPECT_EQ(drain(store.read(filter)), (Numbers{2701, 2801, 2901}));
    EXPECT_EQ(drain(store.read(filter, Order::newest_first)), (Numbers{2901, 2801, 2701}));
    EXPECT_EQ(drain(store.read({.last = 0})), Numbers{});
    EXPECT_EQ(drain(store.read({.last = 0}, Order::newest_first)), Numbers{});
    EXPECT_EQ(drain(store.read({.last = 999'999})).size(), 3000U);
}

TEST_F(StoreTest, LossesDoNotCountAsLast) {
    Store store;
    fill(store, 2);
    store.append(lost_record(++time_ns_, 9));
    fill(store, 1);
    EXPECT_EQ(drain(store.read({.last = 2})), (Numbers{2, 3, 4}));
    EXPECT_EQ(drain(store.read({.last = 2}, Order::newest_first)), (Numbers{4, 3, 2}));
    Reader reader = store.read({.last = 2});
    reader.next();
    const model::Flow lost = take(reader);
    EXPECT_EQ(lost.kind, Kind::lost);
    EXPECT_EQ(lost.lost, 9U);
    EXPECT_EQ(lost.lost_where, "ring");
}

TEST_F(StoreTest, SinceAndLast) {
    Store store;
    fill(store, 100);
    EXPECT_EQ(drain(store.read({.since_ns = 98})), (Numbers{98, 99, 100}));
    EXPECT_EQ(drain(store.read({.since_ns = 98, .last = 2})), (Numbers{99, 100}));
    EXPECT_EQ(drain(store.read({.since_ns = 98, .last = 10})), (Numbers{98, 99, 100}));
    EXPECT_EQ(drain(store.read({.since_ns = 101})), Numbers{});
}

TEST_F(StoreTest, UntilAndFirst) {
    Store store;
    fill(store, 100);
    EXPECT_EQ(drain(store.read({.since_ns = 10, .until_ns = 12})), (Numbers{10, 11, 12}));
    EXPECT_EQ(drain(store.read({.since_ns = 98, .first = 2})), (Numbers{98, 99}));
    EXPECT_EQ(drain(store.read({.first = 3})), (Numbers{1, 2, 3}));
    EXPECT_EQ(drain(store.read({.first = 0})), Numbers{});
    EXPECT_EQ(drain(store.read({.until_ns = 50, .last = 2})), (Numbers{49, 50}));
    EXPECT_EQ(drain(store.read({.first = 2, .follow = true})), (Numbers{1, 2}));
}

TEST_F(StoreTest, NumbersGoOnAfterARestart) {
    Store store(2000, 1'000'001);
    EXPECT_EQ(store.stats().stored, 0U);
    fill(store, 3);
    EXPECT_EQ(drain(store.read({})), range(1'000'001, 1'000'003));
    EXPECT_EQ(drain(store.read({.last = 2})), range(1'000'002, 1'000'003));
    EXPECT_EQ(store.stats().stored, 3U);
    fill(store, 9997);
    EXPECT_EQ(drain(store.read({})), range(1'008'001, 1'010'000));
    EXPECT_EQ(store.stats().total, 1'010'000U);
}

TEST_F(StoreTest, ReadFromANumber) {
    Store store(2000);
    fill(store, 10'000);
    EXPECT_EQ(drain(store.read_from(9'990, {})), range(9'990, 10'000));
    EXPECT_EQ(drain(store.read_from(5, {})), range(8'001, 10'000));
    Reader reader = store.read_from(10'001, {.follow = true});
    EXPECT_FALSE(reader.next_record());
    fill(store, 1);
    const auto seen = reader.next_record();
    ASSERT_TRUE(seen);
    EXPECT_EQ(seen->number, 10'001U);
    EXPECT_EQ(seen->record.context, opened_.context.get());
    EXPECT_EQ(reader.position(), 10'002U);
}

// What a record says comes out of the store as it went in.
TEST_F(StoreTest, PackingLosesNothing) {
    Store store;
    bl_flow_event icmp = opened();
    icmp.key.proto = 1;
    icmp.icmp_type = 8;
    icmp.icmp_code = 3;
    icmp.tcp_flags[0] = 0;
    std::vector<Record> records{
        opened_, denied_, enricher_.enrich(decode_flow(bytes(closed())).value()),
        enricher_.enrich(decode_flow(bytes(icmp)).value()), lost_record(5, 77)};
    records[0].l7 = std::make_shared<model::L7>();
    records[1].bytes = {1ULL << 60, ~0ULL};
    records[1].opened_ns = 1234567890123456789;
    for (int round = 0; round < 400; ++round) // across chunks
        for (const Record& record : records)
            store.append(record);
    store.publish();
    Reader reader = store.read({});
    for (int round = 0; round < 400; ++round) {
        for (const Record& record : records) {
            const auto seen = reader.next_record();
            ASSERT_TRUE(seen);
            const RecordView& view = seen->record;
            EXPECT_EQ(view.context, record.context.get());
            EXPECT_EQ(view.process[0], record.process[0].get());
            EXPECT_EQ(view.process[1], record.process[1].get());
            EXPECT_EQ(view.l7 ? *view.l7 : nullptr, record.l7);
            EXPECT_EQ(view.kind, record.kind);
            EXPECT_EQ(view.opened_ns, record.opened_ns);
            EXPECT_EQ(view.packets, record.packets);
            EXPECT_EQ(view.bytes, record.bytes);
            EXPECT_EQ(view.port, record.port);
            EXPECT_EQ(view.tcp_flags, record.tcp_flags);
            EXPECT_EQ(view.icmp_type, record.icmp_type);
            EXPECT_EQ(view.icmp_code, record.icmp_code);
        }
    }
}

// Every flow with ends and processes of its own: the shelves of a chunk are full.
TEST_F(StoreTest, NothingRepeats) {
    Store store(3000);
    for (std::uint32_t i = 1; i <= 5000; ++i) {
        Record record = opened_;
        auto context = std::make_shared<Context>(*opened_.context);
        context->path.ifindex = i;
        record.context = std::move(context);
        for (auto& process : record.process) {
            bl_process key{};
            key.pid = i;
            process = std::make_shared<ProcessInfo>(key);
        }
        record.l7 = std::make_shared<model::L7>();
        store.append(std::move(record));
    }
    store.publish();
    Reader reader = store.read({});
    std::uint32_t i = 2001;
    while (const auto seen = reader.next_record()) {
        ASSERT_EQ(seen->number, i);
        ASSERT_EQ(seen->record.context->path.ifindex, i);
        ASSERT_EQ(seen->record.process[1]->key.pid, i);
        ++i;
    }
    EXPECT_EQ(i, 5001U);
}

TEST_F(StoreTest, TwoProducers) {
    Store store(kFlows);
    const auto produce = [&] {
        for (std::size_t i = 0; i < kFlows / 2; ++i) {
            store.append(i % 2 ? opened_ : denied_);
            if (i % 64 == 0) store.publish();
        }
        store.publish();
    };
    std::thread other(produce);
    produce();
    other.join();
    EXPECT_EQ(drain(store.read({})), range(1, kFlows));
    EXPECT_EQ(drain(store.read({.verdicts = {model::Flow::Verdict::dropped}})).size(), kFlows / 2);
}

TEST_F(StoreTest, FollowerBeginsWithThePresent) {
    Store store;
    fill(store, 5);
    Reader reader = store.read({.follow = true});
    EXPECT_EQ(store.stats().followers, 1U);
    EXPECT_FALSE(reader.next());
    EXPECT_FALSE(readable(reader.fd()));
    EXPECT_FALSE(reader.wait(0));
    fill(store, 2);
    EXPECT_TRUE(readable(reader.fd()));
    EXPECT_TRUE(reader.wait(0));
    EXPECT_EQ(drain(reader), (Numbers{6, 7}));
    EXPECT_FALSE(readable(reader.fd()));
}

TEST_F(StoreTest, FollowerWithHistoryHasNoGap) {
    Store store;
    fill(store, 5);
    Reader last = store.read({.last = 2, .follow = true});
    Reader since = store.read({.since_ns = 3, .follow = true});
    fill(store, 2);
    EXPECT_EQ(drain(last), (Numbers{4, 5, 6, 7}));
    EXPECT_EQ(drain(since), range(3, 7));
    fill(store, 3000);
    EXPECT_EQ(drain(last), range(8, 3007));
}

TEST_F(StoreTest, FollowerOnAnEmptyStore) {
    Store store;
    Reader reader = store.read({.follow = true});
    EXPECT_FALSE(reader.next());
    fill(store, 1);
    EXPECT_EQ(drain(reader), Numbers{1});
}

TEST_F(StoreTest, FollowerFilters) {
    Store store;
    Reader reader = store.read({.verdicts = {model::Flow::Verdict::dropped}, .follow = true});
    EXPECT_FALSE(reader.next());
    fill(store, 10);
    EXPECT_FALSE(reader.next());
    add(store, denied_);
    store.publish();
    EXPECT_EQ(drain(reader), Numbers{11});
}

TEST_F(StoreTest, SlowFollowerIsToldWhatItMissed) {
    Store store(2000);
    Reader reader = store.read({.verdicts = {model::Flow::Verdict::dropped}, .follow = true});
    fill(store, 10'000);
    add(store, denied_);
    store.publish();
    const model::Flow lost = take(reader);
    EXPECT_EQ(lost.kind, Kind::lost);
    EXPECT_EQ(lost.lost_where, "queue");
    EXPECT_GE(lost.lost, 10'000U - 2000U - 2 * Store::kChunk);
    EXPECT_LE(lost.lost, 10'000U - 2000U);
    EXPECT_EQ(lost.time_ns, static_cast<std::int64_t>(lost.lost + 1));
    EXPECT_EQ(store.stats().lost_queue, lost.lost);
    EXPECT_EQ(drain(reader), Numbers{10'001});
}

TEST_F(StoreTest, SlowHistoryReaderIsToldToo) {
    Store store(2000);
    fill(store, 2000);
    Reader oldest = store.read({});
    Reader newest = store.read({}, Order::newest_first);
    EXPECT_EQ(take(oldest).number, 1U);
    EXPECT_EQ(take(newest).number, 2000U);
    fill(store, 10'000);
    // The chunk that a reader is in stays.
    std::uint64_t seen = 1;
    std::uint64_t lost = 0;
    while (const auto flow = oldest.next())
        (flow->kind == Kind::lost ? lost : seen) += flow->kind == Kind::lost ? flow->lost : 1;
    EXPECT_EQ(seen + lost, 2000U);
    EXPECT_GT(lost, 0U);
    seen = 1;
    lost = 0;
    while (const auto flow = newest.next())
        (flow->kind == Kind::lost ? lost : seen) += flow->kind == Kind::lost ? flow->lost : 1;
    EXPECT_EQ(seen + lost, 2000U);
    EXPECT_GT(lost, 0U);
}

TEST_F(StoreTest, ReaderOutlivesTheStore) {
    auto store = std::make_unique<Store>();
    fill(*store, 3);
    Reader reader = store->read({.last = 3, .follow = true});
    store.reset();
    EXPECT_EQ(drain(reader), (Numbers{1, 2, 3}));
    Reader moved = std::move(reader);
    EXPECT_FALSE(moved.next());
}

TEST_F(StoreTest, FollowersLeave) {
    Store store;
    {
        const Reader one = store.read({.follow = true});
        const Reader two = store.read({.follow = true});
        EXPECT_EQ(store.stats().followers, 2U);
    }
    EXPECT_EQ(store.stats().followers, 0U);
    fill(store, 1);
}

TEST_F(StoreTest, RateIsPositiveWhenFlowsCome) {
    Store store;
    EXPECT_EQ(store.stats().per_second, 0);
    fill(store, 100);
    // Within the first second the running one counts; over its border it may be the last full one.
    EXPECT_GT(store.stats().per_second, 0);
}

TEST_F(StoreTest, DroppedChunksFreeTheirFacts) {
    Store store(1);
    std::weak_ptr<const Context> watch;
    {
        Enricher other("/nonexistent");
        Record record = other.enrich(decode_flow(bytes(opened())).value());
        watch = record.context;
        store.append(std::move(record));
    }
    EXPECT_FALSE(watch.expired());
    fill(store, 3 * Store::kChunk);
    EXPECT_TRUE(watch.expired());
}

// One writer, followers that keep up, slow ones, history readers and statistics, all at once.
TEST_F(StoreTest, ManyThreads) {
    Store store(4000);
    std::atomic<bool> done{false};
    std::vector<std::thread> threads;
    threads.reserve(4);
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&store, slow = i == 2] {
            Reader reader = store.read({.last = 1'000'000, .follow = true});
            std::uint64_t next = 1;
            while (next <= kFlows) {
                if (const auto flow = reader.next()) {
                    if (flow->kind == Kind::lost) {
                        next += flow->lost;
                    } else {
                        ASSERT_EQ(flow->number, next);
                        ASSERT_EQ(flow->destination.name, "web");
                        ++next;
                    }
                    if (slow && next % 500 == 0)
                        std::this_thread::sleep_for(std::chrono::milliseconds(1));
                } else {
                    ASSERT_TRUE(reader.wait(20'000));
                }
            }
            ASSERT_EQ(next, kFlows + 1);
        });
    }
    threads.emplace_back([&] {
        while (!done) {
            std::uint64_t before = 0;
            Reader reader = store.read({.last = 50});
            while (const auto flow = reader.next()) {
                if (flow->kind == Kind::lost) continue;
                ASSERT_GT(flow->number, before);
                before = flow->number;
            }
            ASSERT_LE(store.stats().stored, 4000U);
        }
    });
    while (store.stats().followers < 3)
        std::this_thread::yield();
    for (std::uint64_t i = 0; i < kFlows / 20; ++i)
        fill(store, 20);
    for (std::size_t i = 0; i < 3; ++i)
        threads[i].join();
    done = true;
    threads[3].join();
}

} // namespace
} // namespace beeline::observe
