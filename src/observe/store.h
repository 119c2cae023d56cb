// The last flows of this machine, in memory, for any number of readers.
//
// Flows lie in chunks that are only ever appended to. A producer writes the newest chunk and then moves its count
// on; a reader holds the chunk it is in and reads below the count without a lock. Producers take turns by a mutex of
// their own, which readers never touch (20 ns when nobody else is there). The store's mutex guards the list of
// chunks and is held for a few pointer moves. When the store is full its oldest chunk is dropped; memory is taken
// chunk by chunk as flows arrive, 64 bytes a flow: what many flows share is listed once in each chunk.
//
// A follower is a reader that waits at the end. It has no queue of its own, the store is the queue: nothing is copied
// and filtered on the ingest thread for it. When the store has dropped flows that the reader had not reached yet, the
// reader gets one flow of kind lost ("queue") with their number and goes on with the oldest that is left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "model/flow.h"
#include "observe/filter.h"
#include "observe/record.h"

namespace beeline::observe {

struct StoreStats {
    std::uint64_t stored = 0;
    std::uint64_t capacity = 0;
    std::uint64_t total = 0;      // numbers given so far: the next flow gets total + 1
    std::uint64_t lost_queue = 0; // flows that readers were too slow for, all readers together
    double per_second = 0;        // mean of the last minute, or of the time since the start
    std::size_t followers = 0;
};

enum class Order { oldest_first, newest_first };

class Reader;

class Store {
public:
    static constexpr std::size_t kDefaultCapacity = 1'000'000;
    static constexpr std::size_t kChunk = 1024;

    // `first`: the number of the first flow, so that numbers go on after a restart.
    explicit Store(std::size_t capacity = kDefaultCapacity, std::uint64_t first = 1);
    ~Store();
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;

    // Any thread.
    void append(const Record& record) { append(view(record)); }
    // Takes shares of what is pointed to only where the newest chunk has none yet.
    void append(const RecordView& record);
    // Lets the readers know what was appended, and wakes the followers that wait. Once per batch.
    void publish();

    // Before anything is appended or read: the number of the first flow.
    void begin_with(std::uint64_t number);

    // Any thread.
    [[nodiscard]] StoreStats stats() const;
    // The oldest number that readers find here, or the next one to come.
    [[nodiscard]] std::uint64_t oldest() const;
    // Precondition: newest_first does not follow. Readers may outlive the store.
    [[nodiscard]] Reader read(FlowFilter filter, Order order = Order::oldest_first) const;
    // Oldest first, beginning with this number or the oldest one that is there, without a loss for what is older.
    // `filter.last` and its beginnings do not count.
    [[nodiscard]] Reader read_from(std::uint64_t number, FlowFilter filter) const;

private:
    friend class Reader;
    struct Chunk;
    struct State;
    std::shared_ptr<State> state_;
};

// A flow as next_record() shows it. Without a context and with a count: flows that this reader was too slow for.
struct Seen {
    std::uint64_t number = 0; // of lost flows: the first
    std::uint64_t overtaken = 0;
    RecordView record{};
};

// One thread at a time.
class Reader {
public:
    Reader(Reader&&) noexcept;
    Reader& operator=(Reader&&) noexcept;
    ~Reader();

    // The next flow that matches; nothing at the end, or, when following, until the next one comes. Never waits.
    std::optional<model::Flow> next();
    // The same, oldest first, without making a Flow; valid until the next call.
    std::optional<Seen> next_record();
    // Oldest first: the number from which on it goes on reading. Newest first: the number above the next one.
    [[nodiscard]] std::uint64_t position() const;
    // Oldest first: goes on with this number, or the oldest one that is there, without a loss for what is older.
    void seek(std::uint64_t number);
    // So many of the flows that it was too slow for were found elsewhere.
    void recovered(std::uint64_t count);

    // When following: readable once there may be more after next() returned nothing. Level-triggered, for epoll.
    // -1 otherwise, and when the process is out of file descriptors.
    [[nodiscard]] int fd() const;
    // When following: waits for that. False on timeout.
    bool wait(int timeout_ms);

private:
    friend class Store;
    struct Position;
    explicit Reader(std::unique_ptr<Position> position);
    std::unique_ptr<Position> position_;
};

} // namespace beeline::observe
