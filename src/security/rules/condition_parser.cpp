// Recursive descent over the text of a condition. Lists were substituted in it before; macros are looked up after.
#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "security/rules/rule_set.h"
#include "security/rules/words.h"

namespace beeline::security::rules {
namespace {

int hex_value(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool is_keyword(std::string_view word) { return word == "and" || word == "or" || word == "not"; }

// A function that fails has set the error; its callers return at once. The first error stays.
class Parser {
public:
    Parser(std::string_view text, std::size_t depth_limit)
        : text_(text), depth_limit_(depth_limit) {
        lines_.push_back(0);
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text[i] == '\n') lines_.push_back(i + 1);
        }
    }

    Parsed run() {
        NodePtr node = disjunction();
        if (node && place_ < text_.size())
            node = fail(place_, fmt::format("expected 'and', 'or' or the end of the condition, "
                                            "found {}",
                                            found(place_)));
        return {std::move(node), std::move(error_)};
    }

private:
    [[nodiscard]] Position position(std::size_t offset) const {
        const auto after = std::upper_bound(lines_.begin(), lines_.end(), offset);
        const auto line = static_cast<std::size_t>(after - lines_.begin());
        return {static_cast<std::uint32_t>(line),
                static_cast<std::uint32_t>(offset - lines_[line - 1] + 1),
                static_cast<std::uint32_t>(offset)};
    }

    std::nullptr_t fail(std::size_t offset, std::string message) {
        if (!failed_) error_ = {std::move(message), position(offset)};
        failed_ = true;
        return nullptr;
    }
    std::nullptr_t expected(std::string_view what) {
        return fail(place_, fmt::format("expected {}, found {}", what, found(place_)));
    }

    // For messages: the word or sign at a place.
    [[nodiscard]] std::string found(std::size_t offset) const {
        if (offset >= text_.size()) return "the end of the condition";
        std::size_t end = offset;
        while (end < text_.size() && end - offset < 60 && is_bare(text_[end]))
            ++end;
        if (end == offset) ++end;
        // Not within a character.
        while (end > offset + 1 && end < text_.size() &&
               (static_cast<unsigned char>(text_[end]) & 0xc0U) == 0x80)
            --end;
        std::string out = "'";
        for (const char c : text_.substr(offset, end - offset))
            out += c >= 0 && c < ' ' ? '?' : c;
        return out + "'";
    }

    [[nodiscard]] bool at(char c) const { return place_ < text_.size() && text_[place_] == c; }
    [[nodiscard]] bool at_blank() const { return place_ < text_.size() && is_blank(text_[place_]); }
    [[nodiscard]] bool at_end() const { return place_ >= text_.size(); }
    bool take(char c) {
        if (!at(c)) return false;
        ++place_;
        return true;
    }
    bool take_text(std::string_view word) {
        if (!text_.substr(place_).starts_with(word)) return false;
        place_ += word.size();
        return true;
    }
    bool skip_blanks() {
        const std::size_t start = place_;
        while (at_blank())
            ++place_;
        return place_ != start;
    }
    // [a-zA-Z][a-zA-Z0-9_]* at a place, empty if there is none.
    [[nodiscard]] std::string_view word_at(std::size_t offset) const {
        if (offset >= text_.size() || !is_letter(text_[offset])) return {};
        std::size_t end = offset;
        while (end < text_.size() && is_word(text_[end]))
            ++end;
        return text_.substr(offset, end - offset);
    }

    bool enter() {
        if (++depth_ <= depth_limit_) return true;
        fail(place_, fmt::format("nested deeper than {} levels", depth_limit_));
        return false;
    }
    void leave() { --depth_; }

    NodePtr disjunction() { return joined("or", Node::Kind::any); }
    NodePtr operand_of(Node::Kind kind) {
        return kind == Node::Kind::any ? joined("and", Node::Kind::all) : negation();
    }

    // Operands with `word` between them. A single one stands for itself.
    NodePtr joined(std::string_view word, Node::Kind kind) {
        NodePtr node = operand_of(kind);
        bool grouped = false;
        while (node) {
            skip_blanks();
            if (!take_text(word)) break;
            if (!at_blank() && !at('(') && !at_end())
                return expected(fmt::format("a blank after '{}'", word));
            NodePtr next = operand_of(kind);
            if (!next) return nullptr;
            if (!grouped) {
                auto group = std::make_unique<Node>();
                group->kind = kind;
                group->position = node->position;
                group->children.push_back(std::move(node));
                node = std::move(group);
                grouped = true;
            }
            node->children.push_back(std::move(next));
        }
        return node;
    }

