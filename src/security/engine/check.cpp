#include "security/engine/check.h"

#include <algorithm>
#include <charconv>

#include <re2/re2.h>

#include "security/engine/names.h"

namespace beeline::security::engine {
namespace {

using rules::Modifier;
using rules::Operator;

bool is_text(Type type) { return type == Type::text || type == Type::path; }
bool is_number(Type type) {
    return type == Type::int64 || type == Type::uint64 || type == Type::port ||
           type == Type::duration || type == Type::time;
}
bool is_ordered(Operator op) {
    return op == Operator::less || op == Operator::less_equal || op == Operator::greater ||
           op == Operator::greater_equal;
}

bool allowed(Type type, Many many, Operator op) {
    if (many == Many::list) return op == Operator::exists || is_set_operator(op);
    switch (op) {
    case Operator::exists:
    case Operator::equal:
    case Operator::not_equal:
    case Operator::in:
    case Operator::intersects: return true;
    case Operator::less:
    case Operator::less_equal:
    case Operator::greater:
    case Operator::greater_equal: return is_number(type) || is_text(type);
    case Operator::contains:
    case Operator::startswith:
    case Operator::endswith: return is_text(type) || type == Type::bytes;
    case Operator::bcontains:
    case Operator::bstartswith: return type == Type::bytes;
    case Operator::icontains:
    case Operator::glob:
    case Operator::iglob:
    case Operator::regex:
    case Operator::pmatch: return is_text(type);
    }
    return false;
}

// Tests of one value against all listed ones: any of them.
bool test_exists(const Check&, const Value&) { return true; }
bool test_set(const Check& c, const Value& v) { return c.set.has(v.text); }
bool test_equal(const Check& c, const Value& v) { return v.text == c.texts[0]; }
bool test_char(const Check& c, const Value& v) {
    return v.text.size() == 1 && v.text[0] == c.texts[0][0];
}
bool test_not_equal(const Check& c, const Value& v) { return !c.set.has(v.text); }
bool test_starts(const Check& c, const Value& v) { return v.text.starts_with(c.texts[0]); }
bool test_ends(const Check& c, const Value& v) { return v.text.ends_with(c.texts[0]); }
bool test_edges(const Check& c, const Value& v) { return c.edges.matches(v.text); }
bool test_contains(const Check& c, const Value& v) { return c.parts_of.matches(v.text); }
bool test_contains_fold(const Check& c, const Value& v) {
    return std::any_of(c.texts.begin(), c.texts.end(),
                       [&](const std::string& part) { return contains_fold(v.text, part); });
}
bool test_glob(const Check& c, const Value& v) {
    return std::any_of(c.texts.begin(), c.texts.end(), [&](const std::string& pattern) {
        return glob_match(pattern, v.text, false);
    });
}
bool test_glob_fold(const Check& c, const Value& v) {
    return std::any_of(c.texts.begin(), c.texts.end(), [&](const std::string& pattern) {
        return glob_match(pattern, v.text, true);
    });
}
bool test_paths(const Check& c, const Value& v) { return c.paths.matches(v.text); }
bool test_regex(const Check& c, const Value& v) {
    thread_local Arena arena;
    arena.clear();
    const std::string_view text = valid_utf8(v.text, arena);
    return std::any_of(c.regexes.begin(), c.regexes.end(), [&](const auto& regex) {
        return re2::RE2::FullMatch(re2::StringPiece(text.data(), text.size()), *regex);
    });
}
bool test_text_order(const Check& c, const Value& v) {
    const int order = v.text.compare(c.texts[0]);
    switch (c.op) {
    case Operator::less: return order < 0;
    case Operator::less_equal: return order <= 0;
    case Operator::greater: return order > 0;
    default: return order >= 0;
    }
}
bool has_number(const Check& c, const Value& v) {
    return std::find(c.numbers.begin(), c.numbers.end(), static_cast<std::int64_t>(v.number)) !=
           c.numbers.end();
}
bool test_number(const Check& c, const Value& v) { return has_number(c, v); }
bool test_not_number(const Check& c, const Value& v) { return !has_number(c, v); }
bool test_order(const Check& c, const Value& v) {
    // Unsigned fields hold nothing that does not fit but inodes; those keep their order as unsigned.
    const auto number = static_cast<std::int64_t>(v.number);
    const std::int64_t than = c.numbers[0];
    const bool less = c.left.type == Type::uint64
                          ? v.number < static_cast<std::uint64_t>(than) && than >= 0
                          : number < than;
    switch (c.op) {
    case Operator::less: return less;
    case Operator::less_equal: return less || number == than;
    case Operator::greater: return !less && number != than;
    default: return !less;
    }
}
bool has_ip(const Check& c, const Value& v) {
    return std::any_of(c.ips.begin(), c.ips.end(), [&](const net::Ip& ip) {
        return std::memcmp(ip.bytes.data(), v.ip, 16) == 0;
    });
}
bool test_ip(const Check& c, const Value& v) { return has_ip(c, v); }
bool test_not_ip(const Check& c, const Value& v) { return !has_ip(c, v); }
bool has_net(const Check& c, const Value& v) {
    net::Ip ip;
    std::memcpy(ip.bytes.data(), v.ip, 16);
    return std::any_of(c.nets.begin(), c.nets.end(),
                       [&](const net::Prefix& prefix) { return prefix.contains(ip); });
}
bool test_net(const Check& c, const Value& v) { return has_net(c, v); }
bool test_not_net(const Check& c, const Value& v) { return !has_net(c, v); }

Result<std::int64_t> parse_number(const Term& term, std::string_view text) {
    std::string_view digits = text;
    const bool negative = digits.starts_with('-');
    if (negative || digits.starts_with('+')) digits.remove_prefix(1);
    int base = 10;
    if (digits.starts_with("0x") || digits.starts_with("0X")) {
        base = 16;
        digits.remove_prefix(2);
    }
    std::uint64_t number = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
    const bool whole = error == std::errc() && end == digits.data() + digits.size();
    if (!whole && base == 10 && error == std::errc()) {
        // 1e9 and 5.0 are numbers too.
        double real = 0;
        const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), real);
        if (parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size() &&
            real < 9.2e18) {
            number = static_cast<std::uint64_t>(real);
        } else {
            return fail(Code::invalid, "{} is not a number, as {} needs", text, term.text);
        }
    } else if (!whole) {
        return fail(Code::invalid, "{} is not a number, as {} needs", text, term.text);
    }
    if (number > 0x7fffffffffffffffU)
        return fail(Code::invalid, "{} is too large for {}", text, term.text);
    if (term.type == Type::port && number > 0xffff)
        return fail(Code::invalid, "{} is not a port, as {} needs", text, term.text);
    if (negative && number != 0 && term.type != Type::int64)
        return fail(Code::invalid, "{} cannot be negative", term.text);
    return negative ? -static_cast<std::int64_t>(number) : static_cast<std::int64_t>(number);
}

