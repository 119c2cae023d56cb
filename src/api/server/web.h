// The port of the web page: static files for everybody who can connect, the API's reading calls for who has the token.
//
// What a page of another site could make a browser send is refused: names that are not this port's (DNS rebinding),
// requests that come from elsewhere, methods that change something. The token travels in a header that only scripts of
// this page can set, never in a cookie.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/server/backend.h"
#include "api/server/router.h"
#include "api/server/server.h"
#include "base/result.h"

namespace beeline::api {

// The configuration's section `web`.
struct WebConfig {
    bool enabled = true;
    std::string listen = "127.0.0.1:12000";
    std::string token = "auto";     // "auto", "none" or the path of a file
    std::vector<std::string> hosts; // further names that the page may be opened by
};

// A file of the page, built into the program.
struct Asset {
    std::string_view path; // "/app.js"
    std::string_view type;
    std::string_view etag; // in quotes
    std::string_view body;
};
std::span<const Asset> web_assets();

// Decides on requests of the page's port; knows nothing of sockets.
class WebGate {
public:
    // An empty token: none is asked for.
    WebGate(std::string token, std::vector<std::string> hosts);

    // A file of the page or a refusal; nothing: the API may answer.
    std::optional<Reply> operator()(const RequestHead& head) const;

private:
    std::optional<Reply> check_origin(const RequestHead& head, bool api) const;

    std::string token_;
    std::vector<std::string> hosts_;
};

// Headers of every answer: no framing, no sniffing, nothing but this page's own files.
std::vector<std::pair<std::string, std::string>> web_headers();

// The calls that read and cost nothing to speak of.
Router web_routes(Backend& backend);

// The token that `config` asks for; `folder` keeps one that is made. Empty: none.
Result<std::string> web_token(const WebConfig& config, const std::string& folder);

} // namespace beeline::api
