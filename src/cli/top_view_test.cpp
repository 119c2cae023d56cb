#include "cli/top_view.h"

#include <gtest/gtest.h>

namespace beeline::cli {
namespace {

using nlohmann::json;

const json kBefore = json::parse(R"({"window_ms":2000,"workloads":[
    {"namespace":"shop","name":"web","cpu_usec":1000000},{"namespace":"shop","name":"db","cpu_usec":500}]})");
const json kNow = json::parse(R"({"window_ms":2000,"workloads":[
    {"namespace":"shop","name":"client","connections":4,"requests":0,"errors":0,"dropped":6,"sent_bytes":100,
     "received_bytes":1948},
    {"namespace":"shop","name":"web","connections":4,"requests":200,"errors":20,"dropped":0,"sent_bytes":0,
     "received_bytes":0,"latency_p95_ns":1048576,"cpu_usec":1500000},
    {"namespace":"shop","name":"db","connections":0,"requests":0,"errors":0,"dropped":0,"sent_bytes":0,
     "received_bytes":0,"cpu_usec":400}]})");

std::vector<std::string> names(TopOrder order) {
    std::vector<std::string> out;
    for (const auto& line : top_lines(kNow, kBefore, 2, order))
        out.push_back(line.name);
    return out;
}

TEST(TopView, NumbersASecond) {
    const auto lines = top_lines(kNow, kBefore, 2, TopOrder::rate);
    ASSERT_EQ(lines.size(), 3U);
    const TopLine& web = lines[0];
    EXPECT_EQ(top_cells(web), (std::vector<std::string>{"shop/web", "100", "requests", "10", "-",
                                                        "-", "<1.0ms", "25%", "2.5ms"}));
    EXPECT_EQ(top_cells(lines[1]), (std::vector<std::string>{"shop/client", "2.0", "connections",
                                                             "-", "3.0", "1.0K", "-", "-", "-"}));
    // A counter that fell is that of another cgroup with the same name.
    EXPECT_FALSE(lines[2].cpu);
    EXPECT_EQ(top_cells(web).size(), top_header().size());
}

TEST(TopView, Orders) {
    using Names = std::vector<std::string>;
    EXPECT_EQ(names(TopOrder::rate), (Names{"shop/web", "shop/client", "shop/db"}));
    EXPECT_EQ(names(TopOrder::drops), (Names{"shop/client", "shop/db", "shop/web"}));
    EXPECT_EQ(names(TopOrder::cpu), (Names{"shop/web", "shop/client", "shop/db"}));
    EXPECT_EQ(names(TopOrder::name), (Names{"shop/client", "shop/db", "shop/web"}));
    EXPECT_EQ(parse_top_order("latency"), TopOrder::latency);
    EXPECT_FALSE(parse_top_order("size"));
}

TEST(TopView, WithoutAnEarlierAnswerThereIsNoCpu) {
    for (const auto& line : top_lines(kNow, nullptr, 0, TopOrder::rate)) {
        EXPECT_FALSE(line.cpu);
        EXPECT_FALSE(top_json(line, "t").contains("cpu"));
    }
    EXPECT_TRUE(top_lines(json(), json(), 1, TopOrder::rate).empty());
}

} // namespace
} // namespace beeline::cli
