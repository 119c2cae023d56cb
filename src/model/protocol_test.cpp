#include "model/protocol.h"

#include <gtest/gtest.h>

namespace beeline::model {
namespace {

TEST(Protocol, NamesGoBothWays) {
    for (const Protocol protocol : {Protocol::any, Protocol::icmp, Protocol::tcp, Protocol::udp,
                                    Protocol::icmpv6, Protocol::sctp}) {
        EXPECT_EQ(parse_protocol(to_string(protocol)), protocol) << to_string(protocol);
    }
    EXPECT_EQ(to_string(Protocol::tcp), "TCP");
    EXPECT_EQ(to_string(Protocol::icmpv6), "ICMPv6");
    EXPECT_EQ(to_string(static_cast<Protocol>(47)), "47");
}

TEST(Protocol, AnyCaseAndNothingElse) {
    EXPECT_EQ(parse_protocol("tcp"), Protocol::tcp);
    EXPECT_EQ(parse_protocol("Sctp"), Protocol::sctp);
    EXPECT_EQ(parse_protocol("icmpV6"), Protocol::icmpv6);
    for (const char* text : {"", "tc", "tcpp", "6", " tcp", "http"})
        EXPECT_FALSE(parse_protocol(text)) << text;
}

} // namespace
} // namespace beeline::model
