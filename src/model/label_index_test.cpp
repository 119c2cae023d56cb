#include "model/label_index.h"

#include <deque>
#include <random>

#include <gtest/gtest.h>

#include "support/policy_builder.h"

namespace beeline::model {
namespace {

using test::selector;
using Ids = std::vector<LabelIndex::Id>;

TEST(LabelIndex, SelectsWithinNamespaces) {
    const std::deque<Labels> labels{
        {{"app", "web"}}, {{"app", "db"}}, {{"app", "web"}, {"x", "1"}}, {}};
    LabelIndex index;
    index.add("a", labels[0]);
    index.add("a", labels[1]);
    index.add("b", labels[2]);
    index.add("b", labels[3]);
    EXPECT_EQ(index.select(selector(""), {"a"}), (Ids{0, 1}));
    EXPECT_EQ(index.select(selector(""), {"b", "a"}), (Ids{0, 1, 2, 3}));
    EXPECT_EQ(index.select(selector(""), {}), Ids{});
    EXPECT_EQ(index.select(selector(""), {"c"}), Ids{});
    EXPECT_EQ(index.select(selector("app=web"), {"a"}), (Ids{0}));
    EXPECT_EQ(index.select(selector("app=web"), {"a", "b"}), (Ids{0, 2}));
    EXPECT_EQ(index.select(selector("app in (db,web,web)"), {"a", "b"}), (Ids{0, 1, 2}));
    EXPECT_EQ(index.select(selector("app=none"), {"a", "b"}), Ids{});
    EXPECT_EQ(index.select(selector("!app"), {"a", "b"}), (Ids{3}));
    EXPECT_EQ(index.select(selector("app,x=1"), {"a", "b"}), (Ids{2}));
}

TEST(LabelIndex, AgreesWithAskingEverything) {
    std::mt19937 random(7);
    const auto pick = [&](std::vector<std::string> of) { return of[random() % of.size()]; };
    const std::vector<std::string> spaces{"a", "b", "c"};
    std::deque<Labels> labels;
    std::vector<std::string> space_of;
    LabelIndex index;
    for (int i = 0; i < 60; ++i) {
        Labels& one = labels.emplace_back();
        for (const char* key : {"k", "l", "m"}) {
            if (random() % 3) one[key] = pick({"1", "2", "3"});
        }
        space_of.push_back(pick(spaces));
        index.add(space_of.back(), one);
    }
    for (int i = 0; i < 500; ++i) {
        std::string text;
        for (unsigned n = random() % 4; n > 0; --n) {
            text += (text.empty() ? "" : ",") +
                    pick({"k=1", "l=2", "m in (1,2)", "k notin (1,3)", "l", "!m", "m!=3"});
        }
        std::vector<std::string> wanted;
        for (const std::string& space : spaces) {
            if (random() % 2) wanted.push_back(space);
        }
        Ids expected;
        for (LabelIndex::Id id = 0; id < labels.size(); ++id) {
            const bool inside =
                std::find(wanted.begin(), wanted.end(), space_of[id]) != wanted.end();
            if (inside && selector(text).matches(labels[id])) expected.push_back(id);
        }
        EXPECT_EQ(index.select(selector(text), wanted), expected) << text;
    }
}

} // namespace
} // namespace beeline::model
