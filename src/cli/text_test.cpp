// Tables, YAML, suggestions and flow lines: everything that is text alone.
#include <cstdlib>
#include <ctime>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <yaml-cpp/yaml.h>

#include "cli/flow_text.h"
#include "cli/json_view.h"
#include "cli/suggest.h"
#include "cli/table.h"
#include "cli/yaml_text.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

// --- tables

std::string printed(const Table& table) {
    std::ostringstream out;
    table.print(out);
    return out.str();
}

TEST(Table, AlignsColumnsAndLeavesNoSpacesAtTheEnd) {
    Table table({"NAME", "KIND", "X"});
    EXPECT_TRUE(table.empty());
    table.row({"a-long-name", "Pod", "1"});
    table.row({"b", "", "22"});
    table.row({"c"});
    EXPECT_EQ(printed(table), "NAME         KIND  X\n"
                              "a-long-name  Pod   1\n"
                              "b            -     22\n"
                              "c            -     -\n");
}

TEST(Table, CountsCharactersAndNeverCuts) {
    Table table({"A", "B"});
    table.row({"\xc3\xa9\xc3\xa9", "x"});
    table.row({std::string(300, 'y'), "z"});
    EXPECT_EQ(printed(table), "A" + std::string(301, ' ') + "B\n\xc3\xa9\xc3\xa9" +
                                  std::string(300, ' ') + "x\n" + std::string(300, 'y') + "  z\n");
}

TEST(Table, ControlCharactersCannotReachTheTerminal) {
    EXPECT_EQ(printable("a\033[31mb\n\tc\x7f"), "a?[31mb??c?");
    EXPECT_EQ(printable("\xc2\x9b"
                        "31m"),
              "??31m");
    EXPECT_EQ(printable("\xc3\xa9\xc2\xa0"), "\xc3\xa9\xc2\xa0");
}

// --- YAML

json back(const YAML::Node& node) {
    if (node.IsSequence()) {
        json out = json::array();
        for (const auto& item : node)
            out.push_back(back(item));
        return out;
    }
    if (node.IsMap()) {
        json out = json::object();
        for (const auto& member : node)
            out[member.first.as<std::string>()] = back(member.second);
        return out;
    }
    if (node.IsNull()) return nullptr;
    auto text = node.as<std::string>();
    if (node.Tag() == "!") return text; // quoted
    const auto value = json::parse(text, nullptr, false);
    return value.is_discarded() ? json(text) : value;
}

TEST(Yaml, WritesBlocks) {
    EXPECT_EQ(
        to_yaml(
            {{"a", 1}, {"b", {{"c", "x"}, {"d", json::array({1, "two"})}}}, {"e", json::object()}}),
        "a: 1\nb:\n  c: x\n  d:\n    - 1\n    - two\ne: {}\n");
    EXPECT_EQ(to_yaml(json::array({{{"a", 1}, {"b", 2}}, json::array({1, 2}), json::array()})),
              "- a: 1\n  b: 2\n- - 1\n  - 2\n- []\n");
    EXPECT_EQ(to_yaml({{"text", "one\n\n  two\n"}}), "text: |\n  one\n\n    two\n");
    EXPECT_EQ(to_yaml(nullptr), "null\n");
    EXPECT_EQ(to_yaml(json::array()), "[]\n");
}

