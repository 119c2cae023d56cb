// Which handler answers a request. Knows nothing of sockets.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <tl/expected.hpp>

#include "api/server/backend.h"
#include "api/server/query.h"
#include "base/result.h"

namespace beeline::api {

struct Request {
    std::vector<std::string> captures; // what the pattern's {} segments matched, decoded, in order
    Query query;
    std::string body;
};

struct Reply {
    int status = 200;
    std::string content_type = "application/json";
    std::string body;
    std::unique_ptr<LineStream> stream; // instead of `body`
    std::string allow;                  // value of the Allow header of status 405
    std::vector<std::pair<std::string, std::string>> headers; // more of them
};

Reply json_reply(const nlohmann::json& document, int status = 200);
// {"error":{"code","message"}} with the HTTP status of the error's code, or with `status`.
Reply error_reply(const Error& error, int status = 0);
int http_status(Code code);

struct Route {
    std::string method;
    std::string pattern; // "/v1/objects/{kind}/{namespace}/{name}"
    std::vector<Parameter> parameters;
    std::function<Result<Reply>(const Request&)> handle;
};

class Router {
public:
    struct Match {
        const Route* route = nullptr;
        Request request; // its body is empty yet
    };

    void add(Route route);
    [[nodiscard]] const std::vector<Route>& routes() const { return routes_; }

    // `target` is the request's path with its query string, still encoded. The alternative is the
    // refusal to send.
    [[nodiscard]] tl::expected<Match, Reply> match(std::string_view method,
                                                   std::string_view target) const;
    // Runs the handler; exceptions of libraries become status 500.
    static Reply run(const Match& match);

private:
    std::vector<Route> routes_;
};

} // namespace beeline::api
