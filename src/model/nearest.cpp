#include "model/nearest.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "model/policy_yaml.h"

namespace beeline::model {
namespace {

constexpr std::string_view kNamespaceName = "kubernetes.io/metadata.name";
// Differ from replica to replica or from one rollout to the next.
constexpr std::array<std::string_view, 6> kFleeting{"pod-template-hash",
                                                    "controller-revision-hash",
                                                    "pod-template-generation",
                                                    "statefulset.kubernetes.io/pod-name",
                                                    "batch.kubernetes.io/controller-uid",
                                                    "controller-uid"};

std::string shown(const Party& party) {
    switch (party.kind) {
    case Party::Kind::pod: return party.name.to_string();
    case Party::Kind::host: return "the host";
    case Party::Kind::world: break;
    }
    return party.address.to_string();
}

std::string shown(const PolicyPort& port) {
    const std::string protocol = to_string(port.protocol);
    if (!port.name.empty()) return fmt::format("{} {}", protocol, port.name);
    if (port.first == 0 && port.last == 65535) return "every " + protocol;
    if (port.first == port.last) return fmt::format("{} {}", protocol, port.first);
    return fmt::format("{} {}-{}", protocol, port.first, port.last);
}

std::string shown(const Probe& probe) {
    const std::string protocol = to_string(probe.protocol);
    return probe.port == 0 ? protocol : fmt::format("{} {}", protocol, probe.port);
}

std::string label_text(const Labels& labels, const std::string& key) {
    const auto found = labels.find(key);
    return found == labels.end() ? "has no label " + key
                                 : fmt::format("has {}={}", key, found->second);
}

bool is_selecting(const Policy& policy, const Probe& probe) {
    return policy.isolates(probe.direction) && probe.subject.kind == Party::Kind::pod &&
           probe.subject.name.space == policy.space && policy.subject.matches(probe.subject.labels);
}

std::vector<Mismatch> failures_of_block(const CidrBlock& block, const Party& party) {
    if (block.contains(party.address)) return {};
    Mismatch one{Mismatch::Kind::cidr,
                 fmt::format("{} is not in {}", party.address.to_string(), block.cidr.to_string()),
                 {}};
    for (const auto& hole : block.except) {
        if (block.cidr.contains(party.address) && hole.contains(party.address))
            one.text = fmt::format("{} is in {}, which {} excepts", party.address.to_string(),
                                   hole.to_string(), block.cidr.to_string());
    }
    return {one};
}

std::vector<Mismatch> failures_of_peer(const Objects& objects, const Policy& policy,
                                       const Peer& peer, const Party& party) {
    if (peer.block) return failures_of_block(*peer.block, party);
    if (party.kind != Party::Kind::pod)
        return {{Mismatch::Kind::outside,
                 fmt::format("the rule is for pods, {} is none", shown(party)),
                 {}}};
    std::vector<Mismatch> out;
    if (peer.namespaces) {
        const Labels labels = objects.namespace_labels(party.name.space);
        for (const auto& wanted : peer.namespaces->requirements) {
            if (wanted.matches(labels)) continue;
            out.push_back({Mismatch::Kind::namespace_label,
                           fmt::format("namespace {} {}, the rule wants {}", party.name.space,
                                       label_text(labels, wanted.key), wanted.to_string()),
                           wanted});
        }
    } else if (party.name.space != policy.space) {
        out.push_back({Mismatch::Kind::space,
                       fmt::format("the rule is for pods of namespace {}, {} is in {}",
                                   policy.space, party.name.name, party.name.space),
                       {}});
    }
    if (!peer.pods) return out;
    for (const auto& wanted : peer.pods->requirements) {
        if (wanted.matches(party.labels)) continue;
        out.push_back({Mismatch::Kind::pod_label,
                       fmt::format("{} {}, the rule wants {}", shown(party),
                                   label_text(party.labels, wanted.key), wanted.to_string()),
                       wanted});
    }
    return out;
}

bool is_port(const PolicyPort& wanted, const Probe& probe) {
    if (wanted.protocol != probe.protocol) return false;
    if (wanted.name.empty()) return wanted.first <= probe.port && probe.port <= wanted.last;
    const Party& receiver = probe.direction == Direction::ingress ? probe.subject : probe.peer;
    return receiver.kind == Party::Kind::pod &&
           std::any_of(receiver.ports.begin(), receiver.ports.end(), [&](const NamedPort& named) {
               return named.name == wanted.name && named.protocol == probe.protocol &&
                      named.port == probe.port;
           });
}

std::optional<Mismatch> failure_of_ports(const Rule& rule, const Probe& probe) {
    if (rule.any_port) return {};
    std::vector<std::string> known;
    bool protocol = false;
    for (const auto& wanted : rule.ports) {
        if (is_port(wanted, probe)) return {};
        protocol |= wanted.protocol == probe.protocol;
        known.push_back(shown(wanted));
    }
    if (known.empty()) known.emplace_back("none");
    return Mismatch{protocol ? Mismatch::Kind::port : Mismatch::Kind::protocol,
                    fmt::format("{} {} is not among {}", protocol ? "port" : "protocol",
                                shown(probe), fmt::join(known, ", ")),
                    {}};
}

std::vector<Mismatch> failures(const Objects& objects, const Policy& policy, const Rule& rule,
                               const Probe& probe) {
    std::vector<Mismatch> out;
    if (!rule.any_peer) {
        bool first = true;
        for (const auto& peer : rule.peers) {
            auto failed = failures_of_peer(objects, policy, peer, probe.peer);
            if (first || failed.size() < out.size()) out = std::move(failed);
            first = false;
        }
    }
    if (auto failed = failure_of_ports(rule, probe)) out.push_back(std::move(*failed));
    return out;
}

bool fits(const Objects& objects, const Probe& probe) {
    return check(objects, probe.subject, probe.peer, probe.direction, probe.protocol, probe.port)
        .allowed;
}

bool has_ports(Protocol protocol) {
    return protocol == Protocol::tcp || protocol == Protocol::udp || protocol == Protocol::sctp;
}

LabelSelector lasting(const Labels& labels) {
    LabelSelector out;
    for (const auto& [key, value] : labels) {
        if (std::find(kFleeting.begin(), kFleeting.end(), key) == kFleeting.end())
            out.requirements.push_back({key, Requirement::Operator::in, {value}});
    }
    return out;
}

Rule exact_rule(const Probe& probe) {
    Rule rule;
    Peer peer;
    if (probe.peer.kind == Party::Kind::pod) {
        peer.pods = lasting(probe.peer.labels);
        if (probe.peer.name.space != probe.subject.name.space)
            peer.namespaces = LabelSelector{{{std::string(kNamespaceName),
                                              Requirement::Operator::in,
                                              {probe.peer.name.space}}}};
    } else {
        peer.block = CidrBlock{net::Prefix::host(probe.peer.address), {}};
    }
    rule.peers.push_back(std::move(peer));
    if (has_ports(probe.protocol))
        rule.ports.push_back({probe.protocol, "", probe.port, probe.port});
    else
        rule.any_port = true; // NetworkPolicy names no other protocols
    return rule;
}

// Selects what the policy that isolates the subject selects, as far as it has the subject's labels: nobody becomes isolated
// who was not.
LabelSelector exact_subject(const Policy& isolating, const Party& subject) {
    LabelSelector out = lasting(subject.labels);
    for (const auto& one : isolating.subject.requirements) {
        const bool said =
            std::find(out.requirements.begin(), out.requirements.end(), one) !=
                out.requirements.end() ||
            // A label that is set says more than that it is one of several, or there.
            ((one.op == Requirement::Operator::in || one.op == Requirement::Operator::exists) &&
             std::any_of(out.requirements.begin(), out.requirements.end(),
                         [&](const Requirement& own) { return own.key == one.key; }));
        if (!said) out.requirements.push_back(one);
    }
    return out;
}

ObjectName free_name(const Objects& objects, const Probe& probe) {
    std::string other = probe.peer.kind == Party::Kind::pod    ? probe.peer.name.name
                        : probe.peer.kind == Party::Kind::host ? "host"
                                                               : "outside";
    if (other.size() > 60) other.resize(60);
    std::string base =
        fmt::format("allow-{}-{}", probe.direction == Direction::ingress ? "from" : "to", other);
    while (!base.empty() && (base.back() == '-' || base.back() == '.'))
        base.pop_back();
    ObjectName name{probe.subject.name.space, base};
    for (int i = 2; objects.policies.contains(name); ++i)
        name.name = fmt::format("{}-{}", base, i);
    return name;
}

const Policy* isolating(const Objects& objects, const Probe& probe) {
    const Policy* first = nullptr;
    for (const auto& [name, policy] : objects.policies) {
        if (is_selecting(policy, probe) && (!first || policy.title() < first->title()))
            first = &policy;
    }
    return first;
}

Change new_policy(const Objects& objects, const Policy& isolating, const Probe& probe) {
    Change change;
    change.kind = Change::Kind::new_policy;
    change.target = free_name(objects, probe);
    Policy& policy = change.policy;
    policy.kind = "NetworkPolicy";
    policy.space = change.target.space;
    policy.name = change.target.name;
    policy.subject = exact_subject(isolating, probe.subject);
    const bool ingress = probe.direction == Direction::ingress;
    (ingress ? policy.isolates_ingress : policy.isolates_egress) = true;
    (ingress ? policy.ingress : policy.egress).push_back(exact_rule(probe));
    change.text =
        fmt::format("a new {} that lets {} {} {} on {}", policy.title(), shown(probe.subject),
                    ingress ? "be reached by" : "reach", shown(probe.peer),
                    has_ports(probe.protocol) ? shown(probe) : "every port");
    return change;
}

// The value that makes a requirement hold, if giving or changing one label does.
std::optional<std::string> value_for(const Requirement& wanted) {
    if (wanted.op == Requirement::Operator::in) return wanted.values.front();
    if (wanted.op == Requirement::Operator::exists) return "";
    return {};
}

std::optional<Change> port_change(const Objects& objects, const Near& near, const Probe& probe) {
    const bool ports = std::all_of(near.failed.begin(), near.failed.end(), [](const Mismatch& one) {
        return one.kind == Mismatch::Kind::port || one.kind == Mismatch::Kind::protocol;
    });
    const auto found = objects.policies.find(near.policy);
    if (!ports || !has_ports(probe.protocol) || found == objects.policies.end()) return {};
    Change change;
    change.kind = Change::Kind::add_port;
    change.target = near.policy;
    change.policy = found->second;
    auto& rules =
        probe.direction == Direction::ingress ? change.policy.ingress : change.policy.egress;
    rules[near.index].ports.push_back({probe.protocol, "", probe.port, probe.port});
    change.text = fmt::format("add port {} to {}", shown(probe), near.title);
    return change;
}

std::optional<Change> label_change(const Objects& objects, const Near& near, const Probe& probe) {
    if (near.failed.size() != 1 || !near.failed[0].unmet) return {};
    const Requirement& wanted = *near.failed[0].unmet;
    const auto value = value_for(wanted);
    if (!value || wanted.key == kNamespaceName) return {};
    Change change;
    const bool pod = near.failed[0].kind == Mismatch::Kind::pod_label;
    change.kind = pod ? Change::Kind::label_pod : Change::Kind::label_namespace;
    change.target = pod ? probe.peer.name : ObjectName{"", probe.peer.name.space};
    change.labels = pod ? probe.peer.labels : objects.namespace_labels(probe.peer.name.space);
    change.labels[wanted.key] = *value;
    change.text = fmt::format("give {}{} the label {}={}", pod ? "" : "namespace ",
                              change.target.to_string(), wanted.key, *value);
    return change;
}

} // namespace

std::string_view to_string(Mismatch::Kind kind) {
    switch (kind) {
    case Mismatch::Kind::port: return "port";
    case Mismatch::Kind::protocol: return "protocol";
    case Mismatch::Kind::pod_label: return "pod_label";
    case Mismatch::Kind::namespace_label: return "namespace_label";
    case Mismatch::Kind::space: return "namespace";
    case Mismatch::Kind::cidr: return "cidr";
    case Mismatch::Kind::outside: return "not_a_pod";
    }
    return "";
}

std::string_view to_string(Change::Kind kind) {
    switch (kind) {
    case Change::Kind::add_port: return "add_port";
    case Change::Kind::label_pod: return "label_pod";
    case Change::Kind::label_namespace: return "label_namespace";
    case Change::Kind::new_policy: return "new_policy";
    }
    return "";
}

std::optional<Near> nearest_rule(const Objects& objects, const Probe& probe) {
    std::optional<Near> best;
    for (const auto& [name, policy] : objects.policies) {
        if (!is_selecting(policy, probe)) continue;
        const auto& rules = policy.rules(probe.direction);
        for (std::size_t i = 0; i < rules.size(); ++i) {
            if (rules[i].action != Rule::Action::allow) continue;
            if (!rules[i].any_peer && rules[i].peers.empty()) continue;
            Near near{name, i, rule_title(policy, probe.direction, i),
                      failures(objects, policy, rules[i], probe)};
            const bool nearer =
                !best || near.failed.size() < best->failed.size() ||
                (near.failed.size() == best->failed.size() && near.title < best->title);
            if (nearer) best = std::move(near);
        }
    }
    return best;
}

std::vector<Change> changes(const Objects& objects, const Probe& probe) {
    const Policy* policy = isolating(objects, probe);
    if (!policy || fits(objects, probe)) return {};
    std::vector<Change> wanted;
    if (const auto near = nearest_rule(objects, probe); near && !near->failed.empty()) {
        if (auto change = port_change(objects, *near, probe)) wanted.push_back(std::move(*change));
        if (auto change = label_change(objects, *near, probe)) wanted.push_back(std::move(*change));
    }
    wanted.push_back(new_policy(objects, *policy, probe));
    std::erase_if(wanted, [&](const Change& change) {
        Objects after = objects;
        Probe then = probe;
        apply(change, after, then);
        return !fits(after, then);
    });
    return wanted;
}

void apply(const Change& change, Objects& objects, Probe& probe) {
    switch (change.kind) {
    case Change::Kind::add_port:
    case Change::Kind::new_policy: objects.policies[change.target] = change.policy; return;
    case Change::Kind::label_namespace: {
        auto& space = objects.namespaces[change.target.name];
        space.name = change.target.name;
        space.labels = change.labels;
        return;
    }
    case Change::Kind::label_pod:
        for (Party* party : {&probe.subject, &probe.peer}) {
            if (party->kind == Party::Kind::pod && party->name == change.target)
                party->labels = change.labels;
        }
        if (const auto pod = objects.pods.find(change.target); pod != objects.pods.end())
            pod->second.labels = change.labels;
        return;
    }
}

std::string to_yaml(const Change& change) {
    switch (change.kind) {
    case Change::Kind::add_port:
    case Change::Kind::new_policy: return to_yaml(change.policy);
    case Change::Kind::label_namespace:
        return fmt::format("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {}\n  labels: {}\n",
                           yaml_scalar(change.target.name), yaml_labels(change.labels));
    case Change::Kind::label_pod:
        return fmt::format(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {}\n  namespace: {}\n  labels: {}\n",
            yaml_scalar(change.target.name), yaml_scalar(change.target.space),
            yaml_labels(change.labels));
    }
    return "";
}

} // namespace beeline::model
