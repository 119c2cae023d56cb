// Socket addresses as values.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "net/address.h"

namespace beeline::cli {

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t length = sizeof(sockaddr_storage);

    [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
    [[nodiscard]] const sockaddr* get() const {
        return reinterpret_cast<const sockaddr*>(&storage);
    }
};

struct Endpoint {
    net::Ip address;
    std::uint16_t port = 0;
};

// Of the address's own family; the zero address is that of IPv6.
SocketAddress socket_address(const net::Ip& address, std::uint16_t port);
Endpoint endpoint_of(const SocketAddress& address);
Endpoint local_address(int fd);
Endpoint peer_address(int fd);

} // namespace beeline::cli
