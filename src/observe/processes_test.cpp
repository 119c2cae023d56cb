#include "observe/processes.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "observe/test_events.h"

namespace beeline::observe {
namespace {

using namespace testing;
namespace fs = std::filesystem;

constexpr std::uint64_t kTick = 10'000'000;

std::string stat_text(const std::string& comm, std::uint64_t ticks, std::uint32_t parent = 1) {
    return "100 (" + comm + ") S " + std::to_string(parent) +
           " 100 100 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 " + std::to_string(ticks) +
           " 1000 10 18446744073709551615\n";
}

// A folder that looks like /proc.
class FakeProc : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern = (fs::temp_directory_path() / "observe_proc_XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        root_ = pattern;
    }
    void TearDown() override { fs::remove_all(root_); }

    void add(std::uint32_t pid, const std::string& exe, std::uint64_t ticks,
             const std::string& comm = "x", std::uint32_t parent = 1,
             const std::string& cgroup = "0::/") {
        const fs::path folder = root_ / std::to_string(pid);
        fs::remove_all(folder);
        fs::create_directory(folder);
        fs::create_symlink(exe, folder / "exe");
        std::ofstream(folder / "stat") << stat_text(comm, ticks, parent);
        std::ofstream(folder / "cgroup") << cgroup << '\n';
    }
    void remove(std::uint32_t pid) { fs::remove_all(root_ / std::to_string(pid)); }

