#include "security/events/snapshot.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "security/events/event.h"
#include "security/events/process_tree.h"
#include "security/events/record_builder.h"

namespace beeline::security {
namespace {

struct Taken {
    std::vector<std::uint64_t> words;
    Event event;
};

std::map<std::uint32_t, Taken> take(const SnapshotOptions& options) {
    std::map<std::uint32_t, Taken> out;
    const auto count = snapshot(options, [&](std::span<const std::byte> record) {
        Taken taken;
        taken.words.resize((record.size() + 7) / 8);
        std::memcpy(taken.words.data(), record.data(), record.size());
        ASSERT_EQ(decode(std::as_bytes(std::span(taken.words)).first(record.size()), taken.event),
                  DecodeError::none);
        ASSERT_NE(taken.event.task, nullptr);
        out.emplace(taken.event.head.pid, std::move(taken));
    });
    EXPECT_TRUE(count.has_value());
    EXPECT_EQ(count.value_or(0), out.size());
    return out;
}

// A child that waits until the test ends it.
class Child {
public:
    template <typename F>
    explicit Child(F prepare) {
        int ready[2];
        EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
        pid_ = ::fork();
        if (pid_ == 0) {
            prepare();
            [[maybe_unused]] const auto sent = ::write(ready[1], "x", 1);
            for (;;)
                ::pause();
        }
        ::close(ready[1]);
        char byte = 0;
        ended_ = ::read(ready[0], &byte, 1) == 0;
        ::close(ready[0]);
    }
    // An exec closes the pipe: the program runs then.
    [[nodiscard]] bool executed() const { return ended_; }
    ~Child() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    [[nodiscard]] std::uint32_t pid() const { return static_cast<std::uint32_t>(pid_); }

private:
    pid_t pid_ = 0;
    bool ended_ = false;
};

TEST(Snapshot, TellsOfAChildWhatTheChildIs) {
    const Child child([] {
        ::setsid();
        ::prctl(PR_SET_NAME, "a) b (c");
        [[maybe_unused]] const int moved = ::chdir("/usr");
    });
    const auto all = take({});
    ASSERT_TRUE(all.contains(child.pid()));
    const Event& event = all.at(child.pid()).event;
    const auto& task = *event.task;
    EXPECT_STREQ(task.comm, "a) b (c");
    EXPECT_EQ(event.head.kind, BL_EVENT_proc);
    EXPECT_EQ(event.head.pid, child.pid());
    EXPECT_EQ(event.head.start_ns, task.start_ns);
    EXPECT_GT(event.head.time_ns, task.start_ns);
    EXPECT_LT(event.head.time_ns - task.start_ns, 60'000'000'000U);
    EXPECT_EQ(task.start_ns % 10'000'000, 0U);
    EXPECT_EQ(task.ppid, static_cast<std::uint32_t>(::getpid()));
    EXPECT_EQ(task.sid, child.pid());
    EXPECT_EQ(task.pgid, child.pid());
    EXPECT_EQ(task.uid, ::geteuid());
    EXPECT_EQ(task.gid, ::getegid());
    EXPECT_EQ(event.text[BL_STR_BASE], "/usr");
    EXPECT_TRUE(event.text[BL_STR_RESOLVED].ends_with("_test"));
    ASSERT_FALSE(event.text[BL_STR_PATH2].empty());
    EXPECT_EQ(event.text[BL_STR_PATH2].back(), '\0');
    EXPECT_FALSE(event.has(BL_STR_BASE2));

    struct stat is{};
    ASSERT_EQ(::stat("/proc/self/exe", &is), 0);
    EXPECT_EQ(task.exe.ino, is.st_ino);
    EXPECT_EQ(task.exe.mtime_ns, static_cast<std::uint64_t>(is.st_mtim.tv_sec) * 1'000'000'000 +
                                     static_cast<std::uint64_t>(is.st_mtim.tv_nsec));
    EXPECT_EQ(task.exe.flags, 0);
    for (const auto& [name, number] :
         std::map<std::string, std::uint32_t>{{"mnt", task.ns_mnt},
                                              {"pid", task.ns_pid},
                                              {"net", task.ns_net},
                                              {"user", task.ns_user},
                                              {"uts", task.ns_uts},
                                              {"ipc", task.ns_ipc},
                                              {"cgroup", task.ns_cgroup}}) {
        ASSERT_EQ(::stat(("/proc/self/ns/" + name).c_str(), &is), 0);
        EXPECT_EQ(number, is.st_ino) << name;
    }
    const auto me = all.find(static_cast<std::uint32_t>(::getpid()));
    ASSERT_NE(me, all.end());
    EXPECT_EQ(task.parent_start_ns, me->second.event.task->start_ns);
}

TEST(Snapshot, GivesTheEnvironmentWhenAsked) {
    const Child child([] {
        char* const argv[] = {const_cast<char*>("sleep"), const_cast<char*>("60"), nullptr};
        char* const env[] = {const_cast<char*>("BEELINE=1"), const_cast<char*>("X=y z"), nullptr};
        ::execve("/bin/sleep", argv, env);
    });
    ASSERT_TRUE(child.executed());
    const auto all = take({.environment = true});
    ASSERT_TRUE(all.contains(child.pid()));
    const Event& event = all.at(child.pid()).event;
    EXPECT_EQ(event.text[BL_STR_BASE2], std::string_view("BEELINE=1\0X=y z\0", 16));
    EXPECT_EQ(event.text[BL_STR_PATH2], std::string_view("sleep\0"
                                                         "60\0",
                                                         9));
}

TEST(Snapshot, MarksFilesWithoutAName) {
    const std::string copy =
        ::testing::TempDir() + "beeline_snapshot_" + std::to_string(::getpid());
    std::filesystem::copy_file("/bin/sleep", copy,
                               std::filesystem::copy_options::overwrite_existing);
    const Child child([&] { ::execl(copy.c_str(), "sleep", "60", nullptr); });
    ASSERT_TRUE(child.executed());
    std::filesystem::remove(copy);
    const auto all = take({});
    ASSERT_TRUE(all.contains(child.pid()));
    const Event& event = all.at(child.pid()).event;
    EXPECT_EQ(event.text[BL_STR_RESOLVED], copy);
    EXPECT_EQ(event.task->exe.flags, BL_FILE_DELETED);
}

TEST(Snapshot, FillsATree) {
    const Child child([] {});
    ProcessTree tree({}, {});
    ASSERT_TRUE(snapshot({}, [&](std::span<const std::byte> record) {
                    Event event;
                    ASSERT_EQ(decode(record, event), DecodeError::none);
                    tree.apply(event);
                }).has_value());
    const Process* process = tree.find_pid(child.pid());
    ASSERT_NE(process, nullptr);
    EXPECT_FALSE(process->guessed);
    ASSERT_NE(process->parent, nullptr);
    EXPECT_EQ(process->parent->key.pid, static_cast<std::uint32_t>(::getpid()));
    EXPECT_FALSE(process->parent->guessed);

    // An event with the exact start time finds it.
    RecordBuilder builder;
    auto& head = builder.begin(BL_EVENT_openat).head();
    head.pid = child.pid();
    head.start_ns = process->key.start_ns + 1'234'567;
    Event event;
    ASSERT_EQ(decode(builder.finish(), event), DecodeError::none);
    tree.apply(event);
    EXPECT_EQ(event.process, process);
}

// A folder that looks like /proc: what no test can make with real processes.
class FakeProc : public ::testing::Test {
protected:
    void SetUp() override {
        root_ = ::testing::TempDir() + "beeline_proc_" + std::to_string(::getpid());
        std::filesystem::remove_all(root_);
        std::filesystem::create_directories(root_ + "/cgroup/a/b");
        std::filesystem::create_directories(root_ + "/cgroup/ab");
    }
    void TearDown() override { std::filesystem::remove_all(root_); }
    void process(const std::string& pid, const std::string& stat, const std::string& status,
                 const std::string& cgroup) const {
        const std::string folder = root_ + "/proc/" + pid + "/";
        std::filesystem::create_directories(folder);
        std::ofstream(folder + "stat") << stat;
        std::ofstream(folder + "status") << status;
        std::ofstream(folder + "cgroup") << cgroup;
    }
    [[nodiscard]] std::uint64_t inode(const std::string& path) const {
        struct stat is{};
        EXPECT_EQ(::stat((root_ + path).c_str(), &is), 0);
        return is.st_ino;
    }
    std::string root_;
};

constexpr const char* kStat = "7 (x) S 3 4 5 34816 0 0 0 0 0 0 0 0 0 0 20 0 1 0 123 0 0\n";
constexpr const char* kStatus = "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nNSpid:\t7\t70\t1\n"
                                "NSpgid:\t4\t40\nNSsid:\t5\t50\nCapInh:\t0000000000000001\n"
                                "CapPrm:\t000001ffffffffff\nCapEff:\t0000000000000400\n";

TEST_F(FakeProc, ReadsEveryField) {
    process("7", kStat, kStatus, "4:memory:/zz\n0::/a/b\n");
    const auto all = take({.proc = root_ + "/proc", .cgroup_mount = root_ + "/cgroup"});
    ASSERT_EQ(all.size(), 1U);
    const auto& task = *all.at(7).event.task;
    EXPECT_EQ(task.start_ns, 1'230'000'000U);
    EXPECT_EQ(task.ppid, 3U);
    EXPECT_EQ(task.parent_start_ns, 0U); // there is no 3
    EXPECT_EQ(task.pgid, 4U);
    EXPECT_EQ(task.sid, 5U);
    EXPECT_EQ(task.tty, 34816U);
    EXPECT_EQ(task.vpid, 1U);
    EXPECT_EQ(task.vpgid, 40U);
    EXPECT_EQ(task.vsid, 50U);
    EXPECT_EQ(task.uid, 2U);
    EXPECT_EQ(task.gid, 6U);
    EXPECT_EQ(task.cap_inheritable, 1U);
    EXPECT_EQ(task.cap_permitted, 0x1ffffffffffU);
    EXPECT_EQ(task.cap_effective, 0x400U);
    EXPECT_EQ(task.loginuid, 0xffffffffU);
    EXPECT_EQ(task.pidns_start_ns, task.start_ns);
    EXPECT_EQ(task.cgroup, inode("/cgroup/a/b"));
    EXPECT_EQ(all.at(7).event.head.cgroup, task.cgroup);
}

TEST_F(FakeProc, KeepsToItsScope) {
    process("1", kStat, kStatus, "0::/\n");
    process("2", kStat, kStatus, "0::/a\n");
    process("3", kStat, kStatus, "0::/a/b\n");
    process("4", kStat, kStatus, "0::/ab\n");
    process("5", kStat, kStatus, "0::/../x\n");
    process("6", kStat, kStatus, "0::/a/gone (deleted)\n");
    const auto all = take({.proc = root_ + "/proc",
                           .scope_cgroup = inode("/cgroup/a"),
                           .cgroup_mount = root_ + "/cgroup"});
    std::vector<std::uint32_t> pids;
    for (const auto& [pid, taken] : all)
        pids.push_back(pid);
    EXPECT_EQ(pids, (std::vector<std::uint32_t>{2, 3, 6}));
}

TEST_F(FakeProc, LeavesOutWhatIsBroken) {
    process("1", "", kStatus, "0::/\n");
    process("2", "2 (x", kStatus, "0::/\n");
    process("3", "3 )x( S", kStatus, "0::/\n");
    process("4", "4 (x) S 1 2", kStatus, "0::/\n");
    process("5", kStat, "", "0::/\n");
    process("6", kStat, "garbage\n:\nUid:\n", "no cgroup");
    std::filesystem::create_directories(root_ + "/proc/8");
    std::filesystem::create_directories(root_ + "/proc/sys");
    const auto all = take({.proc = root_ + "/proc", .cgroup_mount = root_ + "/cgroup"});
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all.begin()->first, 6U);
    EXPECT_FALSE(snapshot({.proc = root_ + "/none"}, [](auto) {}).has_value());
}

} // namespace
} // namespace beeline::security
