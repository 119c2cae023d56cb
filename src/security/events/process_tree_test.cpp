#include <array>
#include <set>

#include <gtest/gtest.h>

#include "security/events/process_tree.h"
#include "security/events/test_records.h"

namespace beeline::security {
namespace {

using testing::nul_list;
using testing::Record;
using testing::RecordBuilder;
using testing::task_facts;

constexpr std::uint64_t kSecond = 1'000'000'000;

// A machine that tells a tree what happens on it. Start times are unlike whole ticks.
class Machine {
public:
    explicit Machine(ProcessTree::Options options = {})
        : tree(options, [this](std::uint64_t cgroup) {
              ++placements;
              Placement placed;
              if (cgroup == 77) {
                  auto container = std::make_shared<Container>();
                  container->id = "0123456789ab";
                  placed.container = container;
                  placed.workload = workload;
              }
              return placed;
          }) {}

    Event apply(const RecordBuilder& builder) {
        const Record record = builder.build();
        Event event;
        EXPECT_EQ(decode(record.bytes(), event), DecodeError::none);
        tree.apply(event);
        EXPECT_NE(event.process, nullptr);
        EXPECT_NE(event.process->image, nullptr);
        event.text = {};
        event.task = nullptr;
        return event;
    }
    static std::uint64_t start(std::uint32_t pid) { return pid * 10'000'000ULL + 123; }
    RecordBuilder record(std::uint16_t kind, std::uint32_t pid) {
        now += 1000;
        return RecordBuilder(kind).process(pid, start(pid)).at(now);
    }
    bl_event_task task(std::uint32_t pid, std::uint32_t ppid, std::string_view comm) const {
        bl_event_task facts = task_facts(pid, start(pid), ppid, ppid == 0 ? 0 : start(ppid), comm);
        facts.cgroup = cgroup;
        return facts;
    }
    void clone(std::uint32_t parent, std::uint32_t child) {
        apply(record(BL_EVENT_clone, parent).result(child).facts(task(child, parent, "thread")));
    }
    void exec(std::uint32_t pid, std::uint32_t ppid, const std::string& path,
              const std::string& argv) {
        apply(record(BL_EVENT_execve, pid)
                  .text(BL_STR_RESOLVED, path)
                  .text(BL_STR_PATH2, argv)
                  .text(BL_STR_BASE, "/tmp")
                  .facts(task(pid, ppid, path.substr(path.rfind('/') + 1))));
    }
    void exit(std::uint32_t pid, int code = 0) {
        apply(record(BL_EVENT_procexit, pid).result(code));
    }
    [[nodiscard]] const Process* find(std::uint32_t pid) const {
        return tree.find({pid, start(pid)});
    }

