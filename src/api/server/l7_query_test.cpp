#include "api/server/l7_query.h"

#include <array>

#include <gtest/gtest.h>

namespace beeline::api {
namespace {

constexpr std::array<Parameter, 5> kKnown{
    {{"protocol", true}, {"l7", false}, {"status", true}, {"method", true}, {"path", true}}};

Result<observe::FlowFilter> filter(std::string_view query) {
    const auto parsed = TRY(Query::parse(query, kKnown));
    observe::FlowFilter out;
    TRY(read_l7(parsed, out));
    return out;
}

TEST(L7Query, Statuses) {
    using observe::StatusRange;
    EXPECT_EQ(parse_status("404").value(), (StatusRange{404, 404, {}}));
    EXPECT_EQ(parse_status("5xx").value(), (StatusRange{500, 599, {}}));
    EXPECT_EQ(parse_status("4XX").value(), (StatusRange{400, 499, {}}));
    EXPECT_EQ(parse_status("1-16").value(), (StatusRange{1, 16, {}}));
    EXPECT_EQ(parse_status("0").value(), (StatusRange{0, 0, {}}));
    EXPECT_EQ(parse_status("Error").value().status, model::L7::Status::error);
    EXPECT_EQ(parse_status("ok").value().status, model::L7::Status::ok);
    for (const char* bad :
         {"", "x", "xx", "0xx", "5x", "-", "5-", "-5", "9-1", "4 04", "99999999999"})
        EXPECT_FALSE(parse_status(bad)) << bad;
}

TEST(L7Query, ProtocolsOfBothLayers) {
    const auto out = filter("protocol=udp&protocol=HTTP&protocol=kafka").value();
    EXPECT_EQ(out.protocols, std::vector{model::Protocol::udp});
    EXPECT_EQ(out.l7_protocols, (std::vector{model::L7::Protocol::http, model::L7::Protocol::http2,
                                             model::L7::Protocol::kafka}));
    const auto bad = filter("protocol=htp");
    ASSERT_FALSE(bad);
    EXPECT_NE(bad.error().message.find("icmpv6, http, http2"), std::string::npos);
}

TEST(L7Query, TheRest) {
    const auto out = filter("l7=1&status=5xx&method=GET&path=/a&path=/b").value();
    EXPECT_TRUE(out.l7);
    EXPECT_EQ(out.statuses.size(), 1U);
    EXPECT_EQ(out.methods, std::vector<std::string>{"GET"});
    EXPECT_EQ(out.paths, (std::vector<std::string>{"/a", "/b"}));
    EXPECT_FALSE(filter("l7=perhaps"));
}

} // namespace
} // namespace beeline::api
