#include "observe/decode.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "abi/drop.h"
#include "abi/flow.h"
#include "abi/policy.h"
#include "observe/drop_reason.h"

namespace beeline::observe {
namespace {

// 146 years after boot: far beyond any uptime, and no sum with the time of day overflows.
constexpr std::uint64_t kTimeMax = std::uint64_t{1} << 62;

bool known_kind(std::uint8_t kind) {
    switch (kind) {
#define X(name, number)                                                                            \
    case number: static_assert(static_cast<int>(model::Flow::Kind::name) == number); return true;
        BL_FLOW_KINDS(X)
#undef X
    default: return false;
    }
}

bool reason_fits(std::uint8_t kind, std::uint8_t reason) {
    switch (kind) {
    case BL_FLOW_dropped: return !drop_reason_name(reason).empty();
    case BL_FLOW_revoked: return reason == BL_DROP_NONE || !drop_reason_name(reason).empty();
    default: return reason == BL_DROP_NONE;
    }
}

net::Ip address(const bl_addr& addr) {
    net::Ip ip;
    std::memcpy(ip.bytes.data(), addr.byte, ip.bytes.size());
    return ip;
}

bl_process process(const bl_process& raw) {
    bl_process out = raw;
    char* const end = out.comm + sizeof out.comm;
    std::fill(std::find(out.comm, end, '\0'), end, '\0');
    return out;
}

} // namespace

std::string_view to_string(DecodeError error) {
    switch (error) {
#define X(name, text)                                                                              \
    case DecodeError::name: return text;
        BEELINE_DECODE_ERRORS(X)
#undef X
    case DecodeError::count: break;
    }
    return "";
}

tl::expected<FlowEvent, DecodeError> decode_flow(std::span<const std::byte> record) {
    bl_flow_event raw;
    if (record.size() != sizeof raw) return tl::unexpected(DecodeError::size);
    std::memcpy(&raw, record.data(), sizeof raw); // the record need not be aligned

    if (raw.time_ns == 0 || raw.time_ns > kTimeMax || raw.opened_ns > kTimeMax)
        return tl::unexpected(DecodeError::time);
    if (!known_kind(raw.kind)) return tl::unexpected(DecodeError::kind);
    if (!reason_fits(raw.kind, raw.reason)) return tl::unexpected(DecodeError::reason);
    if (raw.hook > BL_AT_SWEEP || raw.direction > BL_DIR_INGRESS)
        return tl::unexpected(DecodeError::place);

    FlowEvent event;
    event.kind = static_cast<model::Flow::Kind>(raw.kind);
    event.time_ns = raw.time_ns;
    event.opened_ns = raw.opened_ns;
    event.path.source = address(raw.key.src);
    event.path.destination = address(raw.key.dst);
    event.path.service = address(raw.svc_addr);
    event.path.identity = {raw.identity[0], raw.identity[1]};
    event.path.endpoint = {raw.endpoint[0], raw.endpoint[1]};
    event.path.rule = {raw.rule[BL_DIR_EGRESS], raw.rule[BL_DIR_INGRESS]};
    event.path.ifindex = raw.ifindex;
    event.path.service_port = ntohs(raw.svc_port);
    // Any of the 256: workloads may speak what they like, as far as their policies let them.
    event.path.protocol = static_cast<model::Protocol>(raw.key.proto);
    event.path.reason = raw.reason;
    event.path.direction = raw.direction;
    if (event.path.source.is_zero()) event.path.cgroup = raw.process[0].cgroup;
    event.port = {ntohs(raw.key.sport), ntohs(raw.key.dport)};
    event.tcp_flags = {raw.tcp_flags[0], raw.tcp_flags[1]};
    event.icmp_type = raw.icmp_type;
    event.icmp_code = raw.icmp_code;
    event.packets = {raw.packets[0], raw.packets[1]};
    event.bytes = {raw.bytes[0], raw.bytes[1]};
    event.process = {process(raw.process[0]), process(raw.process[1])};
    return event;
}

} // namespace beeline::observe
