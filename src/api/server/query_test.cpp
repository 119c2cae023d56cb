#include "api/server/query.h"

#include <array>

#include <gtest/gtest.h>

namespace beeline::api {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

constexpr std::array<Parameter, 4> kKnown{{{"follow"}, {"last"}, {"pod", true}, {"since"}}};

Query parsed(std::string_view text) {
    auto query = Query::parse(text, kKnown);
    EXPECT_TRUE(query) << text << ": " << (query ? "" : query.error().message);
    return query ? *query : Query{};
}

std::string refusal(std::string_view text) {
    const auto query = Query::parse(text, kKnown);
    EXPECT_FALSE(query) << text;
    return query ? "" : query.error().message;
}

TEST(UrlDecode, UndoesEscapes) {
    EXPECT_EQ(*url_decode("shop%2Fweb%20x%C3%A9"), "shop/web x\xc3\xa9");
    EXPECT_EQ(*url_decode("a+b"), "a+b");
    EXPECT_EQ(*url_decode(""), "");
    for (const std::string bad : {"%", "%2", "%2g", "%g2", "a%", "%00", "%0a", "x%7F"})
        EXPECT_FALSE(url_decode(bad)) << bad;
}

TEST(Query, TakesKnownParametersInAnyOrder) {
    const Query query = parsed("pod=a%2Fb&&follow&pod=c/d&last=");
    EXPECT_TRUE(query.has("follow"));
    EXPECT_TRUE(query.has("last"));
    EXPECT_FALSE(query.has("since"));
    EXPECT_EQ(query.text("since"), "");
    EXPECT_EQ(query.all("pod"), (std::vector<std::string>{"a/b", "c/d"}));
    EXPECT_FALSE(parsed("").has("follow"));
}

TEST(Query, NamesTheUnknownParameterAndTheKnownOnes) {
    EXPECT_EQ(refusal("folow=1"), "unknown parameter 'folow': known are follow, last, pod, since");
    EXPECT_EQ(refusal("=1"), "unknown parameter '': known are follow, last, pod, since");
    EXPECT_EQ(refusal("last=1&last=2"), "parameter 'last' can be given only once");
    EXPECT_NE(refusal("pod=%zz").find("two hex digits"), std::string::npos);
    const auto none = Query::parse("x=1", {});
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().message, "unknown parameter 'x': this call takes none");
}

TEST(Query, ErrorsStayShortAndPrintable) {
    const std::string message = refusal(std::string(5000, 'x') + "=1");
    EXPECT_LT(message.size(), 200U);
}

TEST(Query, Flags) {
    for (const std::string yes : {"follow", "follow=", "follow=1", "follow=true"})
        EXPECT_TRUE(*parsed(yes).flag("follow"));
    for (const std::string no : {"", "follow=0", "follow=false"})
        EXPECT_FALSE(*parsed(no).flag("follow"));
    EXPECT_EQ(parsed("follow=maybe").flag("follow").error().message,
              "parameter 'follow': 'maybe' is not 1 or 0");
}

TEST(Query, Numbers) {
    EXPECT_EQ(*parsed("last=20").number("last", 0, 100), 20U);
    EXPECT_FALSE(parsed("").number("last", 0, 100)->has_value());
    for (const std::string bad : {"last=", "last=-1", "last=101", "last=1x",
                                  "last=99999999999999999999", "last=+1", "last= 1"})
        EXPECT_FALSE(parsed(bad).number("last", 0, 100)) << bad;
}

TEST(Query, PortsAndProtocolsAndWorkloads) {
    constexpr std::array<Parameter, 1> kOne{{{"x", true}}};
    const auto of = [&](std::string_view text) { return *Query::parse(text, kOne); };
    EXPECT_EQ(*of("x=80&x=65535").ports("x"), (std::vector<std::uint16_t>{80, 65535}));
    for (const std::string bad : {"x=0", "x=65536", "x=http", "x="})
        EXPECT_FALSE(of(bad).ports("x")) << bad;

    EXPECT_EQ(*of("x=TCP&x=icmpv6").protocols("x"),
              (std::vector<model::Protocol>{model::Protocol::tcp, model::Protocol::icmpv6}));
    for (const std::string bad : {"x=any", "x=http", "x="}) {
        const auto result = of(bad).protocols("x");
        ASSERT_FALSE(result) << bad;
        EXPECT_NE(result.error().message.find("tcp, udp, sctp, icmp, icmpv6"), std::string::npos);
    }

    EXPECT_EQ(*of("x=shop/web&x=shop/&x=web").workloads("x"),
              (std::vector<std::string>{"shop/web", "shop/", "web"}));
    for (const std::string bad : {"x=", "x=/", "x=/web", "x=a/b/c", "x=a%20b"})
        EXPECT_FALSE(of(bad).workloads("x")) << bad;
}

