#include "agent/config_web.h"

#include "api/server/listen.h"

namespace beeline::agent {

Result<> read_web(const source::yaml::Map& root, api::WebConfig& config) {
    const auto map = TRY(root.map("web", {"enabled", "listen", "token", "hosts"}));
    if (!map) return {};
    config.enabled = TRY(map->boolean_or("enabled", config.enabled));
    config.listen = TRY(map->string_or("listen", config.listen));
    config.token = TRY(map->string_or("token", config.token));
    config.hosts = TRY(map->strings("hosts"));
    const auto address = api::TcpAddress::parse(config.listen);
    if (!address) return map->fail_of("listen", "{}", address.error().message);
    if (config.token != "auto" && config.token != "none" && !config.token.starts_with('/'))
        return map->fail_of("token", "expected auto, none or the absolute path of a file");
    if (config.token == "none" && !address->is_loopback())
        return map->fail_of("token", "none is for loopback only, not for {}", config.listen);
    return {};
}

} // namespace beeline::agent
