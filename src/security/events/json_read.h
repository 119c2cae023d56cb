// Reads fields of JSON that others wrote: a field that is missing or of another type is empty. Nothing throws.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace beeline::security {

inline nlohmann::json parse_json(std::string_view text) {
    return nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
}

// Null if there is none.
inline const nlohmann::json& member(const nlohmann::json& object, const char* name) {
    static const nlohmann::json kNull;
    if (!object.is_object()) return kNull;
    const auto found = object.find(name);
    return found == object.end() ? kNull : *found;
}

inline std::string text_member(const nlohmann::json& object, const char* name) {
    const auto* text = member(object, name).get_ptr<const nlohmann::json::string_t*>();
    return text == nullptr ? std::string() : *text;
}

inline bool bool_member(const nlohmann::json& object, const char* name) {
    const auto* value = member(object, name).get_ptr<const nlohmann::json::boolean_t*>();
    return value != nullptr && *value;
}

inline std::vector<std::string> texts(const nlohmann::json& array) {
    std::vector<std::string> out;
    if (!array.is_array()) return out;
    for (const auto& item : array) {
        if (const auto* text = item.get_ptr<const nlohmann::json::string_t*>())
            out.push_back(*text);
    }
    return out;
}

template <typename T>
std::optional<T> whole_number(std::string_view text) {
    T value{};
    const auto* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value);
    if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
    return value;
}

// For texts that may not be UTF-8.
inline std::string dump_json(const nlohmann::json& json) {
    return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

} // namespace beeline::security
