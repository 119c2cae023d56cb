#include "observe/l7_ingest.h"

#include <cstring>
#include <ctime>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "observe/test_events.h"

namespace beeline::observe {
namespace {

using Bytes = std::vector<std::byte>;
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint8_t kFin = 1, kSyn = 2, kAck = 16;
constexpr std::string_view kRequest = "GET /a HTTP/1.1\r\nHost: web\r\n\r\n";
constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

// Connections that were silent for long are forgotten: what these tests send is of now.
std::uint64_t now() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * kSecond +
           static_cast<std::uint64_t>(time.tv_nsec);
}

bl_flow_event event() { return testing::opened(); }

Bytes connection_record(bl_flow_event told = event()) {
    bl_l7_connection record{};
    record.time_ns = now();
    record.kind = BL_L7_CONNECTION;
    record.event = told;
    const auto bytes = std::as_bytes(std::span(&record, 1));
    return {bytes.begin(), bytes.end()};
}

struct Piece {
    std::uint8_t side = 0;
    std::uint32_t seq = 1;
    std::string_view text;
    std::uint8_t flags = kAck;
    std::uint32_t length = 0; // more than the text: not all was captured
    std::uint8_t kind = BL_L7_PAYLOAD;
    std::uint8_t l7_flags = BL_L7_FIRST;
};

Bytes piece_record(const Piece& piece) {
    bl_l7_chunk chunk{};
    chunk.time_ns = now();
    chunk.kind = piece.kind;
    chunk.side = piece.side;
    chunk.flags = piece.l7_flags;
    chunk.tcp_flags = piece.flags;
    chunk.seq = piece.seq;
    chunk.opened_ns = piece.kind == BL_L7_TLS ? 0 : event().opened_ns;
    chunk.key = event().key;
    chunk.length =
        std::max<std::uint32_t>(piece.length, static_cast<std::uint32_t>(piece.text.size()));
    chunk.captured = static_cast<std::uint16_t>(piece.text.size());
    Bytes out(sizeof chunk + piece.text.size() + 40); // records have room to spare
    std::memcpy(out.data(), &chunk, sizeof chunk);
    if (!piece.text.empty())
        std::memcpy(out.data() + sizeof chunk, piece.text.data(), piece.text.size());
    return out;
}

class L7IngestTest : public ::testing::Test {
protected:
    L7IngestTest() { choose(model::kAllL7); }

    void choose(model::L7Protocols protocols) {
        ingest_.set_chosen(std::make_shared<const L7Ingest::Chosen>(
            L7Ingest::Chosen{{testing::kServerEndpoint, protocols}}));
    }
    void handshake(std::uint32_t client = 0, std::uint32_t server = 0) {
        ingest_.record(piece_record({.side = 0, .seq = client + 1, .text = {}, .flags = kSyn}));
        ingest_.record(
            piece_record({.side = 1, .seq = server + 1, .text = {}, .flags = kSyn | kAck}));
    }
    std::vector<model::Flow> flows() {
        ingest_.flush();
        std::vector<model::Flow> out;
        auto reader = store_.read({});
        while (auto flow = reader.next())
            out.push_back(std::move(*flow));
        return out;
    }

