#include "observe/l7/http.h"

#include <algorithm>

#include "observe/l7/redact.h"

namespace beeline::observe::l7 {
namespace {

constexpr std::size_t kMaxHeaders = 16;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_trace_parent(std::string_view value) {
    return value.size() >= 55 && value.size() <= 64 &&
           std::all_of(value.begin(), value.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '-';
           });
}

} // namespace

bool iequals(std::string_view a, std::string_view b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                              [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
        text.remove_suffix(1);
    return text;
}

void add_header(model::L7& message, std::string_view name, std::string_view value,
                const Context& context) {
    constexpr std::size_t kLongestName = 64;
    if (name.size() > kLongestName) return;
    char room[kLongestName];
    std::transform(name.begin(), name.end(), room, lower);
    const std::string_view key(room, name.size());
    const bool request = message.type == model::L7::Type::request;
    if (key == "host" && request && message.host.empty()) message.host = context.text(value);
    if (key == "traceparent" && request && is_trace_parent(value)) message.trace_parent = value;
    if (!is_kept_header(key, context.options) || message.headers.size() >= kMaxHeaders) return;
    const bool secret = context.options.redact && is_secret_header(key);
    // Values such as a referer are URLs, with secrets in their queries.
    message.headers.emplace_back(key, secret ? std::string(kRedacted)
                                             : context.text(redact_url(value, context.options)));
}

void set_target(model::L7& message, std::string_view target, const Context& context) {
    const std::string url = redact_url(target, context.options);
    message.url = context.text(url);
    std::string_view path(url);
    if (const std::size_t scheme = path.find("://");
        scheme != std::string_view::npos && scheme < path.find_first_of("/?")) {
        path.remove_prefix(scheme + 3);
        const std::size_t end = std::min(path.find_first_of("/?"), path.size());
        std::string_view authority = path.substr(0, end);
        if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos)
            authority.remove_prefix(at + 1);
        message.host = context.text(authority);
        path.remove_prefix(end);
        if (path.empty() || path.front() == '?') path = "/";
    }
    message.resource = context.text(path.substr(0, path.find_first_of("?#")));
}

} // namespace beeline::observe::l7
