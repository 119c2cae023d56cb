#include "model/evaluate.h"

#include <algorithm>

namespace beeline::model {
namespace {

bool selects(const Policy& policy, const Party& subject) {
    return subject.kind == Party::Kind::pod && subject.name.space == policy.space &&
           policy.subject.matches(subject.labels);
}

bool matches_peer(const Objects& objects, const Policy& policy, const Peer& peer,
                  const Party& party) {
    if (peer.block) return peer.block->contains(party.address);
    if (party.kind != Party::Kind::pod) return false;
    if (!peer.pods && !peer.namespaces) return false;
    const bool in_namespace =
        peer.namespaces ? peer.namespaces->matches(objects.namespace_labels(party.name.space))
                        : party.name.space == policy.space;
    return in_namespace && (!peer.pods || peer.pods->matches(party.labels));
}

bool matches_name(const PolicyPort& wanted, const Party& receiver, Protocol protocol,
                  std::uint16_t port) {
    return receiver.kind == Party::Kind::pod &&
           std::any_of(receiver.ports.begin(), receiver.ports.end(), [&](const NamedPort& named) {
               return named.name == wanted.name && named.protocol == protocol && named.port == port;
           });
}

enum class Match { none, for_everyone, for_this_peer };

struct Connection {
    const Party& subject;
    const Party& peer;
    Direction direction;
    Protocol protocol;
    std::uint16_t port;
};

Match match(const Objects& objects, const Policy& policy, const Rule& rule,
            const Connection& connection) {
    const bool peer_matches =
        rule.any_peer || std::any_of(rule.peers.begin(), rule.peers.end(), [&](const Peer& peer) {
            return matches_peer(objects, policy, peer, connection.peer);
        });
    if (!peer_matches) return Match::none;

    const bool ingress = connection.direction == Direction::ingress;
    const Party& receiver = ingress ? connection.subject : connection.peer;
    bool by_number = rule.any_port;
    bool by_name = false;
    for (const PolicyPort& wanted : rule.ports) {
        if (wanted.protocol != connection.protocol) continue;
        if (wanted.name.empty()) {
            by_number |= wanted.first <= connection.port && connection.port <= wanted.last;
        } else {
            by_name |= matches_name(wanted, receiver, connection.protocol, connection.port);
        }
    }
    if (!by_number && !by_name) return Match::none;
    const bool asked_the_peer = !rule.any_peer || (by_name && !ingress);
    return asked_the_peer ? Match::for_this_peer : Match::for_everyone;
}

// The title of the matching rule that is named for `action`; empty when none matches. `policies` in
// title order.
std::string first_match(const Objects& objects, const std::vector<const Policy*>& policies,
                        const Connection& connection, Rule::Action action) {
    std::string for_everyone;
    for (const Policy* policy : policies) {
        const std::vector<Rule>& rules = policy->rules(connection.direction);
        for (std::size_t i = 0; i < rules.size(); ++i) {
            if (rules[i].action != action) continue;
            const Match how = match(objects, *policy, rules[i], connection);
            if (how == Match::none) continue;
            std::string title = rule_title(*policy, connection.direction, i);
            if (how == Match::for_this_peer) return title;
            if (for_everyone.empty()) for_everyone = std::move(title);
        }
    }
    return for_everyone;
}

} // namespace

Check check(const Objects& objects, const Party& subject, const Party& peer, Direction direction,
            Protocol protocol, std::uint16_t port) {
    Check result;
    std::vector<const Policy*> policies;
    for (const auto& [name, policy] : objects.policies) {
        if (policy.isolates(direction) && selects(policy, subject)) policies.push_back(&policy);
    }
    std::sort(policies.begin(), policies.end(),
              [](const Policy* a, const Policy* b) { return a->title() < b->title(); });
    for (const Policy* policy : policies)
        result.selecting.push_back(policy->title());
    result.isolated = !policies.empty();
    if (!result.isolated) return result;

    const bool itself = peer.kind == Party::Kind::pod && peer.name == subject.name;
    const bool own_host = direction == Direction::ingress && peer.kind == Party::Kind::host;
    if (itself || own_host) return result;

    const Connection connection{subject, peer, direction, protocol, port};
    result.rule = first_match(objects, policies, connection, Rule::Action::deny);
    if (!result.rule.empty()) {
        result.allowed = false;
        return result;
    }
    result.rule = first_match(objects, policies, connection, Rule::Action::allow);
    result.allowed = !result.rule.empty();
    return result;
}

Decision evaluate(const Objects& objects, const Query& query) {
    Decision decision;
    decision.egress = check(objects, query.source, query.destination, Direction::egress,
                            query.protocol, query.port);
    decision.ingress = check(objects, query.destination, query.source, Direction::ingress,
                             query.protocol, query.port);
    decision.allowed = decision.egress.allowed && decision.ingress.allowed;
    return decision;
}

} // namespace beeline::model
