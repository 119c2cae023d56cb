// Which flows a reader asks for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/flow.h"
#include "observe/record.h"

namespace beeline::observe {

// Of answers of application protocols: codes of a range, or all that went well or wrong.
struct StatusRange {
    std::uint32_t first = 0;
    std::uint32_t last = 0;
    model::L7::Status status = model::L7::Status::unknown; // known: counts instead of the range
    bool operator==(const StatusRange&) const = default;
};

// Values of one field are alternatives, fields restrict each other, an empty field lets everything through.
struct FlowFilter {
    std::vector<std::string>
        pods; // either end: "ns/name", "ns/" for all of a namespace, or "name" in any
    std::vector<std::string> to_pods; // the destination
    std::vector<model::Flow::Verdict> verdicts;
    std::vector<model::Protocol> protocols; // icmp lets ICMPv6 through too
    std::vector<std::uint16_t>
        ports; // destination port, or that of the service; of TCP, UDP and SCTP only
    std::vector<std::uint32_t> pids; // process of either end
    // Messages of application protocols only, as all fields that only these have.
    bool l7 = false;
    std::vector<model::L7::Protocol> l7_protocols; // alternatives to `protocols`
    std::vector<StatusRange> statuses;             // of answers
    std::vector<std::string> methods;              // any case
    std::vector<std::string> paths;       // beginnings of the resource; a pattern if it has a '*'
    std::optional<std::int64_t> since_ns; // CLOCK_REALTIME
    std::optional<std::int64_t> until_ns; // the last moment that counts

    // Where to begin and end, not part of matches(): the first or the last so many matches only; whether to go on
    // with flows to come. Following without `last`, `first` and `since_ns` begins with the present.
    std::optional<std::size_t> first;
    std::optional<std::size_t> last;
    std::uint64_t first_number =
        0; // begin with this flow, or the oldest one that is left; 0: not given
    bool follow = false;

    // A loss concerns every reader: only the times apply to it.
    [[nodiscard]] bool matches(const model::Flow& flow) const;
    [[nodiscard]] bool matches(const RecordView& record) const; // the same, without making a Flow
    [[nodiscard]] bool matches(const Record& record) const { return matches(view(record)); }
};

} // namespace beeline::observe
