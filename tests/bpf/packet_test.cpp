// libs: beeline_datapath beeline_bpf_node
// What the packet programs do with single packets: verdict, packet out, events. IPv4 and IPv6 alike.
#include "node.h"

#include <gtest/gtest.h>

#include "abi/drop.h"
#include "abi/identity.h"
#include "abi/policy.h"

namespace beeline::test {
namespace {

enum : int { TCP = 6, UDP = 17, SCTP = 132 };
constexpr std::uint32_t kWeb = 300, kClient = 301, kOther = 302, kWorld = 400;

// The same topology in one family.
struct Family {
    const char* name;
    const char *web, *client, *other, *host, *outside, *vip, *gateway;
    [[nodiscard]] bool v4() const { return std::string_view(name) == "v4"; }
};
const Family kFamilies[] = {
    {"v4", "10.0.0.10", "10.0.0.11", "10.0.0.12", "192.168.7.1", "203.0.113.9", "10.96.0.80",
     "10.0.0.1"},
    {"v6", "fd00::10", "fd00::11", "fd00::12", "fd07::1", "2001:db8::9", "fd96::80", "fd00::1"},
};
enum : unsigned { web, client, other };

class Datapath : public testing::TestWithParam<Family> {
protected:
    void SetUp() override {
        node_ = TestNode::create(3);
        if (node_ == nullptr) GTEST_SKIP() << "needs root and BPF";
        declare();
        node_->commit();
    }
    void declare(unsigned web_flags = 0, unsigned client_flags = 0) {
        const auto& f = GetParam();
        node_->endpoint(web, f.web, kWeb, web_flags);
        node_->endpoint(client, f.client, kClient, client_flags);
        node_->endpoint(other, f.other, kOther);
        node_->host(f.host);
        node_->world(f.v4() ? "203.0.113.0/24" : "2001:db8::/64", kWorld);
    }
    // client -> web SYN and the answer: an established connection.
    void establish(std::uint16_t sport = 4000, std::uint16_t dport = 80) {
        const auto& f = GetParam();
        ASSERT_EQ(node_->from_pod(client, Packet::tcp(f.client, sport, f.web, dport, SYN)).verdict,
                  kRedirected);
        ASSERT_EQ(
            node_->from_pod(web, Packet::tcp(f.web, dport, f.client, sport, SYN | ACK)).verdict,
            kRedirected);
    }
    std::unique_ptr<TestNode> node_;
};

INSTANTIATE_TEST_SUITE_P(Families, Datapath, testing::ValuesIn(kFamilies),
                         [](const auto& row) { return row.param.name; });

TEST_P(Datapath, OpenPodsTalkAndTheConnectionIsReported) {
    const auto& f = GetParam();
    auto row = node_->from_pod(client, Packet::tcp(f.client, 4000, f.web, 80, SYN));
    EXPECT_EQ(row.verdict, kRedirected);
    ASSERT_EQ(row.events.size(), 1U);
    const auto& event = row.events[0];
    EXPECT_EQ(event.kind, BL_FLOW_opened);
    EXPECT_EQ(event.identity[0], kClient);
    EXPECT_EQ(event.identity[1], kWeb);
    EXPECT_EQ(event.endpoint[0], client + 1);
    EXPECT_EQ(event.endpoint[1], web + 1);
    EXPECT_EQ(event.key.sport, __builtin_bswap16(4000));
    EXPECT_EQ(event.key.dport, __builtin_bswap16(80));
    EXPECT_EQ(event.rule[0], 0U);
    EXPECT_EQ(event.packets[0], 1U);
    EXPECT_EQ(event.tcp_flags[0], SYN);

    row = node_->from_pod(web, Packet::tcp(f.web, 80, f.client, 4000, SYN | ACK));
    EXPECT_EQ(row.verdict, kRedirected);
    EXPECT_TRUE(row.events.empty()) << "most connections end before anybody could read that";
    // Of one that lives the sweep reports it, once.
    for (const std::size_t count : {1U, 0U}) {
        EXPECT_EQ(node_->kernel().sweep(false).value().removed, 0U);
        const auto events = node_->events();
        ASSERT_EQ(events.size(), count);
        if (count == 0) break;
        EXPECT_EQ(events[0].kind, BL_FLOW_replied);
        EXPECT_EQ(events[0].identity[0], kClient) << "events keep the client's direction";
        EXPECT_EQ(events[0].key.dport, __builtin_bswap16(80));
        EXPECT_EQ(events[0].packets[1], 1U);
    }

    row = node_->from_pod(client, Packet::tcp(f.client, 4000, f.web, 80, ACK));
    EXPECT_EQ(row.verdict, kRedirected);
    EXPECT_TRUE(row.events.empty());
    EXPECT_TRUE(
        node_->from_pod(client, Packet::tcp(f.client, 4000, f.web, 80, FIN | ACK)).events.empty());
    EXPECT_TRUE(
        node_->from_pod(web, Packet::tcp(f.web, 80, f.client, 4000, FIN | ACK)).events.empty());
    row = node_->from_pod(client, Packet::tcp(f.client, 4000, f.web, 80, ACK));
    EXPECT_EQ(row.verdict, kRedirected);
    ASSERT_EQ(row.events.size(), 1U) << "the last ACK ends it";
    EXPECT_EQ(row.events[0].kind, BL_FLOW_closed);
    EXPECT_EQ(row.events[0].packets[0], 4U);
    EXPECT_EQ(row.events[0].packets[1], 2U);
    EXPECT_EQ(row.events[0].bytes[1], 2U * (f.v4() ? 40 : 60));
    EXPECT_EQ(node_->connections(), 0U);
}

TEST_P(Datapath, TheFirstAnswerOfWhatIsNotTcpIsReportedAtOnce) {
    const auto& f = GetParam();
    node_->from_pod(client, Packet::udp(f.client, 4000, f.web, 53));
    const auto row = node_->from_pod(web, Packet::udp(f.web, 53, f.client, 4000));
    ASSERT_EQ(row.events.size(), 1U);
    EXPECT_EQ(row.events[0].kind, BL_FLOW_replied);
    EXPECT_TRUE(node_->kernel().sweep(false));
    EXPECT_TRUE(node_->events().empty());
}

TEST_P(Datapath, LateTcpPacketsBeginNothing) {
    const auto& f = GetParam();
    establish();
    auto row = node_->from_pod(web, Packet::tcp(f.web, 80, f.client, 4000, RST));
    EXPECT_EQ(row.verdict, kRedirected);
    EXPECT_EQ(row.events.at(0).kind, BL_FLOW_closed);
    EXPECT_EQ(node_->connections(), 0U);
    for (const std::uint8_t flags : {ACK, FIN, RST}) {
        row = node_->from_pod(client, Packet::tcp(f.client, 4000, f.web, 80, flags));
        EXPECT_EQ(row.verdict, kRedirected) << int{flags};
        EXPECT_TRUE(row.events.empty()) << int{flags};
    }
    EXPECT_EQ(node_->connections(), 0U);
    // Data is a connection that was there before the agent.
    row = node_->from_pod(client, Packet::tcp(f.client, 4000, f.web, 80, ACK).payload(10));
    EXPECT_EQ(row.events.at(0).kind, BL_FLOW_opened);
    EXPECT_EQ(node_->connections(), 1U);
}

TEST_P(Datapath, SpoofedSourcesAreDroppedEachWithItsReason) {
    const auto& f = GetParam();
    auto row = node_->from_pod(client, Packet::tcp(f.other, 1, f.web, 80, SYN));
    EXPECT_EQ(row.verdict, kDropped);
    ASSERT_EQ(row.events.size(), 1U);
    EXPECT_EQ(row.events[0].reason, BL_DROP_INVALID_SOURCE_IP);
    row = node_->from_pod(client, Packet::tcp(f.outside, 1, f.web, 80, SYN));
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_INVALID_SOURCE_IP);
    row = node_->from_pod(client, Packet::tcp(f.host, 1, f.web, 80, SYN));
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_INVALID_SOURCE_IP);
    row = node_->from_pod_as(
        client, Packet::tcp(f.client, 1, f.web, 80, SYN).from_mac(TestNode::mac(other)));
    EXPECT_EQ(row.verdict, kDropped);
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_INVALID_SOURCE_MAC);
    EXPECT_EQ(node_->connections(), 0U);
}

