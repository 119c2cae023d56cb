// The last events of the agent itself, in memory, for streams that also wait for the next one.
#pragma once

#include <sys/eventfd.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/fd.h"

namespace beeline::hubble {

// Any thread. T is copied for every reader.
template <typename T>
class EventLog {
public:
    struct Entry {
        std::uint64_t number = 0;
        std::int64_t time_ns = 0;
        T event;
    };

    explicit EventLog(std::size_t capacity) : capacity_(capacity) {}

    void add(std::int64_t time_ns, T event) {
        const std::lock_guard lock(mutex_);
        entries_.push_back({++last_, time_ns, std::move(event)});
        if (entries_.size() > capacity_) entries_.pop_front();
        for (auto at = waiters_.begin(); at != waiters_.end();) {
            if (const auto waiter = at->lock()) {
                ::eventfd_write(waiter->get(), 1);
                ++at;
            } else {
                at = waiters_.erase(at);
            }
        }
    }
    [[nodiscard]] std::uint64_t last() const {
        const std::lock_guard lock(mutex_);
        return last_;
    }
    // The number of the first of the last `count` entries.
    [[nodiscard]] std::uint64_t first_of_last(std::uint64_t count) const {
        const std::lock_guard lock(mutex_);
        const std::uint64_t stored = entries_.size();
        return last_ - (count < stored ? count : stored) + 1;
    }
    // The oldest entry not older than `number`.
    std::optional<Entry> at(std::uint64_t number) const {
        const std::lock_guard lock(mutex_);
        if (entries_.empty() || number > last_) return std::nullopt;
        const std::uint64_t oldest = entries_.front().number;
        return entries_[number > oldest ? number - oldest : 0];
    }
    // Becomes readable with every add() from now on.
    std::shared_ptr<Fd> waiter() {
        auto fd = std::make_shared<Fd>(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
        const std::lock_guard lock(mutex_);
        waiters_.push_back(fd);
        return fd;
    }

private:
    mutable std::mutex mutex_;
    const std::size_t capacity_;
    std::deque<Entry> entries_;
    std::vector<std::weak_ptr<Fd>> waiters_;
    std::uint64_t last_ = 0;
};

} // namespace beeline::hubble