    Store store_{100};
    std::shared_ptr<DnsNames> names_ = std::make_shared<DnsNames>();
    std::optional<bl_flow_event> known_;
    int asked_ = 0;
    std::vector<bl_flow_key> stopped_;
    L7Ingest ingest_{store_,
                     {},
                     {[this](const bl_flow_key&) {
                          ++asked_;
                          return known_;
                      },
                      [this](const bl_flow_key& key, std::uint64_t) { stopped_.push_back(key); }},
                     names_,
                     "/nonexistent",
                     EventClock([] { return EventClock::Sample{0, 100}; }),
                     4};
};

TEST_F(L7IngestTest, RequestAndAnswerBecomeFlows) {
    ingest_.set_directory(testing::directory());
    handshake(1000, 5000);
    ingest_.record(connection_record());
    ingest_.record(piece_record({.side = 0, .seq = 1001, .text = kRequest}));
    ingest_.record(piece_record({.side = 1, .seq = 5001, .text = kAnswer}));
    const auto seen = flows();
    ASSERT_EQ(seen.size(), 2U);
    for (const auto& flow : seen) {
        EXPECT_EQ(flow.kind, model::Flow::Kind::l7);
        ASSERT_NE(flow.l7, nullptr);
        EXPECT_EQ(flow.l7->resource, "/a");
        EXPECT_EQ(flow.source.endpoint, testing::kClientEndpoint);
        EXPECT_EQ(flow.destination.endpoint, testing::kServerEndpoint);
        EXPECT_EQ(flow.source.process.comm, "curl");
        EXPECT_EQ(flow.packets[0], 0U);
    }
    EXPECT_EQ(seen[1].l7->code, 200U);
    EXPECT_EQ(asked_, 0);
}

TEST_F(L7IngestTest, WhoIsNotIntroducedIsAskedFor) {
    handshake();
    ingest_.record(piece_record({.text = kRequest}));
    EXPECT_TRUE(flows().empty());
    EXPECT_EQ(asked_, 1);
    known_ = event();
    ++known_->opened_ns; // of another connection between the same ends
    ingest_.record(piece_record({.text = kRequest}));
    EXPECT_EQ(asked_, 2);
    EXPECT_TRUE(flows().empty());
    known_ = event();
    ingest_.record(piece_record({.text = kRequest}));
    EXPECT_EQ(flows().size(), 1U);
}

TEST_F(L7IngestTest, OnlyWhatTheWorkloadsChoiceNames) {
    choose(model::l7_bit(model::L7::Protocol::redis));
    handshake();
    ingest_.record(connection_record());
    ingest_.record(piece_record({.text = kRequest}));
    EXPECT_TRUE(flows().empty());
    choose(model::l7_bit(model::L7::Protocol::http));
    ingest_.record(piece_record({.side = 1, .text = kAnswer}));
    EXPECT_EQ(flows().size(), 1U);
}

TEST_F(L7IngestTest, ConnectionsEndWithBothFinsOrForRoom) {
    handshake();
    ingest_.record(connection_record());
    ingest_.record(piece_record({.side = 0, .flags = kFin | kAck}));
    ingest_.record(piece_record({.side = 1, .flags = kFin | kAck}));
    for (std::uint16_t port = 1; port <= 9; ++port) {
        auto told = event();
        told.key.sport = port;
        ingest_.record(connection_record(told));
    }
    (void)flows();
    const auto counts = ingest_.counts();
    EXPECT_EQ(counts.connections, 4U);
    EXPECT_EQ(counts.forgotten, 5U) << "the first had ended by itself";
}

TEST_F(L7IngestTest, WhatIsGivenUpIsStopped) {
    handshake();
    ingest_.record(connection_record());
    const std::string rubbish(600, '\1');
    std::uint32_t seq = 1;
    for (int i = 0; i < 8 && stopped_.empty(); ++i) {
        ingest_.record(piece_record({.side = 0, .seq = seq, .text = rubbish}));
        ingest_.record(piece_record({.side = 1, .seq = seq, .text = rubbish}));
        seq += 600;
    }
    EXPECT_FALSE(stopped_.empty());
    EXPECT_TRUE(flows().empty());
}

TEST_F(L7IngestTest, PlainTextIsAStreamOfItsOwn) {
    handshake();
    ingest_.record(connection_record());
    const std::string_view hello("\x16\x03\x01\x02\x00\x01", 6);
    ingest_.record(piece_record({.text = hello}));
    // The client's library, then the server's, which tells the same once more.
    ingest_.record(piece_record({.seq = 0, .text = kRequest, .kind = BL_L7_TLS}));
    auto server = piece_record({.seq = 0,
                                .text = kRequest,
                                .kind = BL_L7_TLS,
                                .l7_flags = BL_L7_FIRST | BL_L7_FROM_REMOTE});
    bl_l7_chunk chunk;
    std::memcpy(&chunk, server.data(), sizeof chunk);
    std::swap(chunk.key.src, chunk.key.dst);
    std::swap(chunk.key.sport, chunk.key.dport);
    std::memcpy(server.data(), &chunk, sizeof chunk);
    ingest_.record(server);
    ingest_.record(piece_record({.seq = 0,
                                 .text = kAnswer,
                                 .kind = BL_L7_TLS,
                                 .l7_flags = BL_L7_FIRST | BL_L7_FROM_REMOTE}));
    const auto seen = flows();
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_TRUE(seen[0].l7->tls);
    EXPECT_EQ(seen[1].l7->code, 200U);
}

TEST_F(L7IngestTest, DamagedRecordsAreCounted) {
    auto record = piece_record({.text = kRequest});
    ingest_.record(std::span(record).first(71));
    for (const std::size_t at : {8U, 9U, 68U, 69U}) { // kind, side, captured
        auto damaged = record;
        damaged[at] = std::byte{0xff};
        ingest_.record(damaged);
    }
    auto connection = connection_record();
    connection.pop_back();
    ingest_.record(connection);
    (void)flows();
    EXPECT_EQ(ingest_.counts().refused, 6U);
}

} // namespace
} // namespace beeline::observe