TEST_P(Datapath, SpoofingAnEstablishedConnectionIsDropped) {
    const auto& f = GetParam();
    establish();
    auto row = node_->from_pod(other, Packet::tcp(f.client, 4000, f.web, 80, ACK));
    EXPECT_EQ(row.verdict, kDropped);
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_INVALID_SOURCE_IP);
    row = node_->from_pod_as(
        client, Packet::tcp(f.client, 4000, f.web, 80, ACK).from_mac(TestNode::mac(other)));
    EXPECT_EQ(row.verdict, kDropped);
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_INVALID_SOURCE_MAC);
    row = node_->to_pod(web, Packet::tcp(f.client, 4000, f.web, 80, ACK), 9999);
    EXPECT_EQ(row.verdict, kDropped);
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_INVALID_SOURCE_IP);
}

TEST_P(Datapath, IngressPolicyOfTheReceiverDecides) {
    const auto& f = GetParam();
    declare(BL_EP_INGRESS);
    node_->allow(kWeb, BL_DIR_INGRESS, kClient, TCP, 80, 77);
    node_->commit();
    auto row = node_->from_pod(client, Packet::tcp(f.client, 1, f.web, 80, SYN));
    EXPECT_EQ(row.verdict, kRedirected);
    EXPECT_EQ(row.events.at(0).rule[BL_DIR_INGRESS], 77U);
    row = node_->from_pod(client, Packet::tcp(f.client, 1, f.web, 81, SYN));
    EXPECT_EQ(row.verdict, kDropped);
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_POLICY_DENIED);
    EXPECT_EQ(row.events.at(0).direction, BL_DIR_INGRESS);
    EXPECT_EQ(row.events.at(0).identity[1], kWeb);
    row = node_->from_pod(other, Packet::tcp(f.other, 1, f.web, 80, SYN));
    EXPECT_EQ(row.verdict, kDropped);
    row = node_->from_pod(client, Packet::udp(f.client, 1, f.web, 80));
    EXPECT_EQ(row.verdict, kDropped);
    row = node_->from_pod(client, Packet::echo(f.client, f.web, true, 7));
    EXPECT_EQ(row.verdict, kDropped) << "a rule with ports lets no ICMP through";
    // Its own connections get their answers.
    EXPECT_EQ(node_->from_pod(web, Packet::tcp(f.web, 5, f.other, 80, SYN)).verdict, kRedirected);
    EXPECT_EQ(node_->from_pod(other, Packet::tcp(f.other, 80, f.web, 5, SYN | ACK)).verdict,
              kRedirected);
}

