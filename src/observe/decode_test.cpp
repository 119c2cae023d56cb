#include "observe/decode.h"

#include <gtest/gtest.h>

#include <vector>

#include "observe/drop_reason.h"
#include "observe/test_events.h"

namespace beeline::observe {
namespace {

using namespace testing;

TEST(Decode, EveryFieldArrives) {
    bl_flow_event raw = closed();
    raw.rule[BL_DIR_EGRESS] = 12;
    raw.icmp_type = 8;
    raw.icmp_code = 3;
    const auto event = decode_flow(bytes(raw));
    ASSERT_TRUE(event);
    EXPECT_EQ(event->kind, model::Flow::Kind::closed);
    EXPECT_EQ(event->time_ns, 2'500'000'000U);
    EXPECT_EQ(event->opened_ns, 1'000'000'000U);
    EXPECT_EQ(event->path.source, ip("10.1.0.2"));
    EXPECT_EQ(event->path.destination, ip("10.1.0.3"));
    EXPECT_EQ(event->path.service, ip("10.96.0.1"));
    EXPECT_EQ(event->path.service_port, 80);
    EXPECT_EQ(event->path.identity, (std::array<std::uint32_t, 2>{300, 301}));
    EXPECT_EQ(event->path.endpoint, (std::array<std::uint32_t, 2>{7, 8}));
    EXPECT_EQ(event->path.rule, (std::array<std::uint32_t, 2>{12, 11}));
    EXPECT_EQ(event->path.ifindex, 5U);
    EXPECT_EQ(event->path.protocol, model::Protocol::tcp);
    EXPECT_EQ(event->port, (std::array<std::uint16_t, 2>{40000, 8080}));
    EXPECT_EQ(event->packets, (std::array<std::uint64_t, 2>{6, 5}));
    EXPECT_EQ(event->bytes, (std::array<std::uint64_t, 2>{500, 9000}));
    EXPECT_EQ(event->tcp_flags, (std::array<std::uint8_t, 2>{0x13, 0x1b}));
    EXPECT_EQ(event->icmp_type, 8);
    EXPECT_EQ(event->icmp_code, 3);
    EXPECT_EQ(event->process[0].pid, 100U);
    EXPECT_EQ(event->process[1].pid, 200U);
    EXPECT_STREQ(event->process[1].comm, "nginx");
}

TEST(Decode, DroppedKeepsReasonAndDirection) {
    const auto event = decode_flow(bytes(denied(BL_DIR_INGRESS)));
    ASSERT_TRUE(event);
    EXPECT_EQ(event->kind, model::Flow::Kind::dropped);
    EXPECT_EQ(event->path.reason, BL_DROP_POLICY_DENIED);
    EXPECT_EQ(event->path.direction, BL_DIR_INGRESS);
}

TEST(Decode, RecordNeedsNoAlignment) {
    const bl_flow_event raw = opened();
    std::vector<std::byte> room(sizeof raw + 1);
    std::memcpy(room.data() + 1, &raw, sizeof raw);
    const auto event = decode_flow(std::span(room).subspan(1));
    ASSERT_TRUE(event);
    EXPECT_EQ(event->port[1], 8080);
}

TEST(Decode, OnlyTheExactSize) {
    const std::vector<std::byte> room(sizeof(bl_flow_event) * 2);
    for (std::size_t size = 0; size <= room.size(); ++size) {
        if (size == sizeof(bl_flow_event)) continue;
        const auto event = decode_flow(std::span(room).first(size));
        ASSERT_FALSE(event) << size;
        EXPECT_EQ(event.error(), DecodeError::size);
    }
}

TEST(Decode, RefusesValuesOutOfRange) {
    struct Row {
        const char* name;
        void (*change)(bl_flow_event&);
        DecodeError error;
    };
    const Row rows[] = {
        {"no time", [](bl_flow_event& e) { e.time_ns = 0; }, DecodeError::time},
        {"time overflow", [](bl_flow_event& e) { e.time_ns = ~0ULL; }, DecodeError::time},
        {"opened overflow", [](bl_flow_event& e) { e.opened_ns = 1ULL << 63; }, DecodeError::time},
        {"kind 0", [](bl_flow_event& e) { e.kind = 0; }, DecodeError::kind},
        {"kind of the store only", [](bl_flow_event& e) { e.kind = 6; }, DecodeError::kind},
        {"kind 255", [](bl_flow_event& e) { e.kind = 255; }, DecodeError::kind},
        {"opened with a reason", [](bl_flow_event& e) { e.reason = BL_DROP_POLICY_DENIED; },
         DecodeError::reason},
        {"drop without a reason", [](bl_flow_event& e) { e.kind = BL_FLOW_dropped; },
         DecodeError::reason},
        {"unknown reason",
         [](bl_flow_event& e) {
             e.kind = BL_FLOW_dropped;
             e.reason = 219;
         },
         DecodeError::reason},
        {"revoked, unknown reason",
         [](bl_flow_event& e) {
             e.kind = BL_FLOW_revoked;
             e.reason = 1;
         },
         DecodeError::reason},
        {"hook", [](bl_flow_event& e) { e.hook = BL_AT_SWEEP + 1; }, DecodeError::place},
        {"direction", [](bl_flow_event& e) { e.direction = 2; }, DecodeError::place},
    };
    for (const Row& row : rows) {
        bl_flow_event raw = opened();
        row.change(raw);
        const auto event = decode_flow(bytes(raw));
        ASSERT_FALSE(event) << row.name;
        EXPECT_EQ(event.error(), row.error) << row.name;
        EXPECT_FALSE(to_string(event.error()).empty());
    }
}

TEST(Decode, AcceptsEveryKnownValue) {
    for (const std::uint8_t protocol : {0, 1, 6, 17, 47, 58, 132, 255}) {
        bl_flow_event raw = opened();
        raw.key.proto = protocol;
        EXPECT_TRUE(decode_flow(bytes(raw))) << int{protocol};
    }
    for (int reason = 0; reason < 256; ++reason) {
        bl_flow_event raw = denied();
        raw.reason = static_cast<std::uint8_t>(reason);
        EXPECT_EQ(decode_flow(bytes(raw)).has_value(),
                  !drop_reason_name(static_cast<unsigned>(reason)).empty())
            << reason;
    }
    bl_flow_event revoked = opened();
    revoked.kind = BL_FLOW_revoked;
    EXPECT_TRUE(decode_flow(bytes(revoked)));
    revoked.reason = BL_DROP_POLICY_DENIED;
    EXPECT_TRUE(decode_flow(bytes(revoked)));
}

TEST(Decode, CommIsZeroBehindItsEnd) {
    bl_flow_event raw = opened();
    std::memcpy(raw.process[0].comm, "sh\0left over 16!", 16);
    std::memcpy(raw.process[1].comm, "sixteen letters!", 16);
    const auto event = decode_flow(bytes(raw));
    ASSERT_TRUE(event);
    const char clean[16] = "sh";
    EXPECT_EQ(std::memcmp(event->process[0].comm, clean, 16), 0);
    EXPECT_EQ(std::memcmp(event->process[1].comm, "sixteen letters!", 16), 0);
}

TEST(Decode, CgroupStandsInForAnUnknownSource) {
    bl_flow_event raw = opened();
    EXPECT_EQ(decode_flow(bytes(raw))->path.cgroup, 0U);
    raw.key.src = {};
    EXPECT_EQ(decode_flow(bytes(raw))->path.cgroup, 77U);
}

TEST(DropReason, NamesAndTexts) {
    EXPECT_EQ(drop_reason_name(133), "POLICY_DENIED");
    EXPECT_EQ(drop_reason_text(133), "Policy denied");
    EXPECT_EQ(drop_reason_name(0), "");
    EXPECT_EQ(drop_reason_text(256), "");
}

} // namespace
} // namespace beeline::observe
