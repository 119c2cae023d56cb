// The thread that drains a ring into its reader: bl_flows and bl_l7 have one each.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <thread>

#include "base/fd.h"
#include "base/result.h"

namespace beeline::observe {

// Whom the records go to. All calls come from the consumer's thread.
class RingReader {
public:
    virtual ~RingReader() = default;
    virtual void record(std::span<const std::byte> bytes) = 0;
    // After every look at the ring, also when there was nothing.
    virtual void flush() = 0;
    // So many more found no room.
    virtual void lost(std::uint64_t count) = 0;
};

// The ring, as the consumer uses it. All calls come from the consumer's thread.
struct RingSource {
    using Handler = std::function<void(std::span<const std::byte>)>;
    int fd = -1; // wakes epoll when the kernel forces a wake-up; stays the caller's
    std::function<Result<std::size_t>(const Handler&)>
        consume;                         // hands over all that is there, says how much
    std::function<std::uint64_t()> lost; // the kernel's counter of this ring's losses; may be empty
};

// The kernel does not wake the reader for each record, only when the ring fills up. So the thread sleeps between
// batches: 1 ms while there is traffic, doubling to 20 ms when there is none; a forced wake-up ends any sleep.
class Consumer {
public:
    static constexpr int kShortestSleepMs = 1;
    static constexpr int kLongestSleepMs = 20;

    // `reader` must outlive the consumer. `name` of the thread: at most 15 characters.
    static Result<std::unique_ptr<Consumer>> start(RingReader& reader, RingSource source,
                                                   const char* name = "bl-flows");
    // Stops the thread, after a last look at the ring.
    ~Consumer();
    Consumer(const Consumer&) = delete;
    Consumer& operator=(const Consumer&) = delete;

    [[nodiscard]] std::uint64_t wakeups() const { return wakeups_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t ring_errors() const {
        return errors_.load(std::memory_order_relaxed);
    }

private:
    using Clock = std::chrono::steady_clock;

    Consumer(RingReader& reader, RingSource source);
    void run(const char* name);
    std::size_t drain();
    void check_losses();

    RingReader& reader_;
    RingSource source_;
    RingSource::Handler handler_;
    Fd epoll_;
    Fd stop_;
    std::uint64_t lost_seen_ = 0;
    std::size_t since_loss_check_ = 0;
    Clock::time_point next_loss_check_{};
    std::atomic<bool> stopping_{false};
    std::atomic<std::uint64_t> wakeups_{0};
    std::atomic<std::uint64_t> errors_{0};
    std::thread thread_;
};

} // namespace beeline::observe
