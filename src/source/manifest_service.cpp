// v1 Service.
#include <algorithm>
#include <set>

#include "source/manifest_parts.h"
#include "source/names.h"

namespace beeline::source {
namespace {

// What decides which other fields make sense.
struct Shape {
    std::string type;
    bool external_name = false;
    bool headless = false;

    [[nodiscard]] bool virtual_address() const { return !external_name && !headless; }
    [[nodiscard]] bool node_ports() const { return type == "NodePort" || type == "LoadBalancer"; }
};

Result<net::Ip> read_ip(const yaml::Node& node) {
    const auto text = TRY(node.string());
    const auto ip = net::Ip::parse(text);
    if (!ip) return node.fail("expected an IP address, found '{}'", yaml::shown(text));
    return *ip;
}

// The items of clusterIPs, or clusterIP alone; an empty string counts as absent.
Result<std::vector<yaml::Node>> cluster_ip_nodes(const yaml::Map& spec) {
    auto nodes = TRY(spec.list("clusterIPs"));
    auto single = spec.find("clusterIP");
    if (single && TRY(single->string()).empty()) single.reset();
    if (single && nodes.empty()) nodes.push_back(*single);
    if (single && TRY(single->string()) != TRY(nodes.front().string())) {
        return single->fail("must be the first of clusterIPs, '{}'",
                            yaml::shown(TRY(nodes.front().string())));
    }
    if (nodes.size() > 2)
        return spec.fail_of("clusterIPs", "must not have more than 2 items, found {}",
                            nodes.size());
    return nodes;
}

Result<> read_cluster_ips(model::Service& out, Shape& shape, const yaml::Map& spec) {
    const auto nodes = TRY(cluster_ip_nodes(spec));
    if (shape.external_name) {
        if (!nodes.empty())
            return nodes.front().fail("a Service of type ExternalName has no cluster address");
        return {};
    }
    // Another program of the cluster may serve it.
    if (nodes.empty() && spec.node().lenient()) return {};
    if (nodes.empty()) {
        return spec.node().failure_of("clusterIP", "this setting has no API server to assign one: "
                                                   "give an address of your service range or None");
    }
    for (const auto& node : nodes) {
        if (TRY(node.string()) == "None") {
            if (nodes.size() > 1) return node.fail("None must stand alone");
            if (shape.node_ports())
                return node.fail("a Service of type {} cannot be headless", shape.type);
            shape.headless = true;
            return {};
        }
        const auto ip = TRY(read_unicast(node));
        if (!out.cluster_ips.empty() && out.cluster_ips.front().is_v4() == ip.is_v4()) {
            return node.fail("must be of the other family than {}",
                             out.cluster_ips.front().to_string());
        }
        out.cluster_ips.push_back(ip);
    }
    return {};
}

Result<> check_families(const model::Service& service, const Shape& shape, const yaml::Map& spec) {
    const auto families = TRY(spec.list("ipFamilies"));
    const auto policy = TRY(spec.choice_or(
        "ipFamilyPolicy", {"SingleStack", "PreferDualStack", "RequireDualStack"}, ""));
    for (const auto key : {"ipFamilies", "ipFamilyPolicy"}) {
        if (shape.external_name && spec.find(key))
            return spec.fail_of(key, "a Service of type ExternalName has no address family");
    }
    std::vector<std::string> words;
    for (const auto& family : families) {
        words.push_back(TRY(family.choice({"IPv4", "IPv6"})));
        if (words.size() == 2 && words[0] == words[1])
            return family.fail("{} is already in the list", words[1]);
        if (words.size() > 2) return family.fail("must not have more than 2 items");
    }
    if (!shape.virtual_address()) return {};
    const auto& ips = service.cluster_ips;
    if (!words.empty() && words.size() != ips.size()) {
        return spec.fail_of("ipFamilies",
                            "expected a family for each of the {} cluster addresses, found {}",
                            ips.size(), words.size());
    }
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i] != family_name(ips[i])) {
            return families[i].fail("expected {} like the cluster address {}", family_name(ips[i]),
                                    ips[i].to_string());
        }
    }
    if (policy == "SingleStack" && ips.size() == 2)
        return spec.fail_of("ipFamilyPolicy", "SingleStack goes with one cluster address, found 2");
    if (policy == "RequireDualStack" && ips.size() == 1) {
        return spec.fail_of("ipFamilyPolicy",
                            "RequireDualStack needs two cluster addresses in clusterIPs, found 1");
    }
    return {};
}

