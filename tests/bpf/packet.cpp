#include "packet.h"

#include <algorithm>
#include <cstring>

namespace beeline::test {
namespace {

constexpr std::uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kIcmp6 = 58, kSctp = 132;

void put16(Bytes& out, std::size_t at, std::uint16_t value) {
    out[at] = static_cast<std::uint8_t>(value >> 8);
    out[at + 1] = static_cast<std::uint8_t>(value);
}

std::uint16_t get16(const Bytes& in, std::size_t at) {
    return static_cast<std::uint16_t>(in[at] << 8 | in[at + 1]);
}

std::uint32_t sum(const std::uint8_t* data, std::size_t size, std::uint32_t start = 0) {
    for (std::size_t i = 0; i + 1 < size; i += 2)
        start += static_cast<std::uint32_t>(data[i] << 8 | data[i + 1]);
    if (size % 2 != 0) start += static_cast<std::uint32_t>(data[size - 1] << 8);
    return start;
}

std::uint16_t fold(std::uint32_t value) {
    while (value >> 16 != 0)
        value = (value & 0xffff) + (value >> 16);
    return static_cast<std::uint16_t>(~value);
}

std::uint32_t pseudo(const net::Ip& src, const net::Ip& dst, std::uint8_t proto, std::size_t size) {
    const std::size_t skip = src.is_v4() ? 12 : 0;
    std::uint32_t value = sum(src.bytes.data() + skip, 16 - skip);
    value = sum(dst.bytes.data() + skip, 16 - skip, value);
    return value + proto + static_cast<std::uint32_t>(size);
}

// Offset of the checksum in the L4 header, 0 if the protocol has none that is computed here.
std::size_t checksum_at(std::uint8_t proto) {
    switch (proto) {
    case kTcp: return 16;
    case kUdp: return 6;
    case kIcmp:
    case kIcmp6: return 2;
    default: return 0;
    }
}

void fill_checksum(const net::Ip& src, const net::Ip& dst, std::uint8_t proto, Bytes& l4) {
    const std::size_t at = checksum_at(proto);
    if (at == 0 || l4.size() < at + 2) return;
    put16(l4, at, 0);
    const std::uint32_t start = proto == kIcmp ? 0 : pseudo(src, dst, proto, l4.size());
    put16(l4, at, fold(sum(l4.data(), l4.size(), start)));
}

} // namespace

Packet Packet::tcp(std::string_view src, std::uint16_t sport, std::string_view dst,
                   std::uint16_t dport, std::uint8_t flags) {
    Packet p;
    p.src_ = ip(src);
    p.dst_ = ip(dst);
    p.proto_ = kTcp;
    p.l4_.resize(20);
    put16(p.l4_, 0, sport);
    put16(p.l4_, 2, dport);
    p.l4_[12] = 0x50;
    p.l4_[13] = flags;
    return p;
}

Packet Packet::udp(std::string_view src, std::uint16_t sport, std::string_view dst,
                   std::uint16_t dport) {
    Packet p;
    p.src_ = ip(src);
    p.dst_ = ip(dst);
    p.proto_ = kUdp;
    p.l4_.resize(8);
    put16(p.l4_, 0, sport);
    put16(p.l4_, 2, dport);
    return p.payload(32);
}

Packet Packet::sctp(std::string_view src, std::uint16_t sport, std::string_view dst,
                    std::uint16_t dport) {
    Packet p = udp(src, sport, dst, dport);
    p.proto_ = kSctp;
    put16(p.l4_, 4, 0);
    return p;
}

Packet Packet::echo(std::string_view src, std::string_view dst, bool request, std::uint16_t id) {
    Packet p;
    p.src_ = ip(src);
    p.dst_ = ip(dst);
    const bool v4 = p.src_.is_v4();
    p.proto_ = v4 ? kIcmp : kIcmp6;
    p.l4_.resize(16);
    p.l4_[0] = v4 ? (request ? 8 : 0) : (request ? 128 : 129);
    put16(p.l4_, 4, id);
    return p;
}

Packet Packet::unreachable(std::string_view src, std::string_view dst, const Packet& inner) {
    Packet p;
    p.src_ = ip(src);
    p.dst_ = ip(dst);
    const bool v4 = p.src_.is_v4();
    p.proto_ = v4 ? kIcmp : kIcmp6;
    p.l4_.assign(8, 0);
    p.l4_[0] = v4 ? 3 : 1;
    p.l4_[1] = v4 ? 3 : 4;
    const Bytes quoted = inner.bytes();
    p.l4_.insert(p.l4_.end(), quoted.begin() + 14, quoted.end());
    return p;
}

Packet& Packet::from_mac(const net::Mac& mac) {
    mac_ = mac;
    return *this;
}

Packet& Packet::payload(std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i)
        l4_.push_back(static_cast<std::uint8_t>(i));
    if (proto_ == kUdp) put16(l4_, 4, static_cast<std::uint16_t>(l4_.size()));
    return *this;
}

