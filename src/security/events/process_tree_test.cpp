#include "security/events/process_tree.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "security/events/record_builder.h"

namespace beeline::security {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

std::string list(std::initializer_list<std::string_view> items) {
    std::string out;
    for (const auto item : items)
        out.append(item).push_back('\0');
    return out;
}

struct Id {
    std::uint32_t pid = 0;
    std::uint64_t start = 0; // not of a whole tick unless a test wants so
};

bl_event_task task_of(Id id, Id parent, std::string_view comm) {
    bl_event_task task{};
    task.pid = task.vpid = id.pid;
    task.start_ns = id.start;
    task.ppid = parent.pid;
    task.parent_start_ns = parent.start;
    task.pgid = task.sid = 1;
    task.cgroup = 5;
    comm.copy(task.comm, sizeof task.comm - 1);
    return task;
}

class Tree : public ::testing::Test {
protected:
    ProcessTree make(ProcessTree::Options options = {}) {
        return {options, [this](std::uint64_t cgroup) {
                    ++placed_;
                    Placement out;
                    out.workload = "w/" + std::to_string(cgroup) + suffix_;
                    return out;
                }};
    }

    bl_event& begin(std::uint16_t kind, Id id) {
        auto& head = builder_.begin(kind).head();
        head.pid = head.tid = id.pid;
        head.start_ns = id.start;
        head.time_ns = now_ += 1000;
        head.cgroup = 5;
        return head;
    }
    const Process* apply() {
        last_ = {};
        EXPECT_EQ(decode(builder_.finish(), last_), DecodeError::none);
        tree_.apply(last_);
        EXPECT_NE(last_.process, nullptr);
        return last_.process;
    }
    const Process* snapshot(Id id, Id parent, std::string_view path = "/bin/a") {
        begin(BL_EVENT_proc, id);
        builder_.text(BL_STR_RESOLVED, path)
            .text(BL_STR_PATH2, list({"a", "-x"}))
            .text(BL_STR_BASE, "/root")
            .facts(task_of(id, parent, "a"));
        return apply();
    }
    const Process* clone(Id parent, Id child, std::string_view comm = "a") {
        begin(BL_EVENT_clone, parent);
        builder_.facts(task_of(child, parent, comm));
        apply();
        return tree_.find({child.pid, child.start});
    }
    const Process* exec(Id id, Id parent, std::string_view path, std::uint32_t tid = 0) {
        auto& head = begin(BL_EVENT_execve, id);
        if (tid != 0) head.tid = tid;
        const auto name = path.substr(path.rfind('/') + 1);
        builder_.text(BL_STR_RESOLVED, path)
            .text(BL_STR_PATH2, list({name, "one", "two words"}))
            .text(BL_STR_BASE, "/tmp")
            .facts(task_of(id, parent, name));
        return apply();
    }
    const Process* exit(Id id) {
        begin(BL_EVENT_procexit, id);
        return apply();
    }
    const Process* open(Id id) {
        begin(BL_EVENT_openat, id);
        return apply();
    }

