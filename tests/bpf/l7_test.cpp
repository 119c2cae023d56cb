// libs: beeline_observe beeline_bpf_node
// What the packet programs copy of payload: of which connections, how much, and who pays for it.
#include "node.h"

#include <array>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "abi/drop.h"
#include "abi/identity.h"
#include "abi/l7.h"
#include "datapath/l7.h"
#include "ebpf/ring.h"
#include "observe/l7_decode.h"

namespace beeline::test {
namespace {

constexpr std::uint32_t kWeb = 300, kClient = 301;
enum : unsigned { web, client };

struct Piece {
    observe::L7Record record;
    Bytes data;
    bl_flow_event event{};
    [[nodiscard]] bool introduces() const {
        return record.kind == observe::L7Record::Kind::connection;
    }
};

struct Family {
    const char* name;
    const char *web, *client, *outside, *vip;
};
const Family kFamilies[] = {
    {"v4", "10.0.0.10", "10.0.0.11", "203.0.113.9", "10.96.0.80"},
    {"v6", "fd00::10", "fd00::11", "2001:db8::9", "fd96::80"},
};

class Capture : public testing::TestWithParam<Family> {
protected:
    void SetUp() override {
        node_ = TestNode::create(2);
        if (node_ == nullptr) GTEST_SKIP() << "needs root and BPF";
        l7_ = datapath::L7::of(node_->kernel()).value();
        ring_ = ebpf::Ring::open(l7_.ring()).value();
        declare(BL_EP_L7 | BL_EP_DNS);
        account(1 << 20, BL_L7_MEDIUM);
    }
    // What is wanted of the server's workload.
    void declare(unsigned flags) {
        node_->endpoint(web, GetParam().web, kWeb, flags);
        node_->endpoint(client, GetParam().client, kClient);
        node_->world("0.0.0.0/0", BL_ID_world);
        node_->world("::/0", BL_ID_world);
        node_->commit();
    }
    void account(std::uint64_t burst, std::uint32_t most, std::uint64_t rate = 0) {
        ASSERT_TRUE(l7_.set_accounts({{web + 1, {rate, burst, most, most}}}));
    }
    bl_l7_account spent() { return l7_.accounts().value().at(web + 1); }

    std::vector<Piece> pieces() {
        std::vector<Piece> out;
        EXPECT_TRUE(ring_->consume([&](std::span<const std::byte> bytes) {
            const auto decoded = observe::decode_l7(bytes);
            ASSERT_TRUE(decoded);
            Piece piece{.record = *decoded, .data = {}, .event = {}};
            for (const std::byte byte : decoded->data)
                piece.data.push_back(static_cast<std::uint8_t>(byte));
            if (piece.introduces())
                std::memcpy(&piece.event, decoded->event.data(), sizeof piece.event);
            out.push_back(std::move(piece));
        }));
        return out;
    }
    Packet to_web(std::uint8_t flags, std::uint32_t seq, std::size_t bytes = 0) {
        auto packet = Packet::tcp(GetParam().client, 4000, GetParam().web, 80, flags);
        packet.seq(seq).payload(bytes);
        return packet;
    }
    Packet to_client(std::uint8_t flags, std::uint32_t seq, std::size_t bytes = 0) {
        auto packet = Packet::tcp(GetParam().web, 80, GetParam().client, 4000, flags);
        packet.seq(seq).payload(bytes);
        return packet;
    }
    void establish() {
        node_->from_pod(client, to_web(SYN, 1000));
        node_->from_pod(web, to_client(SYN | ACK, 5000));
    }

