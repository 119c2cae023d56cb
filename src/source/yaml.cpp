#include "source/yaml.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "source/yaml_tree.h"

namespace beeline::source::yaml {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool all_digits(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

bool is_decimal(std::string_view text) {
    if (text.starts_with('-')) text.remove_prefix(1);
    return all_digits(text) && (text.size() == 1 || text.front() != '0');
}

// Every spelling that some YAML version takes for a number.
bool is_number(std::string_view text) {
    if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
    if (text == ".inf" || text == ".Inf" || text == ".INF") return true;
    if (text == ".nan" || text == ".NaN" || text == ".NAN") return true;
    if (text.starts_with("0x") || text.starts_with("0o") || text.starts_with("0b")) {
        const auto digits = text.substr(2);
        return !digits.empty() && std::all_of(digits.begin(), digits.end(), [](char c) {
            return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        });
    }
    const auto exponent = text.find_first_of("eE");
    if (exponent != std::string_view::npos) {
        auto power = text.substr(exponent + 1);
        if (power.starts_with('-') || power.starts_with('+')) power.remove_prefix(1);
        if (!all_digits(power)) return false;
        text = text.substr(0, exponent);
    }
    const auto dot = text.find('.');
    if (dot == std::string_view::npos) return all_digits(text);
    const auto whole = text.substr(0, dot);
    const auto fraction = text.substr(dot + 1);
    return (!whole.empty() || !fraction.empty()) && (whole.empty() || all_digits(whole)) &&
           (fraction.empty() || all_digits(fraction));
}

bool is_boolean(std::string_view text) {
    static constexpr std::string_view kWords[] = {"true", "True", "TRUE", "false", "False", "FALSE",
                                                  "yes",  "Yes",  "YES",  "no",    "No",    "NO",
                                                  "on",   "On",   "ON",   "off",   "Off",   "OFF"};
    return std::find(std::begin(kWords), std::end(kWords), text) != std::end(kWords);
}

std::string describe(const Value& value) {
    switch (value.kind) {
    case Value::Kind::null: return "nothing";
    case Value::Kind::list: return "a list";
    case Value::Kind::map: return "a mapping";
    case Value::Kind::scalar: break;
    }
    if (value.quoted) return fmt::format("the string \"{}\"", shown(value.text));
    if (is_number(value.text)) return fmt::format("the number {}", shown(value.text));
    if (is_boolean(value.text)) return fmt::format("the boolean {}", shown(value.text));
    return fmt::format("'{}'", shown(value.text));
}

template <typename Words>
std::string join(const Words& words, std::string_view last) {
    std::string out;
    std::size_t left = std::size(words);
    for (const auto& word : words) {
        --left;
        out += word;
        if (left == 1) out += last;
        if (left > 1) out += ", ";
    }
    return out;
}

bool plain_in_path(std::string_view key) {
    return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
        return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
               c == '_';
    });
}

void append_key(std::string& path, std::string_view key) {
    if (plain_in_path(key)) {
        if (!path.empty()) path += '.';
        path += key;
    } else {
        path += fmt::format("[\"{}\"]", shown(key));
    }
}

std::string path_of(const Tree& tree, std::uint32_t index) {
    std::vector<std::uint32_t> chain;
    for (; index != 0; index = tree.values[index].parent)
        chain.push_back(index);
    std::string path;
    for (auto it = chain.rbegin(); it != chain.rend(); ++it) {
        const Value& value = tree.values[*it];
        const Value& parent = tree.values[value.parent];
        if (parent.kind == Value::Kind::list) {
            path += fmt::format("[{}]", value.position);
        } else {
            append_key(path, tree.values[parent.children[value.position & ~1U]].text);
        }
    }
    return path;
}

// Index of the key in the children of a mapping.
std::optional<std::size_t> key_position(const Tree& tree, const Value& map, std::string_view key) {
    for (std::size_t i = 0; i < map.children.size(); i += 2) {
        if (tree.values[map.children[i]].text == key) return i;
    }
    return std::nullopt;
}

Failure failure_at(const Tree& tree, const Value& place, const std::string& path,
                   std::string_view message) {
    if (place.line == 0) {
        return beeline::fail(Code::invalid, "{}: {}{}{}", tree.file, path, path.empty() ? "" : ": ",
                             message);
    }
    return beeline::fail(Code::invalid, "{}:{}:{}: {}{}{}", tree.file, place.line, place.column,
                         path, path.empty() ? "" : ": ", message);
}

// Restricted Damerau-Levenshtein distance without regard to case.
std::size_t distance(std::string_view a, std::string_view b) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    const std::size_t width = b.size() + 1;
    std::vector<std::size_t> rows((a.size() + 1) * width);
    const auto at = [&](std::size_t i, std::size_t j) -> std::size_t& {
        return rows[i * width + j];
    };
    for (std::size_t i = 0; i <= a.size(); ++i)
        at(i, 0) = i;
    for (std::size_t j = 0; j <= b.size(); ++j)
        at(0, j) = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const bool same = lower(a[i - 1]) == lower(b[j - 1]);
            at(i, j) =
                std::min({at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + (same ? 0 : 1)});
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1])) {
                at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
            }
        }
    }
    return at(a.size(), b.size());
}

