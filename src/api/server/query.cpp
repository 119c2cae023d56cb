#include "api/server/query.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <ctime>

namespace beeline::api {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kLongest = 100LL * 365 * 86400 * kSecond;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::optional<unsigned> hex_digit(char c) {
    if (is_digit(c)) return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
    return {};
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

bool is_plain_name(std::string_view text) {
    return !text.empty() && text.size() <= 253 &&
           std::none_of(text.begin(), text.end(),
                        [](char c) { return is_control(c) || c == ' ' || c == '/'; });
}

// What a value looks like in an error: short, and without anything that could upset a terminal.
std::string shown(std::string_view text) {
    std::string out;
    for (const char c : text.substr(0, 80))
        out += is_control(c) ? '?' : c;
    return text.size() > 80 ? out + "..." : out;
}

Failure bad_value(std::string_view name, std::string_view value, std::string_view expected) {
    return fail(Code::invalid, "parameter '{}': '{}' is not {}", name, shown(value), expected);
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return {};
    return value;
}

std::string joined(std::span<const Parameter> parameters) {
    if (parameters.empty()) return "this call takes none";
    std::string out = "known are ";
    for (const auto& parameter : parameters) {
        if (out.back() != ' ') out += ", ";
        out += parameter.name;
    }
    return out;
}

// Takes `count` digits off the front.
std::optional<int> take_digits(std::string_view& text, std::size_t count) {
    if (text.size() < count) return {};
    int value = 0;
    for (const char c : text.substr(0, count)) {
        if (!is_digit(c)) return {};
        value = value * 10 + (c - '0');
    }
    text.remove_prefix(count);
    return value;
}

bool take(std::string_view& text, std::string_view any_of) {
    if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
    text.remove_prefix(1);
    return true;
}

// A decimal fraction behind its point, in billionths; digits beyond the ninth are cut.
std::int64_t take_billionths(std::string_view& text) {
    std::int64_t value = 0;
    std::int64_t unit = kSecond;
    while (!text.empty() && is_digit(text.front())) {
        unit /= 10;
        value += unit * (text.front() - '0');
        text.remove_prefix(1);
    }
    return value;
}

int days_of_month(int year, int month) {
    constexpr std::array<int, 12> kDays{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return kDays[static_cast<std::size_t>(month - 1)] + (month == 2 && leap ? 1 : 0);
}

// "Z", "+01:00", "-05:30" in seconds east of Greenwich.
std::optional<int> take_zone(std::string_view& text) {
    if (take(text, "Zz")) return 0;
    const bool west = !text.empty() && text.front() == '-';
    if (!take(text, "+-")) return {};
    const auto hours = take_digits(text, 2);
    if (!hours || *hours > 23 || !take(text, ":")) return {};
    const auto minutes = take_digits(text, 2);
    if (!minutes || *minutes > 59) return {};
    const int offset = *hours * 3600 + *minutes * 60;
    return west ? -offset : offset;
}

std::optional<std::int64_t> time_ns(std::string_view text) {
    std::array<int, 6> field{};
    constexpr std::array<std::size_t, 6> kWidth{4, 2, 2, 2, 2, 2};
    constexpr std::array<std::string_view, 6> kBefore{"", "-", "-", "Tt ", ":", ":"};
    for (std::size_t i = 0; i < field.size(); ++i) {
        if (i > 0 && !take(text, kBefore[i])) return {};
        const auto digits = take_digits(text, kWidth[i]);
        if (!digits) return {};
        field[i] = *digits;
    }
    const auto [year, month, day, hour, minute, second] = field;
    if (year < 1970 || year > 2200 || month < 1 || month > 12 || day < 1 ||
        day > days_of_month(year, month) || hour > 23 || minute > 59 || second > 60)
        return {};
    std::int64_t fraction = 0;
    if (take(text, ".")) {
        if (text.empty() || !is_digit(text.front())) return {};
        fraction = take_billionths(text);
    }
    const auto zone = take_zone(text);
    if (!zone || !text.empty()) return {};
    tm utc{};
    utc.tm_year = year - 1900;
    utc.tm_mon = month - 1;
    utc.tm_mday = day;
    utc.tm_hour = hour;
    utc.tm_min = minute;
    utc.tm_sec = second;
    return (static_cast<std::int64_t>(timegm(&utc)) - *zone) * kSecond + fraction;
}

std::int64_t take_unit(std::string_view& text) {
    struct Unit {
        std::string_view name;
        std::int64_t ns;
    };
    // Longer names first: "ms" is not a minute.
    static constexpr std::array<Unit, 7> kUnits{{{"ns", 1},
                                                 {"us", 1000},
                                                 {"ms", 1'000'000},
                                                 {"s", kSecond},
                                                 {"m", 60 * kSecond},
                                                 {"h", 3600 * kSecond},
                                                 {"d", 86400 * kSecond}}};
    for (const auto& unit : kUnits) {
        if (!text.starts_with(unit.name)) continue;
        text.remove_prefix(unit.name.size());
        return unit.ns;
    }
    return 0;
}

std::optional<std::int64_t> duration_ns(std::string_view text) {
    if (text.empty()) return {};
    std::int64_t total = 0;
    while (!text.empty()) {
        std::int64_t whole = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
        if (error != std::errc{} || whole < 0 || !is_digit(text.front())) return {};
        text.remove_prefix(static_cast<std::size_t>(end - text.data()));
        std::int64_t billionths = 0;
        if (take(text, ".")) {
            if (text.empty() || !is_digit(text.front())) return {};
            billionths = take_billionths(text);
        }
        const std::int64_t unit = take_unit(text);
        if (unit == 0 || whole > kLongest / unit) return {};
        const double part = static_cast<double>(billionths) / 1e9 * static_cast<double>(unit);
        total += whole * unit + std::llround(part);
        if (total > kLongest) return {};
    }
    return total;
}

} // namespace

Result<std::string> url_decode(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '%') {
            const auto high = i + 2 < text.size() ? hex_digit(text[i + 1]) : std::nullopt;
            const auto low = high ? hex_digit(text[i + 2]) : std::nullopt;
            if (!low)
                return fail(Code::invalid, "'{}' has a '%' that is not followed by two hex digits",
                            shown(text));
            c = static_cast<char>(*high * 16 + *low);
            i += 2;
        }
        if (is_control(c))
            return fail(Code::invalid, "'{}' holds a control character", shown(text));
        out += c;
    }
    return out;
}

