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

std::string stat_text(const std::string& comm, std::uint64_t ticks) {
    return "100 (" + comm + ") S 1 100 100 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 " +
           std::to_string(ticks) + " 1000 10 18446744073709551615\n";
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
             const std::string& comm = "x") {
        const fs::path folder = root_ / std::to_string(pid);
        fs::remove_all(folder);
        fs::create_directory(folder);
        fs::create_symlink(exe, folder / "exe");
        std::ofstream(folder / "stat") << stat_text(comm, ticks);
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
    ASSERT_TRUE(info->binary);
    EXPECT_EQ(*info->binary, "/usr/bin/curl");
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
    EXPECT_FALSE(info->binary);
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
    EXPECT_FALSE(unknown->binary);
    EXPECT_EQ(processes.cached(), 2U);
}

TEST_F(FakeProc, ExecIsSeenByTheNewComm) {
    add(100, "/bin/sh", 500);
    Processes processes(root_.string());
    EXPECT_EQ(*processes.find(process(100, "sh", 500 * kTick))->binary, "/bin/sh");
    add(100, "/usr/bin/curl", 500);
    EXPECT_EQ(*processes.find(process(100, "curl", 500 * kTick))->binary, "/usr/bin/curl");
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
    ASSERT_TRUE(info && info->binary);
    EXPECT_EQ(*info->binary, fs::read_symlink("/proc/self/exe").string());
}

} // namespace
} // namespace beeline::observe
