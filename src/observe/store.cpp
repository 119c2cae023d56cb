#include "observe/store.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace beeline::observe {
namespace {

std::uint64_t steady_seconds() {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
}

// Counts per second of the last minute.
class Rate {
public:
    void add(std::uint64_t second, std::uint64_t count) {
        Bucket& bucket = buckets_[second % buckets_.size()];
        if (bucket.second != second) bucket = {second, 0};
        bucket.count += count;
    }
    // The second that runs is left out, unless there is no other.
    [[nodiscard]] double per_second(std::uint64_t now) const {
        const std::uint64_t span = std::min<std::uint64_t>(kWindow, now - started_);
        std::uint64_t sum = 0;
        for (const Bucket& bucket : buckets_) {
            const bool counts = span == 0 ? bucket.second == now
                                          : bucket.second < now && bucket.second + span >= now;
            if (counts) sum += bucket.count;
        }
        return static_cast<double>(sum) / static_cast<double>(std::max<std::uint64_t>(span, 1));
    }

private:
    static constexpr std::uint64_t kWindow = 60;
    struct Bucket {
        std::uint64_t second = 0;
        std::uint64_t count = 0;
    };
    std::uint64_t started_ = steady_seconds();
    std::array<Bucket, 64> buckets_{};
};

// How a follower is woken; shared, so that neither side has to outlive the other.
struct Waiter {
    Fd event;
    bool armed = false; // under State::mutex
};

} // namespace

struct Store::Chunk {
    explicit Chunk(std::uint64_t number) : first(number) {}

    const std::uint64_t first; // number of records[0]
    std::atomic<std::size_t> count{0};
    std::array<Record, kChunk> records;
};

struct Store::State {
    explicit State(std::size_t limit) : capacity(std::max<std::size_t>(limit, 1)) {}

    // The chunk with `number`, or the oldest one if that is gone; null when `number` is still to come.
    std::shared_ptr<const Chunk> chunk(std::uint64_t number) const {
        const std::lock_guard lock(mutex);
        if (chunks.empty()) return nullptr;
        const std::uint64_t oldest = chunks.front()->first;
        if (number < oldest) return chunks.front();
        const std::uint64_t index = (number - oldest) / kChunk;
        return index < chunks.size() ? chunks[index] : nullptr;
    }

    // The oldest number within the capacity; whole chunks may keep a few more.
    std::uint64_t oldest(std::uint64_t end) const { return end > capacity ? end - capacity : 1; }

    const std::size_t capacity;

    mutable std::mutex mutex;
    std::deque<std::shared_ptr<Chunk>> chunks;
    std::uint64_t end = 1; // number of the first flow that is not published
    std::vector<std::shared_ptr<Waiter>> waiters;
    Rate rate;
    std::atomic<std::uint64_t> lost_queue{0};

    // Of the ingest thread.
    std::shared_ptr<Chunk> newest;
    std::uint64_t next = 1;
};

struct Reader::Position {
    Position(std::shared_ptr<Store::State> shared, FlowFilter wanted, Order direction)
        : state(std::move(shared)), filter(std::move(wanted)), order(direction) {
        const std::lock_guard lock(state->mutex);
        end = state->end;
        begin = state->oldest(end);
        if (!filter.follow) return;
        waiter = std::make_shared<Waiter>();
        waiter->event.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
        state->waiters.push_back(waiter);
    }
    ~Position() {
        if (!waiter) return;
        const std::lock_guard lock(state->mutex);
        std::erase(state->waiters, waiter);
    }
    Position(const Position&) = delete;
    Position& operator=(const Position&) = delete;

    // Null when `number` was dropped or is still to come.
    const Record* at(std::uint64_t number) {
        if (!chunk || number < chunk->first || number >= chunk->first + Store::kChunk)
            chunk = state->chunk(number);
        if (!chunk || number < chunk->first) return nullptr;
        const std::uint64_t index = number - chunk->first;
        return index < chunk->count.load(std::memory_order_acquire) ? &chunk->records[index]
                                                                    : nullptr;
    }

    // Moves `begin` to the first of the last `count` matches.
    void rewind(std::size_t count) {
        std::uint64_t number = end;
        while (count > 0 && number > begin) {
            const Record* record = at(number - 1);
            if (!record) break;
            --number;
            if (record->kind != model::Flow::Kind::lost && filter.matches(*record)) --count;
        }
        begin = number;
    }

    // The next match; `overtaken` of kind lost when the store has dropped what came next.
    const Record* forward_record(Record& overtaken) {
        while (filter.follow || begin < end) {
            if (const Record* record = at(begin)) {
                ++begin;
                if (filter.matches(*record)) return record;
            } else if (chunk && begin < chunk->first) {
                overtaken = lost_record(chunk->records[0].time_ns, skip());
                return &overtaken;
            } else if (!filter.follow || arm()) {
                break;
            }
        }
        return nullptr;
    }

