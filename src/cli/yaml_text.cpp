#include "cli/yaml_text.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace beeline::cli {
namespace {

using nlohmann::json;

std::string dump(const json& value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// Plain scalars that every YAML reader takes for a string.
bool is_plain(std::string_view text) {
    static constexpr std::array<std::string_view, 10> kWords{"null", "true", "false", "yes", "no",
                                                             "on",   "off",  "y",     "n",   "~"};
    if (text.empty()) return false;
    std::string lower(text);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (std::find(kWords.begin(), kWords.end(), lower) != kWords.end()) return false;
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    // Beginning with a letter or '/', it can be no number, date or indicator.
    if (!letter(text.front()) && text.front() != '/') return false;
    if (text.ends_with(' ') || text.ends_with(':')) return false;
    return std::all_of(text.begin(), text.end(),
                       [&](char c) {
                           return letter(c) || (c >= '0' && c <= '9') ||
                                  std::string_view("-_./:+=,() []").find(c) !=
                                      std::string_view::npos;
                       }) &&
           text.find(": ") == std::string_view::npos;
}

std::string scalar(const json& value) {
    if (value.is_string() && is_plain(value.get_ref<const std::string&>()))
        return value.get<std::string>();
    return dump(value); // a JSON scalar, or an empty container, is YAML
}

bool is_block(const json& value) { return value.is_structured() && !value.empty(); }

bool is_text_block(const json& value) {
    if (!value.is_string()) return false;
    const auto& text = value.get_ref<const std::string&>();
    // A leading space would be taken for indentation.
    return text.find('\n') != std::string::npos && text.front() != ' ' && text.front() != '\n' &&
           std::none_of(text.begin(), text.end(), [](char c) {
               const auto byte = static_cast<unsigned char>(c);
               return (byte < 0x20 && c != '\n') || byte >= 0x7f;
           });
}

void emit(std::string& out, const json& value, std::size_t indent);

void emit_text_block(std::string& out, const std::string& text, std::size_t indent) {
    const bool ends = text.ends_with('\n');
    out += !ends ? "|-" : text.ends_with("\n\n") ? "|+" : "|";
    std::string_view rest(text);
    if (ends) rest.remove_suffix(1);
    for (;;) {
        const std::size_t end = rest.find('\n');
        const auto line = rest.substr(0, end);
        out += '\n';
        if (!line.empty()) out += std::string(indent, ' ').append(line);
        if (end == std::string_view::npos) break;
        rest.remove_prefix(end + 1);
    }
    out += '\n';
}

// What follows "key:" or "-".
void emit_after(std::string& out, const json& value, std::size_t indent, bool in_sequence) {
    if (is_text_block(value)) {
        out += ' ';
        emit_text_block(out, value.get_ref<const std::string&>(), indent);
    } else if (!is_block(value)) {
        out += ' ' + scalar(value) + '\n';
    } else if (in_sequence) {
        // The first line shares the line of the dash.
        std::string block;
        emit(block, value, indent);
        out += ' ' + block.substr(indent);
    } else {
        out += '\n';
        emit(out, value, indent);
    }
}

void emit(std::string& out, const json& value, std::size_t indent) {
    const std::string margin(indent, ' ');
    if (value.is_array() && !value.empty()) {
        for (const auto& item : value) {
            out += margin + '-';
            emit_after(out, item, indent + 2, true);
        }
    } else if (value.is_object() && !value.empty()) {
        for (const auto& [key, member] : value.items()) {
            out += margin + scalar(json(key)) + ':';
            emit_after(out, member, indent + 2, false);
        }
    } else {
        out += margin + scalar(value) + '\n';
    }
}

} // namespace

std::string to_yaml(const nlohmann::json& value) {
    std::string out;
    emit(out, value, 0);
    return out;
}

} // namespace beeline::cli
