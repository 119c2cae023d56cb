// Versions x.y.z that rule files ask for.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace beeline::security::rules {

struct Version {
    std::uint32_t major = 0;
    std::uint32_t minor = 0;
    std::uint32_t patch = 0;
    friend auto operator<=>(const Version&, const Version&) = default;

    // Whether who asks for `wanted` is content with this one.
    [[nodiscard]] bool satisfies(const Version& wanted) const {
        return major == wanted.major && *this >= wanted;
    }
};

// "x.y.z"; what follows a '-' or '+' does not count.
std::optional<Version> parse_version(std::string_view text);
// Also a single number N, which means 0.N.0.
std::optional<Version> parse_engine_version(std::string_view text);

std::string to_text(const Version& version);

// What we say we are: rules made for engines up to this one load.
constexpr Version kEngineVersion{0, 63, 0};
// Its fields are built in.
constexpr std::string_view kContainerPlugin = "container";
constexpr Version kContainerPluginVersion{0, 7, 1};

} // namespace beeline::security::rules
