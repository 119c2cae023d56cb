// The last flows of this machine, in memory, for any number of readers.
//
// Flows lie in chunks that are only ever appended to. The ingest thread writes the newest chunk and then moves its count
// on; a reader holds the chunk it is in and reads below the count without a lock. The store's mutex guards the list of
// chunks and is held for a few pointer moves. When the store is full its oldest chunk is dropped; memory is taken
// chunk by chunk as flows arrive.
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
    static constexpr std::size_t kDefaultCapacity = 100'000;
    static constexpr std::size_t kChunk = 1024;

    explicit Store(std::size_t capacity = kDefaultCapacity);
    ~Store();
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;

    // Ingest thread only. Numbers begin with 1.
    void append(Record record);
    // Wakes the followers that wait. Once per batch.
    void publish();

    // Any thread.
    [[nodiscard]] StoreStats stats() const;
    // Precondition: newest_first does not follow. Readers may outlive the store.
    [[nodiscard]] Reader read(FlowFilter filter, Order order = Order::oldest_first) const;

private:
    friend class Reader;
    struct Chunk;
    struct State;
    std::shared_ptr<State> state_;
};

// One thread at a time.
class Reader {
public:
    Reader(Reader&&) noexcept;
    Reader& operator=(Reader&&) noexcept;
    ~Reader();

    // The next flow that matches; nothing at the end, or, when following, until the next one comes. Never waits.
    std::optional<model::Flow> next();
    // The same without making a Flow, for whoever reads very many; oldest first only. Good until the next call. Null:
    // nothing. A loss of this reader is a record of kind lost; it is the caller's to count.
    const Record* next_record();

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