TEST_P(Datapath, EgressPolicyOfTheSenderDecides) {
    const auto& f = GetParam();
    declare(0, BL_EP_EGRESS);
    node_->allow(kClient, BL_DIR_EGRESS, kWeb, 0, -1, 5);
    node_->allow(kClient, BL_DIR_EGRESS, kWorld, UDP, -1, 6);
    node_->commit();
    EXPECT_EQ(node_->from_pod(client, Packet::echo(f.client, f.web, true, 9)).verdict, kRedirected);
    EXPECT_EQ(node_->from_pod(client, Packet::udp(f.client, 1, f.outside, 53)).verdict, kPass);
    EXPECT_EQ(node_->from_pod(client, Packet::tcp(f.client, 1, f.outside, 53, SYN)).verdict,
              kDropped);
    auto row = node_->from_pod(client, Packet::tcp(f.client, 1, f.host, 22, SYN));
    EXPECT_EQ(row.verdict, kDropped);
    EXPECT_EQ(row.events.at(0).direction, BL_DIR_EGRESS);
    EXPECT_EQ(row.events.at(0).identity[1], static_cast<std::uint32_t>(BL_ID_host));
}

TEST_P(Datapath, DenyBeatsAllow) {
    const auto& f = GetParam();
    declare(BL_EP_INGRESS);
    node_->allow(kWeb, BL_DIR_INGRESS, 0, 0, -1, 1);
    node_->allow(kWeb, BL_DIR_INGRESS, kClient, TCP, 80, 2, true);
    node_->commit();
    auto row = node_->from_pod(client, Packet::tcp(f.client, 1, f.web, 80, SYN));
    EXPECT_EQ(row.verdict, kDropped);
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_POLICY_DENY);
    EXPECT_EQ(row.events.at(0).rule[BL_DIR_INGRESS], 2U);
    EXPECT_EQ(node_->from_pod(client, Packet::tcp(f.client, 1, f.web, 81, SYN)).verdict,
              kRedirected);
}

TEST_P(Datapath, ThePodReachesItselfAndTheHostReachesItsPods) {
    const auto& f = GetParam();
    declare(BL_EP_INGRESS | BL_EP_EGRESS);
    node_->commit();
    EXPECT_EQ(node_->to_pod(web, Packet::tcp(f.host, 1, f.web, 80, SYN)).verdict, kPass) << "probe";
    EXPECT_EQ(node_->from_pod(web, Packet::tcp(f.web, 80, f.host, 1, SYN | ACK)).verdict, kPass)
        << "the answer passes although egress is isolated";
    EXPECT_EQ(node_->from_pod(web, Packet::tcp(f.web, 1, f.web, 80, SYN)).verdict, kRedirected);
    auto row = node_->to_pod(web, Packet::tcp(f.outside, 1, f.web, 80, SYN), 9999);
    EXPECT_EQ(row.verdict, kDropped) << "from outside the policy holds";
    EXPECT_EQ(row.events.at(0).identity[0], kWorld);
}