    NodePtr negation() {
        skip_blanks();
        const std::size_t start = place_;
        bool negated = false;
        while (word_at(place_) == "not" && place_ + 3 < text_.size() &&
               (is_blank(text_[place_ + 3]) || text_[place_ + 3] == '(')) {
            negated = !negated;
            place_ += 3;
            skip_blanks();
        }
        NodePtr node = check_or_group();
        if (!node || !negated) return node;
        // not (not x) is x, so that no negation holds another.
        if (node->kind == Node::Kind::negation) return std::move(node->children.front());
        auto outer = std::make_unique<Node>();
        outer->kind = Node::Kind::negation;
        outer->position = position(start);
        outer->children.push_back(std::move(node));
        return outer;
    }

    NodePtr check_or_group() {
        if (take('(')) {
            if (!enter()) return nullptr;
            NodePtr node = disjunction();
            leave();
            if (!node) return nullptr;
            if (!take(')')) return expected("')', 'and' or 'or'");
            return node;
        }
        const std::string_view word = word_at(place_);
        if (word.empty() || is_keyword(word)) return expected("a check, a macro or '('");
        const std::size_t end = place_ + word.size();
        const char next = end < text_.size() ? text_[end] : '\0';
        if (next == '.' || (next == '(' && is_transformer(word))) return check();
        auto node = std::make_unique<Node>();
        node->kind = Node::Kind::macro;
        node->macro = word;
        node->position = position(place_);
        place_ = end;
        check_macro_end();
        return failed_ ? nullptr : std::move(node);
    }

    // A word with an operator behind it was meant as a field.
    void check_macro_end() {
        std::size_t next = place_;
        while (next < text_.size() && is_blank(text_[next]))
            ++next;
        const std::string_view word = word_at(next);
        const bool symbol = next < text_.size() &&
                            std::string_view("=!<>").find(text_[next]) != std::string_view::npos;
        if (symbol || (!word.empty() && parse_operator(word) && !is_keyword(word)))
            fail(next, fmt::format("expected 'and', 'or' or ')' after a macro, found {}; "
                                   "a field has a dot in its name",
                                   found(next)));
    }

    NodePtr check() {
        auto node = std::make_unique<Node>();
        node->kind = Node::Kind::check;
        node->position = position(place_);
        const std::string_view word = word_at(place_);
        const bool good = place_ + word.size() < text_.size() && text_[place_ + word.size()] == '('
                              ? transformer(node->left)
                              : field(node->left);
        if (!good) return nullptr;
        skip_blanks();
        if (!take_operator(node->op) || !right_side(*node)) return nullptr;
        return node;
    }

    // Name("."Name)+ ["[" argument "]"]
    bool field(Expression& out) {
        out.kind = Expression::Kind::field;
        out.position = position(place_);
        const std::size_t start = place_;
        place_ += word_at(place_).size();
        while (at('.')) {
            const std::string_view part = word_at(place_ + 1);
            if (part.empty()) {
                ++place_;
                expected("the next part of a field's name");
                return false;
            }
            place_ += 1 + part.size();
        }
        out.name = text_.substr(start, place_ - start);
        if (out.name.find('.') == std::string::npos) {
            place_ = start;
            expected("a field");
            return false;
        }
        return optional_argument(out);
    }

    bool optional_argument(Expression& out) {
        if (!take('[')) return true;
        out.has_argument = true;
        if (at('"') || at('\'')) {
            if (!quoted_string(out.argument)) return false;
        } else {
            const std::size_t start = place_;
            while (!at_end() && is_bare_argument(text_[place_]))
                ++place_;
            if (place_ == start) {
                expected("an argument in the brackets");
                return false;
            }
            out.argument = text_.substr(start, place_ - start);
        }
        if (take(']')) return true;
        expected("']' after the argument");
        return false;
    }

