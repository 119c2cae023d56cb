#include "security/rules/list_expansion.h"

#include <gtest/gtest.h>

namespace beeline::security::rules {
namespace {

const SourceFile& file() {
    static const SourceFile instance{"f", ""};
    return instance;
}

TEST(ListExpansion, ReplacesWholeWords) {
    ListExpander lists;
    lists.add("l", {"a", "b"});
    lists.add("one", {"x"});
    lists.add("none", {});
    struct Row {
        std::string_view before;
        std::string_view after;
    };
    // One blank on each side, whatever was there.
    static constexpr Row kRows[] = {
        {"p in (l)", "p in ( a, b )"},
        {"p in (  l\n\t)", "p in ( a, b )"},
        {"p in (c,l,d)", "p in (c, a, b ,d)"},
        {"l", " a, b "},
        {"p=one", "p= x "},
        {"p = one and q", "p = x and q"},
        {"ll l.x xl l[1] l-", "ll l.x xl l[1] l-"},
        {"'l' \"( l )\" x", "'l' \"( l )\" x"},
        {"\"a\\\" l\" l", "\"a\\\" l\" a, b "},
        {"'open l", "'open l"},
        {"p in (none)", "p in (  )"},
        {"p in (none, a)", "p in (   a)"},
        {"p in (a, none)", "p in (a  )"},
        {"p in (a, none, b)", "p in (a  , b)"},
        {"p in l and q", "p in (a, b) and q"},
        {"p in none", "p in () "},
        {"p = anyof l", "p = anyof (a, b) "},
        {"p in(l)", "p in( a, b )"},
        {"p in (l) and q in (l)", "p in ( a, b ) and q in ( a, b )"},
    };
    for (const Row& row : kRows) {
        const Scalar scalar{&file(), std::string(row.before), {}};
        bool too_big = false;
        EXPECT_EQ(lists.expand(MappedText(scalar), too_big).text(), row.after) << row.before;
        EXPECT_FALSE(too_big);
    }
}

TEST(ListExpansion, PutsItemsInTheListsOfOthers) {
    ListExpander lists;
    const auto inner = lists.add("inner", {"a", "outer", "inner"});
    const auto outer = lists.add("outer", {"inner", "b c"});
    const auto unused = lists.add("unused", {"inner"});
    const Scalar scalar{&file(), "(outer)", {}};
    bool too_big = false;
    EXPECT_EQ(lists.expand(MappedText(scalar), too_big).text(), "( a, outer, inner, \"b c\" )");
    EXPECT_TRUE(lists.used(inner));
    EXPECT_TRUE(lists.used(outer));
    EXPECT_FALSE(lists.used(unused));
}

TEST(ListExpansion, QuotesWhatIsNoWord) {
    EXPECT_EQ(condition_value("a"), "a");
    EXPECT_EQ(condition_value("runc:[0:PARENT]"), "runc:[0:PARENT]");
    EXPECT_EQ(condition_value(""), "\"\"");
    EXPECT_EQ(condition_value("a b"), "\"a b\"");
    EXPECT_EQ(condition_value("a\\n b"), "\"a\\n b\"");
    EXPECT_EQ(condition_value("a b\\"), "\"a b\\\\\"");
    EXPECT_EQ(condition_value("\"a b\""), "\"a b\"");
    EXPECT_EQ(condition_value("'a b'"), "'a b'");
    EXPECT_EQ(condition_value("'a' 'b'"), "\"'a' 'b'\"");
    EXPECT_EQ(condition_value("say \"x\""), "\"say \\\"x\\\"\"");
    EXPECT_EQ(condition_value("\""), "\"\\\"\"");
    EXPECT_EQ(condition_value("a=b"), "\"a=b\"");
    EXPECT_EQ(condition_value("f(x)"), "\"f(x)\"");
    EXPECT_EQ(condition_value("a,b"), "\"a,b\"");
}

} // namespace
} // namespace beeline::security::rules
