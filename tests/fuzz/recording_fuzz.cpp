// libs: beeline_security_events
// Recordings: whatever the file is, reading ends, frames lie in it and do not overlap, and a context that was read is
// written and read again as the same.
#include <cstdint>
#include <cstdlib>

#include "security/events/event.h"
#include "security/events/recording.h"

using namespace beeline::security;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    auto reader = RecordingReader::from_bytes(std::as_bytes(std::span(data, size)));
    if (!reader) return 0;
    std::size_t end = 0;
    while (const auto frame = reader->next()) {
        require(frame->offset >= end && frame->offset + 16 + frame->payload.size() <= size);
        end = frame->offset + 16 + frame->payload.size();
        require(reinterpret_cast<std::uintptr_t>(frame->payload.data()) % 8 == 0);
        Event event;
        switch (frame->type) {
        case FrameType::event: decode(frame->payload, event); break;
        case FrameType::losses: lost_of(frame->text()); break;
        case FrameType::context:
            if (const auto context = context_from_json(frame->text())) {
                const auto json = to_json(*context);
                const auto again = context_from_json(json);
                require(again.has_value() && to_json(*again) == json);
            }
            break;
        default: require(false);
        }
    }
    require(!reader->next());
    require(reader->problems().size() <= reader->problem_count());
    return 0;
}
