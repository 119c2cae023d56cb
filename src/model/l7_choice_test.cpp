#include "model/l7_choice.h"

#include <gtest/gtest.h>

namespace beeline::model {
namespace {

using P = L7::Protocol;

TEST(L7Choice, AnnotationsAreRead) {
    EXPECT_EQ(parse_l7_protocols("true").value(), kAllL7);
    EXPECT_EQ(parse_l7_protocols("false").value(), 0U);
    EXPECT_EQ(parse_l7_protocols("dns").value(), l7_bit(P::dns));
    EXPECT_EQ(parse_l7_protocols(" http , redis ").value(),
              l7_bit(P::http) | l7_bit(P::http2) | l7_bit(P::grpc) | l7_bit(P::redis));
    EXPECT_EQ(parse_l7_protocols("grpc").value(), l7_bit(P::grpc));
    for (const char* bad : {"", "yes", "http,", ",http", "http;dns", "HTTP"})
        EXPECT_FALSE(parse_l7_protocols(bad)) << bad;
}

TEST(L7Choice, TheAnnotationDecidesOverTheConfiguration) {
    const Labels web{{"app", "web"}};
    L7Choice choice;
    EXPECT_EQ(choice.of(web, std::nullopt), 0U);
    EXPECT_EQ(choice.of(web, kAllL7), kAllL7);
    EXPECT_EQ(choice.of(web, l7_bit(P::dns)), l7_bit(P::dns));

    choice.selector = LabelSelector{{{"app", Requirement::Operator::in, {"web"}}}};
    EXPECT_EQ(choice.of(web, std::nullopt), kAllL7);
    EXPECT_EQ(choice.of({{"app", "db"}}, std::nullopt), 0U);
    EXPECT_EQ(choice.of(web, 0), 0U);

    choice.mode = L7Choice::Mode::all;
    choice.protocols = l7_bit(P::http);
    EXPECT_EQ(choice.of({}, std::nullopt), l7_bit(P::http));
    EXPECT_EQ(choice.of({}, kAllL7), l7_bit(P::http)) << "'true' is what the configuration reads";
    EXPECT_EQ(choice.of({}, 0), 0U);

    choice.mode = L7Choice::Mode::off;
    EXPECT_EQ(choice.of(web, kAllL7), 0U);
}

} // namespace
} // namespace beeline::model