Packet& Packet::seq(std::uint32_t number) {
    put16(l4_, 4, static_cast<std::uint16_t>(number >> 16));
    put16(l4_, 6, static_cast<std::uint16_t>(number));
    return *this;
}

Packet Packet::fragment(std::size_t offset, std::size_t length, std::uint32_t id) const {
    Packet p = *this;
    fill_checksum(src_, dst_, proto_, p.l4_);
    const std::size_t end = std::min(offset + length, p.l4_.size());
    p.more_ = end < p.l4_.size();
    p.l4_ = Bytes(p.l4_.begin() + static_cast<std::ptrdiff_t>(offset),
                  p.l4_.begin() + static_cast<std::ptrdiff_t>(end));
    p.fragment_ = true;
    p.offset_ = offset;
    p.id_ = id;
    return p;
}

Packet& Packet::ethertype(std::uint16_t type) {
    ethertype_ = type;
    return *this;
}

Packet& Packet::cut(std::size_t bytes) {
    cut_ = bytes;
    return *this;
}

Bytes Packet::bytes() const {
    const bool v4 = src_.is_v4();
    Bytes out{2, 0, 0, 0, 0, 0xfe};
    out.insert(out.end(), mac_.begin(), mac_.end());
    out.resize(14);
    put16(out, 12, ethertype_ != 0 ? ethertype_ : v4 ? 0x0800 : 0x86dd);
    Bytes l4 = l4_;
    if (!fragment_) fill_checksum(src_, dst_, proto_, l4);
    if (v4) {
        Bytes header(20);
        header[0] = 0x45;
        put16(header, 2, static_cast<std::uint16_t>(20 + l4.size()));
        put16(header, 4, static_cast<std::uint16_t>(id_));
        put16(header, 6, static_cast<std::uint16_t>((more_ ? 0x2000 : 0) | offset_ / 8));
        header[8] = 64;
        header[9] = proto_;
        std::copy(src_.bytes.begin() + 12, src_.bytes.end(), header.begin() + 12);
        std::copy(dst_.bytes.begin() + 12, dst_.bytes.end(), header.begin() + 16);
        put16(header, 10, fold(sum(header.data(), header.size())));
        out.insert(out.end(), header.begin(), header.end());
    } else {
        Bytes header(40);
        header[0] = 0x60;
        put16(header, 4, static_cast<std::uint16_t>(l4.size() + (fragment_ ? 8 : 0)));
        header[6] = fragment_ ? 44 : proto_;
        header[7] = 64;
        std::copy(src_.bytes.begin(), src_.bytes.end(), header.begin() + 8);
        std::copy(dst_.bytes.begin(), dst_.bytes.end(), header.begin() + 24);
        out.insert(out.end(), header.begin(), header.end());
        if (fragment_) {
            Bytes extension(8);
            extension[0] = proto_;
            put16(extension, 2, static_cast<std::uint16_t>(offset_ | (more_ ? 1U : 0U)));
            put16(extension, 4, static_cast<std::uint16_t>(id_ >> 16));
            put16(extension, 6, static_cast<std::uint16_t>(id_));
            out.insert(out.end(), extension.begin(), extension.end());
        }
    }
    out.insert(out.end(), l4.begin(), l4.end());
    if (cut_ != 0) out.resize(cut_);
    return out;
}

Parsed parse(const Bytes& frame) {
    Parsed parsed;
    const bool v4 = get16(frame, 12) == 0x0800;
    std::size_t l4 = 14;
    bool good = true;
    if (v4) {
        std::uint32_t four = 0;
        std::memcpy(&four, frame.data() + 26, 4);
        parsed.src = net::Ip::v4(__builtin_bswap32(four));
        std::memcpy(&four, frame.data() + 30, 4);
        parsed.dst = net::Ip::v4(__builtin_bswap32(four));
        parsed.proto = frame[23];
        good = fold(sum(frame.data() + 14, 20)) == 0;
        l4 += 20;
    } else {
        std::copy_n(frame.begin() + 22, 16, parsed.src.bytes.begin());
        std::copy_n(frame.begin() + 38, 16, parsed.dst.bytes.begin());
        parsed.proto = frame[20];
        l4 += 40;
    }
    parsed.l4 = Bytes(frame.begin() + static_cast<std::ptrdiff_t>(l4), frame.end());
    if (parsed.l4.size() < 20) return parsed;
    if (parsed.proto != kIcmp && parsed.proto != kIcmp6) {
        parsed.sport = get16(parsed.l4, 0);
        parsed.dport = get16(parsed.l4, 2);
    }
    if (checksum_at(parsed.proto) != 0) {
        const std::uint32_t start =
            parsed.proto == kIcmp ? 0
                                  : pseudo(parsed.src, parsed.dst, parsed.proto, parsed.l4.size());
        good = good && fold(sum(parsed.l4.data(), parsed.l4.size(), start)) == 0;
    }
    parsed.checksums_good = good;
    return parsed;
}

} // namespace beeline::test
