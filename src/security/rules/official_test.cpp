// The official rule files, copied unchanged.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/file.h"
#include "security/rules/rule_set.h"
#include "security/rules/test_catalog.h"

namespace beeline::security::rules {
namespace {

const std::string kFolder = BEELINE_TEST_DATA "/rules/falco/";

LoadResult load_official(const std::vector<std::string>& names) {
    std::vector<std::string> paths;
    paths.reserve(names.size());
    for (const std::string& name : names)
        paths.push_back(kFolder + name);
    auto files = read_files(paths);
    EXPECT_TRUE(files.has_value());
    return load(files.value_or(std::vector<File>()), TestCatalog());
}

std::map<std::string, int> codes(const LoadResult& result) {
    std::map<std::string, int> counts;
    for (const FileResult& file : result.files) {
        for (const Problem& problem : file.errors)
            ++counts[problem.code];
        for (const Problem& problem : file.warnings)
            ++counts[problem.code];
    }
    return counts;
}

const std::string kStable = "falco_rules.yaml";
const std::string kIncubating = "falco-incubating_rules.yaml";
const std::string kSandbox = "falco-sandbox_rules.yaml";

TEST(OfficialRules, EachFileLoadsAlone) {
    for (const auto& [name, rules] :
         std::map<std::string, std::size_t>{{kStable, 25}, {kIncubating, 31}, {kSandbox, 37}}) {
        const LoadResult result = load_official({name});
        EXPECT_TRUE(result.successful()) << to_text(result);
        EXPECT_EQ(result.set.rules.size(), rules);
    }
}

TEST(OfficialRules, AllLoadTogether) {
    const LoadResult result = load_official({kStable, kIncubating, kSandbox});
    ASSERT_TRUE(result.successful()) << to_text(result);
    EXPECT_EQ(result.set.rules.size(), 93U);
    EXPECT_EQ(codes(result), (std::map<std::string, int>()));
    std::map<std::string, int> priorities;
    std::set<std::string> tags;
    int disabled = 0;
    for (const Rule& rule : result.set.rules) {
        ++priorities[std::string(model::priority_name(rule.priority))];
        tags.insert(rule.tags.begin(), rule.tags.end());
        disabled += rule.enabled ? 0 : 1;
        EXPECT_EQ(rule.source, "syscall");
        const std::string text = to_text(*rule.condition);
        const Parsed again = parse_condition(text);
        ASSERT_TRUE(again.node) << rule.name << ": " << again.error.message;
        EXPECT_EQ(to_text(*again.node), text);
    }
    const std::map<std::string, int> expected = {
        {"Notice", 33}, {"Warning", 29}, {"Critical", 13}, {"Error", 12}, {"Informational", 6}};
    EXPECT_EQ(priorities, expected);
    EXPECT_EQ(tags.size(), 78U);
    EXPECT_EQ(disabled, 12);
    EXPECT_EQ(result.set.required_plugins,
              (std::map<std::string, std::string>{{"container", "0.4.0"}}));
}

} // namespace
} // namespace beeline::security::rules
