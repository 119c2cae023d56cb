// Numbers and texts as bytes: what the blobs of the history are made of.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "net/address.h"

namespace beeline::observe::history {

class ByteWriter {
public:
    explicit ByteWriter(std::string& out) : out_(out) {}

    void byte(std::uint8_t value) { out_ += static_cast<char>(value); }
    void u16(std::uint16_t value) {
        const std::array<char, 2> bytes{static_cast<char>(value), static_cast<char>(value >> 8U)};
        out_.append(bytes.data(), bytes.size());
    }
    void number(std::uint64_t value) {
        std::array<char, 10> bytes; // appended at once: a flow has many numbers
        std::size_t size = 0;
        for (; value >= 0x80; value >>= 7U)
            bytes[size++] = static_cast<char>(value | 0x80U);
        bytes[size++] = static_cast<char>(value);
        out_.append(bytes.data(), size);
    }
    void text(std::string_view value) {
        number(value.size());
        out_ += value;
    }
    void ip(const net::Ip& value) {
        if (value.is_zero()) return byte(0);
        const std::size_t skipped = value.is_v4() ? 12 : 0;
        byte(static_cast<std::uint8_t>(16 - skipped));
        out_.append(reinterpret_cast<const char*>(value.bytes.data()) + skipped, 16 - skipped);
    }

private:
    std::string& out_;
};

// After anything that does not fit, all answers are zero or empty and ok() is false.
class ByteReader {
public:
    explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] bool at_end() const { return ok_ && rest_.empty(); }
    [[nodiscard]] std::size_t left() const { return rest_.size(); }

    std::uint8_t byte() {
        const std::string_view one = take(1);
        return one.empty() ? 0 : static_cast<std::uint8_t>(one[0]);
    }
    std::uint16_t u16() {
        const unsigned low = byte();
        return static_cast<std::uint16_t>(low | static_cast<unsigned>(byte()) << 8U);
    }
    std::uint64_t number() {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
            const std::uint8_t next = byte();
            value |= static_cast<std::uint64_t>(next & 0x7fU) << shift;
            if (next < 0x80) return value;
        }
        refuse();
        return 0;
    }
    // How many elements follow, each of at least one byte: never more than there are bytes.
    std::size_t count() {
        const std::uint64_t value = number();
        if (value <= rest_.size()) return value;
        refuse();
        return 0;
    }
    std::string_view text() { return take(number()); }
    std::string_view take(std::uint64_t size) {
        if (size > rest_.size()) {
            refuse();
            return {};
        }
        const std::string_view out = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return out;
    }
    net::Ip ip() {
        net::Ip out;
        const std::uint8_t size = byte();
        if (size == 0) return out;
        if (size != 4 && size != 16) {
            refuse();
            return out;
        }
        if (size == 4) out = net::Ip::v4(0);
        const std::string_view bytes = take(size);
        for (std::size_t i = 0; i < bytes.size(); ++i)
            out.bytes[16 - size + i] = static_cast<std::uint8_t>(bytes[i]);
        return out;
    }
    void refuse() {
        ok_ = false;
        rest_ = {};
    }

private:
    std::string_view rest_;
    bool ok_ = true;
};

} // namespace beeline::observe::history
