// Builds a record as the kernel side writes it: for what user space adds to the stream, and for tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "abi/event.h"

namespace beeline::security {

class RecordBuilder {
public:
    // The longest text that is taken; the rest is cut and BL_EVENT_TRUNCATED set.
    static constexpr std::size_t kLongest = 8192;

    RecordBuilder() { begin(0); }
    // Starts over; what the last record needed of memory is kept.
    RecordBuilder& begin(std::uint16_t kind);
    // Everything but `str` and `size` may be set.
    bl_event& head() { return head_; }
    // Each string at most once.
    RecordBuilder& text(unsigned string, std::string_view text);
    RecordBuilder& facts(const bl_event_task& task) { return raw(&task, sizeof task); }
    RecordBuilder& facts(const bl_event_file& file) { return raw(&file, sizeof file); }
    RecordBuilder& facts(const bl_event_sock& socket) { return raw(&socket, sizeof socket); }
    // 8-byte aligned; valid until the next call of begin().
    std::span<const std::byte> finish();

private:
    RecordBuilder& raw(const void* facts, std::size_t size);
    void append(unsigned string, const void* bytes, std::size_t size);

    bl_event head_{};
    std::vector<std::uint64_t> words_; // what makes the record aligned
    std::size_t used_ = 0;             // bytes
};

} // namespace beeline::security
