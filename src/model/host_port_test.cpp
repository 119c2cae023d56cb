#include "model/host_port.h"

#include <gtest/gtest.h>

namespace beeline::model {
namespace {

net::Ip ip(const char* text) { return net::Ip::parse(text).value(); }

HostPort on(const char* address, std::uint16_t port = 8080, Protocol protocol = Protocol::tcp) {
    HostPort out;
    out.address = ip(address);
    out.v4 = out.address.is_v4();
    out.v6 = !out.v4;
    out.protocol = protocol;
    out.port = port;
    out.target = 80;
    return out;
}

HostPort everywhere(bool v4 = true, bool v6 = true) {
    return {
        .address = {}, .v4 = v4, .v6 = v6, .protocol = Protocol::tcp, .port = 8080, .target = 80};
}

TEST(HostPort, OverlapNeedsOneCommonAddress) {
    EXPECT_TRUE(overlap(everywhere(), everywhere()));
    EXPECT_TRUE(overlap(everywhere(), on("192.0.2.1")));
    EXPECT_TRUE(overlap(on("2001:db8::1"), everywhere()));
    EXPECT_TRUE(overlap(on("192.0.2.1"), on("192.0.2.1")));
    EXPECT_FALSE(overlap(on("192.0.2.1"), on("192.0.2.2")));
    EXPECT_FALSE(overlap(on("192.0.2.1"), on("192.0.2.1", 8081)));
    EXPECT_FALSE(overlap(on("192.0.2.1"), on("192.0.2.1", 8080, Protocol::udp)));
    EXPECT_FALSE(overlap(everywhere(true, false), everywhere(false, true)));
    EXPECT_FALSE(overlap(everywhere(true, false), on("2001:db8::1")));
}

TEST(HostPort, IsServedAtItsAddresses) {
    EXPECT_TRUE(everywhere().at(ip("192.0.2.1")));
    EXPECT_TRUE(everywhere().at(ip("2001:db8::1")));
    EXPECT_FALSE(everywhere(true, false).at(ip("2001:db8::1")));
    EXPECT_TRUE(on("192.0.2.1").at(ip("192.0.2.1")));
    EXPECT_FALSE(on("192.0.2.1").at(ip("192.0.2.2")));
}

TEST(HostPort, Text) {
    EXPECT_EQ(everywhere().to_string(), "*:8080/TCP");
    EXPECT_EQ(everywhere(true, false).to_string(), "0.0.0.0:8080/TCP");
    EXPECT_EQ(on("192.0.2.1").to_string(), "192.0.2.1:8080/TCP");
    EXPECT_EQ(on("2001:db8::1").to_string(), "[2001:db8::1]:8080/TCP");
}

} // namespace
} // namespace beeline::model
