// libs: beeline_security_rules
// Conditions: whatever the text is, it becomes a tree whose normal form is the same tree again, or one error with a place.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "security/rules/rule_set.h"

using namespace beeline::security::rules;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

bool same(const Expression& a, const Expression& b) {
    if (a.kind != b.kind || a.name != b.name || a.has_argument != b.has_argument ||
        a.argument != b.argument || a.arguments.size() != b.arguments.size())
        return false;
    for (std::size_t i = 0; i < a.arguments.size(); ++i) {
        if (!same(a.arguments[i], b.arguments[i])) return false;
    }
    return true;
}

bool same(const Node& a, const Node& b) {
    if (a.kind != b.kind || a.macro != b.macro || a.children.size() != b.children.size())
        return false;
    for (std::size_t i = 0; i < a.children.size(); ++i) {
        if (!same(*a.children[i], *b.children[i])) return false;
    }
    if (a.kind != Node::Kind::check) return true;
    if (!same(a.left, b.left) || a.op != b.op || a.modifier != b.modifier ||
        a.values.size() != b.values.size() || !a.right != !b.right)
        return false;
    for (std::size_t i = 0; i < a.values.size(); ++i) {
        if (a.values[i].text != b.values[i].text || a.values[i].quoted != b.values[i].quoted)
            return false;
    }
    return !a.right || same(*a.right, *b.right);
}

void check_shape(const Node& node, std::size_t size) {
    require(node.position.offset < size && node.position.line > 0 && node.position.column > 0);
    switch (node.kind) {
    case Node::Kind::all:
    case Node::Kind::any: require(node.children.size() >= 2); break;
    case Node::Kind::negation:
        require(node.children.size() == 1 && node.children.front()->kind != Node::Kind::negation);
        break;
    case Node::Kind::check:
    case Node::Kind::macro: require(node.children.empty()); break;
    }
    require((node.kind == Node::Kind::macro) == !node.macro.empty());
    for (const NodePtr& child : node.children)
        check_shape(*child, size);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const Parsed parsed = parse_condition(text, 200);
    if (!parsed.node) {
        require(!parsed.error.message.empty());
        require(parsed.error.position.offset <= size);
        return 0;
    }
    require(parsed.error.message.empty());
    check_shape(*parsed.node, size);
    // Groups that the text leaves out are written.
    const std::string normal = to_text(*parsed.node);
    const Parsed again = parse_condition(normal);
    require(again.node && same(*parsed.node, *again.node));
    require(same(*parsed.node, *clone(*parsed.node)));
    require(to_text(*again.node) == normal);
    return 0;
}
