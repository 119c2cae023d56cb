#include "agent/web.h"

#include "api/server/listen.h"
#include "base/log.h"

namespace beeline::agent {
namespace {

constexpr unsigned kConnections = 128;
constexpr std::size_t kBody = 4096; // nothing on this port takes one

Result<> start(WebPage& page, const api::WebConfig& config, const std::string& folder,
               api::Backend& backend) {
    const auto address = TRY(api::TcpAddress::parse(config.listen));
    page.token = TRY(api::web_token(config, folder));
    api::ServerOptions options;
    options.connections = kConnections;
    options.body_bytes = kBody;
    options.gate = api::WebGate(page.token, config.hosts);
    options.headers = api::web_headers();
    auto server = TRY(api::Server::create(api::web_routes(backend), std::move(options)));
    TRY(server->serve(TRY(api::listen_tcp(address))));
    page.url = "http://" + address.to_string() + "/";
    if (!address.is_loopback()) {
        log_warn(
            "the web page is open to the network, in plain HTTP: put a proxy with TLS before it",
            kv("listen", config.listen));
    }
    page.server = std::move(server);
    return {};
}

} // namespace

nlohmann::json WebPage::status() const {
    if (!error.empty()) return {{"error", error}};
    if (!server) return nlohmann::json::object();
    nlohmann::json out{{"url", url}};
    if (!token.empty()) out["login"] = url + "#token=" + token;
    return out;
}

WebPage start_web(const api::WebConfig& config, const std::string& state_folder,
                  api::Backend& backend) {
    WebPage page;
    if (!config.enabled) return page;
    if (const auto done = start(page, config, state_folder, backend); !done) {
        page.error = done.error().message;
        log_error("the web page could not start", kv("listen", config.listen),
                  kv("error", page.error));
        return page;
    }
    log_info("web page",
             kv("url", page.token.empty() ? page.url : page.url + "#token=" + page.token));
    return page;
}

} // namespace beeline::agent
