// One comparison of a condition, compiled: field or transformer, operator, values.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/address.h"
#include "security/engine/fields.h"
#include "security/engine/match.h"
#include "security/rules/ast.h"

namespace re2 {
class RE2;
}

namespace beeline::security::engine {

// A field, or transformers over fields.
struct Term {
    enum class Kind : std::uint8_t {
        field,
        literal,
        tolower,
        toupper,
        base64,
        basename,
        length,
        join,
        concat,
        getopt
    };
    Kind kind = Kind::field;
    Field field;
    std::string literal; // also the separator of join, the options of getopt
    std::vector<Term> arguments;
    bool has_option = false;
    std::string option; // getopt(...)[x]
    Type type = Type::text;
    Many many = Many::one;
    bool path_view = false; // holds a field that depends on Scene::reached
    unsigned flags = 0;     // of its fields
    std::string text;       // normal form

    // Whether events of this kind can have it.
    [[nodiscard]] bool applies(std::uint16_t kind) const;
};

// `output`: single values only.
Result<Term> build_term(const rules::Expression& expression);
// "%name[arg]" or "%tolower(name)" of outputs.
Result<Term> parse_term(std::string_view text);
bool evaluate_term(const Term& term, Scene& scene, Cursor& cursor, Value& out);

struct Check;
using Test = bool (*)(const Check&, const Value&);

struct Check {
    Term left;
    rules::Operator op = rules::Operator::exists;
    rules::Modifier modifier = rules::Modifier::none;
    std::vector<std::string>
        texts; // values as written; several under a scalar operator: any of them
    std::unique_ptr<Term> right;
    std::vector<Check> parts; // with a modifier: one for each value

    // Prepared values.
    TextSet set;
    EdgeSet edges;
    ContainsSet parts_of;
    PathSet paths;
    std::vector<std::int64_t> numbers;
    std::vector<net::Ip> ips;
    std::vector<net::Prefix> nets;
    std::vector<std::shared_ptr<re2::RE2>> regexes;
    Test test = nullptr;
    float cost = 1;

    std::string key; // equal checks have equal keys
};

// What is wrong with a check, or the check. evt.type names are verified too.
Result<Check> build_check(const rules::Node& node);
// The same with its values given anew (merged checks).
Result<Check> build_check(Term left, rules::Operator op, std::vector<std::string> values);

// `value`: null if the term has none. Only for terms of one value.
bool check_value(const Check& check, const Value* value);
// Terms of many values and checks against another field.
bool check_many(const Check& check, Scene& scene);
// Compared through HostFacts::resolved.
bool check_host_name(const Check& check, Scene& scene);

bool is_set_operator(rules::Operator op);
std::string_view operator_name(rules::Operator op);

} // namespace beeline::security::engine
