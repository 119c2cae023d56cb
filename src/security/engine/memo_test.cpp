// What is remembered of processes changes no verdict: every event is judged with and without, while processes are made, start
// programs, end and move between containers.
#include <fcntl.h>

#include <random>
#include <set>

#include <gtest/gtest.h>

#include "security/engine/test_scene.h"

namespace beeline::security {
namespace {

using namespace testing;

struct Proc {
    std::uint32_t pid = 0;
    std::uint64_t start_ns = 0;
    std::uint64_t cgroup = 0;
    std::uint32_t ppid = 0;
    std::uint64_t parent_start_ns = 0;
};

class Life {
public:
    explicit Life(unsigned seed) : random_(seed) {
        for (int i = 0; i < 12; ++i)
            processes_.push_back(make(i == 0 ? Proc{} : any()));
    }
    [[nodiscard]] unsigned below(unsigned limit) {
        return static_cast<unsigned>(random_() % limit);
    }
    Proc& any() { return processes_[below(static_cast<unsigned>(processes_.size()))]; }

    RecordBuilder next() {
        time_ns_ += 1'000'000;
        const unsigned roll = below(100);
        Proc& process = any();
        if (roll < 6) return image(BL_EVENT_execve, process);
        if (roll < 8) return image(BL_EVENT_proc, process);
        if (roll < 12 && processes_.size() < 40) {
            const Proc maker = process;
            const Proc child = make(maker);
            processes_.push_back(child);
            return of(BL_EVENT_clone, maker).result(child.pid).facts(task_of(child, "x"));
        }
        if (roll < 15 && processes_.size() > 5) {
            const Proc gone = process;
            process = processes_.back();
            processes_.pop_back();
            return of(BL_EVENT_procexit, gone);
        }
        if (roll < 17) process.cgroup = below(4);
        return act(process, roll);
    }

private:
    Proc make(const Proc& parent) {
        Proc out;
        out.pid = next_pid_++;
        out.start_ns = time_ns_ + out.pid;
        out.cgroup = parent.cgroup != 0 ? parent.cgroup : below(4);
        out.ppid = parent.pid;
        out.parent_start_ns = parent.start_ns;
        return out;
    }
    RecordBuilder of(std::uint16_t kind, const Proc& process) {
        return by(RecordBuilder(kind), process);
    }
    RecordBuilder by(RecordBuilder out, const Proc& process) {
        const std::uint32_t uid = below(2) * 1000;
        return out.process(process.pid, process.start_ns)
            .at(time_ns_)
            .user(uid, uid)
            .cgroup(process.cgroup);
    }
    bl_event_task task_of(const Proc& process, const char* name) {
        bl_event_task task{};
        task.start_ns = process.start_ns;
        task.parent_start_ns = process.parent_start_ns;
        task.pid = task.vpid = task.pgid = task.sid = process.pid;
        task.ppid = process.ppid;
        task.cgroup = process.cgroup;
        task.loginuid = 0xffffffff;
        task.cap_effective = task.cap_permitted = below(2) == 0 ? 0 : ~0ULL;
        task.exe.flags = below(3) == 0 ? BL_FILE_UPPER : 0;
        std::strncpy(task.comm, name, sizeof task.comm - 1);
        return task;
    }
    RecordBuilder image(std::uint16_t kind, const Proc& process) {
        static constexpr const char* kNames[] = {"bash", "sshd", "nginx",  "cat", "tar",
                                                 "vi",   "nc",   "mysqld", "apt", "python3"};
        const std::string name = kNames[below(std::size(kNames))];
        const std::string path = (below(4) == 0 ? "/dev/shm/" : "/usr/bin/") + name;
        return of(kind, process)
            .text(BL_STR_PATH, path)
            .text(BL_STR_RESOLVED, path)
            .text(BL_STR_PATH2, name + '\0' + (below(2) == 0 ? "-e" : "id_rsa") + '\0')
            .text(BL_STR_BASE, "/root")
            .facts(task_of(process, name.c_str()));
    }
    RecordBuilder act(const Proc& process, unsigned roll) {
        static constexpr const char* kPaths[] = {"/etc/shadow", "/etc/passwd", "/root/.ssh/id_rsa",
                                                 "/usr/bin/x",  "/tmp/x",      "/var/log/syslog"};
        const char* path = kPaths[below(std::size(kPaths))];
        RecordBuilder out(BL_EVENT_openat);
        if (roll < 60) {
            out = below(3) == 0 ? open_of(path, O_WRONLY | O_CREAT | O_TRUNC, 3, "", 0, 0755)
                                : open_of(path, O_RDONLY, 3, below(4) == 0 ? "/etc/shadow" : path);
        } else if (roll < 80) {
            out = connect_to(below(2) == 0 ? "203.0.113.7" : "10.96.0.1", below(2) == 0 ? 80 : 22);
        } else if (roll < 90) {
            out = RecordBuilder(BL_EVENT_unlink).text(BL_STR_PATH, path);
        } else if (roll < 95) {
            out = RecordBuilder(BL_EVENT_chmod).text(BL_STR_PATH, path).num(1, 04755);
        } else {
            out = RecordBuilder(BL_EVENT_setsid);
        }
        return by(std::move(out), process);
    }

