#include "source/yaml.h"

#include <gtest/gtest.h>

namespace beeline::source::yaml {
namespace {

std::string error_of(std::string_view text, const Limits& limits = {}) {
    const auto documents = read(text, "f.yaml", limits);
    return documents ? "" : documents.error().message;
}

std::string repeat(std::string_view text, std::size_t times) {
    std::string out;
    for (std::size_t i = 0; i < times; ++i)
        out += text;
    return out;
}

struct BadText {
    std::string_view text;
    std::string_view error; // after "f.yaml:"
};

TEST(YamlRead, RefusesWhatIsNotStrictYaml) {
    const BadText rows[] = {
        {"a: [1, 2\n", "2:1: not valid YAML: end of sequence flow not found"},
        {"a: [", "1:5: not valid YAML: end of sequence flow not found"},
        {"b: {}\n---\na: {b: [\n", "4:1: not valid YAML: end of sequence flow not found"},
        {"a: b\nc\n", "2:1: expected ':' after 'c'"},
        {"a: b\nc #: [", "2:1: expected ':' after 'c'"},
        {"- a: b\n  \"c\"\n- x\n", "2:3: not valid YAML: end of map not found"},
        {"- a: b\n  c\n- x\n", "2:3: expected ':' after 'c'"},
        {"{a: b, c}\n", "1:8: expected ':' after 'c'"},
        {"? a\n", "1:3: expected ':' after 'a'"},
        {"a: b: c\n", "1:5: not valid YAML: illegal map value"},
        {"a:\n\tb: c\n", "2:3: not valid YAML: illegal map value (tabs cannot indent, use spaces)"},
        {"a: @b\n", "1:4: not valid YAML: unknown token"},
        {"a: 1\na: 2\n", "2:1: a: duplicate key, it is already on line 1"},
        {"x:\n  - {a: 1, b: 2, \"a\": 3}\n",
         "2:18: x[0].a: duplicate key, it is already on line 2"},
        {"a: &x b\n", "1:4: anchors and aliases are not accepted: write the value out"},
        {"a: &x [b]\nc: *x\n", "1:4: anchors and aliases are not accepted: write the value out"},
        {"a: *x\n", "1:4: not valid YAML: the referenced anchor is not defined"},
        {"a: !!str 5\n", "1:4: tags are not accepted: use quotes to make a string"},
        {"a: !foo {}\n", "1:4: tags are not accepted: use quotes to make a string"},
        {"%YAML 1.2\n---\na: b\n", "1:1: directives are not accepted"},
        {"a: b\n...\n\n%TAG ! x\n---\n", "4:1: directives are not accepted"},
        {"? [a]\n: b\n", "1:3: expected a key that is a plain string"},
        {": b\n", "1:1: expected a key that is a plain string"},
        {"- a\nb: c\n", "2:1: unexpected content after the end of the document: check the "
                        "indentation, or separate documents with a "
                        "line '---'"},
        {"{a: 1} {b: 2}\n", "1:8: unexpected content after the end of the document: check the "
                            "indentation, or separate documents with a "
                            "line '---'"},
        {"a: 1\n... b\n", "2:4: expected nothing but a comment after '...'"},
        {"a: \"b\n", "1:4: this string has no closing quote"},
        {"a: b\n---\nc: 'it''s\n", "3:4: this string has no closing quote"},
        {"a: \"b\\\"\n", "1:4: this string has no closing quote"},
        {"a: 'x\n---\n y'\n", "1:4: this string has no closing quote"},
        {"a: b\rc: d\n", "1:5: control character 0x0d is not accepted"},
        {std::string_view("a: b\nc: \0\n", 10), "2:4: control character 0x00 is not accepted"},
        {"a: \x04\n", "1:4: control character 0x04 is not accepted"},
        {"a: \x7f\n", "1:4: control character 0x7f is not accepted"},
        {"a: \xff\n", "1:4: expected UTF-8 text, found the byte 0xff"},
        {"\n\na: \xc3\n", "3:4: expected UTF-8 text, found the byte 0xc3"},
        {"a: \xed\xa0\x80\n", "1:4: expected UTF-8 text, found the byte 0xed"},
        {"a: \"\\ud800\"\n", "1:11: not valid YAML: invalid unicode: 55296"},
    };
    for (const auto& row : rows)
        EXPECT_EQ(error_of(row.text), "f.yaml:" + std::string(row.error)) << row.text;
}

TEST(YamlRead, IsBounded) {
    EXPECT_EQ(error_of("a: 12345\n", {.bytes = 8}),
              "f.yaml: 9 bytes are more than the 8 that are accepted");
    EXPECT_EQ(error_of("[a, b, c]", {.values = 3}),
              "f.yaml:1:8: more than 3 values in one document");
    EXPECT_EQ(error_of("a: {b: {c: d}}", {.depth = 2}), "f.yaml:1:8: nested deeper than 2 levels");
    EXPECT_EQ(error_of("a: {b: {c: d}}", {.depth = 3}), "");
    // Deep enough to end a parser that recurses.
    for (const auto* unit : {"[", "{a: ", "- ", "? ", "[a, ", "{? "}) {
        EXPECT_NE(error_of(repeat(unit, 20'000)), "") << unit;
    }
    std::string laughs = "a0: &a0 [x, x]\n";
    for (int i = 1; i < 30; ++i)
        laughs += fmt::format("a{}: &a{} [*a{}, *a{}]\n", i, i, i - 1, i - 1);
    EXPECT_EQ(error_of(laughs),
              "f.yaml:1:5: anchors and aliases are not accepted: write the value out");
}

TEST(YamlRead, SplitsDocuments) {
    const auto documents = read(
        "# head\n---\n# one\na: 1\n\n--- # mark\n---\n---\n~\n--- {b: 2}\n...\n# tail\nc: 3\n...\n",
        "f.yaml");
    ASSERT_TRUE(documents) << documents.error().message;
    ASSERT_EQ(documents->size(), 3U);
    EXPECT_EQ((*documents)[0].text(), "# one\na: 1\n");
    EXPECT_EQ((*documents)[1].text(), "--- {b: 2}\n");
    EXPECT_EQ((*documents)[2].text(), "# tail\nc: 3\n");
    EXPECT_EQ((*documents)[2].root().line(), 13U);
    EXPECT_EQ((*documents)[1].root().column(), 5U);
    for (const auto* empty : {"", "\n\n", "# only\n", "---\n...\n---\n", "\xef\xbb\xbf"}) {
        const auto none = read(empty, "f.yaml");
        ASSERT_TRUE(none) << none.error().message;
        EXPECT_TRUE(none->empty()) << empty;
    }
}

TEST(YamlRead, KeepsTextOfStoredDocuments) {
    // What was stored is read back as the same text.
    for (const auto* text :
         {"a: 1\n", "--- {b: 2}\n", "# c\r\na: |\r\n  x\n", "{\"a\":\n\t[1]}\n"}) {
        const auto documents = read(text, "f.yaml");
        ASSERT_TRUE(documents) << documents.error().message;
        ASSERT_EQ(documents->size(), 1U);
        EXPECT_EQ(documents->front().text(), text);
    }
}

TEST(YamlRead, TakesByteOrderMarkWindowsLinesAndJson) {
    const auto documents =
        read("\xef\xbb\xbf{\r\n\t\"a\": [true, -7, \"caf\xc3\xa9\\u00e9\\/\"]\r\n}\r\n", "f.json");
    ASSERT_TRUE(documents) << documents.error().message;
    const auto map = documents->front().root().map({"a"});
    ASSERT_TRUE(map);
    const auto items = map->list("a");
    ASSERT_TRUE(items);
    EXPECT_EQ(*(*items)[0].boolean(), true);
    EXPECT_EQ(*(*items)[1].integer(-10, 10), -7);
    EXPECT_EQ(*(*items)[2].string(), "caf\xc3\xa9\xc3\xa9/");
}

class YamlNode : public testing::Test {
protected:
    Node root(std::string_view text) {
        auto documents = read(text, "f.yaml");
        EXPECT_TRUE(documents) << documents.error().message;
        documents_ = std::move(*documents);
        return documents_.front().root();
    }
    // The value at key `v`.
    Node value(std::string_view text) {
        const auto whole = root(text);
        return whole.get("v").value_or(whole);
    }

    std::vector<Document> documents_;
};

template <typename T>
std::string message(const Result<T>& result) {
    return result ? "" : result.error().message;
}

TEST_F(YamlNode, StringsAreNeverGuessed) {
    for (const auto* text : {"a", "1.2.3", "10.0.0.0/8", "2026-11-25", "nope", "y", "0x", "1e",
                             "e1", ".", "+", "1.e", "\"7\"", "'true'", "|\n  7"}) {
        EXPECT_TRUE(value(fmt::format("v: {}\n", text)).string()) << text;
    }
    for (const auto* number : {"7", "-7", "+7", "007", "1.20", "1.", ".5", "1e3", "1E-3", "0x1f",
                               "0o17", "0b1", ".inf", "-.INF", ".nan"}) {
        EXPECT_EQ(
            message(value(fmt::format("v: {}\n", number)).string()),
            fmt::format("f.yaml:1:4: v: expected a string, found the number {}: put it in quotes",
                        number));
    }
    for (const auto* word : {"true", "False", "YES", "no", "On", "off"}) {
        EXPECT_EQ(
            message(value(fmt::format("v: {}\n", word)).string()),
            fmt::format("f.yaml:1:4: v: expected a string, found the boolean {}: put it in quotes",
                        word));
    }
    EXPECT_EQ(message(value("v: [a]\n").string()),
              "f.yaml:1:4: v: expected a string, found a list");
    EXPECT_EQ(message(value("v: \"a\\0b\"\n").string()),
              "f.yaml:1:4: v: a string must not contain the character NUL");
}

TEST_F(YamlNode, IntegersHaveARange) {
    EXPECT_EQ(*value("v: 65535\n").integer(1, 65535), 65535);
    EXPECT_EQ(*value("v: -9223372036854775808\n").integer(INT64_MIN, INT64_MAX), INT64_MIN);
    for (const auto* text : {"0", "65536", "9223372036854775808", "-1"}) {
        EXPECT_EQ(
            message(value(fmt::format("v: {}\n", text)).integer(1, 65535)),
            fmt::format("f.yaml:1:4: v: expected an integer from 1 to 65535, found the number {}",
                        text));
    }
    for (const auto* text : {"080", "0x50", "80.0", "8e1", "+80"}) {
        EXPECT_FALSE(value(fmt::format("v: {}\n", text)).integer(1, 65535)) << text;
    }
    EXPECT_EQ(message(value("v: \"80\"\n").integer(1, 90)),
              "f.yaml:1:4: v: expected an integer from 1 to 90, found the string \"80\": remove "
              "the quotes");
    EXPECT_EQ(message(value("v: {}\n").integer(1, 90)),
              "f.yaml:1:4: v: expected an integer from 1 to 90, found a mapping");
}

TEST_F(YamlNode, Booleans) {
    EXPECT_EQ(*value("v: true\n").boolean(), true);
    EXPECT_EQ(*value("v: false\n").boolean(), false);
    EXPECT_EQ(message(value("v: yes\n").boolean()),
              "f.yaml:1:4: v: expected true or false, found the boolean yes");
    EXPECT_EQ(message(value("v: 'true'\n").boolean()),
              "f.yaml:1:4: v: expected true or false, found the string \"true\"");
}

TEST_F(YamlNode, Lists) {
    EXPECT_EQ(*value("v: [a, b]\n").strings(), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(message(value("v: a\n").list()), "f.yaml:1:4: v: expected a list, found 'a'");
    EXPECT_EQ(message(value("v: [a, 1]\n").strings()),
              "f.yaml:1:8: v[1]: expected a string, found the number 1: put it in quotes");
    EXPECT_EQ(message(value("v:\n  - a\n  -\n  - b\n").list()),
              "f.yaml:3:3: v[1]: an item of a list must not be empty");
    EXPECT_EQ(message(value("v: [null]\n").list()),
              "f.yaml:1:5: v[0]: an item of a list must not be empty");
}

TEST_F(YamlNode, MapsKnowTheirFields) {
    const auto map = root("name: a\nport: 80\non: true\nnothing:\nwords: [x]\nkind: Big\n")
                         .map({"name", "port", "on", "nothing", "words", "kind", "absent"});
    ASSERT_TRUE(map);
    EXPECT_EQ(*map->string("name"), "a");
    EXPECT_EQ(*map->string_or("absent", "b"), "b");
    EXPECT_EQ(*map->string_or("nothing", "c"), "c");
    EXPECT_EQ(*map->integer("port", 1, 90), 80);
    EXPECT_EQ(*map->integer_or("absent", 1, 90, 7), 7);
    EXPECT_EQ(*map->boolean_or("on", false), true);
    EXPECT_EQ(*map->boolean_or("absent", true), true);
    EXPECT_EQ(map->strings("words")->size(), 1U);
    EXPECT_TRUE(map->list("absent")->empty());
    EXPECT_FALSE(map->map("absent", {})->has_value());
    EXPECT_EQ(*map->choice_or("kind", {"Big", "Small"}, "Small"), "Big");
    EXPECT_EQ(*map->choice_or("absent", {"Big", "Small"}, "Small"), "Small");
    EXPECT_EQ(message(map->choice_or("name", {"Big", "Small", "Tiny"}, "")),
              "f.yaml:1:7: name: expected Big, Small or Tiny, found 'a'");
    EXPECT_EQ(message(map->need("absent")), "f.yaml:1:1: absent: this field is required");
    EXPECT_EQ(message(map->need("nothing")), "f.yaml:4:1: nothing: this field is required");
    EXPECT_EQ(Failure(map->fail_of("port", "no {}", 1)).value().message, "f.yaml:2:1: port: no 1");
}

TEST_F(YamlNode, UnknownFieldsAreErrors) {
    EXPECT_EQ(message(root("conntrak: 1\n").map({"conntrack", "node"})),
              "f.yaml:1:1: conntrak: unknown field: did you mean 'conntrack'?");
    EXPECT_EQ(message(root("node: a\nNODE: b\n").map({"node"})),
              "f.yaml:2:1: NODE: unknown field: did you mean 'node'?");
    EXPECT_EQ(message(root("frm: a\n").map({"from", "to"})),
              "f.yaml:1:1: frm: unknown field: did you mean 'from'?");
    EXPECT_EQ(message(root("form: a\n").map({"from", "to"})),
              "f.yaml:1:1: form: unknown field: did you mean 'from'?");
    EXPECT_EQ(message(root("xyz: a\n").map({"from", "to", "ports"})),
              "f.yaml:1:1: xyz: unknown field: expected from, to or ports");
    EXPECT_EQ(message(root("- a\n").map({"from"})), "f.yaml:1:1: expected a mapping, found a list");
}

TEST_F(YamlNode, Entries) {
    const auto entries = root("b: 1\n\"a/b\": x\n").entries();
    ASSERT_TRUE(entries);
    ASSERT_EQ(entries->size(), 2U);
    EXPECT_EQ((*entries)[0].first, "b");
    EXPECT_EQ((*entries)[1].second.path(), "[\"a/b\"]");
    EXPECT_EQ(message(value("v: {a: x, b: }\n").entries()),
              "f.yaml:1:11: v.b: the value is missing");
}

TEST_F(YamlNode, WritesYamlThatReadsTheSame) {
    const std::string_view text =
        "a: {b: [], c: {}, d: '7', e: 7, f: \"x\\n\\\"y\\\"\\t\\\\\"}\n"
        "list:\n- - 1\n  - {x: ~}\n- |\n  two\n  lines\n\"q: r\": plain words # here\n";
    const auto first = root(text).to_yaml();
    EXPECT_EQ(first, "a:\n  b: []\n  c: {}\n  d: \"7\"\n  e: 7\n  f: "
                     "\"x\\n\\\"y\\\"\\x09\\\\\"\nlist:\n  -\n    - 1\n    -\n"
                     "      x:\n  - \"two\\nlines\\n\"\n\"q: r\": plain words\n");
    EXPECT_EQ(root(first).to_yaml(), first);
}

TEST(YamlShown, CutsAndCleans) {
    EXPECT_EQ(shown("a\nb\x7f"), "a?b?");
    EXPECT_EQ(shown(std::string(63, 'a') + "\xc3\xa9"), std::string(63, 'a') + "...");
    EXPECT_EQ(shown(std::string(64, 'a')), std::string(64, 'a'));
}

TEST(YamlUtf8, FindsTheFirstBadByte) {
    EXPECT_EQ(invalid_utf8("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), std::string_view::npos);
    EXPECT_EQ(invalid_utf8("a\xc0\x80"), 1U); // not the shortest form
    EXPECT_EQ(invalid_utf8("\xe0\x80\x80"), 0U);
    EXPECT_EQ(invalid_utf8("\xf0\x80\x80\x80"), 0U);
    EXPECT_EQ(invalid_utf8("\xf4\x90\x80\x80"), 0U); // above U+10FFFF
    EXPECT_EQ(invalid_utf8("\xed\xbf\xbf"), 0U);     // surrogate
    EXPECT_EQ(invalid_utf8("ab\xe2\x82"), 2U);
    EXPECT_EQ(invalid_utf8("\x80"), 0U);
}

} // namespace
} // namespace beeline::source::yaml