Result<> read_target(model::ServicePort& port, const yaml::Map& map, const Shape& shape) {
    auto target = TRY(read_port_or_name(map, "targetPort"));
    port.target_name = std::move(target.name);
    port.target_port = map.find("targetPort") ? target.port : port.port;
    if (port.protocol == model::Protocol::sctp && shape.virtual_address() &&
        port.target_port != port.port) {
        return map.fail_of("targetPort", "SCTP ports are not translated: expected {} like port",
                           port.port);
    }
    return {};
}

Result<model::ServicePort> read_service_port(const yaml::Node& node, const Shape& shape) {
    const auto map =
        TRY(node.map({"name", "protocol", "appProtocol", "port", "targetPort", "nodePort"}));
    model::ServicePort port;
    port.port = TRY(read_port(map, "port"));
    port.protocol = TRY(read_protocol(map));
    if (const auto name = map.find("name")) {
        port.name = TRY(name->string());
        if (!port.name.empty()) TRY(read_checked(*name, dns_label_problem));
    }
    TRY(read_target(port, map, shape));
    if (const auto hint = map.find("appProtocol")) TRY(read_checked(*hint, label_key_problem));
    port.node_port = static_cast<std::uint16_t>(TRY(map.integer_or("nodePort", 0, 65535, 0)));
    if (port.node_port != 0 && !shape.node_ports()) {
        return map.fail_of("nodePort", "a Service of type {} has no node ports", shape.type);
    }
    return port;
}

Result<> read_ports(model::Service& out, const yaml::Map& spec, const Shape& shape) {
    const auto nodes = TRY(spec.list("ports"));
    if (nodes.empty() && shape.virtual_address())
        return spec.node().failure_of("ports", "expected at least one port");
    std::set<std::string> names;
    std::set<std::pair<model::Protocol, std::uint16_t>> numbers;
    std::set<std::pair<model::Protocol, std::uint16_t>> node_ports;
    for (const auto& node : nodes) {
        auto port = TRY(read_service_port(node, shape));
        const auto protocol = model::to_string(port.protocol);
        if (nodes.size() > 1 && port.name.empty()) {
            return node.failure_of("name",
                                   "a Service with more than one port needs a name for each");
        }
        if (!port.name.empty() && !names.insert(port.name).second) {
            return node.failure_of(
                "name", fmt::format("'{}' is already the name of another port", port.name));
        }
        if (!numbers.emplace(port.protocol, port.port).second) {
            return node.failure_of(
                "port",
                fmt::format("{} {} is already another port of this Service", protocol, port.port));
        }
        if (port.node_port != 0 && !node_ports.emplace(port.protocol, port.node_port).second) {
            return node.failure_of("nodePort",
                                   fmt::format("{} {} is already another node port of this Service",
                                               protocol, port.node_port));
        }
        out.ports.push_back(std::move(port));
    }
    return {};
}

Result<> read_affinity(model::Service& out, const yaml::Map& spec) {
    const auto affinity = TRY(spec.choice_or("sessionAffinity", {"None", "ClientIP"}, "None"));
    const auto config = TRY(spec.map("sessionAffinityConfig", {"clientIP"}));
    if (affinity == "None") {
        if (config) return config->node().fail("goes only with sessionAffinity: ClientIP");
        return {};
    }
    out.affinity_s = 10800;
    if (!config) return {};
    const auto client = TRY(config->map("clientIP", {"timeoutSeconds"}));
    if (client)
        out.affinity_s =
            static_cast<std::uint32_t>(TRY(client->integer_or("timeoutSeconds", 1, 86400, 10800)));
    return {};
}

// Fields of what comes from outside. They are checked, and nothing is done with them yet.
Result<> check_outside(const yaml::Map& spec, const Shape& shape, const Reading& in) {
    const bool balancer = shape.type == "LoadBalancer";
    const auto external_ips = TRY(spec.list("externalIPs"));
    for (const auto& item : external_ips)
        TRY(read_unicast(item));
    if (!external_ips.empty())
        in.warn_of(spec, "externalIPs", "external addresses are not served yet");
    const auto traffic = TRY(spec.choice_or("externalTrafficPolicy", {"Cluster", "Local"}, ""));
    if (!traffic.empty() && !shape.node_ports() && external_ips.empty()) {
        return spec.fail_of("externalTrafficPolicy",
                            "goes only with type NodePort or LoadBalancer, or with externalIPs");
    }
    const auto health = TRY(spec.integer_or("healthCheckNodePort", 0, 65535, 0));
    if (health != 0 && (!balancer || traffic != "Local")) {
        return spec.fail_of("healthCheckNodePort",
                            "goes only with type LoadBalancer and externalTrafficPolicy: Local");
    }
    for (const auto& item : TRY(spec.list("loadBalancerSourceRanges"))) {
        const auto text = TRY(item.string());
        if (!net::Prefix::parse(text))
            return item.fail("expected a CIDR such as 10.0.0.0/8, found '{}'", yaml::shown(text));
    }
    TRY(spec.boolean_or("allocateLoadBalancerNodePorts", true));
    TRY(spec.string_or("loadBalancerClass", ""));
    if (const auto ip = spec.find("loadBalancerIP"); ip && !TRY(ip->string()).empty())
        TRY(read_ip(*ip));
    for (const auto key :
         {"loadBalancerSourceRanges", "allocateLoadBalancerNodePorts", "loadBalancerClass"}) {
        if (!balancer && spec.find(key))
            return spec.fail_of(key, "goes only with type LoadBalancer");
    }
    return {};
}

