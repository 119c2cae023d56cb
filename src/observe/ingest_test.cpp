#include "observe/ingest.h"

#include <gtest/gtest.h>

#include <vector>

#include "observe/test_events.h"

namespace beeline::observe {
namespace {

using namespace testing;

constexpr std::int64_t kSecond = 1'000'000'000;

EventClock fixed_clock() {
    return EventClock([] { return EventClock::Sample{3 * kSecond, 1'003 * kSecond}; });
}

TEST(Ingest, RecordBecomesAFlow) {
    Store store;
    Ingest ingest(store, "/nonexistent", fixed_clock());
    ingest.set_directory(directory());
    ingest.record(bytes(closed()));
    ingest.flush();
    const model::Flow flow = store.read({}).next().value_or(model::Flow{});
    EXPECT_EQ(flow.number, 1U);
    EXPECT_EQ(flow.time_ns, 1'002 * kSecond + kSecond / 2);
    EXPECT_EQ(flow.opened_ns, 1'001 * kSecond);
    EXPECT_EQ(flow.destination.name, "web");
    EXPECT_EQ(ingest.counts().events, 1U);
    EXPECT_EQ(ingest.counts().refused_total(), 0U);
}

TEST(Ingest, BadRecordsAreCountedByReason) {
    Store store;
    Ingest ingest(store, "/nonexistent", fixed_clock());
    ingest.record({});
    bl_flow_event raw = opened();
    raw.kind = 99;
    ingest.record(bytes(raw));
    ingest.record(bytes(raw));
    ingest.flush();
    const IngestCounts counts = ingest.counts();
    EXPECT_EQ(counts.events, 0U);
    EXPECT_EQ(counts.refused[static_cast<std::size_t>(DecodeError::size)], 1U);
    EXPECT_EQ(counts.refused[static_cast<std::size_t>(DecodeError::kind)], 2U);
    EXPECT_EQ(counts.refused_total(), 3U);
    EXPECT_EQ(store.stats().total, 0U);
}

TEST(Ingest, LossesAreFlowsToo) {
    Store store;
    Ingest ingest(store, "/nonexistent", fixed_clock());
    Reader reader = store.read({.follow = true});
    ingest.lost(12);
    const model::Flow flow = reader.next().value_or(model::Flow{});
    EXPECT_EQ(flow.kind, model::Flow::Kind::lost);
    EXPECT_EQ(flow.lost, 12U);
    EXPECT_EQ(flow.time_ns, 1'003 * kSecond);
    EXPECT_EQ(ingest.counts().lost, 12U);
}

TEST(Ingest, LongBatchesArePublishedOnTheWay) {
    Store store;
    Ingest ingest(store, "/nonexistent", fixed_clock());
    for (int i = 0; i < 2000; ++i)
        ingest.record(bytes(opened()));
    EXPECT_GE(store.stats().total, 1000U);
    ingest.flush();
    EXPECT_EQ(store.stats().total, 2000U);
}

} // namespace
} // namespace beeline::observe