TEST_P(Datapath, AnEstablishedConnectionIsJudgedAgainWhenThePolicyChanges) {
    const auto& f = GetParam();
    establish();
    declare(BL_EP_INGRESS);
    node_->commit();
    auto row = node_->from_pod(client, Packet::tcp(f.client, 4000, f.web, 80, ACK));
    EXPECT_EQ(row.verdict, kDropped);
    ASSERT_EQ(row.events.size(), 2U);
    EXPECT_EQ(row.events[0].kind, BL_FLOW_revoked);
    EXPECT_EQ(row.events[1].kind, BL_FLOW_dropped);
    row = node_->from_pod(web, Packet::tcp(f.web, 80, f.client, 4000, ACK));
    EXPECT_EQ(row.verdict, kDropped)
        << "the other direction must not slip through as a new connection";
    EXPECT_EQ(row.events.at(0).kind, BL_FLOW_dropped);
    node_->allow(kWeb, BL_DIR_INGRESS, kClient);
    node_->commit();
    EXPECT_EQ(node_->from_pod(client, Packet::tcp(f.client, 4000, f.web, 80, ACK)).verdict,
              kRedirected);
    EXPECT_EQ(node_->from_pod(web, Packet::tcp(f.web, 80, f.client, 4000, ACK)).verdict,
              kRedirected);
}

TEST_P(Datapath, IcmpErrorsFollowTheirConnection) {
    const auto& f = GetParam();
    const auto request = Packet::udp(f.client, 5000, f.web, 53);
    ASSERT_EQ(node_->from_pod(client, request).verdict, kRedirected);
    declare(0, BL_EP_INGRESS);
    node_->commit();
    EXPECT_EQ(node_->from_pod(web, Packet::unreachable(f.web, f.client, request)).verdict,
              kRedirected);
    auto row = node_->from_pod(
        web, Packet::unreachable(f.web, f.client, Packet::udp(f.client, 5001, f.web, 53)));
    EXPECT_EQ(row.verdict, kDropped);
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_UNRELATED_ICMP);
    row = node_->from_pod(other, Packet::unreachable(f.other, f.client, request));
    EXPECT_EQ(row.verdict, kDropped) << "a bystander ends nobody's connection";
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_UNRELATED_ICMP);
    // A router outside tells of a connection to the world.
    const auto outward = Packet::udp(f.client, 6000, f.outside, 53);
    ASSERT_EQ(node_->from_pod(client, outward).verdict, kPass);
    EXPECT_EQ(
        node_->to_pod(client, Packet::unreachable(f.outside, f.client, outward), 9999).verdict,
        kPass);
    EXPECT_EQ(node_->to_pod(other, Packet::unreachable(f.outside, f.other, outward), 9999).verdict,
              kDropped);
}

TEST_P(Datapath, FragmentsShareTheVerdictOfTheFirst) {
    const auto& f = GetParam();
    declare(BL_EP_INGRESS);
    node_->allow(kWeb, BL_DIR_INGRESS, kClient, UDP, 53);
    node_->commit();
    const auto big = Packet::udp(f.client, 7000, f.web, 53).payload(2000);
    EXPECT_EQ(node_->from_pod(client, big.fragment(1200, 1200, 42)).verdict, kDropped)
        << "its first is unknown";
    EXPECT_EQ(node_->from_pod(client, big.fragment(0, 1200, 42)).verdict, kRedirected);
    EXPECT_EQ(node_->from_pod(client, big.fragment(1200, 1200, 42)).verdict, kRedirected);
    const auto denied = Packet::udp(f.client, 7000, f.web, 54).payload(2000);
    EXPECT_EQ(node_->from_pod(client, denied.fragment(0, 1200, 43)).verdict, kDropped);
    EXPECT_EQ(node_->from_pod(client, denied.fragment(1200, 1200, 43)).verdict, kDropped);
    EXPECT_EQ(node_->from_pod(client, big.fragment(1200, 1200, 44)).verdict, kDropped);
}

