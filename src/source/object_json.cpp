#include "source/object_json.h"

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "source/json.h"

namespace beeline::source {
namespace {

using Json = nlohmann::ordered_json;

// Changed when lines of an older agent cannot be read any more.
constexpr std::string_view kHeader = "beeline objects 1";

template <typename T>
Json texts(const std::vector<T>& items) {
    Json out = Json::array();
    for (const auto& item : items)
        out.push_back(item.to_string());
    return out;
}

Json head(ObjectKind kind, const model::ObjectName& name, const model::Labels& labels) {
    const auto* version = kind == ObjectKind::endpoint_slice   ? "discovery.k8s.io/v1"
                          : kind == ObjectKind::network_policy ? "networking.k8s.io/v1"
                                                               : "v1";
    Json metadata{{"name", name.name}};
    if (has_namespace(kind)) metadata["namespace"] = name.space;
    if (!labels.empty()) metadata["labels"] = labels;
    return {{"apiVersion", version}, {"kind", kind_name(kind)}, {"metadata", metadata}};
}

Json ready_condition(bool ready) {
    return Json::array({{{"type", "Ready"}, {"status", ready ? "True" : "False"}}});
}

Json of(const model::Namespace& object) {
    return head(ObjectKind::namespace_, {"", object.name}, object.labels);
}

Json of(const model::ClusterNode& object) {
    Json out = head(ObjectKind::node, {"", object.name}, object.labels);
    if (!object.pod_ranges.empty()) out["spec"] = {{"podCIDRs", texts(object.pod_ranges)}};
    Json addresses = Json::array();
    for (const auto& ip : object.addresses)
        addresses.push_back({{"type", "InternalIP"}, {"address", ip.to_string()}});
    out["status"] = {{"addresses", addresses}, {"conditions", ready_condition(object.ready)}};
    return out;
}

std::string l7_text(model::L7Protocols protocols) {
    using P = model::L7::Protocol;
    if (protocols == model::kAllL7) return "true";
    std::string out;
    const auto http = model::l7_bit(P::http) | model::l7_bit(P::http2) | model::l7_bit(P::grpc);
    if ((protocols & http) == http) {
        out = "http";
        protocols &= ~http;
    }
    for (unsigned i = 0; i < static_cast<unsigned>(P::count); ++i) {
        const auto protocol = static_cast<P>(i);
        if ((protocols & model::l7_bit(protocol)) == 0) continue;
        if (!out.empty()) out += ',';
        out += model::to_string(protocol);
    }
    return out.empty() ? "false" : out;
}

Json of(const model::Pod& object) {
    Json out = head(ObjectKind::pod, object.name, object.labels);
    if (object.l7) {
        out["metadata"]["annotations"] = {{std::string(model::kL7Annotation), l7_text(*object.l7)}};
    }
    Json spec = Json::object();
    if (!object.node.empty()) spec["nodeName"] = object.node;
    if (object.host_network) spec["hostNetwork"] = true;
    // A name may stand for a port of several containers.
    for (const auto& port : object.ports) {
        spec["containers"].push_back(
            {{"ports", Json::array({{{"name", port.name},
                                     {"containerPort", port.port},
                                     {"protocol", model::to_string(port.protocol)}}})}});
    }
    out["spec"] = spec;
    Json ips = Json::array();
    for (const auto& ip : object.addresses)
        ips.push_back({{"ip", ip.to_string()}});
    out["status"] = {{"phase", object.finished ? "Succeeded" : "Running"},
                     {"podIPs", ips},
                     {"conditions", ready_condition(object.ready)}};
    return out;
}

Json of(const model::ServicePort& port) {
    Json out{{"protocol", model::to_string(port.protocol)}, {"port", port.port}};
    if (!port.name.empty()) out["name"] = port.name;
    if (port.target_name.empty()) {
        out["targetPort"] = port.target_port;
    } else {
        out["targetPort"] = port.target_name;
    }
    if (port.node_port != 0) out["nodePort"] = port.node_port;
    return out;
}

Json of(const model::Service& object) {
    Json out = head(ObjectKind::service, object.name, {});
    Json spec = Json::object();
    bool node_ports = false;
    for (const auto& port : object.ports) {
        spec["ports"].push_back(of(port));
        node_ports = node_ports || port.node_port != 0;
    }
    if (object.external_name) {
        spec["type"] = "ExternalName";
        spec["externalName"] = "elsewhere.invalid"; // nobody asks which
    } else if (node_ports) {
        spec["type"] = "NodePort";
    }
    if (object.headless) spec["clusterIP"] = "None";
    if (!object.cluster_ips.empty()) spec["clusterIPs"] = texts(object.cluster_ips);
    if (object.selector) spec["selector"] = *object.selector;
    if (object.affinity_s != 0) {
        spec["sessionAffinity"] = "ClientIP";
        spec["sessionAffinityConfig"] = {{"clientIP", {{"timeoutSeconds", object.affinity_s}}}};
    }
    if (object.publish_not_ready) spec["publishNotReadyAddresses"] = true;
    out["spec"] = spec;
    return out;
}

Json of(const model::EndpointSlice& object) {
    model::Labels labels;
    if (!object.service.empty()) labels["kubernetes.io/service-name"] = object.service;
    Json out = head(ObjectKind::endpoint_slice, object.name, labels);
    const bool v4 = object.endpoints.empty() || object.endpoints.front().address.is_v4();
    out["addressType"] = v4 ? "IPv4" : "IPv6";
    out["endpoints"] = Json::array();
    for (const auto& endpoint : object.endpoints) {
        Json one{{"addresses", Json::array({endpoint.address.to_string()})},
                 {"conditions",
                  {{"ready", endpoint.ready},
                   {"serving", endpoint.serving},
                   {"terminating", endpoint.terminating}}}};
        if (!endpoint.node.empty()) one["nodeName"] = endpoint.node;
        out["endpoints"].push_back(std::move(one));
    }
    out["ports"] = Json::array();
    for (const auto& port : object.ports) {
        out["ports"].push_back({{"name", port.name},
                                {"protocol", model::to_string(port.protocol)},
                                {"port", port.port}});
    }
    return out;
}

Json of(const model::LabelSelector& selector) {
    using Operator = model::Requirement::Operator;
    Json list = Json::array();
    for (const auto& each : selector.requirements) {
        const auto* word = each.op == Operator::in       ? "In"
                           : each.op == Operator::not_in ? "NotIn"
                           : each.op == Operator::exists ? "Exists"
                                                         : "DoesNotExist";
        Json one{{"key", each.key}, {"operator", word}};
        if (!each.values.empty()) one["values"] = each.values;
        list.push_back(std::move(one));
    }
    return list.empty() ? Json::object() : Json{{"matchExpressions", std::move(list)}};
}

Json of(const model::Peer& peer) {
    Json out = Json::object();
    if (peer.block) {
        out["ipBlock"] = {{"cidr", peer.block->cidr.to_string()}};
        if (!peer.block->except.empty()) out["ipBlock"]["except"] = texts(peer.block->except);
    }
    if (peer.pods) out["podSelector"] = of(*peer.pods);
    if (peer.namespaces) out["namespaceSelector"] = of(*peer.namespaces);
    return out;
}

Json of(const model::PolicyPort& port) {
    Json out{{"protocol", model::to_string(port.protocol)}};
    if (!port.name.empty()) {
        out["port"] = port.name;
    } else if (port.first != 0) {
        out["port"] = port.first;
        if (port.last != port.first) out["endPort"] = port.last;
    }
    return out;
}

Json of(const std::vector<model::Rule>& rules, const char* peers) {
    Json out = Json::array();
    for (const auto& rule : rules) {
        Json one = Json::object();
        for (const auto& peer : rule.peers)
            one[peers].push_back(of(peer));
        for (const auto& port : rule.ports)
            one["ports"].push_back(of(port));
        out.push_back(std::move(one));
    }
    return out;
}

Json of(const model::Policy& object) {
    Json out = head(ObjectKind::network_policy, {object.space, object.name}, {});
    Json types = Json::array();
    if (object.isolates_ingress) types.push_back("Ingress");
    if (object.isolates_egress) types.push_back("Egress");
    out["spec"] = {{"podSelector", of(object.subject)}, {"policyTypes", types}};
    if (!object.ingress.empty()) out["spec"]["ingress"] = of(object.ingress, "from");
    if (!object.egress.empty()) out["spec"]["egress"] = of(object.egress, "to");
    return out;
}

// What stands for `function` at the map of the kind, called with it, the key in it, and the kind's type.
template <typename F>
auto with_map(auto& objects, const ObjectKey& key, F function) {
    const auto& [kind, name] = key;
    switch (kind) {
    case ObjectKind::namespace_: return function(objects.namespaces, name.name);
    case ObjectKind::node: return function(objects.nodes, name.name);
    case ObjectKind::pod: return function(objects.pods, name);
    case ObjectKind::service: return function(objects.services, name);
    case ObjectKind::endpoint_slice: return function(objects.slices, name);
    case ObjectKind::network_policy: break;
    }
    return function(objects.policies, name);
}

} // namespace

std::string to_json(const Object& object) {
    return std::visit([](const auto& one) { return of(one).dump(); }, object);
}

std::string to_yaml(const Object& object) {
    JsonReader reader;
    const auto document = reader.read(to_json(object), "object");
    return document ? document->root().to_yaml() : "";
}

Result<std::vector<StoredObject>>
list_objects(const model::Objects& objects, const ObjectFilter& filter, const std::string& place) {
    std::optional<ObjectKind> kind;
    if (!filter.kind.empty()) {
        kind = parse_kind(filter.kind);
        if (!kind)
            return fail(Code::invalid, "'{}' is no kind of object that is known here",
                        yaml::shown(filter.kind));
    }
    std::vector<StoredObject> out;
    for_each_object(objects,
                    [&](ObjectKind object_kind, const model::ObjectName& name, const auto& object) {
                        if (kind && *kind != object_kind) return;
                        if (filter.space && *filter.space != name.space) return;
                        if (!filter.name.empty() && filter.name != name.name) return;
                        out.push_back({object_kind, name, place, to_yaml(object)});
                    });
    return out;
}

bool put_object(model::Objects& objects, const ObjectKey& key, const Object& object) {
    return with_map(objects, key, [&](auto& map, const auto& name) {
        using T = typename std::remove_reference_t<decltype(map)>::mapped_type;
        const auto* value = std::get_if<T>(&object);
        if (!value) return false;
        const auto [place, added] = map.try_emplace(name, *value);
        if (added) return true;
        if (place->second == *value) return false;
        place->second = *value;
        return true;
    });
}

bool erase_object(model::Objects& objects, const ObjectKey& key) {
    return with_map(objects, key, [](auto& map, const auto& name) { return map.erase(name) > 0; });
}

bool has_object(const model::Objects& objects, const ObjectKey& key) {
    return with_map(objects, key,
                    [](const auto& map, const auto& name) { return map.contains(name); });
}

bool has_equal(const model::Objects& objects, const ObjectKey& key, const Object& object) {
    return with_map(objects, key, [&](const auto& map, const auto& name) {
        using T = typename std::remove_cvref_t<decltype(map)>::mapped_type;
        const auto* value = std::get_if<T>(&object);
        const auto found = map.find(name);
        return value && found != map.end() && found->second == *value;
    });
}

Result<> save_objects(const std::string& path, const model::Objects& objects) {
    std::string text(kHeader);
    text += '\n';
    for_each_object(objects, [&](ObjectKind, const model::ObjectName&, const auto& object) {
        text += of(object).dump();
        text += '\n';
    });
    return replace_file(path, text, Durable::no);
}

Result<model::Objects> load_objects(const std::string& path, std::vector<std::string>& problems) {
    const auto text = TRY(read_file(path, std::size_t{1} << 30));
    std::string_view rest(text);
    model::Objects out;
    JsonReader reader;
    for (std::size_t number = 1; !rest.empty(); ++number) {
        const auto end = std::min(rest.find('\n'), rest.size());
        const auto line = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (number == 1) {
            if (line == kHeader) continue;
            return fail(Code::invalid, "{} was written by another version", path);
        }
        const auto document = reader.read(line, fmt::format("{}:{}", path, number));
        auto manifest = document ? read_manifest(document->root())
                                 : Result<Manifest>(Failure(document.error()));
        if (!manifest) {
            problems.push_back(manifest.error().message);
            continue;
        }
        put_object(out, {manifest->kind, manifest->name}, manifest->object);
    }
    return out;
}

} // namespace beeline::source
