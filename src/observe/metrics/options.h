// What the section `metrics` of the configuration says.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "observe/metrics/enable.h"

namespace beeline::observe::metrics {

struct Options {
    std::string listen = "127.0.0.1:9965"; // empty: nothing is served
    std::vector<Enabled> hubble = recommended();
    std::size_t series = 10'000; // at most so many label sets of one metric
    bool program_stats = false;  // run time and run count of BPF programs: costs ~20 ns a run
};

} // namespace beeline::observe::metrics