void append_scalar(std::string& out, const Value& value) {
    const bool plain =
        !value.quoted && std::all_of(value.text.begin(), value.text.end(),
                                     [](char c) { return static_cast<unsigned char>(c) >= ' '; });
    if (plain) {
        out += value.text;
        return;
    }
    out += '"';
    for (const char c : value.text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else if (byte < ' ' || byte == 0x7f) {
            out += fmt::format("\\x{:02x}", byte);
        } else {
            out += c;
        }
    }
    out += '"';
}

void emit(std::string& out, const Tree& tree, const Value& value, unsigned indent);

// What follows "key:" or "-": a scalar on the same line, anything else on lines of its own.
void emit_child(std::string& out, const Tree& tree, const Value& child, unsigned indent) {
    if ((child.kind == Value::Kind::list || child.kind == Value::Kind::map) &&
        !child.children.empty()) {
        out += '\n';
    } else if (child.kind != Value::Kind::null) {
        out += ' ';
    }
    emit(out, tree, child, indent);
}

void emit(std::string& out, const Tree& tree, const Value& value, unsigned indent) {
    const bool map = value.kind == Value::Kind::map;
    switch (value.kind) {
    case Value::Kind::null: out += '\n'; return;
    case Value::Kind::scalar:
        append_scalar(out, value);
        out += '\n';
        return;
    default: break;
    }
    if (value.children.empty()) {
        out += map ? "{}\n" : "[]\n";
        return;
    }
    for (std::size_t i = 0; i < value.children.size(); i += map ? 2 : 1) {
        out.append(indent, ' ');
        if (map) {
            append_scalar(out, tree.values[value.children[i]]);
            out += ':';
            emit_child(out, tree, tree.values[value.children[i + 1]], indent + 2);
        } else {
            out += '-';
            emit_child(out, tree, tree.values[value.children[i]], indent + 2);
        }
    }
}

} // namespace

std::string shown(std::string_view text) {
    constexpr std::size_t kMost = 64;
    std::string out(text.substr(0, kMost));
    // A cut must not leave half a character.
    if (const auto bad = invalid_utf8(out); bad != std::string::npos) out.resize(bad);
    std::replace_if(
        out.begin(), out.end(), [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; }, '?');
    if (out.size() < text.size()) out += "...";
    return out;
}

std::string_view nearest(std::string_view text, const std::vector<std::string_view>& words) {
    if (text.size() > 64) return {};
    std::string_view best;
    std::size_t best_distance = std::max<std::size_t>(text.size() / 3, 1) + 1;
    for (const auto word : words) {
        const auto d = distance(text, word);
        if (d < best_distance) {
            best = word;
            best_distance = d;
        }
    }
    return best;
}

bool Node::is_null() const { return tree_->values[index_].kind == Value::Kind::null; }

bool Node::is_map() const { return tree_->values[index_].kind == Value::Kind::map; }

bool Node::is_integer() const {
    const Value& value = tree_->values[index_];
    return value.kind == Value::Kind::scalar && !value.quoted && is_decimal(value.text);
}

bool Node::lenient() const { return tree_->lenient; }

unsigned Node::line() const { return tree_->values[index_].line; }

unsigned Node::column() const { return tree_->values[index_].column; }

std::string Node::path() const { return path_of(*tree_, index_); }

std::string Node::file() const { return tree_->file; }

std::string Node::what() const { return describe(tree_->values[index_]); }

Failure Node::failure(std::string_view message) const {
    return failure_at(*tree_, tree_->values[index_], path(), message);
}

Failure Node::failure_of(std::string_view key, std::string_view message) const {
    const Value& map = tree_->values[index_];
    const auto at = key_position(*tree_, map, key);
    std::string where = path();
    append_key(where, key);
    return failure_at(*tree_, at ? tree_->values[map.children[*at]] : map, where, message);
}

Result<std::string> Node::string() const {
    const Value& value = tree_->values[index_];
    if (value.kind != Value::Kind::scalar)
        return fail("expected a string, found {}", describe(value));
    if (!value.quoted && (is_number(value.text) || is_boolean(value.text))) {
        return fail("expected a string, found {}: put it in quotes", describe(value));
    }
    if (value.text.find('\0') != std::string::npos)
        return fail("a string must not contain the character NUL");
    return value.text;
}

Result<bool> Node::boolean() const {
    const Value& value = tree_->values[index_];
    if (value.kind == Value::Kind::scalar && !value.quoted) {
        if (value.text == "true") return true;
        if (value.text == "false") return false;
    }
    return fail("expected true or false, found {}", describe(value));
}

Result<std::int64_t> Node::integer(std::int64_t least, std::int64_t most) const {
    const Value& value = tree_->values[index_];
    if (is_integer()) {
        std::int64_t number = 0;
        const char* end = value.text.data() + value.text.size();
        const auto [stop, error] = std::from_chars(value.text.data(), end, number);
        if (error == std::errc{} && stop == end && number >= least && number <= most) return number;
    }
    const bool only_quotes =
        value.kind == Value::Kind::scalar && value.quoted && is_decimal(value.text);
    return fail("expected an integer from {} to {}, found {}{}", least, most, describe(value),
                only_quotes ? ": remove the quotes" : "");
}

