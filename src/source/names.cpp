#include "source/names.h"

#include <algorithm>

namespace beeline::source {
namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower_or_digit(char c) { return is_lower(c) || is_digit(c); }
bool is_word(char c) { return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z'); }

bool is_dns_label(std::string_view text) {
    return !text.empty() && is_lower_or_digit(text.front()) && is_lower_or_digit(text.back()) &&
           std::all_of(text.begin(), text.end(),
                       [](char c) { return is_lower_or_digit(c) || c == '-'; });
}

// The name part of a label key, and a label value that is not empty.
bool is_label_word(std::string_view text) {
    return !text.empty() && is_word(text.front()) && is_word(text.back()) &&
           std::all_of(text.begin(), text.end(),
                       [](char c) { return is_word(c) || c == '-' || c == '_' || c == '.'; });
}

} // namespace

std::string_view dns_label_problem(std::string_view text) {
    if (text.size() > 63) return "must not be longer than 63 characters";
    if (is_dns_label(text)) return {};
    return "must be lower case letters, digits and '-', and begin and end with a letter or digit";
}

std::string_view dns_1035_label_problem(std::string_view text) {
    if (text.size() > 63) return "must not be longer than 63 characters";
    if (is_dns_label(text) && is_lower(text.front())) return {};
    return "must be lower case letters, digits and '-', begin with a letter and end with a letter "
           "or digit";
}

std::string_view dns_subdomain_problem(std::string_view text) {
    if (text.size() > 253) return "must not be longer than 253 characters";
    for (std::string_view rest = text;;) {
        const auto dot = rest.find('.');
        if (!is_dns_label(rest.substr(0, dot))) break;
        if (dot == std::string_view::npos) return {};
        rest.remove_prefix(dot + 1);
    }
    return "must be lower case letters, digits, '-' and '.', and each part between dots must begin "
           "and end with a "
           "letter or digit";
}

std::string_view port_name_problem(std::string_view text) {
    if (text.size() > 15) return "must not be longer than 15 characters";
    if (is_dns_label(text) && text.find("--") == std::string_view::npos &&
        std::any_of(text.begin(), text.end(), is_lower)) {
        return {};
    }
    return "must be lower case letters, digits and single '-', with at least one letter, and begin "
           "and end with a "
           "letter or digit";
}

std::string_view label_key_problem(std::string_view text) {
    const auto slash = text.find('/');
    const auto name = slash == std::string_view::npos ? text : text.substr(slash + 1);
    if (slash != std::string_view::npos && !dns_subdomain_problem(text.substr(0, slash)).empty()) {
        return "must have a prefix before '/' that is a DNS name in lower case, of at most 253 "
               "characters";
    }
    if (name.size() > 63) return "must have a name of at most 63 characters";
    if (is_label_word(name)) return {};
    return "must be [prefix/]name, the name letters, digits, '-', '_' and '.', beginning and "
           "ending with a letter or "
           "digit";
}

std::string_view label_value_problem(std::string_view text) {
    if (text.size() > 63) return "must not be longer than 63 characters";
    if (text.empty() || is_label_word(text)) return {};
    return "must be empty, or letters, digits, '-', '_' and '.', beginning and ending with a "
           "letter or digit";
}

} // namespace beeline::source
