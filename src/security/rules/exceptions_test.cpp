#include "security/rules/exceptions.h"

#include <gtest/gtest.h>

#include "security/rules/test_catalog.h"

namespace beeline::security::rules {
namespace {

// What a rule with these exceptions (YAML, indented by four) becomes, or the first message.
std::string with(const std::string& exceptions) {
    const std::string text = "- rule: r\n  desc: d\n  condition: evt.type = open or proc.pid = 1\n"
                             "  output: o\n  priority: INFO\n  exceptions:\n" +
                             exceptions;
    const LoadResult result = load({{"f", text, ""}}, TestCatalog());
    if (!result.successful()) return result.files.front().errors.front().message;
    const std::string condition = to_text(*result.set.rules.at(0).condition);
    constexpr std::string_view kBefore = "((evt.type = open or proc.pid = 1) and not ";
    if (!condition.starts_with(kBefore)) return condition;
    return condition.substr(kBefore.size(), condition.size() - kBefore.size() - 1);
}

TEST(RuleExceptions, BecomeNegations) {
    struct Row {
        std::string_view keys;
        std::string_view result;
    };
    static constexpr Row kRows[] = {
        {"fields: proc.name, values: [a, b c]", "proc.name in (a, \"b c\")"},
        {"fields: proc.name, comps: intersects, values: [a]", "proc.name intersects (a)"},
        {"fields: fd.name, comps: startswith allof, values: [a]", "fd.name startswith allof (a)"},
        {"fields: [proc.name], values: [[a], [b]]", "(proc.name = a or proc.name = b)"},
        {"fields: [proc.name, fd.num], comps: [in, '>'], values: [[[a, b], 5]]",
         "(proc.name in (a, b) and fd.num > 5)"},
        {"fields: [proc.name, fd.num], comps: [exists, '='], values: [['', 5]]",
         "(proc.name exists and fd.num = 5)"},
        {"fields: [proc.name], comps: [in], values: [[a], ['(b, c)']]",
         "(proc.name in (a) or proc.name in (b, c))"},
        {"fields: ['len(proc.args)'], values: [[3]]", "len(proc.args) = 3"},
        {"fields: proc.name", "(evt.type = open or proc.pid = 1)"},
        {"fields: proc.name, values: []", "(evt.type = open or proc.pid = 1)"},
    };
    for (const Row& row : kRows)
        EXPECT_EQ(with("    - {name: e, " + std::string(row.keys) + "}\n"), row.result) << row.keys;
}

TEST(RuleExceptions, KeepValuesFromBecomingConditions) {
    EXPECT_EQ(with("    - {name: e, fields: [proc.name], values: [['x) or (proc.name=y']]}\n"),
              "proc.name = \"x) or (proc.name=y\"");
    EXPECT_EQ(with("    - {name: e, fields: [proc.name], values: [['x\" or \"']]}\n"),
              "proc.name = \"x\\\" or \\\"\"");
}

} // namespace
} // namespace beeline::security::rules
