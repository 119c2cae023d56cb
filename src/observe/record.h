// How one flow is kept in memory: its own numbers, and shared immutable facts for everything that repeats.
//
// Names are looked up once, when the flow arrives, with the directory of that moment: what is shown later is what was
// true then, and no old directory has to stay alive. The facts of a pair of ends (names, labels, rule titles) are one
// Context that all flows between them share; equal strings and label sets are shared between contexts too. The
// store keeps a flow in 64 bytes (store.cpp): 68 MB for a million when peers repeat. The model::Flow with its own
// strings is made only for flows that somebody reads.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/directory.h"
#include "model/flow.h"
#include "observe/decode.h"
#include "observe/processes.h"

namespace beeline::observe {

using Names = model::Directory::Entry;

struct Context {
    Path path;
    std::shared_ptr<const Names> source; // never null
    std::shared_ptr<const Names> destination;
    std::shared_ptr<const std::string> egress_rule; // null: none
    std::shared_ptr<const std::string> ingress_rule;
    std::shared_ptr<const std::string> service;
    std::shared_ptr<const std::string> interface;
    std::shared_ptr<const std::vector<std::string>> denied_by;
    // What the other end was told that each address is called; null: nothing.
    std::array<std::shared_ptr<const std::vector<std::string>>, 2> names;
};

struct Record {
    std::int64_t time_ns = 0; // CLOCK_REALTIME, as opened_ns
    std::int64_t opened_ns = 0;
    std::array<std::uint64_t, 2>
        packets{}; // of kind lost: [0] is how many; of kind l7: see set_numbers()
    std::array<std::uint64_t, 2> bytes{};
    std::shared_ptr<const Context> context; // null in kind lost only
    std::array<std::shared_ptr<const ProcessInfo>, 2> process;
    std::shared_ptr<const model::L7> l7; // of kind l7, else null
    std::array<std::uint16_t, 2> port{};
    model::Flow::Kind kind = model::Flow::Kind::opened;
    std::array<std::uint8_t, 2> tcp_flags{};
    std::uint8_t icmp_type = 0;
    std::uint8_t icmp_code = 0;
};

// A record where it lies: valid as long as that. What it points to is owned by the shared pointers behind `owners`.
struct RecordView {
    struct Owners {
        const std::shared_ptr<const Context>* context = nullptr;
        std::array<const std::shared_ptr<const ProcessInfo>*, 2> process{};
    };

    std::int64_t time_ns = 0;
    std::int64_t opened_ns = 0;
    std::array<std::uint64_t, 2> packets{};
    std::array<std::uint64_t, 2> bytes{};
    const Context* context = nullptr;
    std::array<const ProcessInfo*, 2> process{};
    const std::shared_ptr<const model::L7>* l7 = nullptr; // null: none
    std::array<std::uint16_t, 2> port{};
    model::Flow::Kind kind = model::Flow::Kind::opened;
    std::array<std::uint8_t, 2> tcp_flags{};
    std::uint8_t icmp_type = 0;
    std::uint8_t icmp_code = 0;
    Owners owners{};
};
RecordView view(const Record& record);

// Flows of kind l7 have no packets of their own: what their shared message does not say lies there.
inline void set_numbers(Record& record, const model::L7Numbers& numbers) {
    record.packets[0] = numbers.latency_ns;
    record.bytes = {numbers.request_bytes, numbers.response_bytes};
}
// Precondition: record.l7.
inline model::L7Numbers numbers_of(const RecordView& record) {
    const model::L7& l7 = **record.l7;
    const auto either = [](std::uint64_t own, std::uint64_t shared) {
        return own != 0 ? own : shared;
    };
    return {either(record.packets[0], l7.latency_ns), either(record.bytes[0], l7.request_bytes),
            either(record.bytes[1], l7.response_bytes)};
}
// The message with its numbers; the shared one when that has them.
std::shared_ptr<const model::L7> message_of(const RecordView& record);

// Where events get lost.
inline constexpr const char* kLostInRing = "ring"; // the kernel found no room in bl_flows
inline constexpr const char* kLostInQueue =
    "queue"; // a reader was slower than the store's turnover
inline constexpr const char* kLostInHistory =
    "history"; // the history was too slow, had no room, or its file is damaged

inline model::Flow::Verdict verdict(model::Flow::Kind kind) {
    return kind == model::Flow::Kind::dropped || kind == model::Flow::Kind::revoked
               ? model::Flow::Verdict::dropped
               : model::Flow::Verdict::forwarded;
}

Record lost_record(std::int64_t time_ns, std::uint64_t count);
model::Flow to_flow(const RecordView& record, std::uint64_t number);
inline model::Flow to_flow(const Record& record, std::uint64_t number) {
    return to_flow(view(record), number);
}

} // namespace beeline::observe
