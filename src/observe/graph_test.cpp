#include "observe/graph.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "observe/enrich.h"
#include "observe/test_events.h"

namespace beeline::observe {
namespace {

using nlohmann::json;

constexpr std::int64_t kNow = 1'800'000'030;
constexpr std::int64_t kNs = 1'000'000'000;

class GraphTest : public ::testing::Test {
protected:
    GraphTest() {
        enricher_.set_directory(directory_);
        graph_.set_directory(directory_);
        graph_.advance(kNow * kNs);
    }

    Record record(const bl_flow_event& event, std::int64_t second) {
        const auto decoded = decode_flow(testing::bytes(event));
        Record made = enricher_.enrich(decoded.value());
        made.time_ns = second * kNs + 5;
        return made;
    }
    Record answer(std::int64_t second, std::uint64_t latency_ns, bool failed = false) {
        Record made = record(testing::opened(), second);
        made.kind = model::Flow::Kind::l7;
        made.packets = made.bytes = {}; // numbers of a shared message, in such flows
        auto l7 = std::make_shared<model::L7>();
        l7->type = model::L7::Type::response;
        l7->status = failed ? model::L7::Status::error : model::L7::Status::ok;
        l7->latency_ns = latency_ns;
        made.l7 = l7;
        return made;
    }
    json changes(std::string_view cursor = {}) { return json::parse(graph_.changes(cursor, "n")); }
    static json edge(const json& map, std::string_view from, std::string_view to) {
        for (const auto& one : map["edges"])
            if (one["from"] == from && one["to"] == to) return one;
        return {};
    }
    static json node(const json& map, std::string_view id) {
        for (const auto& one : map["nodes"])
            if (one["id"] == id) return one;
        return {};
    }

