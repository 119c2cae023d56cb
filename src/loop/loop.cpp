#include "loop/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace beeline::loop {
namespace {

constexpr std::uint64_t kWakeToken = 0;

std::uint64_t monotonic_ms() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000 +
           static_cast<std::uint64_t>(now.tv_nsec) / 1000000;
}

struct Timer {
    std::uint64_t deadline_ms;
    std::uint64_t period_ms; // 0: once
    std::shared_ptr<Loop::Task> task;
};

// Watches are found by token, not by fd: an event that epoll delivered for an fd closed meanwhile
// must not reach the handler of a new file with the same number.
struct Watch {
    int fd;
    std::shared_ptr<std::function<void(std::uint32_t)>> handler;
};

} // namespace

struct Loop::State {
    Fd epoll;
    Fd wake;
    std::vector<Fd> signal_fds;

    std::unordered_map<std::uint64_t, Watch> watches;
    std::unordered_map<int, std::uint64_t> token_of;
    std::uint64_t next_token = kWakeToken + 1;

    std::unordered_map<TimerId, Timer> timers;
    std::set<std::pair<std::uint64_t, TimerId>> deadlines;
    TimerId next_timer = 1;

    std::mutex mutex;
    std::vector<Task> posted; // guarded by mutex
    bool closed = false;      // guarded by mutex

    bool stopping = false; // loop thread only
    std::atomic<std::thread::id> owner{};

    void expect_owner(const char* what) const {
        const auto thread = owner.load();
        if (thread == std::thread::id{} || thread == std::this_thread::get_id()) return;
        std::fprintf(stderr, "loop: %s called from a foreign thread\n", what);
        std::abort();
    }

    void run_posted() {
        std::vector<Task> tasks;
        {
            const std::lock_guard lock(mutex);
            tasks.swap(posted);
        }
        for (auto& task : tasks) {
            task();
            task = nullptr; // frees what it captured before the next one runs
        }
    }

    TimerId add_timer(std::uint64_t delay_ms, std::uint64_t period_ms, Task task) {
        const TimerId id = next_timer++;
        const std::uint64_t deadline = monotonic_ms() + delay_ms;
        timers.emplace(id, Timer{deadline, period_ms, std::make_shared<Task>(std::move(task))});
        deadlines.emplace(deadline, id);
        return id;
    }

    // Runs what is due now; a timer that a task sets to zero waits for the next round, so fds are
    // not starved.
    void run_timers() {
        const std::uint64_t now = monotonic_ms();
        std::vector<TimerId> due;
        for (const auto& [deadline, id] : deadlines) {
            if (deadline > now) break;
            due.push_back(id);
        }
        for (const TimerId id : due) {
            const auto found = timers.find(id);
            if (found == timers.end()) continue; // cancelled by a task before it
            Timer& timer = found->second;
            const auto task = timer.task;
            deadlines.erase({timer.deadline_ms, id});
            if (timer.period_ms == 0) {
                timers.erase(found);
            } else {
                // Periods that were missed are not made up for.
                timer.deadline_ms = std::max(timer.deadline_ms + timer.period_ms, now + 1);
                deadlines.emplace(timer.deadline_ms, id);
            }
            (*task)();
        }
    }

    [[nodiscard]] int wait_ms() const {
        if (stopping) return 0;
        if (deadlines.empty()) return -1;
        const std::uint64_t now = monotonic_ms();
        const std::uint64_t deadline = deadlines.begin()->first;
        if (deadline <= now) return 0;
        return static_cast<int>(std::min<std::uint64_t>(deadline - now, 3600 * 1000));
    }

    void dispatch(std::uint64_t token, std::uint32_t events) {
        if (token == kWakeToken) {
            std::uint64_t count = 0;
            [[maybe_unused]] const auto got = ::read(wake.get(), &count, sizeof(count));
            return; // the tasks run once a round, see run()
        }
        const auto found = watches.find(token);
        if (found == watches.end()) return;
        const auto handler = found->second.handler; // survives its own unwatch()
        (*handler)(events);
    }
};

Loop::Loop() : state_(std::make_unique<State>()) {}

Loop::~Loop() = default;

