#include "security/engine/format.h"

#include <algorithm>
#include <ctime>

namespace beeline::security::engine {
namespace {

std::string net_text(Scene& scene, const std::uint8_t* ip) {
    Writer out(scene.arena);
    out.add_ip(ip);
    return std::string(out.text());
}

bool is_event_time(const Term& term) {
    return term.kind == Term::Kind::field && term.type == Type::time &&
           (term.field.row->name.starts_with("evt.time") ||
            term.field.row->name.starts_with("evt.datetime"));
}

void format_time(std::string_view name, std::uint64_t number, std::string& out) {
    const auto seconds = static_cast<std::time_t>(number / 1'000'000'000);
    const std::uint64_t nanoseconds = number % 1'000'000'000;
    tm parts{};
    char text[64];
    const bool iso = name == "evt.time.iso8601";
    if (iso) {
        gmtime_r(&seconds, &parts);
    } else {
        localtime_r(&seconds, &parts);
    }
    const char* format = iso                                ? "%Y-%m-%dT%H:%M:%S"
                         : name.starts_with("evt.datetime") ? "%Y-%m-%d %H:%M:%S"
                                                            : "%H:%M:%S";
    out.append(text, std::strftime(text, sizeof text, format, &parts));
    if (!name.ends_with(".s")) out += fmt::format(".{:09}", nanoseconds);
    if (iso) out += "+0000";
}

// One value as text.
void add_value(const Term& term, Scene& scene, const Value& value, std::string& out) {
    switch (term.type) {
    case Type::text:
    case Type::path:
    case Type::bytes: out += value.text; return;
    case Type::boolean: out += value.number != 0 ? "true" : "false"; return;
    case Type::int64: out += std::to_string(static_cast<std::int64_t>(value.number)); return;
    case Type::ip:
    case Type::net: out += net_text(scene, value.ip); return;
    case Type::time:
        if (is_event_time(term)) {
            format_time(term.field.row->name, value.number, out);
            return;
        }
        [[fallthrough]];
    default: out += std::to_string(value.number); return;
    }
}

bool hidden(const Term& term, const Value& value) {
    return term.kind == Term::Kind::field && (term.flags & kHostNames) != 0 && value.text.empty();
}

// The expression at the start of `text`: a transformer with its brackets, or a field. Empty: none.
std::string_view token(std::string_view text) {
    static constexpr std::string_view kNames[] = {"tolower(", "toupper(", "b64(",    "basename(",
                                                  "len(",     "join(",    "concat(", "getopt("};
    for (const std::string_view name : kNames) {
        if (!text.starts_with(name)) continue;
        int depth = 0;
        char quote = 0;
        for (std::size_t i = 0; i < text.size(); ++i) {
            const char c = text[i];
            if (quote != 0) {
                if (c == quote) quote = 0;
                continue;
            }
            if (c == '"' || c == '\'') quote = c;
            if (c == '(') ++depth;
            if (c != ')' || --depth != 0) continue;
            if (i + 1 < text.size() && text[i + 1] == '[' && name == "getopt(") {
                const std::size_t close = text.find(']', i);
                if (close != std::string_view::npos) return text.substr(0, close + 1);
            }
            return text.substr(0, i + 1);
        }
        return {};
    }
    return field_prefix(text);
}

// A small reader of what token() found.
class TermReader {
public:
    explicit TermReader(std::string_view text) : text_(text) {}
    Result<rules::Expression> read() {
        rules::Expression out = TRY(expression());
        blanks();
        if (at_ != text_.size())
            return fail(Code::invalid, "unexpected text in {} at byte {}", text_, at_);
        return out;
    }

private:
    void blanks() {
        while (at_ < text_.size() && text_[at_] == ' ')
            ++at_;
    }
    bool eat(char c) {
        if (at_ < text_.size() && text_[at_] == c) {
            ++at_;
            return true;
        }
        return false;
    }
    Result<rules::Expression> expression() {
        if (++depth_ > 100) return fail(Code::invalid, "{} is nested too deeply", text_);
        blanks();
        rules::Expression out;
        if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) {
            const std::size_t close = text_.find(text_[at_], at_ + 1);
            if (close == std::string_view::npos)
                return fail(Code::invalid, "a quote is not closed in {}", text_);
            out.kind = rules::Expression::Kind::literal;
            out.name = std::string(text_.substr(at_ + 1, close - at_ - 1));
            at_ = close + 1;
            return out;
        }
        if (eat('(')) {
            out.kind = rules::Expression::Kind::list;
            TRY(arguments(out));
            return out;
        }
        const std::size_t start = at_;
        while (at_ < text_.size() &&
               std::string_view("()[], \"'").find(text_[at_]) == std::string_view::npos)
            ++at_;
        out.name = std::string(text_.substr(start, at_ - start));
        if (out.name.empty()) return fail(Code::invalid, "a field is missing in {}", text_);
        if (eat('(')) {
            out.kind = rules::Expression::Kind::transformer;
            TRY(arguments(out));
        } else if (out.name.find_first_not_of("0123456789") == std::string::npos) {
            out.kind = rules::Expression::Kind::literal;
        }
        if (eat('[')) {
            const std::size_t close = text_.find(']', at_);
            if (close == std::string_view::npos)
                return fail(Code::invalid, "a bracket is not closed in {}", text_);
            out.has_argument = true;
            out.argument = std::string(text_.substr(at_, close - at_));
            if (out.argument.size() > 1 && (out.argument[0] == '"' || out.argument[0] == '\'') &&
                out.argument.back() == out.argument[0])
                out.argument = out.argument.substr(1, out.argument.size() - 2);
            at_ = close + 1;
        }
        --depth_;
        return out;
    }
    Result<> arguments(rules::Expression& out) {
        blanks();
        if (eat(')')) return {};
        do {
            out.arguments.push_back(TRY(expression()));
            blanks();
        } while (eat(','));
        if (!eat(')')) return fail(Code::invalid, "a parenthesis is not closed in {}", text_);
        return {};
    }

    std::string_view text_;
    std::size_t at_ = 0;
    int depth_ = 0;
};

} // namespace

Result<Term> parse_term(std::string_view text) {
    const rules::Expression expression = TRY(TermReader(text).read());
    return build_term(expression);
}

Result<Template> Template::parse(std::string_view text) {
    Template out;
    std::string literal;
    const auto flush = [&] {
        if (literal.empty()) return;
        Part part;
        part.text = std::move(literal);
        literal.clear();
        out.parts_.push_back(std::move(part));
    };
    if (text.starts_with('*')) text.remove_prefix(1);
    while (!text.empty()) {
        if (text.front() != '%') {
            literal += text.front();
            text.remove_prefix(1);
            continue;
        }
        text.remove_prefix(1);
        if (text.empty()) return fail(Code::invalid, "a % stands at the end");
        if (text.front() == '%') {
            literal += '%';
            text.remove_prefix(1);
            continue;
        }
        Part part;
        while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
            part.width = std::min<std::size_t>(
                part.width * 10 + static_cast<std::size_t>(text.front() - '0'), 10000);
            text.remove_prefix(1);
        }
        if (text.starts_with("container.info")) {
            text.remove_prefix(14); // gone: an empty text
            continue;
        }
        const std::string_view found = token(text);
        if (found.empty()) {
            const std::string_view word = text.substr(0, text.find_first_of(" \t\n"));
            return fail(Code::not_found, "unknown field %{}", word);
        }
        part.term = TRY(parse_term(found));
        if ((part.term.flags & kFilterOnly) != 0 && part.term.kind == Term::Kind::field)
            return fail(Code::invalid, "field {} has two values: it cannot be printed", found);
        part.has_term = true;
        part.text = std::string(found);
        text.remove_prefix(found.size());
        flush();
        out.parts_.push_back(std::move(part));
    }
    flush();
    for (std::uint32_t i = 0; i < out.parts_.size(); ++i)
        if (out.parts_[i].has_term && out.parts_[i].term.kind == Term::Kind::field)
            out.fields_.push_back(i);
    const auto name = [&](std::uint32_t i) -> const std::string& { return out.parts_[i].text; };
    std::stable_sort(out.fields_.begin(), out.fields_.end(),
                     [&](auto a, auto b) { return name(a) < name(b); });
    out.fields_.erase(std::unique(out.fields_.begin(), out.fields_.end(),
                                  [&](auto a, auto b) { return name(a) == name(b); }),
                      out.fields_.end());
    return out;
}

