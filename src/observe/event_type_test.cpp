#include "observe/event_type.h"

#include <gtest/gtest.h>

#include "abi/drop.h"
#include "observe/decode.h"
#include "observe/enrich.h"
#include "observe/test_events.h"

namespace beeline::observe {
namespace {

using model::Flow;

Flow flow(Flow::Kind kind, bool source_here, bool destination_here) {
    Flow out;
    out.kind = kind;
    out.source.endpoint = source_here ? 7 : 0;
    out.destination.endpoint = destination_here ? 8 : 0;
    out.tcp_flags[0] = 0x12;
    out.tcp_flags[1] = 0x12;
    return out;
}

TEST(EventType, NewConnectionIsTraceOrVerdict) {
    Event event = event_of(flow(Flow::Kind::opened, true, true));
    EXPECT_EQ(event.type, EventType::trace);
    EXPECT_EQ(event.sub_type, 0);
    EXPECT_EQ(event.is_reply, false);
    EXPECT_EQ(event.reason, TraceReason::opened);
    EXPECT_EQ(event.direction, TrafficDirection::ingress);

    event = event_of(flow(Flow::Kind::opened, true, false));
    EXPECT_EQ(event.sub_type, 3);
    EXPECT_EQ(event.direction, TrafficDirection::egress);

    Flow ruled = flow(Flow::Kind::opened, true, true);
    ruled.egress_rule = "NetworkPolicy a/b egress[0]";
    event = event_of(ruled);
    EXPECT_EQ(event.type, EventType::policy_verdict);
    EXPECT_EQ(event.direction, TrafficDirection::egress);
    EXPECT_EQ(event.match, PolicyMatch::l3_l4);
    ruled.ingress_rule = "NetworkPolicy a/b ingress[0]";
    EXPECT_EQ(event_of(ruled).direction, TrafficDirection::ingress);
}

TEST(EventType, AnswersChangePlaces) {
    const Event event = event_of(flow(Flow::Kind::replied, true, false));
    EXPECT_TRUE(event.swapped);
    EXPECT_EQ(event.is_reply, true);
    EXPECT_EQ(event.sub_type, 0);
    EXPECT_EQ(event.tcp_flags, 0x12);
    EXPECT_EQ(event.direction, TrafficDirection::egress);
    EXPECT_EQ(event_of(flow(Flow::Kind::replied, false, true)).sub_type, 3);

    Flow ping = flow(Flow::Kind::replied, true, true);
    ping.protocol = model::Protocol::icmp;
    ping.icmp_type = 8;
    EXPECT_EQ(event_of(ping).icmp_type, 0);
    EXPECT_EQ(event_of(ping).tcp_flags, 0);
}

TEST(EventType, EndOfConnectionShowsItsLastPacket) {
    Flow end = flow(Flow::Kind::closed, true, true);
    end.tcp_flags[0] = 0x1b; // SYN, ACK, PSH, FIN
    EXPECT_EQ(event_of(end).tcp_flags, 0x11);
    EXPECT_EQ(event_of(end).reason, TraceReason::established);
    end.tcp_flags[1] = 0x14;
    EXPECT_EQ(event_of(end).tcp_flags, 0x14);
}

TEST(EventType, DropsNameReasonAndDirection) {
    Flow drop = flow(Flow::Kind::dropped, true, true);
    drop.reason = BL_DROP_POLICY_DENIED;
    drop.denied_direction = "ingress";
    Event event = event_of(drop);
    EXPECT_EQ(event.type, EventType::drop);
    EXPECT_EQ(event.sub_type, 133);
    EXPECT_EQ(event.direction, TrafficDirection::ingress);
    EXPECT_FALSE(event.is_reply.has_value());
    drop.reason = BL_DROP_SERVICE_BACKEND_NOT_FOUND;
    drop.denied_direction.clear();
    EXPECT_EQ(event_of(drop).direction, TrafficDirection::egress);
}

TEST(EventType, ApplicationProtocolsReportWhereTheyAreRead) {
    auto l7 = std::make_shared<model::L7>();
    l7->type = model::L7::Type::response;
    Flow one = flow(Flow::Kind::l7, true, true);
    one.l7 = l7;
    Event event = event_of(one);
    EXPECT_EQ(event.type, EventType::l7);
    EXPECT_TRUE(event.swapped);
    EXPECT_EQ(event.is_reply, true);
    EXPECT_EQ(event.direction, TrafficDirection::ingress);
    l7->protocol = model::L7::Protocol::dns;
    l7->type = model::L7::Type::request;
    event = event_of(one);
    EXPECT_FALSE(event.swapped);
    EXPECT_EQ(event.direction, TrafficDirection::egress);
}

// A record and the flow made of it must not disagree.
TEST(EventType, RecordsAndFlowsAgree) {
    Enricher enricher("/nonexistent");
    enricher.set_directory(testing::directory());
    for (bl_flow_event raw :
         {testing::opened(), testing::denied(BL_DIR_EGRESS), testing::denied(BL_DIR_INGRESS)}) {
        const auto decoded = decode_flow(testing::bytes(raw));
        ASSERT_TRUE(decoded.has_value());
        const Record record = enricher.enrich(*decoded);
        const Event a = event_of(view(record));
        const Event b = event_of(to_flow(record, 1));
        EXPECT_EQ(a.type, b.type);
        EXPECT_EQ(a.sub_type, b.sub_type);
        EXPECT_EQ(a.direction, b.direction);
        EXPECT_EQ(a.is_reply, b.is_reply);
        EXPECT_EQ(a.tcp_flags, b.tcp_flags);
    }
    EXPECT_EQ(event_of(view(lost_record(1, 2))).type, EventType::lost);
}

} // namespace
} // namespace beeline::observe
