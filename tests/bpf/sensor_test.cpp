// libs: security_sensor
// The sensors on this kernel: children in a cgroup of their own do things, each of which must come out as it was.
#include "security/sensor/sensor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include <gtest/gtest.h>

#include "ebpf/merged_ring.h"
#include "ebpf/object.h"
#include "ebpf/system.h"

namespace beeline::security {
namespace {

// One record, copied.
struct Seen {
    bl_event head{};
    std::array<std::string, BL_STR_FACTS> text;
    std::array<bool, BL_STR_FACTS> has{};
    std::string facts;

    template <typename T>
    [[nodiscard]] T as() const {
        T out{};
        EXPECT_EQ(facts.size(), sizeof(T));
        if (facts.size() == sizeof(T)) std::memcpy(&out, facts.data(), sizeof out);
        return out;
    }
};

Seen copy(std::span<const std::byte> record) {
    Seen seen;
    std::memcpy(&seen.head, record.data(), sizeof seen.head);
    EXPECT_LE(seen.head.size, record.size());
    for (unsigned i = 0; i < BL_STR_MAX; ++i) {
        const auto& where = seen.head.str[i];
        if (where.offset == 0) continue;
        EXPECT_LE(where.offset + where.length, seen.head.size);
        const std::string text(reinterpret_cast<const char*>(record.data()) + where.offset,
                               where.length);
        if (i == BL_STR_FACTS) {
            seen.facts = text;
        } else {
            seen.text[i] = text;
            seen.has[i] = true;
        }
    }
    return seen;
}

class SensorTest : public testing::Test {
protected:
    static void SetUpTestSuite() { ebpf::route_libbpf_logs(); }

    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "needs root";
        const auto mount = ebpf::cgroup2_mount();
        ASSERT_TRUE(mount) << mount.error().message;
        cgroup_ = *mount + "/beeline-sensor-test-" + std::to_string(getpid());
        ASSERT_EQ(mkdir(cgroup_.c_str(), 0755), 0) << std::strerror(errno);
        folder_ =
            std::filesystem::temp_directory_path() / ("beeline-sensor-" + std::to_string(getpid()));
        std::filesystem::create_directories(folder_);
        auto sensor = Sensor::load({.scope_cgroup = cgroup_});
        ASSERT_TRUE(sensor) << sensor.error().message;
        sensor_ = std::move(*sensor);
        const int maps[] = {sensor_->procs_ring(), sensor_->events_ring()};
        auto ring = ebpf::MergedRing::open(maps);
        ASSERT_TRUE(ring) << ring.error().message;
        ring_ = std::move(*ring);
    }

    void TearDown() override {
        ring_.reset();
        if (!cgroup_.empty()) {
            for (int i = 0; i < 100 && rmdir(cgroup_.c_str()) != 0; ++i)
                usleep(10000);
        }
        if (HasFailure() && sensor_) {
            for (const auto& name : sensor_->attached())
                std::fprintf(stderr, "attached: %s\n", name.c_str());
            const auto stats = sensor_->stats();
            for (const auto& stat : *stats)
                if (stat.value != 0)
                    std::fprintf(stderr, "%s: %llu\n", std::string(stat.name).c_str(),
                                 static_cast<unsigned long long>(stat.value));
            for (const Seen& seen : seen_)
                std::fprintf(stderr, "kind %u result %lld flags %x\n", seen.head.kind,
                             static_cast<long long>(seen.head.result), seen.head.flags);
        }
        sensor_.reset();
        std::error_code error;
        if (!folder_.empty()) std::filesystem::remove_all(folder_, error);
    }

    void want(std::initializer_list<std::pair<int, std::uint32_t>> kinds) {
        for (const auto& [kind, flags] : kinds)
            capture_.kinds[static_cast<std::size_t>(kind)].want = BL_WANT_ON | flags;
        const auto set = sensor_->set(capture_);
        ASSERT_TRUE(set) << set.error().message;
    }

    // Runs `body` in a child within the cgroup; returns its wait status.
    int run(const std::function<void()>& body) {
        std::fflush(nullptr);
        child_ = fork();
        if (child_ == 0) {
            if (join()) {
                body();
                _exit(0);
            }
            _exit(99);
        }
        int status = 0;
        EXPECT_EQ(waitpid(child_, &status, 0), child_);
        EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 99) << "cannot enter the cgroup";
        ring_->consume([&](std::span<const std::byte> record) { seen_.push_back(copy(record)); });
        return status;
    }

