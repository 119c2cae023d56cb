#include "api/hubble/feed.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace beeline::hubble {
namespace {
constexpr std::int64_t kTickMs = 1000;
}

std::int64_t steady_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

struct Pump::State {
    struct Waiting {
        int fd = -1;
        std::int64_t since_ms = 0;
    };

    void watch();
    void work();
    void run_tasks();
    void tick();
    // Under the mutex: makes a waiting stream run.
    void wake(Moved* stream) {
        const auto found = waiting.find(stream);
        if (found == waiting.end()) return;
        if (found->second.fd >= 0) {
            ::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, found->second.fd, nullptr);
            by_fd.erase(found->second.fd);
        }
        waiting.erase(found);
        queue.push_back(stream);
        ready.notify_one();
    }

    Fd epoll;
    Fd stop_event;
    std::mutex mutex;
    std::condition_variable ready;
    std::condition_variable idle;
    std::unordered_set<Moved*> streams;
    std::unordered_map<Moved*, Waiting> waiting;
    std::unordered_map<int, Moved*> by_fd;
    std::deque<Moved*> queue;
    std::deque<std::function<void()>> tasks;
    std::condition_variable asked;
    Moved* ticking = nullptr;
    bool stopping = false;
    std::vector<std::thread> threads;
};

Pump::Pump() : state_(std::make_unique<State>()) {}

Result<std::unique_ptr<Pump>> Pump::start(unsigned workers) {
    std::unique_ptr<Pump> pump(new Pump());
    State& state = *pump->state_;
    state.epoll.reset(::epoll_create1(EPOLL_CLOEXEC));
    state.stop_event.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!state.epoll || !state.stop_event) return fail_errno(errno, "epoll");
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = state.stop_event.get();
    if (::epoll_ctl(state.epoll.get(), EPOLL_CTL_ADD, state.stop_event.get(), &event) != 0)
        return fail_errno(errno, "epoll_ctl");
    state.threads.emplace_back([&state] { state.watch(); });
    state.threads.emplace_back([&state] { state.run_tasks(); });
    for (unsigned i = 0; i < workers; ++i)
        state.threads.emplace_back([&state] { state.work(); });
    return pump;
}

Pump::~Pump() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->stopping = true;
        state_->ready.notify_all();
        state_->asked.notify_all();
    }
    ::eventfd_write(state_->stop_event.get(), 1);
    for (auto& thread : state_->threads)
        thread.join();
}

void Pump::State::work() {
    std::unique_lock lock(mutex);
    for (;;) {
        ready.wait(lock, [&] { return stopping || !queue.empty(); });
        if (queue.empty()) return;
        Moved* stream = queue.front();
        queue.pop_front();
        lock.unlock();
        stream->advance(); // the stream may be gone after this
        lock.lock();
    }
}

void Pump::State::run_tasks() {
    std::unique_lock lock(mutex);
    for (;;) {
        asked.wait(lock, [&] { return stopping || !tasks.empty(); });
        if (tasks.empty()) return;
        const auto task = std::move(tasks.front());
        tasks.pop_front();
        lock.unlock();
        task();
        lock.lock();
    }
}

void Pump::State::watch() {
    std::array<epoll_event, 64> events{};
    std::int64_t next_tick = steady_ms() + kTickMs;
    for (;;) {
        const auto left = std::max<std::int64_t>(next_tick - steady_ms(), 0);
        const int count =
            ::epoll_wait(epoll.get(), events.data(), events.size(), static_cast<int>(left));
        {
            const std::lock_guard lock(mutex);
            if (stopping) return;
            for (int i = 0; i < count; ++i) {
                const auto found = by_fd.find(events[static_cast<std::size_t>(i)].data.fd);
                if (found != by_fd.end()) wake(found->second);
            }
        }
        if (steady_ms() >= next_tick) {
            tick();
            next_tick = steady_ms() + kTickMs;
        }
    }
}

void Pump::State::tick() {
    const std::int64_t now = steady_ms();
    std::unique_lock lock(mutex);
    std::vector<Moved*> old;
    for (const auto& [stream, entry] : waiting)
        if (now - entry.since_ms >= kTickMs) old.push_back(stream);
    for (Moved* stream : old)
        wake(stream);
    const std::vector<Moved*> all(streams.begin(), streams.end());
    for (Moved* stream : all) {
        if (!streams.contains(stream)) continue;
        ticking = stream; // remove() waits for it
        lock.unlock();
        stream->tick(now);
        lock.lock();
        ticking = nullptr;
        idle.notify_all();
    }
}

void Pump::add(Moved& stream) {
    const std::lock_guard lock(state_->mutex);
    state_->streams.insert(&stream);
}

void Pump::remove(Moved& stream) {
    std::unique_lock lock(state_->mutex);
    state_->streams.erase(&stream);
    state_->idle.wait(lock, [&] { return state_->ticking != &stream; });
}

void Pump::run(std::function<void()> task) {
    const std::lock_guard lock(state_->mutex);
    state_->tasks.push_back(std::move(task));
    state_->asked.notify_one();
}

void Pump::post(Moved& stream) {
    const std::lock_guard lock(state_->mutex);
    state_->queue.push_back(&stream);
    state_->ready.notify_one();
}

void Pump::wait(Moved& stream, int fd) {
    const std::lock_guard lock(state_->mutex);
    // kick() comes after the mark was set: either it is seen here or the stream is seen there.
    if (stream.cancelled()) {
        state_->queue.push_back(&stream);
        state_->ready.notify_one();
        return;
    }
    state_->waiting[&stream] = {fd, steady_ms()};
    if (fd < 0) return;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    state_->by_fd[fd] = &stream;
    if (::epoll_ctl(state_->epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
        state_->by_fd.erase(fd); // the tick will do
        state_->waiting[&stream].fd = -1;
    }
}

void Pump::kick(Moved& stream) {
    const std::lock_guard lock(state_->mutex);
    state_->wake(&stream);
}

} // namespace beeline::hubble