Result<std::string> parse_hex(std::string_view text) {
    std::string out;
    if (text.size() % 2 != 0) return fail(Code::invalid, "{} is not whole bytes in hex", text);
    for (std::size_t i = 0; i < text.size(); i += 2) {
        unsigned byte = 0;
        const auto [end, error] = std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
        if (error != std::errc() || end != text.data() + i + 2)
            return fail(Code::invalid, "{} is not bytes in hex", text);
        out.push_back(static_cast<char>(byte));
    }
    return out;
}

Result<> prepare_numbers(Check& check) {
    for (const std::string& text : check.texts) {
        if (check.left.type == Type::boolean) {
            if (text != "true" && text != "false")
                return fail(Code::invalid, "{} is true or false, not {}", check.left.text, text);
            check.numbers.push_back(text == "true" ? 1 : 0);
            continue;
        }
        if (check.left.type == Type::port && !text.empty() && (text[0] < '0' || text[0] > '9')) {
            const auto port = service_port(text);
            if (!port) return fail(Code::invalid, "{} is neither a port nor a service", text);
            check.numbers.push_back(*port);
            continue;
        }
        check.numbers.push_back(TRY(parse_number(check.left, text)));
    }
    std::sort(check.numbers.begin(), check.numbers.end());
    if (is_ordered(check.op)) {
        check.test = test_order;
    } else {
        check.test = check.op == Operator::not_equal ? test_not_number : test_number;
    }
    return {};
}

Result<> prepare_addresses(Check& check) {
    const bool differs = check.op == Operator::not_equal;
    for (const std::string& text : check.texts) {
        if (check.left.type == Type::net) {
            if (text.find('/') == std::string::npos)
                return fail(Code::invalid, "{} is not a network (address/length)", text);
            check.nets.push_back(TRY(net::Prefix::parse(text)));
        } else {
            check.ips.push_back(TRY(net::Ip::parse(text)));
        }
    }
    if (check.left.type == Type::net) {
        check.test = differs ? test_not_net : test_net;
    } else {
        check.test = differs ? test_not_ip : test_ip;
    }
    return {};
}

