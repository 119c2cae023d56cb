#include "observe/store.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
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

constexpr std::uint16_t kNone = 0;

// Shared pointers of one chunk, by index from 1 on; what is there never moves, so readers need no lock.
template <typename T, std::size_t Most>
class Shelf {
public:
    // Precondition: fewer than Most so far.
    std::uint16_t add(std::shared_ptr<const T> value) {
        const std::size_t at = size_++;
        auto& board = boards_[at / kBoard];
        if (!board) board = std::make_unique<Board>();
        (*board)[at % kBoard] = std::move(value);
        return static_cast<std::uint16_t>(size_);
    }
    // Null for kNone.
    [[nodiscard]] const std::shared_ptr<const T>* at(std::uint16_t index) const {
        if (index == kNone) return nullptr;
        return &(*boards_[(index - 1U) / kBoard])[(index - 1U) % kBoard];
    }

private:
    static constexpr std::size_t kBoard = 64;
    using Board = std::array<std::shared_ptr<const T>, kBoard>;
    std::array<std::unique_ptr<Board>, Most / kBoard> boards_;
    std::size_t size_ = 0;
};

// Where on its shelf the newest chunk has a pointer already. Forgets all when a new chunk begins.
template <std::size_t Slots>
class Places {
public:
    void clear() { ++chunk_; }
    // kNone: not there; then the answer's place is to be filled.
    std::uint16_t& find(const void* pointer) {
        std::size_t at = (reinterpret_cast<std::uintptr_t>(pointer) >> 4U) * 0x9e3779b97f4a7c15U >>
                         (64U - std::bit_width(Slots - 1));
        for (;; at = (at + 1) % Slots) {
            Slot& slot = slots_[at];
            if (slot.chunk == chunk_ && slot.pointer != pointer) continue;
            if (slot.chunk != chunk_) slot = {pointer, chunk_, kNone};
            return slot.index;
        }
    }

private:
    struct Slot {
        const void* pointer = nullptr;
        std::uint32_t chunk = 0;
        std::uint16_t index = kNone;
    };
    std::uint32_t chunk_ = 0;
    std::array<Slot, Slots> slots_{};
};

// One flow. Indexes are into the shelves of its chunk.
struct Packed {
    std::int64_t time_ns;
    std::int64_t opened_ns;
    std::array<std::uint64_t, 2> packets;
    std::array<std::uint64_t, 2> bytes;
    std::uint16_t context;
    std::array<std::uint16_t, 2> process;
    std::uint16_t l7;
    std::array<std::uint16_t, 2> port;
    model::Flow::Kind kind;
    std::array<std::uint8_t, 2> detail; // TCP flags of both sides; of ICMP type and code
};
static_assert(sizeof(Packed) == 64);

bool is_icmp(const Context* context) {
    return context && (context->path.protocol == model::Protocol::icmp ||
                       context->path.protocol == model::Protocol::icmpv6);
}

} // namespace

struct Store::Chunk {
    explicit Chunk(std::uint64_t number) : first(number) {}

    [[nodiscard]] RecordView at(std::size_t index) const {
        const Packed& packed = records[index];
        RecordView out;
        out.time_ns = packed.time_ns;
        out.opened_ns = packed.opened_ns;
        out.packets = packed.packets;
        out.bytes = packed.bytes;
        out.owners.context = contexts.at(packed.context);
        if (out.owners.context) out.context = out.owners.context->get();
        for (std::size_t side = 0; side < 2; ++side) {
            out.owners.process[side] = processes.at(packed.process[side]);
            if (out.owners.process[side]) out.process[side] = out.owners.process[side]->get();
        }
        out.l7 = l7.at(packed.l7);
        out.port = packed.port;
        out.kind = packed.kind;
        if (is_icmp(out.context)) {
            out.icmp_type = packed.detail[0];
            out.icmp_code = packed.detail[1];
        } else {
            out.tcp_flags = packed.detail;
        }
        return out;
    }

    const std::uint64_t first; // number of records[0]
    std::atomic<std::size_t> count{0};
    std::array<Packed, kChunk> records; // below `count`
    Shelf<Context, kChunk> contexts;
    Shelf<ProcessInfo, 2 * kChunk> processes;
    Shelf<model::L7, kChunk> l7;
};

