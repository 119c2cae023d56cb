#include "net/listeners.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>

#include <fmt/format.h>

namespace beeline::net {
namespace {

constexpr std::string_view kListening = "0A";
constexpr std::string_view kUnconnected = "07";

template <typename T>
std::optional<T> hexadecimal(std::string_view text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc{} || end != text.data() + text.size()) return {};
    return value;
}

std::string_view next_word(std::string_view& line) {
    line.remove_prefix(std::min(line.size(), line.find_first_not_of(' ')));
    const auto word = line.substr(0, line.find(' '));
    line.remove_prefix(word.size());
    return word;
}

// Words of 32 bits in the machine's byte order.
std::optional<Listener> local_end(std::string_view word) {
    const auto colon = word.find(':');
    if (colon != 8 && colon != 32) return {};
    const auto port = hexadecimal<std::uint16_t>(word.substr(colon + 1));
    if (!port) return {};
    Listener out;
    out.port = *port;
    out.v6 = colon == 32;
    bool any = true;
    for (std::size_t at = 0; at < colon; at += 8) {
        const auto part = hexadecimal<std::uint32_t>(word.substr(at, 8));
        if (!part) return {};
        any &= *part == 0;
        const std::size_t to = out.v6 ? at / 2 : 12;
        for (std::size_t i = 0; i < 4; ++i)
            out.address.bytes[to + i] = static_cast<std::uint8_t>(*part >> (8 * i));
    }
    if (!out.v6 && !any) out.address.bytes[10] = out.address.bytes[11] = 0xff;
    return out;
}

} // namespace

std::vector<Listener> parse_listeners(std::string_view text, bool tcp) {
    std::vector<Listener> out;
    while (!text.empty()) {
        auto line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
        next_word(line); // its number
        const auto local = next_word(line);
        next_word(line); // the other end
        if (next_word(line) != (tcp ? kListening : kUnconnected)) continue;
        if (const auto end = local_end(local)) out.push_back(*end);
    }
    return out;
}

std::vector<Listener> listeners_of(const std::string& proc, std::uint32_t pid, bool tcp) {
    std::vector<Listener> out;
    for (const char* family : {"", "6"}) {
        std::ifstream file(fmt::format("{}/{}/net/{}{}", proc, pid, tcp ? "tcp" : "udp", family));
        std::ostringstream text;
        text << file.rdbuf();
        const auto some = parse_listeners(text.str(), tcp);
        out.insert(out.end(), some.begin(), some.end());
    }
    return out;
}

} // namespace beeline::net