Result<> prepare_regexes(Check& check) {
    for (const std::string& text : check.texts) {
        re2::RE2::Options options(re2::RE2::POSIX);
        options.set_log_errors(false);
        options.set_max_mem(4 << 20);
        options.set_longest_match(false);
        auto regex = std::make_shared<re2::RE2>(text, options);
        if (!regex->ok())
            return fail(Code::invalid, "bad regular expression {}: {}", text, regex->error());
        check.regexes.push_back(std::move(regex));
    }
    check.test = test_regex;
    return {};
}

Result<> prepare_texts(Check& check) {
    const bool many = check.texts.size() > 1;
    switch (check.op) {
    case Operator::equal:
    case Operator::in:
    case Operator::intersects:
        for (const std::string& text : check.texts)
            check.set.add(text);
        check.set.prepare();
        check.test = check.texts.size() != 1      ? test_set
                     : check.texts[0].size() == 1 ? test_char
                                                  : test_equal;
        return {};
    case Operator::not_equal:
        for (const std::string& text : check.texts)
            check.set.add(text);
        check.set.prepare();
        check.test = test_not_equal;
        return {};
    case Operator::bcontains:
    case Operator::bstartswith:
        for (std::string& text : check.texts)
            text = TRY(parse_hex(text));
        break;
    case Operator::icontains:
        for (std::string& text : check.texts)
            std::transform(text.begin(), text.end(), text.begin(), [](char c) {
                return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
            });
        check.test = test_contains_fold;
        return {};
    case Operator::glob: check.test = test_glob; return {};
    case Operator::iglob: check.test = test_glob_fold; return {};
    case Operator::regex: return prepare_regexes(check);
    case Operator::pmatch:
        for (const std::string& text : check.texts)
            check.paths.add(text);
        check.paths.prepare();
        check.test = test_paths;
        return {};
    case Operator::less:
    case Operator::less_equal:
    case Operator::greater:
    case Operator::greater_equal: check.test = test_text_order; return {};
    default: break;
    }
    if (check.op == Operator::contains || check.op == Operator::bcontains) {
        for (const std::string& text : check.texts)
            check.parts_of.add(text);
        check.parts_of.prepare();
        check.test = test_contains;
    } else if (check.op == Operator::endswith) {
        check.edges = EdgeSet(true);
        for (const std::string& text : check.texts)
            check.edges.add(text);
        check.edges.prepare();
        check.test = many ? test_edges : test_ends;
    } else {
        for (const std::string& text : check.texts)
            check.edges.add(text);
        check.edges.prepare();
        check.test = many ? test_edges : test_starts;
    }
    return {};
}

float cost_of(const Check& check) {
    float cost = 1;
    const auto count = static_cast<float>(std::max<std::size_t>(check.texts.size(), 1));
    switch (check.op) {
    case Operator::exists: cost = 0.5F; break;
    case Operator::equal:
    case Operator::not_equal: cost = 1; break;
    case Operator::in:
    case Operator::intersects: cost = 1.5F; break;
    case Operator::startswith:
    case Operator::endswith:
    case Operator::bstartswith: cost = check.texts.size() > 1 ? 3 : 1; break;
    case Operator::contains:
    case Operator::bcontains: cost = 4 + std::min(count, 4.0F); break;
    case Operator::icontains: cost = 8 * count; break;
    case Operator::glob:
    case Operator::iglob: cost = 8 * count; break;
    case Operator::pmatch: cost = 8; break;
    case Operator::regex: cost = 60 * count; break;
    default: break;
    }
    if (check.left.kind != Term::Kind::field) cost += 20;
    const std::string& name = check.left.text;
    if (check.left.many == Many::any) cost += 12;
    if (name.starts_with("fd.")) cost += 1;
    if (name == "fd.directory" || name == "fd.filename" || name == "fd.name") cost += 1.5F;
    if (name.starts_with("evt.arg")) cost += 8;
    if (name.starts_with("proc.env") || name.starts_with("proc.aenv")) cost += 100;
    if (name.starts_with("thread.cap")) cost += 30;
    if (name.starts_with("container.mount")) cost += 10;
    if (name.starts_with("user.name")) cost += 3;
    if (name.starts_with("proc.p") || name.starts_with("proc.a")) cost += 0.5F;
    if (name.starts_with("proc.sname") || name.starts_with("proc.sid.")) cost += 10;
    return cost;
}

