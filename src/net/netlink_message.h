// Bytes of netlink messages: building them and taking them apart. Pure, no sockets.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/address.h"

namespace beeline::net {

using Bytes = std::span<const std::uint8_t>;

// One request. `what` is said in errors: "add address 10.0.0.2/32 to eth0".
struct NetlinkRequest {
    std::string what;
    std::vector<std::uint8_t>
        bytes; // nlmsghdr first; the sequence number is filled in when it is sent
};

class MessageBuilder {
public:
    MessageBuilder(std::uint16_t type, std::uint16_t flags);

    // The family's own header, right after nlmsghdr.
    template <typename T>
    void header(const T& value) {
        append(&value, sizeof value);
    }
    void attribute(std::uint16_t type, const void* data, std::size_t size);
    void attribute_u32(std::uint16_t type, std::uint32_t value) {
        attribute(type, &value, sizeof value);
    }
    void attribute_u8(std::uint16_t type, std::uint8_t value) {
        attribute(type, &value, sizeof value);
    }
    void attribute_text(std::uint16_t type, std::string_view text); // with its final zero
    void attribute_ip(std::uint16_t type, const Ip& ip);            // 4 or 16 bytes

    // Everything until end() of the returned mark is inside this attribute.
    std::size_t begin(std::uint16_t type);
    void end(std::size_t mark);

    // For headers that stand inside an attribute (VETH_INFO_PEER).
    void append(const void* data, std::size_t size);

    NetlinkRequest finish(std::string what);

private:
    std::vector<std::uint8_t> bytes_;
};

// Attributes by type (flag bits removed), the last of a type wins. Stops at the first malformed one.
class Attributes {
public:
    explicit Attributes(Bytes bytes);

    [[nodiscard]] std::optional<Bytes> get(std::uint16_t type) const;
    [[nodiscard]] std::optional<std::uint32_t> u32(std::uint16_t type) const;
    [[nodiscard]] std::optional<std::string> text(std::uint16_t type) const;
    [[nodiscard]] std::optional<Ip> ip(std::uint16_t type) const; // by size: 4 or 16 bytes
    [[nodiscard]] std::optional<Mac> mac(std::uint16_t type) const;

private:
    std::map<std::uint16_t, Bytes> values_;
};

// What stands behind nlmsghdr.
struct NetlinkMessage {
    std::uint16_t type = 0;
    std::uint16_t flags = 0;
    std::uint32_t sequence = 0;
    Bytes payload;

    // Empty when the payload is too short for T.
    template <typename T>
    [[nodiscard]] std::optional<T> header() const {
        if (payload.size() < sizeof(T)) return {};
        T value;
        std::memcpy(&value, payload.data(), sizeof value);
        return value;
    }
    template <typename T>
    [[nodiscard]] Attributes attributes() const {
        constexpr std::size_t aligned = (sizeof(T) + 3) & ~std::size_t{3};
        return Attributes(payload.size() > aligned ? payload.subspan(aligned) : Bytes{});
    }
};

// Calls `use` for each message in a datagram; false when the rest is malformed or `use` said stop.
bool for_each_message(Bytes datagram, const std::function<bool(const NetlinkMessage&)>& use);

// An NLMSG_ERROR payload: 0 or an errno, with the kernel's own words if it sent any.
struct NetlinkAck {
    int number = 0;
    std::string text;
};
std::optional<NetlinkAck> parse_ack(const NetlinkMessage& message);

} // namespace beeline::net