TEST(Yaml, ReadsBackAsItWas) {
    json values = json::array();
    for (const std::string text : {"",
                                   "plain",
                                   "10.0.0.1",
                                   "fd00::1",
                                   "true",
                                   "No",
                                   "null",
                                   "~",
                                   "1e3",
                                   "0x1f",
                                   "2026-11-25",
                                   "- dash",
                                   "a: b",
                                   "a:",
                                   "#x",
                                   "x #y",
                                   "'q'",
                                   "\"q\"",
                                   "&a",
                                   "*a",
                                   "!t",
                                   "|",
                                   ">",
                                   "%",
                                   "@x",
                                   "`",
                                   "[a]",
                                   "{a}",
                                   "a, b",
                                   " lead",
                                   "trail ",
                                   "line\nbreak",
                                   "line\nbreak\n",
                                   "two\n\n",
                                   "\nfirst",
                                   " lead\nx",
                                   "tab\tx",
                                   "a\n\tb",
                                   "\x01",
                                   "\xc3\xa9",
                                   "a\\b",
                                   "/usr/bin/x",
                                   "NetworkPolicy shop/deny ingress[0]",
                                   "=",
                                   "y",
                                   "?",
                                   "-",
                                   "a\r\nb"})
        values.push_back(text);
    values.push_back(-5);
    values.push_back(1.5);
    values.push_back(false);
    values.push_back(nullptr);
    values.push_back(
        {{"nested", {{"deep", json::array({json::array({json::object({{"k", "v"}})})})}}}});
    values.push_back({{"weird key: x", 1}, {"true", 2}, {"", 3}});
    for (const auto& value : values) {
        const json document{{"value", value}, {"list", json::array({value, value})}};
        const std::string text = to_yaml(document);
        EXPECT_EQ(back(YAML::Load(text)), document) << text;
    }
}

// --- suggestions

TEST(Suggest, FindsSlips) {
    const std::vector<std::string> verbs{"status", "run",   "ps",     "apply",  "delete",
                                         "get",    "flows", "policy", "service"};
    EXPECT_EQ(nearest("folws", verbs), "flows");
    EXPECT_EQ(nearest("flow", verbs), "flows");
    EXPECT_EQ(nearest("aply", verbs), "apply");
    EXPECT_EQ(nearest("stauts", verbs), "status");
    EXPECT_EQ(nearest("polcy", verbs), "policy");
    EXPECT_EQ(nearest("serv", verbs), "service");
    EXPECT_EQ(nearest("xyz", verbs), "");
    EXPECT_EQ(nearest("kubernetes", verbs), "");
    EXPECT_EQ(nearest("", verbs), "");
    EXPECT_EQ(nearest("x", {}), "");
}

// --- reading answers

