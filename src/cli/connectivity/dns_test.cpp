#include "cli/connectivity/dns.h"

#include <gtest/gtest.h>

namespace beeline::cli {
namespace {

std::vector<net::Ip> ips(std::initializer_list<const char*> texts) {
    std::vector<net::Ip> result;
    for (const char* text : texts)
        result.push_back(*net::Ip::parse(text));
    return result;
}

TEST(ConnectivityDns, QuestionGoesThere) {
    const auto found = parse_dns_question(write_dns_question({77, kDnsAaaa, "Web.Shop.svc"}));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->id, 77);
    EXPECT_EQ(found->type, kDnsAaaa);
    EXPECT_EQ(found->name, "web.shop.svc");
}

TEST(ConnectivityDns, AnswerHasTheFamilyThatWasAsked) {
    const auto both = ips({"10.0.0.1", "fd00::1", "10.0.0.2"});
    const auto v4 = parse_dns_answer(write_dns_answer({1, kDnsA, "a.b"}, 0, both, 512));
    ASSERT_TRUE(v4);
    EXPECT_EQ(v4->addresses, ips({"10.0.0.1", "10.0.0.2"}));
    const auto v6 = parse_dns_answer(write_dns_answer({1, kDnsAaaa, "a.b"}, 0, both, 512));
    ASSERT_TRUE(v6);
    EXPECT_EQ(v6->addresses, ips({"fd00::1"}));
    EXPECT_FALSE(v6->truncated);
}

TEST(ConnectivityDns, WhatDoesNotFitIsToldOf) {
    const std::vector<net::Ip> many(60, *net::Ip::parse("10.0.0.1"));
    const auto text = write_dns_answer({1, kDnsA, "many.test"}, 0, many, kDnsUdpLimit);
    EXPECT_LE(text.size(), kDnsUdpLimit);
    const auto part = parse_dns_answer(text);
    ASSERT_TRUE(part);
    EXPECT_TRUE(part->truncated);
    EXPECT_LT(part->addresses.size(), 60U);
    const auto whole = parse_dns_answer(write_dns_answer({1, kDnsA, "many.test"}, 0, many, 65535));
    ASSERT_TRUE(whole);
    EXPECT_FALSE(whole->truncated);
    EXPECT_EQ(whole->addresses.size(), 60U);
}

TEST(ConnectivityDns, BadMessagesAreErrors) {
    const auto question = write_dns_question({1, kDnsA, "a.b"});
    const auto answer = write_dns_answer({1, kDnsA, "a.b"}, 3, {}, 512);
    EXPECT_EQ(parse_dns_answer(answer)->code, 3);
    EXPECT_FALSE(parse_dns_question(answer));
    EXPECT_FALSE(parse_dns_answer(question));
    for (std::size_t length = 0; length < question.size(); ++length)
        EXPECT_FALSE(parse_dns_question(std::string_view(question).substr(0, length))) << length;
    std::string wrong = question;
    wrong[12] = 64; // a label longer than labels can be
    EXPECT_FALSE(parse_dns_question(wrong));
}

} // namespace
} // namespace beeline::cli
