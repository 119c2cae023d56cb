// A parsed condition of the Falco language.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace beeline::security::rules {

// In the text that was parsed: lines and columns count from 1.
struct Position {
    std::uint32_t line = 1;
    std::uint32_t column = 1;
    std::uint32_t offset = 0; // bytes
};

enum class Operator : std::uint8_t {
    exists,
    equal, // =, ==
    not_equal,
    less,
    less_equal,
    greater,
    greater_equal,
    contains,
    icontains,
    bcontains,
    startswith,
    bstartswith,
    endswith,
    glob,
    iglob,
    regex,
    in,
    intersects,
    pmatch,
};
enum class Modifier : std::uint8_t { none, oneof, anyof, allof };

// A field, a transformer with its arguments, or a literal (only as an argument).
struct Expression {
    enum class Kind : std::uint8_t { field, transformer, literal, list };
    Kind kind = Kind::field;
    std::string name; // "proc.aname", "tolower", or the literal's text
    bool has_argument = false;
    std::string argument;              // what stands in brackets
    std::vector<Expression> arguments; // of a transformer or list
    Position position;
};

struct Value {
    std::string text; // escapes resolved
    bool quoted = false;
    Position position;
};

struct Node;
using NodePtr = std::unique_ptr<Node>;

struct Node {
    enum class Kind : std::uint8_t { all, any, negation, check, macro };
    Kind kind = Kind::check;
    std::vector<NodePtr> children; // all, any: two or more; negation: one
    std::string macro;             // name; none is left after a rule set was loaded

    // check
    Expression left;
    Operator op = Operator::exists;
    Modifier modifier = Modifier::none;
    std::vector<Value> values; // one for scalar operators without modifier, any number for sets
    std::unique_ptr<Expression> right; // val(field) or a transformer instead of values

    Position position;
};

NodePtr clone(const Node& node);
// Normal form for people and tests: `(a = b and not c in (d, e))`.
std::string to_text(const Node& node);

} // namespace beeline::security::rules