Result<> check_external_name(const yaml::Map& spec, const Shape& shape) {
    if (!shape.external_name) {
        TRY(spec.string_or("externalName", ""));
        return {};
    }
    const auto node = TRY(spec.need("externalName"));
    auto name = TRY(node.string());
    if (name.ends_with('.')) name.pop_back();
    const auto problem = dns_subdomain_problem(name);
    if (!problem.empty()) return node.fail("'{}' {}", yaml::shown(name), problem);
    return {};
}

Result<> check_status(const yaml::Map& top) {
    const auto status = TRY(top.map("status", {"loadBalancer", "conditions"}));
    if (!status) return {};
    TRY(status->list("conditions"));
    const auto balancer = TRY(status->map("loadBalancer", {"ingress"}));
    if (!balancer) return {};
    for (const auto& item : TRY(balancer->list("ingress")))
        TRY(item.map({"ip", "hostname", "ipMode", "ports"}));
    return {};
}

void warn_of_type(const yaml::Map& spec, const Shape& shape, const Reading& in) {
    if (shape.type == "NodePort")
        in.warn_of(spec, "type", "node ports are not opened yet: works as ClusterIP");
    if (shape.type == "LoadBalancer") {
        in.warn_of(spec, "type",
                   "node ports and load balancer addresses are not served yet: works as ClusterIP");
    }
}

} // namespace

Result<model::Service> read_service(const Reading& in) {
    const auto spec = TRY(TRY(in.top.need("spec"))
                              .map({"ports",
                                    "selector",
                                    "clusterIP",
                                    "clusterIPs",
                                    "type",
                                    "externalIPs",
                                    "sessionAffinity",
                                    "sessionAffinityConfig",
                                    "loadBalancerIP",
                                    "loadBalancerSourceRanges",
                                    "loadBalancerClass",
                                    "allocateLoadBalancerNodePorts",
                                    "externalName",
                                    "externalTrafficPolicy",
                                    "internalTrafficPolicy",
                                    "healthCheckNodePort",
                                    "publishNotReadyAddresses",
                                    "ipFamilies",
                                    "ipFamilyPolicy",
                                    "trafficDistribution"}));
    Shape shape;
    shape.type = TRY(spec.choice_or(
        "type", {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"}, "ClusterIP"));
    shape.external_name = shape.type == "ExternalName";
    model::Service out;
    out.name = in.metadata.name;
    TRY(read_cluster_ips(out, shape, spec));
    TRY(check_families(out, shape, spec));
    TRY(read_ports(out, spec, shape));
    TRY(read_affinity(out, spec));
    auto selector = TRY(read_labels(spec, "selector"));
    if (!selector.empty()) out.selector = std::move(selector);
    out.headless = shape.headless;
    out.external_name = shape.external_name;
    out.publish_not_ready = TRY(spec.boolean_or("publishNotReadyAddresses", false));
    TRY(check_external_name(spec, shape));
    TRY(check_outside(spec, shape, in));
    TRY(check_status(in.top));
    // A hint, which later versions of the API have more words for.
    if (!spec.node().lenient()) {
        TRY(spec.choice_or("trafficDistribution",
                           {"PreferClose", "PreferSameZone", "PreferSameNode"}, ""));
    }
    if (TRY(spec.choice_or("internalTrafficPolicy", {"Cluster", "Local"}, "Cluster")) == "Local") {
        in.warn_of(spec, "internalTrafficPolicy",
                   "Local is not done yet: every ready endpoint is used");
    }
    warn_of_type(spec, shape, in);
    // Another proxy's service: known, but nothing is programmed for it.
    if (in.metadata.labels.contains("service.kubernetes.io/service-proxy-name")) {
        out.cluster_ips.clear();
        in.warn(in.top.node(), "the label service.kubernetes.io/service-proxy-name leaves this "
                               "Service to another proxy");
    }
    return out;
}

} // namespace beeline::source
