#include "observe/clock.h"

#include <ctime>

namespace beeline::observe {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

std::int64_t read_ns(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return time.tv_sec * kSecond + time.tv_nsec;
}

} // namespace

EventClock::Sample EventClock::sample() {
    const std::int64_t before = read_ns(CLOCK_MONOTONIC);
    const std::int64_t realtime = read_ns(CLOCK_REALTIME);
    const std::int64_t after = read_ns(CLOCK_MONOTONIC);
    return {before + (after - before) / 2, realtime};
}

std::int64_t EventClock::realtime(std::uint64_t monotonic_ns) {
    const auto time_ns = static_cast<std::int64_t>(monotonic_ns);
    if (time_ns >= next_ns_) {
        const Sample now = read_();
        offset_ns_ = now.realtime_ns - now.monotonic_ns;
        next_ns_ = now.monotonic_ns + kSecond;
    }
    return time_ns + offset_ns_;
}

} // namespace beeline::observe
