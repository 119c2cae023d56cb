#include "datapath/workloads.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace beeline::datapath {
namespace {

namespace fs = std::filesystem;

class WorkloadsTest : public testing::Test {
protected:
    void SetUp() override {
        folder_ = fs::temp_directory_path() / fmt::format("beeline-workloads-{}", getpid());
        fs::remove_all(folder_);
    }
    void TearDown() override { fs::remove_all(folder_); }

    std::unique_ptr<Workloads> open(const Workloads::Alive& alive = [](const auto&) {
        return true;
    }) {
        auto workloads = Workloads::open(
            folder_,
            {.attach = [this](const model::Workload& w) -> Result<> {
                 if (fail_attach_) return fail(Code::system, "no program");
                 attached_.push_back(w.id);
                 return {};
             },
             .detach = [this](const model::Workload& w) { detached_.push_back(w.id); }},
            alive);
        EXPECT_TRUE(workloads);
        return std::move(*workloads);
    }
    static model::Workload workload(const std::string& container, const std::string& name = "web") {
        model::Workload w;
        w.name = {"shop", name};
        w.labels = {{"app", "web"}, {"odd", "\xff"}};
        w.ports = {{"http", model::Protocol::tcp, 80}};
        w.addresses = {net::Ip::parse("10.0.0.2").value(), net::Ip::parse("fd00::2").value()};
        w.container = container;
        w.interface = "eth0";
        w.host_interface = "bl000000000001";
        w.network = "pods";
        w.ifindex = 7;
        w.mac = {2, 0, 0, 0, 0, 1};
        w.netns = "/run/netns/x";
        w.netns_inode = 4026532000;
        w.cgroup = "a/b";
        w.cgroup_id = 99;
        w.pid = 12;
        w.source = "cni";
        w.created = 1700000000;
        w.chained = true;
        w.host_ports = {{.address = net::Ip::parse("192.0.2.1").value(),
                         .v4 = true,
                         .v6 = false,
                         .protocol = model::Protocol::udp,
                         .port = 5353,
                         .target = 53}};
        w.bandwidth.egress = {8'000'000, 4'294'967'295};
        return w;
    }
    std::size_t records() const {
        return static_cast<std::size_t>(
            std::count_if(fs::directory_iterator(folder_), fs::directory_iterator(),
                          [](const auto& e) { return e.path().extension() == ".json"; }));
    }

    fs::path folder_;
    bool fail_attach_ = false;
    std::vector<std::uint32_t> attached_;
    std::vector<std::uint32_t> detached_;
};

TEST_F(WorkloadsTest, EverythingIsFoundAndKept) {
    {
        auto workloads = open();
        const auto added = workloads->add(workload("c1"));
        ASSERT_TRUE(added);
        EXPECT_EQ((*added)->id, 1U);
        EXPECT_EQ(attached_, std::vector<std::uint32_t>{1});
        EXPECT_EQ(workloads->add(workload("c1")).error().code, Code::exists);
    }
    attached_.clear();
    auto workloads = open();
    EXPECT_TRUE(attached_.empty());
    ASSERT_EQ(workloads->size(), 1U);
    const auto* w = workloads->find("c1", "eth0");
    ASSERT_NE(w, nullptr);
    auto expected = workload("c1");
    expected.id = 1;
    expected.labels["odd"] = "\xef\xbf\xbd"; // what is not UTF-8 becomes the replacement character
    EXPECT_EQ(workload_to_json(*w), workload_to_json(expected));
    EXPECT_EQ(w->host_ports, expected.host_ports);
    EXPECT_EQ(w->bandwidth, expected.bandwidth);
    EXPECT_EQ(workloads->by_id(1), w);
    EXPECT_EQ(workloads->by_ifindex(7), w);
    EXPECT_EQ(workloads->by_name({"shop", "web"}), w);
    EXPECT_EQ(workloads->by_id(2), nullptr);
    EXPECT_EQ(workloads->by_ifindex(8), nullptr);
    EXPECT_EQ(workloads->by_name({"shop", "db"}), nullptr);
    EXPECT_EQ(workloads->find("c1", "eth1"), nullptr);

    workloads->remove("c1", "eth0");
    workloads->remove("c1", "eth0");
    EXPECT_EQ(detached_, std::vector<std::uint32_t>{1});
    EXPECT_EQ(records(), 0U);
}

TEST_F(WorkloadsTest, IdsAreNeverUsedAgain) {
    std::uint32_t last = 0;
    for (int start = 0; start < 3; ++start) {
        auto workloads = open();
        for (int i = 0; i < 150; ++i) {
            const auto added = workloads->add(workload("c"));
            ASSERT_TRUE(added);
            EXPECT_GT((*added)->id, last);
            last = (*added)->id;
            workloads->remove("c", "eth0");
        }
    }
    EXPECT_LT(last, 700U);
}

TEST_F(WorkloadsTest, AFailedAttachLeavesNothing) {
    auto workloads = open();
    fail_attach_ = true;
    const auto added = workloads->add(workload("c1"));
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error().message, "no program");
    EXPECT_EQ(workloads->size(), 0U);
    EXPECT_EQ(records(), 0U);
    fail_attach_ = false;
    EXPECT_TRUE(workloads->add(workload("c1")));
}

TEST_F(WorkloadsTest, DeadAndDamagedRecordsAreDropped) {
    {
        auto workloads = open();
        for (const char* name : {"c1", "c2", "c3"})
            ASSERT_TRUE(workloads->add(workload(name)));
    }
    std::ofstream(folder_ / "77.json") << "{\"id\":77";
    std::ofstream(folder_ / "78.json") << "";
    std::ofstream(folder_ / ".4.json.new") << "half";
    auto workloads = open([](const model::Workload& w) { return w.container != "c2"; });
    EXPECT_EQ(workloads->size(), 2U);
    ASSERT_EQ(workloads->dropped().size(), 1U);
    EXPECT_EQ(workloads->dropped().front().container, "c2");
    EXPECT_EQ(records(), 2U);
    EXPECT_FALSE(fs::exists(folder_ / ".4.json.new"));
    EXPECT_GT((*workloads->add(workload("c4")))->id, 3U);
}

TEST_F(WorkloadsTest, TheNewestOfOneNameIsFound) {
    auto workloads = open();
    ASSERT_TRUE(workloads->add(workload("zz-old")));
    const auto added = workloads->add(workload("aa-new"));
    EXPECT_EQ(workloads->by_name({"shop", "web"}), *added);
    EXPECT_EQ(workloads->all().size(), 2U);
}

TEST_F(WorkloadsTest, RecordsOfEarlierVersionsHaveNoCapabilities) {
    auto w = workload("c1");
    w.id = 1;
    auto record = nlohmann::json::parse(workload_to_json(w));
    record.erase("host_ports");
    record.erase("bandwidth");
    const auto read = workload_from_json(record.dump());
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_TRUE(read->host_ports.empty());
    EXPECT_FALSE(read->bandwidth.limited());
}

TEST_F(WorkloadsTest, RecordErrorsAreNamed) {
    EXPECT_NE(workload_from_json("{}").error().message.find("id"), std::string::npos);
    std::string text = workload_to_json(workload("c"));
    EXPECT_FALSE(workload_from_json(text)); // no id yet
    auto w = workload("c");
    w.id = 5;
    text = workload_to_json(w);
    EXPECT_TRUE(workload_from_json(text));
    text.replace(text.find("10.0.0.2"), 8, "10.0.0.x");
    EXPECT_NE(workload_from_json(text).error().message.find("10.0.0.x"), std::string::npos);
}

} // namespace
} // namespace beeline::datapath
