#include "cli/connectivity/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace beeline::cli {

SocketAddress socket_address(const net::Ip& address, std::uint16_t port) {
    SocketAddress result;
    if (address.is_v4()) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        v4.sin_addr.s_addr = htonl(address.v4_host_order());
        std::memcpy(&result.storage, &v4, sizeof(v4));
        result.length = sizeof(v4);
    } else {
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        std::memcpy(&v6.sin6_addr, address.bytes.data(), address.bytes.size());
        std::memcpy(&result.storage, &v6, sizeof(v6));
        result.length = sizeof(v6);
    }
    return result;
}

Endpoint endpoint_of(const SocketAddress& address) {
    Endpoint result;
    if (address.storage.ss_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &address.storage, sizeof(v4));
        result.address = net::Ip::v4(ntohl(v4.sin_addr.s_addr));
        result.port = ntohs(v4.sin_port);
    } else if (address.storage.ss_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &address.storage, sizeof(v6));
        std::memcpy(result.address.bytes.data(), &v6.sin6_addr, result.address.bytes.size());
        result.port = ntohs(v6.sin6_port);
    }
    return result;
}

Endpoint local_address(int fd) {
    SocketAddress address;
    return ::getsockname(fd, address.get(), &address.length) == 0 ? endpoint_of(address)
                                                                  : Endpoint{};
}

Endpoint peer_address(int fd) {
    SocketAddress address;
    return ::getpeername(fd, address.get(), &address.length) == 0 ? endpoint_of(address)
                                                                  : Endpoint{};
}

} // namespace beeline::cli
