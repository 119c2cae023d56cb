// Bytes of the ring bl_l7 -> pieces of payload. The only code that reads these raw records; whatever leaves it is in range.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <tl/expected.hpp>

#include "abi/l7.h"
#include "observe/decode.h"

namespace beeline::observe {

struct L7Record {
    enum class Kind : std::uint8_t { connection, payload, tls };
    Kind kind = Kind::payload;
    // Of a connection: who its ends are, as an event of kind opened.
    std::span<const std::byte> event;
    std::uint64_t time_ns = 0; // CLOCK_MONOTONIC
    // Of the others.
    std::uint64_t opened_ns = 0;
    bl_flow_key
        key{}; // of payload: in the client's direction; of tls: from the process that called
    std::uint32_t seq = 0;
    std::uint32_t length = 0;
    std::uint8_t side = 0; // 0 client, 1 server; of tls 0
    std::uint8_t tcp_flags = 0;
    bool first = false;       // the connection was seen from its first packet on
    bool from_remote = false; // of tls: the process read it
    std::span<const std::byte> data;
};

// The spans are into `record`.
tl::expected<L7Record, DecodeError> decode_l7(std::span<const std::byte> record);

} // namespace beeline::observe
