// Matching texts, without allocation once prepared.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "security/engine/value.h"

namespace beeline::security::engine {

// fnmatch(3) without flags: * and ? match any byte, [a-z], [!a] and [[:digit:]] one of a set, \ quotes.
bool glob_match(std::string_view pattern, std::string_view text, bool fold_case);
bool has_glob(std::string_view pattern); // holds one of ? * [

bool contains(std::string_view text, std::string_view part);
bool contains_fold(std::string_view text, std::string_view lower_part); // ASCII

// A set of texts, hashed.
class TextSet {
public:
    void add(std::string text);
    void prepare();
    [[nodiscard]] bool has(std::string_view text) const { return find(text) != kNone; }
    // Its place in texts().
    static constexpr std::uint32_t kNone = 0xffffffff;
    [[nodiscard]] std::uint32_t find(std::string_view text) const;
    [[nodiscard]] bool empty() const { return texts_.empty(); }
    [[nodiscard]] const std::vector<std::string>& texts() const { return texts_; }

private:
    std::vector<std::string> texts_;
    std::vector<std::uint32_t> buckets_; // index + 1 into texts_
    std::vector<std::uint32_t> hashes_;
    std::uint64_t lengths_ = 0; // bit min(length, 63)
    std::uint32_t mask_ = 0;
};

// Texts that start, or end, with one of many.
class EdgeSet {
public:
    explicit EdgeSet(bool at_end = false) : at_end_(at_end) {}
    void add(std::string text) { texts_.push_back(std::move(text)); }
    void prepare();
    [[nodiscard]] bool matches(std::string_view text) const;

private:
    bool at_end_;
    std::vector<std::string> texts_; // sorted, none the start of another; reversed when at_end_
};

// Texts that hold one of many: an automaton when there are several.
class ContainsSet {
public:
    void add(std::string text) { texts_.push_back(std::move(text)); }
    void prepare();
    [[nodiscard]] bool matches(std::string_view text) const;

private:
    std::vector<std::string> texts_;
    std::vector<std::uint16_t> next_; // 256 for each state; the highest bit: found
    bool automaton_ = false;
};

// pmatch: a text that is a listed path or lies below one; components may be globs.
class PathSet {
public:
    void add(std::string_view path);
    void prepare();
    [[nodiscard]] bool matches(std::string_view path) const;

private:
    TextSet exact_; // "/a/b"
    bool everything_ = false;
    std::vector<std::vector<std::string>> globs_;
};

// Base64, padding optional. False: not that.
bool decode_base64(std::string_view text, Writer& out);
// Bytes that are no UTF-8 become U+FFFD; the text itself where there are none.
std::string_view valid_utf8(std::string_view text, Arena& arena);

} // namespace beeline::security::engine