TEST_P(Datapath, ServicesAreTranslatedInThePacketPathAndBack) {
    const auto& f = GetParam();
    node_->service(f.vip, 80, TCP, 1, {{f.web, 8080}});
    declare(BL_EP_INGRESS);
    node_->allow(kWeb, BL_DIR_INGRESS, kClient, TCP, 8080);
    node_->commit();
    auto row = node_->from_pod(client, Packet::tcp(f.client, 4000, f.vip, 80, SYN));
    EXPECT_EQ(row.verdict, kRedirected);
    EXPECT_EQ(row.packet.dst, ip(f.web));
    EXPECT_EQ(row.packet.dport, 8080);
    EXPECT_TRUE(row.packet.checksums_good);
    ASSERT_EQ(row.events.size(), 1U);
    EXPECT_EQ(row.events[0].svc_port, __builtin_bswap16(80));
    EXPECT_EQ(row.events[0].key.dport, __builtin_bswap16(8080))
        << "policy and flows see the backend";
    row = node_->from_pod(web, Packet::tcp(f.web, 8080, f.client, 4000, SYN | ACK));
    EXPECT_EQ(row.verdict, kRedirected);
    EXPECT_EQ(row.packet.src, ip(f.vip));
    EXPECT_EQ(row.packet.sport, 80);
    EXPECT_TRUE(row.packet.checksums_good);
    row = node_->from_pod(client, Packet::tcp(f.client, 4000, f.vip, 80, ACK).payload(33));
    EXPECT_EQ(row.packet.dst, ip(f.web));
    EXPECT_TRUE(row.packet.checksums_good);
}

// What the ICMP error in `row` quotes. Ports as far as they are there.
Parsed quoted(const Row& row, bool v4) {
    Bytes frame(12);
    frame.push_back(v4 ? 0x08 : 0x86);
    frame.push_back(v4 ? 0x00 : 0xdd);
    frame.insert(frame.end(), row.packet.l4.begin() + 8, row.packet.l4.end());
    frame.resize(frame.size() + 20); // an error may quote less than parse() wants
    return parse(frame);
}

TEST_P(Datapath, IcmpErrorsOfServiceConnectionsNameWhatTheirReceiverKnows) {
    const auto& f = GetParam();
    for (const int proto : {TCP, UDP})
        node_->service(f.vip, 80, proto, 1, {{f.web, 8080}});
    node_->commit();
    const auto packet = [](int proto, auto src, int sport, auto dst, int dport, int flags) {
        const auto from = static_cast<std::uint16_t>(sport), to = static_cast<std::uint16_t>(dport);
        return proto == TCP ? Packet::tcp(src, from, dst, to, static_cast<std::uint8_t>(flags))
                            : Packet::udp(src, from, dst, to);
    };
    for (const int proto : {TCP, UDP}) {
        SCOPED_TRACE(proto);
        node_->from_pod(client, packet(proto, f.client, 4000, f.vip, 80, SYN));
        node_->from_pod(web, packet(proto, f.web, 8080, f.client, 4000, SYN | ACK));
        // The backend quotes the packet that it got; the client learns of the one that it sent.
        auto row = node_->from_pod(
            web,
            Packet::unreachable(f.web, f.client, packet(proto, f.client, 4000, f.web, 8080, ACK)));
        EXPECT_EQ(row.verdict, kRedirected);
        EXPECT_TRUE(row.packet.checksums_good);
        EXPECT_EQ(row.packet.dst, ip(f.client));
        EXPECT_EQ(quoted(row, f.v4()).src, ip(f.client));
        EXPECT_EQ(quoted(row, f.v4()).dst, ip(f.vip));
        EXPECT_EQ(quoted(row, f.v4()).dport, 80);
        // The client quotes an answer of the service; its backend learns of the one that it sent.
        const auto answer = packet(proto, f.vip, 80, f.client, 4000, ACK);
        row = node_->from_pod(client, Packet::unreachable(f.client, f.vip, answer));
        EXPECT_EQ(row.verdict, kRedirected);
        EXPECT_TRUE(row.packet.checksums_good);
        EXPECT_EQ(row.packet.src, ip(f.client));
        EXPECT_EQ(row.packet.dst, ip(f.web));
        EXPECT_EQ(quoted(row, f.v4()).src, ip(f.web));
        EXPECT_EQ(quoted(row, f.v4()).sport, 8080);
        EXPECT_EQ(quoted(row, f.v4()).dst, ip(f.client));
        EXPECT_EQ(quoted(row, f.v4()).dport, 4000);
        // Not of this connection: another port, another workload, an answer that was never given.
        for (const auto& [sender, error] :
             {std::pair{unsigned{client},
                        Packet::unreachable(f.client, f.vip,
                                            packet(proto, f.vip, 80, f.client, 4001, ACK))},
              std::pair{unsigned{other}, Packet::unreachable(f.other, f.vip, answer)},
              std::pair{unsigned{client}, Packet::unreachable(f.client, f.other, answer)},
              std::pair{unsigned{client},
                        Packet::unreachable(f.client, f.vip,
                                            packet(proto, f.client, 4000, f.vip, 80, ACK))}}) {
            row = node_->from_pod(sender, error);
            EXPECT_EQ(row.verdict, kDropped);
            EXPECT_EQ(row.events.at(0).reason, BL_DROP_UNRELATED_ICMP);
        }
    }
    // The client's UDP moved to another backend: what it says of the old one's answers is for nobody.
    node_->service(f.vip, 80, UDP, 1, {{f.other, 8080}});
    node_->commit();
    node_->from_pod(client, Packet::udp(f.client, 4000, f.vip, 80));
    auto row = node_->from_pod(
        client, Packet::unreachable(f.client, f.vip, Packet::udp(f.vip, 80, f.client, 4000)));
    EXPECT_EQ(row.verdict, kRedirected) << "the new backend has this connection now";
    EXPECT_EQ(row.packet.dst, ip(f.other));
}

