// Names of lists in conditions are replaced by the lists' items, as text, before the condition is parsed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "security/rules/source_text.h"

namespace beeline::security::rules {

// An item as it stands in a condition: in double quotes when it could not be read as one value without.
std::string condition_value(std::string_view item);

class ListExpander {
public:
    // What a list may grow to through the lists in it.
    static constexpr std::size_t kMostBytes = 4U << 20;

    static constexpr std::size_t kMostDepth = 100;

    // Returns the number of the list. Names must differ.
    std::uint32_t add(std::string_view name, std::vector<std::string_view> items);

    // Sets `too_big` when a list grows beyond its bound; the result is then of no use.
    MappedText expand(const MappedText& condition, bool& too_big);

    // Whether a condition or another list named it so far.
    [[nodiscard]] bool used(std::uint32_t list) const { return lists_[list].used; }

private:
    struct List {
        std::vector<std::string_view> items;
        std::string joined; // "a, b, \"c d\""
        enum class State : std::uint8_t { unknown, working, done } state = State::unknown;
        bool used = false;
        bool too_big = false;
    };
    const List& resolve(std::uint32_t number, std::size_t depth);

    std::vector<List> lists_;
    std::unordered_map<std::string_view, std::uint32_t> names_;
};

} // namespace beeline::security::rules
