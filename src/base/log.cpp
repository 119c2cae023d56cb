#include "base/log.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <ctime>

namespace beeline {
namespace {

std::atomic<LogLevel> threshold{LogLevel::info};
std::array<std::atomic<std::uint64_t>, 4> lines{};

std::string_view level_name(LogLevel level) {
    switch (level) {
    case LogLevel::debug: return "debug";
    case LogLevel::info: return "info";
    case LogLevel::warn: return "warn";
    case LogLevel::error: return "error";
    }
    return "error";
}

void append_value(std::string& out, std::string_view value) {
    const bool plain =
        !value.empty() && std::all_of(value.begin(), value.end(), [](unsigned char c) {
            return c > ' ' && c != '"' && c != '=' && c != '\\' && c != 0x7f;
        });
    if (plain) {
        out += value;
        return;
    }
    out += '"';
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else if (byte < ' ' || byte == 0x7f) {
            out += fmt::format("\\x{:02x}", byte);
        } else {
            out += c;
        }
    }
    out += '"';
}

} // namespace

void set_log_level(LogLevel level) { threshold = level; }

LogLevel log_level() { return threshold; }

std::uint64_t log_lines(LogLevel level) {
    return lines[static_cast<std::size_t>(level)].load(std::memory_order_relaxed);
}

void log(LogLevel level, std::string_view message, std::initializer_list<KeyValue> fields) {
    lines[static_cast<std::size_t>(level)].fetch_add(1, std::memory_order_relaxed);
    if (level < threshold.load(std::memory_order_relaxed)) return;
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    tm utc{};
    gmtime_r(&now.tv_sec, &utc);
    std::string line =
        fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z {:<5} {}", utc.tm_year + 1900,
                    utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                    now.tv_nsec / 1000000, level_name(level), message);
    for (const auto& field : fields) {
        line += ' ';
        line += field.key;
        line += '=';
        append_value(line, field.value);
    }
    line += '\n';
    // One write for a line: lines of several threads do not mix.
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

} // namespace beeline
