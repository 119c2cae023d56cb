#include "security/rules/ast.h"

#include <algorithm>

#include "security/rules/words.h"

namespace beeline::security::rules {
namespace {

std::string to_text(const Expression& expression) {
    std::string out;
    switch (expression.kind) {
    case Expression::Kind::literal: return in_quotes(expression.name);
    case Expression::Kind::field: out = expression.name; break;
    case Expression::Kind::transformer:
    case Expression::Kind::list:
        out = expression.kind == Expression::Kind::list ? "(" : expression.name + "(";
        for (const Expression& argument : expression.arguments) {
            if (&argument != &expression.arguments.front()) out += ", ";
            out += to_text(argument);
        }
        out += ")";
    }
    if (!expression.has_argument) return out;
    const std::string& argument = expression.argument;
    const bool bare =
        !argument.empty() && std::all_of(argument.begin(), argument.end(), is_bare_argument);
    return out + "[" + (bare ? argument : in_quotes(argument)) + "]";
}

std::string to_text(const Value& value) {
    return value.quoted ? in_quotes(value.text) : value.text;
}

std::string check_text(const Node& node) {
    std::string out = to_text(node.left) + " ";
    out += operator_name(node.op);
    if (node.op == Operator::exists) return out;
    out += " ";
    if (node.right) {
        if (node.right->kind == Expression::Kind::field)
            return out + "val(" + to_text(*node.right) + ")";
        return out + to_text(*node.right);
    }
    if (node.modifier == Modifier::none && !takes_set(node.op))
        return node.values.empty() ? out : out + to_text(node.values.front());
    if (node.modifier != Modifier::none) {
        out += modifier_name(node.modifier);
        out += " ";
    }
    out += "(";
    for (const Value& value : node.values) {
        if (&value != &node.values.front()) out += ", ";
        out += to_text(value);
    }
    return out + ")";
}

} // namespace

NodePtr clone(const Node& node) {
    auto copy = std::make_unique<Node>();
    copy->kind = node.kind;
    copy->children.reserve(node.children.size());
    for (const NodePtr& child : node.children)
        copy->children.push_back(clone(*child));
    copy->macro = node.macro;
    copy->left = node.left;
    copy->op = node.op;
    copy->modifier = node.modifier;
    copy->values = node.values;
    if (node.right) copy->right = std::make_unique<Expression>(*node.right);
    copy->position = node.position;
    return copy;
}

std::string to_text(const Node& node) {
    switch (node.kind) {
    case Node::Kind::macro: return node.macro;
    case Node::Kind::check: return check_text(node);
    case Node::Kind::negation: return "not " + to_text(*node.children.front());
    case Node::Kind::all:
    case Node::Kind::any: break;
    }
    std::string out = "(";
    for (const NodePtr& child : node.children) {
        if (child != node.children.front()) out += node.kind == Node::Kind::all ? " and " : " or ";
        out += to_text(*child);
    }
    return out + ")";
}

} // namespace beeline::security::rules
