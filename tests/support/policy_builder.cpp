#include "support/policy_builder.h"

#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

namespace beeline::test {
namespace {

using model::Requirement;

[[noreturn]] void refuse(std::string_view what, std::string_view text) {
    fmt::print(stderr, "test data: '{}' is no {}\n", text, what);
    std::abort();
}

std::string trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(' ');
    if (first == std::string_view::npos) return {};
    return std::string(text.substr(first, text.find_last_not_of(' ') - first + 1));
}

// Parts between commas that stand outside brackets.
std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> parts(1);
    int depth = 0;
    for (const char c : text) {
        depth += c == '(' ? 1 : c == ')' ? -1 : 0;
        if (c == ',' && depth == 0) {
            parts.emplace_back();
        } else {
            parts.back() += c;
        }
    }
    for (std::string& part : parts)
        part = trimmed(part);
    return parts;
}

Requirement requirement(const std::string& text) {
    using Operator = Requirement::Operator;
    for (const auto& [word, op] :
         {std::pair{" notin (", Operator::not_in}, {" in (", Operator::in}}) {
        const auto at = text.find(word);
        if (at == std::string::npos) continue;
        const auto open = text.find('(', at);
        return {trimmed(text.substr(0, at)), op,
                split(text.substr(open + 1, text.rfind(')') - open - 1))};
    }
    if (const auto at = text.find("!="); at != std::string::npos) {
        return {text.substr(0, at), Operator::not_in, {text.substr(at + 2)}};
    }
    if (const auto at = text.find('='); at != std::string::npos) {
        return {text.substr(0, at), Operator::in, {text.substr(at + 1)}};
    }
    if (text.empty()) refuse("selector", text);
    if (text[0] == '!') return {text.substr(1), Operator::does_not_exist, {}};
    return {text, Operator::exists, {}};
}

model::PolicyPort numbered(model::Protocol protocol, unsigned first, unsigned last) {
    return {protocol, "", static_cast<std::uint16_t>(first),
            static_cast<std::uint16_t>(last ? last : first)};
}

model::Rule rule(model::Rule::Action action, Peers peers, Ports ports) {
    const bool any_peer = peers.empty();
    const bool any_port = ports.empty();
    return {action, any_peer, std::move(peers), any_port, std::move(ports)};
}

} // namespace

net::Ip ip(std::string_view text) {
    const auto parsed = net::Ip::parse(text);
    if (!parsed) refuse("address", text);
    return *parsed;
}

net::Prefix cidr(std::string_view text) {
    const auto parsed = net::Prefix::parse(text);
    if (!parsed) refuse("CIDR", text);
    return *parsed;
}

model::LabelSelector selector(std::string_view text) {
    model::LabelSelector result;
    if (text.empty() || text == "*") return result;
    for (const std::string& part : split(text))
        result.requirements.push_back(requirement(part));
    return result;
}

model::ObjectName object_name(std::string_view text) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) refuse("NAMESPACE/NAME", text);
    return {std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
}

model::Peer pods(std::string_view pod_selector) { return {selector(pod_selector), {}, {}}; }

model::Peer namespaces(std::string_view namespace_selector) {
    return {{}, selector(namespace_selector), {}};
}

model::Peer pods_in(std::string_view namespace_selector, std::string_view pod_selector) {
    return {selector(pod_selector), selector(namespace_selector), {}};
}

model::CidrBlock cidr_block(std::string_view network, const std::vector<std::string_view>& except) {
    model::CidrBlock made{cidr(network), {}};
    for (const auto hole : except)
        made.except.push_back(cidr(hole));
    return made;
}

model::Peer block(std::string_view network, const std::vector<std::string_view>& except) {
    return {{}, {}, cidr_block(network, except)};
}

model::PolicyPort tcp(unsigned first, unsigned last) {
    return numbered(model::Protocol::tcp, first, last);
}
model::PolicyPort udp(unsigned first, unsigned last) {
    return numbered(model::Protocol::udp, first, last);
}
model::PolicyPort sctp(unsigned first, unsigned last) {
    return numbered(model::Protocol::sctp, first, last);
}

model::PolicyPort named(std::string_view name, model::Protocol protocol) {
    return {protocol, std::string(name), 0, 65535};
}

model::PolicyPort all_of(model::Protocol protocol) { return {protocol, "", 0, 65535}; }

PolicyBuilder::PolicyBuilder(std::string_view name, std::string_view subject) {
    const model::ObjectName parts = object_name(name);
    policy_.kind = "NetworkPolicy";
    policy_.space = parts.space;
    policy_.name = parts.name;
    policy_.subject = selector(subject);
}

PolicyBuilder& PolicyBuilder::in(Peers peers, Ports ports) {
    policy_.ingress.push_back(rule(model::Rule::Action::allow, std::move(peers), std::move(ports)));
    return isolate_in();
}

PolicyBuilder& PolicyBuilder::out(Peers peers, Ports ports) {
    policy_.egress.push_back(rule(model::Rule::Action::allow, std::move(peers), std::move(ports)));
    return isolate_out();
}

PolicyBuilder& PolicyBuilder::deny_in(Peers peers, Ports ports) {
    policy_.ingress.push_back(rule(model::Rule::Action::deny, std::move(peers), std::move(ports)));
    return isolate_in();
}

PolicyBuilder& PolicyBuilder::deny_out(Peers peers, Ports ports) {
    policy_.egress.push_back(rule(model::Rule::Action::deny, std::move(peers), std::move(ports)));
    return isolate_out();
}

PolicyBuilder& PolicyBuilder::isolate_in() {
    policy_.isolates_ingress = true;
    return *this;
}

PolicyBuilder& PolicyBuilder::isolate_out() {
    policy_.isolates_egress = true;
    return *this;
}

PolicyBuilder& PolicyBuilder::only(model::Direction direction) {
    policy_.isolates_ingress = direction == model::Direction::ingress;
    policy_.isolates_egress = direction == model::Direction::egress;
    return *this;
}

void add(model::Objects& objects, const model::Policy& policy) {
    objects.policies[{policy.space, policy.name}] = policy;
}

void add_namespace(model::Objects& objects, const std::string& name, model::Labels labels) {
    labels["kubernetes.io/metadata.name"] = name;
    objects.namespaces[name] = {name, std::move(labels)};
}

} // namespace beeline::test