void format_term(const Term& term, Scene& scene, std::string& out) {
    Cursor cursor;
    Value value;
    if (term.many == Many::list) {
        std::string list;
        while (evaluate_term(term, scene, cursor, value)) {
            if (!list.empty()) list += ',';
            add_value(term, scene, value, list);
        }
        out += list.empty() ? "<NA>" : "(" + list + ")";
        return;
    }
    if (!evaluate_term(term, scene, cursor, value) || hidden(term, value)) {
        out += "<NA>";
        return;
    }
    add_value(term, scene, value, out);
}

void Template::format(Scene& scene, std::string& out) const {
    for (const Part& part : parts_) {
        if (!part.has_term) {
            out += part.text;
            continue;
        }
        const std::size_t start = out.size();
        format_term(part.term, scene, out);
        if (part.width != 0) out.resize(start + part.width, ' ');
    }
}

model::Alert::Value term_value(const Term& term, Scene& scene) {
    Cursor cursor;
    Value value;
    if (term.many == Many::list) {
        std::string list;
        format_term(term, scene, list);
        if (list == "<NA>") return std::monostate{};
        return list;
    }
    if (!evaluate_term(term, scene, cursor, value) || hidden(term, value)) return std::monostate{};
    switch (term.type) {
    case Type::boolean: return value.number != 0;
    case Type::int64: return static_cast<std::int64_t>(value.number);
    case Type::time:
        if (is_event_time(term)) return static_cast<std::int64_t>(value.number);
        return value.number;
    case Type::uint64:
    case Type::port:
    case Type::duration: return value.number;
    default: break;
    }
    std::string text;
    add_value(term, scene, value, text);
    return text;
}

void Template::values(Scene& scene,
                      std::vector<std::pair<std::string, model::Alert::Value>>& out) const {
    for (const std::uint32_t i : fields_)
        out.emplace_back(parts_[i].text, term_value(parts_[i].term, scene));
}

unsigned Template::flags() const {
    unsigned all = 0;
    for (const Part& part : parts_)
        if (part.has_term) all |= part.term.flags;
    return all;
}

} // namespace beeline::security::engine