Result<std::vector<Node>> Node::list() const {
    const Value& value = tree_->values[index_];
    if (value.kind != Value::Kind::list) return fail("expected a list, found {}", describe(value));
    std::vector<Node> items;
    items.reserve(value.children.size());
    for (const auto child : value.children) {
        items.emplace_back(*tree_, child);
        if (items.back().is_null()) return items.back().fail("an item of a list must not be empty");
    }
    return items;
}

Result<std::vector<std::string>> Node::strings() const {
    std::vector<std::string> out;
    for (const auto& item : TRY(list()))
        out.push_back(TRY(item.string()));
    return out;
}

Result<Map> Node::map(std::vector<std::string_view> fields) const {
    const Value& value = tree_->values[index_];
    if (value.kind != Value::Kind::map)
        return fail("expected a mapping, found {}", describe(value));
    for (std::size_t i = 0; i < value.children.size(); i += 2) {
        const Value& key = tree_->values[value.children[i]];
        if (tree_->lenient) break;
        if (std::find(fields.begin(), fields.end(), key.text) != fields.end()) continue;
        const auto near = nearest(key.text, fields);
        if (!near.empty())
            return failure_of(key.text, fmt::format("unknown field: did you mean '{}'?", near));
        return failure_of(key.text,
                          fmt::format("unknown field: expected {}", join(fields, " or ")));
    }
    return Map(*this, std::move(fields));
}

Result<std::vector<std::pair<std::string, Node>>> Node::entries() const {
    const Value& value = tree_->values[index_];
    if (value.kind != Value::Kind::map)
        return fail("expected a mapping, found {}", describe(value));
    std::vector<std::pair<std::string, Node>> out;
    out.reserve(value.children.size() / 2);
    for (std::size_t i = 0; i < value.children.size(); i += 2) {
        const auto& key = tree_->values[value.children[i]].text;
        const Node child(*tree_, value.children[i + 1]);
        if (child.is_null()) return failure_of(key, "the value is missing");
        out.emplace_back(key, child);
    }
    return out;
}

std::string Node::to_yaml() const {
    std::string out;
    emit(out, *tree_, tree_->values[index_], 0);
    return out;
}

std::optional<Node> Node::get(std::string_view key) const {
    const Value& map = tree_->values[index_];
    if (map.kind != Value::Kind::map) return std::nullopt;
    const auto at = key_position(*tree_, map, key);
    if (!at) return std::nullopt;
    const Node child(*tree_, map.children[*at + 1]);
    if (child.is_null()) return std::nullopt;
    return child;
}

std::optional<Node> Map::find(std::string_view key) const { return node_.get(key); }

Result<Node> Map::need(std::string_view key) const {
    const auto node = find(key);
    if (!node) return node_.failure_of(key, "this field is required");
    return *node;
}

Result<std::string> Map::string(std::string_view key) const { return TRY(need(key)).string(); }

Result<std::string> Map::string_or(std::string_view key, std::string_view otherwise) const {
    const auto node = find(key);
    if (!node) return std::string(otherwise);
    return node->string();
}

Result<bool> Map::boolean_or(std::string_view key, bool otherwise) const {
    const auto node = find(key);
    if (!node) return otherwise;
    return node->boolean();
}

Result<std::int64_t> Map::integer(std::string_view key, std::int64_t least,
                                  std::int64_t most) const {
    return TRY(need(key)).integer(least, most);
}

Result<std::int64_t> Map::integer_or(std::string_view key, std::int64_t least, std::int64_t most,
                                     std::int64_t otherwise) const {
    const auto node = find(key);
    if (!node) return otherwise;
    return node->integer(least, most);
}

Result<std::vector<Node>> Map::list(std::string_view key) const {
    const auto node = find(key);
    if (!node) return std::vector<Node>{};
    return node->list();
}

Result<std::vector<std::string>> Map::strings(std::string_view key) const {
    const auto node = find(key);
    if (!node) return std::vector<std::string>{};
    return node->strings();
}

Result<std::optional<Map>> Map::map(std::string_view key,
                                    std::vector<std::string_view> fields) const {
    const auto node = find(key);
    if (!node) return std::optional<Map>{};
    return std::optional<Map>(TRY(node->map(std::move(fields))));
}

Result<std::string> Map::choice_or(std::string_view key,
                                   std::initializer_list<std::string_view> words,
                                   std::string_view otherwise) const {
    const auto node = find(key);
    if (!node) return std::string(otherwise);
    return node->choice(words);
}

Result<std::string> Node::choice(std::initializer_list<std::string_view> words) const {
    const Value& value = tree_->values[index_];
    if (value.kind == Value::Kind::scalar &&
        std::find(words.begin(), words.end(), value.text) != words.end()) {
        return value.text;
    }
    return fail("expected {}, found {}", join(words, " or "), describe(value));
}

} // namespace beeline::source::yaml
