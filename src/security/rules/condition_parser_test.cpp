#include <gtest/gtest.h>

#include <string>

#include "security/rules/rule_set.h"

namespace beeline::security::rules {
namespace {

// The normal form, or "column: message".
std::string parse(std::string_view text, std::size_t depth_limit = 1000) {
    const Parsed parsed = parse_condition(text, depth_limit);
    if (!parsed.node)
        return std::to_string(parsed.error.position.line) + ":" +
               std::to_string(parsed.error.position.column) + ": " + parsed.error.message;
    std::string out = to_text(*parsed.node);
    const Parsed again = parse_condition(out, depth_limit);
    if (!again.node) return "does not parse again: " + out;
    EXPECT_EQ(to_text(*again.node), out);
    return out;
}

struct Row {
    std::string_view text;
    std::string_view result;
};

TEST(ConditionParser, TakesTheWholeGrammar) {
    static constexpr Row kRows[] = {
        {"proc.name = bash", "proc.name = bash"},
        {"proc.name=bash", "proc.name = bash"},
        {"proc.name == bash", "proc.name = bash"},
        {"proc.name != bash", "proc.name != bash"},
        {"a.b exists", "a.b exists"},
        {"a.b exists and c.d exists", "(a.b exists and c.d exists)"},
        {"  a.b\texists\r\n", "a.b exists"},
        {"a.b=1 or c.d=2 and e.f=3", "(a.b = 1 or (c.d = 2 and e.f = 3))"},
        {"(a.b=1 or c.d=2) and e.f=3", "((a.b = 1 or c.d = 2) and e.f = 3)"},
        {"not a.b=1 and c.d=2", "(not a.b = 1 and c.d = 2)"},
        {"not not a.b=1", "a.b = 1"},
        {"not not not a.b=1", "not a.b = 1"},
        {"not(a.b=1)", "not a.b = 1"},
        {"not not(a.b=1)", "a.b = 1"},
        {"not (not a.b=1)", "a.b = 1"},
        {"not(a.b=1 or b.c=2)and(c.d=3)or(d.e=4)",
         "((not (a.b = 1 or b.c = 2) and c.d = 3) or d.e = 4)"},
        {"spawned_process and not in_container", "(spawned_process and not in_container)"},
        {"notable or order", "(notable or order)"},
        {"(m)", "m"},
        {"((a.b=1))", "a.b = 1"},
        {"fd.num >= 0", "fd.num >= 0"},
        {"fd.num>=-1", "fd.num >= -1"},
        {"fd.num<1.5e+3", "fd.num < 1.5e+3"},
        {"fd.num <= 0x1F", "fd.num <= 0x1F"},
        {"fd.num > val(fd.dev)", "fd.num > val(fd.dev)"},
        {"len(proc.args) > 3", "len(proc.args) > 3"},
        {"a.b in (x, y,z)", "a.b in (x, y, z)"},
        {"a.b in(x)", "a.b in (x)"},
        {"a.b in ()", "a.b in ()"},
        {"a.b in ( )", "a.b in ()"},
        {"a.b in shells", "a.b in (shells)"},
        {"a.b intersects (x, \"y z\")", "a.b intersects (x, \"y z\")"},
        {"fd.name pmatch (/etc, '/usr/lib')", "fd.name pmatch (/etc, \"/usr/lib\")"},
        {"a.b in val(c.d)", "a.b in val(c.d)"},
        {"a.b = val(proc.aname[2])", "a.b = val(proc.aname[2])"},
        {"a.b = toupper(c.d)", "a.b = toupper(c.d)"},
        {"tolower( proc.name )=bash", "tolower(proc.name) = bash"},
        {"b64(basename(proc.exe)) contains x", "b64(basename(proc.exe)) contains x"},
        {"join(\",\", proc.args) = 'a'", "join(\",\", proc.args) = \"a\""},
        {"concat(proc.name, \" \", 5) = x", "concat(proc.name, \" \", \"5\") = x"},
        {"join(':', (proc.name, 'x', 1)) = x", "join(\":\", (proc.name, \"x\", \"1\")) = x"},
        {"len(()) = 0", "len(()) = 0"},
        {"getopt(proc.args, \"a:b\")[a] = x", "getopt(proc.args, \"a:b\")[a] = x"},
        {"proc.name = oneof (a, b)", "proc.name = oneof (a, b)"},
        {"proc.name != allof(a, b)", "proc.name != allof (a, b)"},
        {"proc.name startswith anyof names", "proc.name startswith anyof (names)"},
        {"proc.name = oneof", "proc.name = oneof"},
        {"proc.name = anyof and m", "(proc.name = anyof and m)"},
        {"proc.name = val", "proc.name = val"},
        {"proc.cmdline contains runc:[0:PARENT]", "proc.cmdline contains runc:[0:PARENT]"},
        {"a.b glob /x/*", "a.b glob /x/*"},
        {"a.b iglob X and a.b icontains Y", "(a.b iglob X and a.b icontains Y)"},
        {"a.b bcontains 00ff or a.b bstartswith CAFE",
         "(a.b bcontains 00ff or a.b bstartswith CAFE)"},
        {"a.b endswith \"\\ \"", "a.b endswith \"\\\\\""},
        {"a.b regex '[a-z]+\\x41\\/\\''", "a.b regex \"[a-z]+A/'\""},
        {"a.b = \"\\b\\f\\n\\r\\t\\\\ \\\"\"", "a.b = \"\\b\\f\\n\\r\\t\\\\ \\\"\""},
        {"a.b = \"\"", "a.b = \"\""},
        {"a.b[x.y/z] = 1", "a.b[x.y/z] = 1"},
        {"a.b[\"x y\"] = 1", "a.b[\"x y\"] = 1"},
        {"a.b[''] = 1", "a.b[\"\"] = 1"},
        {"a.b[/proc*] startswith /x", "a.b[/proc*] startswith /x"},
        {"a.b = <NA>", "a.b = <NA>"},
        {"a.b = \xc3\xa9", "a.b = \xc3\xa9"},
    };
    for (const Row& row : kRows)
        EXPECT_EQ(parse(row.text), row.result) << row.text;
}

TEST(ConditionParser, SaysWhatIsWrongAndWhere) {
    static constexpr Row kRows[] = {
        {"", "1:1: expected a check, a macro or '(', found the end of the condition"},
        {"a.b=1 and", "1:10: expected a check, a macro or '(', found the end of the condition"},
        {"a.b=1 and ", "1:11: expected a check, a macro or '(', found the end of the condition"},
        {"a.b=1 andm", "1:10: expected a blank after 'and', found 'm'"},
        {"a.b=1 or\n and c.d=2", "2:2: expected a check, a macro or '(', found 'and'"},
        {"a.b=1 c.d=2", "1:7: expected 'and', 'or' or the end of the condition, found 'c.d'"},
        {"(a.b=1", "1:7: expected ')', 'and' or 'or', found the end of the condition"},
        {"a.b=1)", "1:6: expected 'and', 'or' or the end of the condition, found ')'"},
        {"a.b", "1:4: expected an operator, found the end of the condition"},
        {"a.b like x", "1:5: expected an operator, found 'like'"},
        {"a. = x", "1:3: expected the next part of a field's name, found ' '"},
        {"name = x",
         "1:6: expected 'and', 'or' or ')' after a macro, found '='; a field has a dot in its "
         "name"},
        {"m contains x",
         "1:3: expected 'and', 'or' or ')' after a macro, found 'contains'; a field has a dot in "
         "its name"},
        {"a.b =", "1:6: expected a value, found the end of the condition"},
        {"a.b = (x)", "1:7: expected a value, found '('"},
        {"a.b contains", "1:13: expected a value after 'contains'"},
        {"a.b contains\"x\"", "1:13: expected a blank after 'contains', found '\"'"},
        {"a.b > x", "1:7: expected a number, found 'x'"},
        {"a.b > 5x", "1:8: expected 'and', 'or' or the end of the condition, found 'x'"},
        {"a.b in x, y", "1:9: expected 'and', 'or' or the end of the condition, found ','"},
        {"a.b in (x y)", "1:11: expected ',' or ')' after a value, found 'y'"},
        {"a.b in (x,)", "1:11: expected a value, found ')'"},
        {"a.b in (x", "1:10: expected ',' or ')' after a value, found the end of the condition"},
        {"a.b in", "1:7: expected '(' or the name of a list, found the end of the condition"},
        {"a.b = \"x", "1:7: this text has no closing quote"},
        {"a.b = 'x\\", "1:7: this text has no closing quote"},
        {"a.b = \"\\q\"", "1:8: unknown escape after the backslash: 'q'"},
        {"a.b = '\\\"'", "1:8: unknown escape after the backslash: '\"'"},
        {"a.b = \"\\x4\"", "1:8: unknown escape after the backslash: 'x4'"},
        {"a.b = \"\\x00\"", "1:8: a NUL byte cannot be part of a text"},
        {"a.b[] = 1", "1:5: expected an argument in the brackets, found ']'"},
        {"a.b[x = 1", "1:6: expected ']' after the argument, found ' '"},
        {"a.b = val(x)", "1:11: expected a field, found 'x'"},
        {"a.b = val()", "1:11: expected a field in val(), found ')'"},
        {"val(a.b) = 1", "1:4: expected 'and', 'or' or the end of the condition, found '('"},
        {"tolower() = x",
         "1:9: expected a field, a transformer, a number or text in quotes, found ')'"},
        {"len(a.b = 1", "1:9: expected ',' or ')' after an argument, found '='"},
        {"! a.b=1", "1:1: expected a check, a macro or '(', found '!'"},
        {"A.b=1 AND c.d=2", "1:7: expected 'and', 'or' or the end of the condition, found 'AND'"},
        {"not", "1:1: expected a check, a macro or '(', found 'not'"},
    };
    for (const Row& row : kRows)
        EXPECT_EQ(parse(row.text), row.result) << row.text;
    EXPECT_EQ(parse(std::string_view("a.b = \"x\0y\"", 11)),
              "1:9: a NUL byte cannot be part of a text");
}

TEST(ConditionParser, BoundsDepth) {
    const auto nested = [](std::size_t depth) {
        return std::string(depth, '(') + "a.b=1" + std::string(depth, ')');
    };
    EXPECT_EQ(parse(nested(1000)), "a.b = 1");
    EXPECT_EQ(parse(nested(1001)), "1:1002: nested deeper than 1000 levels");
    EXPECT_EQ(parse(nested(3), 2), "1:4: nested deeper than 2 levels");
    std::string deep;
    for (int i = 0; i < 2000; ++i)
        deep += "len(";
    EXPECT_EQ(parse(deep), "1:4004: nested deeper than 1000 levels");
    EXPECT_NE(parse(std::string(1'000'000, '(')), "");
}

TEST(ConditionParser, KeepsPlaces) {
    const Parsed parsed = parse_condition("a.b = 1 and\n  c.d in (x,\n  \"y\")");
    ASSERT_TRUE(parsed.node);
    const Node& check = *parsed.node->children.at(1);
    EXPECT_EQ(check.position.line, 2U);
    EXPECT_EQ(check.position.column, 3U);
    EXPECT_EQ(check.position.offset, 14U);
    EXPECT_EQ(check.values.at(1).position.line, 3U);
    EXPECT_EQ(check.values.at(1).position.column, 3U);
    EXPECT_TRUE(check.values.at(1).quoted);
    EXPECT_FALSE(check.values.at(0).quoted);
    const NodePtr copy = clone(*parsed.node);
    EXPECT_EQ(to_text(*copy), to_text(*parsed.node));
    EXPECT_EQ(copy->children.at(1)->values.at(1).position.column, 3U);
}

} // namespace
} // namespace beeline::security::rules
