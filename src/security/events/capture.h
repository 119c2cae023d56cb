// What the loaded rules need from the kernel: the engine says it, the sensors carry it out.
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "abi/event.h"

namespace beeline::security {

struct Capture {
    struct Kind {
        std::uint32_t want = 0;      // BL_WANT_*; 0: not wanted
        std::uint32_t path_any = 0;  // BL_CLASS_* wanted whatever the path (only with BL_WANT_PATH)
        std::set<std::string> comms; // with BL_WANT_COMM
        bool operator==(const Kind&) const = default;
    };
    // A text that must occur in a path: from its start on, at its end, or anywhere.
    struct PathText {
        std::string text;
        bool at_start = false;
        bool at_end = false;
        std::uint32_t classes = 0; // BL_CLASS_*
        bool operator==(const PathText&) const = default;
    };
    std::array<Kind, BL_EVENT_KIND_MAX> kinds{};
    std::vector<PathText> paths;
    bool operator==(const Capture&) const = default;
};

} // namespace beeline::security