    // Precondition: at a name with "(" behind it.
    bool transformer(Expression& out) {
        out.kind = Expression::Kind::transformer;
        out.position = position(place_);
        out.name = word_at(place_);
        place_ += out.name.size();
        if (!enter() || !arguments(out, true)) return false;
        leave();
        return optional_argument(out);
    }

    // "(" argument ("," argument)* ")"; only a list can be empty or hold no other list.
    bool arguments(Expression& out, bool lists) {
        ++place_;
        skip_blanks();
        if (!lists && take(')')) return true;
        do {
            skip_blanks();
            Expression& each = out.arguments.emplace_back();
            if (!argument(each, lists)) return false;
            skip_blanks();
        } while (take(','));
        if (take(')')) return true;
        expected("',' or ')' after an argument");
        return false;
    }

    bool argument(Expression& out, bool lists) {
        out.position = position(place_);
        if (lists && at('(')) {
            out.kind = Expression::Kind::list;
            return arguments(out, false);
        }
        if (at('"') || at('\'')) {
            out.kind = Expression::Kind::literal;
            return quoted_string(out.name);
        }
        const std::string_view word = word_at(place_);
        const std::size_t end = place_ + word.size();
        if (!word.empty() && end < text_.size() && text_[end] == '(' && is_transformer(word))
            return transformer(out);
        if (!word.empty()) return field(out);
        out.kind = Expression::Kind::literal;
        const std::size_t size = number_size();
        if (size == 0) {
            expected("a field, a transformer, a number or text in quotes");
            return false;
        }
        out.name = text_.substr(place_, size);
        place_ += size;
        return true;
    }

    bool take_operator(Operator& op) {
        for (const std::string_view symbol : {"==", "=", "!=", "<=", "<", ">=", ">"}) {
            if (!take_text(symbol)) continue;
            op = parse_operator(symbol).value_or(op);
            return true;
        }
        const std::string_view word = word_at(place_);
        const auto known = parse_operator(word);
        if (word.empty() || !known) {
            expected("an operator");
            return false;
        }
        op = *known;
        const std::size_t start = place_;
        place_ += word.size();
        if (op == Operator::exists || takes_set(op) || at_blank()) return true;
        if (!at_end()) {
            expected(fmt::format("a blank after '{}'", word));
            return false;
        }
        fail(place_, fmt::format("expected a value after '{}'", text_.substr(start)));
        return false;
    }

    bool right_side(Node& node) {
        if (node.op == Operator::exists) return true;
        skip_blanks();
        if (takes_modifier(node.op) && take_modifier(node.modifier)) return values(node);
        const std::string_view word = word_at(place_);
        const std::size_t end = place_ + word.size();
        if (!word.empty() && end < text_.size() && text_[end] == '(' &&
            (word == "val" || is_transformer(word))) {
            node.right = std::make_unique<Expression>();
            return word == "val" ? field_value(*node.right) : transformer(*node.right);
        }
        if (is_relational(node.op)) return number(node.values.emplace_back());
        if (takes_set(node.op)) return values(node);
        return value(node.values.emplace_back());
    }

    // A modifier is a plain value (`proc.name = oneof`) when neither a list nor the name of one comes next.
    bool take_modifier(Modifier& modifier) {
        const std::string_view word = word_at(place_);
        const auto known = parse_modifier(word);
        if (!known) return false;
        std::size_t next = place_ + word.size();
        const std::size_t behind = next;
        while (next < text_.size() && is_blank(text_[next]))
            ++next;
        const bool list = next < text_.size() && text_[next] == '(';
        const std::string_view name = next > behind ? word_at(next) : std::string_view();
        if (!list && (name.empty() || is_keyword(name))) return false;
        modifier = *known;
        place_ = next;
        return true;
    }

    bool field_value(Expression& out) {
        place_ += std::string_view("val(").size();
        skip_blanks();
        if (word_at(place_).empty()) {
            expected("a field in val()");
            return false;
        }
        if (!field(out)) return false;
        skip_blanks();
        if (take(')')) return true;
        expected("')' after the field of val()");
        return false;
    }

