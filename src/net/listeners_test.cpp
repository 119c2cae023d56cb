#include "net/listeners.h"

#include <gtest/gtest.h>

namespace beeline::net {
namespace {

Ip ip(std::string_view text) { return Ip::parse(text).value(); }

TEST(Listeners, OfTcp) {
    const auto found = parse_listeners(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n"
        "   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n"
        "   2: 0100007F:0050 0200000A:9C40 01 00000000:00000000 00:00000000 00000000     0\n",
        true);
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0], (Listener{ip("127.0.0.1"), 8080, false}));
    EXPECT_EQ(found[1], (Listener{Ip{}, 80, false}));
}

TEST(Listeners, OfIpv6AndUdp) {
    const auto six = parse_listeners(
        "   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0\n"
        "   1: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0\n",
        true);
    ASSERT_EQ(six.size(), 2U);
    EXPECT_EQ(six[0], (Listener{ip("::1"), 8080, true}));
    EXPECT_EQ(six[1], (Listener{Ip{}, 80, true}));
    EXPECT_EQ(parse_listeners("  9: 00000000:0035 00000000:0000 07 0\n", false).size(), 1U);
    EXPECT_TRUE(parse_listeners("  9: 00000000:0035 00000000:0000 01 0\n", false).empty());
}

TEST(Listeners, WhatIsNotUnderstoodIsLeftOut) {
    for (const char* text : {"", "\n\n", "  0:", "  0: x:1 y:2 0A", "  0: 0100007F:XYZ 0 0A",
                             "  0: 0100007F 0 0A", "  0: 0100007F:123456 0 0A"})
        EXPECT_TRUE(parse_listeners(text, true).empty()) << text;
}

} // namespace
} // namespace beeline::net
