#include <gtest/gtest.h>

#include "security/rules/source_text.h"
#include "security/rules/yaml.h"

namespace beeline::security::rules {
namespace {

// Every byte of the scalar that is no blank must be found at the byte of the file that wrote it.
std::string mapped(const SourceFile& file) {
    const yaml::Tree tree = yaml::parse(file);
    EXPECT_EQ(tree.problem, "");
    std::string out;
    for (const yaml::Value& value : tree.values) {
        if (value.kind != yaml::Value::Kind::scalar) continue;
        const Scalar scalar{&file, value.text, value.position};
        for (std::size_t i = 0; i < value.text.size(); ++i) {
            const Position place = Place{&scalar, i}.position();
            out += place.offset < file.text.size() ? file.text[place.offset] : '$';
        }
        const Position end = Place{&scalar, value.text.size()}.position();
        out += end.offset < file.text.size() ? file.text[end.offset] : '$';
        out += "/";
    }
    return out;
}

// Blanks take the place behind the byte before them; so do, but one further, the later bytes of an escaped character.
// The end is shown as what stands there, $ if nothing does.
TEST(SourceText, FindsBytesInEveryKindOfScalar) {
    EXPECT_EQ(mapped({"f", "a b  c"}), "a b  c$/");
    EXPECT_EQ(mapped({"f", "- a\n  b\n- c"}), "a\nb\n/c$/");
    EXPECT_EQ(mapped({"f", "'it''s  b\n   c'"}), "it's  b\nc'/");
    EXPECT_EQ(mapped({"f", "\"\\\"a\\\" and\\\n   \\ p = \\x62 \\\n  and ! x\""}),
              "\\a\\ and\\p = \\ and ! x\"/");
    EXPECT_EQ(mapped({"f", "\"a\\u00e9b\\nc\\u20acd\""}), "a\\bb\\c\\ddd\"/");
    EXPECT_EQ(mapped({"f", "- >\n  ab\n\n  c d\n- |-\n    e\n     f\n"}), "ab\nc d\n\n/e\n\nf\n/");
    EXPECT_EQ(mapped({"f", "- &x  'a'\n- !t \"b\"\n- !t &y\n  > # c\n  d\n"}), "a'/b\"/d\n\n/");
    EXPECT_EQ(mapped({"f", "a: >\r\n  b\r\n  c\r\n"}), "a:/b\rc\r\r/");
}

TEST(SourceText, KeepsPlacesThroughPieces) {
    const SourceFile file{"f", "- ab cd\n- xyz\n"};
    const Scalar first{&file, "ab cd", file.position(2)};
    const Scalar second{&file, "xyz", file.position(10)};
    MappedText text(first);
    text.append(" or ", {&second, 0});
    text.append(second);
    MappedText cut;
    cut.append(text, 3, 8); // "cd or xy"
    cut.append("!", {&first, 1});
    EXPECT_EQ(cut.text(), "cd or xy!");
    std::string places;
    for (std::size_t i = 0; i <= cut.text().size(); ++i)
        places += file.text[cut.place(i).position().offset];
    EXPECT_EQ(places, "cdxxxxxybb");
    EXPECT_EQ(cut.place(7).position().line, 2U);
    EXPECT_EQ(cut.place(7).position().column, 4U);
    EXPECT_EQ(MappedText().place(0).scalar, nullptr);
}

TEST(SourceText, KnowsCharacters) {
    const auto size = [](std::string_view text) { return utf8_size(text, 0); };
    EXPECT_EQ(size(""), 0U);
    EXPECT_EQ(size("a"), 1U);
    EXPECT_EQ(size("\xc3\xa9"), 2U);
    EXPECT_EQ(size("\xe2\x82\xac"), 3U);
    EXPECT_EQ(size("\xf0\x9f\x90\x9d"), 4U);
    for (const std::string_view bad : {"\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80",
                                       "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xff"})
        EXPECT_EQ(size(bad), 0U);
}

} // namespace
} // namespace beeline::security::rules
