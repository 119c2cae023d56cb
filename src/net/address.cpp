#include "net/address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

namespace beeline::net {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedHead{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

Ip masked(const Ip& ip, unsigned mapped_length) {
    Ip out = ip;
    for (unsigned i = 0; i < 16; ++i) {
        const unsigned kept = mapped_length > i * 8 ? std::min(mapped_length - i * 8, 8U) : 0;
        out.bytes[i] &= static_cast<std::uint8_t>(0xff00U >> kept);
    }
    return out;
}

} // namespace

Result<Ip> Ip::parse(std::string_view text) {
    const std::string copy(text);
    Ip ip;
    in_addr four{};
    if (inet_pton(AF_INET, copy.c_str(), &four) == 1) return v4(ntohl(four.s_addr));
    if (inet_pton(AF_INET6, copy.c_str(), ip.bytes.data()) == 1) return ip;
    return fail(Code::invalid, "'{}' is not an IP address", text);
}

Ip Ip::v4(std::uint32_t host_order) {
    Ip ip;
    std::copy(kMappedHead.begin(), kMappedHead.end(), ip.bytes.begin());
    for (unsigned i = 0; i < 4; ++i)
        ip.bytes[12 + i] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
    return ip;
}

bool Ip::is_v4() const {
    return std::memcmp(bytes.data(), kMappedHead.data(), kMappedHead.size()) == 0;
}

bool Ip::is_zero() const { return *this == Ip{}; }

std::uint32_t Ip::v4_host_order() const {
    return (std::uint32_t{bytes[12]} << 24) | (std::uint32_t{bytes[13]} << 16) |
           (std::uint32_t{bytes[14]} << 8) | bytes[15];
}

std::string Ip::to_string() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (is_v4()) {
        inet_ntop(AF_INET, bytes.data() + 12, text.data(), text.size());
    } else {
        inet_ntop(AF_INET6, bytes.data(), text.data(), text.size());
    }
    return text.data();
}

Result<Prefix> Prefix::parse(std::string_view text, bool lenient) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) {
        return fail(Code::invalid, "'{}' is not a CIDR: expected ADDRESS/LENGTH", text);
    }
    const auto address = Ip::parse(text.substr(0, slash));
    if (!address) return fail(Code::invalid, "'{}' is not a CIDR: bad address", text);
    const auto digits = text.substr(slash + 1);
    unsigned length = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    // An address in v4-mapped notation counts its length in 128 bits.
    const bool written_v6 = text.substr(0, slash).find(':') != std::string_view::npos;
    if (written_v6 && address->is_v4() && length >= 96) length -= 96;
    const unsigned most = address->is_v4() ? 32 : 128;
    if (error != std::errc{} || end != digits.data() + digits.size() || length > most) {
        return fail(Code::invalid, "'{}' is not a CIDR: the length must be 0 to {}", text, most);
    }
    Prefix prefix{*address, static_cast<std::uint8_t>(length)};
    const Ip base = masked(*address, prefix.mapped_length());
    if (base != prefix.base && !lenient) {
        return fail(Code::invalid, "'{}' has host bits set: expected {}/{}", text, base.to_string(),
                    length);
    }
    prefix.base = base;
    return prefix;
}

Prefix Prefix::host(const Ip& ip) { return {ip, static_cast<std::uint8_t>(ip.is_v4() ? 32 : 128)}; }

Prefix Prefix::all_v4() { return {Ip::v4(0), 0}; }

Prefix Prefix::all_v6() { return {Ip{}, 0}; }

std::uint8_t Prefix::mapped_length() const {
    return static_cast<std::uint8_t>(is_v4() ? length + 96 : length);
}

bool Prefix::contains(const Ip& ip) const {
    return ip.is_v4() == is_v4() && masked(ip, mapped_length()) == base;
}

bool Prefix::contains(const Prefix& other) const {
    return other.length >= length && contains(other.base);
}

std::string Prefix::to_string() const { return fmt::format("{}/{}", base.to_string(), length); }

std::string to_string(const Mac& mac) {
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3],
                       mac[4], mac[5]);
}

Result<Mac> parse_mac(std::string_view text) {
    Mac mac{};
    if (text.size() == 17) {
        bool good = true;
        for (unsigned i = 0; i < 6 && good; ++i) {
            const char* first = text.data() + 3 * i;
            const auto [end, error] = std::from_chars(first, first + 2, mac[i], 16);
            good = error == std::errc{} && end == first + 2 && (i == 5 || text[3 * i + 2] == ':');
        }
        if (good) return mac;
    }
    return fail(Code::invalid, "'{}' is not a MAC address: expected aa:bb:cc:dd:ee:ff", text);
}

} // namespace beeline::net

std::size_t std::hash<beeline::net::Ip>::operator()(const beeline::net::Ip& ip) const noexcept {
    std::uint64_t halves[2];
    std::memcpy(halves, ip.bytes.data(), sizeof halves);
    return (halves[0] ^ (halves[1] * 0x9e3779b97f4a7c15ULL)) * 0xff51afd7ed558ccdULL >> 7;
}
