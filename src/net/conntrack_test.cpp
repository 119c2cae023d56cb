#include "net/conntrack.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

namespace beeline::net {
namespace {

Ip ip(const char* text) { return Ip::parse(text).value(); }

void tuple(MessageBuilder& message, std::uint16_t type, const char* from, std::uint16_t from_port,
           const char* to, std::uint16_t to_port) {
    const bool v4 = ip(from).is_v4();
    const auto outer = message.begin(type);
    const auto addresses = message.begin(CTA_TUPLE_IP);
    message.attribute_ip(v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, ip(from));
    message.attribute_ip(v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, ip(to));
    message.end(addresses);
    const auto proto = message.begin(CTA_TUPLE_PROTO);
    message.attribute_u8(CTA_PROTO_NUM, 17);
    const std::uint16_t ports[] = {htons(from_port), htons(to_port)};
    message.attribute(CTA_PROTO_SRC_PORT, &ports[0], sizeof ports[0]);
    message.attribute(CTA_PROTO_DST_PORT, &ports[1], sizeof ports[1]);
    message.end(proto);
    message.end(outer);
}

std::optional<Translation> parse(const std::function<void(MessageBuilder&)>& fill) {
    MessageBuilder message(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW, 0);
    message.header(nfgenmsg{});
    fill(message);
    std::optional<Translation> found;
    for_each_message(message.finish("test").bytes, [&](const NetlinkMessage& one) {
        found = parse_tracked(one);
        return true;
    });
    return found;
}

TEST(Conntrack, ATranslatedConnectionIsRead) {
    const auto v4 = parse([](MessageBuilder& message) {
        tuple(message, CTA_TUPLE_ORIG, "198.51.100.2", 40000, "198.51.100.1", 5353);
        tuple(message, CTA_TUPLE_REPLY, "10.0.0.2", 53, "198.51.100.2", 40000);
    });
    EXPECT_EQ(v4, (Translation{17, ip("198.51.100.1"), 5353, ip("10.0.0.2"), 53}));
    const auto v6 = parse([](MessageBuilder& message) {
        tuple(message, CTA_TUPLE_ORIG, "2001:db8::2", 40000, "2001:db8::1", 5353);
        tuple(message, CTA_TUPLE_REPLY, "fd00::2", 53, "2001:db8::2", 40000);
    });
    EXPECT_EQ(v6, (Translation{17, ip("2001:db8::1"), 5353, ip("fd00::2"), 53}));
}

TEST(Conntrack, OthersAreNone) {
    EXPECT_FALSE(parse([](MessageBuilder& message) {
        tuple(message, CTA_TUPLE_ORIG, "198.51.100.2", 40000, "198.51.100.1", 53);
        tuple(message, CTA_TUPLE_REPLY, "198.51.100.1", 53, "198.51.100.2", 40000);
    }));
    EXPECT_FALSE(parse([](MessageBuilder&) {}));
    EXPECT_FALSE(parse([](MessageBuilder& message) {
        tuple(message, CTA_TUPLE_ORIG, "198.51.100.2", 40000, "198.51.100.1", 53);
    }));
}

} // namespace
} // namespace beeline::net
