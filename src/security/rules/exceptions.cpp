#include "security/rules/exceptions.h"

#include <optional>

#include <fmt/format.h>

#include "security/rules/list_expansion.h"
#include "security/rules/words.h"

namespace beeline::security::rules {
namespace {

constexpr std::string_view kInvalid = "LOAD_ERR_VALIDATE";

struct Comparison {
    Operator op = Operator::equal;
    Modifier modifier = Modifier::none;
    [[nodiscard]] bool list() const { return takes_set(op) || modifier != Modifier::none; }
};

// "=", "in", "startswith anyof".
std::optional<Comparison> parse_comparison(std::string_view text) {
    const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && is_space(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && is_space(text.back()))
        text.remove_suffix(1);
    const std::size_t blank = text.find_first_of(" \t");
    const auto op = parse_operator(text.substr(0, blank));
    if (!op) return std::nullopt;
    if (blank == std::string_view::npos) return Comparison{*op, Modifier::none};
    const auto modifier =
        parse_modifier(text.substr(std::min(text.find_first_not_of(" \t", blank), text.size())));
    if (!modifier || !takes_modifier(*op)) return std::nullopt;
    return Comparison{*op, *modifier};
}

Comparison comparison_of(const Exception& exception, std::size_t i) {
    if (i < exception.comps.size()) {
        if (const auto parsed = parse_comparison(exception.comps[i]->text)) return *parsed;
    }
    return {exception.single ? Operator::in : Operator::equal, Modifier::none};
}

Spot at(const Scalar& scalar) { return {"", "", scalar.file, scalar.position}; }

bool check_field(const Scalar& field, std::string_view source, const Trail& trail,
                 const Catalog& catalog, Report& report) {
    const Parsed parsed = parse_condition(field.text + " exists");
    std::string problem;
    if (!parsed.node) {
        problem = parsed.error.message;
    } else if (parsed.node->kind != Node::Kind::check || parsed.node->op != Operator::exists) {
        problem = "expected a field";
    } else if (!catalog.has_source(source)) {
        return true;
    } else {
        problem = catalog.check(*parsed.node, source);
    }
    if (problem.empty()) return true;
    report.error(kInvalid, trail + at(field),
                 fmt::format("the field '{}' of an exception: {}", shown(field.text), problem));
    return false;
}

// Values of one tuple, or one value of a flat list.
bool check_tuple(const Exception& exception, const Exception::Tuple& tuple, const Trail& trail,
                 Report& report) {
    const auto fail = [&](std::string message) {
        const Scalar* place = tuple.place;
        if (place == nullptr && !tuple.elements.empty()) place = tuple.elements[0].scalars[0];
        report.error(kInvalid, place != nullptr ? trail + at(*place) : trail, std::move(message));
        return false;
    };
    if (exception.single) {
        if (tuple.list) return fail("the values of a single field are no lists");
        return true;
    }
    if (!tuple.list) return fail("expected a list of one value for each field");
    if (tuple.elements.size() != exception.fields.size())
        return fail(
            fmt::format("{} values for {} fields", tuple.elements.size(), exception.fields.size()));
    for (std::size_t i = 0; i < tuple.elements.size(); ++i) {
        const Comparison comparison = comparison_of(exception, i);
        if (tuple.elements[i].list && !comparison.list())
            return fail(fmt::format("'{}' compares with one value, found a list",
                                    operator_name(comparison.op)));
    }
    return true;
}

bool check_tuples(const Exception& exception, const Exception& with_values, const Trail& trail,
                  Report& report) {
    for (const Exception::Tuple& tuple : with_values.values) {
        if (!check_tuple(exception, tuple, trail, report)) return false;
    }
    return true;
}

// Adds "field op value". Each part keeps the place where it was written.
void append_check(MappedText& out, const Scalar& field, const Comparison& comparison,
                  const Exception::Element& element, const Scalar& fallback) {
    out.append(field);
    std::string op = fmt::format(" {} ", operator_name(comparison.op));
    if (comparison.modifier != Modifier::none)
        op += fmt::format("{} ", modifier_name(comparison.modifier));
    out.append(op, {&field, field.text.size()});
    if (comparison.op == Operator::exists) return;
    const auto add_values = [&] {
        bool first = true;
        for (const Scalar* const scalar : element.scalars) {
            out.append((first ? "" : ", ") + condition_value(scalar->text), {scalar, 0});
            first = false;
        }
    };
    if (!comparison.list()) return add_values();
    // "(a, b)" written as one text stands for a list already.
    if (!element.list && element.scalars.front()->text.starts_with('('))
        return out.append(*element.scalars.front());
    const Place place{element.scalars.empty() ? &fallback : element.scalars.front(), 0};
    out.append("(", place);
    add_values();
    out.append(")", place);
}

void append_exception(MappedText& out, const Exception& exception) {
    const Place place{exception.name, 0};
    out.append(" and not (", place);
    if (exception.single) {
        Exception::Element all{true, {}};
        for (const Exception::Tuple& tuple : exception.values)
            all.scalars.push_back(tuple.elements.front().scalars.front());
        append_check(out, *exception.fields.front(), comparison_of(exception, 0), all,
                     *exception.name);
        return out.append(")", place);
    }
    for (const Exception::Tuple& tuple : exception.values) {
        out.append(&tuple == &exception.values.front() ? "(" : " or (", place);
        for (std::size_t i = 0; i < tuple.elements.size(); ++i) {
            if (i > 0) out.append(" and ", place);
            append_check(out, *exception.fields[i], comparison_of(exception, i), tuple.elements[i],
                         *exception.name);
        }
        out.append(")", place);
    }
    out.append(")", place);
}

} // namespace

bool check_exception(const Exception& exception, std::string_view source, const Trail& rule,
                     const Catalog& catalog, Report& report) {
    const Trail trail = rule + exception.spot;
    if (!exception.has_fields || exception.fields.empty()) {
        report.error(kInvalid, trail, "an exception needs 'fields'");
        return false;
    }
    if (exception.has_comps && exception.single != exception.single_comp) {
        report.error(kInvalid, trail, "'fields' and 'comps' must both be lists or both be words");
        return false;
    }
    if (exception.has_comps && exception.comps.size() != exception.fields.size()) {
        report.error(
            kInvalid, trail,
            fmt::format("{} fields but {} comps", exception.fields.size(), exception.comps.size()));
        return false;
    }
    for (const Scalar* const comp : exception.comps) {
        const auto parsed = parse_comparison(comp->text);
        if (!parsed) {
            report.error(kInvalid, trail + at(*comp),
                         fmt::format("'{}' is no operator", shown(comp->text)));
            return false;
        }
        if (exception.single && !parsed->list()) {
            report.error(kInvalid, trail + at(*comp),
                         fmt::format("'{}' cannot compare a single field with a list of values: "
                                     "expected in, pmatch, intersects, or an operator with oneof, "
                                     "anyof or allof",
                                     shown(comp->text)));
            return false;
        }
    }
    for (const Scalar* const field : exception.fields) {
        if (!check_field(*field, source, trail, catalog, report)) return false;
    }
    return check_tuples(exception, exception, trail, report);
}

bool check_values(const Exception& exception, const Exception& with_values, const Trail& rule,
                  Report& report) {
    return check_tuples(exception, with_values, rule + with_values.spot, report);
}

MappedText with_exceptions(const MappedText& condition, const std::vector<Exception>& exceptions) {
    MappedText out;
    for (const Exception& exception : exceptions) {
        if (exception.values.empty()) continue;
        if (out.empty()) {
            out.append("(", condition.place(0));
            out.append(condition);
            out.append(")", condition.place(condition.text().size()));
        }
        append_exception(out, exception);
    }
    return out.empty() ? condition : out;
}

} // namespace beeline::security::rules
