#include "security/engine/fields.h"

#include <charconv>
#include <unordered_map>
#include <vector>

#include "security/engine/event_args.h"

namespace beeline::security::engine {
namespace {

struct Table {
    std::vector<FieldRow> rows;
    std::unordered_map<std::string_view, const FieldRow*> by_name;
};

const Table& table() {
    static const Table kTable = [] {
        Table out;
        for (const auto part : {event_fields(), process_fields(), fd_fields(), user_fields(),
                                container_fields(), flow_fields()})
            out.rows.insert(out.rows.end(), part.begin(), part.end());
        for (const FieldRow& row : out.rows)
            out.by_name.emplace(row.name, &row);
        return out;
    }();
    return kTable;
}

bool parse_index(std::string_view text, std::uint32_t& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size();
}

// "evt.arg.flags" -> evt.arg with the argument flags.
const FieldRow* find_row(std::string_view name, std::string_view& rest) {
    const auto& names = table().by_name;
    const auto found = names.find(name);
    if (found != names.end()) return found->second;
    for (std::size_t dot = name.find('.'); dot != std::string_view::npos;
         dot = name.find('.', dot + 1)) {
        const auto prefix = names.find(name.substr(0, dot));
        if (prefix == names.end() || prefix->second->takes != Takes::name) continue;
        rest = name.substr(dot + 1);
        if (!rest.empty()) return prefix->second;
    }
    return nullptr;
}

bool raw_arg_is_text(std::string_view name) {
    for (const KindArgs& kind : all_event_args())
        for (const ArgRow& row : kind.args)
            if (row.name == name) return !arg_is_number(row);
    return false;
}

bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-' || c == '/';
}

} // namespace

std::span<const FieldRow> field_table() { return table().rows; }

Result<Field> find_field(std::string_view name, bool has_argument, std::string_view argument) {
    std::string_view rest;
    const FieldRow* row = find_row(name, rest);
    Field field;
    field.text = std::string(name);
    if (row == nullptr) return fail(Code::not_found, "unknown field {}", name);
    field.row = row;
    field.type = row->type;
    field.many = row->many;
    field.flags = row->flags;
    if (!rest.empty()) {
        if (has_argument)
            return fail(Code::invalid, "field {} takes no argument in brackets", name);
        has_argument = true;
        argument = rest;
    } else if (has_argument) {
        field.text += fmt::format("[{}]", argument);
    }
    field.has_argument = has_argument;
    field.argument = std::string(argument);
    switch (row->takes) {
    case Takes::nothing:
        if (has_argument) return fail(Code::invalid, "field {} takes no argument", name);
        break;
    case Takes::optional_index:
        if (!has_argument) break;
        if (!parse_index(argument, field.index))
            return fail(Code::invalid, "field {} needs a number in brackets, not {}", name,
                        argument);
        field.has_index = true;
        break;
    case Takes::optional_key:
        if (has_argument && row->many == Many::any)
            field.has_index = parse_index(argument, field.index);
        break;
    case Takes::required_key:
        if (!has_argument)
            return fail(Code::invalid, "field {} needs an argument in brackets", name);
        field.has_index = parse_index(argument, field.index);
        break;
    case Takes::name:
        if (row->name == "evt.abspath" && !has_argument) break;
        if (!has_argument) return fail(Code::invalid, "field {} needs a name after it", name);
        field.has_index = parse_index(argument, field.index);
        if ((row->name == "evt.arg" || row->name == "evt.rawarg") && !field.has_index &&
            !is_event_arg(argument))
            return fail(Code::not_found, "unknown field {}: no event has this parameter", name);
        if (row->name == "evt.rawarg" && raw_arg_is_text(argument)) field.type = Type::text;
        break;
    }
    // One generation is a single value.
    if (field.many == Many::any && field.has_index) field.many = Many::one;
    return field;
}

std::string_view field_prefix(std::string_view text) {
    std::size_t size = 0;
    while (size < text.size() && is_name_byte(text[size]))
        ++size;
    for (; size > 0; --size) {
        std::string_view rest;
        const std::string_view name = text.substr(0, size);
        const FieldRow* row = find_row(name, rest);
        if (row == nullptr) continue;
        // A label may hold what an event's parameter may not.
        if (!rest.empty() && (rest.back() == '.' || rest.back() == '-' || rest.back() == '/'))
            continue;
        if (!rest.empty() && row->name != "evt.arg" && row->name != "evt.rawarg") return name;
        if (!rest.empty() && !is_event_arg(rest)) {
            std::uint32_t index = 0;
            if (!parse_index(rest, index)) continue;
        }
        if (rest.empty() && row->takes != Takes::nothing && size < text.size() &&
            text[size] == '[') {
            const std::size_t close = text.find(']', size);
            if (close != std::string_view::npos) return text.substr(0, close + 1);
        }
        return name;
    }
    return {};
}

} // namespace beeline::security::engine
