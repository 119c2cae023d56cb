#include "cli/sysdump/redact.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>

namespace beeline::cli {
namespace {

constexpr std::size_t kLeastValue = 8; // shorter ones would be found everywhere
constexpr std::size_t kMostValues = 10'000;

std::string plain(std::string_view name) {
    std::string result;
    for (const char c : name) {
        if (c >= 'A' && c <= 'Z')
            result += static_cast<char>(c + 32);
        else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            result += c;
    }
    return result;
}

RE2::Options quiet() {
    RE2::Options options;
    options.set_log_errors(false);
    options.set_encoding(RE2::Options::EncodingLatin1); // any bytes
    options.set_dot_nl(true);
    return options;
}

#define BEELINE_SECRET_WORD                                                                        \
    "(?:passwd|password|passphrase|secret|token|credential|authorization|cookie|api[_-]?key|"      \
    "access[_-]?key|private[_-]?key|client[_-]?key[_-]?data)"

struct Pattern {
    RE2 expression;
    int value; // number of the group that is the secret; the groups around it stay
};

// Each has three groups: what stays before, the secret, what stays behind.
const std::array<Pattern, 5>& patterns() {
    static const std::array<Pattern, 5> all{{
        {RE2("(-----BEGIN [A-Z ]*PRIVATE KEY-----)(.*?)(-----END [A-Z ]*PRIVATE KEY-----|$)",
             quiet()),
         2},
        {RE2("(://)([^/\\s\"'@]+)(@)", quiet()), 2},
        {RE2("((?i:\\b(?:bearer|basic)\\s+))([A-Za-z0-9+/=._~-]{6,})()", quiet()), 2},
        {RE2("((?i:[\\w.-]*" BEELINE_SECRET_WORD
             "[\\w.-]*)\\\\?[\"']?\\s*[:=]\\s*\\\\?[\"']?)([^\\s\"'\\\\,;&<>}\\]]+)()",
             quiet()),
         2},
        {RE2("((?i:--?[\\w-]*" BEELINE_SECRET_WORD "[\\w-]*)[ \\t\\x00]+)([^\\s\\x00\"'<>]+)()",
             quiet()),
         2},
    }};
    return all;
}
#undef BEELINE_SECRET_WORD

// Names of files and of schemes are no secrets, and what was taken out already is none any more.
bool is_harmless(std::string_view value) {
    return value.starts_with('/') || value.starts_with(kRedacted) || value == "true" ||
           value == "false" || value == "null" || value == "auto" || value == "Bearer" ||
           value == "Basic" || value == "bearer" || value == "basic";
}

// An option of a command whose value is the next word: "--token".
bool is_secret_option(std::string_view word) {
    return word.starts_with('-') && word.find('=') == std::string_view::npos &&
           is_secret_name(word);
}

} // namespace

bool is_secret_name(std::string_view name) {
    const auto word = plain(name);
    // cert and key of TLS sections are files; what is in them is never read.
    if (word.ends_with("file") || word.ends_with("path")) return false;
    static constexpr std::array<std::string_view, 14> kParts{
        "password", "passwd", "passphrase", "secret",     "token",   "credential", "authorization",
        "cookie",   "apikey", "accesskey",  "privatekey", "keydata", "sasl",       "login",
    };
    return std::any_of(kParts.begin(), kParts.end(),
                       [&](std::string_view part) { return word.find(part) != std::string::npos; });
}

void Redactor::remember(std::string_view value) {
    if (value.size() < kLeastValue || is_harmless(value) || values_.size() >= kMostValues) return;
    values_.emplace(value);
}

// Everything below a secret name, whatever its shape.
void Redactor::take(nlohmann::json& value) {
    if (value.is_structured()) {
        for (auto& one : value)
            take(one);
    } else if (value.is_string()) {
        const auto& text = value.get_ref<const std::string&>();
        if (text.empty() || is_harmless(text)) return;
        remember(text);
        // "Bearer x": the word alone is no secret, x is.
        if (const auto space = text.rfind(' '); space != std::string::npos)
            remember(std::string_view(text).substr(space + 1));
        value = kRedacted;
    } else if (value.is_number()) {
        value = kRedacted;
    }
}

void Redactor::redact(nlohmann::json& document) {
    if (document.is_object()) {
        for (const auto& [name, value] : document.items()) {
            // Counters are called after what they count: "tokens": 3.
            if (is_secret_name(name) && !value.is_number() && !value.is_boolean())
                take(document[name]);
            else if (plain(name) == "headers" && value.is_object())
                take(document[name]);
            else
                redact(document[name]);
        }
    } else if (document.is_array()) {
        bool behind_option = false; // a list may be a command's arguments
        for (auto& one : document) {
            const std::string word = one.is_string() ? one.get<std::string>() : std::string();
            if (behind_option && !word.starts_with('-'))
                take(one);
            else
                redact(one);
            behind_option = is_secret_option(word);
        }
    } else if (document.is_string()) {
        document = redact(std::string_view(document.get_ref<const std::string&>()));
    }
}

std::string Redactor::redact(std::string_view text) {
    std::string result(text);
    for (const auto& pattern : patterns()) {
        re2::StringPiece rest(result);
        std::string out;
        re2::StringPiece before;
        re2::StringPiece value;
        re2::StringPiece behind;
        const char* from = result.data();
        bool changed = false;
        while (RE2::FindAndConsume(&rest, pattern.expression, &before, &value, &behind)) {
            if (rest.data() == from && value.empty()) break;
            const std::string_view found(value.data(), value.size());
            if (is_harmless(found)) continue;
            remember(found);
            out.append(from, value.data());
            out += kRedacted;
            from = value.data() + value.size();
            changed = true;
        }
        if (!changed) continue;
        out.append(from, static_cast<const char*>(result.data()) + result.size());
        result = std::move(out);
    }
    return result;
}

std::string Redactor::scrub(std::string text) const {
    for (const auto& value : values_) {
        for (auto at = text.find(value); at != std::string::npos;
             at = text.find(value, at + kRedacted.size()))
            text.replace(at, value.size(), kRedacted);
    }
    return text;
}

} // namespace beeline::cli
