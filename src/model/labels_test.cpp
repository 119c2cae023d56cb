#include "model/labels.h"

#include <gtest/gtest.h>

#include "support/policy_builder.h"

namespace beeline::model {
namespace {

using test::selector;

const Labels kWeb{{"app", "web"}, {"tier", "front"}};

TEST(Requirement, FollowsItsOperator) {
    struct Row {
        const char* text;
        bool web;
        bool bare; // of a thing without labels
    };
    for (const Row& row : std::initializer_list<Row>{
             {"app=web", true, false},
             {"app=db", false, false},
             {"app in (db,web)", true, false},
             {"app in (db,cache)", false, false},
             {"app!=web", false, true},
             {"app!=db", true, true},
             {"app notin (db,web)", false, true},
             {"app notin (db,cache)", true, true},
             {"missing notin (x,y)", true, true},
             {"app", true, false},
             {"missing", false, false},
             {"!app", false, true},
             {"!missing", true, true},
         }) {
        EXPECT_EQ(selector(row.text).matches(kWeb), row.web) << row.text;
        EXPECT_EQ(selector(row.text).matches({}), row.bare) << row.text;
    }
}

TEST(Requirement, InMatchesAnEmptyValueOnlyWhenPresent) {
    EXPECT_TRUE(selector("a=").matches({{"a", ""}}));
    EXPECT_FALSE(selector("a=").matches({}));
    EXPECT_TRUE(selector("a").matches({{"a", ""}}));
}

TEST(LabelSelector, AllRequirementsMustHold) {
    EXPECT_TRUE(selector("app=web,tier=front").matches(kWeb));
    EXPECT_FALSE(selector("app=web,tier=back").matches(kWeb));
    EXPECT_FALSE(selector("app=web,!tier").matches(kWeb));
}

TEST(LabelSelector, EmptyMatchesEverything) {
    EXPECT_TRUE(LabelSelector{}.matches({}));
    EXPECT_TRUE(LabelSelector{}.matches(kWeb));
}

TEST(LabelSelector, Spelling) {
    for (const char* text : {"*", "app=web,tier in (a,b),!x", "a!=b,c notin (d,e),f"}) {
        EXPECT_EQ(selector(text).to_string(), text);
    }
}

} // namespace
} // namespace beeline::model
