#include "api/server/router.h"

#include <algorithm>
#include <exception>
#include <optional>

namespace beeline::api {
namespace {

std::vector<std::string_view> split(std::string_view path) {
    std::vector<std::string_view> parts;
    while (path.starts_with('/')) {
        path.remove_prefix(1);
        const std::string_view part = path.substr(0, path.find('/'));
        parts.push_back(part);
        path.remove_prefix(part.size());
    }
    return parts;
}

// The captures when `parts` fit the pattern.
std::optional<std::vector<std::string>> fit(std::string_view pattern,
                                            const std::vector<std::string>& parts) {
    const auto wanted = split(pattern);
    if (wanted.size() != parts.size()) return {};
    std::vector<std::string> captures;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        if (!wanted[i].starts_with('{')) {
            if (wanted[i] != parts[i]) return {};
        } else {
            if (parts[i].empty()) return {};
            captures.push_back(parts[i]);
        }
    }
    return captures;
}

} // namespace

int http_status(Code code) {
    switch (code) {
    case Code::invalid: return 400;
    case Code::denied: return 403;
    case Code::not_found: return 404;
    case Code::exists: return 409;
    case Code::unsupported: return 501;
    case Code::unavailable:
    case Code::exhausted: return 503;
    case Code::system:
    case Code::internal: return 500;
    }
    return 500;
}

Reply json_reply(const nlohmann::json& document, int status) {
    // Names come from container runtimes and files: what is not UTF-8 is replaced, not refused.
    return Reply{.status = status,
                 .body = document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
                         "\n"};
}

Reply error_reply(const Error& error, int status) {
    std::string code(code_name(error.code));
    std::replace(code.begin(), code.end(), '-', '_');
    return json_reply({{"error", {{"code", code}, {"message", error.message}}}},
                      status != 0 ? status : http_status(error.code));
}

void Router::add(Route route) { routes_.push_back(std::move(route)); }

tl::expected<Router::Match, Reply> Router::match(std::string_view method,
                                                 std::string_view target) const {
    const std::size_t mark = std::min(target.find('?'), target.size());
    const std::string_view path = target.substr(0, mark);
    const std::string_view query = target.substr(std::min(mark + 1, target.size()));

    std::vector<std::string> parts;
    for (const auto part : split(path)) {
        auto decoded = url_decode(part);
        if (!decoded) return tl::unexpected(error_reply(decoded.error()));
        parts.push_back(std::move(*decoded));
    }
    std::string allow;
    for (const auto& route : routes_) {
        auto captures = fit(route.pattern, parts);
        if (!captures) continue;
        if (route.method != method) {
            allow += (allow.empty() ? "" : ", ") + route.method;
            continue;
        }
        auto parsed = Query::parse(query, route.parameters);
        if (!parsed) return tl::unexpected(error_reply(parsed.error()));
        return Match{
            &route,
            Request{.captures = std::move(*captures), .query = std::move(*parsed), .body = {}}};
    }
    if (allow.empty()) {
        return tl::unexpected(error_reply(
            Error{Code::not_found, 0,
                  fmt::format("there is no {}: GET /v1/openapi lists the calls", path)}));
    }
    Reply refusal = error_reply(
        Error{Code::invalid, 0, fmt::format("{} takes {}, not {}", path, allow, method)}, 405);
    refusal.allow = allow;
    return tl::unexpected(std::move(refusal));
}

Reply Router::run(const Match& match) {
    try {
        auto reply = match.route->handle(match.request);
        if (!reply) return error_reply(reply.error());
        return std::move(*reply);
    } catch (const std::exception& e) {
        return error_reply(
            Error{Code::internal, 0,
                  fmt::format("{} {}: {}", match.route->method, match.route->pattern, e.what())});
    }
}

} // namespace beeline::api