Result<> prepare(Check& check) {
    const Type type = check.left.type;
    if (check.op == Operator::exists) {
        check.test = test_exists;
    } else if (check.right) {
        check.test = nullptr;
    } else if ((check.left.flags & kHostNames) != 0 && check.left.kind == Term::Kind::field) {
        check.test = test_exists;
    } else if (is_text(type) || type == Type::bytes) {
        TRY(prepare_texts(check));
    } else if (type == Type::ip || type == Type::net) {
        TRY(prepare_addresses(check));
    } else {
        TRY(prepare_numbers(check));
    }
    check.cost = cost_of(check);
    return {};
}

Result<> verify_operator(const Check& check) {
    if (!allowed(check.left.type, check.left.many, check.op))
        return fail(Code::invalid, "operator {} is not for {}, which is {}{}",
                    operator_name(check.op), check.left.text,
                    check.left.many == Many::list ? "a list of " : "", type_name(check.left.type));
    if ((check.left.flags & kHostNames) != 0 && check.left.kind == Term::Kind::field) {
        switch (check.op) {
        case Operator::exists:
        case Operator::equal:
        case Operator::not_equal:
        case Operator::in:
        case Operator::intersects: break;
        default:
            return fail(Code::invalid, "operator {} is not for {}: it is compared by address",
                        operator_name(check.op), check.left.text);
        }
    }
    return {};
}

Result<> verify_event_types(const Check& check) {
    if (check.left.kind != Term::Kind::field || check.left.field.row->name != "evt.type") return {};
    if (check.op != Operator::equal && check.op != Operator::not_equal &&
        check.op != Operator::in && check.op != Operator::intersects)
        return {};
    for (const std::string& name : check.texts)
        if (!is_event_name(name)) return fail(Code::not_found, "unknown event type {}", name);
    return {};
}

Result<> verify_right(const Check& check) {
    const Term& right = *check.right;
    if (right.kind == Term::Kind::field && (right.flags & kNoRight) != 0)
        return fail(Code::invalid, "field {} cannot stand on the right side", right.text);
    if (check.op == Operator::pmatch || check.op == Operator::regex)
        return fail(Code::invalid, "operator {} needs values, not a field",
                    operator_name(check.op));
    if (check.left.type == Type::net || right.type == Type::net)
        return fail(Code::invalid, "networks cannot be compared with a field");
    const bool texts = is_text(check.left.type) && is_text(right.type);
    if (!texts && check.left.type != right.type)
        return fail(Code::invalid, "{} ({}) cannot be compared with {} ({})", check.left.text,
                    type_name(check.left.type), right.text, type_name(right.type));
    if ((check.left.many == Many::list) != (right.many == Many::list) && !is_set_operator(check.op))
        return fail(Code::invalid, "{} and {} are not both lists", check.left.text, right.text);
    return {};
}

// One value of the left against one of the right field.
bool compare(const Check& check, const Value& a, const Value& b) {
    if (check.left.type == Type::ip) {
        const bool same = std::memcmp(a.ip, b.ip, 16) == 0;
        return check.op == Operator::not_equal ? !same : same;
    }
    if (!is_text(check.left.type) && check.left.type != Type::bytes) {
        const auto x = static_cast<std::int64_t>(a.number), y = static_cast<std::int64_t>(b.number);
        switch (check.op) {
        case Operator::not_equal: return x != y;
        case Operator::less: return x < y;
        case Operator::less_equal: return x <= y;
        case Operator::greater: return x > y;
        case Operator::greater_equal: return x >= y;
        default: return x == y;
        }
    }
    switch (check.op) {
    case Operator::not_equal: return a.text != b.text;
    case Operator::less: return a.text < b.text;
    case Operator::less_equal: return a.text <= b.text;
    case Operator::greater: return a.text > b.text;
    case Operator::greater_equal: return a.text >= b.text;
    case Operator::contains:
    case Operator::bcontains: return contains(a.text, b.text);
    case Operator::startswith:
    case Operator::bstartswith: return a.text.starts_with(b.text);
    case Operator::endswith: return a.text.ends_with(b.text);
    case Operator::glob: return glob_match(b.text, a.text, false);
    case Operator::iglob: return glob_match(b.text, a.text, true);
    case Operator::icontains: {
        thread_local Arena arena;
        arena.clear();
        Writer lower(arena);
        for (const char c : b.text)
            lower.add(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
        return contains_fold(a.text, lower.finish());
    }
    default: return a.text == b.text;
    }
}

bool against_right(const Check& check, Scene& scene, const Value& left) {
    Cursor cursor;
    Value value;
    while (evaluate_term(*check.right, scene, cursor, value)) {
        if (compare(check, left, value)) return true;
        if (check.right->many == Many::one) return false;
    }
    return false;
}

} // namespace

bool is_set_operator(Operator op) { return op == Operator::in || op == Operator::intersects; }