struct Store::State {
    State(std::size_t limit, std::uint64_t number)
        : capacity(std::max<std::size_t>(limit, 1)), first(std::max<std::uint64_t>(number, 1)),
          end(first), next(first) {}

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
    std::uint64_t oldest(std::uint64_t from_end) const {
        return from_end - first > capacity ? from_end - capacity : first;
    }

    const std::size_t capacity;
    std::uint64_t first;

    mutable std::mutex mutex;
    std::deque<std::shared_ptr<Chunk>> chunks;
    std::uint64_t end; // number of the first flow that is not published
    std::vector<std::shared_ptr<Waiter>> waiters;
    Rate rate;
    std::atomic<std::uint64_t> lost_queue{0};

    // Of who appends; taken before `mutex`.
    std::mutex producers;
    std::shared_ptr<Chunk> newest;
    std::uint64_t next;
    Places<2 * kChunk> context_places;
    Places<4 * kChunk> process_places;
    Places<2 * kChunk> l7_places;
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
    const RecordView* at(std::uint64_t number) {
        if (!chunk || number < chunk->first || number >= chunk->first + Store::kChunk)
            chunk = state->chunk(number);
        if (!chunk || number < chunk->first) return nullptr;
        const std::uint64_t index = number - chunk->first;
        if (index >= chunk->count.load(std::memory_order_acquire)) return nullptr;
        record = chunk->at(index);
        return &record;
    }

    // Moves `begin` to the first of the last `count` matches.
    void rewind(std::size_t count) {
        std::uint64_t number = end;
        while (count > 0 && number > begin) {
            const RecordView* record = at(number - 1);
            if (!record) break;
            --number;
            if (record->kind != model::Flow::Kind::lost && filter.matches(*record)) --count;
        }
        begin = number;
    }

    // The next match, or what was missed.
    std::optional<Seen> forward() {
        while (left != 0 && (filter.follow || begin < end)) {
            if (const RecordView* record = at(begin)) {
                const std::uint64_t number = begin++;
                if (!filter.matches(*record)) continue;
                if (record->kind != model::Flow::Kind::lost) --left;
                return Seen{number, 0, *record};
            }
            if (chunk && begin < chunk->first) {
                const std::uint64_t first =
                    filter.follow ? chunk->first : std::min(chunk->first, end);
                const std::uint64_t count = first - begin;
                Seen missed{std::exchange(begin, first), count, {}};
                missed.record.kind = model::Flow::Kind::lost;
                missed.record.time_ns = chunk->records[0].time_ns;
                missed.record.packets[0] = count;
                state->lost_queue.fetch_add(count, std::memory_order_relaxed);
                return missed;
            }
            if (!filter.follow || arm()) break;
        }
        return std::nullopt;
    }

