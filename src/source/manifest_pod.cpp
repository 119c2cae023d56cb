// v1 Namespace and Pod.
#include <algorithm>

#include "source/manifest_parts.h"
#include "source/names.h"

namespace beeline::source {
namespace {

constexpr std::string_view kNameLabel = "kubernetes.io/metadata.name";

// Named ports of one container. Fields of a container that mean nothing here are not looked at; a
// port is read strictly, since a misspelt name would silently change what policies match.
Result<> read_container_ports(const yaml::Node& container, std::vector<model::NamedPort>& out) {
    if (!container.is_map()) return container.fail("expected a mapping");
    const auto ports = container.get("ports");
    if (!ports) return {};
    std::vector<std::string> names;
    for (const auto& item : TRY(ports->list())) {
        const auto map = TRY(item.map({"name", "containerPort", "protocol", "hostPort", "hostIP"}));
        model::NamedPort port;
        port.port = TRY(read_port(map, "containerPort"));
        port.protocol = TRY(read_protocol(map));
        TRY(map.integer_or("hostPort", 0, 65535, 0));
        TRY(map.string_or("hostIP", ""));
        const auto name = map.find("name");
        if (!name) continue;
        port.name = TRY(read_checked(*name, port_name_problem));
        if (std::find(names.begin(), names.end(), port.name) != names.end()) {
            return name->fail("'{}' is already the name of another port of this container",
                              port.name);
        }
        names.push_back(port.name);
        out.push_back(std::move(port));
    }
    return {};
}

// Containers first, then sidecars: the first port of a name and protocol is the one that the name
// means.
Result<std::vector<model::NamedPort>> read_ports(const yaml::Node& spec) {
    std::vector<model::NamedPort> out;
    if (const auto containers = spec.get("containers")) {
        for (const auto& container : TRY(containers->list()))
            TRY(read_container_ports(container, out));
    }
    if (const auto containers = spec.get("initContainers")) {
        for (const auto& container : TRY(containers->list())) {
            std::vector<model::NamedPort> ports;
            TRY(read_container_ports(container, ports));
            const auto restart = container.get("restartPolicy");
            if (restart && TRY(restart->string()) == "Always")
                out.insert(out.end(), ports.begin(), ports.end());
        }
    }
    return out;
}

Result<std::vector<net::Ip>> read_addresses(const yaml::Node& status) {
    std::vector<net::Ip> out;
    const auto list = status.get("podIPs");
    if (list) {
        for (const auto& item : TRY(list->list())) {
            const auto map = TRY(item.map({"ip"}));
            const auto ip = TRY(read_unicast(TRY(map.need("ip"))));
            if (!out.empty() && out.front().is_v4() == ip.is_v4())
                return item.fail("must be of the other family than {}", out.front().to_string());
            if (out.size() == 2) return list->fail("must not have more than 2 items");
            out.push_back(ip);
        }
    }
    const auto single = status.get("podIP");
    if (!single || TRY(single->string()).empty()) return out;
    const auto ip = TRY(read_unicast(*single));
    if (!out.empty() && out.front() != ip)
        return single->fail("must be the first of podIPs, {}", out.front().to_string());
    if (out.empty()) out.push_back(ip);
    return out;
}

Result<> read_status(model::Pod& out, const yaml::Node& status) {
    if (!status.is_map()) return status.fail("expected a mapping");
    out.addresses = TRY(read_addresses(status));
    if (const auto phase = status.get("phase")) {
        const auto word =
            TRY(phase->choice({"Pending", "Running", "Succeeded", "Failed", "Unknown"}));
        out.finished = word == "Succeeded" || word == "Failed";
    }
    const auto conditions = status.get("conditions");
    if (!conditions) return {};
    for (const auto& condition : TRY(conditions->list())) {
        const auto type = condition.get("type");
        if (!type || TRY(type->string()) != "Ready") continue;
        const auto state = condition.get("status");
        if (!state) return condition.failure_of("status", "this field is required");
        out.ready = TRY(state->choice({"True", "False", "Unknown"})) == "True";
    }
    return {};
}

Result<std::optional<model::L7Protocols>> read_l7(const Reading& in) {
    const auto annotations = TRY(in.top.need("metadata")).get("annotations");
    const auto node = annotations ? annotations->get(model::kL7Annotation) : std::nullopt;
    if (!node) return std::nullopt;
    const auto protocols = model::parse_l7_protocols(TRY(node->string()));
    if (!protocols) return node->failure(protocols.error().message);
    return *protocols;
}

} // namespace

Result<model::Namespace> read_namespace(const Reading& in) {
    TRY(in.top.map("spec", {"finalizers"}));
    TRY(in.top.map("status", {"phase", "conditions"}));
    model::Namespace out{in.metadata.name.name, in.metadata.labels};
    const auto [label, added] = out.labels.emplace(kNameLabel, out.name);
    if (!added && label->second != out.name) {
        const auto metadata = TRY(in.top.need("metadata"));
        return metadata.get("labels").value_or(metadata).failure_of(
            kNameLabel,
            fmt::format("must be the name of the namespace, '{}': leave this label out", out.name));
    }
    return out;
}

Result<model::Pod> read_pod(const Reading& in) {
    model::Pod out;
    out.name = in.metadata.name;
    out.labels = in.metadata.labels;
    out.l7 = TRY(read_l7(in));
    if (const auto spec = in.top.find("spec")) {
        if (!spec->is_map()) return spec->fail("expected a mapping");
        out.ports = TRY(read_ports(*spec));
        if (const auto node = spec->get("nodeName")) out.node = TRY(node->string());
        if (const auto host = spec->get("hostNetwork")) out.host_network = TRY(host->boolean());
    }
    if (const auto status = in.top.find("status")) TRY(read_status(out, *status));
    if (in.metadata.deleting) out.ready = false;
    return out;
}

} // namespace beeline::source