    std::uint64_t now_ = 100 * kSecond;
    int placed_ = 0;
    std::string suffix_;
    RecordBuilder builder_;
    Event last_;
    ProcessTree tree_ = make();
};

const Id kInit{1, 1'000'001};
const Id kShell{10, 2 * kSecond + 1};
const Id kTool{11, 3 * kSecond + 1};

TEST_F(Tree, FollowsForkAndExec) {
    snapshot(kInit, {});
    const Process* shell = clone(kInit, kShell);
    ASSERT_NE(shell, nullptr);
    EXPECT_EQ(last_.process->key.pid, 1U); // a clone is an event of who does it
    EXPECT_EQ(shell->image, last_.process->image);
    EXPECT_EQ(shell->cmdline, "a -x");
    EXPECT_EQ(shell->cwd, "/root/");
    EXPECT_EQ(shell->exec_boot_ns, 0U);
    EXPECT_EQ(exec(kShell, kInit, "/bin/sh"), shell);
    EXPECT_EQ(shell->image->exepath, "/bin/sh");
    EXPECT_EQ(shell->image->exe, "sh");
    EXPECT_EQ(shell->image->args, "one two words");
    EXPECT_EQ(shell->image->argv, list({"sh", "one", "two words"}));
    EXPECT_EQ(shell->name, "sh");
    EXPECT_EQ(shell->cmdline, "sh one two words");
    EXPECT_EQ(shell->cwd, "/tmp/");
    EXPECT_EQ(shell->exec_boot_ns, last_.head.time_ns);
    EXPECT_EQ(shell->workload, "w/5");
    const Process* tool = clone(kShell, kTool, "sh");
    ASSERT_NE(tool, nullptr);
    EXPECT_EQ(tool->parent, shell);
    EXPECT_EQ(tool->parent->parent->key.pid, 1U);
    EXPECT_EQ(tool->image, shell->image); // shared, not copied
    EXPECT_EQ(tree_.stats().live, 3U);
    EXPECT_EQ(tree_.stats().guessed, 0U);
    EXPECT_EQ(last_.number, 4U);
}

TEST_F(Tree, TellsTimesInRealTime) {
    ProcessTree tree({.boot_time_ns = 500}, {});
    begin(BL_EVENT_openat, kShell);
    Event event;
    ASSERT_EQ(decode(builder_.finish(), event), DecodeError::none);
    tree.apply(event);
    EXPECT_EQ(event.time_ns, static_cast<std::int64_t>(now_) + 500);
    EXPECT_EQ(event.process->started_ns, static_cast<std::int64_t>(kShell.start) + 500);
}

TEST_F(Tree, KeepsTheAncestryOfADoubleFork) {
    snapshot(kInit, {});
    clone(kInit, kShell);
    const Id middle{12, 4 * kSecond + 1};
    const Id daemon{13, 5 * kSecond + 1};
    clone(kShell, middle);
    const Process* process = clone(middle, daemon);
    exit(middle);
    // Its parent is now init, or a subreaper; who made it stays.
    exec(daemon, kInit, "/bin/daemon");
    ASSERT_NE(process->parent, nullptr);
    EXPECT_EQ(process->parent->key.pid, middle.pid);
    EXPECT_NE(process->parent->exit_boot_ns, 0U);
    EXPECT_EQ(process->parent->parent->key.pid, kShell.pid);
    EXPECT_EQ(process->ppid, kInit.pid);

    // Long after, the middle one is still there for its child's sake, and gone with it.
    now_ += 60 * kSecond;
    exit(kTool);
    EXPECT_NE(tree_.find({middle.pid, middle.start}), nullptr);
    EXPECT_EQ(process->parent->key.pid, middle.pid);
    exit(daemon);
    now_ += 60 * kSecond;
    exit({14, 6 * kSecond + 1});
    EXPECT_EQ(tree_.find({daemon.pid, daemon.start}), nullptr);
    EXPECT_EQ(tree_.find({middle.pid, middle.start}), nullptr);
    EXPECT_NE(tree_.find({kShell.pid, kShell.start}), nullptr);
}

TEST_F(Tree, GivesACloneWithTheCallersParentToThatParent) {
    snapshot(kInit, {});
    clone(kInit, kShell);
    begin(BL_EVENT_clone, kShell);
    builder_.facts(task_of(kTool, kInit, "a"));
    EXPECT_EQ(apply()->key.pid, kShell.pid);
    EXPECT_EQ(tree_.find({kTool.pid, kTool.start})->parent->key.pid, kInit.pid);
}

TEST_F(Tree, TellsProcessesOfTheSamePidApart) {
    snapshot(kInit, {});
    const Process* first = clone(kInit, kShell);
    exec(kShell, kInit, "/bin/first");
    const Process* child = clone(kShell, kTool);
    // No exit was seen.
    const Id again{kShell.pid, 50 * kSecond + 1};
    const Process* second = clone(kInit, again);
    ASSERT_NE(second, first);
    EXPECT_NE(first->exit_boot_ns, 0U);
    EXPECT_EQ(second->exit_boot_ns, 0U);
    EXPECT_EQ(child->parent, first);
    EXPECT_EQ(tree_.find_pid(kShell.pid), second);
    EXPECT_EQ(tree_.find({kShell.pid, kShell.start}), first);
    // A late event of the first does not end the second.
    EXPECT_EQ(open(kShell), first);
    EXPECT_EQ(second->exit_boot_ns, 0U);
    EXPECT_EQ(tree_.find_pid(kShell.pid), second);
}

TEST_F(Tree, TakesAnExecOfAnotherThreadForTheProcess) {
    snapshot(kInit, {});
    const Process* shell = clone(kInit, kShell);
    EXPECT_EQ(exec(kShell, kInit, "/bin/other", 77), shell);
    EXPECT_EQ(shell->name, "other");
    EXPECT_EQ(tree_.find_pid(77), nullptr);
}

TEST_F(Tree, MatchesTheTicksOfTheSnapshot) {
    const Id rough{10, 2'340'000'000};
    const Process* shell = snapshot(rough, {});
    const Id exact{10, 2'345'678'901};
    EXPECT_EQ(open(exact), shell);
    EXPECT_EQ(shell->key.start_ns, exact.start); // now it is known
    EXPECT_EQ(open({10, 2'355'678'902})->guessed, true);
    EXPECT_EQ(tree_.find({10, exact.start}), shell);
    EXPECT_EQ(tree_.find({10, rough.start}), shell); // of a later snapshot
    // The other way round: events first.
    const Process* tool = open(kTool);
    EXPECT_TRUE(tool->guessed);
    EXPECT_EQ(snapshot({kTool.pid, 3 * kSecond}, exact), tool);
    EXPECT_FALSE(tool->guessed);
    EXPECT_EQ(tool->parent, shell);
    EXPECT_EQ(tool->key.start_ns, kTool.start);
}

TEST_F(Tree, DoesNotLetASnapshotOverwriteWhatEventsTold) {
    snapshot(kInit, {});
    clone(kInit, kShell);
    exec(kShell, kInit, "/bin/new");
    EXPECT_EQ(snapshot({kShell.pid, 2 * kSecond}, kInit, "/bin/old")->image->exepath, "/bin/new");
}

TEST_F(Tree, LearnsLateWhatAChildInherited) {
    const Process* child = clone(kShell, kTool); // nothing is known of its maker
    const Id grandchild{12, 4 * kSecond + 1};
    const Process* other = clone(kTool, grandchild);
    EXPECT_EQ(child->image->exepath, "");
    snapshot(kShell, kInit, "/bin/sh");
    EXPECT_EQ(child->image->exepath, "/bin/sh");
    EXPECT_EQ(other->image->exepath, "/bin/sh");
    EXPECT_EQ(other->cwd, "/root/");
    // Its own snapshot counts where nothing was inherited.
    const Id alone{20, 5 * kSecond + 1};
    const Id unknown{21, 6 * kSecond + 1};
    const Process* late = clone(unknown, alone);
    snapshot({alone.pid, 5 * kSecond}, unknown, "/bin/late");
    EXPECT_EQ(late->image->exepath, "/bin/late");
}

TEST_F(Tree, AcceptsAnyOrder) {
    // exec, then the clone that made it, then the snapshot of its parent.
    const Process* tool = exec(kTool, kShell, "/bin/tool");
    EXPECT_TRUE(tool->parent->guessed);
    clone(kShell, kTool, "old");
    EXPECT_EQ(tool->name, "tool");
    EXPECT_EQ(tool->image->exepath, "/bin/tool");
    const Process* shell = snapshot(kShell, kInit, "/bin/sh");
    EXPECT_EQ(tool->parent, shell);
    EXPECT_EQ(tool->image->exepath, "/bin/tool");
    EXPECT_EQ(shell->parent->key.pid, kInit.pid);
    // An exit before the clone.
    const Id brief{30, 7 * kSecond + 1};
    exit(brief);
    const Process* gone = clone(kShell, brief);
    EXPECT_EQ(gone->parent, shell);
    EXPECT_NE(gone->exit_boot_ns, 0U);
}

TEST_F(Tree, DoesNotLetARenameChangeWhoItIs) {
    snapshot(kInit, {});
    clone(kInit, kShell);
    const Process* shell = exec(kShell, kInit, "/bin/sh");
    begin(BL_EVENT_comm, kShell);
    builder_.text(BL_STR_PATH, "dpkg");
    apply();
    EXPECT_EQ(shell->name, "sh");
    EXPECT_EQ(clone(kShell, kTool, "dpkg")->name, "sh");
}

TEST_F(Tree, FollowsDirectoriesSessionsAndGroups) {
    const Process* shell = snapshot(kShell, {});
    begin(BL_EVENT_chdir, kShell);
    builder_.text(BL_STR_PATH, "x").text(BL_STR_RESOLVED, "/srv/x");
    apply();
    EXPECT_EQ(shell->cwd, "/srv/x/");
    begin(BL_EVENT_chdir, kShell).result = -2;
    builder_.text(BL_STR_RESOLVED, "/none");
    apply();
    EXPECT_EQ(shell->cwd, "/srv/x/");
    begin(BL_EVENT_setsid, kShell).result = 3;
    apply();
    EXPECT_EQ(shell->sid, kShell.pid);
    EXPECT_EQ(shell->pgid, kShell.pid);
    EXPECT_EQ(shell->vsid, 3U);
    begin(BL_EVENT_setuid, kShell).uid = 33;
    apply();
    EXPECT_EQ(shell->uid, 33U);
    begin(BL_EVENT_openat, kShell).cgroup = 6;
    apply();
    EXPECT_EQ(shell->workload, "w/6");
}

TEST_F(Tree, FindsTheLeaderOfASession) {
    snapshot(kInit, {});
    const Process* shell = clone(kInit, kShell);
    begin(BL_EVENT_setsid, kShell).result = 10;
    apply();
    begin(BL_EVENT_clone, kShell);
    auto task = task_of(kTool, kShell, "a");
    task.sid = kShell.pid;
    builder_.facts(task);
    apply();
    const Process* tool = tree_.find({kTool.pid, kTool.start});
    EXPECT_EQ(tree_.session_leader(*tool), shell);
    EXPECT_EQ(tree_.session_leader(*shell), shell);
    // A leader that nobody saw: the eldest of its session.
    const Id a{40, 8 * kSecond + 1};
    const Id b{41, 9 * kSecond + 1};
    for (const auto& [id, parent] : {std::pair{a, kShell}, std::pair{b, a}}) {
        begin(BL_EVENT_clone, parent);
        auto facts = task_of(id, parent, "a");
        facts.sid = 39;
        builder_.facts(facts);
        apply();
    }
    EXPECT_EQ(tree_.session_leader(*tree_.find({b.pid, b.start})), tree_.find({a.pid, a.start}));
}

TEST_F(Tree, AsksForPlacesAgain) {
    snapshot(kShell, {});
    clone(kShell, kTool);
    EXPECT_EQ(placed_, 1); // a child in the same cgroup is where its parent is
    suffix_ = "!";
    tree_.place_again(6);
    EXPECT_EQ(tree_.find({kTool.pid, kTool.start})->workload, "w/5");
    tree_.place_again(5);
    EXPECT_EQ(tree_.find({kTool.pid, kTool.start})->workload, "w/5!");
    suffix_ = "?";
    tree_.place_again(0);
    EXPECT_EQ(tree_.find({kShell.pid, kShell.start})->workload, "w/5?");
}

TEST_F(Tree, IsDeep) {
    constexpr std::uint32_t kDepth = 10'000;
    const auto id = [](std::uint32_t n) { return Id{n, n * 1'000'003ULL}; };
    snapshot(id(1), {});
    for (std::uint32_t n = 1; n < kDepth; ++n)
        clone(id(n), id(n + 1));
    std::size_t depth = 0;
    const Process* process = tree_.find({kDepth, id(kDepth).start});
    for (; process != nullptr; process = process->parent)
        ++depth;
    EXPECT_EQ(depth, kDepth);
    for (std::uint32_t n = 1; n < kDepth; ++n)
        exit(id(n));
    now_ += 60 * kSecond;
    exit({kDepth + 1, 5});
    EXPECT_EQ(tree_.stats().live, 1U); // and all ancestors for it
    exit(id(kDepth));
    now_ += 60 * kSecond;
    exit({kDepth + 2, 6});
    EXPECT_LE(tree_.stats().exited, 2U);
    EXPECT_EQ(tree_.stats().live, 0U);
}

TEST_F(Tree, StaysWithinItsLimit) {
    ProcessTree tree({.limit = 100}, {});
    const auto apply_to = [&] {
        Event event;
        ASSERT_EQ(decode(builder_.finish(), event), DecodeError::none);
        tree.apply(event);
        ASSERT_NE(event.process, nullptr);
        ASSERT_EQ(event.process->key.pid, event.head.pid);
    };
    for (std::uint32_t n = 1; n < 2000; ++n) {
        const Id parent{n, n * 1'000'003ULL};
        const Id child{n + 1, (n + 1) * 1'000'003ULL};
        begin(BL_EVENT_clone, parent);
        builder_.facts(task_of(child, parent, "a"));
        apply_to();
        if (n % 3 == 0) {
            begin(BL_EVENT_procexit, parent);
            apply_to();
        }
        const auto stats = tree.stats();
        ASSERT_LE(stats.live + stats.exited, 100U);
    }
    EXPECT_GT(tree.stats().forgotten, 1800U);
}

TEST_F(Tree, SurvivesWhatMakesNoSense) {
    // Its own parent, a circle, an exit twice with time between, a clock that goes back.
    snapshot(kShell, kShell);
    snapshot(kTool, kShell);
    clone(kTool, kShell);
    const Id other{12, 4 * kSecond + 1};
    exec(other, kTool, "/bin/x");
    exec(kTool, other, "/bin/y");
    exit(kTool);
    now_ += 100 * kSecond;
    exit(kTool);
    exit(kTool);
    now_ -= 90 * kSecond;
    exit(other);
    for (const auto id : {kShell, kTool, other}) {
        std::size_t depth = 0;
        for (const Process* up = tree_.find({id.pid, id.start}); up != nullptr; up = up->parent)
            ASSERT_LT(++depth, 10U);
    }

    std::mt19937 random(7);
    ProcessTree tree({.limit = 20, .keep_exited_ns = 50'000}, {});
    for (int round = 0; round < 200'000; ++round) {
        const auto id = [&] {
            return Id{static_cast<std::uint32_t>(1 + random() % 12), random() % 6 * 5000000};
        };
        constexpr std::uint16_t kKinds[] = {BL_EVENT_proc, BL_EVENT_clone, BL_EVENT_execve,
                                            BL_EVENT_procexit, BL_EVENT_openat};
        auto& head = begin(kKinds[random() % 5], id());
        head.time_ns += random() % 100'000;
        if (head.kind == BL_EVENT_clone || head.kind == BL_EVENT_proc ||
            head.kind == BL_EVENT_execve)
            builder_.text(BL_STR_RESOLVED, "/bin/a").facts(task_of(id(), id(), "a"));
        Event event;
        ASSERT_EQ(decode(builder_.finish(), event), DecodeError::none);
        tree.apply(event);
        std::size_t depth = 0;
        for (const Process* up = event.process; up != nullptr; up = up->parent)
            ASSERT_LT(++depth, 30U);
        const auto stats = tree.stats();
        ASSERT_LE(stats.live + stats.exited, 24U);
    }
    std::size_t seen = 0;
    tree.for_each([&](const Process&) { ++seen; });
    EXPECT_EQ(seen, tree.stats().live + tree.stats().exited);
}

} // namespace
} // namespace beeline::security
