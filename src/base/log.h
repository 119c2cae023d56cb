// Structured logs: one line on stderr, `time level message key=value ...`. Thread-safe.
//   log_info("workload attached", kv("workload", name), kv("ifindex", index));
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace beeline {

enum class LogLevel { debug, info, warn, error };

struct KeyValue {
    std::string_view key;
    std::string value;
};

template <typename T>
KeyValue kv(std::string_view key, const T& value) {
    return KeyValue{key, fmt::format("{}", value)};
}

void set_log_level(LogLevel level);
LogLevel log_level();
// Lines of this level since the start, also those below the set level.
std::uint64_t log_lines(LogLevel level);
// Values with spaces, quotes or control characters are quoted and escaped.
void log(LogLevel level, std::string_view message, std::initializer_list<KeyValue> fields);

template <typename... Fields>
void log_debug(std::string_view message, const Fields&... fields) {
    log(LogLevel::debug, message, {fields...});
}
template <typename... Fields>
void log_info(std::string_view message, const Fields&... fields) {
    log(LogLevel::info, message, {fields...});
}
template <typename... Fields>
void log_warn(std::string_view message, const Fields&... fields) {
    log(LogLevel::warn, message, {fields...});
}
template <typename... Fields>
void log_error(std::string_view message, const Fields&... fields) {
    log(LogLevel::error, message, {fields...});
}

} // namespace beeline