std::string_view operator_name(Operator op) {
    static constexpr std::string_view kNames[] = {
        "exists",   "=",         "!=",        "<",          "<=",          ">",        ">=",
        "contains", "icontains", "bcontains", "startswith", "bstartswith", "endswith", "glob",
        "iglob",    "regex",     "in",        "intersects", "pmatch"};
    const auto index = static_cast<std::size_t>(op);
    return index < std::size(kNames) ? kNames[index] : "?";
}

Result<Check> build_check(Term left, Operator op, std::vector<std::string> values) {
    Check check;
    check.left = std::move(left);
    check.op = op;
    check.texts = std::move(values);
    check.key = fmt::format("{} {}", check.left.text, operator_name(op));
    for (const std::string& text : check.texts)
        check.key += fmt::format("\x1f{}", text);
    TRY(prepare(check));
    return check;
}

Result<Check> build_check(const rules::Node& node) {
    Term left = TRY(build_term(node.left));
    std::vector<std::string> values;
    values.reserve(node.values.size());
    for (const rules::Value& value : node.values)
        values.push_back(value.text);

    Check draft;
    draft.left = left;
    draft.op = node.op;
    draft.texts = values;
    TRY(verify_operator(draft));
    TRY(verify_event_types(draft));
    if (node.modifier != Modifier::none) {
        if (node.right) return fail(Code::invalid, "a field cannot follow oneof, anyof or allof");
        if (left.many == Many::list)
            return fail(Code::invalid, "oneof, anyof and allof are not for lists");
        draft.modifier = node.modifier;
        draft.key = fmt::format("{} {} {}", left.text, operator_name(node.op),
                                static_cast<int>(node.modifier));
        draft.cost = 0;
        for (const std::string& value : values) {
            draft.parts.push_back(TRY(build_check(left, node.op, {value})));
            draft.key += fmt::format("\x1f{}", value);
            draft.cost += draft.parts.back().cost;
        }
        return draft;
    }
    if (node.right) {
        draft.right = std::make_unique<Term>(TRY(build_term(*node.right)));
        TRY(verify_right(draft));
        draft.key =
            fmt::format("{} {} val({})", left.text, operator_name(node.op), draft.right->text);
        TRY(prepare(draft));
        draft.cost += 5;
        return draft;
    }
    if (values.empty() && node.op != Operator::exists && !is_set_operator(node.op) &&
        node.op != Operator::pmatch)
        return fail(Code::invalid, "operator {} needs a value", operator_name(node.op));
    return build_check(std::move(left), node.op, std::move(values));
}

bool check_value(const Check& check, const Value* value) {
    return value != nullptr && check.test(check, *value);
}

bool check_host_name(const Check& check, Scene& scene) {
    Cursor cursor;
    Value value;
    if (!evaluate_term(check.left, scene, cursor, value)) return false;
    if (check.op == Operator::exists) return !value.text.empty();
    Writer out(scene.arena);
    out.add_ip(value.ip);
    const std::string_view address = out.finish();
    bool found = false;
    for (const std::string& name : check.texts) {
        const auto known = scene.host->resolved.find(name);
        if (known == scene.host->resolved.end()) continue;
        found = found || std::find(known->second.begin(), known->second.end(), address) !=
                             known->second.end();
    }
    return check.op == Operator::not_equal ? !found : found;
}

bool check_many(const Check& check, Scene& scene) {
    if (check.modifier != Modifier::none) {
        std::size_t holds = 0;
        for (const Check& part : check.parts)
            holds += check_many(part, scene) ? 1 : 0;
        switch (check.modifier) {
        case Modifier::oneof: return holds == 1;
        case Modifier::anyof: return holds != 0;
        default: return holds == check.parts.size() && holds != 0;
        }
    }
    if ((check.left.flags & kHostNames) != 0 && check.left.kind == Term::Kind::field)
        return check_host_name(check, scene);
    // != over two ends and `in` over a list want all values to hold, the rest one of them.
    const bool all = (check.left.many == Many::ends && check.op == Operator::not_equal) ||
                     (check.left.many == Many::list && check.op == Operator::in);
    Cursor cursor;
    Value value;
    bool seen = false;
    while (evaluate_term(check.left, scene, cursor, value)) {
        seen = true;
        const bool holds = check.op == Operator::exists ? true
                           : check.right                ? against_right(check, scene, value)
                                                        : check.test(check, value);
        if (holds != all) return holds;
        if (check.left.many == Many::one) break;
    }
    return seen && all;
}

} // namespace beeline::security::engine
