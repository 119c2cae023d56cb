#include "observe/l7_decode.h"

#include <cstring>

namespace beeline::observe {
namespace {

constexpr std::uint64_t kTimeMax = std::uint64_t{1} << 62; // as decode_flow

tl::expected<L7Record, DecodeError> decode_connection(std::span<const std::byte> record) {
    if (record.size() != sizeof(bl_l7_connection)) return tl::unexpected(DecodeError::size);
    L7Record out;
    out.kind = L7Record::Kind::connection;
    std::memcpy(&out.time_ns, record.data(), sizeof out.time_ns);
    if (out.time_ns == 0 || out.time_ns > kTimeMax) return tl::unexpected(DecodeError::time);
    out.event = record.subspan(offsetof(bl_l7_connection, event), sizeof(bl_flow_event));
    return out;
}

} // namespace

tl::expected<L7Record, DecodeError> decode_l7(std::span<const std::byte> record) {
    bl_l7_chunk raw;
    if (record.size() < sizeof raw) return tl::unexpected(DecodeError::size);
    std::memcpy(&raw, record.data(), sizeof raw); // the record need not be aligned
    if (raw.kind == BL_L7_CONNECTION) return decode_connection(record);
    if (raw.kind != BL_L7_PAYLOAD && raw.kind != BL_L7_TLS)
        return tl::unexpected(DecodeError::kind);
    if (raw.time_ns == 0 || raw.time_ns > kTimeMax || raw.opened_ns > kTimeMax)
        return tl::unexpected(DecodeError::time);
    if (raw.side > 1) return tl::unexpected(DecodeError::place);
    // A record has room for more than it carries.
    if (raw.captured > record.size() - sizeof raw || raw.captured > raw.length)
        return tl::unexpected(DecodeError::size);

    L7Record out;
    out.kind = raw.kind == BL_L7_TLS ? L7Record::Kind::tls : L7Record::Kind::payload;
    out.time_ns = raw.time_ns;
    out.opened_ns = raw.opened_ns;
    out.key = raw.key;
    std::memset(out.key.pad, 0, sizeof out.key.pad); // keys are compared as bytes
    out.seq = raw.seq;
    out.length = raw.length;
    out.side = raw.side;
    out.tcp_flags = raw.tcp_flags;
    out.first = (raw.flags & BL_L7_FIRST) != 0;
    out.from_remote = (raw.flags & BL_L7_FROM_REMOTE) != 0;
    out.data = record.subspan(sizeof raw, raw.captured);
    return out;
}

} // namespace beeline::observe
