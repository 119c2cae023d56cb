#include "model/alert.h"

#include <strings.h>

#include <array>
#include <cstddef>

namespace beeline::model {

namespace {

constexpr std::array<std::string_view, 8> kNames = {
    "Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"};

bool same(std::string_view a, std::string_view b) {
    return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

} // namespace

std::string_view priority_name(Priority priority) {
    return kNames.at(static_cast<std::size_t>(priority));
}

std::optional<Priority> parse_priority(std::string_view text) {
    if (same(text, "info")) return Priority::informational;
    for (std::size_t i = 0; i < kNames.size(); ++i) {
        if (same(text, kNames[i])) return static_cast<Priority>(i);
    }
    return std::nullopt;
}

} // namespace beeline::model
