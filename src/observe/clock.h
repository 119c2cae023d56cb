// CLOCK_MONOTONIC of the kernel's events -> CLOCK_REALTIME. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>

namespace beeline::observe {

class EventClock {
public:
    struct Sample {
        std::int64_t monotonic_ns = 0;
        std::int64_t realtime_ns = 0;
    };
    // Both clocks at one moment.
    static Sample sample();

    explicit EventClock(std::function<Sample()> read = sample) : read_(std::move(read)) {}

    // The offset is read again once events are a second past its last reading, so that steps of the time of day
    // and sleeps of the machine come through. Precondition: below 2^62.
    std::int64_t realtime(std::uint64_t monotonic_ns);
    std::int64_t now() { return read_().realtime_ns; }

private:
    std::function<Sample()> read_;
    std::int64_t offset_ns_ = 0;
    std::int64_t next_ns_ = 0;
};

} // namespace beeline::observe
