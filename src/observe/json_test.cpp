#include "observe/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "observe/enrich.h"
#include "observe/test_events.h"

namespace beeline::observe {
namespace {

using namespace testing;
using Json = nlohmann::json;

constexpr std::int64_t kTime = 1'795'597'200'123'456'789; // 2026-11-25T09:00:00.123456789Z

model::Flow flow(const bl_flow_event& raw) {
    Enricher enricher("/nonexistent", "/nonexistent");
    enricher.set_directory(directory());
    model::Flow flow = to_flow(enricher.enrich(decode_flow(bytes(raw)).value()), 42);
    flow.time_ns = kTime;
    if (raw.opened_ns != 0)
        flow.opened_ns = kTime - static_cast<std::int64_t>(raw.time_ns - raw.opened_ns);
    return flow;
}

std::string quoted(std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out;
}

std::string time_text(std::int64_t time_ns) {
    std::string out;
    append_time(out, time_ns);
    return out;
}

TEST(Json, WholeFlow) {
    model::Flow closed = flow(testing::closed());
    closed.source.process.binary = "/usr/bin/curl";
    EXPECT_EQ(
        to_json(closed, "node-1"),
        R"({"time":"2026-11-25T09:00:00.123456789Z","number":42,"kind":"closed","verdict":"FORWARDED","protocol":"TCP",)"
        R"("source":{"kind":"workload","address":"10.1.0.2","port":40000,"identity":300,"namespace":"shop","name":"client",)"
        R"("labels":{"app":"client"},"process":{"pid":100,"binary":"/usr/bin/curl","comm":"curl","uid":1000,"start_ns":5000000000}},)"
        R"("destination":{"kind":"workload","address":"10.1.0.3","port":8080,"identity":301,"namespace":"shop","name":"web",)"
        R"("labels":{"app":"web","tier":"front"},"process":{"pid":200,"comm":"nginx","uid":1000,"start_ns":5000000000}},)"
        R"("service":{"name":"shop/web","address":"10.96.0.1","port":80},)"
        R"("ingress_rule":"NetworkPolicy shop/allow-web ingress[0]","tcp_flags":["SYN","ACK","FIN","PSH"],)"
        R"("packets":{"source":6,"destination":5},"bytes":{"source":500,"destination":9000},"duration_ms":1500,)"
        R"("interface":"bl0123456789","node":"node-1"})");
}

TEST(Json, DefaultDeny) {
    const Json json = Json::parse(to_json(flow(denied()), ""));
    EXPECT_EQ(json["kind"], "dropped");
    EXPECT_EQ(json["verdict"], "DROPPED");
    EXPECT_EQ(json["drop_reason"],
              (Json{{"code", 133}, {"name", "POLICY_DENIED"}, {"text", "Policy denied"}}));
    EXPECT_EQ(json["denied_direction"], "ingress");
    EXPECT_EQ(json["denied_by"], (Json{"NetworkPolicy shop/allow-web", "NetworkPolicy shop/deny"}));
    for (const char* absent :
         {"service", "duration_ms", "ingress_rule", "egress_rule", "node", "icmp"})
        EXPECT_FALSE(json.contains(absent)) << absent;
}

TEST(Json, Icmp) {
    bl_flow_event raw = opened();
    raw.key.proto = 58;
    raw.key.src = addr("fd00::2");
    raw.key.dst = addr("fd00::3");
    const Json json = Json::parse(to_json(flow(raw), ""));
    EXPECT_EQ(json["protocol"], "ICMPv6");
    EXPECT_EQ(json["icmp"], (Json{{"type", 0}, {"code", 0}}));
    EXPECT_EQ(json["source"]["address"], "fd00::2");
    EXPECT_FALSE(json.contains("tcp_flags"));
}

TEST(Json, UnknownProtocolIsANumber) {
    bl_flow_event raw = denied();
    raw.reason = BL_DROP_UNKNOWN_L4_PROTOCOL;
    raw.key.proto = 47;
    EXPECT_EQ(Json::parse(to_json(flow(raw), ""))["protocol"], "47");
}

TEST(Json, NoProtocolNoMember) {
    bl_flow_event raw = denied();
    raw.key.proto = 0;
    EXPECT_FALSE(Json::parse(to_json(flow(raw), "")).contains("protocol"));
}

TEST(Json, Kinds) {
    for (const auto& [kind, name] :
         {std::pair{BL_FLOW_opened, "opened"}, std::pair{BL_FLOW_replied, "replied"},
          std::pair{BL_FLOW_closed, "closed"}, std::pair{BL_FLOW_revoked, "revoked"}}) {
        bl_flow_event raw = opened();
        raw.kind = static_cast<std::uint8_t>(kind);
        const Json json = Json::parse(to_json(flow(raw), ""));
        EXPECT_EQ(json["kind"], name);
        EXPECT_EQ(json.contains("duration_ms"), kind != BL_FLOW_opened);
    }
}

TEST(Json, ServiceWithoutANameHasItsAddress) {
    model::Flow flow = observe::flow(opened());
    flow.service.clear();
    EXPECT_EQ(Json::parse(to_json(flow, ""))["service"],
              (Json{{"address", "10.96.0.1"}, {"port", 80}}));
}

TEST(Json, RootIsSaid) {
    bl_flow_event raw = opened();
    raw.process[0].uid = 0;
    EXPECT_EQ(Json::parse(to_json(flow(raw), ""))["source"]["process"]["uid"], 0);
}

TEST(Json, Loss) {
    EXPECT_EQ(
        to_json(to_flow(lost_record(kTime, 17), 5), "n"),
        R"({"time":"2026-11-25T09:00:00.123456789Z","kind":"lost","lost":{"where":"ring","count":17}})");
}

TEST(Json, Escapes) {
    EXPECT_EQ(quoted(""), R"("")");
    EXPECT_EQ(quoted("plain ~"), R"("plain ~")");
    EXPECT_EQ(quoted("a\"b\\c\n\r\t"), R"("a\"b\\c\n\r\t")");
    EXPECT_EQ(quoted(std::string_view("\0\x1f\x7f", 3)), R"("\u0000\u001f\u007f")");
    EXPECT_EQ(quoted("größe €😀"), "\"größe €😀\"");
}

TEST(Json, WhatIsNotUtf8IsReplaced) {
    const std::string_view bad[] = {
        "\x80",
        "\xff",
        "\xc0\xaf",
        "\xc1\xbf",
        "\xc3",
        "\xe2\x82",
        "\xe0\x80\xaf",
        "\xed\xa0\x80",
        "\xf0\x9f\x98",
        "\xf0\x80\x80\x80",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xc3(",
        "a\xe2\x28\xa1z",
    };
    for (const std::string_view text : bad) {
        const std::string out = quoted(text);
        EXPECT_TRUE(Json::accept(out)) << out;
        EXPECT_NE(out.find("\xef\xbf\xbd"), std::string::npos) << out;
    }
    EXPECT_EQ(quoted("a\xffz"), "\"a\xef\xbf\xbdz\"");
}

TEST(Json, EveryPairOfBytesIsValid) {
    for (int a = 0; a < 256; ++a)
        for (int b = 0; b < 256; ++b) {
            const char text[2] = {static_cast<char>(a), static_cast<char>(b)};
            ASSERT_TRUE(Json::accept(quoted({text, 2}))) << a << ' ' << b;
        }
}

TEST(Json, Times) {
    EXPECT_EQ(time_text(0), "1970-01-01T00:00:00.000000000Z");
    EXPECT_EQ(time_text(1'000'000'007), "1970-01-01T00:00:01.000000007Z");
    EXPECT_EQ(time_text(951'782'400'000'000'000), "2000-02-29T00:00:00.000000000Z");
    EXPECT_EQ(time_text(-1), "1969-12-31T23:59:59.999999999Z");
    EXPECT_EQ(time_text(INT64_MAX), "2262-04-11T23:47:16.854775807Z");
}

} // namespace
} // namespace beeline::observe