TEST_P(Datapath, IcmpErrorsOfAWorkloadThatReachesItself) {
    const auto& f = GetParam();
    node_->service(f.vip, 53, UDP, 3, {{f.web, 5353}});
    node_->commit();
    ASSERT_EQ(node_->from_pod(web, Packet::udp(f.web, 4000, f.vip, 53)).verdict, kRedirected);
    // No program listens on its port.
    auto row = node_->from_pod(
        web, Packet::unreachable(f.web, f.gateway, Packet::udp(f.gateway, 4000, f.web, 5353)));
    EXPECT_EQ(row.verdict, kRedirected);
    EXPECT_TRUE(row.packet.checksums_good);
    EXPECT_EQ(row.packet.src, ip(f.gateway));
    EXPECT_EQ(row.packet.dst, ip(f.web));
    EXPECT_EQ(quoted(row, f.v4()).src, ip(f.web));
    EXPECT_EQ(quoted(row, f.v4()).dst, ip(f.vip));
    EXPECT_EQ(quoted(row, f.v4()).dport, 53);
    // Its client went away before the answer came.
    ASSERT_EQ(node_->from_pod(web, Packet::udp(f.web, 5353, f.gateway, 4000)).verdict, kRedirected);
    row = node_->from_pod(web,
                          Packet::unreachable(f.web, f.vip, Packet::udp(f.vip, 53, f.web, 4000)));
    EXPECT_EQ(row.verdict, kRedirected);
    EXPECT_TRUE(row.packet.checksums_good);
    EXPECT_EQ(row.packet.src, ip(f.gateway));
    EXPECT_EQ(row.packet.dst, ip(f.web));
    EXPECT_EQ(quoted(row, f.v4()).src, ip(f.web));
    EXPECT_EQ(quoted(row, f.v4()).sport, 5353);
    EXPECT_EQ(quoted(row, f.v4()).dst, ip(f.gateway));
}

TEST_P(Datapath, UdpServicesMoveWhenTheirBackendGoes) {
    const auto& f = GetParam();
    node_->service(f.vip, 53, UDP, 2, {{f.web, 53}});
    node_->commit();
    auto row = node_->from_pod(client, Packet::udp(f.client, 4000, f.vip, 53));
    EXPECT_EQ(row.packet.dst, ip(f.web));
    EXPECT_TRUE(row.packet.checksums_good);
    node_->service(f.vip, 53, UDP, 2, {{f.other, 5353}});
    node_->commit();
    row = node_->from_pod(client, Packet::udp(f.client, 4000, f.vip, 53));
    EXPECT_EQ(row.verdict, kRedirected);
    EXPECT_EQ(row.packet.dst, ip(f.other));
    EXPECT_EQ(row.packet.dport, 5353);
    row = node_->from_pod(other, Packet::udp(f.other, 5353, f.client, 4000));
    EXPECT_EQ(row.packet.src, ip(f.vip));
    EXPECT_TRUE(row.packet.checksums_good);
}

