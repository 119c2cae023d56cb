#include "security/rules/version.h"

#include <charconv>

#include <fmt/format.h>

namespace beeline::security::rules {

std::optional<Version> parse_version(std::string_view text) {
    Version version;
    const char* at = text.data();
    const char* const end = at + text.size();
    for (std::uint32_t* const part : {&version.major, &version.minor, &version.patch}) {
        if (part != &version.major) {
            if (at == end || *at != '.') return std::nullopt;
            ++at;
        }
        const auto parsed = std::from_chars(at, end, *part);
        if (parsed.ec != std::errc()) return std::nullopt;
        at = parsed.ptr;
    }
    if (at != end && *at != '-' && *at != '+') return std::nullopt;
    return version;
}

std::string to_text(const Version& version) {
    return fmt::format("{}.{}.{}", version.major, version.minor, version.patch);
}

std::optional<Version> parse_engine_version(std::string_view text) {
    Version version;
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, version.minor);
    if (parsed.ec == std::errc() && parsed.ptr == end) return version;
    return parse_version(text);
}

} // namespace beeline::security::rules
