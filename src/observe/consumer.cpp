#include "observe/consumer.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <utility>

#include "base/log.h"

namespace beeline::observe {
namespace {

constexpr std::size_t kBusyBatch = 256; // so much since the last look: look again at once
constexpr std::size_t kLossCheckEvery = 4096;
constexpr auto kLossPeriod = std::chrono::milliseconds(200);

Result<> watch(int epoll, int fd, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) return fail_errno(errno, "epoll_ctl");
    return {};
}

} // namespace

Consumer::Consumer(RingReader& reader, RingSource source)
    : reader_(reader), source_(std::move(source)),
      handler_([this](std::span<const std::byte> bytes) {
          reader_.record(bytes);
          // One batch may last as long as the load does.
          if (++since_loss_check_ >= kLossCheckEvery) check_losses();
      }) {}

Result<std::unique_ptr<Consumer>> Consumer::start(RingReader& reader, RingSource source,
                                                  const char* name) {
    std::unique_ptr<Consumer> consumer(new Consumer(reader, std::move(source)));
    consumer->epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    if (!consumer->epoll_) return fail_errno(errno, "epoll_create1");
    consumer->stop_.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!consumer->stop_) return fail_errno(errno, "eventfd");
    TRY(watch(consumer->epoll_.get(), consumer->stop_.get(), EPOLLIN));
    // Edge-triggered: a ring that merely holds records must not cut the sleep short, or every record would be a batch
    // of its own. A forced wake-up is an edge.
    TRY(watch(consumer->epoll_.get(), consumer->source_.fd, EPOLLIN | EPOLLET));
    // What was lost before is not news; the counter outlives the agent.
    if (consumer->source_.lost) consumer->lost_seen_ = consumer->source_.lost();
    consumer->thread_ = std::thread([raw = consumer.get(), name] { raw->run(name); });
    return consumer;
}

Consumer::~Consumer() {
    if (!thread_.joinable()) return;
    stopping_.store(true, std::memory_order_relaxed);
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
}

void Consumer::run(const char* name) {
    ::pthread_setname_np(::pthread_self(), name);
    int sleep_ms = kShortestSleepMs;
    while (!stopping_.load(std::memory_order_relaxed)) {
        const std::size_t count = drain();
        check_losses();
        if (count >= kBusyBatch) continue;
        sleep_ms = count > 0 ? kShortestSleepMs : std::min(2 * sleep_ms, kLongestSleepMs);
        epoll_event event{};
        ::epoll_wait(epoll_.get(), &event, 1, sleep_ms);
        wakeups_.fetch_add(1, std::memory_order_relaxed);
    }
    drain();
    next_loss_check_ = {};
    check_losses();
}

std::size_t Consumer::drain() {
    const auto count = source_.consume(handler_);
    reader_.flush();
    if (count) return *count;
    const std::uint64_t errors = errors_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (std::has_single_bit(errors))
        log_error("cannot read a ring", kv("error", count.error().message), kv("count", errors));
    return 0;
}

void Consumer::check_losses() {
    since_loss_check_ = 0;
    const auto now = Clock::now();
    if (!source_.lost || now < next_loss_check_) return;
    next_loss_check_ = now + kLossPeriod;
    const std::uint64_t lost = source_.lost();
    if (lost > lost_seen_) reader_.lost(lost - lost_seen_);
    lost_seen_ = lost;
}

} // namespace beeline::observe
