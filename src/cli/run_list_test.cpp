#include "cli/run_list.h"

#include <gtest/gtest.h>

namespace beeline::cli {
namespace {

RunRecord record(const std::string& space, const std::string& name,
                 RunRecord::Status status = RunRecord::Status::running) {
    RunRecord result;
    result.space = space;
    result.name = name;
    result.status = status;
    result.container = "id-" + name;
    result.cgroup = "beeline/default/workloads/" + result.key();
    result.pid = 100;
    result.started = 1000;
    result.command = {"/bin/server"};
    result.addresses = {"10.0.0.1"};
    return result;
}

RunListing listing() {
    return {.now = 1100, .usage = [](const std::string& cgroup) {
                return CgroupUsage{.memory_bytes = cgroup.size(), .cpu_us = 50'000'000};
            }};
}

std::vector<std::string> names(const std::vector<RunRow>& rows) {
    std::vector<std::string> result;
    result.reserve(rows.size());
    for (const auto& row : rows)
        result.push_back(row.space + "/" + row.name + " " + row.status);
    return result;
}

using Names = std::vector<std::string>;

TEST(RunList, JoinsRecordsAndWorkloads) {
    const auto workloads = nlohmann::json::parse(R"([
        {"namespace":"shop","name":"web","container":"id-web","addresses":["10.0.0.9"],"labels":{"app":"web"},"source":"run"},
        {"namespace":"data","name":"db","container":"abc","addresses":["10.0.0.2"],"pid":7,"source":"cni",
         "created":"1970-01-01T00:18:00.5Z","cgroup":"/kube/db"}])");
    const auto rows = list_runs({record("shop", "web")}, workloads, listing());
    EXPECT_EQ(names(rows), (Names{"data/db running", "shop/web running"}));
    EXPECT_EQ(rows[0].since, 1080);
    EXPECT_EQ(rows[0].pid, 7);
    EXPECT_EQ(rows[0].source, "cni");
    EXPECT_EQ(rows[0].usage.value_or(CgroupUsage{}).memory_bytes, std::string("kube/db").size());
    EXPECT_EQ(rows[1].addresses, Names{"10.0.0.9"}) << "the agent's word counts";
    EXPECT_EQ(rows[1].labels.at("app"), "web");
    EXPECT_DOUBLE_EQ(rows[1].cpu_percent, 50);
}

TEST(RunList, EndedOnesOnlyWhenAsked) {
    auto ended = record("shop", "job", RunRecord::Status::exited);
    ended.exit_code = 3;
    ended.finished = 1050;
    const std::vector<RunRecord> records = {record("shop", "web"), ended,
                                            record("data", "db", RunRecord::Status::starting)};
    auto wanted = listing();
    EXPECT_EQ(names(list_runs(records, nullptr, wanted)),
              (Names{"data/db starting", "shop/web running"}));
    wanted.exited = true;
    wanted.space = "shop";
    const auto rows = list_runs(records, nullptr, wanted);
    EXPECT_EQ(names(rows), (Names{"shop/job exited 3", "shop/web running"}));
    EXPECT_EQ(rows[0].pid, 0);
    const auto json = to_json(rows[0], 1100);
    EXPECT_EQ(json["status"], "exited");
    EXPECT_EQ(json["exit_code"], 3);
    EXPECT_FALSE(json.contains("pid"));
}

TEST(RunList, AnswersOfAnotherShapeDoNoHarm) {
    const auto odd = nlohmann::json::parse(
        R"([1, null, {"namespace": 3, "created": "soon", "addresses": "x"}])");
    const auto rows = list_runs({}, odd, listing());
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0].since, 0);
    EXPECT_TRUE(list_runs({}, nlohmann::json("text"), listing()).empty());
}

TEST(RunList, Texts) {
    EXPECT_EQ(age_text(-5), "0s");
    EXPECT_EQ(age_text(119), "119s");
    EXPECT_EQ(age_text(600), "10m");
    EXPECT_EQ(age_text(7200), "2h");
    EXPECT_EQ(age_text(3 * 86400), "3d");
    EXPECT_EQ(bytes_text(2048), "2K");
    EXPECT_EQ(bytes_text(3 << 19), "1.5M");
    EXPECT_EQ(bytes_text(2ULL << 30), "2.0G");
    EXPECT_EQ(command_text({"/bin/sh", "-c", "echo $HOME", ""}, 80), "/bin/sh -c 'echo $HOME' ''");
    EXPECT_EQ(command_text({"a\x1b[31mred"}, 80), "a?[31mred") << "nothing that a terminal acts on";
    EXPECT_EQ(command_text({"0123456789"}, 5), "0123…");
}

} // namespace
} // namespace beeline::cli
