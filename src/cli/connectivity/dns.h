// Just enough of DNS messages (RFC 1035) for a test server that knows a few names and for its client.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/address.h"

namespace beeline::cli {

inline constexpr std::uint16_t kDnsA = 1;
inline constexpr std::uint16_t kDnsAaaa = 28;
inline constexpr std::size_t kDnsUdpLimit = 512; // without EDNS

struct DnsQuestion {
    std::uint16_t id = 0;
    std::uint16_t type = kDnsA;
    std::string name; // lower case, without the last dot
};

struct DnsAnswer {
    std::uint16_t id = 0;
    int code = 0; // 0: no error, 3: no such name
    bool truncated = false;
    std::vector<net::Ip> addresses;
};

std::string write_dns_question(const DnsQuestion& question);
Result<DnsQuestion> parse_dns_question(std::string_view message);

// Only addresses of the family that was asked for are written. What does not fit into `limit` bytes is left out and the
// answer marked as truncated.
std::string write_dns_answer(const DnsQuestion& question, int code,
                             const std::vector<net::Ip>& addresses, std::size_t limit);
Result<DnsAnswer> parse_dns_answer(std::string_view message);

} // namespace beeline::cli
