#include "security/rules/report.h"

#include <gtest/gtest.h>

namespace beeline::security::rules {
namespace {

std::string snippet(const SourceFile& file, std::size_t offset) {
    FileResult result;
    Report(result).error("LOAD_ERR_VALIDATE", {{"rule", "r", &file, file.position(offset)}}, "m");
    return result.errors.at(0).snippet;
}

TEST(RuleReport, PutsTheCaretUnderThePlace) {
    EXPECT_EQ(snippet({"f", "one\ntwo words\nthree"}, 8), "two words\n    ^");
    EXPECT_EQ(snippet({"f", "a\tb"}, 2), "a\tb\n \t^");
    EXPECT_EQ(snippet({"f", "\xc3\xa4\xe2\x82\xac x"}, 6), "\xc3\xa4\xe2\x82\xac x\n   ^");
    EXPECT_EQ(snippet({"f", "a\r\nb\r\n"}, 1), "a\n ^");
    EXPECT_EQ(snippet({"f", "abc"}, 3), "abc\n   ^");
    EXPECT_EQ(snippet({"f", ""}, 0), "");
    EXPECT_EQ(snippet({"f", "a\x01\xff"}, 0), "a??\n^");
}

TEST(RuleReport, CutsLongLinesAroundThePlace) {
    const SourceFile file{"f", std::string(5000, 'a') + "X" + std::string(5000, 'b')};
    const std::string text = snippet(file, 5000);
    EXPECT_EQ(text, std::string(100, 'a') + "X" + std::string(79, 'b') + "\n" +
                        std::string(100, ' ') + "^");
}

TEST(RuleReport, ShowsOneLine) {
    EXPECT_EQ(shown("a\nb\x7f"), "a b ");
    EXPECT_EQ(shown(std::string(100, 'x')), std::string(60, 'x') + "...");
    EXPECT_EQ(shown(std::string(59, 'x') + "\xc3\xa4"), std::string(59, 'x') + "...");
}

TEST(RuleReport, DescribesEveryCode) {
    EXPECT_NE(code_description("LOAD_ERR_YAML_PARSE"), "");
    EXPECT_NE(code_description("LOAD_WARNING_EXTENSION"), "");
    EXPECT_EQ(code_description("OTHER"), "");
}

} // namespace
} // namespace beeline::security::rules
