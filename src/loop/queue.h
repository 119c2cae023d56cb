// A bounded queue from many producers to one consumer. A full queue never blocks a producer: what
// does not fit is dropped and counted.
//   Queue<Flow> flows(65536, [&] { loop.post(drain); });
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <iterator>
#include <mutex>
#include <utility>
#include <vector>

namespace beeline::loop {

template <typename T>
class Queue {
public:
    // `wake` runs on the producer's thread, without a lock held, each time the queue stops being
    // empty.
    explicit Queue(std::size_t capacity, std::function<void()> wake = {})
        : capacity_(capacity), wake_(std::move(wake)) {}
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;

    // False when the item was dropped, because the queue is full or closed.
    bool push(T item) {
        {
            const std::lock_guard lock(mutex_);
            if (closed_ || items_.size() >= capacity_) {
                ++dropped_;
                return false;
            }
            items_.push_back(std::move(item));
            if (items_.size() > 1) return true;
        }
        notify();
        return true;
    }

    // Takes from `items` as many as fit, drops the rest and leaves `items` empty. Returns how many
    // were dropped.
    std::size_t push_all(std::vector<T>& items) {
        std::size_t lost = 0;
        bool first = false;
        {
            const std::lock_guard lock(mutex_);
            const std::size_t room = closed_ ? 0 : capacity_ - items_.size();
            const std::size_t taken = std::min(room, items.size());
            lost = items.size() - taken;
            dropped_ += lost;
            first = items_.empty() && taken > 0;
            items_.insert(
                items_.end(), std::make_move_iterator(items.begin()),
                std::make_move_iterator(items.begin() + static_cast<std::ptrdiff_t>(taken)));
        }
        items.clear();
        if (first) notify();
        return lost;
    }

    // Appends everything that is queued, at most `limit`, to `out`, waiting up to `wait` for the
    // first item. Returns how many; 0 means the time is over or the queue is closed and empty.
    std::size_t pop_all(std::vector<T>& out, std::chrono::milliseconds wait = {},
                        std::size_t limit = static_cast<std::size_t>(-1)) {
        std::unique_lock lock(mutex_);
        if (wait.count() > 0)
            ready_.wait_for(lock, wait, [this] { return closed_ || !items_.empty(); });
        const std::size_t count = std::min(limit, items_.size());
        const auto end = items_.begin() + static_cast<std::ptrdiff_t>(count);
        out.insert(out.end(), std::make_move_iterator(items_.begin()),
                   std::make_move_iterator(end));
        items_.erase(items_.begin(), end);
        return count;
    }

    // Producers are refused from now on; the consumer can still take what is queued and no longer
    // waits.
    void close() {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        ready_.notify_all();
    }

    [[nodiscard]] bool closed() const {
        const std::lock_guard lock(mutex_);
        return closed_;
    }
    [[nodiscard]] std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return items_.size();
    }
    [[nodiscard]] std::size_t capacity() const { return capacity_; }
    // Total since the start.
    [[nodiscard]] std::uint64_t dropped() const {
        const std::lock_guard lock(mutex_);
        return dropped_;
    }

private:
    void notify() {
        ready_.notify_one();
        if (wake_) wake_();
    }

    const std::size_t capacity_;
    const std::function<void()> wake_;
    mutable std::mutex mutex_;
    std::condition_variable ready_;
    std::deque<T> items_;
    std::uint64_t dropped_ = 0;
    bool closed_ = false;
};

} // namespace beeline::loop
