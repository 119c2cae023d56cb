#include "cli/runtime_cgroup.h"

#include <gtest/gtest.h>

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

} // namespace
} // namespace beeline::cli