    std::unique_ptr<TestNode> node_;
    datapath::L7 l7_;
    std::unique_ptr<ebpf::Ring> ring_;
};

INSTANTIATE_TEST_SUITE_P(Families, Capture, testing::ValuesIn(kFamilies),
                         [](const auto& row) { return row.param.name; });

TEST_P(Capture, AConnectionFromItsBeginningToItsEnd) {
    establish();
    auto seen = pieces();
    ASSERT_EQ(seen.size(), 2U);
    for (const unsigned side : {0U, 1U}) {
        EXPECT_EQ(seen[side].record.side, side);
        EXPECT_EQ(seen[side].record.seq, side == 0 ? 1001U : 5001U) << "the first payload byte's";
        EXPECT_EQ(seen[side].record.length, 0U);
        EXPECT_TRUE(seen[side].record.first);
    }

    EXPECT_EQ(node_->from_pod(client, to_web(ACK, 1001, 300)).verdict, kRedirected);
    seen = pieces();
    ASSERT_EQ(seen.size(), 2U) << "who the ends are, then the payload";
    EXPECT_TRUE(seen[0].introduces());
    EXPECT_EQ(seen[0].event.identity[0], kClient);
    EXPECT_EQ(seen[0].event.endpoint[1], web + 1);
    EXPECT_EQ(seen[0].event.key.dport, __builtin_bswap16(80));
    const auto& request = seen[1].record;
    EXPECT_EQ(request.seq, 1001U);
    EXPECT_EQ(request.length, 300U);
    ASSERT_EQ(seen[1].data.size(), 300U);
    for (std::size_t i = 0; i < 300; ++i)
        ASSERT_EQ(seen[1].data[i], static_cast<std::uint8_t>(i));
    EXPECT_EQ(request.opened_ns, seen[0].event.opened_ns);

    node_->from_pod(web, to_client(ACK, 5001, 20));
    seen = pieces();
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_TRUE(seen[0].introduces()) << "again: by now the server's process may be known";
    EXPECT_EQ(seen[0].event.key.dport, __builtin_bswap16(80)) << "in the client's direction";
    EXPECT_EQ(seen[1].record.side, 1U);
    EXPECT_EQ(std::memcmp(&seen[1].record.key, &request.key, sizeof request.key), 0);

    node_->from_pod(client, to_web(ACK, 1301));
    EXPECT_TRUE(pieces().empty()) << "nothing to tell";
    node_->from_pod(client, to_web(FIN | ACK, 1301));
    node_->from_pod(web, to_client(FIN | ACK, 5021));
    seen = pieces();
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_NE(seen[0].record.tcp_flags & FIN, 0);
    EXPECT_EQ(spent().chunks, 6U);
    EXPECT_EQ(spent().bytes, 320U);
}

TEST_P(Capture, OnlyTheHeadOfLargePackets) {
    establish();
    pieces();
    struct Case {
        std::uint32_t most;
        std::size_t bytes;
    };
    std::uint32_t seq = 1001;
    for (const auto& [most, bytes] :
         {Case{BL_L7_SMALL, BL_L7_SMALL}, Case{64, 1000}, Case{BL_L7_SMALL + 1, 1000},
          Case{BL_L7_MEDIUM, 1400}, Case{BL_L7_MEDIUM + 1, 1400}, Case{BL_L7_MOST, 1}}) {
        account(1 << 20, most);
        node_->from_pod(client, to_web(ACK, seq, bytes));
        const auto piece = pieces().back();
        EXPECT_EQ(piece.record.seq, seq);
        EXPECT_EQ(piece.record.length, bytes);
        ASSERT_EQ(piece.data.size(), std::min<std::size_t>(most, bytes)) << most;
        EXPECT_EQ(piece.data.back(), static_cast<std::uint8_t>(piece.data.size() - 1));
        seq += static_cast<std::uint32_t>(bytes);
    }
}

TEST_P(Capture, NothingOfWhatWasNotChosen) {
    declare(0);
    establish();
    node_->from_pod(client, to_web(ACK, 1001, 100));
    EXPECT_TRUE(pieces().empty());
    // DNS alone.
    declare(BL_EP_DNS);
    node_->from_pod(client, to_web(ACK, 1101, 100));
    EXPECT_TRUE(pieces().empty());
    const auto& f = GetParam();
    node_->from_pod(client, Packet::udp(f.client, 4000, f.web, 5353));
    EXPECT_TRUE(pieces().empty());
    node_->from_pod(client, Packet::udp(f.client, 4000, f.web, 53));
    const auto seen = pieces();
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_EQ(seen[1].data.size(), 32U);
    EXPECT_TRUE(seen[1].record.first);
    EXPECT_EQ(spent().bytes, 32U);
}

TEST_P(Capture, ALiveConnectionIsChosenAndLetGo) {
    declare(0);
    establish();
    declare(BL_EP_L7);
    node_->from_pod(client, to_web(ACK, 1001, 100));
    auto seen = pieces();
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_FALSE(seen[1].record.first) << "its beginning was not seen";
    declare(0);
    node_->from_pod(client, to_web(ACK, 1101, 100));
    EXPECT_TRUE(pieces().empty());
}

TEST_P(Capture, UserSpaceCanStopOne) {
    establish();
    node_->from_pod(client, to_web(ACK, 1001, 100));
    const auto seen = pieces();
    const auto key = seen.back().record.key;
    l7_.stop(key, seen.back().record.opened_ns + 1);
    node_->from_pod(client, to_web(ACK, 1101, 100));
    EXPECT_EQ(pieces().size(), 1U) << "that was another connection";
    l7_.stop(key, seen.back().record.opened_ns);
    node_->from_pod(client, to_web(ACK, 1201, 100));
    node_->from_pod(web, to_client(ACK, 5001, 100));
    EXPECT_TRUE(pieces().empty());
    node_->from_pod(web, to_client(FIN | ACK, 5101, 10));
    const auto end = pieces();
    ASSERT_EQ(end.size(), 1U) << "its end is told";
    EXPECT_TRUE(end[0].data.empty());
    EXPECT_EQ(end[0].record.length, 10U);
}

TEST_P(Capture, WhatTheBudgetDoesNotAllowIsCounted) {
    account(2 * (100 + sizeof(bl_l7_chunk)) + 2 * sizeof(bl_l7_chunk), BL_L7_MEDIUM);
    establish();
    for (std::uint32_t i = 0; i < 5; ++i)
        node_->from_pod(client, to_web(ACK, 1001 + 100 * i, 100));
    const auto after = spent();
    EXPECT_EQ(after.chunks, 4U) << "two without payload, two with";
    EXPECT_EQ(after.over, 3U);
    EXPECT_EQ(after.over_bytes, 3 * (100 + sizeof(bl_l7_chunk)));
    EXPECT_EQ(node_->kernel().metrics().value()[BL_METRIC_l7_over_budget], 3U);
    std::size_t payload = 0;
    for (const auto& piece : pieces())
        payload += piece.data.size();
    EXPECT_EQ(payload, 200U);
}

TEST_P(Capture, WithoutAnAccountNothingIsCopied) {
    ASSERT_TRUE(l7_.set_accounts({}));
    establish();
    node_->from_pod(client, to_web(ACK, 1001, 100));
    EXPECT_TRUE(pieces().empty());
}

TEST_P(Capture, ThroughAServiceThePayloadIsTheBackends) {
    const auto& f = GetParam();
    node_->service(f.vip, 8000, 6, 1, {{f.web, 80}});
    node_->commit();
    auto syn = Packet::tcp(f.client, 4000, f.vip, 8000, SYN);
    node_->from_pod(client, syn.seq(1000));
    node_->from_pod(web, to_client(SYN | ACK, 5000));
    auto request = Packet::tcp(f.client, 4000, f.vip, 8000, ACK);
    node_->from_pod(client, request.seq(1001).payload(50));
    node_->from_pod(web, to_client(ACK, 5001, 60));
    const auto seen = pieces();
    ASSERT_EQ(seen.size(), 6U);
    const auto& first = seen[0].record.key;
    for (const auto& piece : seen) {
        const auto& key = piece.introduces() ? piece.event.key : piece.record.key;
        EXPECT_EQ(std::memcmp(&key, &first, sizeof key), 0);
        EXPECT_EQ(key.dport, __builtin_bswap16(80));
    }
    EXPECT_EQ(seen[3].data.size(), 50U);
    EXPECT_EQ(seen[5].data.size(), 60U);
    EXPECT_EQ(seen[2].event.svc_port, __builtin_bswap16(8000));
    // The client's own name for it leads to the same connection.
    bl_flow_key asked = first;
    std::memcpy(asked.dst.byte, ip(f.vip).bytes.data(), 16);
    asked.dport = __builtin_bswap16(8000);
    const auto found = l7_.connection(asked);
    ASSERT_TRUE(found);
    EXPECT_EQ(std::memcmp(&found->key, &first, sizeof first), 0);
    EXPECT_EQ(found->opened_ns, seen[0].record.opened_ns);
}

TEST_P(Capture, FromOutside) {
    const auto& f = GetParam();
    auto packet = [&](std::uint8_t flags, std::uint32_t seq, std::size_t bytes) {
        auto out = Packet::tcp(f.outside, 4000, f.web, 80, flags);
        out.seq(seq).payload(bytes);
        return out;
    };
    node_->to_pod(web, packet(SYN, 1000, 0));
    node_->to_pod(web, packet(ACK, 1001, 40));
    const auto seen = pieces();
    ASSERT_EQ(seen.size(), 3U);
    EXPECT_EQ(seen[1].event.endpoint[0], 0U);
    EXPECT_EQ(seen[2].data.size(), 40U);
}

} // namespace
} // namespace beeline::test
