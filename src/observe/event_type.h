// As which of Hubble's events a flow is shown: one decision for the gRPC API, the exporters and the metrics.
//
// One flow is one event. `opened` is a policy verdict when a rule had to decide, else a trace of a new connection;
// `replied` is the trace of the first answer, so its ends change places; `closed` is a trace of the last packet;
// `dropped` and `revoked` are drops. Beeline decides once for both ends, Hubble at each of them: what Hubble would call
// the reporting end is the destination when it is a workload of this machine, else the source.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "model/flow.h"
#include "observe/record.h"

namespace beeline::observe {

// Numbers are those of Hubble's event_type.type; lost has none.
enum class EventType : std::uint8_t { lost = 0, drop = 1, trace = 4, policy_verdict = 5, l7 = 129 };
enum class TrafficDirection : std::uint8_t { unknown = 0, ingress = 1, egress = 2 };
// Numbers are those of event_type.sub_type of traces.
enum class TracePoint : std::uint8_t { to_endpoint = 0, to_host = 2, to_stack = 3 };
enum class TraceReason : std::uint8_t { unknown = 0, opened = 1, established = 2, reply = 3 };
// Numbers are those of policy_match_type.
enum class PolicyMatch : std::uint8_t { none = 0, l3_only = 1, l3_l4 = 2, l4_only = 3, all = 4 };

// What the decision needs of a flow.
struct EventFacts {
    model::Flow::Kind kind = model::Flow::Kind::opened;
    model::Protocol protocol = model::Protocol::any;
    bool source_here = false; // a workload of this machine
    bool destination_here = false;
    bool destination_host = false; // this node itself
    bool egress_rule = false;      // a rule decided
    bool ingress_rule = false;
    bool denied_egress = false; // which check dropped, when it was policy
    bool denied_ingress = false;
    std::uint8_t reason = 0; // enum bl_drop_reason
    std::uint8_t tcp_flags[2] = {0, 0};
    std::uint8_t icmp_type = 0;
    const model::L7* l7 = nullptr; // of kind l7
};
EventFacts facts(const model::Flow& flow);
EventFacts facts(const RecordView& record);

struct Event {
    EventType type = EventType::trace;
    int sub_type = 0;             // drop reason or trace point
    bool swapped = false;         // the event's source is the flow's destination
    std::optional<bool> is_reply; // not known of drops
    TrafficDirection direction = TrafficDirection::unknown; // of the connection, not of the packet
    TraceReason reason = TraceReason::unknown;
    PolicyMatch match = PolicyMatch::none; // of policy verdicts
    std::uint8_t tcp_flags = 0;            // of the packet that the event stands for
    std::uint8_t icmp_type = 0;
};
Event event_of(const EventFacts& facts);

inline Event event_of(const model::Flow& flow) { return event_of(facts(flow)); }
inline Event event_of(const RecordView& record) { return event_of(facts(record)); }

std::string_view to_string(TracePoint point);           // "to-endpoint"
std::string_view to_string(TrafficDirection direction); // "ingress", "egress", "unknown"
std::string_view to_string(PolicyMatch match);          // "l3-l4"

} // namespace beeline::observe
