#include "observe/icmp.h"

#include <gtest/gtest.h>

namespace beeline::observe {
namespace {

TEST(IcmpName, TypesAndCodes) {
    using model::Protocol;
    EXPECT_EQ(icmp_name(Protocol::icmp, 8, 0), "EchoRequest");
    EXPECT_EQ(icmp_name(Protocol::icmp, 3, 3), "DestinationUnreachable(Port)");
    EXPECT_EQ(icmp_name(Protocol::icmp, 3, 99), "DestinationUnreachable(Code: 99)");
    EXPECT_EQ(icmp_name(Protocol::icmp, 8, 1), "EchoRequest(Code: 1)");
    EXPECT_EQ(icmp_name(Protocol::icmp, 200, 1), "200(1)");
    EXPECT_EQ(icmp_name(Protocol::icmpv6, 3, 0), "TimeExceeded(HopLimitExceeded)");
    EXPECT_EQ(icmp_name(Protocol::icmpv6, 135, 0), "NeighborSolicitation");
}

} // namespace
} // namespace beeline::observe