    std::optional<model::Flow> backward() {
        while (end > begin && left != 0) {
            const RecordView* record = at(end - 1);
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
    RecordView record; // what at() found
    std::shared_ptr<const Store::Chunk> chunk;
    std::shared_ptr<Waiter> waiter;
};

Store::Store(std::size_t capacity, std::uint64_t first)
    : state_(std::make_shared<State>(capacity, first)) {}
Store::~Store() = default;

void Store::append(const RecordView& record) {
    State& state = *state_;
    const std::lock_guard turn(state.producers);
    std::size_t index = state.newest ? state.newest->count.load(std::memory_order_relaxed) : kChunk;
    if (index == kChunk) {
        state.newest = std::make_shared<Chunk>(state.next);
        state.context_places.clear();
        state.process_places.clear();
        state.l7_places.clear();
        index = 0;
        std::vector<std::shared_ptr<Chunk>> dropped; // freed after the lock
        const std::lock_guard lock(state.mutex);
        state.chunks.push_back(state.newest);
        while (state.chunks.size() > 2 && (state.chunks.size() - 2) * kChunk >= state.capacity) {
            dropped.push_back(std::move(state.chunks.front()));
            state.chunks.pop_front();
        }
    }
    Chunk& chunk = *state.newest;
    Packed& packed = chunk.records[index];
    packed.time_ns = record.time_ns;
    packed.opened_ns = record.opened_ns;
    packed.packets = record.packets;
    packed.bytes = record.bytes;
    packed.port = record.port;
    packed.kind = record.kind;
    packed.detail = is_icmp(record.context)
                        ? std::array<std::uint8_t, 2>{record.icmp_type, record.icmp_code}
                        : record.tcp_flags;
    packed.context = kNone;
    if (record.context) {
        std::uint16_t& place = state.context_places.find(record.context);
        if (place == kNone) place = chunk.contexts.add(*record.owners.context);
        packed.context = place;
    }
    for (std::size_t side = 0; side < 2; ++side) {
        packed.process[side] = kNone;
        if (!record.process[side]) continue;
        std::uint16_t& place = state.process_places.find(record.process[side]);
        if (place == kNone) place = chunk.processes.add(*record.owners.process[side]);
        packed.process[side] = place;
    }
    packed.l7 = kNone;
    if (record.l7) {
        std::uint16_t& place = state.l7_places.find(record.l7->get());
        if (place == kNone) place = chunk.l7.add(*record.l7);
        packed.l7 = place;
    }
    state.newest->count.store(index + 1, std::memory_order_release);
    ++state.next;
}

void Store::publish() {
    State& state = *state_;
    const std::lock_guard turn(state.producers);
    const std::lock_guard lock(state.mutex);
    if (state.end == state.next) return;
    state.rate.add(steady_seconds(), state.next - state.end);
    state.end = state.next;
    for (const auto& waiter : state.waiters)
        if (std::exchange(waiter->armed, false)) ::eventfd_write(waiter->event.get(), 1);
}

void Store::begin_with(std::uint64_t number) {
    const std::lock_guard turn(state_->producers);
    const std::lock_guard lock(state_->mutex);
    state_->first = state_->end = state_->next = std::max<std::uint64_t>(number, 1);
}

std::uint64_t Store::oldest() const {
    const std::lock_guard lock(state_->mutex);
    return state_->oldest(state_->end);
}

StoreStats Store::stats() const {
    const State& state = *state_;
    StoreStats stats;
    const std::lock_guard lock(state.mutex);
    stats.capacity = state.capacity;
    stats.total = state.end - 1;
    stats.stored = std::min<std::uint64_t>(state.end - state.first, stats.capacity);
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
    } else if (wanted.first || wanted.first_number != 0) {
        if (wanted.first) position->left = *wanted.first;
        position->begin = std::max(position->begin, wanted.first_number);
    } else if (wanted.follow && !wanted.since_ns) {
        position->begin = position->end;
    }
    return Reader(std::move(position));
}

Reader Store::read_from(std::uint64_t number, FlowFilter filter) const {
    auto position =
        std::make_unique<Reader::Position>(state_, std::move(filter), Order::oldest_first);
    position->begin = std::max(position->begin, number);
    return Reader(std::move(position));
}

Reader::Reader(std::unique_ptr<Position> position) : position_(std::move(position)) {}
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;
Reader::~Reader() = default;

std::optional<model::Flow> Reader::next() {
    if (position_->order == Order::newest_first) return position_->backward();
    const auto seen = position_->forward();
    if (!seen) return std::nullopt;
    model::Flow flow = to_flow(seen->record, seen->number);
    if (seen->overtaken != 0) {
        flow.number = 0;
        flow.lost_where = kLostInQueue;
    }
    return flow;
}

std::optional<Seen> Reader::next_record() { return position_->forward(); }

std::uint64_t Reader::position() const {
    return position_->order == Order::oldest_first ? position_->begin : position_->end;
}

void Reader::seek(std::uint64_t number) {
    Position& position = *position_;
    const std::lock_guard lock(position.state->mutex);
    position.begin = std::max(position.state->oldest(position.state->end), number);
}

void Reader::recovered(std::uint64_t count) {
    position_->state->lost_queue.fetch_sub(count, std::memory_order_relaxed);
}

int Reader::fd() const { return position_->waiter ? position_->waiter->event.get() : -1; }

bool Reader::wait(int timeout_ms) {
    pollfd ready{fd(), POLLIN, 0};
    return ::poll(&ready, 1, timeout_ms) > 0;
}

} // namespace beeline::observe