TEST_P(Datapath, ATcpConnectionWhoseBackendIsGoneIsRefused) {
    const auto& f = GetParam();
    node_->service(f.vip, 80, TCP, 1, {{f.web, 8080}});
    node_->commit();
    ASSERT_EQ(node_->from_pod(client, Packet::tcp(f.client, 4000, f.vip, 80, SYN)).verdict,
              kRedirected);
    node_->service(f.vip, 80, TCP, 1, {{f.other, 8080}});
    node_->commit();
    auto row = node_->from_pod(client, Packet::tcp(f.client, 4000, f.vip, 80, ACK));
    EXPECT_EQ(row.verdict, kPass);
    EXPECT_NE(row.mark, 0U) << "the host answers with a reset";
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_SERVICE_BACKEND_NOT_FOUND);
    row = node_->from_pod(client, Packet::tcp(f.client, 4001, f.vip, 80, SYN));
    EXPECT_EQ(row.packet.dst, ip(f.other));
}

TEST_P(Datapath, AServiceWithoutBackendsIsRefused) {
    const auto& f = GetParam();
    node_->service(f.vip, 80, TCP, 1, {});
    node_->commit();
    const auto row = node_->from_pod(client, Packet::tcp(f.client, 4000, f.vip, 80, SYN));
    EXPECT_EQ(row.verdict, kPass);
    EXPECT_NE(row.mark, 0U);
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_SERVICE_BACKEND_NOT_FOUND);
}

TEST_P(Datapath, AWorkloadReachesItselfThroughItsService) {
    const auto& f = GetParam();
    node_->service(f.vip, 80, TCP, 1, {{f.web, 8080}});
    declare(BL_EP_INGRESS | BL_EP_EGRESS);
    node_->commit();
    auto row = node_->from_pod(web, Packet::tcp(f.web, 4000, f.vip, 80, SYN));
    EXPECT_EQ(row.verdict, kRedirected);
    EXPECT_EQ(row.packet.src, ip(f.gateway))
        << "its own address as the source would be refused by its stack";
    EXPECT_EQ(row.packet.dst, ip(f.web));
    EXPECT_EQ(row.packet.dport, 8080);
    EXPECT_TRUE(row.packet.checksums_good);
    row = node_->from_pod(web, Packet::tcp(f.web, 8080, f.gateway, 4000, SYN | ACK));
    EXPECT_EQ(row.verdict, kRedirected);
    EXPECT_EQ(row.packet.src, ip(f.vip));
    EXPECT_EQ(row.packet.sport, 80);
    EXPECT_EQ(row.packet.dst, ip(f.web));
    EXPECT_EQ(row.packet.dport, 4000);
    EXPECT_TRUE(row.packet.checksums_good);
    row = node_->from_pod(web, Packet::tcp(f.web, 4000, f.vip, 80, ACK));
    EXPECT_EQ(row.verdict, kRedirected);
}

TEST_P(Datapath, AffinityKeepsAClientOnItsBackend) {
    const auto& f = GetParam();
    node_->service(f.vip, 80, TCP, 1, {{f.web, 8080}, {f.other, 8080}}, 60);
    node_->commit();
    const auto first =
        node_->from_pod(client, Packet::tcp(f.client, 1000, f.vip, 80, SYN)).packet.dst;
    for (std::uint16_t port = 1001; port < 1020; ++port) {
        EXPECT_EQ(node_->from_pod(client, Packet::tcp(f.client, port, f.vip, 80, SYN)).packet.dst,
                  first);
    }
}

TEST_P(Datapath, SctpServicesKeepTheirPort) {
    const auto& f = GetParam();
    node_->service(f.vip, 9999, SCTP, 3, {{f.web, 9999}});
    node_->commit();
    const auto row = node_->from_pod(client, Packet::sctp(f.client, 4000, f.vip, 9999));
    EXPECT_EQ(row.verdict, kRedirected);
    EXPECT_EQ(row.packet.dst, ip(f.web));
    EXPECT_EQ(row.packet.dport, 9999);
}

TEST_P(Datapath, ADirectConnectionOnAServicesTupleIsNotMixedUp) {
    const auto& f = GetParam();
    node_->service(f.vip, 80, TCP, 1, {{f.web, 8080}});
    node_->commit();
    establish(4000, 8080);
    const auto row = node_->from_pod(client, Packet::tcp(f.client, 4000, f.vip, 80, SYN));
    EXPECT_EQ(row.verdict, kDropped);
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_SERVICE_TUPLE);
    EXPECT_EQ(node_->from_pod(client, Packet::tcp(f.client, 4000, f.web, 8080, ACK)).verdict,
              kRedirected);
}

