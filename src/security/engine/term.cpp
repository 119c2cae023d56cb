// Fields and transformers.
#include <algorithm>

#include "security/engine/check.h"

namespace beeline::security::engine {
namespace {

using Kind = Term::Kind;

struct Transformer {
    std::string_view name;
    Kind kind;
    std::size_t least, most;
};
constexpr Transformer kTransformers[] = {
    {"tolower", Kind::tolower, 1, 1},  {"toupper", Kind::toupper, 1, 1},
    {"b64", Kind::base64, 1, 1},       {"basename", Kind::basename, 1, 1},
    {"len", Kind::length, 1, 1},       {"join", Kind::join, 2, 2},
    {"concat", Kind::concat, 2, 1000}, {"getopt", Kind::getopt, 2, 2},
};

bool is_text(Type type) { return type == Type::text || type == Type::path; }

// proc.args stands for the list of arguments where a list is asked for.
Result<Term> as_list(Term term) {
    if (term.many == Many::list) return term;
    if (term.kind == Kind::field && term.field.row->name == "proc.args" &&
        !term.field.has_argument) {
        Term list;
        list.field = TRY(find_field("beeline.proc.argv", false, ""));
        list.many = list.field.many;
        list.text = "proc.args";
        return list;
    }
    return term;
}

Result<Term> build_argument(const rules::Expression& argument) {
    Term term = TRY(build_term(argument));
    if (term.kind == Kind::field && (term.flags & kNoTransform) != 0)
        return fail(Code::invalid, "field {} cannot be given to a transformer", term.text);
    return term;
}

Result<Term> build_list_argument(const rules::Expression& argument) {
    if (argument.kind == rules::Expression::Kind::list) {
        Term list;
        list.kind = Kind::concat; // a list in parentheses: its parts stay apart
        list.many = Many::list;
        for (const rules::Expression& part : argument.arguments) {
            list.arguments.push_back(TRY(build_argument(part)));
            list.path_view |= list.arguments.back().path_view;
            list.flags |= list.arguments.back().flags;
            list.text += (list.text.empty() ? "(" : ",") + list.arguments.back().text;
        }
        list.text += list.text.empty() ? "()" : ")";
        return list;
    }
    return as_list(TRY(build_argument(argument)));
}

Result<Term> build_transformer(const rules::Expression& expression) {
    const auto* row =
        std::find_if(std::begin(kTransformers), std::end(kTransformers),
                     [&](const Transformer& known) { return known.name == expression.name; });
    if (row == std::end(kTransformers))
        return fail(Code::invalid, "unknown transformer {}", expression.name);
    if (expression.arguments.size() < row->least || expression.arguments.size() > row->most)
        return fail(Code::invalid, "transformer {} does not take {} arguments", row->name,
                    expression.arguments.size());
    if (expression.has_argument && row->kind != Kind::getopt)
        return fail(Code::invalid, "transformer {} takes nothing in brackets", row->name);
    Term out;
    out.kind = row->kind;
    out.text = std::string(row->name) + '(';
    for (std::size_t i = 0; i < expression.arguments.size(); ++i) {
        const rules::Expression& argument = expression.arguments[i];
        const bool list = (row->kind == Kind::join && i == 1) ||
                          (row->kind == Kind::getopt && i == 0) || row->kind == Kind::length;
        Term term = list ? TRY(build_list_argument(argument)) : TRY(build_argument(argument));
        if (row->kind == Kind::length && argument.kind == rules::Expression::Kind::field &&
            argument.name == "proc.args")
            term = TRY(build_argument(argument)); // its text has a length of its own
        out.path_view |= term.path_view;
        out.flags |= term.flags;
        out.text += (i == 0 ? "" : ",") + term.text;
        out.arguments.push_back(std::move(term));
    }
    out.text += ')';
    if (expression.has_argument) {
        out.has_option = true;
        out.option = expression.argument;
        out.text += '[' + expression.argument + ']';
    }
    const Term& first = out.arguments.front();
    const auto wrong = [&](std::string_view wants) {
        return fail(Code::invalid, "transformer {} needs {}, not {} ({})", row->name, wants,
                    first.text, type_name(first.type));
    };
    switch (out.kind) {
    case Kind::tolower:
    case Kind::toupper:
    case Kind::basename:
        if (!is_text(first.type) || first.many != Many::one) return wrong("a string");
        out.type = out.kind == Kind::basename ? Type::text : first.type;
        break;
    case Kind::base64:
        if ((!is_text(first.type) && first.type != Type::bytes) || first.many != Many::one)
            return wrong("a string or bytes");
        break;
    case Kind::length:
        if (!is_text(first.type) && first.type != Type::bytes && first.many != Many::list)
            return wrong("a string, bytes or a list");
        out.type = Type::uint64;
        break;
    case Kind::join:
        if (!is_text(first.type) || first.many != Many::one) return wrong("a string first");
        if (out.arguments[1].many != Many::list)
            return fail(Code::invalid, "transformer join needs a list, not {}",
                        out.arguments[1].text);
        break;
    case Kind::concat:
        for (const Term& part : out.arguments)
            if (!is_text(part.type) || part.many != Many::one)
                return fail(Code::invalid, "transformer concat needs strings, not {}", part.text);
        break;
    case Kind::getopt:
        if (first.many != Many::list) return wrong("a list");
        if (out.arguments[1].kind != Kind::literal)
            return fail(Code::invalid, "transformer getopt needs its options as a text");
        out.literal = out.arguments[1].literal;
        if (!out.has_option) out.many = Many::list;
        break;
    default: break;
    }
    return out;
}

char fold(char c, Kind kind) {
    if (kind == Kind::tolower && c >= 'A' && c <= 'Z') return static_cast<char>(c + 32);
    if (kind == Kind::toupper && c >= 'a' && c <= 'z') return static_cast<char>(c - 32);
    return c;
}

// Text of any single value.
bool text_of(const Term& term, Scene& scene, std::string_view& out) {
    Cursor cursor;
    Value value;
    if (!evaluate_term(term, scene, cursor, value)) return false;
    out = value.text;
    return true;
}

// Options of a command line. `cursor.index`: next argument; `cursor.at`: next letter in it.
struct Option {
    char letter = 0;
    std::string_view value;
};
template <typename Visit>
void options(const Term& term, Scene& scene, Visit&& visit) {
    const std::string& known = term.literal;
    Cursor cursor;
    Value argument;
    while (evaluate_term(term.arguments[0], scene, cursor, argument)) {
        std::string_view text = argument.text;
        if (text == "--") return;
        if (text.size() < 2 || text[0] != '-') continue;
        if (text[1] == '-') continue; // long ones are not for getopt
        for (std::size_t i = 1; i < text.size(); ++i) {
            const std::size_t at = known.find(text[i]);
            if (at == std::string::npos || text[i] == ':') continue;
            Option option{.letter = text[i], .value = {}};
            const bool takes = at + 1 < known.size() && known[at + 1] == ':';
            const bool maybe = takes && at + 2 < known.size() && known[at + 2] == ':';
            if (takes) {
                if (i + 1 < text.size()) {
                    option.value = text.substr(i + 1);
                } else if (!maybe && evaluate_term(term.arguments[0], scene, cursor, argument)) {
                    option.value = argument.text;
                }
            }
            if (!visit(option)) return;
            if (takes) break;
        }
    }
}

bool evaluate_getopt(const Term& term, Scene& scene, Cursor& cursor, Value& out) {
    bool found = false;
    std::size_t index = 0;
    const std::size_t wanted = cursor.index;
    options(term, scene, [&](const Option& option) {
        if (term.has_option) {
            if (term.option.size() != 1 || term.option[0] != option.letter) return true;
            out.text = option.value;
            found = true;
            return false;
        }
        if (index++ != wanted) return true;
        const std::size_t at = term.literal.find(option.letter);
        out.text = std::string_view(term.literal).substr(at, 1);
        found = true;
        return false;
    });
    if (found) ++cursor.index;
    return found;
}

} // namespace

bool Term::applies(std::uint16_t kind_number) const {
    if (kind == Kind::literal) return true;
    if (kind == Kind::field)
        return field.row->applies == nullptr || field.row->applies(kind_number, field.argument);
    return many == Many::list || std::all_of(arguments.begin(), arguments.end(),
                                             [&](const Term& t) { return t.applies(kind_number); });
}

Result<Term> build_term(const rules::Expression& expression) {
    Term out;
    switch (expression.kind) {
    case rules::Expression::Kind::field:
        out.field = TRY(find_field(expression.name, expression.has_argument, expression.argument));
        out.type = out.field.type;
        out.many = out.field.many;
        out.flags = out.field.flags;
        out.path_view = (out.flags & kPathView) != 0;
        out.text = out.field.text;
        return out;
    case rules::Expression::Kind::literal:
        out.kind = Kind::literal;
        out.literal = expression.name;
        out.text = '"' + expression.name + '"';
        return out;
    case rules::Expression::Kind::transformer:
        if (expression.name == "val" && expression.arguments.size() == 1)
            return build_term(expression.arguments.front());
        return build_transformer(expression);
    case rules::Expression::Kind::list:
        return fail(Code::invalid, "a list stands where a single value is needed");
    }
    return fail(Code::internal, "unknown expression");
}

bool evaluate_term(const Term& term, Scene& scene, Cursor& cursor, Value& out) {
    std::string_view text;
    switch (term.kind) {
    case Kind::field: return term.field.row->extract(scene, term.field, cursor, out);
    case Kind::literal: out.text = term.literal; return true;
    case Kind::tolower:
    case Kind::toupper: {
        if (!text_of(term.arguments[0], scene, text)) return false;
        Writer writer(scene.arena);
        for (const char c : text)
            writer.add(fold(c, term.kind));
        out.text = writer.finish();
        return true;
    }
    case Kind::base64: {
        if (!text_of(term.arguments[0], scene, text)) return false;
        Writer writer(scene.arena);
        if (!decode_base64(text, writer)) return false;
        out.text = writer.finish();
        return true;
    }
    case Kind::basename: {
        if (!text_of(term.arguments[0], scene, text)) return false;
        const std::size_t slash = text.rfind('/');
        out.text = slash == std::string_view::npos ? text : text.substr(slash + 1);
        return true;
    }
    case Kind::length: {
        const Term& of = term.arguments[0];
        if (of.many != Many::list) {
            if (!text_of(of, scene, text)) return false;
            out.number = text.size();
            return true;
        }
        out.number = 0;
        Cursor elements;
        Value element;
        while (evaluate_term(of, scene, elements, element))
            ++out.number;
        return out.number != 0 || of.kind != Kind::field || of.field.row->applies == nullptr;
    }
    case Kind::join: {
        if (!text_of(term.arguments[0], scene, text)) return false;
        // Elements may need the arena themselves: what they leave there stays behind the joined text.
        std::array<std::string_view, 256> parts;
        std::size_t count = 0;
        Cursor elements;
        Value element;
        while (count < parts.size() && evaluate_term(term.arguments[1], scene, elements, element))
            parts[count++] = element.text;
        Writer writer(scene.arena);
        for (std::size_t i = 0; i < count; ++i) {
            if (i != 0) writer.add(text);
            writer.add(parts[i]);
        }
        out.text = writer.finish();
        return true;
    }
    case Kind::concat: {
        if (term.many == Many::list) {
            while (cursor.index < term.arguments.size()) {
                Cursor one;
                if (evaluate_term(term.arguments[cursor.index++], scene, one, out)) return true;
            }
            return false;
        }
        std::array<std::string_view, 64> parts;
        const std::size_t count = std::min(parts.size(), term.arguments.size());
        for (std::size_t i = 0; i < count; ++i)
            if (!text_of(term.arguments[i], scene, parts[i])) return false;
        Writer writer(scene.arena);
        for (std::size_t i = 0; i < count; ++i)
            writer.add(parts[i]);
        out.text = writer.finish();
        return true;
    }
    case Kind::getopt: return evaluate_getopt(term, scene, cursor, out);
    }
    return false;
}

} // namespace beeline::security::engine
