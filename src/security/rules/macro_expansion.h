// Names of macros in parsed conditions -> what they stand for.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "security/rules/ast.h"

namespace beeline::security::rules {

class MacroTable {
public:
    static constexpr std::size_t kMostDepth = 1000;
    static constexpr std::size_t kMostSize = 200'000; // nodes and values of one condition

    struct Macro {
        std::string_view name;
        const Node* condition = nullptr; // null: it could not be parsed, which was reported
        std::uint32_t index = 0;         // of its first definition
        std::uint32_t last_index = 0;    // of its last change: it sees macros of a lower index
        std::uint32_t changed = 0;       // the file since which its condition reads as it does
    };
    struct Size {
        bool good = true; // all that it names is there
        std::size_t depth = 0;
        std::size_t size = 0;
        std::uint32_t changed = 0; // the latest of all macros in it
    };
    // What is wrong with a node: the reference to a macro, or the whole.
    using Complain = std::function<void(const Node& node, std::string message)>;

    // Names must differ. Returns its number.
    std::size_t add(const Macro& macro);

    // Resolves all, each after those in it.
    using ComplainOf =
        std::function<void(std::size_t macro, const Node& node, std::string message)>;
    void resolve_all(const ComplainOf& complain);

    // Of a rule's condition, which sees all macros. Precondition: resolve_all was called.
    Size measure(const Node& node, const Complain& complain);
    // The number of a macro that the node names. Precondition: measured as good.
    [[nodiscard]] std::size_t number_of(const Node& node) const;
    [[nodiscard]] const Macro& macro(std::size_t number) const { return macros_[number].macro; }
    [[nodiscard]] bool used(std::size_t number) const { return macros_[number].used; }

    // A copy without macros. Precondition: measured as good and within the bounds.
    [[nodiscard]] NodePtr expand(const Node& node) const;

private:
    struct Entry {
        Macro macro;
        enum class State : std::uint8_t { unknown, working, done } state = State::unknown;
        bool used = false;
        Size size;
    };
    struct Walk;
    Size visit(const Node& node, Walk& walk, std::size_t depth);
    Size visit_macro(const Node& node, Walk& walk, std::size_t depth);
    Size resolve(std::size_t number, const ComplainOf& complain, std::size_t depth);

    std::vector<Entry> macros_;
    std::unordered_map<std::string_view, std::size_t> names_;
};

} // namespace beeline::security::rules
