// Children in a cgroup of their own, and what the sensors say of them.
#pragma once

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
#include "security/sensor/sensor.h"

namespace beeline::security {

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

inline Seen copy(std::span<const std::byte> record) {
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
            EXPECT_EQ(where.offset % 8, 0);
            seen.facts = text;
        } else {
            seen.text[i] = text;
            seen.has[i] = true;
        }
    }
    return seen;
}

// One sensor for all tests of a program: each sets what it wants, as a change of rules does.
class SensorTest : public testing::Test {
protected:
    static void SetUpTestSuite() {
        ebpf::route_libbpf_logs();
        if (geteuid() != 0) return;
        const auto mount = ebpf::cgroup2_mount();
        ASSERT_TRUE(mount) << mount.error().message;
        cgroup_ = *mount + "/beeline-sensor-test-" + std::to_string(getpid());
        ASSERT_EQ(mkdir(cgroup_.c_str(), 0755), 0) << std::strerror(errno);
        auto sensor = Sensor::load({.scope_cgroup = cgroup_});
        ASSERT_TRUE(sensor) << sensor.error().message;
        sensor_ = std::move(*sensor);
        const int maps[] = {sensor_->procs_ring(), sensor_->events_ring()};
        auto ring = ebpf::MergedRing::open(maps);
        ASSERT_TRUE(ring) << ring.error().message;
        ring_ = std::move(*ring);
    }

    static void TearDownTestSuite() {
        ring_.reset();
        sensor_.reset();
        for (int i = 0; !cgroup_.empty() && i < 100 && rmdir(cgroup_.c_str()) != 0; ++i)
            usleep(10000);
    }

    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "needs root";
        ASSERT_NE(ring_, nullptr);
        folder_ = std::filesystem::canonical(std::filesystem::temp_directory_path()) /
                  ("beeline-sensor-" + std::to_string(getpid()));
        std::filesystem::create_directories(folder_);
    }

    void TearDown() override {
        if (HasFailure() && sensor_) print();
        std::error_code error;
        if (!folder_.empty()) std::filesystem::remove_all(folder_, error);
    }

    // Kinds with their BL_WANT_*; with those of capture_ so far.
    void want(std::initializer_list<std::pair<int, std::uint32_t>> kinds) {
        for (const auto& [kind, flags] : kinds)
            capture_.kinds[static_cast<std::size_t>(kind)].want = BL_WANT_ON | flags;
        const auto set = sensor_->set(capture_);
        ASSERT_TRUE(set) << set.error().message;
    }
    void want_path(std::string text, bool at_start, bool at_end, std::uint32_t classes) {
        capture_.paths.push_back({std::move(text), at_start, at_end, classes});
    }

    // Runs `body` in a child within the cgroup (or a sub-cgroup of it); returns its wait status.
    int run(const std::function<void()>& body, const std::string& sub = "") {
        std::fflush(nullptr);
        child_ = fork();
        if (child_ == 0) {
            if (join(sub)) {
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
    void touch(const char* name) const { std::ofstream(path(name)) << "content"; }

    void print() const {
        const auto stats = sensor_->stats();
        for (const auto& stat : *stats) {
            if (stat.value != 0)
                std::fprintf(stderr, "%s: %llu\n", std::string(stat.name).c_str(),
                             static_cast<unsigned long long>(stat.value));
        }
        for (const Seen& seen : seen_)
            std::fprintf(stderr, "kind %u result %lld flags %x num %llx %llx %s | %s | %s | %s\n",
                         seen.head.kind, static_cast<long long>(seen.head.result), seen.head.flags,
                         seen.head.num[0], seen.head.num[1], seen.text[0].c_str(),
                         seen.text[1].c_str(), seen.text[2].c_str(), seen.text[3].c_str());
    }

    inline static std::unique_ptr<Sensor> sensor_;
    inline static std::unique_ptr<ebpf::MergedRing> ring_;
    inline static std::string cgroup_;
    std::vector<Seen> seen_;
    Capture capture_;
    pid_t child_ = 0;
    std::filesystem::path folder_;

private:
    [[nodiscard]] static bool join(const std::string& sub) {
        const int fd = open((cgroup_ + sub + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
        const bool done = fd >= 0 && write(fd, "0", 1) == 1;
        close(fd);
        return done;
    }
};

} // namespace beeline::security
