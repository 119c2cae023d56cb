#include "security/rules/macro_expansion.h"

#include <algorithm>

#include <fmt/format.h>

namespace beeline::security::rules {

// One condition while it is measured.
struct MacroTable::Walk {
    const Macro* own = nullptr; // null: of a rule
    const Complain& complain;
    const ComplainOf& complain_of; // of macros that are resolved on the way
};

std::size_t MacroTable::add(const Macro& macro) {
    names_.emplace(macro.name, macros_.size());
    macros_.push_back({macro, Entry::State::unknown, false, {}});
    return macros_.size() - 1;
}

void MacroTable::resolve_all(const ComplainOf& complain) {
    for (std::size_t i = 0; i < macros_.size(); ++i)
        resolve(i, complain, 0);
}

MacroTable::Size MacroTable::resolve(std::size_t number, const ComplainOf& complain,
                                     std::size_t depth) {
    Entry& entry = macros_[number];
    if (entry.state == Entry::State::done) return entry.size;
    entry.state = Entry::State::working;
    if (entry.macro.condition == nullptr) {
        entry.size.good = false;
    } else {
        const Complain own = [&](const Node& node, std::string message) {
            complain(number, node, std::move(message));
        };
        Walk walk{&entry.macro, own, complain};
        entry.size = visit(*entry.macro.condition, walk, depth);
        if (entry.size.good && entry.size.size > kMostSize) {
            own(*entry.macro.condition,
                fmt::format("it grows to more than {} parts once macros are expanded", kMostSize));
            entry.size.good = false;
        }
    }
    entry.state = Entry::State::done;
    return entry.size;
}

MacroTable::Size MacroTable::measure(const Node& node, const Complain& complain) {
    const ComplainOf none = [](std::size_t, const Node&, const std::string&) {};
    Walk walk{nullptr, complain, none};
    Size size = visit(node, walk, 0);
    if (size.good && size.size > kMostSize) {
        complain(node,
                 fmt::format("it grows to more than {} parts once macros are expanded", kMostSize));
        size.good = false;
    }
    return size;
}

MacroTable::Size MacroTable::visit(const Node& node, Walk& walk, std::size_t depth) {
    if (node.kind == Node::Kind::macro) return visit_macro(node, walk, depth);
    Size result{true, 1, 1 + node.values.size(), 0};
    if (depth >= kMostDepth) {
        walk.complain(node,
                      fmt::format("nested deeper than {} levels with its macros", kMostDepth));
        return {false, 1, 1, 0};
    }
    for (const NodePtr& child : node.children) {
        const Size inner = visit(*child, walk, depth + 1);
        result.good = result.good && inner.good;
        result.depth = std::max(result.depth, inner.depth + 1);
        result.size = std::min(result.size + inner.size, 2 * kMostSize);
        result.changed = std::max(result.changed, inner.changed);
    }
    return result;
}

MacroTable::Size MacroTable::visit_macro(const Node& node, Walk& walk, std::size_t depth) {
    const auto found = names_.find(node.macro);
    if (found == names_.end()) {
        walk.complain(node, fmt::format("the macro '{}' is not defined", node.macro));
        return {false, 1, 1, 0};
    }
    Entry& entry = macros_[found->second];
    entry.used = true;
    if (walk.own != nullptr && walk.own != &entry.macro &&
        entry.macro.index >= walk.own->last_index) {
        walk.complain(node,
                      fmt::format("the macro '{}' is defined only after this one", node.macro));
        return {false, 1, 1, 0};
    }
    if (entry.state == Entry::State::working) {
        walk.complain(node,
                      fmt::format("the macro '{}' refers to itself (reference loop)", node.macro));
        return {false, 1, 1, 0};
    }
    const std::size_t number = found->second;
    Size size = resolve(number, walk.complain_of, depth + 1);
    ++size.depth;
    size.changed = std::max(size.changed, entry.macro.changed);
    if (size.good && depth + size.depth > kMostDepth) {
        walk.complain(node,
                      fmt::format("nested deeper than {} levels with its macros", kMostDepth));
        return {false, 1, 1, 0};
    }
    return size;
}

std::size_t MacroTable::number_of(const Node& node) const { return names_.at(node.macro); }

NodePtr MacroTable::expand(const Node& node) const {
    if (node.kind == Node::Kind::macro) return expand(*macros_[number_of(node)].macro.condition);
    if (node.kind == Node::Kind::check) return clone(node);
    auto copy = std::make_unique<Node>();
    copy->kind = node.kind;
    copy->position = node.position;
    copy->children.reserve(node.children.size());
    for (const NodePtr& child : node.children)
        copy->children.push_back(expand(*child));
    // As in parsed text, no negation holds another.
    if (copy->kind == Node::Kind::negation && copy->children.front()->kind == Node::Kind::negation)
        return std::move(copy->children.front()->children.front());
    return copy;
}

} // namespace beeline::security::rules
