// IP addresses and prefixes. IPv4 lives in the v4-mapped range of 16 bytes, as on the kernel side.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace beeline::net {

// Bytes in network order. Value-initialised is "::", also used for "none".
struct Ip {
    std::array<std::uint8_t, 16> bytes{};

    // Accepts "10.0.0.1", "fd00::1"; "::ffff:10.0.0.1" becomes IPv4. No zone, no prefix length.
    static Result<Ip> parse(std::string_view text);
    static Ip v4(std::uint32_t host_order);

    [[nodiscard]] bool is_v4() const; // v4-mapped
    [[nodiscard]] bool is_zero() const;
    [[nodiscard]] std::uint32_t v4_host_order() const; // precondition: is_v4()
    [[nodiscard]] std::string to_string() const;       // canonical
    auto operator<=>(const Ip&) const = default;
};

// A network. `length` counts bits of its own family: 0..32 for IPv4, 0..128 for IPv6; host bits of `base` are zero.
struct Prefix {
    Ip base;
    std::uint8_t length = 0;

    // Accepts "10.0.0.0/8", "fd00::/64". Host bits that are set are cleared when `lenient`, an error otherwise.
    static Result<Prefix> parse(std::string_view text, bool lenient = true);
    static Prefix host(const Ip& ip); // /32 or /128
    static Prefix all_v4();
    static Prefix all_v6();

    [[nodiscard]] bool is_v4() const { return base.is_v4(); }
    [[nodiscard]] std::uint8_t mapped_length() const; // bits of the 16 bytes: IPv4 /24 is 120
    [[nodiscard]] bool contains(const Ip& ip) const;  // never across families
    [[nodiscard]] bool contains(const Prefix& other) const;
    [[nodiscard]] std::string to_string() const;
    auto operator<=>(const Prefix&) const = default;
};

using Mac = std::array<std::uint8_t, 6>;
std::string to_string(const Mac& mac); // lower case, colons
Result<Mac> parse_mac(std::string_view text);

} // namespace beeline::net

template <>
struct std::hash<beeline::net::Ip> {
    std::size_t operator()(const beeline::net::Ip& ip) const noexcept;
};
