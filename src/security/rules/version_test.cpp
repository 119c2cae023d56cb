#include "security/rules/version.h"

#include <gtest/gtest.h>

namespace beeline::security::rules {
namespace {

TEST(RuleVersion, IsReadStrictly) {
    EXPECT_EQ(parse_version("1.2.3"), (Version{1, 2, 3}));
    EXPECT_EQ(parse_version("1.2.3-rc1"), (Version{1, 2, 3}));
    EXPECT_EQ(parse_version("1.2.3+x"), (Version{1, 2, 3}));
    for (const std::string_view bad : {"", "1", "1.2", "1.2.", "1.2.x", "a.b.c", "1.2.3.4",
                                       "v1.2.3", "-1.2.3", "1.2.99999999999", " 1.2.3"})
        EXPECT_FALSE(parse_version(bad)) << bad;
    EXPECT_EQ(parse_engine_version("57"), (Version{0, 57, 0}));
    EXPECT_EQ(parse_engine_version("0.57.1"), (Version{0, 57, 1}));
    EXPECT_FALSE(parse_engine_version("0.57"));
    EXPECT_FALSE(parse_engine_version("5x"));
    EXPECT_EQ(to_text(kEngineVersion), "0.63.0");
    EXPECT_EQ(to_text(kContainerPluginVersion), "0.7.1");
}

TEST(RuleVersion, SatisfiesOlderOnesOfItsMajor) {
    const Version have{0, 63, 0};
    EXPECT_TRUE(have.satisfies({0, 63, 0}));
    EXPECT_TRUE(have.satisfies({0, 5, 99}));
    EXPECT_FALSE(have.satisfies({0, 63, 1}));
    EXPECT_FALSE(have.satisfies({0, 64, 0}));
    EXPECT_FALSE(have.satisfies({1, 0, 0}));
    EXPECT_FALSE((Version{2, 0, 0}).satisfies({1, 0, 0}));
}

} // namespace
} // namespace beeline::security::rules