TEST(JsonView, SurvivesAnyShape) {
    const json odd{{"a", 5}, {"s", "x"}, {"l", {1, "two", nullptr}}, {"n", nullptr}};
    EXPECT_TRUE(member(json(3), "a").is_null());
    EXPECT_TRUE(list(odd, "a").empty());
    EXPECT_EQ(text(odd, "a"), "5");
    EXPECT_EQ(text(odd, "n"), "");
    EXPECT_EQ(number(odd, "s"), 0U);
    EXPECT_FALSE(flag(odd, "a"));
    EXPECT_EQ(texts(odd, "l"), (std::vector<std::string>{"1", "two", ""}));
    EXPECT_EQ(object_name({{"namespace", "shop"}, {"name", "web"}}), "shop/web");
    EXPECT_EQ(object_name({{"name", "ns"}}), "ns");
    EXPECT_EQ(address_port("fd00::1", 80), "[fd00::1]:80");
    EXPECT_EQ(address_port("10.0.0.1", 80), "10.0.0.1:80");
    EXPECT_EQ(address_port("10.0.0.1", 0), "10.0.0.1");
    EXPECT_EQ(duration_text(350), "350ms");
    EXPECT_EQ(duration_text(200'000), "3m20s");
    EXPECT_EQ(duration_text(18'720'000), "5h12m");
    EXPECT_EQ(duration_text(183'600'000), "2d3h");
}

// --- flows

class FlowText : public testing::Test {
protected:
    void SetUp() override {
        setenv("TZ", "UTC", 1);
        tzset();
    }
    std::string line(const json& flow, Format format = Format::table, bool color = false) {
        std::ostringstream out;
        Context context{.out = out, .err = out};
        context.format = format;
        context.color = color;
        return flow_text(context, flow);
    }
    json flow = json::parse(R"({
        "time":"2026-11-25T09:00:00.123456789Z","number":1,"kind":"opened","verdict":"FORWARDED","protocol":"TCP",
        "source":{"kind":"workload","address":"10.0.0.2","port":40000,"identity":256,"namespace":"shop","name":"client",
                  "labels":{"app":"client","tier":"x"},"process":{"pid":12,"binary":"/usr/bin/curl","comm":"curl","uid":1000}},
        "destination":{"kind":"workload","address":"10.0.0.3","port":8080,"identity":257,"namespace":"shop","name":"web-1",
                       "labels":{"app":"web"}},
        "service":{"name":"shop/web","address":"10.96.0.1","port":80},
        "ingress_rule":"NetworkPolicy shop/allow-web ingress[0]","tcp_flags":["SYN"],"interface":"bl01"})");
};

TEST_F(FlowText, Allowed) {
    EXPECT_EQ(line(flow),
              "Nov 25 09:00:00.123 shop/client(client)        -> shop/web-1(web)            "
              "TCP:8080  FORWARDED "
              "opened   NetworkPolicy shop/allow-web ingress[0]; via shop/web:80  curl[12]");
    EXPECT_EQ(line(flow, Format::table, true), line(flow)) << "only denials have a colour";
}

TEST_F(FlowText, Wide) {
    const std::string wide = line(flow, Format::wide);
    for (const std::string part :
         {"2026-11-25T09:00:00.123456789Z ", "shop/client(app=client,tier=x 10.0.0.2:40000 id 256)",
          "shop/web-1(app=web 10.0.0.3:8080 id 257)", "/usr/bin/curl[12,uid 1000]", "  SYN  bl01"})
        EXPECT_NE(wide.find(part), std::string::npos) << part << " in " << wide;
}

TEST_F(FlowText, WhoStandsBehindAProcess) {
    flow["source"]["process"]["user"] = "alice";
    flow["source"]["process"]["container"] = std::string(64, 'c');
    flow["source"]["process"]["ancestry"] = {"/bin/sh", "/sbin/init"};
    EXPECT_NE(line(flow, Format::wide)
                  .find("/usr/bin/curl[12,alice,container cccccccccccc] by /bin/sh</sbin/init"),
              std::string::npos)
        << line(flow, Format::wide);
    EXPECT_TRUE(line(flow).ends_with("  curl[12]"));
}

TEST_F(FlowText, MessagesOfApplications) {
    flow["kind"] = "l7";
    flow["l7"] = {{"protocol", "http"},  {"type", "response"},    {"status", "error"},
                  {"code", 503},         {"method", "GET"},       {"host", "web"},
                  {"resource", "/cart"}, {"latency_ns", 12300000}};
    EXPECT_NE(line(flow).find(" http      FORWARDED response  GET web/cart -> 503 12.3ms"),
              std::string::npos)
        << line(flow);
    EXPECT_TRUE(line(flow, Format::table, true).starts_with("\033[33m"));
    flow["l7"] = {{"protocol", "dns"},      {"type", "response"},        {"status", "ok"},
                  {"resource", "web.shop"}, {"addresses", {"10.0.0.7"}}, {"latency_ns", 250000}};
    EXPECT_NE(line(flow).find("web.shop -> ok 10.0.0.7 250us"), std::string::npos) << line(flow);
    flow["l7"] = {{"protocol", "redis"},
                  {"type", "request"},
                  {"method", "GET"},
                  {"resource", "key\x1b[31m"},
                  {"tls", 1}};
    EXPECT_NE(line(flow).find(" redis+tls FORWARDED request  GET key?[31m"), std::string::npos)
        << line(flow);
}

TEST_F(FlowText, BothProcesses) {
    flow["destination"]["process"] = {{"pid", 34}, {"comm", "python3"}, {"uid", 0}};
    EXPECT_TRUE(line(flow).ends_with("  curl[12] -> python3[34]"));
    flow["source"].erase("process");
    EXPECT_TRUE(line(flow).ends_with("  -> python3[34]"));
}

TEST_F(FlowText, Closed) {
    flow["kind"] = "closed";
    flow["packets"] = {{"source", 12}, {"destination", 10}};
    flow["bytes"] = {{"source", 900}, {"destination", 5 * 1024 * 1024}};
    flow["duration_ms"] = 350;
    EXPECT_NE(line(flow).find("; 12 packets 900B out, 10 packets 5.0M back, 350ms;"),
              std::string::npos)
        << line(flow);
}

TEST_F(FlowText, DefaultDenyNamesThePolicies) {
    flow["kind"] = "dropped";
    flow["verdict"] = "DROPPED";
    flow.erase("ingress_rule");
    flow.erase("service");
    flow["drop_reason"] = {{"code", 133}, {"name", "POLICY_DENIED"}, {"text", "Policy denied"}};
    flow["denied_direction"] = "ingress";
    flow["denied_by"] = {"NetworkPolicy shop/default-deny", "NetworkPolicy shop/other"};
    EXPECT_NE(
        line(flow).find(
            "DROPPED   dropped  Policy denied (ingress): no rule allows; isolated by NetworkPolicy "
            "shop/default-deny, NetworkPolicy shop/other  curl[12]"),
        std::string::npos)
        << line(flow);
    const std::string red = line(flow, Format::table, true);
    EXPECT_TRUE(red.starts_with("\033[31m"));
    EXPECT_TRUE(red.ends_with("\033[0m"));
}

TEST_F(FlowText, DenyRulesAndOtherReasons) {
    flow["kind"] = "dropped";
    flow["verdict"] = "DROPPED";
    flow["drop_reason"] = {{"text", "Policy denied by denylist"}};
    flow["denied_direction"] = "ingress";
    flow["ingress_rule"] = "Policy shop/ban ingress[1]";
    EXPECT_NE(line(flow).find("Policy denied by denylist (ingress) by Policy shop/ban ingress[1]"),
              std::string::npos);
    flow.erase("denied_direction");
    flow.erase("ingress_rule");
    flow["drop_reason"] = {{"code", 132}, {"name", "INVALID_SOURCE_IP"}};
    EXPECT_NE(line(flow).find("dropped  INVALID_SOURCE_IP; via"), std::string::npos) << line(flow);
}

TEST_F(FlowText, HostWorldAndIcmp) {
    flow["source"] = {{"kind", "host"}, {"address", "10.0.0.1"}};
    flow["destination"] = {{"kind", "world"}, {"address", "192.0.2.7"}};
    flow["protocol"] = "ICMP";
    flow["icmp"] = {{"type", 8}, {"code", 0}};
    EXPECT_NE(line(flow).find(
                  " host                       -> 192.0.2.7                  ICMP:8/0  FORWARDED"),
              std::string::npos)
        << line(flow);
}

TEST_F(FlowText, LossesAreVisible) {
    const json lost = json::parse(
        R"({"time":"2026-11-25T09:00:00.5Z","kind":"lost","lost":{"where":"ring","count":1200}})");
    EXPECT_EQ(line(lost), "Nov 25 09:00:00.500 LOST 1200 flows are missing here (ring)");
    EXPECT_TRUE(line(lost, Format::table, true).starts_with("\033[33m"));
}

TEST_F(FlowText, NothingInAFlowUpsetsTheTerminal) {
    flow["source"]["process"]["comm"] = "\033]0;x\a";
    flow["source"]["process"].erase("binary");
    EXPECT_EQ(line(flow).find('\033'), std::string::npos);
    for (const json& odd :
         {json(), json("text"), json::object(), json{{"kind", 5}, {"source", "x"}, {"packets", 3}}})
        EXPECT_FALSE(line(odd).empty());
}

} // namespace
} // namespace beeline::cli