    fs::path root_;
};

TEST(StartTicks, IsFieldTwentyTwo) {
    EXPECT_EQ(start_ticks(stat_text("curl", 987)).value(), 987U);
    EXPECT_EQ(start_ticks(stat_text("evil) S 1 2 (3", 987)).value(), 987U);
    EXPECT_FALSE(start_ticks(""));
    EXPECT_FALSE(start_ticks("1 (x"));
    EXPECT_FALSE(start_ticks("1 (x)"));
    EXPECT_FALSE(start_ticks("1 (x) S 1 2 3"));
    EXPECT_FALSE(start_ticks("1 (x) S 1 1 1 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 soon 1"));
}

TEST_F(FakeProc, BinaryOfTheRightProcess) {
    add(100, "/usr/bin/curl", 500);
    Processes processes(root_.string());
    const auto info = processes.find(process(100, "curl", 500 * kTick + 3));
    ASSERT_TRUE(info);
    EXPECT_EQ(info->key.pid, 100U);
    EXPECT_EQ(info->facts()->binary, "/usr/bin/curl");
}

TEST_F(FakeProc, DeletedBinaryKeepsItsPath) {
    add(100, "/opt/app (deleted)", 500);
    EXPECT_EQ(read_binary(root_.string(), 100, 500 * kTick, kTick).value(), "/opt/app");
}

TEST_F(FakeProc, AnotherProcessWithTheSamePid) {
    add(100, "/usr/bin/other", 500);
    for (const std::uint64_t ticks : {0U, 498U, 502U, 90000U})
        EXPECT_FALSE(read_binary(root_.string(), 100, ticks * kTick, kTick)) << ticks;
    for (const std::uint64_t ticks : {499U, 500U, 501U})
        EXPECT_TRUE(read_binary(root_.string(), 100, ticks * kTick, kTick)) << ticks;
    Processes processes(root_.string());
    const auto info = processes.find(process(100, "curl", 900 * kTick));
    ASSERT_TRUE(info);
    EXPECT_EQ(info->facts()->binary, "");
    EXPECT_STREQ(info->key.comm, "curl");
}

TEST_F(FakeProc, AnswersAreKeptGoodAndBad) {
    add(100, "/usr/bin/curl", 500);
    Processes processes(root_.string());
    const auto known = processes.find(process(100, "curl", 500 * kTick));
    const auto unknown = processes.find(process(101, "gone", 500 * kTick));
    remove(100);
    add(101, "/usr/bin/late", 500);
    EXPECT_EQ(processes.find(process(100, "curl", 500 * kTick)), known);
    EXPECT_EQ(processes.find(process(101, "gone", 500 * kTick)), unknown);
    EXPECT_EQ(unknown->facts()->binary, "");
    EXPECT_EQ(processes.cached(), 2U);
}

TEST_F(FakeProc, ExecIsSeenByTheNewComm) {
    add(100, "/bin/sh", 500);
    Processes processes(root_.string());
    EXPECT_EQ(processes.find(process(100, "sh", 500 * kTick))->facts()->binary, "/bin/sh");
    add(100, "/usr/bin/curl", 500);
    EXPECT_EQ(processes.find(process(100, "curl", 500 * kTick))->facts()->binary, "/usr/bin/curl");
}

TEST_F(FakeProc, AncestorsFromTheParentUp) {
    add(1, "/sbin/init", 1, "init", 0);
    add(50, "/usr/bin/bash", 400, "bash", 1);
    add(60, "/gone", 410, "worker", 50);
    fs::remove(root_ / "60" / "exe");
    add(100, "/usr/bin/curl", 500, "curl", 60);
    Processes processes(root_.string());
    const auto of = [&](std::uint32_t pid, std::uint64_t ticks) {
        return processes.find(process(pid, "x", ticks * kTick))->facts()->ancestry;
    };
    const std::vector<std::string> wanted{"worker", "/usr/bin/bash", "/sbin/init"};
    EXPECT_EQ(of(100, 500), wanted);
    // The parent executes something else: its comm tells.
    add(60, "/usr/bin/dash", 410, "sh", 50);
    add(101, "/usr/bin/curl", 501, "curl", 60);
    EXPECT_EQ(of(101, 501).front(), "/usr/bin/dash");
    EXPECT_EQ(of(1, 1), std::vector<std::string>{});
}

TEST_F(FakeProc, AncestryIsBoundedAlsoInACircle) {
    add(1, "/a", 1, "a", 2);
    add(2, "/b", 1, "b", 1);
    Processes processes(root_.string());
    EXPECT_LE(processes.find(process(1, "a", kTick))->facts()->ancestry.size(), kAncestors);
}

TEST_F(FakeProc, UserByTheMachinesFile) {
    const fs::path passwd = root_ / "passwd";
    std::ofstream(passwd)
        << "root:x:0:0:root:/root:/bin/sh\nbroken\nx:y\nalice:x:1000:1000::/:/bin/sh\n"
           "second:x:1000:1000::/:/bin/sh\n";
    const std::string id(64, 'a');
    add(100, "/usr/bin/curl", 500);
    add(101, "/usr/bin/curl", 500, "curl", 1, "0::/system.slice/docker-" + id + ".scope");
    Processes processes(root_.string(), 10, passwd.string());
    EXPECT_EQ(processes.find(process(100, "curl", 500 * kTick))->facts()->user, "alice");
    // Of a process that is gone the uid is known all the same; what a container calls its users is not.
    EXPECT_EQ(processes.find(process(102, "curl", 500 * kTick))->facts()->user, "alice");
    const auto contained = processes.find(process(101, "curl", 500 * kTick))->facts();
    EXPECT_EQ(contained->container, id);
    EXPECT_EQ(contained->user, "");
    auto unknown = process(103, "curl");
    unknown.uid = 4242;
    EXPECT_EQ(processes.find(unknown)->facts()->user, "");
}

TEST(ContainerIn, TheDeepestIdCounts) {
    const std::string a(64, 'a');
    const std::string b(64, 'b');
    EXPECT_EQ(container_in("0::/\n"), "");
    EXPECT_EQ(container_in("0::/docker/" + a + "\n"), a);
    EXPECT_EQ(container_in("0::/docker/" + a + "/docker/" + b + "\n"), b);
    EXPECT_EQ(container_in("3:cpu:/\n0::/kubepods.slice/cri-containerd-" + a + ".scope\n"), a);
    EXPECT_EQ(container_in("0::/docker/" + a + "0\n"), "");
    EXPECT_EQ(container_in("0::/docker/" + a.substr(1) + "\n"), "");
    EXPECT_EQ(container_in(""), "");
}

TEST_F(FakeProc, SomebodyWhoKnowsMoreIsAskedOnce) {
    Processes processes(root_.string());
    std::vector<std::shared_ptr<ProcessInfo>> asked;
    processes.set_source([&](const auto& info) { asked.push_back(info); });
    const auto info = processes.find(process(100, "curl"));
    processes.find(process(100, "curl"));
    ASSERT_EQ(asked.size(), 1U);
    EXPECT_EQ(info->facts()->binary, "");
    ProcessFacts known;
    known.binary = "/usr/bin/curl";
    asked[0]->set(std::make_shared<ProcessFacts>(known));
    EXPECT_EQ(info->facts()->binary, "/usr/bin/curl");
    processes.set_source({});
    processes.find(process(101, "curl"));
    EXPECT_EQ(asked.size(), 1U);
}

TEST_F(FakeProc, CacheIsBounded) {
    Processes processes(root_.string(), 10);
    for (std::uint32_t pid = 1; pid <= 100; ++pid)
        processes.find(process(pid, "x"));
    EXPECT_EQ(processes.cached(), 10U);
}

TEST(Processes, NoProcessNoAnswer) {
    Processes processes;
    EXPECT_FALSE(processes.find(bl_process{}));
    EXPECT_EQ(processes.cached(), 0U);
}

TEST(Processes, OwnProcess) {
    std::stringstream text;
    text << std::ifstream("/proc/self/stat").rdbuf();
    const auto ticks = start_ticks(text.str());
    ASSERT_TRUE(ticks);
    const auto tick_ns = 1'000'000'000 / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
    Processes processes;
    const auto info = processes.find(
        process(static_cast<std::uint32_t>(::getpid()), "observe_test", *ticks * tick_ns));
    ASSERT_TRUE(info);
    EXPECT_EQ(info->facts()->binary, fs::read_symlink("/proc/self/exe").string());
}

} // namespace
} // namespace beeline::observe
