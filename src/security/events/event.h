// One security event: a bounded view of a record (bpf/abi/event.h) with the process it belongs to.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "abi/event.h"
#include "model/flow.h"

namespace beeline::security {

struct Process;

enum class DecodeError : std::uint8_t {
    none,
    too_short,
    bad_size,
    bad_kind,
    bad_string,
    bad_facts,
    count
};

// Name of a kind as rules call it (evt.type); empty for numbers that are none.
std::string_view kind_name(std::uint16_t kind);
// The kind of a name, 0 if there is none. fork, vfork and clone3 are `clone`.
std::uint16_t kind_of(std::string_view name);

// Valid as long as the bytes are; nothing is copied but the head.
struct Event {
    bl_event head{};
    std::array<std::string_view, BL_STR_FACTS>
        text;                            // by BL_STR_*; empty view with data() == nullptr: absent
    const bl_event_file* file = nullptr; // at most one of these three
    const bl_event_sock* socket = nullptr;
    const bl_event_task* task = nullptr;
    const model::Flow* flow = nullptr; // kind flow

    // Filled by the process tree.
    std::uint64_t number = 0;         // counts events from 1
    std::int64_t time_ns = 0;         // CLOCK_REALTIME
    const Process* process = nullptr; // never null after ProcessTree::apply()

    [[nodiscard]] bool has(unsigned string) const { return text[string].data() != nullptr; }
};

// Checks every bound. `record` must be 8-byte aligned; the event points into it.
DecodeError decode(std::span<const std::byte> record, Event& event);

} // namespace beeline::security