    std::mt19937 random_;
    std::vector<Proc> processes_;
    std::uint32_t next_pid_ = 100;
    std::uint64_t time_ns_ = 1'000'000'000'001;
};

rules::RuleSet official() {
    const std::string folder = BEELINE_TEST_DATA "/rules/falco/";
    auto files =
        rules::read_files({folder + "falco_rules.yaml", folder + "falco-incubating_rules.yaml",
                           folder + "falco-sandbox_rules.yaml"});
    EXPECT_TRUE(files);
    auto loaded = rules::load(*files, Engine::catalog());
    EXPECT_TRUE(loaded.successful());
    return std::move(loaded.set);
}

TEST(Memo, ChangesNoVerdict) {
    Machine machine;
    auto shared = std::make_shared<Container>(*machine.container);
    std::shared_ptr<const Container> containers[4];
    containers[2] = shared;
    ProcessTree tree({.boot_time_ns = kBoot},
                     [&](std::uint64_t cgroup) { return Placement{containers[cgroup & 3], ""}; });
    EngineOptions options;
    options.match_all = true;
    options.selections = {{.enable = true, .rule = "*", .tag = ""}};
    auto with = Engine::compile(official(), options, machine.host, tree);
    auto without = Engine::compile(official(), options, machine.host, tree);
    ASSERT_TRUE(with);
    ASSERT_TRUE(without);
    Life life(3);
    std::set<std::string> matched;
    std::uint64_t remembered = 0;
    std::uint64_t last_facts = 0;
    for (int i = 0; i < 60'000; ++i) {
        if (i % 500 == 499) { // a container becomes known, another way each time
            auto next = std::make_shared<Container>(*shared);
            next->privileged = i % 1000 == 999;
            next->image_repository = i % 1500 < 750 ? "docker.io/library/redis" : "other";
            containers[1 + life.below(3)] = std::move(next);
            tree.place_again(0);
        }
        const Record record = life.next().build();
        Event event;
        ASSERT_EQ(decode(record.bytes(), event), DecodeError::none);
        tree.apply(event);
        ASSERT_NE(event.process, nullptr);
        ASSERT_NE(event.process->facts, 0U);
        remembered += event.process->facts <= last_facts ? 1 : 0;
        last_facts = std::max(last_facts, event.process->facts);
        std::vector<std::string> one, other;
        (*with)->evaluate(event, [&](model::Alert&& alert) { one.push_back(alert.rule); });
        Process plain = *event.process;
        plain.facts = 0;
        event.process = &plain;
        (*without)->evaluate(event, [&](model::Alert&& alert) { other.push_back(alert.rule); });
        ASSERT_EQ(one, other) << "event " << i;
        matched.insert(one.begin(), one.end());
    }
    EXPECT_GT(matched.size(), 15U);
    EXPECT_GT(remembered, 30'000U);
}

} // namespace
} // namespace beeline::security
