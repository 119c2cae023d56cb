#include "agent/backend.h"

#include "agent/documents.h"
#include "agent/history.h"
#include "agent/policy_matrix.h"
#include "agent/top.h"
#include "agent/why.h"
#include "agent/workload_processes.h"
#include "api/server/flow_lines.h"
#include "net/cni_protocol.h"

namespace beeline::agent {
namespace {

using nlohmann::json;

// The change is stored but the kernel could not take it: the previous state stays, and whoever asked must know.
Result<json> enforced(const Node& node, json document) {
    if (node.unenforced().empty()) return document;
    return fail(Code::exhausted, "stored, but not in force; the previous state stays: {}",
                node.unenforced());
}

} // namespace

Result<json> NodeBackend::status() {
    return loop_.call([this]() -> Result<json> { return status_document(node_); });
}

Result<json> NodeBackend::workloads() {
    return loop_.call([this]() -> Result<json> { return workloads_document(node_); });
}

Result<json> NodeBackend::services() {
    return loop_.call([this]() -> Result<json> { return services_document(node_); });
}

Result<json> NodeBackend::objects(const api::ObjectQuery& query) {
    return loop_.call([&]() -> Result<json> {
        json list = json::array();
        for (const auto& object : TRY(node_.source().list({query.kind, query.space, query.name}))) {
            list.push_back({{"kind", source::kind_name(object.kind)},
                            {"namespace", object.name.space},
                            {"name", object.name.name},
                            {"file", object.file},
                            {"yaml", object.yaml}});
        }
        return json{{"objects", std::move(list)}};
    });
}

Result<json> NodeBackend::apply(const std::string& yaml, bool dry_run) {
    const auto write = [&] { return node_.source().apply(yaml, dry_run); };
    const auto report = TRY(node_.source().waits() ? write() : loop_.call(write));
    json list = json::array();
    for (const auto& entry : report.objects) {
        list.push_back({{"kind", source::kind_name(entry.kind)},
                        {"namespace", entry.name.space},
                        {"name", entry.name.name},
                        {"action", source::action_name(entry.action)}});
    }
    json document{{"applied", std::move(list)}};
    if (!report.warnings.empty()) document["warnings"] = report.warnings;
    if (dry_run) return document;
    return loop_.call([&] { return enforced(node_, std::move(document)); });
}

Result<json> NodeBackend::remove(const std::string& kind, const model::ObjectName& name) {
    const auto write = [&] { return node_.source().remove(kind, name); };
    TRY(node_.source().waits() ? write() : loop_.call(write));
    return loop_.call([&] { return enforced(node_, json::object()); });
}

Result<std::unique_ptr<api::LineStream>> NodeBackend::flows(const observe::FlowFilter& filter) {
    // Memory and history are read from any thread.
    return api::flow_lines(node_.history().query(filter), filter.follow, node_.config().node);
}

Result<json> NodeBackend::edges(const observe::history::EdgeQuery& query) {
    return edges_document(TRY(node_.history().edges(query)));
}

Result<json> NodeBackend::explain(const api::ExplainQuery& query) {
    return loop_.call([&] { return explain_document(node_, query); });
}

Result<json> NodeBackend::why(const api::WhyQuery& query) {
    return why_document(node_, loop_, query);
}

Result<json> NodeBackend::kernel_drops(std::size_t limit) {
    const auto names =
        loop_.call([this] { return std::pair(node_.directory(), node_.workloads()); });
    return kernel_drops_document(node_.kernel_drops(), *names.first, names.second, limit);
}

Result<json> NodeBackend::top(std::int64_t window_ns) {
    return top_document(node_, loop_, window_ns);
}

Result<json> NodeBackend::maps() {
    return loop_.call([this] { return maps_document(node_); });
}

Result<json> NodeBackend::map(const std::string& name, std::size_t limit) {
    return loop_.call([&] { return map_document(node_, name, limit); });
}

Result<Security*> NodeBackend::security() {
    if (node_.security() != nullptr) return node_.security();
    if (node_.security_error().empty()) {
        return fail(Code::unavailable,
                    "runtime security is switched off: set security.enabled in the configuration");
    }
    return fail(Code::unavailable, "runtime security could not start: {}", node_.security_error());
}

Result<std::unique_ptr<api::LineStream>> NodeBackend::alerts(const security::AlertFilter& filter) {
    return loop_.call([&]() -> Result<std::unique_ptr<api::LineStream>> {
        return TRY(security())->alerts(filter);
    });
}

Result<std::unique_ptr<api::LineStream>> NodeBackend::events(const api::EventQuery& query) {
    return loop_.call([&]() -> Result<std::unique_ptr<api::LineStream>> {
        return TRY(security())->events(query);
    });
}

Result<std::unique_ptr<api::LineStream>> NodeBackend::record(bool all) {
    return loop_.call(
        [&]() -> Result<std::unique_ptr<api::LineStream>> { return TRY(security())->record(all); });
}

Result<json> NodeBackend::rules() {
    return loop_.call([&]() -> Result<json> { return TRY(security())->rules(); });
}

Result<json> NodeBackend::reload_rules() {
    return loop_.call([&]() -> Result<json> { return TRY(security())->reload(); });
}

ServiceMap::Directory NodeBackend::directory() {
    return loop_.call([this] { return node_.directory(); });
}

Result<std::unique_ptr<api::LineStream>> NodeBackend::service_map(const api::MapQuery& query) {
    return node_.service_map().lines(query, [this] { return directory(); });
}

Result<std::string> NodeBackend::map_series(const api::MapSeriesQuery& query) {
    return node_.service_map().series(query, directory());
}

Result<json> NodeBackend::workload(const model::ObjectName& name) {
    std::string cgroup;
    json document = TRY(loop_.call([&]() -> Result<json> {
        const auto* workload = node_.cni().workloads.by_name(name);
        if (workload == nullptr) {
            return fail(Code::not_found, "no workload is called {}: see 'beeline ps'",
                        name.to_string());
        }
        cgroup = workload->cgroup;
        return workload_document(node_, *workload);
    }));
    document["processes"] = processes_document(cgroup);
    // Written by the graph: it parses.
    document["peers"] = json::parse(node_.service_map().peers("w:" + name.to_string(), directory()),
                                    nullptr, false);
    return document;
}

Result<json> NodeBackend::policy_matrix(const api::MatrixQuery& query) {
    // Copies: the work is done beside the loop.
    PolicyScene scene;
    loop_.call([&] {
        scene.objects = node_.objects();
        scene.workloads = node_.workloads();
        scene.host_addresses = node_.host_addresses();
        return 0;
    });
    return policy_matrix_document(scene, query);
}

// To whoever looks after the pod.
void NodeBackend::tell_of_failure(const api::CniCall& call, const std::string& message) {
    const auto args = net::parse_cni_args(call.args);
    if (!args || args->pod_name.empty()) return;
    node_.source().pod_failed({{args->pod_namespace, args->pod_name}, args->pod_uid, message});
}

Result<api::CniReply> NodeBackend::cni(const api::CniCall& call) {
    return loop_.call([&]() -> Result<api::CniReply> {
        auto response = datapath::handle_cni(
            node_.cni(), call.verb,
            {call.container, call.netns, call.interface, call.args, call.config});
        if (response.code != 0 && call.verb == "add") tell_of_failure(call, response.message);
        api::CniReply reply;
        reply.code = static_cast<unsigned>(response.code);
        reply.message = std::move(response.message);
        reply.details = std::move(response.details);
        reply.result = std::move(response.result);
        return reply;
    });
}

} // namespace beeline::agent
