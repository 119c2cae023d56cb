// discovery.k8s.io/v1 EndpointSlice.
#include <set>

#include "source/manifest_parts.h"
#include "source/names.h"

namespace beeline::source {
namespace {

Result<model::EndpointSlice::Endpoint> read_endpoint(const yaml::Node& node,
                                                     std::string_view type) {
    const auto map = TRY(node.map({"addresses", "conditions", "hostname", "targetRef",
                                   "deprecatedTopology", "nodeName", "zone", "hints"}));
    model::EndpointSlice::Endpoint out;
    const auto addresses = TRY(map.list("addresses"));
    if (addresses.empty()) return node.failure_of("addresses", "expected at least one address");
    for (const auto& item : addresses) {
        const auto ip = TRY(read_unicast(item));
        if (family_name(ip) != type)
            return item.fail("expected {} like addressType, found {}", type, ip.to_string());
        if (out.address.is_zero()) out.address = ip; // the others stand for the same endpoint
    }
    if (const auto conditions = TRY(map.map("conditions", {"ready", "serving", "terminating"}))) {
        out.ready = TRY(conditions->boolean_or("ready", true));
        out.serving = TRY(conditions->boolean_or("serving", true));
        out.terminating = TRY(conditions->boolean_or("terminating", false));
    }
    out.node = TRY(map.string_or("nodeName", ""));
    TRY(map.string_or("zone", ""));
    if (const auto hostname = map.find("hostname")) TRY(read_checked(*hostname, dns_label_problem));
    TRY(map.map("hints", {"forZones", "forNodes"}));
    TRY(map.map("targetRef", {"kind", "namespace", "name", "uid", "apiVersion", "resourceVersion",
                              "fieldPath"}));
    return out;
}

Result<> read_slice_ports(model::EndpointSlice& out, const yaml::Map& top, const Reading& in) {
    const auto nodes = TRY(top.list("ports"));
    if (nodes.size() > 100)
        return top.fail_of("ports", "must not have more than 100 items, found {}", nodes.size());
    std::set<std::string> names;
    for (const auto& node : nodes) {
        const auto map = TRY(node.map({"name", "protocol", "port", "appProtocol"}));
        model::EndpointSlice::Port port;
        port.name = TRY(map.string_or("name", ""));
        if (!port.name.empty()) TRY(read_checked(TRY(map.need("name")), dns_label_problem));
        if (!names.insert(port.name).second) {
            return node.failure_of(
                "name", fmt::format("'{}' is already the name of another port", port.name));
        }
        port.protocol = TRY(read_protocol(map));
        if (const auto hint = map.find("appProtocol")) TRY(read_checked(*hint, label_key_problem));
        if (!map.find("port")) {
            in.warn(node, "a port without a number has no effect");
            continue;
        }
        port.port = TRY(read_port(map, "port"));
        out.ports.push_back(std::move(port));
    }
    return {};
}

} // namespace

Result<model::EndpointSlice> read_endpoint_slice(const Reading& in) {
    model::EndpointSlice out;
    out.name = in.metadata.name;
    const auto label = in.metadata.labels.find("kubernetes.io/service-name");
    if (label != in.metadata.labels.end()) out.service = label->second;
    if (out.service.empty()) {
        in.warn(in.top.node(),
                "belongs to no Service: the label kubernetes.io/service-name is missing");
    }
    const auto type_node = TRY(in.top.need("addressType"));
    const auto type = TRY(type_node.choice({"IPv4", "IPv6", "FQDN"}));
    TRY(read_slice_ports(out, in.top, in));
    const auto endpoints = TRY(in.top.list("endpoints"));
    if (endpoints.size() > 1000) {
        return in.top.fail_of("endpoints", "must not have more than 1000 items, found {}",
                              endpoints.size());
    }
    if (type == "FQDN") {
        in.warn(type_node, "endpoints of type FQDN have no effect");
        return out;
    }
    for (const auto& endpoint : endpoints)
        out.endpoints.push_back(TRY(read_endpoint(endpoint, type)));
    return out;
}

} // namespace beeline::source
