// Open sockets of the current network namespace: listing and ending them (netlink sock_diag).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "net/netlink.h"

namespace beeline::net {

struct Socket {
    std::uint8_t protocol = 0; // IPPROTO_TCP or IPPROTO_UDP
    Ip local;                  // v4-mapped addresses of IPv6 sockets are IPv4 here
    std::uint16_t local_port = 0;
    Ip remote;
    std::uint16_t remote_port = 0;
    std::uint8_t state = 0; // TCP_ESTABLISHED ...; a connected UDP socket has TCP_ESTABLISHED too
    std::uint32_t inode = 0;
    // How the kernel names the socket.
    std::uint8_t family = 0;
    std::uint32_t interface = 0;
    std::uint32_t cookie[2]{};
};

// Only what is set must match.
struct SocketFilter {
    std::uint8_t protocol = 6;
    std::optional<Ip> local;
    std::optional<std::uint16_t> local_port;
    std::optional<Ip> remote;
    std::optional<std::uint16_t> remote_port;

    [[nodiscard]] bool matches(const Socket& socket) const;
};

class SockDiag {
public:
    static Result<SockDiag> open();
    static Result<SockDiag> open_in(const Namespace& netns);

    Result<std::vector<Socket>> list(const SocketFilter& filter);
    // Ends each matching socket: TCP peers get a reset, the owner sees ECONNABORTED. Returns how many were ended.
    // `unsupported` when the kernel cannot.
    Result<std::size_t> destroy(const SocketFilter& filter);

private:
    explicit SockDiag(Netlink netlink) : netlink_(std::move(netlink)) {}
    Netlink netlink_;
};

} // namespace beeline::net
