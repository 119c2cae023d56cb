// The parsed form behind yaml::Node.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace beeline::source::yaml {

struct Value {
    enum class Kind : std::uint8_t { null, scalar, list, map };
    Kind kind = Kind::null;
    bool quoted = false;    // scalar in quotes or a block: always a string
    std::uint32_t line = 1; // 0: the text has no lines that a person would look for
    std::uint32_t column = 1;
    std::uint32_t parent = 0;   // the root is its own parent
    std::uint32_t position = 0; // among the children of the parent
    std::string text;
    std::vector<std::uint32_t> children; // of a map: key, value, key, value ...
};

struct Tree {
    std::string file;
    std::vector<Value> values; // the root first
    bool lenient = false;      // mappings may have fields that nobody asked for
};

} // namespace beeline::source::yaml
