// The blocking client of the local API: one connection per request over the agent's unix socket.
// Used by the command line and by the static CNI plugin, so it resolves no names and needs no files
// but the socket.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace beeline::api {

struct Response {
    int status = 0;
    std::string content_type;
    std::string body;

    [[nodiscard]] bool ok() const { return status >= 200 && status < 300; }
    [[nodiscard]] Result<nlohmann::json> json() const;
};

// Percent-encodes everything but unreserved characters, also '/'.
std::string url_encode(std::string_view text);

// Pairs with an empty value are kept: {"follow", ""} is "follow=".
using Parameters = std::vector<std::pair<std::string, std::string>>;
// "/v1/flows?last=10&pod=shop%2Fweb"; only the path when there are no parameters.
std::string url(std::string_view path, const Parameters& parameters);

class Client {
public:
    // Does not connect yet. `socket` is Paths::socket().
    explicit Client(std::string socket) : socket_(std::move(socket)) {}

    // Errors: unavailable when the daemon is not running or does not answer in time (all steps
    // together), denied when the socket is not ours to open; an answer with
    // {"error":{code,message}} becomes that Error. Any other answer, also one with an error status
    // (CNI errors), is a Response.
    [[nodiscard]] Result<Response> request(std::string_view method,
                                           std::string_view path_with_query,
                                           std::string_view body = "",
                                           int timeout_ms = 10000) const;

    // The same, for calls whose answer is JSON: every status but 2xx is an Error.
    [[nodiscard]] Result<nlohmann::json> call(std::string_view method,
                                              std::string_view path_with_query,
                                              std::string_view body = "",
                                              int timeout_ms = 10000) const;
    [[nodiscard]] Result<nlohmann::json> get(std::string_view path_with_query) const {
        return call("GET", path_with_query);
    }

    // Calls `on_line` for each non-empty line of the answer until the server ends it or `on_line`
    // returns false. Waits without limit between lines. A connection that breaks before its end is
    // an error.
    [[nodiscard]] Result<> stream(std::string_view path_with_query,
                                  const std::function<bool(std::string_view line)>& on_line) const;

    // The same for bytes, as they come.
    [[nodiscard]] Result<>
    download(std::string_view path_with_query,
             const std::function<bool(std::string_view bytes)>& on_bytes) const;

    [[nodiscard]] const std::string& socket() const { return socket_; }

private:
    std::string socket_;
};

} // namespace beeline::api
