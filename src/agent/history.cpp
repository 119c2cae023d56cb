#include "agent/history.h"

#include "observe/drop_reason.h"
#include "observe/json.h"

namespace beeline::agent {
namespace {

using nlohmann::json;
namespace history = observe::history;

std::string time_text(std::int64_t time_ns) {
    std::string out;
    observe::append_time(out, time_ns);
    return out;
}

std::string_view kind_text(model::FlowEnd::Kind kind) {
    switch (kind) {
    case model::FlowEnd::Kind::workload: return "workload";
    case model::FlowEnd::Kind::host: return "host";
    case model::FlowEnd::Kind::world: return "world";
    case model::FlowEnd::Kind::remote: return "remote";
    }
    return "";
}

json end_json(const history::EdgeEnd& end) {
    json out{{"kind", kind_text(end.kind)}};
    if (!end.space.empty()) out["namespace"] = end.space;
    if (!end.name.empty()) out["name"] = end.name;
    if (!end.address.empty()) out["address"] = end.address;
    return out;
}

json edge_json(const history::Edge& edge) {
    const history::EdgeCounts& counts = edge.counts;
    json out{{"hour", time_text(edge.hour_ns)},
             {"source", end_json(edge.source)},
             {"destination", end_json(edge.destination)},
             {"protocol", model::to_string(edge.protocol)},
             {"verdict", edge.verdict == model::Flow::Verdict::dropped ? "DROPPED" : "FORWARDED"},
             {"connections", counts.connections},
             {"closed", counts.closed},
             {"drops", counts.drops},
             {"packets", {{"source", counts.packets[0]}, {"destination", counts.packets[1]}}},
             {"bytes", {{"source", counts.bytes[0]}, {"destination", counts.bytes[1]}}},
             {"requests", counts.requests},
             {"responses", counts.responses},
             {"errors", counts.errors},
             {"latency_ns", counts.latency_ns}};
    if (edge.port != 0) out["port"] = edge.port;
    if (!edge.service.empty()) out["service"] = edge.service;
    if (!edge.rule.empty()) out["rule"] = edge.rule;
    if (edge.reason != 0)
        out["drop_reason"] = {{"code", edge.reason},
                              {"name", observe::drop_reason_name(edge.reason)},
                              {"text", observe::drop_reason_text(edge.reason)}};
    return out;
}

} // namespace

json history_document(const history::History& history) {
    const history::HistoryStats stats = history.stats();
    json out{{"enabled", stats.enabled}};
    if (!stats.enabled) return out;
    const history::WriterStats& writer = stats.writer;
    out["path"] = stats.path;
    out["stored"] = writer.stored;
    out["written"] = writer.written;
    out["bytes"] = writer.bytes;
    out["behind"] = stats.behind;
    out["lost"] = writer.lost;
    if (writer.oldest_ns != 0) out["oldest"] = time_text(writer.oldest_ns);
    if (!writer.error.empty()) out["error"] = writer.error;
    if (!writer.damage.empty()) out["damage"] = writer.damage;
    return out;
}

json edges_document(const history::EdgeList& list) {
    json edges = json::array();
    for (const auto& edge : list.edges)
        edges.push_back(edge_json(edge));
    json out{{"edges", std::move(edges)}, {"lost", list.lost}};
    if (list.truncated) out["truncated"] = true;
    return out;
}

} // namespace beeline::agent
