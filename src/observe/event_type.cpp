#include "observe/event_type.h"

#include "abi/drop.h"
#include "abi/policy.h"

namespace beeline::observe {
namespace {

using Kind = model::Flow::Kind;

constexpr std::uint8_t kFin = 0x01;
constexpr std::uint8_t kSyn = 0x02;
constexpr std::uint8_t kRst = 0x04;
constexpr std::uint8_t kAck = 0x10;

bool by_policy(std::uint8_t reason) {
    return reason == BL_DROP_POLICY_DENIED || reason == BL_DROP_POLICY_DENY;
}

TrafficDirection direction_of(const EventFacts& facts) {
    if (facts.denied_egress) return TrafficDirection::egress;
    if (facts.denied_ingress) return TrafficDirection::ingress;
    const bool drop = facts.kind == Kind::dropped || facts.kind == Kind::revoked;
    // Drops without a check and DNS questions belong to who sends.
    const bool at_source =
        drop || (facts.l7 != nullptr && facts.l7->protocol == model::L7::Protocol::dns);
    if (facts.kind == Kind::opened && (facts.egress_rule || facts.ingress_rule))
        return facts.ingress_rule ? TrafficDirection::ingress : TrafficDirection::egress;
    if (at_source && facts.source_here) return TrafficDirection::egress;
    if (facts.destination_here) return TrafficDirection::ingress;
    if (facts.source_here) return TrafficDirection::egress;
    return TrafficDirection::unknown;
}

TracePoint point_of(const EventFacts& facts, bool reply) {
    const bool arrives_here = reply ? facts.source_here : facts.destination_here;
    if (arrives_here) return TracePoint::to_endpoint;
    return facts.destination_host && !reply ? TracePoint::to_host : TracePoint::to_stack;
}

std::uint8_t flags_of(const EventFacts& facts) {
    if (facts.protocol != model::Protocol::tcp) return 0;
    switch (facts.kind) {
    case Kind::replied:
        // Flags are collected while a connection lives; this event is about its first answer.
        return static_cast<std::uint8_t>(facts.tcp_flags[1] & (kSyn | kRst | kAck));
    case Kind::closed: {
        const unsigned seen = facts.tcp_flags[0] | facts.tcp_flags[1];
        if (seen & kRst) return static_cast<std::uint8_t>(seen & (kRst | kAck));
        return static_cast<std::uint8_t>(seen & (kFin | kAck));
    }
    case Kind::opened: return static_cast<std::uint8_t>(facts.tcp_flags[0] & ~(kFin | kRst));
    case Kind::dropped:
    case Kind::revoked: return facts.tcp_flags[0] != 0 ? facts.tcp_flags[0] : facts.tcp_flags[1];
    case Kind::lost:
    case Kind::l7: break;
    }
    return 0;
}

// The answer to an echo request is an echo reply; only the request's type is kept with a connection.
std::uint8_t icmp_of(const EventFacts& facts) {
    if (facts.kind != Kind::replied) return facts.icmp_type;
    if (facts.protocol == model::Protocol::icmp && facts.icmp_type == 8) return 0;
    if (facts.protocol == model::Protocol::icmpv6 && facts.icmp_type == 128) return 129;
    return facts.icmp_type;
}

} // namespace

EventFacts facts(const model::Flow& flow) {
    EventFacts out;
    out.kind = flow.kind;
    out.protocol = flow.protocol;
    out.source_here = flow.source.endpoint != 0;
    out.destination_here = flow.destination.endpoint != 0;
    out.destination_host = flow.destination.kind == model::FlowEnd::Kind::host;
    out.egress_rule = !flow.egress_rule.empty();
    out.ingress_rule = !flow.ingress_rule.empty();
    out.denied_egress = flow.denied_direction == "egress";
    out.denied_ingress = flow.denied_direction == "ingress";
    out.reason = flow.reason;
    out.tcp_flags[0] = flow.tcp_flags[0];
    out.tcp_flags[1] = flow.tcp_flags[1];
    out.icmp_type = flow.icmp_type;
    out.l7 = flow.l7.get();
    return out;
}

EventFacts facts(const RecordView& record) {
    EventFacts out;
    out.kind = record.kind;
    if (!record.context) return out;
    const Context& context = *record.context;
    out.protocol = context.path.protocol;
    out.source_here = context.source->endpoint != 0;
    out.destination_here = context.destination->endpoint != 0;
    out.destination_host = context.destination->kind == model::FlowEnd::Kind::host;
    out.egress_rule = context.egress_rule != nullptr && !context.egress_rule->empty();
    out.ingress_rule = context.ingress_rule != nullptr && !context.ingress_rule->empty();
    out.reason = context.path.reason;
    if (by_policy(out.reason)) {
        out.denied_egress = context.path.direction == BL_DIR_EGRESS;
        out.denied_ingress = context.path.direction == BL_DIR_INGRESS;
    }
    out.tcp_flags[0] = record.tcp_flags[0];
    out.tcp_flags[1] = record.tcp_flags[1];
    out.icmp_type = record.icmp_type;
    out.l7 = record.l7 != nullptr ? record.l7->get() : nullptr;
    return out;
}

Event event_of(const EventFacts& facts) {
    Event event;
    if (facts.kind == Kind::lost) {
        event.type = EventType::lost;
        return event;
    }
    event.direction = direction_of(facts);
    event.tcp_flags = flags_of(facts);
    event.icmp_type = icmp_of(facts);
    switch (facts.kind) {
    case Kind::opened:
        event.is_reply = false;
        if (facts.egress_rule || facts.ingress_rule) {
            event.type = EventType::policy_verdict;
            event.match = PolicyMatch::l3_l4;
            break;
        }
        event.sub_type = static_cast<int>(point_of(facts, false));
        event.reason = TraceReason::opened;
        break;
    case Kind::replied:
        event.swapped = true;
        event.is_reply = true;
        event.sub_type = static_cast<int>(point_of(facts, true));
        event.reason = TraceReason::reply;
        break;
    case Kind::closed:
        event.is_reply = false;
        event.sub_type = static_cast<int>(point_of(facts, false));
        event.reason = TraceReason::established;
        break;
    case Kind::dropped:
    case Kind::revoked:
        event.type = EventType::drop;
        event.sub_type = facts.reason;
        if (facts.reason == BL_DROP_POLICY_DENY) event.match = PolicyMatch::l3_l4;
        break;
    case Kind::l7:
        event.type = EventType::l7;
        event.swapped = facts.l7 != nullptr && facts.l7->type == model::L7::Type::response;
        event.is_reply = event.swapped;
        break;
    case Kind::lost: break;
    }
    return event;
}

std::string_view to_string(TracePoint point) {
    switch (point) {
    case TracePoint::to_endpoint: return "to-endpoint";
    case TracePoint::to_host: return "to-host";
    case TracePoint::to_stack: return "to-stack";
    }
    return "";
}

std::string_view to_string(TrafficDirection direction) {
    switch (direction) {
    case TrafficDirection::ingress: return "ingress";
    case TrafficDirection::egress: return "egress";
    case TrafficDirection::unknown: break;
    }
    return "unknown";
}

std::string_view to_string(PolicyMatch match) {
    switch (match) {
    case PolicyMatch::none: return "none";
    case PolicyMatch::l3_only: return "l3-only";
    case PolicyMatch::l3_l4: return "l3-l4";
    case PolicyMatch::l4_only: return "l4-only";
    case PolicyMatch::all: return "all";
    }
    return "";
}

} // namespace beeline::observe