TEST_P(Datapath, MalformedPacketsAreDropped) {
    const auto& f = GetParam();
    const std::size_t headers = f.v4() ? 34 : 54;
    for (const std::size_t l4 : {2U, 6U, 16U}) {
        const auto cut = Packet::tcp(f.client, 1, f.web, 80, SYN).cut(headers + l4);
        EXPECT_EQ(node_->from_pod(client, cut).verdict, kDropped) << l4;
    }
    auto row = node_->from_pod(client, Packet::tcp(f.client, 1, f.web, 80, SYN).ethertype(0x8847));
    EXPECT_EQ(row.verdict, kDropped);
    EXPECT_EQ(row.events.at(0).reason, BL_DROP_UNSUPPORTED_L3_PROTOCOL);
}

TEST_P(Datapath, AddressReuseInheritsNoVerdict) {
    const auto& f = GetParam();
    establish();
    // The client's address now belongs to another workload behind another interface, which may not talk to web.
    node_->endpoint(other, f.client, kOther);
    node_->endpoint(web, f.web, kWeb, BL_EP_INGRESS);
    node_->allow(kWeb, BL_DIR_INGRESS, kClient);
    node_->commit();
    auto row = node_->from_pod(other, Packet::tcp(f.client, 4000, f.web, 80, ACK));
    EXPECT_EQ(row.verdict, kDropped);
    EXPECT_EQ(
        node_->from_pod(client, Packet::tcp(f.client, 4000, f.web, 80, ACK)).events.at(0).reason,
        BL_DROP_INVALID_SOURCE_IP);
}

TEST(Conntrack, AFullTableIsCountedAndSurvived) {
    const auto node = TestNode::create(2, 64);
    if (node == nullptr) GTEST_SKIP() << "needs root and BPF";
    node->endpoint(0, "10.0.0.10", kWeb);
    node->endpoint(1, "10.0.0.11", kClient);
    node->commit();
    unsigned refused = 0;
    for (std::uint16_t port = 1; port <= 500; ++port) {
        const auto row = node->from_pod(1, Packet::udp("10.0.0.11", port, "10.0.0.10", 53));
        if (row.verdict == kDropped) {
            ++refused;
            EXPECT_EQ(row.events.at(0).reason, BL_DROP_CT_MAP_INSERTION_FAILED);
        }
    }
    EXPECT_GT(refused, 300U);
    EXPECT_EQ(node->kernel().metrics().value()[BL_METRIC_ct_full], refused);
    EXPECT_EQ(node->kernel().drops().value()[BL_DROP_CT_MAP_INSERTION_FAILED], refused);
    // Known connections go on.
    EXPECT_EQ(node->from_pod(1, Packet::udp("10.0.0.11", 1, "10.0.0.10", 53)).verdict, kRedirected);
    const auto swept = node->kernel().sweep(true).value();
    EXPECT_EQ(swept.seen, node->connections() + swept.removed);
}

TEST(Conntrack, TheSweepReportsWhatItRemoves) {
    const auto node = TestNode::create(2);
    if (node == nullptr) GTEST_SKIP() << "needs root and BPF";
    node->endpoint(0, "10.0.0.10", kWeb);
    node->endpoint(1, "10.0.0.11", kClient);
    node->commit();
    node->from_pod(1, Packet::udp("10.0.0.11", 1, "10.0.0.10", 53));
    node->from_pod(1, Packet::tcp("10.0.0.11", 2, "10.0.0.10", 80, SYN));
    const auto map = ebpf::Map<bl_flow_key, bl_ct>::of(node->kernel().map("bl_ct").value()).value();
    std::vector<std::pair<bl_flow_key, bl_ct>> entries;
    (void)map.for_each(
        [&](const bl_flow_key& key, const bl_ct& ct) { entries.emplace_back(key, ct); });
    ASSERT_EQ(entries.size(), 2U);
    EXPECT_EQ(node->kernel().sweep(false).value().removed, 0U);
    for (auto& [key, ct] : entries) {
        ct.seen_ns = 1; // long ago
        ASSERT_TRUE(map.update(key, ct));
    }
    node->events();
    const auto swept = node->kernel().sweep(false).value();
    EXPECT_EQ(swept.removed, 2U);
    const auto events = node->events();
    ASSERT_EQ(events.size(), 2U);
    for (const auto& event : events) {
        EXPECT_EQ(event.kind, BL_FLOW_closed);
        EXPECT_EQ(event.hook, BL_AT_SWEEP);
        EXPECT_EQ(event.packets[0], 1U);
    }
    EXPECT_EQ(node->connections(), 0U);
}

} // namespace
} // namespace beeline::test
