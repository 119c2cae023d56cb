// The reading end of a BPF ring buffer. One reader thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "base/result.h"

struct ring_buffer;

namespace beeline::ebpf {

class Ring {
public:
    using Callback = std::function<void(std::span<const std::byte>)>;

    // Borrows the map's descriptor, which must stay open.
    static Result<std::unique_ptr<Ring>> open(int map);
    ~Ring();
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    // Hands every record that is there now to `callback`; returns how many.
    Result<std::size_t> consume(const Callback& callback);
    // Readable (epoll) when the kernel side forced a wake-up.
    [[nodiscard]] int fd() const;

private:
    Ring() = default;
    static int on_record(void* context, void* data, std::size_t size);
    ring_buffer* ring_ = nullptr;
    const Callback* callback_ = nullptr;
};

} // namespace beeline::ebpf