TEST(Query, Moments) {
    constexpr std::int64_t kNow = 1'800'000'000 * kSecond;
    EXPECT_EQ(*parsed("since=10m").moment("since", kNow), kNow - 600 * kSecond);
    EXPECT_EQ(*parsed("since=1970-01-02T00:00:00Z").moment("since", kNow), 86400 * kSecond);
    EXPECT_FALSE(parsed("").moment("since", kNow)->has_value());
    const auto bad = parsed("since=yesterday").moment("since", kNow);
    ASSERT_FALSE(bad);
    EXPECT_EQ(
        bad.error().message,
        "parameter 'since': 'yesterday' is not a duration such as 10m or 1h30m, nor a time such "
        "as 2026-11-25T09:00:00Z");
}

TEST(Duration, Forms) {
    EXPECT_EQ(*parse_duration("10m"), 600 * kSecond);
    EXPECT_EQ(*parse_duration("1h30m"), 5400 * kSecond);
    EXPECT_EQ(*parse_duration("1.5h"), 5400 * kSecond);
    EXPECT_EQ(*parse_duration("2d"), 172800 * kSecond);
    EXPECT_EQ(*parse_duration("250ms"), kSecond / 4);
    EXPECT_EQ(*parse_duration("1s2us3ns"), kSecond + 2003);
    EXPECT_EQ(*parse_duration("0s"), 0);
    EXPECT_EQ(*parse_duration("0.123456789s"), 123456789);
    EXPECT_EQ(*parse_duration("36500d"), 36500LL * 86400 * kSecond);
    for (const std::string bad : {"", "10", "m", "-5s", "-0s", "5 s", "1h30", "1.s", ".5s", "5x",
                                  "36501d", "99999999999999999999s", "36500d1s", "5sm", "1e3s"})
        EXPECT_FALSE(parse_duration(bad)) << bad;
}

TEST(Time, Forms) {
    EXPECT_EQ(*parse_time("2026-11-25T09:00:00Z"), 1795597200LL * kSecond);
    EXPECT_EQ(*parse_time("2026-11-25t09:00:00z"), 1795597200LL * kSecond);
    EXPECT_EQ(*parse_time("2026-11-25 10:30:00.5+01:30"), 1795597200LL * kSecond + kSecond / 2);
    EXPECT_EQ(*parse_time("2026-11-25T00:00:00-09:00"), 1795597200LL * kSecond);
    EXPECT_EQ(*parse_time("2026-11-25T09:00:00.1234567899Z"), 1795597200LL * kSecond + 123456789);
    EXPECT_EQ(*parse_time("2024-02-29T00:00:00Z"), 1709164800LL * kSecond);
    for (const std::string bad :
         {"", "2026-11-25", "2026-11-25T09:00:00", "2026-11-25T09:00Z", "2026-13-01T00:00:00Z",
          "2026-02-29T00:00:00Z", "2026-11-25T24:00:00Z", "2026-11-25T09:60:00Z",
          "2026-11-25T09:00:00.Z", "2026-11-25T09:00:00+0100", "2026-11-25T09:00:00Zx",
          "26-11-25T09:00:00Z", "1969-12-31T00:00:00Z", "2026-11-25T09:00:00+24:00"})
        EXPECT_FALSE(parse_time(bad)) << bad;
}

TEST(ObjectName, Forms) {
    EXPECT_EQ(*parse_object_name("shop/web"), (model::ObjectName{"shop", "web"}));
    for (const std::string bad : {"", "web", "/", "a/", "/b", "a/b/c", "a b/c", "a/\x01"})
        EXPECT_FALSE(parse_object_name(bad)) << bad;
    EXPECT_FALSE(parse_object_name("a/" + std::string(254, 'x')));
}

} // namespace
} // namespace beeline::api