    // "(" values ")", or the name of a list that nothing was substituted for: then the name is the only value.
    bool values(Node& node) {
        if (!take('(')) {
            const std::string_view word = word_at(place_);
            if (word.empty() || is_keyword(word)) {
                expected("'(' or the name of a list");
                return false;
            }
            Value& only = node.values.emplace_back();
            only.position = position(place_);
            only.text = word;
            place_ += word.size();
            return true;
        }
        skip_blanks();
        if (take(')')) return true;
        do {
            skip_blanks();
            if (!value(node.values.emplace_back())) return false;
            skip_blanks();
        } while (take(','));
        if (take(')')) return true;
        expected("',' or ')' after a value");
        return false;
    }

    bool value(Value& out) {
        out.position = position(place_);
        out.quoted = at('"') || at('\'');
        if (out.quoted) return quoted_string(out.text);
        const std::size_t start = place_;
        while (!at_end() && is_bare(text_[place_]))
            ++place_;
        if (place_ == start) {
            expected("a value");
            return false;
        }
        out.text = text_.substr(start, place_ - start);
        return true;
    }

    bool number(Value& out) {
        out.position = position(place_);
        const std::size_t size = number_size();
        if (size == 0) {
            expected("a number");
            return false;
        }
        out.text = text_.substr(place_, size);
        place_ += size;
        return true;
    }

    // Bytes of the number at the place, 0 if there is none.
    [[nodiscard]] std::size_t number_size() const {
        const std::string_view rest = text_.substr(place_);
        const auto at = [&](std::size_t i) { return i < rest.size() ? rest[i] : '\0'; };
        const auto digits = [&](std::size_t i) {
            while (is_digit(at(i)))
                ++i;
            return i;
        };
        if (at(0) == '0' && (at(1) == 'x' || at(1) == 'X') && hex_value(at(2)) >= 0) {
            std::size_t end = 2;
            while (hex_value(at(end)) >= 0)
                ++end;
            return end;
        }
        const std::size_t first = at(0) == '+' || at(0) == '-' ? 1 : 0;
        std::size_t end = digits(first);
        if (end == first) return 0;
        if (at(end) == '.') end = digits(end + 1);
        if ((at(end) == 'e' || at(end) == 'E') && (at(end + 1) == '+' || at(end + 1) == '-') &&
            is_digit(at(end + 2)))
            end = digits(end + 2);
        return end;
    }

    bool quoted_string(std::string& out) {
        const std::size_t start = place_;
        const char quote = text_[place_++];
        while (!at_end() && !at(quote)) {
            const char c = text_[place_++];
            if (c == '\0') {
                fail(place_ - 1, "a NUL byte cannot be part of a text");
                return false;
            }
            if (c != '\\') {
                out += c;
            } else if (!escape(quote, out)) {
                return false;
            }
        }
        if (take(quote)) return true;
        fail(start, "this text has no closing quote");
        return false;
    }

    // Behind a backslash.
    bool escape(char quote, std::string& out) {
        static constexpr std::array<std::pair<char, char>, 8> kEscapes = {
            {{'b', '\b'},
             {'f', '\f'},
             {'n', '\n'},
             {'r', '\r'},
             {'t', '\t'},
             {'\\', '\\'},
             {'/', '/'},
             // Old rules escape a last backslash so.
             {' ', '\\'}}};
        const std::size_t start = place_ - 1;
        if (at_end()) return true; // reported as a missing quote
        const char c = text_[place_++];
        if (c == quote) {
            out += c;
            return true;
        }
        for (const auto& [from, to] : kEscapes) {
            if (c != from) continue;
            out += to;
            return true;
        }
        if (c == 'x' && place_ + 1 < text_.size() && hex_value(text_[place_]) >= 0 &&
            hex_value(text_[place_ + 1]) >= 0) {
            const int byte = hex_value(text_[place_]) * 16 + hex_value(text_[place_ + 1]);
            if (byte == 0) {
                fail(start, "a NUL byte cannot be part of a text");
                return false;
            }
            out += static_cast<char>(byte);
            place_ += 2;
            return true;
        }
        fail(start, fmt::format("unknown escape after the backslash: {}", found(place_ - 1)));
        return false;
    }

    std::string_view text_;
    std::size_t depth_limit_;
    std::size_t depth_ = 0;
    std::size_t place_ = 0;
    std::vector<std::size_t> lines_; // where each begins
    bool failed_ = false;
    ParseError error_;
};

} // namespace

Parsed parse_condition(std::string_view text, std::size_t depth_limit) {
    return Parser(text, depth_limit).run();
}

} // namespace beeline::security::rules
