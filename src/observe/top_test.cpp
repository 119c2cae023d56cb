#include "observe/top.h"

#include <gtest/gtest.h>

#include "observe/enrich.h"
#include "observe/test_events.h"

namespace beeline::observe {
namespace {

using namespace testing;

class TopTest : public ::testing::Test {
protected:
    TopTest() { enricher_.set_directory(directory()); }
    Record record(const bl_flow_event& raw) {
        return enricher_.enrich(decode_flow(bytes(raw)).value());
    }
    void add(const Record& record) { top_.add(view(record)); }
    const TopRow& row(const char* name) { return top_.rows().at({"shop", name}); }

    Enricher enricher_{"/nonexistent"};
    Top top_;
};

TEST_F(TopTest, BothEndsOfAConnection) {
    Record one = record(opened());
    add(one);
    one.kind = model::Flow::Kind::replied;
    add(one);
    one.kind = model::Flow::Kind::closed;
    one.bytes = {500, 9000};
    add(one);
    add(record(denied()));
    EXPECT_EQ(row("client").connections, 1U);
    EXPECT_EQ(row("web").connections, 1U);
    EXPECT_EQ(row("client").sent_bytes, 500U);
    EXPECT_EQ(row("client").received_bytes, 9000U);
    EXPECT_EQ(row("web").sent_bytes, 9000U);
    EXPECT_EQ(row("client").dropped, 1U);
    EXPECT_EQ(row("web").requests, 0U);
    top_.add(view(lost_record(0, 5)));
    EXPECT_EQ(top_.rows().size(), 2U);
}

TEST_F(TopTest, AnswersAreTheServers) {
    Record one = record(opened());
    one.kind = model::Flow::Kind::l7;
    one.packets = one.bytes = {}; // numbers of a shared message, in such flows
    for (int i = 1; i <= 100; ++i) {
        model::L7 l7;
        l7.type = model::L7::Type::response;
        l7.status = i % 10 == 0 ? model::L7::Status::error : model::L7::Status::ok;
        l7.latency_ns = i <= 90 ? 1'000'000 : 50'000'000;
        one.l7 = std::make_shared<const model::L7>(l7);
        add(one);
        l7.type = model::L7::Type::request;
        one.l7 = std::make_shared<const model::L7>(l7);
        add(one);
    }
    EXPECT_EQ(row("web").requests, 100U);
    EXPECT_EQ(row("web").errors, 10U);
    EXPECT_EQ(row("client").requests, 0U);
    EXPECT_EQ(row("web").latency_quantile_ns(0.5), 1U << 20);
    EXPECT_EQ(row("web").latency_quantile_ns(0.95), 1U << 26);
    EXPECT_EQ(row("client").latency_quantile_ns(0.5), 0U);
}

} // namespace
} // namespace beeline::observe
