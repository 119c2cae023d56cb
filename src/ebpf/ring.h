// The reading end of a BPF ring buffer. One reader thread.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "base/result.h"
#include "ebpf/merged_ring.h"

namespace beeline::ebpf {

class Ring {
public:
    using Callback = MergedRing::Callback;

    // Borrows the map's descriptor, which must stay open.
    static Result<std::unique_ptr<Ring>> open(int map);
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    // Hands every record of 8 bytes or more that is there now to `callback`; returns how many.
    Result<std::size_t> consume(const Callback& callback);
    // Readable (epoll) when the kernel side forced a wake-up.
    [[nodiscard]] int fd() const { return ring_->fd(); }

private:
    explicit Ring(std::unique_ptr<MergedRing> ring) : ring_(std::move(ring)) {}
    std::unique_ptr<MergedRing> ring_;
};

} // namespace beeline::ebpf