Result<std::unique_ptr<Loop>> Loop::create() {
    std::unique_ptr<Loop> loop(new Loop());
    State& state = *loop->state_;
    state.epoll.reset(epoll_create1(EPOLL_CLOEXEC));
    if (!state.epoll) return fail_errno(errno, "epoll_create1");
    state.wake.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!state.wake) return fail_errno(errno, "eventfd");
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kWakeToken;
    if (epoll_ctl(state.epoll.get(), EPOLL_CTL_ADD, state.wake.get(), &event) != 0)
        return fail_errno(errno, "epoll_ctl of the loop's eventfd");
    return loop;
}

void Loop::run() {
    State& state = *state_;
    state.owner = std::this_thread::get_id();
    std::array<epoll_event, 64> events{};
    while (!state.stopping) {
        const int count =
            epoll_wait(state.epoll.get(), events.data(), events.size(), state.wait_ms());
        if (count < 0 && errno != EINTR) {
            std::perror("loop: epoll_wait");
            std::abort();
        }
        for (int i = 0; i < count; ++i) {
            const auto& event = events[static_cast<std::size_t>(i)];
            state.dispatch(event.data.u64, event.events);
        }
        state.run_timers();
        state.run_posted();
    }
    {
        const std::lock_guard lock(state.mutex);
        state.closed = true;
    }
    state.run_posted(); // what came in while the last round ran
    state.owner = std::thread::id{};
}

void Loop::stop() {
    post([this] { state_->stopping = true; });
}

void Loop::post(Task task) {
    {
        const std::lock_guard lock(state_->mutex);
        if (state_->closed) return;
        state_->posted.push_back(std::move(task));
        if (state_->posted.size() > 1) return; // whoever made it non-empty has rung already
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(state_->wake.get(), &one, sizeof(one));
}

Result<> Loop::watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> handler) {
    State& state = *state_;
    state.expect_owner("watch()");
    if (state.token_of.contains(fd))
        return fail(Code::exists, "the loop already watches file descriptor {}", fd);
    const std::uint64_t token = state.next_token++;
    epoll_event event{};
    event.events = events;
    event.data.u64 = token;
    if (epoll_ctl(state.epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0)
        return fail_errno(errno, fmt::format("epoll_ctl of file descriptor {}", fd));
    state.watches.emplace(
        token, Watch{fd, std::make_shared<std::function<void(std::uint32_t)>>(std::move(handler))});
    state.token_of.emplace(fd, token);
    return {};
}

void Loop::unwatch(int fd) {
    State& state = *state_;
    state.expect_owner("unwatch()");
    const auto found = state.token_of.find(fd);
    if (found == state.token_of.end()) return;
    epoll_ctl(state.epoll.get(), EPOLL_CTL_DEL, fd, nullptr);
    state.watches.erase(found->second);
    state.token_of.erase(found);
}

Loop::TimerId Loop::after(std::uint64_t delay_ms, Task task) {
    state_->expect_owner("after()");
    return state_->add_timer(delay_ms, 0, std::move(task));
}

Loop::TimerId Loop::every(std::uint64_t period_ms, Task task) {
    state_->expect_owner("every()");
    const std::uint64_t period = std::max<std::uint64_t>(period_ms, 1);
    return state_->add_timer(period, period, std::move(task));
}

void Loop::cancel(TimerId id) {
    state_->expect_owner("cancel()");
    const auto found = state_->timers.find(id);
    if (found == state_->timers.end()) return;
    state_->deadlines.erase({found->second.deadline_ms, id});
    state_->timers.erase(found);
}

Result<> Loop::on_signals(std::initializer_list<int> signals, std::function<void(int)> handler) {
    state_->expect_owner("on_signals()");
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : signals)
        sigaddset(&set, signal);
    if (const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0)
        return fail_errno(error, "pthread_sigmask");
    Fd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd) return fail_errno(errno, "signalfd");
    TRY(watch(fd.get(), EPOLLIN, [raw = fd.get(), handler = std::move(handler)](std::uint32_t) {
        signalfd_siginfo info{};
        while (::read(raw, &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info)))
            handler(static_cast<int>(info.ssi_signo));
    }));
    state_->signal_fds.push_back(std::move(fd));
    return {};
}

} // namespace beeline::loop