    std::vector<Seen> of(int kind) const {
        std::vector<Seen> out;
        for (const Seen& seen : seen_)
            if (seen.head.kind == kind) out.push_back(seen);
        return out;
    }
    // The only record of this kind.
    Seen one(int kind) const {
        auto all = of(kind);
        EXPECT_EQ(all.size(), 1U) << "records of kind " << kind;
        return all.empty() ? Seen{} : all.front();
    }
    std::string path(const char* name) const { return folder_ / name; }

    std::unique_ptr<Sensor> sensor_;
    std::unique_ptr<ebpf::MergedRing> ring_;
    std::vector<Seen> seen_;
    Capture capture_;
    pid_t child_ = 0;
    std::string cgroup_;
    std::filesystem::path folder_;

private:
    [[nodiscard]] bool join() const {
        const int fd = open((cgroup_ + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
        const bool done = fd >= 0 && write(fd, "0", 1) == 1;
        close(fd);
        return done;
    }
};

TEST_F(SensorTest, ExecIsWholeInItsRecord) {
    want({});
    std::ofstream(path("script")) << "#!/bin/sh\nexit 3\n";
    chmod(path("script").c_str(), 0755);
    const std::string script = path("script");
    const int status = run([&] {
        if (chdir("/tmp") != 0) _exit(1);
        execl(script.c_str(), script.c_str(), "a b", "", nullptr);
    });
    EXPECT_EQ(WEXITSTATUS(status), 3);
    const Seen exec = one(BL_EVENT_execve);
    EXPECT_EQ(exec.text[BL_STR_PATH], script);
    EXPECT_EQ(exec.text[BL_STR_RESOLVED], std::filesystem::canonical("/bin/sh"));
    EXPECT_EQ(exec.text[BL_STR_PATH2],
              std::string("/bin/sh\0", 8) + script + std::string("\0a b\0\0", 6));
    EXPECT_EQ(exec.text[BL_STR_BASE], "/tmp");
    EXPECT_FALSE(exec.has[BL_STR_BASE2]);
    EXPECT_EQ(exec.head.pid, static_cast<std::uint32_t>(child_));
    const auto task = exec.as<bl_event_task>();
    EXPECT_EQ(task.pid, static_cast<std::uint32_t>(child_));
    EXPECT_EQ(task.ppid, static_cast<std::uint32_t>(getpid()));
    EXPECT_EQ(task.vpid, static_cast<std::uint32_t>(child_));
    EXPECT_EQ(task.sid, static_cast<std::uint32_t>(getsid(0)));
    EXPECT_EQ(task.pgid, static_cast<std::uint32_t>(getpgid(0)));
    EXPECT_EQ(task.uid, 0U);
    EXPECT_STREQ(task.comm, "script");
    EXPECT_EQ(task.start_ns, exec.head.start_ns);
    struct stat sh{};
    ASSERT_EQ(stat("/bin/sh", &sh), 0);
    EXPECT_EQ(task.exe.ino, sh.st_ino);
    EXPECT_EQ(task.exe.mode, sh.st_mode);
    const Seen end = one(BL_EVENT_procexit);
    EXPECT_EQ(end.head.result, 3 << 8);
    EXPECT_EQ(end.head.start_ns, exec.head.start_ns);
}

TEST_F(SensorTest, OpenHasTheFileThatWasReached) {
    want({{BL_EVENT_openat, 0}});
    std::ofstream(path("real")) << "x";
    ASSERT_EQ(symlink("real", path("link").c_str()), 0);
    const std::string link = path("link");
    run([&] { close(openat(AT_FDCWD, link.c_str(), O_RDONLY)); });
    const Seen open = one(BL_EVENT_openat);
    EXPECT_EQ(open.text[BL_STR_PATH], link);
    EXPECT_EQ(open.text[BL_STR_RESOLVED], path("real"));
    EXPECT_FALSE(open.has[BL_STR_BASE]);
    EXPECT_GE(open.head.result, 0);
    const auto file = open.as<bl_event_file>();
    struct stat real{};
    ASSERT_EQ(stat(path("real").c_str(), &real), 0);
    EXPECT_EQ(file.ino, real.st_ino);
    EXPECT_EQ(file.mode, real.st_mode);
    EXPECT_EQ(file.flags, 0);
}

} // namespace
} // namespace beeline::security