    std::shared_ptr<model::Directory> directory_ = testing::directory();
    Enricher enricher_{"/nonexistent"};
    Graph graph_{7};
};

TEST_F(GraphTest, WorkloadsAreThereBeforeTheyTalk) {
    const json map = changes();
    EXPECT_TRUE(map["full"]);
    EXPECT_TRUE(map["edges"].empty());
    const json web = node(map, "w:shop/web");
    EXPECT_EQ(web["kind"], "workload");
    EXPECT_EQ(web["labels"]["tier"], "front");
    EXPECT_TRUE(web["ingress_isolated"]);
    EXPECT_FALSE(web.contains("egress_isolated"));
    EXPECT_TRUE(node(map, "w:shop/far").is_null()); // elsewhere, and silent
}

TEST_F(GraphTest, AnEdgeCountsFlowsDropsRequestsAndLatency) {
    for (int i = 0; i < 20; ++i)
        graph_.add(record(testing::opened(), kNow - i % 4));
    for (int i = 0; i < 3; ++i)
        graph_.add(record(testing::denied(), kNow - 20));
    for (int i = 0; i < 10; ++i)
        graph_.add(answer(kNow - 1, i < 9 ? 1'000'000 : 100'000'000, i == 9));
    graph_.advance(kNow * kNs);
    const json map = changes();
    const json one = edge(map, "w:shop/client", "w:shop/web");
    EXPECT_EQ(one["flows"], 20);
    EXPECT_EQ(one["flows_s"], 2);
    EXPECT_EQ(one["dropped"], 3);
    EXPECT_FALSE(one.contains("dropped_s")); // longer ago than rates look
    EXPECT_TRUE(one["denied"]);
    EXPECT_EQ(one["reason"], "Policy denied");
    EXPECT_EQ(one["last_dropped"], kNow - 20);
    EXPECT_EQ(one["requests"], 10);
    EXPECT_EQ(one["errors"], 1);
    EXPECT_NEAR(one["p50_ms"].get<double>(), 1.0, 0.5);
    EXPECT_NEAR(one["p95_ms"].get<double>(), 100.0, 45);
    ASSERT_EQ(one["ports"].size(), 2U);
    EXPECT_EQ(one["ports"][0]["port"], 80);
    EXPECT_EQ(one["ports"][0]["service"], "shop/web");
    EXPECT_EQ(one["ports"][1]["port"], 5432);
    EXPECT_EQ(node(map, "w:shop/web")["in"]["flows"], 20);
    EXPECT_EQ(node(map, "w:shop/client")["out"]["dropped"], 3);
    EXPECT_EQ(map["total"]["flows"], 20);
}

TEST_F(GraphTest, BytesAreSpreadOverTheLifeOfTheConnection) {
    Record closed = record(testing::closed(), kNow);
    closed.opened_ns = (kNow - 9) * kNs;
    closed.bytes = {1000, 9005};
    graph_.add(closed);
    graph_.advance(kNow * kNs);
    const json series = json::parse(graph_.edge_series("w:shop/client", "w:shop/web").value());
    const auto bytes = series["bytes"].get<std::vector<std::uint64_t>>();
    ASSERT_EQ(bytes.size(), static_cast<std::size_t>(Graph::kWindow));
    EXPECT_EQ(bytes[bytes.size() - 11], 0U);
    EXPECT_EQ(bytes[bytes.size() - 10], 1000U);
    EXPECT_EQ(bytes.back(), 1005U);
}

TEST_F(GraphTest, ChangesTellOnlyWhatIsNewAndWhatIsGone) {
    graph_.add(record(testing::opened(), kNow));
    graph_.advance(kNow * kNs);
    const json first = changes();
    const std::string cursor = first["cursor"];
    EXPECT_TRUE(changes(cursor)["edges"].empty());
    // Long silent: nothing changes, then it vanishes.
    graph_.advance((kNow + Graph::kWindow + 1) * kNs);
    const json later = changes(cursor);
    EXPECT_FALSE(later.contains("full"));
    ASSERT_EQ(later["gone_edges"].size(), 1U);
    EXPECT_EQ(later["gone_edges"][0][1], "w:shop/web");
    EXPECT_TRUE(later["gone_nodes"].empty()); // its ends are attached here
    directory_ = std::make_shared<model::Directory>();
    graph_.set_directory(directory_);
    graph_.advance((kNow + Graph::kWindow + 2) * kNs);
    EXPECT_EQ(changes(cursor)["gone_nodes"].size(), 2U);
    // Cursors of others get everything.
    for (const std::string_view strange : {"", "x", "7-", "7-99999", "8-1", "7--1"})
        EXPECT_TRUE(changes(strange).contains("full")) << strange;
}

TEST_F(GraphTest, TheWorldIsGroupedByNameAndNetwork) {
    auto event = testing::opened();
    event.svc_addr = {};
    event.svc_port = 0;
    event.endpoint[1] = 0;
    event.identity[1] = BL_ID_world;
    event.key.dst = testing::addr("198.51.100.7");
    graph_.add(record(event, kNow));
    event.key.dst = testing::addr("198.51.100.9");
    graph_.add(record(event, kNow));
    Record dns = answer(kNow, 0);
    auto l7 = std::make_shared<model::L7>(*dns.l7);
    l7->protocol = model::L7::Protocol::dns;
    l7->resource = "example.org.";
    l7->dns.addresses = {testing::ip("198.51.100.20")};
    dns.l7 = l7;
    graph_.add(dns);
    event.key.dst = testing::addr("198.51.100.20");
    graph_.add(record(event, kNow));
    graph_.advance(kNow * kNs);
    const json map = changes();
    EXPECT_EQ(edge(map, "w:shop/client", "x:198.51.100.0/24")["flows"], 2);
    EXPECT_EQ(edge(map, "w:shop/client", "x:example.org")["flows"], 1);
}

TEST(Graph, IsBounded) {
    Graph graph(1, {.nodes = 20, .edges = 12, .world = 4, .contexts = 8, .names = 4, .gone = 4});
    Enricher enricher("/nonexistent");
    enricher.set_directory(testing::directory());
    graph.advance(kNow * kNs);
    for (int i = 0; i < 200; ++i) {
        auto event = testing::opened();
        event.endpoint[0] = event.endpoint[1] = 0;
        event.identity[0] = event.identity[1] = BL_ID_world;
        event.key.src = testing::addr("198.18." + std::to_string(i) + ".1");
        event.key.dst = testing::addr("198.19." + std::to_string(i) + ".1");
        const auto decoded = decode_flow(testing::bytes(event));
        ASSERT_TRUE(decoded);
        Record record = enricher.enrich(*decoded);
        record.time_ns = kNow * kNs;
        graph.add(record);
    }
    graph.advance(kNow * kNs);
    const json map = json::parse(graph.changes("", ""));
    EXPECT_LE(map["nodes"].size(), 5U);
    EXPECT_EQ(map["total"]["flows"], 200);
    // What was long ago, or is said to come, is not taken.
    const json before = map["total"];
    graph.advance((kNow + 400) * kNs);
    const json after = json::parse(graph.changes(map["cursor"].get<std::string>(), ""));
    EXPECT_TRUE(after["full"]); // too much has gone for telling what
    EXPECT_TRUE(after["edges"].empty());
}

TEST_F(GraphTest, RecordsOfOtherTimesAreLeftOut) {
    graph_.add(record(testing::opened(), kNow - Graph::kWindow - 1));
    graph_.add(record(testing::opened(), kNow + 3600));
    graph_.advance(kNow * kNs);
    EXPECT_TRUE(changes()["edges"].empty());
    EXPECT_FALSE(graph_.node_series("w:shop/none"));
    EXPECT_FALSE(graph_.edge_series("w:shop/client", "w:shop/web"));
    EXPECT_EQ(json::parse(graph_.peers("w:shop/web")),
              (json{{"in", json::array()}, {"out", json::array()}}));
}

} // namespace
} // namespace beeline::observe
