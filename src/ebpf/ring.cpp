#include "ebpf/ring.h"

#include <bpf/libbpf.h>

#include <cerrno>

namespace beeline::ebpf {

Result<std::unique_ptr<Ring>> Ring::open(int map) {
    std::unique_ptr<Ring> ring(new Ring);
    ring->ring_ = ring_buffer__new(map, on_record, ring.get(), nullptr);
    if (ring->ring_ == nullptr) return fail_errno(errno, "cannot map the ring buffer");
    return ring;
}

Ring::~Ring() { ring_buffer__free(ring_); }

Result<std::size_t> Ring::consume(const Callback& callback) {
    callback_ = &callback;
    const int count = ring_buffer__consume(ring_);
    callback_ = nullptr;
    if (count < 0) return fail_errno(-count, "cannot read the ring buffer");
    return static_cast<std::size_t>(count);
}

int Ring::fd() const { return ring_buffer__epoll_fd(ring_); }

int Ring::on_record(void* context, void* data, std::size_t size) {
    const auto* ring = static_cast<const Ring*>(context);
    (*ring->callback_)({static_cast<const std::byte*>(data), size});
    return 0;
}

} // namespace beeline::ebpf
