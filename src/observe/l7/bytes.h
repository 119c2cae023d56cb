// A cursor over captured bytes. Reading past the end gives zeros and clears ok(): check once, after a group of reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace beeline::observe::l7 {

using Bytes = std::span<const std::byte>;

inline std::string_view text_of(Bytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

class Reader {
public:
    explicit Reader(Bytes bytes) : bytes_(bytes) {}

    std::uint8_t u8() { return static_cast<std::uint8_t>(big(1)); }
    std::uint16_t u16() { return static_cast<std::uint16_t>(big(2)); }
    std::uint32_t u32() { return static_cast<std::uint32_t>(big(4)); }
    std::uint64_t u64() { return big(8); }
    std::int16_t i16() { return static_cast<std::int16_t>(u16()); }
    std::int32_t i32() { return static_cast<std::int32_t>(u32()); }
    std::uint16_t le16() { return static_cast<std::uint16_t>(little(2)); }
    std::uint32_t le24() { return static_cast<std::uint32_t>(little(3)); }
    std::uint32_t le32() { return static_cast<std::uint32_t>(little(4)); }
    std::uint64_t le64() { return little(8); }

    // Exactly `size` bytes, or none and not ok.
    Bytes take(std::size_t size) {
        if (!enough(size)) return {};
        const Bytes result = bytes_.subspan(at_, size);
        at_ += size;
        return result;
    }
    std::string_view text(std::size_t size) { return text_of(take(size)); }
    // Up to a zero byte, which is read too.
    std::string_view zero_terminated() {
        const std::string_view rest = text_of(bytes_.subspan(at_));
        const std::size_t end = rest.find('\0');
        if (end == std::string_view::npos) {
            ok_ = false;
            at_ = bytes_.size();
            return {};
        }
        at_ += end + 1;
        return rest.substr(0, end);
    }
    void skip(std::size_t size) { take(size); }
    // The 7 bit groups, least first, of Kafka's compact types.
    std::uint32_t varint() {
        std::uint32_t result = 0;
        for (unsigned shift = 0; shift < 32; shift += 7) {
            const std::uint8_t byte = u8();
            result |= static_cast<std::uint32_t>(byte & 0x7fU) << shift;
            if ((byte & 0x80U) == 0) return result;
        }
        ok_ = false;
        return 0;
    }

    [[nodiscard]] bool ok() const { return ok_; }
    void fail() { ok_ = false; }
    [[nodiscard]] std::size_t at() const { return at_; }
    [[nodiscard]] std::size_t left() const { return bytes_.size() - at_; }
    [[nodiscard]] Bytes rest() const { return bytes_.subspan(at_); }

private:
    bool enough(std::size_t size) {
        if (size <= left()) return true;
        ok_ = false;
        at_ = bytes_.size();
        return false;
    }
    std::uint64_t big(std::size_t size) {
        if (!enough(size)) return 0;
        std::uint64_t result = 0;
        for (std::size_t i = 0; i < size; ++i)
            result = result << 8U | static_cast<std::uint8_t>(bytes_[at_ + i]);
        at_ += size;
        return result;
    }
    std::uint64_t little(std::size_t size) {
        if (!enough(size)) return 0;
        std::uint64_t result = 0;
        for (std::size_t i = size; i-- > 0;)
            result = result << 8U | static_cast<std::uint8_t>(bytes_[at_ + i]);
        at_ += size;
        return result;
    }

    Bytes bytes_;
    std::size_t at_ = 0;
    bool ok_ = true;
};

} // namespace beeline::observe::l7
