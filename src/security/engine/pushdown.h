// What the kernel can decide of a condition before it makes a record.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "security/engine/program.h"

namespace beeline::security::engine {

// Facts that hold whenever the condition does. Nothing set: nothing is known.
struct Need {
    enum class Result : std::uint8_t { any, success, failure };
    enum class Scope : std::uint8_t { any, container, host };
    bool never = false;
    Result result = Result::any;
    Scope scope = Scope::any;
    bool inet = false;         // an IPv4 or IPv6 socket
    bool name_changed = false; // the peer changed
    bool not_tcp = false;
    std::uint32_t classes = 0xf; // BL_CLASS_READ..OTHER
    bool paths_known = false;
    std::vector<Capture::PathText> paths; // one of them occurs in a path of the event
    bool names_known = false;
    std::set<std::string> names; // proc.name is one of them
};

// One of these holds. At most kMostNeeds.
inline constexpr std::size_t kMostNeeds = 16;
std::vector<Need> needs_of(const Program& program, Ref ref, std::uint16_t kind);

// Puts the needs of all rules of a kind into `capture`; `text`: the same for people.
void push_down(std::uint16_t kind, const std::vector<Need>& needs, Capture& capture);
std::string describe(const std::vector<Need>& needs);

} // namespace beeline::security::engine
