// Packets as values, for rows of tests: build, change, read back.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "net/address.h"

namespace beeline::test {

using Bytes = std::vector<std::uint8_t>;

inline net::Ip ip(std::string_view text) { return net::Ip::parse(text).value(); }

enum TcpFlag : std::uint8_t { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

// One frame. Checksums are filled in by bytes().
class Packet {
public:
    static Packet tcp(std::string_view src, std::uint16_t sport, std::string_view dst,
                      std::uint16_t dport, std::uint8_t flags);
    static Packet udp(std::string_view src, std::uint16_t sport, std::string_view dst,
                      std::uint16_t dport);
    static Packet sctp(std::string_view src, std::uint16_t sport, std::string_view dst,
                       std::uint16_t dport);
    // ICMP or ICMPv6 by the family of the addresses.
    static Packet echo(std::string_view src, std::string_view dst, bool request, std::uint16_t id);
    // Port unreachable, quoting `inner`.
    static Packet unreachable(std::string_view src, std::string_view dst, const Packet& inner);

    Packet& from_mac(const net::Mac& mac);
    Packet& payload(std::size_t bytes); // 0, 1, 2, ...
    Packet& seq(std::uint32_t number);  // of TCP
    // IPv4 or IPv6 fragment of this packet: bytes [offset, offset + length) of its L4 part.
    [[nodiscard]] Packet fragment(std::size_t offset, std::size_t length, std::uint32_t id) const;
    Packet& ethertype(std::uint16_t type);
    Packet& cut(std::size_t bytes); // keep only so many

    [[nodiscard]] Bytes bytes() const;

private:
    net::Ip src_;
    net::Ip dst_;
    std::uint8_t proto_ = 0;
    Bytes l4_;
    net::Mac mac_{};
    std::uint16_t ethertype_ = 0;
    std::size_t cut_ = 0;
    bool fragment_ = false;
    std::uint32_t id_ = 0;
    std::size_t offset_ = 0;
    bool more_ = false;
};

// What a frame says.
struct Parsed {
    net::Ip src;
    net::Ip dst;
    std::uint8_t proto = 0;
    std::uint16_t sport = 0;
    std::uint16_t dport = 0;
    bool checksums_good = false; // of the IP header and of TCP, UDP, ICMP
    Bytes l4;
};
Parsed parse(const Bytes& frame);

} // namespace beeline::test
