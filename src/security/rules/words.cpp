#include "security/rules/words.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace beeline::security::rules {
namespace {

// In the order of the enumerators.
constexpr std::array<std::string_view, 19> kOperators = {
    "exists",   "=",         "!=",        "<",          "<=",          ">",        ">=",
    "contains", "icontains", "bcontains", "startswith", "bstartswith", "endswith", "glob",
    "iglob",    "regex",     "in",        "intersects", "pmatch"};
static_assert(static_cast<std::size_t>(Operator::pmatch) + 1 == kOperators.size());

constexpr std::array<std::string_view, 4> kModifiers = {"", "oneof", "anyof", "allof"};

constexpr std::array<std::string_view, 8> kTransformers = {
    "tolower", "toupper", "b64", "basename", "len", "join", "concat", "getopt"};

} // namespace

std::string_view operator_name(Operator op) { return kOperators.at(static_cast<std::size_t>(op)); }

std::string_view modifier_name(Modifier modifier) {
    return kModifiers.at(static_cast<std::size_t>(modifier));
}

std::optional<Operator> parse_operator(std::string_view name) {
    if (name == "==") return Operator::equal;
    const auto* const found = std::find(kOperators.begin(), kOperators.end(), name);
    if (found == kOperators.end()) return std::nullopt;
    return static_cast<Operator>(found - kOperators.begin());
}

std::optional<Modifier> parse_modifier(std::string_view name) {
    const auto* const found = std::find(kModifiers.begin() + 1, kModifiers.end(), name);
    if (found == kModifiers.end()) return std::nullopt;
    return static_cast<Modifier>(found - kModifiers.begin());
}

bool is_transformer(std::string_view name) {
    return std::find(kTransformers.begin(), kTransformers.end(), name) != kTransformers.end();
}

std::string in_quotes(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        switch (c) {
        case '"': out += "\\\""; break;
        case '\\': out += "\\\\"; break;
        case '\b': out += "\\b"; break;
        case '\f': out += "\\f"; break;
        case '\n': out += "\\n"; break;
        case '\r': out += "\\r"; break;
        case '\t': out += "\\t"; break;
        default:
            if (c >= 0 && c < ' ') {
                out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
            } else {
                out += c;
            }
        }
    }
    return out + "\"";
}

} // namespace beeline::security::rules
