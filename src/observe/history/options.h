// What of the flow history can be configured.
#pragma once

#include <cstdint>
#include <string>

namespace beeline::observe::history {

struct Options {
    bool enabled = true;
    std::string path;         // of the database; default: history.db in the instance's state folder
    unsigned flow_hours = 24; // how long whole flows are kept
    unsigned edge_days = 30;  // how long hourly edges are kept
    std::uint64_t max_bytes = 2ULL << 30; // of the database; the oldest flows go first
};

} // namespace beeline::observe::history
