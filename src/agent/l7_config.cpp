#include "agent/l7_config.h"

#include <algorithm>
#include <bit>

#include "abi/l7.h"
#include "source/manifest_parts.h"

namespace beeline::agent {
namespace {

namespace yaml = source::yaml;

// Names are compared in lower case.
Result<std::vector<std::string>> lower_strings(const yaml::Map& map, std::string_view field) {
    auto out = TRY(map.strings(field));
    for (auto& text : out) {
        std::transform(text.begin(), text.end(), text.begin(), [](char c) {
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        });
    }
    return out;
}

} // namespace

Result<> read_l7(const yaml::Map& root, L7Config& config) {
    const auto map = TRY(root.map("l7", {"enabled", "selector", "protocols", "tls",
                                         "bytesPerSecond", "bytesOfClient", "bytesOfServer",
                                         "ringBytes", "redact", "headers", "secrets"}));
    if (!map) return {};
    using Mode = model::L7Choice::Mode;
    const std::string mode =
        TRY(map->choice_or("enabled", {"off", "annotation", "all"}, "annotation"));
    config.choice.mode = mode == "off" ? Mode::off : mode == "all" ? Mode::all : Mode::annotation;
    if (const auto selector = map->find("selector"))
        config.choice.selector = TRY(source::read_selector(*selector));
    if (const auto protocols = map->find("protocols")) {
        config.choice.protocols = 0;
        for (const auto& item : TRY(protocols->list())) {
            const auto one = model::parse_l7_protocols(TRY(item.string()));
            if (!one) return item.failure(one.error().message);
            config.choice.protocols |= *one;
        }
    }
    config.tls = TRY(map->boolean_or("tls", config.tls));
    config.bytes_per_second = static_cast<std::uint64_t>(
        TRY(map->integer_or("bytesPerSecond", 1024, INT64_C(4) << 30,
                            static_cast<std::int64_t>(config.bytes_per_second))));
    config.bytes_of_client = static_cast<std::uint32_t>(
        TRY(map->integer_or("bytesOfClient", 64, BL_L7_MOST, config.bytes_of_client)));
    config.bytes_of_server = static_cast<std::uint32_t>(
        TRY(map->integer_or("bytesOfServer", 64, BL_L7_MOST, config.bytes_of_server)));
    config.ring_bytes = static_cast<std::uint32_t>(
        TRY(map->integer_or("ringBytes", 65536, 1 << 30, config.ring_bytes)));
    if (!std::has_single_bit(config.ring_bytes))
        return map->fail_of("ringBytes", "expected a power of two");
    config.options.redact = TRY(map->boolean_or("redact", config.options.redact));
    config.options.headers = TRY(lower_strings(*map, "headers"));
    config.options.secrets = TRY(lower_strings(*map, "secrets"));
    return {};
}

} // namespace beeline::agent
