// flow.*, dns.*, http.*
#include "security/engine/fields.h"
#include "security/engine/names.h"

#include "abi/drop.h"

namespace beeline::security::engine {
namespace {

using FromFlow = bool (*)(Scene&, const model::Flow&, const Field&, Value&);
using FromEnd = bool (*)(Scene&, const model::FlowEnd&, const Field&, Value&);

template <FromFlow get>
bool of_flow(Scene& scene, const Field& field, Cursor&, Value& out) {
    return scene.event->flow != nullptr && get(scene, *scene.event->flow, field, out);
}
template <FromEnd get>
bool of_source(Scene& scene, const Field& field, Cursor&, Value& out) {
    return scene.event->flow != nullptr && get(scene, scene.event->flow->source, field, out);
}
template <FromEnd get>
bool of_destination(Scene& scene, const Field& field, Cursor&, Value& out) {
    return scene.event->flow != nullptr && get(scene, scene.event->flow->destination, field, out);
}

bool text(Value& out, std::string_view value) {
    out.text = value;
    return !value.empty();
}
bool number(Value& out, std::uint64_t value) {
    out.number = value;
    return true;
}

bool verdict(Scene&, const model::Flow& f, const Field&, Value& v) {
    return text(v, f.verdict == model::Flow::Verdict::dropped ? "DROPPED" : "FORWARDED");
}
bool kind(Scene&, const model::Flow& f, const Field&, Value& v) {
    switch (f.kind) {
    case model::Flow::Kind::opened: return text(v, "opened");
    case model::Flow::Kind::replied: return text(v, "replied");
    case model::Flow::Kind::closed: return text(v, "closed");
    case model::Flow::Kind::dropped: return text(v, "dropped");
    case model::Flow::Kind::revoked: return text(v, "revoked");
    case model::Flow::Kind::lost: return text(v, "lost");
    case model::Flow::Kind::l7: return text(v, "l7");
    }
    return false;
}
// Which check: of a drop the one that refused, else egress of the own process' end or ingress.
bool direction(Scene&, const model::Flow& f, const Field&, Value& v) {
    if (!f.denied_direction.empty()) return text(v, f.denied_direction);
    return text(v, f.source.kind == model::FlowEnd::Kind::workload ||
                           f.source.kind == model::FlowEnd::Kind::host
                       ? "egress"
                       : "ingress");
}
bool drop_reason(Scene&, const model::Flow& f, const Field&, Value& v) {
    switch (f.reason) {
#define X(name, number, ...)                                                                       \
    case number: return text(v, #name);
        BL_DROP_REASONS(X)
#undef X
    default: return false;
    }
}
bool protocol(Scene&, const model::Flow& f, const Field&, Value& v) {
    switch (f.protocol) {
    case model::Protocol::tcp: return text(v, "tcp");
    case model::Protocol::udp: return text(v, "udp");
    case model::Protocol::sctp: return text(v, "sctp");
    case model::Protocol::icmp: return text(v, "icmp");
    case model::Protocol::icmpv6: return text(v, "icmpv6");
    default: return false;
    }
}
bool egress_rule(Scene&, const model::Flow& f, const Field&, Value& v) {
    return text(v, f.egress_rule);
}
bool ingress_rule(Scene&, const model::Flow& f, const Field&, Value& v) {
    return text(v, f.ingress_rule);
}
bool rule(Scene&, const model::Flow& f, const Field&, Value& v) {
    if (f.denied_direction == "ingress") return text(v, f.ingress_rule);
    return text(v, f.egress_rule.empty() ? f.ingress_rule : f.egress_rule);
}
bool denied_by(Scene& s, const Field&, Cursor& cursor, Value& v) {
    const model::Flow* flow = s.event->flow;
    if (flow == nullptr || cursor.index >= flow->denied_by.size()) return false;
    v.text = flow->denied_by[cursor.index++];
    return true;
}
bool policy(Scene& s, const model::Flow& f, const Field& field, Value& v) {
    if (rule(s, f, field, v)) return true;
    if (f.denied_by.empty()) return false;
    Writer out(s.arena);
    for (const std::string& name : f.denied_by) {
        if (!out.empty()) out.add(", ");
        out.add(name);
    }
    v.text = out.finish();
    return true;
}
bool service(Scene&, const model::Flow& f, const Field&, Value& v) { return text(v, f.service); }
bool service_ip(Scene&, const model::Flow& f, const Field&, Value& v) {
    v.ip = f.service_address.bytes.data();
    return !f.service_address.is_zero();
}
bool service_port_of(Scene&, const model::Flow& f, const Field&, Value& v) {
    return f.service_port != 0 && number(v, f.service_port);
}
bool interface(Scene&, const model::Flow& f, const Field&, Value& v) {
    return text(v, f.interface);
}
template <unsigned way>
bool packets(Scene&, const model::Flow& f, const Field&, Value& v) {
    return number(v, f.packets[way]);
}
template <unsigned way>
bool bytes(Scene&, const model::Flow& f, const Field&, Value& v) {
    return number(v, f.bytes[way]);
}
bool duration(Scene&, const model::Flow& f, const Field&, Value& v) {
    return f.opened_ns != 0 && f.time_ns >= f.opened_ns &&
           number(v, static_cast<std::uint64_t>(f.time_ns - f.opened_ns));
}

bool ip(Scene&, const model::FlowEnd& end, const Field&, Value& v) {
    v.ip = end.address.bytes.data();
    return !end.address.is_zero();
}
bool port(Scene&, const model::FlowEnd& end, const Field&, Value& v) { return number(v, end.port); }
bool space(Scene&, const model::FlowEnd& end, const Field&, Value& v) { return text(v, end.space); }
bool name(Scene&, const model::FlowEnd& end, const Field&, Value& v) { return text(v, end.name); }
bool workload(Scene& s, const model::FlowEnd& end, const Field&, Value& v) {
    if (end.kind != model::FlowEnd::Kind::workload || end.name.empty()) return false;
    Writer out(s.arena);
    out.add(end.space);
    out.add('/');
    out.add(end.name);
    v.text = out.finish();
    return true;
}
bool end_kind(Scene&, const model::FlowEnd& end, const Field&, Value& v) {
    switch (end.kind) {
    case model::FlowEnd::Kind::workload: return text(v, "workload");
    case model::FlowEnd::Kind::host: return text(v, "host");
    case model::FlowEnd::Kind::world: return text(v, "world");
    case model::FlowEnd::Kind::remote: return text(v, "remote");
    }
    return false;
}
bool identity(Scene&, const model::FlowEnd& end, const Field&, Value& v) {
    return number(v, end.identity);
}
bool labels(Scene& s, const model::FlowEnd& end, const Field& f, Value& v) {
    if (f.has_argument) {
        const auto found = end.labels.find(f.argument);
        if (found == end.labels.end()) return false;
        v.text = found->second;
        return true;
    }
    if (end.labels.empty()) return false;
    Writer out(s.arena);
    for (const auto& [key, value] : end.labels) {
        if (!out.empty()) out.add(',');
        out.add(key);
        out.add('=');
        out.add(value);
    }
    v.text = out.finish();
    return true;
}
bool process(Scene&, const model::FlowEnd& end, const Field&, Value& v) {
    return text(v, end.process.comm);
}
bool process_path(Scene&, const model::FlowEnd& end, const Field&, Value& v) {
    return text(v, end.process.binary);
}
bool process_pid(Scene&, const model::FlowEnd& end, const Field&, Value& v) {
    return end.process.pid != 0 && number(v, end.process.pid);
}
bool process_uid(Scene&, const model::FlowEnd& end, const Field&, Value& v) {
    return end.process.pid != 0 && number(v, end.process.uid);
}

bool is_flow(std::uint16_t kind, std::string_view) { return kind == BL_EVENT_flow; }
bool absent(Scene&, const Field&, Cursor&, Value&) { return false; }

#define BL_ROW(field, type, get, says)                                                             \
    {field, Type::type, Many::one, Takes::nothing, 0, of_flow<get>, is_flow, says}
#define BL_SIDE(side, of, who)                                                                       \
    {side ".ip", Type::ip, Many::one, Takes::nothing, 0, of<ip>, is_flow, "address of " who},        \
        {side ".net",                                                                                \
         Type::net,                                                                                  \
         Many::one,                                                                                  \
         Takes::nothing,                                                                             \
         kNoRight | kNoTransform,                                                                    \
         of<ip>,                                                                                     \
         is_flow,                                                                                    \
         "address of " who ", compared with networks"},                                              \
        {side ".port", Type::port, Many::one, Takes::nothing, 0, of<port>, is_flow, "port of " who}, \
        {side ".kind",                                                                               \
         Type::text,                                                                                 \
         Many::one,                                                                                  \
         Takes::nothing,                                                                             \
         0,                                                                                          \
         of<end_kind>,                                                                               \
         is_flow,                                                                                    \
         "what " who " is: workload, host, world or remote"},                                        \
        {side ".workload",                                                                           \
         Type::text,                                                                                 \
         Many::one,                                                                                  \
         Takes::nothing,                                                                             \
         0,                                                                                          \
         of<workload>,                                                                               \
         is_flow,                                                                                    \
         "workload of " who " as namespace/name"},                                                   \
        {side ".namespace", Type::text, Many::one,          Takes::nothing, 0,                       \
         of<space>,         is_flow,    "namespace of " who},                                        \
        {side ".name", Type::text, Many::one, Takes::nothing, 0, of<name>, is_flow, "name of " who}, \
        {side ".identity",                                                                           \
         Type::uint64,                                                                               \
         Many::one,                                                                                  \
         Takes::nothing,                                                                             \
         0,                                                                                          \
         of<identity>,                                                                               \
         is_flow,                                                                                    \
         "identity of " who " on this machine"},                                                     \
        {side ".labels",                                                                             \
         Type::text,                                                                                 \
         Many::one,                                                                                  \
         Takes::optional_key,                                                                        \
         0,                                                                                          \
         of<labels>,                                                                                 \
         is_flow,                                                                                    \
         "labels of " who " as k=v joined by commas; [k]: one value"},                               \
        {side ".process",                                                                            \
         Type::text,                                                                                 \
         Many::one,                                                                                  \
         Takes::nothing,                                                                             \
         0,                                                                                          \
         of<process>,                                                                                \
         is_flow,                                                                                    \
         "name of the process of " who},                                                             \
        {side ".exepath",                                                                            \
         Type::path,                                                                                 \
         Many::one,                                                                                  \
         Takes::nothing,                                                                             \
         0,                                                                                          \
         of<process_path>,                                                                           \
         is_flow,                                                                                    \
         "executable of the process of " who},                                                       \
        {side ".pid", Type::int64,     Many::one, Takes::nothing,                                    \
         0,           of<process_pid>, is_flow,   "pid of the process of " who},                     \
    {                                                                                                \
        side ".uid", Type::uint64, Many::one, Takes::nothing, 0, of<process_uid>, is_flow,           \
            "user id of the process of " who                                                         \
    }
#define BL_LATER(field, type, says)                                                                \
    {field, Type::type, Many::one, Takes::nothing, 0, absent, is_flow, says}

constexpr FieldRow kFields[] = {
    BL_ROW("flow.verdict", text, verdict, "FORWARDED or DROPPED"),
    BL_ROW("flow.kind", text, kind, "opened, replied, closed, dropped, revoked or lost"),
    BL_ROW("flow.direction", text, direction,
           "egress or ingress: of the check that dropped, else of this machine's end"),
    BL_ROW("flow.drop_reason", text, drop_reason, "name of the reason of a drop"),
    BL_ROW("flow.rule", text, rule, "policy rule that decided"),
    BL_ROW("flow.egress_rule", text, egress_rule, "policy rule that decided on leaving"),
    BL_ROW("flow.ingress_rule", text, ingress_rule, "policy rule that decided on arriving"),
    {"flow.denied_by", Type::text, Many::list, Takes::nothing, 0, denied_by, is_flow,
     "policies that select the workload when none of their rules allows"},
    BL_ROW("flow.policy", text, policy, "the rule, or else the policies that deny by default"),
    BL_ROW("flow.protocol", text, protocol, "tcp, udp, sctp, icmp or icmpv6"),
    BL_ROW("flow.service", text, service, "service that was asked for, as namespace/name"),
    BL_ROW("flow.service.ip", ip, service_ip, "address of that service"),
    BL_ROW("flow.service.port", port, service_port_of, "port of that service"),
    BL_ROW("flow.interface", text, interface, "interface where it was seen"),
    BL_ROW("flow.packets.sent", uint64, packets<0>, "packets from the client"),
    BL_ROW("flow.packets.received", uint64, packets<1>, "packets from the server"),
    BL_ROW("flow.bytes.sent", uint64, bytes<0>, "bytes from the client"),
    BL_ROW("flow.bytes.received", uint64, bytes<1>, "bytes from the server"),
    BL_ROW("flow.duration", duration, duration, "ns since it was opened"),
    BL_SIDE("flow.src", of_source, "the client"),
    BL_SIDE("flow.dst", of_destination, "the server"),
    BL_LATER("dns.query", text, "name asked for; absent until DNS is observed"),
    BL_LATER("dns.type", text, "type of the question; absent until DNS is observed"),
    BL_LATER("dns.rcode", text, "code of the answer; absent until DNS is observed"),
    BL_LATER("dns.answers", text, "addresses of the answer; absent until DNS is observed"),
    BL_LATER("http.method", text, "method; absent until HTTP is observed"),
    BL_LATER("http.path", text, "path; absent until HTTP is observed"),
    BL_LATER("http.host", text, "host; absent until HTTP is observed"),
    BL_LATER("http.status", uint64, "status of the answer; absent until HTTP is observed"),
    BL_LATER("http.protocol", text, "version; absent until HTTP is observed"),
};

#undef BL_ROW
#undef BL_SIDE
#undef BL_LATER

} // namespace

std::span<const FieldRow> flow_fields() { return kFields; }

} // namespace beeline::security::engine
