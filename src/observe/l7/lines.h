// For protocols of text lines.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "observe/l7/bytes.h"

namespace beeline::observe::l7 {

// The first line without its end, and its size with it; size 0: its end is not there yet.
struct Line {
    std::string_view text;
    std::size_t size = 0;
};

inline Line first_line(Bytes data) {
    const std::string_view all = text_of(data);
    const std::size_t end = all.find('\n');
    if (end == std::string_view::npos) return {};
    std::string_view text = all.substr(0, end);
    if (text.ends_with('\r')) text.remove_suffix(1);
    return {text, end + 1};
}

// All of `text` is one number.
template <typename T = std::int64_t>
std::optional<T> number_of(std::string_view text, int base = 10) {
    T value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

// Takes the next word off `text`; empty: there is none.
inline std::string_view next_word(std::string_view& text) {
    const std::size_t start = text.find_first_not_of(" \t");
    if (start == std::string_view::npos) return text = {};
    const std::size_t end = std::min(text.find_first_of(" \t", start), text.size());
    const std::string_view word = text.substr(start, end - start);
    text.remove_prefix(end);
    return word;
}

inline std::string upper(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    return out;
}

// Letters, digits and `more`, one at least.
inline bool is_plain(std::string_view text, std::string_view more = "") {
    for (const char c : text)
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) &&
            more.find(c) == std::string_view::npos)
            return false;
    return !text.empty();
}

} // namespace beeline::observe::l7
