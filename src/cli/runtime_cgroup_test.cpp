#include "cli/runtime_cgroup.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/file.h"

namespace beeline::cli {
namespace {

TEST(RuntimeCgroup, PureHost) {
    const auto mounts =
        parse_cgroup_mounts(
            "24 1 0:21 / /proc rw - proc proc rw\n"
            "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n")
            .value();
    EXPECT_EQ(mounts.unified, "/sys/fs/cgroup");
    EXPECT_TRUE(mounts.controllers.empty());
}

TEST(RuntimeCgroup, HybridHost) {
    const auto mounts =
        parse_cgroup_mounts(
            "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
            "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:1 master:2 - cgroup cgroup "
            "rw,memory\n"
            "41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw\n"
            "42 31 0:38 / /second rw,relatime - cgroup2 cgroup2 rw\n")
            .value();
    EXPECT_EQ(mounts.unified, "/sys/fs/cgroup/uni fied") << "the first, with its escapes undone";
    EXPECT_EQ(mounts.controllers.at("memory"), "/sys/fs/cgroup/memory");
    EXPECT_EQ(mounts.controllers.at("cpu"), "/sys/fs/cgroup/cpu,cpuacct");
}

TEST(RuntimeCgroup, NoneIsAnErrorThatSaysWhatToDo) {
    const auto mounts = parse_cgroup_mounts("garbage\n1 2 3\n24 1 0:21 / /proc rw -\n");
    ASSERT_FALSE(mounts);
    EXPECT_NE(mounts.error().message.find("mount -t cgroup2"), std::string::npos);
}

// A tree of plain files that looks like a cgroup2 mount with the controllers.
class RuntimeCgroupTree : public testing::Test {
protected:
    void SetUp() override {
        char name[] = "/tmp/beeline-cgroup-XXXXXX";
        mounts_.unified = ::mkdtemp(name);
        std::filesystem::create_directories(mounts_.unified + "/" + kRelative);
        put("/cgroup.controllers", "cpuset cpu memory\n");
        for (const auto* level : kLevels)
            put(std::string(level) + "/cgroup.subtree_control", "");
        for (const auto* file : {"memory.max", "memory.swap.max", "cpu.max", "cgroup.procs"})
            put("/" + kRelative + "/" + file, "");
    }
    void TearDown() override { std::filesystem::remove_all(mounts_.unified); }

    void put(const std::string& path, const std::string& content) {
        std::ofstream(mounts_.unified + path) << content;
    }
    [[nodiscard]] std::string get(const std::string& path) const {
        return read_file(mounts_.unified + path).value_or("?");
    }

    static constexpr const char* kLevels[] = {"", "/beeline", "/beeline/t", "/beeline/t/workloads"};
    static inline const std::string kRelative = "beeline/t/workloads/shop_web";
    CgroupMounts mounts_;
};

TEST_F(RuntimeCgroupTree, LimitsAreSetInTheUnifiedHierarchy) {
    ASSERT_TRUE(cgroup_create(mounts_, kRelative, {.memory_bytes = 64 << 20}));
    EXPECT_EQ(get("/" + kRelative + "/memory.max"), "67108864");
    EXPECT_EQ(get("/" + kRelative + "/memory.swap.max"), "0");
    EXPECT_EQ(get("/" + kRelative + "/cpu.max"), "");
    for (const auto* level : kLevels)
        EXPECT_EQ(get(std::string(level) + "/cgroup.subtree_control"), "+memory") << level;
}

TEST_F(RuntimeCgroupTree, ControllersThatAreThereAreLeftAlone) {
    put("/cgroup.subtree_control", "cpu memory pids\n");
    ASSERT_TRUE(cgroup_create(mounts_, kRelative, {.cpu_millis = 500}));
    EXPECT_EQ(get("/" + kRelative + "/cpu.max"), "50000 100000");
    EXPECT_EQ(get("/cgroup.subtree_control"), "cpu memory pids\n");
    EXPECT_EQ(get("/beeline/t/workloads/cgroup.subtree_control"), "+cpu");
}

TEST_F(RuntimeCgroupTree, ALimitThatCannotBeAppliedIsAnError) {
    std::filesystem::remove(mounts_.unified + "/beeline/t/cgroup.subtree_control");
    const auto handed_down = cgroup_create(mounts_, kRelative, {.memory_bytes = 64 << 20});
    ASSERT_FALSE(handed_down);
    EXPECT_NE(
        handed_down.error().message.find("--memory: the limit needs the memory controller below " +
                                         mounts_.unified + "/beeline/t"),
        std::string::npos)
        << handed_down.error().message;
    put("/cgroup.controllers", "pids\n");
    const auto none = cgroup_create(mounts_, kRelative, {.cpu_millis = 500});
    ASSERT_FALSE(none);
    EXPECT_NE(none.error().message.find("--cpu: the limit cannot be applied"), std::string::npos);
}

} // namespace
} // namespace beeline::cli
