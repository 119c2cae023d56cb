// Bytes of the ring bl_flows -> FlowEvent. The only code that reads raw records; whatever leaves it is in range.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

#include <tl/expected.hpp>

#include "abi/process.h"
#include "model/flow.h"
#include "model/protocol.h"
#include "net/address.h"

namespace beeline::observe {

// The part of an event that repeats from one connection to the next between the same two ends. No padding: it is
// hashed and compared as bytes. Pairs are [0] client and [1] server.
struct Path {
    std::uint64_t cgroup = 0; // of the client's process, only where its address is not known
    net::Ip source;
    net::Ip destination;
    net::Ip service; // zero: none
    std::array<std::uint32_t, 2> identity{};
    std::array<std::uint32_t, 2> endpoint{}; // 0: not a workload of this machine
    std::array<std::uint32_t, 2> rule{};     // by Direction; 0: no rule decided
    std::uint32_t ifindex = 0;
    std::uint16_t service_port = 0;
    model::Protocol protocol = model::Protocol::any;
    std::uint8_t reason = 0;    // enum bl_drop_reason, 0 unless dropped or revoked
    std::uint8_t direction = 0; // BL_DIR_*, of the check that dropped
    std::array<std::uint8_t, 7> pad{};
};
static_assert(std::has_unique_object_representations_v<Path>);

struct FlowEvent {
    model::Flow::Kind kind = model::Flow::Kind::opened; // never lost
    std::uint64_t time_ns = 0;                          // CLOCK_MONOTONIC, as opened_ns
    std::uint64_t opened_ns = 0;                        // 0: not known
    Path path;
    std::array<std::uint16_t, 2> port{}; // host order
    std::array<std::uint8_t, 2> tcp_flags{};
    std::uint8_t icmp_type = 0;
    std::uint8_t icmp_code = 0;
    std::array<std::uint64_t, 2> packets{};
    std::array<std::uint64_t, 2> bytes{};
    std::array<bl_process, 2> process{}; // comm: zero behind its end
};

// Which check refused a record. X(name, what people read)
#define BEELINE_DECODE_ERRORS(X)                                                                   \
    X(size, "wrong size")                                                                          \
    X(time, "impossible time")                                                                     \
    X(kind, "unknown kind")                                                                        \
    X(reason, "unknown drop reason, or one that does not go with the kind")                        \
    X(place, "unknown hook or direction")

enum class DecodeError : std::uint8_t {
#define X(name, text) name,
    BEELINE_DECODE_ERRORS(X)
#undef X
        count
};
std::string_view to_string(DecodeError error);

tl::expected<FlowEvent, DecodeError> decode_flow(std::span<const std::byte> record);

} // namespace beeline::observe
