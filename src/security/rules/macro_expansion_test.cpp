#include "security/rules/macro_expansion.h"

#include <gtest/gtest.h>

#include <list>

#include "security/rules/rule_set.h"

namespace beeline::security::rules {
namespace {

class MacroExpansion : public testing::Test {
protected:
    void add(std::string_view name, std::string_view condition, std::uint32_t index,
             std::uint32_t last_index) {
        conditions_.push_back(parse_condition(condition).node);
        table_.add({name, conditions_.back().get(), index, last_index, index});
    }
    void add(std::string_view name, std::string_view condition) {
        add(name, condition, next_, next_);
        ++next_;
    }
    // "macro: message" of each problem.
    std::string resolve() {
        std::string out;
        table_.resolve_all([&](std::size_t macro, const Node&, const std::string& message) {
            out += std::string(table_.macro(macro).name) + ": " + message + "\n";
        });
        return out;
    }
    // The condition without macros, or what is wrong.
    std::string expand(std::string_view condition) {
        const NodePtr node = parse_condition(condition).node;
        std::string out;
        const auto size =
            table_.measure(*node, [&](const Node&, const std::string& message) { out += message; });
        return size.good ? to_text(*table_.expand(*node)) : out;
    }

    MacroTable table_;
    std::list<NodePtr> conditions_;
    std::uint32_t next_ = 0;
};

TEST_F(MacroExpansion, PutsConditionsInPlaceOfNames) {
    add("a", "p.n = a or p.n = b");
    add("b", "not a");
    add("unused", "b and a");
    EXPECT_EQ(resolve(), "");
    EXPECT_EQ(expand("a and p.n = c"), "((p.n = a or p.n = b) and p.n = c)");
    EXPECT_EQ(expand("b"), "not (p.n = a or p.n = b)");
    EXPECT_EQ(expand("not b"), "(p.n = a or p.n = b)");
    EXPECT_EQ(expand("nowhere"), "the macro 'nowhere' is not defined");
    EXPECT_TRUE(table_.used(0));
    EXPECT_TRUE(table_.used(1));
    EXPECT_FALSE(table_.used(2));
}

TEST_F(MacroExpansion, SeesWhatWasDefinedBeforeTheLastChange) {
    add("early", "late", 0, 0);
    add("late", "p.n = x", 1, 1);
    add("changed", "p.n = y or last", 2, 4);
    add("last", "p.n = z", 3, 3);
    EXPECT_EQ(resolve(), "early: the macro 'late' is defined only after this one\n");
    EXPECT_EQ(expand("changed"), "(p.n = y or p.n = z)");
    EXPECT_EQ(expand("early"), "");
}

TEST_F(MacroExpansion, FindsLoops) {
    add("self", "not self", 0, 0);
    add("a", "b", 1, 3);
    add("b", "a", 2, 2);
    EXPECT_EQ(resolve(), "self: the macro 'self' refers to itself (reference loop)\n"
                         "b: the macro 'a' refers to itself (reference loop)\n");
}

TEST_F(MacroExpansion, TellsTheLatestChange) {
    add("a", "p.n = a", 0, 0);
    add("b", "a", 7, 7);
    EXPECT_EQ(resolve(), "");
    const NodePtr node = parse_condition("p.n = x and b").node;
    const auto size = table_.measure(*node, [](const Node&, const std::string&) {});
    EXPECT_EQ(size.changed, 7U);
}

} // namespace
} // namespace beeline::security::rules
