// Rule files in tests/data/rules/cases: NAME.yaml, or a folder NAME of files that are loaded in alphabetical order. What
// people see of each is in NAME.txt: problems with their places, then the rules. BEELINE_UPDATE=1 writes those anew.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "security/rules/report.h"
#include "security/rules/rule_set.h"
#include "security/rules/test_catalog.h"

namespace beeline::security::rules {
namespace {

const std::string kFolder = BEELINE_TEST_DATA "/rules/cases";

// Name of each case -> its files, named without folders.
std::map<std::string, std::vector<File>> cases(const std::string& folder) {
    std::map<std::string, std::vector<File>> result;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (!entry.is_directory() && entry.path().extension() != ".yaml") continue;
        auto files = read_files({entry.path().string()});
        EXPECT_TRUE(files && !files->empty()) << entry.path();
        if (!files) continue;
        for (File& file : *files)
            file.name = std::filesystem::path(file.name).filename();
        result.emplace(entry.path().stem(), std::move(*files));
    }
    return result;
}

std::string describe(const Rule& rule) {
    std::string out =
        fmt::format("\n{} {}: {}{}\n", rule.source, model::priority_name(rule.priority), rule.name,
                    rule.enabled ? "" : " (disabled)");
    out += fmt::format("  at {}:{}:{}: {}\n", rule.file, rule.position.line, rule.position.column,
                       rule.description);
    out += fmt::format("  output: {}\n", rule.output);
    out += fmt::format("  condition: {}\n", to_text(*rule.condition));
    for (const std::string& tag : rule.tags)
        out += fmt::format("  tag: {}\n", tag);
    if (rule.capture) out += fmt::format("  capture: {} ms\n", rule.capture_duration_ms);
    return out;
}

std::string shortened(std::string text) {
    constexpr std::size_t kEnd = 120;
    if (text.size() > 3 * kEnd) text.replace(kEnd, text.size() - 2 * kEnd, " ... ");
    return text;
}

// Line by line, what went and what came, with a little around it.
std::string changes(const std::string& before, const std::string& after) {
    constexpr std::size_t kAround = 40;
    std::set<std::string> old_lines;
    std::istringstream old_text(before);
    for (std::string line; std::getline(old_text, line);)
        old_lines.insert(line);
    std::string out;
    std::istringstream new_text(after);
    for (std::string line; std::getline(new_text, line);) {
        if (old_lines.contains(line)) continue;
        // The old line that begins alike, if there is one.
        std::string old;
        for (const std::string& each : old_lines) {
            if (each.substr(0, 12) == line.substr(0, 12) && line.size() > 12) old = each;
        }
        const auto same = std::mismatch(old.begin(), old.end(), line.begin(), line.end());
        const auto first = static_cast<std::size_t>(same.first - old.begin());
        std::size_t last = 0;
        while (last + first < std::min(old.size(), line.size()) &&
               old[old.size() - 1 - last] == line[line.size() - 1 - last])
            ++last;
        const std::size_t start = first > kAround ? first - kAround : 0;
        out += fmt::format("  {}[-{}-]{{+{}+}}{}\n", line.substr(start, first - start),
                           shortened(old.substr(first, old.size() - first - last)),
                           shortened(line.substr(first, line.size() - first - last)),
                           line.substr(line.size() - last, kAround));
    }
    return out;
}

void check_json(const LoadResult& result) {
    const auto json = nlohmann::json::parse(to_json(result));
    ASSERT_EQ(json.at("falco_load_results").size(), result.files.size());
    for (std::size_t i = 0; i < result.files.size(); ++i) {
        const auto& file = json.at("falco_load_results").at(i);
        EXPECT_EQ(file.at("name"), result.files[i].name);
        EXPECT_EQ(file.at("successful"), result.files[i].successful);
        EXPECT_EQ(file.at("errors").empty(), result.files[i].successful);
        for (const std::string_view kind : {"errors", "warnings"}) {
            const auto& problems =
                kind == "errors" ? result.files[i].errors : result.files[i].warnings;
            ASSERT_EQ(file.at(kind).size(), problems.size());
            for (std::size_t j = 0; j < problems.size(); ++j) {
                const auto& problem = file.at(kind).at(j);
                EXPECT_EQ(problem.at("code"), problems[j].code);
                EXPECT_NE(problem.at("codedesc"), "") << problems[j].code;
                EXPECT_EQ(problem.at("message"), problems[j].message);
                EXPECT_EQ(problem.at("context").at("snippet"), problems[j].snippet);
                const auto& last = problem.at("context").at("locations").back();
                EXPECT_EQ(last.at("position").at("name"), problems[j].file);
                EXPECT_EQ(last.at("position").at("line"),
                          problems[j].locations.back().position.line);
                EXPECT_TRUE(last.at("item_type").is_string() && last.at("item_name").is_string());
            }
        }
    }
}

TEST(RuleCases, SayWhatTheySaid) {
    const bool update = std::getenv("BEELINE_UPDATE") != nullptr;
    std::set<std::string> codes;
    for (const auto& [name, files] : cases(kFolder)) {
        SCOPED_TRACE(name);
        const LoadResult result = load(files, TestCatalog());
        EXPECT_EQ(to_json(load(files, TestCatalog())), to_json(result));
        std::string text = to_text(result);
        EXPECT_TRUE(result.successful() || result.set.rules.empty());
        for (const Rule& rule : result.set.rules)
            text += describe(rule);
        check_json(result);
        for (const FileResult& file : result.files) {
            for (const auto* const problems : {&file.errors, &file.warnings}) {
                for (const Problem& problem : *problems)
                    codes.insert(problem.code);
            }
        }
        const std::string path = kFolder + "/" + name + ".txt";
        if (update) {
            ASSERT_TRUE(replace_file(path, text, Durable::no).has_value());
        } else {
            EXPECT_EQ(text, read_file(path).value_or(""));
        }
    }
    // Extensions do not exist here; what cannot be read is not among the cases.
    const std::set<std::string> expected = {
        "LOAD_ERR_YAML_PARSE",     "LOAD_ERR_YAML_VALIDATE",
        "LOAD_ERR_VALIDATE",       "LOAD_ERR_COMPILE_CONDITION",
        "LOAD_ERR_COMPILE_OUTPUT", "LOAD_UNKNOWN_SOURCE",
        "LOAD_UNSAFE_NA_CHECK",    "LOAD_NO_EVTTYPE",
        "LOAD_UNKNOWN_FILTER",     "LOAD_UNUSED_MACRO",
        "LOAD_UNUSED_LIST",        "LOAD_UNKNOWN_ITEM",
        "LOAD_UNKNOWN_KEY",        "LOAD_DEPRECATED_ITEM",
        "LOAD_APPEND_NO_VALUES",   "LOAD_EXCEPTION_NAME_NOT_UNIQUE",
        "LOAD_INVALID_MACRO_NAME", "LOAD_INVALID_LIST_NAME",
        "LOAD_COMPILE_CONDITION"};
    EXPECT_EQ(codes, expected);
}

// Files of tests/data/rules/local, each loaded behind the official ones: what people see, and the rules that are other.
TEST(RuleCases, ChangeOfficialRules) {
    const bool update = std::getenv("BEELINE_UPDATE") != nullptr;
    auto official = read_files({BEELINE_TEST_DATA "/rules/falco/falco_rules.yaml",
                                BEELINE_TEST_DATA "/rules/falco/falco-incubating_rules.yaml",
                                BEELINE_TEST_DATA "/rules/falco/falco-sandbox_rules.yaml"});
    ASSERT_TRUE(official.has_value());
    for (File& file : *official)
        file.name = std::filesystem::path(file.name).filename();
    std::map<std::string, std::string> before;
    for (const Rule& rule : load(*official, TestCatalog()).set.rules)
        before.emplace(rule.name, describe(rule));
    ASSERT_EQ(before.size(), 93U);
    for (const auto& [name, local] : cases(BEELINE_TEST_DATA "/rules/local")) {
        SCOPED_TRACE(name);
        std::vector<File> files = *official;
        files.insert(files.end(), local.begin(), local.end());
        const LoadResult result = load(files, TestCatalog());
        check_json(result);
        // What is kept from file to file is the same as what the last file makes.
        files.push_back({"empty.yaml", "", ""});
        const LoadResult again = load(files, TestCatalog());
        ASSERT_EQ(again.set.rules.size(), result.set.rules.size());
        for (std::size_t i = 0; i < result.set.rules.size(); ++i)
            EXPECT_EQ(describe(again.set.rules[i]), describe(result.set.rules[i]));
        std::string text = to_text(result);
        for (const Rule& rule : result.set.rules) {
            const auto was = before.find(rule.name);
            const std::string now = describe(rule);
            if (was == before.end()) text += now;
            if (was != before.end() && was->second != now)
                text += fmt::format("\n{}\n{}", rule.name, changes(was->second, now));
        }
        const std::string path = BEELINE_TEST_DATA "/rules/local/" + name + ".txt";
        if (update) {
            ASSERT_TRUE(replace_file(path, text, Durable::no).has_value());
        } else {
            EXPECT_EQ(text, read_file(path).value_or(""));
        }
    }
}

} // namespace
} // namespace beeline::security::rules
