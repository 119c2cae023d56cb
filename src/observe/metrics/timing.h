// How long something that is done again and again took: a histogram that one thread fills.
#pragma once

#include <array>
#include <cstdint>

namespace beeline::observe::metrics {

struct Timing {
    // Seconds; one more bucket is for what took longer.
    static constexpr std::array<double, 11> kBounds{.005, .01, .025, .05, .1, .25,
                                                    .5,   1,   2.5,  5,   10};

    void add(double seconds, bool good) {
        std::size_t bucket = 0;
        while (bucket < kBounds.size() && seconds > kBounds[bucket])
            ++bucket;
        ++buckets[bucket];
        sum += seconds;
        ++(good ? done : failed);
    }

    std::array<std::uint64_t, kBounds.size() + 1> buckets{};
    double sum = 0;
    std::uint64_t done = 0;
    std::uint64_t failed = 0;
};

} // namespace beeline::observe::metrics
