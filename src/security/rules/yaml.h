// The values of a rule file with their places.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "security/rules/source_text.h"

namespace beeline::security::rules::yaml {

struct Value {
    enum class Kind : std::uint8_t { null, scalar, list, map };
    Kind kind = Kind::null;
    bool open = false;
    std::size_t size = 1; // values in it, itself included, aliases counted again
    Position position;
    std::string text;
    std::vector<std::uint32_t> children; // of a map: key, value, key, value ...
};

struct Limits {
    std::size_t bytes = 16U << 20;
    std::size_t depth = 64;
    std::size_t values = 2'000'000;
};

struct Tree {
    std::vector<Value> values;
    std::vector<std::uint32_t> documents; // the root of each that has content
    std::string problem;                  // not empty: the file cannot be read as YAML
    Position position;                    // of the problem
};

Tree parse(const SourceFile& file, const Limits& limits = {});

} // namespace beeline::security::rules::yaml
