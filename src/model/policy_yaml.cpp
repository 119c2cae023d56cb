#include "model/policy_yaml.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace beeline::model {
namespace {

// One operator of a selector, as flow YAML.
std::string expression(const Requirement& requirement) {
    std::string out = fmt::format("{{key: {}, operator: ", yaml_scalar(requirement.key));
    switch (requirement.op) {
    case Requirement::Operator::in: out += "In"; break;
    case Requirement::Operator::not_in: out += "NotIn"; break;
    case Requirement::Operator::exists: return out + "Exists}";
    case Requirement::Operator::does_not_exist: return out + "DoesNotExist}";
    }
    std::vector<std::string> values;
    for (const auto& value : requirement.values)
        values.push_back(yaml_scalar(value));
    return out + fmt::format(", values: [{}]}}", fmt::join(values, ", "));
}

std::string selector(const LabelSelector& selector) {
    Labels labels;
    std::vector<std::string> expressions;
    for (const auto& one : selector.requirements) {
        const bool label = one.op == Requirement::Operator::in && one.values.size() == 1 &&
                           !labels.contains(one.key);
        if (label)
            labels.emplace(one.key, one.values[0]);
        else
            expressions.push_back(expression(one));
    }
    if (labels.empty() && expressions.empty()) return "{}";
    std::string out = "{";
    if (!labels.empty()) out += "matchLabels: " + yaml_labels(labels);
    if (!expressions.empty())
        out += fmt::format("{}matchExpressions: [{}]", labels.empty() ? "" : ", ",
                           fmt::join(expressions, ", "));
    return out + "}";
}

void append_peer(std::string& out, const Peer& peer) {
    if (peer.block) {
        out += fmt::format("        - ipBlock:\n            cidr: {}\n",
                           yaml_scalar(peer.block->cidr.to_string()));
        if (peer.block->except.empty()) return;
        out += "            except:\n";
        for (const auto& hole : peer.block->except)
            out += fmt::format("              - {}\n", yaml_scalar(hole.to_string()));
        return;
    }
    std::string_view indent = "        - ";
    if (peer.namespaces) {
        out += fmt::format("{}namespaceSelector: {}\n", indent, selector(*peer.namespaces));
        indent = "          ";
    }
    if (peer.pods) out += fmt::format("{}podSelector: {}\n", indent, selector(*peer.pods));
}

void append_port(std::string& out, const PolicyPort& port) {
    out += fmt::format("        - protocol: {}\n", to_string(port.protocol));
    if (!port.name.empty()) {
        out += fmt::format("          port: {}\n", yaml_scalar(port.name));
    } else if (port.first != 0 || port.last != 65535) {
        out += fmt::format("          port: {}\n", port.first);
        if (port.last != port.first) out += fmt::format("          endPort: {}\n", port.last);
    }
}

void append_rules(std::string& out, const std::vector<Rule>& rules, bool ingress) {
    out += fmt::format("  {}:{}\n", ingress ? "ingress" : "egress", rules.empty() ? " []" : "");
    for (const Rule& rule : rules) {
        if (rule.any_peer && rule.any_port) {
            out += "    - {}\n";
            continue;
        }
        std::string_view indent = "    - ";
        if (!rule.any_peer) {
            out += fmt::format("{}{}:\n", indent, ingress ? "from" : "to");
            indent = "      ";
            for (const Peer& peer : rule.peers)
                append_peer(out, peer);
        }
        if (!rule.any_port) {
            out += fmt::format("{}ports:\n", indent);
            for (const PolicyPort& port : rule.ports)
                append_port(out, port);
        }
    }
}

} // namespace

std::string yaml_scalar(std::string_view text) {
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    const bool plain =
        !text.empty() && letter(text.front()) && std::all_of(text.begin(), text.end(), [&](char c) {
            return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
                   c == '/';
        });
    // Words that YAML 1.1 reads as something else.
    std::string lower(text);
    for (char& c : lower)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    for (const std::string_view word :
         {"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
        if (lower == word) return fmt::format("\"{}\"", text);
    if (plain) return std::string(text);
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + '"';
}

std::string yaml_labels(const Labels& labels) {
    std::vector<std::string> pairs;
    for (const auto& [key, value] : labels)
        pairs.push_back(fmt::format("{}: {}", yaml_scalar(key), yaml_scalar(value)));
    return fmt::format("{{{}}}", fmt::join(pairs, ", "));
}

std::string to_yaml(const Policy& policy) {
    std::string out =
        fmt::format("apiVersion: networking.k8s.io/v1\n"
                    "kind: NetworkPolicy\n"
                    "metadata:\n"
                    "  name: {}\n"
                    "  namespace: {}\n"
                    "spec:\n"
                    "  podSelector: {}\n"
                    "  policyTypes: [{}{}{}]\n",
                    yaml_scalar(policy.name), yaml_scalar(policy.space), selector(policy.subject),
                    policy.isolates_ingress ? "Ingress" : "",
                    policy.isolates_ingress && policy.isolates_egress ? ", " : "",
                    policy.isolates_egress ? "Egress" : "");
    if (policy.isolates_ingress) append_rules(out, policy.ingress, true);
    if (policy.isolates_egress) append_rules(out, policy.egress, false);
    return out;
}

} // namespace beeline::model
