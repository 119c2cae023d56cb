#include "cli/json_view.h"

#include <fmt/format.h>

namespace beeline::cli {

using nlohmann::json;

const json& member(const json& object, std::string_view key) {
    static const json kNothing;
    if (!object.is_object()) return kNothing;
    const auto found = object.find(key);
    return found == object.end() ? kNothing : *found;
}

const json& list(const json& object, std::string_view key) {
    static const json kEmpty = json::array();
    const json& value = member(object, key);
    return value.is_array() ? value : kEmpty;
}

std::string text(const json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number() || value.is_boolean()) return value.dump();
    return {};
}

std::string text(const json& object, std::string_view key) { return text(member(object, key)); }

std::uint64_t number(const json& object, std::string_view key) {
    const json& value = member(object, key);
    return value.is_number() ? value.get<std::uint64_t>() : 0;
}

bool flag(const json& object, std::string_view key) {
    const json& value = member(object, key);
    return value.is_boolean() && value.get<bool>();
}

std::vector<std::string> texts(const json& object, std::string_view key) {
    std::vector<std::string> out;
    for (const auto& item : list(object, key))
        out.push_back(text(item));
    return out;
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
    return fmt::format("{}", fmt::join(parts, separator));
}

std::string object_name(const json& object) {
    const std::string space = text(object, "namespace");
    return space.empty() ? text(object, "name") : space + "/" + text(object, "name");
}

std::string address_port(const std::string& address, std::uint64_t port) {
    if (port == 0) return address;
    const bool v6 = address.find(':') != std::string::npos;
    return v6 ? fmt::format("[{}]:{}", address, port) : fmt::format("{}:{}", address, port);
}

std::string duration_text(std::uint64_t milliseconds) {
    const std::uint64_t seconds = milliseconds / 1000;
    if (seconds < 10) return fmt::format("{}ms", milliseconds);
    if (seconds < 60) return fmt::format("{}s", seconds);
    if (seconds < 3600) return fmt::format("{}m{}s", seconds / 60, seconds % 60);
    if (seconds < 86400) return fmt::format("{}h{}m", seconds / 3600, seconds % 3600 / 60);
    return fmt::format("{}d{}h", seconds / 86400, seconds % 86400 / 3600);
}

} // namespace beeline::cli
