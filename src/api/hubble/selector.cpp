#include "api/hubble/selector.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

namespace beeline::hubble {
namespace {

struct LabelParts {
    std::string_view source;
    std::string_view key;
    std::string_view value;
};

// The first ':' ends the source, unless it is behind the '='.
LabelParts split(std::string_view label) {
    LabelParts parts;
    const auto equals = label.find('=');
    if (equals != std::string_view::npos) parts.value = label.substr(equals + 1);
    std::string_view name = label.substr(0, equals);
    if (const auto colon = name.find(':'); colon != std::string_view::npos) {
        parts.source = name.substr(0, colon);
        name.remove_prefix(colon + 1);
    }
    parts.key = name;
    return parts;
}

std::optional<std::int64_t> number_of(std::string_view text) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
}

bool is_word(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.' ||
           c == '/' || c == ':' || c == '*' || c == '@';
}

} // namespace

class Selector::Parser {
public:
    explicit Parser(std::string_view text) : text_(text) {}

    Result<std::vector<Requirement>> all() {
        std::vector<Requirement> out;
        skip();
        if (rest_.empty()) return out;
        for (;;) {
            out.push_back(TRY(one()));
            skip();
            if (rest_.empty()) return out;
            if (!take(",")) return unexpected("',' or the end");
        }
    }

private:
    void skip() {
        while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_.front())) != 0)
            rest_.remove_prefix(1);
    }
    bool take(std::string_view token) {
        skip();
        if (!rest_.starts_with(token)) return false;
        rest_.remove_prefix(token.size());
        return true;
    }
    std::string_view word() {
        skip();
        std::size_t length = 0;
        while (length < rest_.size() && is_word(rest_[length]))
            ++length;
        const auto out = rest_.substr(0, length);
        rest_.remove_prefix(length);
        return out;
    }
    [[nodiscard]] Failure unexpected(std::string_view wanted) const {
        if (rest_.empty()) return fail(Code::invalid, "expected {}", wanted);
        return fail(Code::invalid, "expected {} at '{}'", wanted, rest_.substr(0, 20));
    }

    Result<std::vector<std::string>> list() {
        if (!take("(")) return unexpected("'('");
        std::vector<std::string> out;
        do {
            out.emplace_back(word()); // an empty value is one
        } while (take(","));
        if (!take(")")) return unexpected("',' or ')'");
        return out;
    }

    Result<Requirement> one() {
        Requirement out;
        const bool negated = take("!");
        const std::string_view name = word();
        const LabelParts parts = split(name);
        if (parts.key.empty()) return unexpected("a label's key");
        if (parts.source != "any") out.source = parts.source;
        out.key = parts.key;
        skip();
        if (negated) {
            out.op = Operator::absent;
            return out;
        }
        if (rest_.empty() || rest_.front() == ',') return out;
        if (take("!=")) {
            out.op = Operator::not_in;
            out.values.emplace_back(word());
        } else if (take("==") || take("=")) {
            out.op = Operator::in;
            out.values.emplace_back(word());
        } else if (rest_.front() == '>' || rest_.front() == '<') {
            out.op = take(">") ? Operator::greater : Operator::less;
            if (out.op == Operator::less) (void)take("<");
            const auto value = number_of(word());
            if (!value) return unexpected("a whole number behind < or >");
            out.number = *value;
        } else {
            const std::string_view verb = word();
            if (verb != "in" && verb != "notin") return unexpected("an operator");
            out.op = verb == "in" ? Operator::in : Operator::not_in;
            out.values = TRY(list());
        }
        return out;
    }

    std::string_view text_;
    std::string_view rest_ = text_;
};

bool Selector::Requirement::holds_for(std::string_view value) const {
    switch (op) {
    case Operator::in:
    case Operator::not_in: return std::find(values.begin(), values.end(), value) != values.end();
    case Operator::greater:
    case Operator::less: {
        const auto found = number_of(value);
        return found && (op == Operator::greater ? *found > number : *found < number);
    }
    case Operator::exists:
    case Operator::absent: return true;
    }
    return false;
}

bool Selector::Requirement::holds(const LabelTexts& labels) const {
    const bool found = std::any_of(labels.begin(), labels.end(), [&](const std::string& label) {
        const LabelParts parts = split(label);
        return parts.key == key && (source.empty() || parts.source == source) &&
               holds_for(parts.value);
    });
    return found != (op == Operator::not_in || op == Operator::absent);
}

Result<Selector> Selector::parse(std::string_view text) {
    Selector out;
    out.requirements_ = TRY(Parser(text).all());
    return out;
}

bool Selector::matches(const LabelTexts& labels) const {
    return std::all_of(requirements_.begin(), requirements_.end(),
                       [&](const Requirement& one) { return one.holds(labels); });
}

} // namespace beeline::hubble
