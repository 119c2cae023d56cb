#include "observe/filter.h"

#include <gtest/gtest.h>

#include "observe/enrich.h"
#include "observe/test_events.h"

namespace beeline::observe {
namespace {

using namespace testing;
using model::Protocol;
using Verdict = model::Flow::Verdict;

// Both forms of a flow must always agree.
bool matches(const FlowFilter& filter, const bl_flow_event& raw, std::int64_t time_ns = 0) {
    Enricher enricher("/nonexistent");
    enricher.set_directory(directory());
    Record record = enricher.enrich(decode_flow(bytes(raw)).value());
    record.time_ns = time_ns;
    const bool by_record = filter.matches(record);
    EXPECT_EQ(by_record, filter.matches(to_flow(record, 1)));
    return by_record;
}

TEST(FlowFilter, EmptyMatchesEverything) {
    EXPECT_TRUE(matches({}, opened()));
    EXPECT_TRUE(matches({}, denied()));
}

TEST(FlowFilter, PodsOfEitherEnd) {
    for (const char* pod : {"shop/client", "shop/web", "shop/", "client", "web"})
        EXPECT_TRUE(matches({.pods = {pod}}, opened())) << pod;
    for (const char* pod : {"shop/we", "other/web", "other/", "webby", "/web", "", "shop"})
        EXPECT_FALSE(matches({.pods = {pod}}, opened())) << pod;
    EXPECT_TRUE(matches({.pods = {"other/x", "shop/web"}}, opened()));
}

TEST(FlowFilter, ToPodIsTheDestination) {
    EXPECT_TRUE(matches({.to_pods = {"shop/web"}}, opened()));
    EXPECT_FALSE(matches({.to_pods = {"shop/client"}}, opened()));
    EXPECT_TRUE(matches({.pods = {"client"}, .to_pods = {"web"}}, opened()));
    EXPECT_FALSE(matches({.pods = {"other"}, .to_pods = {"web"}}, opened()));
}

TEST(FlowFilter, WorldIsNoPod) {
    bl_flow_event raw = opened();
    raw.key.dst = addr("192.0.2.1");
    raw.endpoint[1] = 0;
    raw.identity[1] = BL_ID_world;
    EXPECT_FALSE(matches({.to_pods = {"shop/"}}, raw));
    EXPECT_FALSE(matches({.to_pods = {""}}, raw));
    EXPECT_FALSE(matches({.to_pods = {"/"}}, raw));
}

TEST(FlowFilter, ProcessOfEitherEnd) {
    const bl_flow_event raw = opened();
    EXPECT_TRUE(matches({.pids = {1, raw.process[0].pid}}, raw));
    EXPECT_FALSE(matches({.pids = {raw.process[0].pid + 100'000}}, raw));
}

TEST(FlowFilter, Verdicts) {
    EXPECT_TRUE(matches({.verdicts = {Verdict::dropped}}, denied()));
    EXPECT_FALSE(matches({.verdicts = {Verdict::dropped}}, opened()));
    EXPECT_TRUE(matches({.verdicts = {Verdict::dropped, Verdict::forwarded}}, opened()));
}

TEST(FlowFilter, Protocols) {
    bl_flow_event ping6 = opened();
    ping6.key.proto = 58;
    EXPECT_TRUE(matches({.protocols = {Protocol::tcp}}, opened()));
    EXPECT_TRUE(matches({.protocols = {Protocol::udp, Protocol::tcp}}, opened()));
    EXPECT_TRUE(matches({.protocols = {Protocol::any}}, opened()));
    EXPECT_FALSE(matches({.protocols = {Protocol::udp}}, opened()));
    EXPECT_TRUE(matches({.protocols = {Protocol::icmp}}, ping6));
    EXPECT_TRUE(matches({.protocols = {Protocol::icmpv6}}, ping6));
    ping6.key.proto = 1;
    EXPECT_FALSE(matches({.protocols = {Protocol::icmpv6}}, ping6));
}

TEST(FlowFilter, Ports) {
    EXPECT_TRUE(matches({.ports = {8080}}, opened()));
    EXPECT_TRUE(matches({.ports = {80}}, opened())); // of the service
    EXPECT_FALSE(matches({.ports = {40000}}, opened()));
    EXPECT_TRUE(matches({.ports = {1, 8080}}, opened()));
    EXPECT_FALSE(matches({.ports = {0}}, denied()));
    bl_flow_event ping = opened();
    for (const std::uint8_t protocol : {1, 58, 47}) {
        ping.key.proto = protocol;
        EXPECT_FALSE(matches({.ports = {8080}}, ping));
    }
}

TEST(FlowFilter, FieldsRestrictEachOther) {
    FlowFilter filter{.pods = {"shop/web"},
                      .verdicts = {Verdict::forwarded},
                      .protocols = {Protocol::tcp},
                      .ports = {80}};
    EXPECT_TRUE(matches(filter, opened()));
    filter.ports = {81};
    EXPECT_FALSE(matches(filter, opened()));
}

TEST(FlowFilter, Since) {
    EXPECT_TRUE(matches({.since_ns = 100}, opened(), 100));
    EXPECT_FALSE(matches({.since_ns = 100}, opened(), 99));
}

TEST(FlowFilter, LossesConcernEverybody) {
    const Record lost = lost_record(100, 7);
    const FlowFilter narrow{.pods = {"shop/web"}, .verdicts = {Verdict::dropped}, .ports = {80}};
    EXPECT_TRUE(narrow.matches(lost));
    EXPECT_TRUE(narrow.matches(to_flow(lost, 1)));
    EXPECT_FALSE(FlowFilter{.since_ns = 101}.matches(lost));
}

bool matches_l7(const FlowFilter& filter, const model::L7& l7) {
    Enricher enricher("/nonexistent");
    enricher.set_directory(directory());
    Record record = enricher.enrich(decode_flow(bytes(opened())).value());
    record.kind = model::Flow::Kind::l7;
    record.l7 = std::make_shared<const model::L7>(l7);
    const bool by_record = filter.matches(record);
    EXPECT_EQ(by_record, filter.matches(to_flow(record, 1)));
    return by_record;
}

TEST(FlowFilter, MessagesOfApplications) {
    model::L7 answer;
    answer.type = model::L7::Type::response;
    answer.status = model::L7::Status::error;
    answer.code = 503;
    answer.method = "GET";
    answer.resource = "/shop/cart/7/items";
    EXPECT_TRUE(matches_l7({}, answer));
    FlowFilter filter;
    filter.l7 = true;
    EXPECT_TRUE(matches_l7(filter, answer));
    EXPECT_FALSE(matches(filter, opened()));

    const auto status = [&](StatusRange range) {
        FlowFilter wanted;
        wanted.statuses = {range};
        return matches_l7(wanted, answer);
    };
    EXPECT_TRUE(status({500, 599, {}}));
    EXPECT_FALSE(status({400, 499, {}}));
    EXPECT_TRUE(status({0, 0, model::L7::Status::error}));
    EXPECT_FALSE(status({0, 999, model::L7::Status::ok}));
    filter = {};
    filter.statuses = {{500, 599, {}}};
    EXPECT_FALSE(matches(filter, opened()));
    model::L7 request = answer;
    request.type = model::L7::Type::request;
    EXPECT_FALSE(matches_l7(filter, request)) << "a request has no status";

    filter = {};
    filter.methods = {"get"};
    EXPECT_TRUE(matches_l7(filter, answer));
    filter.methods = {"POST"};
    EXPECT_FALSE(matches_l7(filter, answer));
    const auto path = [&](const char* pattern) {
        FlowFilter wanted;
        wanted.paths = {pattern};
        return matches_l7(wanted, answer);
    };
    for (const char* good : {"/shop", "/shop/cart/7/items", "*", "/shop/*/items", "*items",
                             "*/cart/*", "/*/*/*/items", ""})
        EXPECT_TRUE(path(good)) << good;
    for (const char* bad :
         {"/cart", "cart", "/shop/*/item", "items*", "*/carts/*", "/shop/cart/7/items/*"})
        EXPECT_FALSE(path(bad)) << bad;
}

TEST(FlowFilter, ApplicationProtocolsAreAlternativesToTransports) {
    model::L7 answer;
    answer.protocol = model::L7::Protocol::redis;
    FlowFilter filter;
    filter.l7_protocols = {model::L7::Protocol::redis};
    EXPECT_TRUE(matches_l7(filter, answer));
    EXPECT_FALSE(matches(filter, opened()));
    filter.protocols = {Protocol::udp};
    EXPECT_TRUE(matches_l7(filter, answer));
    filter.l7_protocols = {model::L7::Protocol::kafka};
    EXPECT_FALSE(matches_l7(filter, answer));
    filter.protocols = {Protocol::tcp};
    EXPECT_TRUE(matches_l7(filter, answer));
}

} // namespace
} // namespace beeline::observe