    std::optional<model::Flow> forward() {
        const Record* record = forward_record(gap);
        if (!record) return std::nullopt;
        if (record == &gap) return lost(gap.packets[0], gap.time_ns);
        return to_flow(*record, begin - 1);
    }

    std::optional<model::Flow> backward() {
        while (end > begin && left != 0) {
            const Record* record = at(end - 1);
            if (!record) {
                const std::uint64_t first = std::exchange(begin, end);
                return lost(begin - first, chunk->records[0].time_ns);
            }
            const std::uint64_t number = --end;
            if (!filter.matches(*record)) continue;
            if (record->kind != model::Flow::Kind::lost) --left;
            return to_flow(*record, number);
        }
        return std::nullopt;
    }

    // To the oldest that is left; how many that leaves out.
    std::uint64_t skip() {
        const std::uint64_t first = filter.follow ? chunk->first : std::min(chunk->first, end);
        const std::uint64_t count = first - std::exchange(begin, first);
        return count;
    }

    model::Flow lost(std::uint64_t count, std::int64_t time_ns) {
        state->lost_queue.fetch_add(count, std::memory_order_relaxed);
        model::Flow flow;
        flow.kind = model::Flow::Kind::lost;
        flow.time_ns = time_ns;
        flow.lost = count;
        flow.lost_where = kLostInQueue;
        return flow;
    }

    // True: nothing is left to read, and the next publish() will wake this reader.
    bool arm() {
        const std::lock_guard lock(state->mutex);
        if (state->end > begin) return false;
        eventfd_t drained = 0;
        ::eventfd_read(waiter->event.get(), &drained);
        waiter->armed = true;
        return true;
    }

    std::shared_ptr<Store::State> state;
    FlowFilter filter;
    Order order;
    std::uint64_t begin = 1; // next to be read forward
    std::uint64_t end = 1;   // next to be read backward, plus one
    std::size_t left = static_cast<std::size_t>(-1);
    std::shared_ptr<const Store::Chunk> chunk;
    std::shared_ptr<Waiter> waiter;
    Record gap; // what the last call gave, when that was a loss
};

Store::Store(std::size_t capacity) : state_(std::make_shared<State>(capacity)) {}
Store::~Store() = default;

void Store::append(Record record) {
    State& state = *state_;
    std::size_t index = state.newest ? state.newest->count.load(std::memory_order_relaxed) : kChunk;
    if (index == kChunk) {
        state.newest = std::make_shared<Chunk>(state.next);
        index = 0;
        std::vector<std::shared_ptr<Chunk>> dropped; // freed after the lock
        const std::lock_guard lock(state.mutex);
        state.chunks.push_back(state.newest);
        while (state.chunks.size() > 2 && (state.chunks.size() - 2) * kChunk >= state.capacity) {
            dropped.push_back(std::move(state.chunks.front()));
            state.chunks.pop_front();
        }
    }
    state.newest->records[index] = std::move(record);
    state.newest->count.store(index + 1, std::memory_order_release);
    ++state.next;
}

void Store::publish() {
    State& state = *state_;
    const std::lock_guard lock(state.mutex);
    if (state.end == state.next) return;
    state.rate.add(steady_seconds(), state.next - state.end);
    state.end = state.next;
    for (const auto& waiter : state.waiters)
        if (std::exchange(waiter->armed, false)) ::eventfd_write(waiter->event.get(), 1);
}

StoreStats Store::stats() const {
    const State& state = *state_;
    StoreStats stats;
    const std::lock_guard lock(state.mutex);
    stats.capacity = state.capacity;
    stats.total = state.end - 1;
    stats.stored = std::min<std::uint64_t>(stats.total, stats.capacity);
    stats.lost_queue = state.lost_queue.load(std::memory_order_relaxed);
    stats.per_second = state.rate.per_second(steady_seconds());
    stats.followers = state.waiters.size();
    return stats;
}

Reader Store::read(FlowFilter filter, Order order) const {
    if (order == Order::newest_first) filter.follow = false;
    auto position = std::make_unique<Reader::Position>(state_, std::move(filter), order);
    const FlowFilter& wanted = position->filter;
    if (order == Order::newest_first) {
        if (wanted.last) position->left = *wanted.last;
    } else if (wanted.last) {
        position->rewind(*wanted.last);
    } else if (wanted.follow && !wanted.since_ns) {
        position->begin = position->end;
    }
    return Reader(std::move(position));
}

Reader::Reader(std::unique_ptr<Position> position) : position_(std::move(position)) {}
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;
Reader::~Reader() = default;

std::optional<model::Flow> Reader::next() {
    return position_->order == Order::oldest_first ? position_->forward() : position_->backward();
}

const Record* Reader::next_record() { return position_->forward_record(position_->gap); }

int Reader::fd() const { return position_->waiter ? position_->waiter->event.get() : -1; }

bool Reader::wait(int timeout_ms) {
    pollfd ready{fd(), POLLIN, 0};
    return ::poll(&ready, 1, timeout_ms) > 0;
}

} // namespace beeline::observe