    int placements = 0;
    std::string workload = "shop/cart";
    std::uint64_t now = kSecond;
    std::uint64_t cgroup = 1;
    ProcessTree tree;
};

TEST(ProcessTree, CountsAndDatesEvents) {
    ProcessTree::Options options;
    options.boot_time_ns = 5000;
    Machine machine(options);
    const Event first = machine.apply(machine.record(BL_EVENT_setuid, 9));
    const Event second = machine.apply(machine.record(BL_EVENT_setuid, 9));
    EXPECT_EQ(first.number, 1U);
    EXPECT_EQ(second.number, 2U);
    EXPECT_EQ(second.time_ns, static_cast<std::int64_t>(second.head.time_ns) + 5000);
    EXPECT_EQ(first.process, second.process);
    EXPECT_EQ(first.process->started_ns, static_cast<std::int64_t>(Machine::start(9)) + 5000);
}

TEST(ProcessTree, ExecSetsTheImage) {
    Machine machine;
    machine.exec(10, 1, "/usr/bin/cat", nul_list({"kitty", "-n", "a b"}));
    const Process* cat = machine.find(10);
    ASSERT_NE(cat, nullptr);
    EXPECT_EQ(cat->name, "cat");
    EXPECT_EQ(cat->image->exe, "kitty");
    EXPECT_EQ(cat->image->exepath, "/usr/bin/cat");
    EXPECT_EQ(cat->image->args, "-n a b");
    EXPECT_EQ(cat->cmdline, "cat -n a b");
    EXPECT_EQ(cat->cwd, "/tmp/");
    EXPECT_FALSE(cat->guessed);
    ASSERT_NE(cat->parent, nullptr);
    EXPECT_TRUE(cat->parent->guessed);
}

TEST(ProcessTree, ExecWithoutArguments) {
    Machine machine;
    machine.exec(10, 1, "/bin/x", "");
    EXPECT_EQ(machine.find(10)->cmdline, "x");
    EXPECT_EQ(machine.find(10)->image->exe, "");
    machine.exec(10, 1, "/bin/y", nul_list({"y"}));
    EXPECT_EQ(machine.find(10)->cmdline, "y");
    machine.exec(10, 1, "/bin/z", nul_list({"z", ""}));
    EXPECT_EQ(machine.find(10)->image->args, "");
}

TEST(ProcessTree, AFailedExecChangesNothing) {
    Machine machine;
    machine.exec(10, 1, "/bin/sh", nul_list({"sh"}));
    machine.apply(machine.record(BL_EVENT_execve, 10).result(-2).text(BL_STR_PATH, "/bin/none"));
    EXPECT_EQ(machine.find(10)->image->exepath, "/bin/sh");
}

TEST(ProcessTree, CloneSharesTheImage) {
    Machine machine;
    machine.exec(10, 1, "/bin/sh", nul_list({"sh", "-c"}));
    machine.clone(10, 11);
    const Process* child = machine.find(11);
    ASSERT_NE(child, nullptr);
    EXPECT_EQ(child->image, machine.find(10)->image);
    EXPECT_EQ(child->parent, machine.find(10));
    EXPECT_EQ(child->name, "sh"); // a renamed thread makes children of the same program
    EXPECT_EQ(child->cmdline, "sh -c");
    EXPECT_EQ(child->cwd, "/tmp/");
    EXPECT_EQ(child->exec_boot_ns, 0U);
    machine.exec(11, 10, "/bin/ls", nul_list({"ls"}));
    EXPECT_EQ(machine.find(10)->name, "sh");
    EXPECT_EQ(machine.find(11)->name, "ls");
}

TEST(ProcessTree, DoubleForkKeepsItsMakers) {
    Machine machine;
    machine.exec(10, 1, "/bin/sh", nul_list({"sh"}));
    machine.clone(10, 11);
    machine.clone(11, 12);
    machine.exit(11);
    machine.exit(10);
    machine.now += 3600 * kSecond;
    // The kernel says its parent is now the subreaper 1.
    machine.exec(12, 1, "/bin/daemon", nul_list({"daemon"}));
    const Process* daemon = machine.find(12);
    ASSERT_NE(daemon->parent, nullptr);
    EXPECT_EQ(daemon->parent->key.pid, 11U);
    EXPECT_EQ(daemon->parent->parent->key.pid, 10U);
    EXPECT_EQ(daemon->ppid, 1U);
    EXPECT_EQ(machine.tree.stats().exited, 2U);

    machine.exit(12);
    machine.now += 31 * kSecond;
    machine.apply(machine.record(BL_EVENT_setuid, 99));
    EXPECT_EQ(machine.find(12), nullptr);
    EXPECT_EQ(machine.find(11), nullptr);
    EXPECT_EQ(machine.tree.stats().exited, 0U);
}

TEST(ProcessTree, ExitedOnesStayForAWhile) {
    Machine machine;
    machine.exec(10, 1, "/bin/sh", nul_list({"sh"}));
    machine.exit(10, 256);
    ASSERT_NE(machine.find(10), nullptr);
    EXPECT_EQ(machine.find(10)->exit_code, 256);
    EXPECT_EQ(machine.find(10)->exit_boot_ns, machine.now);
    machine.now += 29 * kSecond;
    machine.apply(machine.record(BL_EVENT_setuid, 99));
    EXPECT_NE(machine.find(10), nullptr);
    machine.now += 2 * kSecond;
    machine.apply(machine.record(BL_EVENT_setuid, 99));
    EXPECT_EQ(machine.find(10), nullptr);
}

TEST(ProcessTree, ExecByAThreadIsOfTheProcess) {
    Machine machine;
    machine.exec(10, 1, "/bin/java", nul_list({"java"}));
    machine.apply(machine.record(BL_EVENT_execve, 10)
                      .thread(13)
                      .text(BL_STR_RESOLVED, "/bin/sh")
                      .text(BL_STR_PATH2, nul_list({"sh"}))
                      .facts(machine.task(10, 1, "sh")));
    EXPECT_EQ(machine.find(10)->name, "sh");
    EXPECT_EQ(machine.tree.find_pid(13), nullptr);
}

TEST(ProcessTree, PidsAreUsedAgain) {
    Machine machine;
    machine.exec(10, 1, "/bin/old", nul_list({"old"}));
    const ProcessKey old = machine.find(10)->key;
    const ProcessKey young{10, old.start_ns + 5 * kSecond};
    machine.apply(RecordBuilder(BL_EVENT_setuid).process(10, young.start_ns).at(9 * kSecond));
    ASSERT_NE(machine.tree.find(young), nullptr);
    EXPECT_NE(machine.tree.find(young), machine.tree.find(old));
    EXPECT_NE(machine.tree.find(old)->exit_boot_ns, 0U);
    EXPECT_EQ(machine.tree.find_pid(10), machine.tree.find(young));
    // A late event of the old one does not bring it back.
    machine.apply(RecordBuilder(BL_EVENT_setuid).process(10, old.start_ns).at(10 * kSecond));
    EXPECT_EQ(machine.tree.find_pid(10), machine.tree.find(young));
    // Nor one of a still older one that was never seen.
    machine.apply(RecordBuilder(BL_EVENT_setuid).process(10, 55).at(10 * kSecond));
    EXPECT_EQ(machine.tree.find_pid(10), machine.tree.find(young));
    EXPECT_NE(machine.tree.find({10, 55})->exit_boot_ns, 0U);
}

TEST(ProcessTree, EventsMayComeBeforeTheFork) {
    Machine machine;
    machine.exec(10, 1, "/bin/sh", nul_list({"sh"}));
    const Record fork =
        machine.record(BL_EVENT_clone, 10).result(11).facts(machine.task(11, 10, "sh")).build();
    const Event early = machine.apply(machine.record(BL_EVENT_setuid, 11));
    EXPECT_TRUE(early.process->guessed);
    Event late;
    ASSERT_EQ(decode(fork.bytes(), late), DecodeError::none);
    machine.tree.apply(late);
    EXPECT_FALSE(early.process->guessed);
    EXPECT_EQ(early.process->parent, machine.find(10));
    EXPECT_EQ(early.process->image, machine.find(10)->image);
}

TEST(ProcessTree, AForkThatComesAfterTheExecKeepsTheExec) {
    Machine machine;
    machine.exec(10, 1, "/bin/sh", nul_list({"sh"}));
    const Record fork =
        machine.record(BL_EVENT_clone, 10).result(11).facts(machine.task(11, 10, "sh")).build();
    machine.exec(11, 10, "/bin/ls", nul_list({"ls"}));
    Event late;
    ASSERT_EQ(decode(fork.bytes(), late), DecodeError::none);
    machine.tree.apply(late);
    EXPECT_EQ(machine.find(11)->name, "ls");
    EXPECT_EQ(machine.find(11)->parent, machine.find(10));
}

TEST(ProcessTree, SnapshotsAreTickPrecise) {
    Machine machine;
    const std::uint64_t tick = 4'560'000'000;
    const std::uint64_t exact = tick + 4'321'987;
    bl_event_task facts = task_facts(10, tick, 0, 0, "sh");
    machine.apply(RecordBuilder(BL_EVENT_proc)
                      .process(10, tick)
                      .at(machine.now)
                      .text(BL_STR_RESOLVED, "/bin/sh")
                      .text(BL_STR_PATH2, nul_list({"sh"}))
                      .text(BL_STR_BASE, "/")
                      .facts(facts));
    ASSERT_NE(machine.tree.find({10, exact}), nullptr);
    EXPECT_EQ(machine.tree.find({10, exact + 10'000'000}), nullptr);
    const Event event =
        machine.apply(RecordBuilder(BL_EVENT_setuid).process(10, exact).at(machine.now + 1));
    EXPECT_EQ(event.process->name, "sh");
    EXPECT_EQ(event.process->key.start_ns, exact);
    EXPECT_EQ(event.process->cwd, "/");
    EXPECT_EQ(machine.tree.stats().guessed, 0U);
    // Once exact, another exact one is another process.
    EXPECT_EQ(machine.tree.find({10, exact + 1}), nullptr);
    EXPECT_NE(machine.tree.find({10, tick}), nullptr);
}

TEST(ProcessTree, ASnapshotDoesNotUndoNewerEvents) {
    Machine machine;
    machine.exec(10, 1, "/bin/new", nul_list({"new"}));
    const std::uint64_t executed = machine.now;
    const auto snapshot = [&](std::uint64_t time, const char* path, const char* comm) {
        bl_event_task facts = machine.task(10, 1, comm);
        facts.start_ns -= 123; // as /proc has it
        facts.ns_net = 4026531992;
        machine.apply(RecordBuilder(BL_EVENT_proc)
                          .process(10, facts.start_ns)
                          .at(time)
                          .text(BL_STR_RESOLVED, path)
                          .text(BL_STR_PATH2, nul_list({comm}))
                          .facts(facts));
    };
    snapshot(executed - 1, "/bin/old", "old");
    EXPECT_EQ(machine.find(10)->name, "new");
    EXPECT_EQ(machine.find(10)->ns_net, 4026531992U);
    EXPECT_EQ(machine.find(10)->key.start_ns, Machine::start(10));
    snapshot(executed + 1, "/bin/newer", "newer");
    EXPECT_EQ(machine.find(10)->name, "newer");
    machine.exit(10);
    machine.now += 10;
    snapshot(machine.now, "/bin/ghost", "ghost");
    EXPECT_NE(machine.find(10)->exit_boot_ns, 0U);
    EXPECT_EQ(machine.find(10)->name, "newer");
}

TEST(ProcessTree, SessionsAndGroups) {
    Machine machine;
    machine.exec(10, 1, "/bin/sh", nul_list({"sh"}));
    machine.apply(machine.record(BL_EVENT_setsid, 10).result(10));
    EXPECT_EQ(machine.find(10)->sid, 10U);
    bl_event_task facts = machine.task(11, 10, "sh");
    facts.sid = facts.vsid = 10;
    machine.apply(machine.record(BL_EVENT_clone, 10).result(11).facts(facts));
    EXPECT_EQ(machine.tree.session_leader(*machine.find(11)), machine.find(10));
    machine.apply(machine.record(BL_EVENT_setpgid, 10).num(0, 11).num(1, 0));
    EXPECT_EQ(machine.find(11)->pgid, 11U);
    EXPECT_EQ(machine.find(11)->vpgid, 11U);
    machine.apply(machine.record(BL_EVENT_setpgid, 11).num(0, 0).num(1, 10));
    EXPECT_EQ(machine.find(11)->pgid, 10U);
    machine.apply(machine.record(BL_EVENT_setsid, 11).result(-1));
    EXPECT_EQ(machine.find(11)->sid, 10U);
    facts = machine.task(12, 11, "x");
    facts.sid = 500; // a leader that is not known
    machine.apply(machine.record(BL_EVENT_clone, 11).result(12).facts(facts));
    EXPECT_EQ(machine.tree.session_leader(*machine.find(12)), nullptr);
}

TEST(ProcessTree, UsersAndFoldersFollowCalls) {
    Machine machine;
    machine.exec(10, 1, "/bin/sh", nul_list({"sh"}));
    machine.apply(machine.record(BL_EVENT_setuid, 10).user(1000, 100));
    EXPECT_EQ(machine.find(10)->uid, 1000U);
    EXPECT_EQ(machine.find(10)->gid, 100U);
    machine.apply(machine.record(BL_EVENT_chdir, 10).text(BL_STR_RESOLVED, "/srv/x"));
    EXPECT_EQ(machine.find(10)->cwd, "/srv/x/");
    machine.apply(machine.record(BL_EVENT_chdir, 10).result(-2).text(BL_STR_RESOLVED, "/no"));
    EXPECT_EQ(machine.find(10)->cwd, "/srv/x/");
    machine.apply(machine.record(BL_EVENT_fchdir, 10).text(BL_STR_RESOLVED, "/"));
    EXPECT_EQ(machine.find(10)->cwd, "/");
    machine.apply(machine.record(BL_EVENT_comm, 10).text(BL_STR_PATH, "liar"));
    EXPECT_EQ(machine.find(10)->name, "sh");
}

TEST(ProcessTree, ContainersComeWithTheCgroup) {
    Machine machine;
    machine.exec(10, 1, "/bin/runc", nul_list({"runc"}));
    machine.clone(10, 11);
    EXPECT_EQ(machine.find(11)->container, nullptr);
    machine.apply(machine.record(BL_EVENT_setuid, 11).cgroup(77));
    ASSERT_NE(machine.find(11)->container, nullptr);
    EXPECT_EQ(machine.find(11)->container->id, "0123456789ab");
    machine.cgroup = 77;
    const int before = machine.placements;
    machine.clone(11, 12);
    EXPECT_EQ(machine.placements, before); // as its maker
    EXPECT_EQ(machine.find(12)->workload, "shop/cart");
    machine.workload = "shop/basket";
    machine.tree.place_again(77);
    EXPECT_EQ(machine.find(12)->workload, "shop/basket");
    EXPECT_EQ(machine.find(10)->workload, "");
}

TEST(ProcessTree, DeepAncestryGoesAtOnce) {
    Machine machine;
    machine.exec(10, 1, "/bin/sh", nul_list({"sh"}));
    for (std::uint32_t pid = 10; pid < 10'010; ++pid) {
        machine.clone(pid, pid + 1);
        machine.exit(pid);
    }
    machine.now += 60 * kSecond;
    const Event event = machine.apply(machine.record(BL_EVENT_setuid, 10'010));
    std::size_t depth = 0;
    for (const Process* up = event.process->parent; up != nullptr; up = up->parent)
        ++depth;
    EXPECT_EQ(depth, 10'001U); // and the guessed 1
    machine.exit(10'010);
    machine.now += 60 * kSecond;
    machine.apply(machine.record(BL_EVENT_setuid, 99));
    EXPECT_EQ(machine.tree.stats().exited, 0U);
    EXPECT_EQ(machine.tree.stats().live, 2U);
}

TEST(ProcessTree, TheLimitHoldsAndIsCounted) {
    ProcessTree::Options options;
    options.limit = 100;
    Machine machine(options);
    machine.exec(1, 0, "/sbin/init", nul_list({"init"}));
    for (std::uint32_t pid = 2; pid < 60; ++pid)
        machine.clone(1, pid);
    for (std::uint32_t pid = 2; pid < 30; ++pid)
        machine.exit(pid);
    for (std::uint32_t pid = 100; pid < 150; ++pid)
        machine.clone(1, pid);
    const TreeStats stats = machine.tree.stats();
    EXPECT_LE(stats.live + stats.exited, 100U);
    EXPECT_GT(stats.forgotten, 0U);
    EXPECT_NE(machine.find(59), nullptr); // lives
    EXPECT_EQ(machine.find(2), nullptr);  // the eldest exited went first
    for (std::uint32_t pid = 200; pid < 1200; ++pid)
        machine.clone(pid % 7 == 0 ? pid - 1 : 1, pid);
    EXPECT_LE(machine.tree.stats().live + machine.tree.stats().exited, 100U);
    std::size_t seen = 0;
    machine.tree.for_each([&](const Process& process) {
        ++seen;
        if (process.parent == nullptr) return;
        EXPECT_EQ(machine.tree.find(process.parent->key), process.parent);
    });
    EXPECT_EQ(seen, machine.tree.stats().live + machine.tree.stats().exited);
}

TEST(ProcessTree, RecordsThatLieMakeNoCycle) {
    Machine machine;
    machine.clone(10, 10);
    machine.clone(10, 11);
    machine.clone(11, 12);
    machine.clone(12, 10);
    machine.exec(10, 12, "/bin/x", nul_list({"x"}));
    for (const std::uint32_t pid : {10U, 11U, 12U}) {
        std::size_t depth = 0;
        for (const Process* up = machine.find(pid); up != nullptr && depth < 10; up = up->parent)
            ++depth;
        EXPECT_LT(depth, 10U);
    }
}

TEST(ProcessTree, FactsHaveANumberOfTheirOwn) {
    Machine machine;
    const auto facts = [&](std::uint32_t pid) {
        const Process* process = machine.tree.find({pid, Machine::start(pid)});
        EXPECT_NE(process, nullptr) << pid;
        return process == nullptr ? 0 : process->facts;
    };
    machine.exec(10, 1, "/bin/a", nul_list({"a"}));
    machine.clone(10, 11);
    machine.clone(11, 12);
    machine.clone(10, 13);
    const auto was = [&] { return std::array{facts(10), facts(11), facts(12), facts(13)}; };
    auto before = was();
    EXPECT_EQ((std::set<std::uint64_t>(before.begin(), before.end()).size()), 4U);
    machine.apply(machine.record(BL_EVENT_openat, 11).text(BL_STR_PATH, "/x"));
    machine.apply(machine.record(BL_EVENT_setsid, 11));
    EXPECT_EQ(was(), before) << "nothing that counts";

    machine.exec(11, 10, "/bin/b", nul_list({"b"}));
    EXPECT_EQ(facts(10), before[0]);
    EXPECT_NE(facts(11), before[1]);
    EXPECT_EQ(facts(12), before[2]);
    EXPECT_EQ(facts(13), before[3]);

    before = was();
    machine.apply(machine.record(BL_EVENT_openat, 13).cgroup(77)); // into a container
    EXPECT_EQ(facts(12), before[2]);
    EXPECT_NE(facts(13), before[3]);
    before = was();
    machine.tree.place_again(77);
    EXPECT_EQ(facts(12), before[2]);
    EXPECT_NE(facts(13), before[3]) << "the container is another object now";
}

TEST(ProcessTree, CredentialsAreThoseOfTheChange) {
    Machine machine;
    machine.exec(10, 1, "/bin/a", nul_list({"a"}));
    const Process* process = machine.tree.find({10, Machine::start(10)});
    ASSERT_NE(process, nullptr);
    const auto before = process->facts;
    auto task = machine.task(10, 1, "a");
    task.cap_effective = 5;
    task.cap_permitted = 7;
    task.cap_inheritable = 1;
    machine.apply(machine.record(BL_EVENT_capset, 10).facts(task));
    EXPECT_EQ(process->cap_effective, 5U);
    EXPECT_EQ(process->cap_permitted, 7U);
    EXPECT_EQ(process->cap_inheritable, 1U);
    EXPECT_NE(process->facts, before);
    machine.apply(machine.record(BL_EVENT_capset, 10).result(-1));
    EXPECT_EQ(process->cap_effective, 5U);
}

} // namespace
} // namespace beeline::security