Result<std::int64_t> parse_duration(std::string_view text) {
    if (const auto value = duration_ns(text)) return *value;
    return fail(Code::invalid, "'{}' is not a duration such as 90s, 10m, 1h30m or 2d", shown(text));
}

Result<std::int64_t> parse_time(std::string_view text) {
    if (const auto value = time_ns(text)) return *value;
    return fail(Code::invalid, "'{}' is not a time such as 2026-11-25T09:00:00Z", shown(text));
}

Result<model::ObjectName> parse_object_name(std::string_view text) {
    const std::size_t slash = text.find('/');
    if (slash != std::string_view::npos && is_plain_name(text.substr(0, slash)) &&
        is_plain_name(text.substr(slash + 1)))
        return model::ObjectName{std::string(text.substr(0, slash)),
                                 std::string(text.substr(slash + 1))};
    return fail(Code::invalid, "'{}' is not NAMESPACE/NAME, such as shop/web", shown(text));
}

Result<Query> Query::parse(std::string_view text, std::span<const Parameter> known) {
    Query query;
    while (!text.empty()) {
        const std::string_view pair = text.substr(0, text.find('&'));
        text.remove_prefix(std::min(pair.size() + 1, text.size()));
        if (pair.empty()) continue;
        const std::size_t equals = std::min(pair.find('='), pair.size());
        std::string name = TRY(url_decode(pair.substr(0, equals)));
        std::string value = TRY(url_decode(pair.substr(std::min(equals + 1, pair.size()))));
        const auto found = std::find_if(known.begin(), known.end(),
                                        [&](const Parameter& each) { return each.name == name; });
        if (found == known.end())
            return fail(Code::invalid, "unknown parameter '{}': {}", shown(name), joined(known));
        if (!found->repeatable && query.has(name))
            return fail(Code::invalid, "parameter '{}' can be given only once", name);
        query.values_.emplace_back(std::move(name), std::move(value));
    }
    return query;
}

bool Query::has(std::string_view name) const {
    return std::any_of(values_.begin(), values_.end(),
                       [&](const auto& each) { return each.first == name; });
}

std::string Query::text(std::string_view name) const {
    for (const auto& [key, value] : values_) {
        if (key == name) return value;
    }
    return {};
}

std::vector<std::string> Query::all(std::string_view name) const {
    std::vector<std::string> out;
    for (const auto& [key, value] : values_) {
        if (key == name) out.push_back(value);
    }
    return out;
}

Result<bool> Query::flag(std::string_view name) const {
    if (!has(name)) return false;
    const std::string value = text(name);
    if (value.empty() || value == "1" || value == "true") return true;
    if (value == "0" || value == "false") return false;
    return bad_value(name, value, "1 or 0");
}

Result<std::optional<std::uint64_t>> Query::number(std::string_view name, std::uint64_t least,
                                                   std::uint64_t most) const {
    if (!has(name)) return std::optional<std::uint64_t>{};
    const std::string value = text(name);
    const auto number = parse_number(value);
    if (!number || *number < least || *number > most)
        return bad_value(name, value, fmt::format("a number from {} to {}", least, most));
    return number;
}

Result<std::optional<std::int64_t>> Query::moment(std::string_view name,
                                                  std::int64_t now_ns) const {
    if (!has(name)) return std::optional<std::int64_t>{};
    const std::string value = text(name);
    if (const auto time = time_ns(value)) return time;
    if (const auto duration = duration_ns(value)) return std::optional(now_ns - *duration);
    return bad_value(name, value,
                     "a duration such as 10m or 1h30m, nor a time such as 2026-11-25T09:00:00Z");
}

Result<std::vector<std::string>> Query::workloads(std::string_view name) const {
    std::vector<std::string> out;
    for (auto& value : all(name)) {
        const std::size_t slash = value.find('/');
        const std::string_view space = std::string_view(value).substr(0, slash);
        const std::string_view rest =
            std::string_view(value).substr(slash == std::string::npos ? value.size() : slash + 1);
        if (!is_plain_name(space) || !(rest.empty() || is_plain_name(rest)))
            return bad_value(name, value, "NAMESPACE/NAME, NAMESPACE/ or NAME");
        out.push_back(std::move(value));
    }
    return out;
}

Result<std::vector<model::Protocol>> Query::protocols(std::string_view name) const {
    std::vector<model::Protocol> out;
    for (const auto& value : all(name)) {
        const auto protocol = model::parse_protocol(value);
        if (!protocol || *protocol == model::Protocol::any)
            return bad_value(name, value, "one of tcp, udp, sctp, icmp, icmpv6");
        out.push_back(*protocol);
    }
    return out;
}

Result<std::vector<std::uint16_t>> Query::ports(std::string_view name) const {
    std::vector<std::uint16_t> out;
    for (const auto& value : all(name)) {
        const auto port = parse_number(value);
        if (!port || *port < 1 || *port > 65535)
            return bad_value(name, value, "a port from 1 to 65535");
        out.push_back(static_cast<std::uint16_t>(*port));
    }
    return out;
}

} // namespace beeline::api
