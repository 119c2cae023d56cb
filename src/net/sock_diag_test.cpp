#include "net/sock_diag.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/namespace.h"

namespace beeline::net {
namespace {

class SockDiagTest : public testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "needs root to make network namespaces";
        home_ = Namespace::current().value();
        ASSERT_EQ(unshare(CLONE_NEWNET), 0);
        auto netlink = Netlink::open().value();
        ASSERT_TRUE(netlink.run(change_link(1, {.up = true})));
        diag_ = SockDiag::open().value();
    }
    void TearDown() override {
        if (home_) {
            ASSERT_EQ(setns(home_->fd(), CLONE_NEWNET), 0);
        }
    }

    static sockaddr_in6 address(const char* text, std::uint16_t port) {
        sockaddr_in6 out{};
        out.sin6_family = AF_INET6;
        out.sin6_port = htons(port);
        inet_pton(AF_INET6, text, &out.sin6_addr);
        return out;
    }
    // A connected pair through loopback: client, server.
    static std::pair<Fd, Fd> tcp_pair(const char* host, std::uint16_t port) {
        Fd listener(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const int on = 1;
        setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        const auto where = address(host, port);
        EXPECT_EQ(bind(listener.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
        EXPECT_EQ(listen(listener.get(), 8), 0);
        Fd client(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(connect(client.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where),
                  0);
        Fd server(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        EXPECT_TRUE(server);
        return {std::move(client), std::move(server)};
    }
    static int error_of(const Fd& fd) {
        char byte = 0;
        return recv(fd.get(), &byte, 1, MSG_DONTWAIT) < 0 ? errno : 0;
    }

    std::optional<Namespace> home_;
    std::optional<SockDiag> diag_;
};

TEST_F(SockDiagTest, FindsAndEndsOnlyWhatMatches) {
    const auto doomed = tcp_pair("::1", 7001);
    const auto kept = tcp_pair("::1", 7002);
    const auto mapped = tcp_pair("::ffff:127.0.0.1", 7001); // an IPv4 connection of IPv6 sockets

    const SocketFilter filter{.remote = Ip::parse("::1").value(), .remote_port = 7001};
    const auto sockets = diag_->list(filter);
    ASSERT_TRUE(sockets) << sockets.error().message;
    ASSERT_EQ(sockets->size(), 1U);
    EXPECT_EQ(sockets->front().state, TCP_ESTABLISHED);
    EXPECT_EQ(diag_->list({.remote = Ip::parse("127.0.0.1").value(), .remote_port = 7001})->size(),
              1U);

    const auto ended = diag_->destroy(filter);
    if (!ended && ended.error().code == Code::unsupported)
        GTEST_SKIP() << "this kernel cannot end sockets";
    ASSERT_TRUE(ended) << ended.error().message;
    EXPECT_EQ(*ended, 1U);
    EXPECT_EQ(error_of(doomed.first), ECONNABORTED);
    EXPECT_EQ(error_of(doomed.second), ECONNRESET);
    EXPECT_EQ(error_of(kept.first), EAGAIN);
    EXPECT_EQ(error_of(mapped.first), EAGAIN);

    EXPECT_EQ(
        diag_->destroy({.remote = Ip::parse("127.0.0.1").value(), .remote_port = 7001}).value(),
        1U);
    EXPECT_EQ(error_of(mapped.first), ECONNABORTED);
    EXPECT_EQ(diag_->destroy(filter).value(), 0U);
}

TEST_F(SockDiagTest, EndsConnectedUdpByExactTuple) {
    Fd fd(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto here = address("::1", 7003);
    const auto there = address("::1", 7004);
    ASSERT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
    ASSERT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&there), sizeof there), 0);
    const Ip loopback = Ip::parse("::1").value();
    const SocketFilter filter{.protocol = IPPROTO_UDP,
                              .local = loopback,
                              .local_port = 7003,
                              .remote = loopback,
                              .remote_port = 7004};
    ASSERT_EQ(diag_->list(filter)->size(), 1U);
    const auto ended = diag_->destroy(filter);
    if (!ended && ended.error().code == Code::unsupported)
        GTEST_SKIP() << "this kernel cannot end sockets";
    ASSERT_TRUE(ended) << ended.error().message;
    EXPECT_EQ(*ended, 1U);
    EXPECT_EQ(error_of(fd), ECONNABORTED);
}

} // namespace
} // namespace beeline::net
