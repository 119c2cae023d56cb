// Files that try to take all memory or time: each ends with one clear error.
#include <gtest/gtest.h>

#include <functional>

#include <fmt/format.h>

#include "security/rules/rule_set.h"
#include "security/rules/test_catalog.h"
#include "security/rules/yaml.h"

namespace beeline::security::rules {
namespace {

std::string repeat(std::size_t count, const std::function<std::string(std::size_t)>& make) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i)
        out += make(i);
    return out;
}
std::string repeat(std::size_t count, const std::string& text) {
    return repeat(count, [&](std::size_t) { return text; });
}

// "line: message" of the first error.
std::string first_error(const std::string& text) {
    const LoadResult result = load({{"f", text, ""}}, TestCatalog());
    if (result.successful()) return "";
    const Problem& problem = result.files.front().errors.front();
    return fmt::format("{}: {}", problem.locations.back().position.line, problem.message);
}

constexpr std::string_view kRule = "- rule: r\n  desc: d\n  output: o\n  priority: INFO\n";

TEST(RuleLimits, BoundYaml) {
    EXPECT_EQ(first_error(std::string(100'000, '[')), "1: nested deeper than 64 levels");
    EXPECT_EQ(first_error(repeat(100'000, "- ")), "1: nested deeper than 64 levels");
    EXPECT_EQ(first_error(std::string((16U << 20) + 1, '#')),
              "1: 16777217 bytes are more than the 16777216 that are accepted");
    // Ten aliases of ten aliases of ...
    EXPECT_EQ(first_error("- &a0 [x]\n" + repeat(12,
                                                 [](std::size_t i) {
                                                     return fmt::format(
                                                         "- &a{} [{}x]\n", i + 1,
                                                         repeat(10, fmt::format("*a{}, ", i)));
                                                 })),
              "7: more than 2000000 values in one file");
    const SourceFile file{"f", "- list: l\n  items: [" + repeat(100, "a, ") + "a]\n"};
    const yaml::Limits limits{.bytes = 1000, .depth = 10, .values = 50};
    EXPECT_EQ(yaml::parse(file, limits).problem, "more than 50 values in one file");
}

TEST(RuleLimits, BoundMacros) {
    const std::string doubling =
        "- macro: m0\n  condition: proc.name = a\n" + repeat(60, [](std::size_t i) {
            return fmt::format("- macro: m{}\n  condition: m{} and m{}\n", i + 1, i, i);
        });
    EXPECT_EQ(first_error(doubling),
              "36: it grows to more than 200000 parts once macros are expanded");
    const std::string chain =
        "- macro: m0\n  condition: proc.name = a\n" + repeat(50'000, [](std::size_t i) {
            return fmt::format("- macro: m{}\n  condition: m{}\n", i + 1, i);
        });
    EXPECT_EQ(first_error(chain), "2002: nested deeper than 1000 levels with its macros");
    // Each refers to the next: as deep when they are resolved from the first on.
    const std::string backwards =
        repeat(3000,
               [](std::size_t i) {
                   return fmt::format("- macro: m{}\n  condition: proc.name = a\n", i);
               }) +
        repeat(2999, [](std::size_t i) {
            return fmt::format("- macro: m{}\n  append: true\n  condition: or m{}\n", i, i + 1);
        });
    EXPECT_NE(first_error(backwards).find("nested deeper than 1000 levels"), std::string::npos);
}

TEST(RuleLimits, BoundLists) {
    const std::string use = "- macro: m\n  condition: proc.name in (last)\n";
    const std::string doubling =
        "- list: l0\n  items: [a]\n" +
        repeat(60,
               [](std::size_t i) {
                   return fmt::format("- list: l{}\n  items: [l{}, l{}]\n", i + 1, i, i);
               }) +
        "- list: last\n  items: [l60]\n";
    EXPECT_EQ(first_error(doubling + use),
              "125: the lists in it grow too large or are nested too deep");
    const std::string chain =
        "- list: l0\n  items: [a]\n" +
        repeat(
            50'000,
            [](std::size_t i) { return fmt::format("- list: l{}\n  items: [l{}]\n", i + 1, i); }) +
        "- list: last\n  items: [l50000]\n";
    EXPECT_EQ(first_error(chain + use),
              "100005: the lists in it grow too large or are nested too deep");
    const std::string loop = "- list: a\n  items: [b, x]\n- list: b\n  items: [a, y]\n"
                             "- macro: m\n  condition: proc.name in (a)\n";
    EXPECT_EQ(first_error(loop), "");
    const std::string large =
        "- list: last\n  items: [" +
        repeat(20'000, [](std::size_t i) { return fmt::format("i{}, ", i); }) + "i]\n" +
        repeat(1000, [](std::size_t i) {
            return fmt::format("- macro: m{}\n  condition: proc.name in (last)\n", i);
        });
    EXPECT_NE(first_error(large).find("all conditions together grow to more than 5000000 parts"),
              std::string::npos);
}

TEST(RuleLimits, BoundConditions) {
    const auto with = [](const std::string& condition) {
        return std::string(kRule) + "  condition: " + condition + "\n";
    };
    EXPECT_EQ(first_error(with(std::string(100'000, '('))), "5: nested deeper than 1000 levels");
    EXPECT_EQ(first_error(with("evt.type = a" + repeat(100'001, " or evt.type = b"))),
              "5: it grows to more than 200000 parts once macros are expanded");
    EXPECT_EQ(first_error(with("evt.type = a" + repeat(50'000, " or evt.type = b"))), "");
    EXPECT_EQ(first_error(with(repeat(100'000, "not ") + "evt.type = a")), "");
}

// About ten megabytes of ordinary rules.
TEST(RuleLimits, LoadLargeFiles) {
    std::string text = "- list: names\n  items: [a, b, c, d, e, f, g, h]\n"
                       "- macro: spawned\n  condition: (evt.type in (execve, execveat))\n";
    std::size_t rules = 0;
    for (; text.size() < 10'000'000; ++rules) {
        text +=
            fmt::format("- rule: Rule number {}\n"
                        "  desc: >\n    What it looks for and why, in some words.\n"
                        "  condition: >\n"
                        "    spawned and proc.name in (names) and not proc.pname in (names, x)\n"
                        "    and (proc.cmdline contains \"one {}\" or fd.name startswith /etc)\n"
                        "  output: Something (user=%user.name command=%proc.cmdline)\n"
                        "  priority: WARNING\n  tags: [container, process]\n",
                        rules, rules);
    }
    const LoadResult result = load({{"large.yaml", text, ""}}, TestCatalog());
    EXPECT_TRUE(result.successful());
    EXPECT_EQ(result.set.rules.size(), rules);
}

TEST(RuleLimits, BoundProblems) {
    const std::string text = repeat(10'000, [](std::size_t i) {
        return fmt::format("- macro: m{}\n  condition: evt.type = a and\n", i);
    });
    const LoadResult result = load({{"f", text, ""}}, TestCatalog());
    EXPECT_EQ(result.files.front().errors.size(), 200U);
}

} // namespace
} // namespace beeline::security::rules
