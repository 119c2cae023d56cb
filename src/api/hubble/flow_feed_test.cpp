#include "api/hubble/flow_feed.h"

#include <gtest/gtest.h>

#include <deque>

#include "api/hubble/backend.h"
#include "api/hubble/test_flows.h"

namespace beeline::hubble {
namespace {

using ::observer::GetFlowsRequest;
using ::observer::GetFlowsResponse;

// Gives what it was given, and remembers what it was asked.
class FakeSource final : public FlowSource {
public:
    class Cursor final : public FlowCursor {
    public:
        explicit Cursor(std::deque<model::Flow>& flows) : flows_(flows) {}
        std::optional<model::Flow> next() override {
            if (flows_.empty()) return std::nullopt;
            auto flow = std::move(flows_.front());
            flows_.pop_front();
            return flow;
        }
        [[nodiscard]] int fd() const override { return -1; }

    private:
        std::deque<model::Flow>& flows_;
    };
    std::unique_ptr<FlowCursor> open(FlowQuery query) const override {
        asked = std::move(query);
        return std::make_unique<Cursor>(flows);
    }
    [[nodiscard]] observe::StoreStats stats() const override { return {}; }

    mutable std::deque<model::Flow> flows;
    mutable FlowQuery asked;
};

model::Flow at(std::int64_t seconds, bool dropped = false) {
    auto flow = dropped ? testing::dropped() : testing::opened();
    flow.number = static_cast<std::uint64_t>(seconds);
    flow.time_ns = seconds * 1'000'000'000;
    return flow;
}

model::Flow lost(std::uint64_t count, const char* where, std::int64_t seconds) {
    model::Flow flow;
    flow.kind = model::Flow::Kind::lost;
    flow.lost = count;
    flow.lost_where = where;
    flow.time_ns = seconds * 1'000'000'000;
    return flow;
}

GetFlowsResponse parse(grpc::ByteBuffer& buffer) {
    GetFlowsResponse out;
    grpc::Slice slice;
    EXPECT_TRUE(buffer.DumpToSingleSlice(&slice).ok());
    EXPECT_TRUE(out.ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
    return out;
}

struct Answer {
    std::vector<GetFlowsResponse> messages;
    Feed::State last = Feed::State::message;
    [[nodiscard]] std::vector<std::int64_t> seconds() const {
        std::vector<std::int64_t> out;
        for (const auto& one : messages)
            if (one.has_flow()) out.push_back(one.time().seconds());
        return out;
    }
};

Answer run(const FakeSource& source, const GetFlowsRequest& request,
           const std::shared_ptr<FlowCache>& cache = std::make_shared<FlowCache>()) {
    auto compiled = FlowRequest::compile(request);
    EXPECT_TRUE(compiled);
    const auto feed = flow_feed(source, std::make_shared<const Origin>(testing::origin()), cache,
                                std::move(*compiled));
    Answer out;
    for (;;) {
        grpc::ByteBuffer buffer;
        out.last = feed->next(buffer);
        if (out.last != Feed::State::message) return out;
        out.messages.push_back(parse(buffer));
    }
}

FlowQuery::Begin begin_of(const GetFlowsRequest& request) {
    return FlowRequest::compile(request)->query.begin;
}

TEST(HubbleFlowFeed, WhereItBegins) {
    GetFlowsRequest request;
    EXPECT_EQ(begin_of(request), FlowQuery::Begin::last);
    request.set_number(5);
    EXPECT_EQ(begin_of(request), FlowQuery::Begin::last);
    request.set_follow(true);
    EXPECT_EQ(begin_of(request), FlowQuery::Begin::last);
    request.set_number(0);
    EXPECT_EQ(begin_of(request), FlowQuery::Begin::now);
    request.mutable_since()->set_seconds(3);
    EXPECT_EQ(begin_of(request), FlowQuery::Begin::since);
    request.set_follow(false);
    request.set_first(true);
    EXPECT_EQ(begin_of(request), FlowQuery::Begin::since);
    request.clear_since();
    EXPECT_EQ(begin_of(request), FlowQuery::Begin::oldest);
    request.set_follow(true);
    EXPECT_FALSE(FlowRequest::compile(request));
}

TEST(HubbleFlowFeed, EndsAfterNumberOrUntil) {
    FakeSource source;
    const auto fill = [&] { source.flows = {at(1), at(2, true), at(3), at(4, true), at(5)}; };
    fill();
    GetFlowsRequest request;
    EXPECT_EQ(run(source, request).seconds(), (std::vector<std::int64_t>{1, 2, 3, 4, 5}));
    request.set_number(2);
    fill();
    auto answer = run(source, request);
    EXPECT_EQ(answer.seconds(), (std::vector<std::int64_t>{1, 2}));
    EXPECT_EQ(answer.last, Feed::State::end);
    EXPECT_EQ(source.asked.last, 2U);
    request.add_blacklist()->add_verdict(::flow::DROPPED);
    fill();
    EXPECT_EQ(run(source, request).seconds(), (std::vector<std::int64_t>{1, 3}));
    ASSERT_TRUE(source.asked.counts);
    request.set_number(0);
    request.mutable_until()->set_seconds(4);
    request.mutable_since()->set_seconds(2);
    fill();
    EXPECT_EQ(run(source, request).seconds(), std::vector<std::int64_t>{3});
    request.set_follow(true);
    request.clear_until();
    request.set_number(1);
    fill();
    answer = run(source, request);
    EXPECT_EQ(answer.seconds(), (std::vector<std::int64_t>{3, 5}));
    EXPECT_EQ(answer.last, Feed::State::wait);
}

TEST(HubbleFlowFeed, LossesPassEveryFilterAndAreGathered) {
    FakeSource source;
    source.flows = {lost(2, "ring", 7), at(8), lost(3, "ring", 9), lost(4, "queue", 10), at(11)};
    GetFlowsRequest request;
    request.set_number(2);
    request.mutable_since()->set_seconds(8);
    const auto answer = run(source, request);
    ASSERT_EQ(answer.messages.size(), 4U);
    EXPECT_EQ(answer.messages[0].lost_events().num_events_lost(), 2U);
    EXPECT_EQ(answer.messages[0].lost_events().source(), ::flow::PERF_EVENT_RING_BUFFER);
    EXPECT_EQ(answer.messages[0].node_name(), "node-1");
    EXPECT_TRUE(answer.messages[0].has_time());
    // Those of the same second come together, at the latest at the end.
    const auto& rest = answer.messages[3].lost_events();
    EXPECT_EQ(rest.num_events_lost(), 7U);
    EXPECT_EQ(rest.source(), ::flow::HUBBLE_RING_BUFFER);
    EXPECT_EQ(rest.first().seconds(), 9);
    EXPECT_EQ(rest.last().seconds(), 10);
    EXPECT_EQ(answer.seconds(), (std::vector<std::int64_t>{8, 11}));
}

TEST(HubbleFlowFeed, OthersGetTheirTurn) {
    FakeSource source;
    for (int i = 0; i < 5000; ++i)
        source.flows.push_back(at(i));
    GetFlowsRequest request;
    request.add_whitelist()->add_verdict(::flow::DROPPED);
    EXPECT_EQ(run(source, request).last, Feed::State::yield);
}

TEST(HubbleFlowFeed, MaskHidesWhatFiltersSee) {
    FakeSource source;
    source.flows = {at(1), at(2, true)};
    GetFlowsRequest request;
    request.mutable_field_mask()->add_paths("verdict");
    request.add_whitelist()->add_destination_pod("shop/web");
    const auto answer = run(source, request);
    ASSERT_EQ(answer.messages.size(), 2U);
    EXPECT_EQ(answer.messages[1].flow().verdict(), ::flow::DROPPED);
    EXPECT_FALSE(answer.messages[1].flow().has_destination());
    EXPECT_FALSE(answer.messages[1].has_time());
    EXPECT_EQ(answer.messages[1].node_name(), "");
}

// What many followers share is what one of them would have made.
TEST(HubbleFlowFeed, SharedFlowsAreTheSame) {
    const auto shared = std::make_shared<FlowCache>();
    for (int i = 0; i < FlowCache::kFollowers; ++i)
        shared->join();
    ASSERT_TRUE(shared->wanted());
    GetFlowsRequest request;
    request.set_follow(true);
    for (const bool masked : {false, true}) {
        if (masked) request.mutable_field_mask()->add_paths("source");
        std::vector<std::string> texts[2];
        for (const bool own : {true, false}) {
            FakeSource source;
            source.flows = {at(1), at(2, true), at(1025), at(1)};
            const auto answer = own ? run(source, request) : run(source, request, shared);
            for (const auto& one : answer.messages)
                texts[own ? 0 : 1].push_back(one.SerializeAsString());
        }
        EXPECT_EQ(texts[0].size(), 4U);
        EXPECT_EQ(texts[0], texts[1]);
    }
}

TEST(HubbleFlowFeed, TimesAreChecked) {
    google::protobuf::Timestamp time;
    time.set_seconds(1);
    time.set_nanos(5);
    EXPECT_EQ(time_ns(time, "since").value(), 1'000'000'005);
    time.set_nanos(-1);
    EXPECT_FALSE(time_ns(time, "since"));
    time.set_nanos(0);
    time.set_seconds(253'402'300'799);
    EXPECT_GT(time_ns(time, "since").value(), 9'000'000'000'000'000'000);
    time.set_seconds(253'402'300'800);
    const auto bad = time_ns(time, "until");
    ASSERT_FALSE(bad);
    EXPECT_TRUE(bad.error().message.starts_with("until"));
}

} // namespace
} // namespace beeline::hubble
