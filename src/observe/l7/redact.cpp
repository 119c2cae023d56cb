#include "observe/l7/redact.h"

#include <algorithm>
#include <array>

namespace beeline::observe::l7 {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

template <std::size_t N>
bool among(std::string_view name, const std::array<std::string_view, N>& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

// Letters and digits of a parameter's name, %XX decoded, so that "access_token", "accessToken" and "access%5Ftoken"
// are one.
std::string squeezed(std::string_view name) {
    std::string out;
    const auto digit = [](char c) {
        c = lower(c);
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    };
    for (std::size_t i = 0; i < name.size(); ++i) {
        char c = name[i];
        if (c == '%' && i + 2 < name.size() && digit(name[i + 1]) >= 0 && digit(name[i + 2]) >= 0) {
            c = static_cast<char>(digit(name[i + 1]) * 16 + digit(name[i + 2]));
            i += 2;
        }
        c = lower(c);
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) out += c;
    }
    return out;
}

} // namespace

bool is_secret_header(std::string_view name) {
    static constexpr std::array<std::string_view, 10> kNames = {
        "authorization",   "proxy-authorization", "cookie",
        "set-cookie",      "x-api-key",           "x-auth-token",
        "api-key",         "x-csrf-token",        "x-amz-security-token",
        "www-authenticate"};
    return among(name, kNames) || name.find("token") != std::string_view::npos ||
           name.find("secret") != std::string_view::npos ||
           name.find("password") != std::string_view::npos ||
           name.find("api-key") != std::string_view::npos ||
           name.find("apikey") != std::string_view::npos;
}

bool is_secret_name(std::string_view name, const Options& options) {
    static constexpr std::array<std::string_view, 14> kParts = {
        "token",  "password",  "passwd",  "passphrase", "secret",  "signature", "credential",
        "apikey", "accesskey", "authkey", "privatekey", "session", "jwt",       "assertion"};
    static constexpr std::array<std::string_view, 10> kWhole = {
        "key", "pass", "pwd", "auth", "sig", "code", "pw", "sid", "otp", "pin"};
    const std::string plain = squeezed(name);
    for (const std::string_view part : kParts)
        if (plain.find(part) != std::string::npos) return true;
    if (among(plain, kWhole)) return true;
    return std::any_of(options.secrets.begin(), options.secrets.end(),
                       [&](const std::string& secret) { return plain == squeezed(secret); });
}

bool is_kept_header(std::string_view name, const Options& options) {
    static constexpr std::array<std::string_view, 5> kNames = {"host", "user-agent", "content-type",
                                                               "x-request-id", "traceparent"};
    return among(name, kNames) ||
           std::find(options.headers.begin(), options.headers.end(), name) != options.headers.end();
}

std::string redact_url(std::string_view url, const Options& options) {
    std::string out;
    const std::size_t query = std::min(url.find('?'), url.size());
    std::string_view place = url.substr(0, query);
    // user:password@ before the path
    if (const std::size_t scheme = place.find("://"); scheme != std::string_view::npos) {
        const std::size_t path = std::min(place.find('/', scheme + 3), place.size());
        const std::string_view authority = place.substr(scheme + 3, path - scheme - 3);
        if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
            out += place.substr(0, scheme + 3);
            const std::size_t colon = authority.find(':');
            out += authority.substr(0, std::min(colon, at));
            if (colon < at) (out += ':') += kRedacted;
            place.remove_prefix(scheme + 3 + at);
        }
    }
    out += place;
    if (!options.redact) return out += url.substr(query);
    std::string_view rest = url.substr(query);
    while (!rest.empty()) {
        out += rest.front(); // ? & ; #
        rest.remove_prefix(1);
        const std::string_view parameter = rest.substr(0, rest.find_first_of("&;#"));
        rest.remove_prefix(parameter.size());
        const std::size_t equals = parameter.find('=');
        if (equals != std::string_view::npos &&
            is_secret_name(parameter.substr(0, equals), options))
            (out += parameter.substr(0, equals + 1)) += kRedacted;
        else
            out += parameter;
    }
    return out;
}

std::string redact_text(std::string_view text, const Options& options) {
    if (!options.redact) return std::string(text);
    std::string out;
    std::string_view word; // the last one
    const auto is_word = [](char c) {
        return lower(c) != c || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '-';
    };
    for (std::size_t i = 0; i < text.size();) {
        const char c = text[i];
        if (is_word(c)) {
            std::size_t end = i;
            while (end < text.size() && is_word(text[end]))
                ++end;
            word = text.substr(i, end - i);
            out += word;
            i = end;
        } else if (c == '"' || c == '\'' || c == '`') {
            // An apostrophe within a word is not a quote.
            const bool apostrophe = c == '\'' && i > 0 && is_word(text[i - 1]);
            const std::size_t end = text.find(c, i + 1);
            out += c;
            if (apostrophe) {
                ++i;
                continue;
            }
            out += '?';
            if (end != std::string_view::npos) out += c;
            i = std::min(end, text.size() - 1) + 1;
        } else if ((c == '=' || c == ':') && !word.empty() && is_secret_name(word, options)) {
            out += c;
            ++i;
            while (i < text.size() && text[i] == ' ')
                out += text[i++];
            const std::size_t end = std::min(text.find_first_of(" ,;&){[", i), text.size());
            if (end > i) out += kRedacted;
            i = end;
        } else {
            out += c;
            if (c != ' ') word = {};
            ++i;
        }
    }
    return out;
}

} // namespace beeline::observe::l7
