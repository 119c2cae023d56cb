#include "security/sensor/path_automaton.h"

#include <random>

#include <gtest/gtest.h>

namespace beeline::security {
namespace {

using Texts = std::vector<Capture::PathText>;

std::uint32_t plain_search(const Texts& texts, std::string_view path) {
    std::uint32_t found = 0;
    for (const auto& text : texts) {
        const bool hit = text.at_start && text.at_end ? path == text.text
                         : text.at_start              ? path.starts_with(text.text)
                         : text.at_end                ? path.ends_with(text.text)
                                       : path.find(text.text) != std::string_view::npos;
        if (hit) found |= text.classes;
    }
    return found;
}

TEST(PathAutomaton, FindsTextsWhereTheyMustBe) {
    const auto a = PathAutomaton::build({{"/etc/", true, false, 1},
                                         {"/environ", false, true, 2},
                                         {".ssh", false, false, 4},
                                         {"/etc/shadow", true, true, 8}});
    EXPECT_EQ(a.match("/etc/passwd"), 1U);
    EXPECT_EQ(a.match("/srv/etc/passwd"), 0U);
    EXPECT_EQ(a.match("/etc/shadow"), 9U);
    EXPECT_EQ(a.match("/etc/shadow-"), 1U);
    EXPECT_EQ(a.match("/proc/1/environ"), 2U);
    EXPECT_EQ(a.match("/proc/1/environ/x"), 0U);
    EXPECT_EQ(a.match("/root/.ssh/id"), 4U);
    EXPECT_EQ(a.match(""), 0U);
    EXPECT_EQ(a.match("/"), 0U);
    EXPECT_EQ(a.always(), 0U);
    EXPECT_EQ(a.cut(), 0U);
}

TEST(PathAutomaton, NothingWantedFindsNothing) {
    const auto a = PathAutomaton::build({});
    EXPECT_EQ(a.match("/etc/passwd"), 0U);
    EXPECT_EQ(a.always(), 0U);
}

TEST(PathAutomaton, EmptyTextIsEveryPath) {
    EXPECT_EQ(PathAutomaton::build({{"", true, false, 3}}).always(), 3U);
    const auto exact = PathAutomaton::build({{"", true, true, 3}});
    EXPECT_EQ(exact.always(), 0U);
    EXPECT_EQ(exact.match(""), 3U);
    EXPECT_EQ(exact.match("/"), 0U);
}

TEST(PathAutomaton, BytesThatLookLikeTheEndsAreNone) {
    const auto a = PathAutomaton::build({{"x", true, false, 1}, {"y", false, true, 2}});
    EXPECT_EQ(a.match("\x01x"), 0U);
    EXPECT_EQ(a.match("y\x02"), 0U);
}

std::string random_text(std::mt19937& random, std::size_t longest) {
    std::string text(random() % (longest + 1), 'a');
    for (char& c : text)
        c = "/abc"[random() % 4];
    return text;
}

TEST(PathAutomaton, AgreesWithPlainSearch) {
    std::mt19937 random(7);
    for (int round = 0; round < 300; ++round) {
        Texts texts(random() % 30);
        for (auto& text : texts) {
            text = {random_text(random, 6), random() % 3 == 0, random() % 3 == 0,
                    1U << random() % 16};
        }
        const auto a = PathAutomaton::build(texts);
        for (int i = 0; i < 100; ++i) {
            const std::string path = random_text(random, 20);
            ASSERT_EQ(a.match(path) | a.always(), plain_search(texts, path) | a.always()) << path;
        }
    }
}

TEST(PathAutomaton, TooLittleRoomFindsMoreNeverLess) {
    std::mt19937 random(8);
    for (int round = 0; round < 200; ++round) {
        Texts texts(1 + random() % 20);
        for (auto& text : texts) {
            text = {random_text(random, 9), random() % 3 == 0, random() % 3 == 0,
                    1U << random() % 16};
        }
        const std::size_t cells = 20 + random() % 400;
        const auto a = PathAutomaton::build(texts, cells, 6 + random() % 3);
        EXPECT_LE(a.symbols(), 8U);
        EXPECT_LE(a.states() * a.symbols(), std::max<std::size_t>(cells, 2 * a.symbols()));
        for (int i = 0; i < 100; ++i) {
            const std::string path = random_text(random, 20);
            const std::uint32_t must = plain_search(texts, path);
            ASSERT_EQ((a.match(path) | a.always()) & must, must) << path;
        }
    }
}

TEST(PathAutomaton, TheTableIsWhatMatchUses) {
    const auto a = PathAutomaton::build({{"/etc/", true, false, 5}});
    const auto table = std::make_unique<bl_path_table>();
    a.write(*table);
    const auto walk = [&](std::string_view path) {
        std::uint32_t row = table->start, found = 0;
        const auto step = [&](std::uint32_t column) {
            row = table->cell[((row & BL_PATH_ROW_MASK) + column) / 4];
            if ((row & BL_PATH_HIT) != 0) found |= table->cell[(row & BL_PATH_ROW_MASK) / 4];
        };
        for (const char c : path)
            step(table->symbol[static_cast<unsigned char>(c)]);
        step(table->end);
        return found;
    };
    EXPECT_EQ(walk("/etc/hosts"), 5U);
    EXPECT_EQ(walk("/opt/etc/hosts"), 0U);
}

} // namespace
} // namespace beeline::security
