#include "agent/documents.h"
#include "agent/capabilities.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <limits>

#include "abi/drop.h"
#include "agent/history.h"
#include "agent/map_entries.h"
#include "model/evaluate.h"
#include "model/party.h"
#include "observe/drop_reason.h"
#include "observe/json.h"

namespace beeline::agent {
namespace {

using nlohmann::json;

bl_addr to_addr(const net::Ip& ip) {
    bl_addr addr{};
    std::copy(ip.bytes.begin(), ip.bytes.end(), std::begin(addr.byte));
    return addr;
}

std::string to_text(const bl_addr& addr) {
    net::Ip ip;
    std::copy(std::begin(addr.byte), std::end(addr.byte), ip.bytes.begin());
    return ip.to_string();
}

std::string time_text(std::int64_t seconds) {
    std::string out;
    observe::append_time(out, seconds * 1'000'000'000);
    return out;
}

json range(const datapath::Ipam::Usage& usage) {
    return {{"range", usage.range.to_string()}, {"used", usage.used}, {"size", usage.size}};
}

json counted(const std::vector<std::uint64_t>& metrics) {
    json out = json::object();
#define X(name, help) out[#name] = metrics[BL_METRIC_##name];
    BL_METRICS(X)
#undef X
    return out;
}

json named_ports(const std::vector<model::NamedPort>& ports) {
    json out = json::array();
    for (const auto& port : ports) {
        out.push_back({{"name", port.name},
                       {"protocol", model::to_string(port.protocol)},
                       {"port", port.port}});
    }
    return out;
}

json texts(const std::vector<net::Ip>& addresses) {
    json out = json::array();
    for (const auto& ip : addresses)
        out.push_back(ip.to_string());
    return out;
}

// How full a map is. Those that the agent writes are known; the rest are counted.
std::uint64_t entries_of(Node& node, const datapath::MapUse& use) {
    const auto& tables = node.tables();
    const std::array<std::pair<std::string_view, std::size_t>, 7> known{{
        {"bl_endpoint", tables.endpoints.size()},
        {"bl_ipcache", tables.ipcache.size()},
        {"bl_identity", tables.identities.size()},
        {"bl_policy", tables.policy.size()},
        {"bl_svc", tables.services.size()},
        {"bl_slot", tables.slots.size()},
        {"bl_backend", tables.backends.size()},
    }};
    for (const auto& [name, size] : known) {
        if (use.name == name) return size;
    }
    if (use.name == "bl_ct") return node.connections();
    if (use.info.type.find("hash") == std::string::npos) return 0;
    std::uint64_t count = 0;
    const auto fd = node.kernel().map(use.name);
    if (fd) {
        (void)ebpf::map_for_each(*fd, use.info, [&](const std::byte*, const std::byte*) {
            ++count;
            return true;
        });
    }
    return count;
}

json check_document(const model::Check& check) {
    json out{{"isolated", check.isolated}, {"allowed", check.allowed}};
    if (!check.rule.empty()) out["rule"] = check.rule;
    if (!check.selecting.empty()) out["policies"] = check.selecting;
    return out;
}

json party_document(const model::Party& party) {
    json out{{"address", party.address.to_string()}};
    switch (party.kind) {
    case model::Party::Kind::pod:
        out["kind"] = "workload";
        out["namespace"] = party.name.space;
        out["name"] = party.name.name;
        break;
    case model::Party::Kind::host: out["kind"] = "host"; break;
    case model::Party::Kind::world: out["kind"] = "world"; break;
    }
    return out;
}

Result<std::vector<net::Ip>> addresses_of(Node& node, const api::ExplainEnd& end) {
    switch (end.kind) {
    case api::ExplainEnd::Kind::address: return std::vector<net::Ip>{end.address};
    case api::ExplainEnd::Kind::host:
        if (node.host_addresses().empty())
            return fail(Code::not_found, "this node has no address of its own");
        return node.host_addresses();
    case api::ExplainEnd::Kind::workload: break;
    }
    if (const auto* workload = node.cni().workloads.by_name(end.name)) return workload->addresses;
    const auto& pods = node.objects()->pods;
    const auto pod = pods.find(end.name);
    if (pod != pods.end() && model::stands_for_itself(pod->second)) return pod->second.addresses;
    return fail(Code::not_found, "no workload is called {}: see 'beeline ps'",
                end.name.to_string());
}

} // namespace

json status_document(Node& node) {
    utsname kernel{};
    uname(&kernel);
    json features = json::array();
    for (const auto& feature : node.features()) {
        features.push_back({{"name", feature.name}, {"available", feature.available}});
        if (!feature.available) features.back()["lost"] = feature.lost;
    }
    const auto& objects = *node.objects();
    const auto source = node.source().state();
    json errors = json::array();
    for (const auto& error : node.source().errors())
        errors.push_back({{"file", error.file}, {"message", error.message}});
    if (!node.unenforced().empty())
        errors.push_back({{"file", ""}, {"message", node.unenforced()}});

    const auto store = node.store().stats();
    json out{{"version", BEELINE_VERSION},
             {"node", node.config().node},
             {"instance", node.paths().instance},
             {"pid", getpid()},
             {"started", time_text(node.started())},
             {"uptime_s", std::time(nullptr) - node.started()},
             {"kernel", {{"release", kernel.release}, {"features", features}}},
             {"source",
              {{"kind", source.kind},
               {"place", source.place},
               {"manifests", node.config().manifests},
               {"synced", source.synced},
               {"connected", source.connected},
               {"since", time_text(source.since != 0 ? source.since : node.started())},
               {"events", source.events},
               {"objects",
                {{"Namespace", objects.namespaces.size()},
                 {"Node", objects.nodes.size()},
                 {"Pod", objects.pods.size()},
                 {"Service", objects.services.size()},
                 {"EndpointSlice", objects.slices.size()},
                 {"NetworkPolicy", objects.policies.size()}}},
               {"errors", errors}}},
             {"workloads", node.cni().workloads.size()},
             {"identities", node.tables().identities.size()},
             {"services", objects.services.size()},
             {"policies", objects.policies.size()},
             {"flows",
              {{"stored", store.stored},
               {"capacity", store.capacity},
               {"per_second", store.per_second}}}};
    json addresses = json::object();
    if (const auto usage = node.cni().ipam.ipv4()) addresses["ipv4"] = range(*usage);
    if (const auto usage = node.cni().ipam.ipv6()) addresses["ipv6"] = range(*usage);
    out["addresses"] = addresses;
    if (auto maps = maps_document(node)) {
        out["maps"] = json::array();
        for (const auto& map : (*maps)["maps"]) {
            if (map["max_entries"] > 1 && map.contains("entries")) {
                out["maps"].push_back({{"name", map["name"]},
                                       {"entries", map["entries"]},
                                       {"max_entries", map["max_entries"]}});
            }
        }
    }
    std::uint64_t ring_losses = node.ingest().counts().refused_total();
    if (const auto metrics = node.kernel().metrics()) {
        out["metrics"] = counted(*metrics);
        ring_losses += (*metrics)[BL_METRIC_flow_lost];
    }
    out["losses"] = {{"ring", ring_losses}, {"queue", store.lost_queue}};
    out["history"] = history_document(node.history());
    if (node.config().history.enabled) out["losses"]["history"] = out["history"]["lost"];
    if (const auto* l7 = node.l7()) {
        out["l7"] = l7->status();
        out["losses"]["l7"] = out["l7"]["captured"]["lost_in_ring"];
    }
    if (auto* security = node.security()) {
        out["security"] = security->status();
        out["losses"]["security"] = out["security"]["lost"];
    } else if (!node.security_error().empty()) {
        out["security"] = {{"error", node.security_error()}};
    }
    out["kernel_drops"] = node.kernel_drops().status();
    for (const auto& [name, part] : node.status_parts())
        out[name] = part();
    if (const auto* hubble = node.hubble()) {
        out["hubble"] = hubble->status();
    } else if (!node.hubble_error().empty()) {
        out["hubble"] = {{"error", node.hubble_error()}};
    }
    if (!node.web_status().empty()) out["web"] = node.web_status();
    out["drops"] = json::array();
    if (const auto drops = node.kernel().drops()) {
        for (unsigned reason = 0; reason < BL_DROP_REASON_MAX; ++reason) {
            const std::uint64_t egress = (*drops)[reason];
            const std::uint64_t ingress = (*drops)[reason + BL_DROP_INGRESS];
            if (egress + ingress == 0) continue;
            out["drops"].push_back({{"reason", observe::drop_reason_name(reason)},
                                    {"count", egress + ingress},
                                    {"ingress", ingress},
                                    {"egress", egress}});
        }
    }
    return out;
}

json workload_document(Node& node, const model::Workload& workload) {
    const auto& objects = *node.objects();
    json one{{"id", workload.id},
             {"namespace", workload.name.space},
             {"name", workload.name.name},
             {"labels", model::merged_labels(workload, objects)},
             {"ports", named_ports(model::merged_ports(workload, objects))},
             {"addresses", texts(workload.addresses)},
             {"container", workload.container},
             {"interface", workload.interface},
             {"host_interface", workload.host_interface},
             {"ifindex", workload.ifindex},
             {"mac", net::to_string(workload.mac)},
             {"netns", workload.netns},
             {"cgroup", workload.cgroup},
             {"pid", workload.pid},
             {"source", workload.source},
             {"created", time_text(workload.created)}};
    add_capabilities(one, node, workload);
    if (!workload.addresses.empty()) {
        const auto endpoint = node.tables().endpoints.find(to_addr(workload.addresses.front()));
        if (endpoint != node.tables().endpoints.end()) {
            const auto& value = endpoint->second;
            one["identity"] = value.identity;
            one["isolated"] = {{"ingress", (value.flags & BL_EP_INGRESS) != 0},
                               {"egress", (value.flags & BL_EP_EGRESS) != 0}};
            const auto subject = node.directory()->subjects.find(value.identity);
            if (subject != node.directory()->subjects.end()) {
                one["policies"] = {{"egress", subject->second.selecting[0]},
                                   {"ingress", subject->second.selecting[1]}};
            }
        }
    }
    return one;
}

json workloads_document(Node& node) {
    json list = json::array();
    for (const auto& workload : node.workloads())
        list.push_back(workload_document(node, workload));
    return {{"workloads", std::move(list)}};
}

json services_document(Node& node) {
    const auto& tables = node.tables();
    json list = json::array();
    for (const auto& [name, service] : node.objects()->services) {
        json ports = json::array();
        for (const auto& port : service.ports) {
            json backends = json::array();
            for (const auto& ip : service.cluster_ips) {
                bl_svc_key key{};
                key.addr = to_addr(ip);
                key.port = __builtin_bswap16(port.port);
                key.proto = static_cast<__u8>(port.protocol);
                const auto svc = tables.services.find(key);
                if (svc == tables.services.end()) continue;
                for (std::uint32_t slot = 0; slot < svc->second.count; ++slot) {
                    const auto id =
                        tables.slots.find({svc->second.id, svc->second.generation, slot});
                    if (id == tables.slots.end()) continue;
                    const auto backend = tables.backends.find(id->second);
                    if (backend == tables.backends.end()) continue;
                    backends.push_back({{"address", to_text(backend->second.addr)},
                                        {"port", __builtin_bswap16(backend->second.port)},
                                        {"ready", true}});
                }
            }
            ports.push_back({{"name", port.name},
                             {"protocol", model::to_string(port.protocol)},
                             {"port", port.port},
                             {"backends", std::move(backends)}});
        }
        list.push_back({{"namespace", name.space},
                        {"name", name.name},
                        {"addresses", texts(service.cluster_ips)},
                        {"affinity_s", service.affinity_s},
                        {"ports", std::move(ports)}});
    }
    return {{"services", std::move(list)}};
}

Result<json> maps_document(Node& node) {
    json list = json::array();
    auto uses = TRY(node.kernel().maps());
    std::sort(uses.begin(), uses.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    for (const auto& use : uses) {
        json one{{"name", use.name},
                 {"type", use.info.type},
                 {"key_size", use.info.key_size},
                 {"value_size", use.info.value_size},
                 {"max_entries", use.info.max_entries}};
        if (use.info.type.find("hash") != std::string::npos || use.info.type == "lpm_trie") {
            one["entries"] = entries_of(node, use);
        }
        list.push_back(std::move(one));
    }
    return json{{"maps", std::move(list)}};
}

Result<json> map_document(Node& node, const std::string& name, std::size_t limit) {
    const int fd = TRY(node.kernel().map(name));
    const auto info = TRY(ebpf::map_info(fd));
    json entries = json::array();
    bool more = false;
    if (info.type != "ringbuf" && info.type != "sk_storage") {
        TRY(ebpf::map_for_each(fd, info, [&](const std::byte* key, const std::byte* value) {
            if (entries.size() == limit) {
                more = true;
                return false;
            }
            entries.push_back(map_entry(name, info, key, value, *node.directory()));
            return true;
        }));
    }
    json out{{"name", name}, {"entries", std::move(entries)}};
    if (more) out["more"] = true;
    return out;
}

Result<json> explain_document(Node& node, const api::ExplainQuery& query) {
    auto sources = TRY(addresses_of(node, query.source));
    auto destinations = TRY(addresses_of(node, query.destination));
    std::uint16_t port = query.port;
    json service;
    // The address of a service: what counts is the backend.
    bl_svc_key key{};
    key.addr = to_addr(destinations.front());
    key.port = __builtin_bswap16(port);
    key.proto = static_cast<__u8>(query.protocol);
    const auto& tables = node.tables();
    const auto svc = tables.services.find(key);
    if (svc != tables.services.end() && (svc->second.flags & BL_SVC_MOVED) == 0) {
        const auto name =
            node.directory()->services.find({destinations.front(), port, query.protocol});
        service = {{"name", name != node.directory()->services.end() ? name->second : ""},
                   {"address", destinations.front().to_string()},
                   {"port", port},
                   {"backends", svc->second.count}};
        const auto slot = tables.slots.find({svc->second.id, svc->second.generation, 0});
        const auto backend =
            slot != tables.slots.end() ? tables.backends.find(slot->second) : tables.backends.end();
        if (backend == tables.backends.end()) {
            return json{{"allowed", false},
                        {"service", std::move(service)},
                        {"port", port},
                        {"protocol", model::to_string(query.protocol)}};
        }
        destinations = {net::Ip::parse(to_text(backend->second.addr)).value()};
        port = __builtin_bswap16(backend->second.port);
    }
    // Both ends in one family, IPv4 first.
    std::optional<std::pair<net::Ip, net::Ip>> ends;
    for (const bool v4 : {true, false}) {
        for (const auto& source : sources) {
            for (const auto& destination : destinations) {
                if (!ends && source.is_v4() == v4 && destination.is_v4() == v4)
                    ends = {source, destination};
            }
        }
    }
    if (!ends) return fail(Code::invalid, "the two ends have no address family in common");
    const auto& objects = *node.objects();
    const auto workloads = node.workloads();
    model::Query question;
    question.source = model::party_at(objects, workloads, node.host_addresses(), ends->first);
    question.destination = model::party_at(objects, workloads, node.host_addresses(), ends->second);
    question.protocol = query.protocol;
    question.port = port;
    const auto decision = model::evaluate(objects, question);
    const auto kernel = TRY(node.kernel().verdict(ends->first, ends->second,
                                                  static_cast<std::uint8_t>(query.protocol), port));
    json out{{"allowed", decision.allowed},
             {"source", party_document(question.source)},
             {"destination", party_document(question.destination)},
             {"protocol", model::to_string(query.protocol)},
             {"port", port},
             {"egress", check_document(decision.egress)},
             {"ingress", check_document(decision.ingress)},
             {"kernel", {{"allowed", kernel.allowed}}}};
    for (const auto rule : {kernel.rule[1], kernel.rule[0]}) {
        const auto title = node.directory()->rules.find(rule);
        if (title != node.directory()->rules.end() && !out["kernel"].contains("rule")) {
            out["kernel"]["rule"] = title->second;
        }
    }
    if (!service.is_null()) out["service"] = std::move(service);
    return out;
}

} // namespace beeline::agent
