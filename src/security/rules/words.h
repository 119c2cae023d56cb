// The words of conditions: operators, modifiers, transformers, kinds of characters.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "security/rules/ast.h"

namespace beeline::security::rules {

// As rules write it; `=` for equal.
std::string_view operator_name(Operator op);
std::string_view modifier_name(Modifier modifier);
std::optional<Operator> parse_operator(std::string_view name);
std::optional<Modifier> parse_modifier(std::string_view name);
// Without val, which stands only on the right side.
bool is_transformer(std::string_view name);

constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_word(char c) { return is_letter(c) || is_digit(c) || c == '_'; }
constexpr bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\b' || c == '\r' || c == '\n';
}
// What a value without quotes can consist of.
constexpr bool is_bare(char c) {
    return !is_blank(c) && c != '\v' && c != '\f' && c != '(' && c != ')' && c != '"' &&
           c != '\'' && c != '=' && c != ',' && c != '\0';
}
// What the argument of a field can consist of without quotes.
constexpr bool is_bare_argument(char c) {
    return !is_blank(c) && c != '[' && c != ']' && c != '"' && c != '\'' && c != '\0';
}

constexpr bool takes_set(Operator op) {
    return op == Operator::in || op == Operator::intersects || op == Operator::pmatch;
}
constexpr bool is_relational(Operator op) {
    return op == Operator::less || op == Operator::less_equal || op == Operator::greater ||
           op == Operator::greater_equal;
}
// = != and the operators of text: those that oneof, anyof and allof can follow.
constexpr bool takes_modifier(Operator op) {
    return op != Operator::exists && !takes_set(op) && !is_relational(op);
}

// In double quotes with the escapes of conditions.
std::string in_quotes(std::string_view text);

} // namespace beeline::security::rules
