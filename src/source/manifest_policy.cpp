// networking.k8s.io/v1 NetworkPolicy.
#include <algorithm>

#include "source/manifest_parts.h"
#include "source/names.h"

namespace beeline::source {
namespace {

Result<net::Prefix> read_cidr(const yaml::Node& node, const Reading& in) {
    const auto text = TRY(node.string());
    const auto prefix = net::Prefix::parse(text);
    if (!prefix) {
        return node.fail("expected a CIDR such as 10.0.0.0/8 or fd00::/64, found '{}'",
                         yaml::shown(text));
    }
    if (!net::Prefix::parse(text, false))
        in.warn(node, fmt::format("bits after the length are ignored: {}", prefix->to_string()));
    return *prefix;
}

Result<model::CidrBlock> read_block(const yaml::Node& node, const Reading& in) {
    const auto map = TRY(node.map({"cidr", "except"}));
    model::CidrBlock out;
    out.cidr = TRY(read_cidr(TRY(map.need("cidr")), in));
    for (const auto& item : TRY(map.list("except"))) {
        const auto prefix = TRY(read_cidr(item, in));
        if (!out.cidr.contains(prefix) || prefix.length == out.cidr.length) {
            return item.fail("{} must lie inside the cidr {} and be smaller", prefix.to_string(),
                             out.cidr.to_string());
        }
        out.except.push_back(prefix);
    }
    return out;
}

Result<model::Peer> read_peer(const yaml::Node& node, const Reading& in) {
    const auto map = TRY(node.map({"podSelector", "namespaceSelector", "ipBlock"}));
    model::Peer out;
    if (const auto block = map.find("ipBlock")) out.block = TRY(read_block(*block, in));
    if (const auto pods = map.find("podSelector")) out.pods = TRY(read_selector(*pods));
    if (const auto spaces = map.find("namespaceSelector"))
        out.namespaces = TRY(read_selector(*spaces));
    if (out.block && (out.pods || out.namespaces)) {
        return node.failure_of(
            "ipBlock", "must stand alone: a selector beside it belongs in an item of its own");
    }
    if (!out.block && !out.pods && !out.namespaces) {
        return node.fail("expected podSelector, namespaceSelector or ipBlock (an empty selector "
                         "{{}} selects all)");
    }
    return out;
}

Result<model::PolicyPort> read_policy_port(const yaml::Node& node) {
    const auto map = TRY(node.map({"protocol", "port", "endPort"}));
    model::PolicyPort out;
    out.protocol = TRY(read_protocol(map));
    auto port = TRY(read_port_or_name(map, "port"));
    out.name = std::move(port.name);
    if (port.port != 0) out.first = out.last = port.port;
    const auto end = map.find("endPort");
    if (!end) return out;
    if (!map.find("port")) return end->fail("needs port, the first port of the range");
    if (!out.name.empty()) return end->fail("cannot go with a named port: port must be a number");
    out.last = TRY(read_port(map, "endPort"));
    if (out.last < out.first)
        return end->fail("must not be less than port {}, found {}", out.first, out.last);
    return out;
}

Result<std::vector<model::Rule>> read_rules(const yaml::Map& spec, std::string_view list,
                                            std::string_view peers, const Reading& in) {
    std::vector<model::Rule> rules;
    for (const auto& item : TRY(spec.list(list))) {
        const auto map = TRY(item.map({peers, "ports"}));
        model::Rule& rule = rules.emplace_back();
        for (const auto& peer : TRY(map.list(peers)))
            rule.peers.push_back(TRY(read_peer(peer, in)));
        for (const auto& port : TRY(map.list("ports")))
            rule.ports.push_back(TRY(read_policy_port(port)));
        rule.any_peer = rule.peers.empty();
        rule.any_port = rule.ports.empty();
    }
    return rules;
}

// Ingress always unless the types are given; egress by default only when there are egress rules.
Result<> read_types(model::Policy& out, const yaml::Map& spec) {
    const auto types = TRY(spec.list("policyTypes"));
    if (types.empty()) {
        out.isolates_ingress = true;
        out.isolates_egress = !out.egress.empty();
        return {};
    }
    if (types.size() > 2)
        return spec.fail_of("policyTypes", "must not have more than 2 items, found {}",
                            types.size());
    for (const auto& type : types) {
        const auto word = TRY(type.choice({"Ingress", "Egress"}));
        (word == "Ingress" ? out.isolates_ingress : out.isolates_egress) = true;
    }
    return {};
}

} // namespace

Result<model::Policy> read_network_policy(const Reading& in) {
    const auto spec =
        TRY(TRY(in.top.need("spec")).map({"podSelector", "policyTypes", "ingress", "egress"}));
    model::Policy out;
    out.kind = kind_name(ObjectKind::network_policy);
    out.space = in.metadata.name.space;
    out.name = in.metadata.name.name;
    if (const auto subject = spec.find("podSelector")) out.subject = TRY(read_selector(*subject));
    out.ingress = TRY(read_rules(spec, "ingress", "from", in));
    out.egress = TRY(read_rules(spec, "egress", "to", in));
    TRY(read_types(out, spec));
    if (!out.ingress.empty() && !out.isolates_ingress) {
        in.warn_of(spec, "ingress", "these rules have no effect: policyTypes lacks Ingress");
    }
    if (!out.egress.empty() && !out.isolates_egress) {
        in.warn_of(spec, "egress", "these rules have no effect: policyTypes lacks Egress");
    }
    return out;
}

} // namespace beeline::source
