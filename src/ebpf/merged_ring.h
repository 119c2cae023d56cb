// Several BPF ring buffers read as one, in order of time. One reader thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace beeline::ebpf {

// Every record begins with its time (8 bytes, nanoseconds). A record of a ring that comes earlier in the list and was written
// before one of a later ring became visible is handed out first: that is how a process is known before what it did.
class MergedRing {
public:
    // The record's bytes are valid during the call only; they stay where the kernel wrote them, but for the one that goes
    // on at the beginning of the ring.
    using Callback = std::function<void(std::span<const std::byte>)>;

    // Borrows the maps' descriptors, which must stay open.
    static Result<std::unique_ptr<MergedRing>> open(std::span<const int> maps);

    // Hands out what is there now, at most `limit`; returns how many.
    std::size_t consume(const Callback& callback,
                        std::size_t limit = std::numeric_limits<std::size_t>::max());
    // Readable (epoll) when the kernel side forced a wake-up: a ring is filling.
    [[nodiscard]] int fd() const { return epoll_.get(); }

    class Source; // one ring's memory
    // For tests: rings that no kernel writes.
    static std::unique_ptr<MergedRing> over(std::vector<std::unique_ptr<Source>> sources);
    ~MergedRing();

private:
    MergedRing() = default;
    std::vector<std::unique_ptr<Source>> sources_;
    Fd epoll_;
};

// The layout is the kernel's: positions count bytes forever. The data is mapped once, not twice in a row as the kernel allows:
// each page of a ring would count twice in the memory of this process.
class MergedRing::Source {
public:
    // Memory of a map (unmapped at the end), or of somebody else. A ring that was read before is read on from there.
    Source(volatile std::uint64_t* consumer, const volatile std::uint64_t* producer,
           const std::byte* data, std::size_t size)
        : consumer_(consumer), producer_(producer), data_(data), mask_(size - 1),
          position_(*consumer), released_(position_), known_(position_) {}
    static Result<std::unique_ptr<Source>> map(int map);
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    ~Source();

    enum class State : std::uint8_t { empty, busy, ready };
    // Looks at the next record, skipping discarded ones.
    State peek();
    [[nodiscard]] std::uint64_t time_ns() const { return time_ns_; }
    [[nodiscard]] std::span<const std::byte> record() const { return record_; }
    // Steps over the record; gives the room back to the kernel now and then.
    void pop();
    void release();

private:
    volatile std::uint64_t* consumer_;
    const volatile std::uint64_t* producer_;
    const std::byte* data_;
    std::size_t mask_;
    std::uint64_t position_; // of the next record
    std::uint64_t released_; // what the kernel knows of position_
    std::uint64_t known_;    // producer's position when last looked at
    std::uint64_t time_ns_ = 0;
    std::span<const std::byte> record_;
    std::vector<std::uint64_t> joined_; // the record that goes on at the beginning
    bool peeked_ = false;
    void* mapped_consumer_ = nullptr;
    void* mapped_producer_ = nullptr;
    std::size_t mapped_size_ = 0;
};

} // namespace beeline::ebpf
