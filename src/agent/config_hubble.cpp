#include "agent/config_hubble.h"

namespace beeline::agent {
namespace {

namespace yaml = source::yaml;

Result<std::string> address(const yaml::Map& map, unsigned port, const std::string& otherwise) {
    const auto node = map.find("listen");
    const std::string text = node ? TRY(node->string()) : otherwise;
    if (text.empty()) return text;
    auto address = hubble::listen_address(text, port);
    if (!address && node) return node->failure(address.error().message);
    return address;
}

Result<> read_tls(const yaml::Map& map, hubble::TlsFiles& tls) {
    const auto section = TRY(map.map("tls", {"cert", "key", "clientCa"}));
    if (!section) return {};
    tls.cert = TRY(section->string("cert"));
    tls.key = TRY(section->string("key"));
    tls.client_ca = TRY(section->string_or("clientCa", ""));
    return {};
}

Result<> read_peers(const yaml::Map& map, std::vector<hubble::PeerNode>& peers) {
    for (const auto& item : TRY(map.list("peers"))) {
        const auto entry = TRY(item.map({"name", "address", "serverName"}));
        hubble::PeerNode peer;
        peer.name = TRY(entry.string("name"));
        peer.address = TRY(entry.string("address"));
        peer.server_name = TRY(entry.string_or("serverName", ""));
        peers.push_back(std::move(peer));
    }
    return {};
}

Result<> read_relay(const yaml::Map& map, hubble::RelaySection& relay) {
    const auto section = TRY(map.map(
        "relay", {"listen", "socket", "tls", "allowPlain", "peers", "notifier", "peerTls"}));
    relay.listen = TRY(hubble::listen_address(relay.listen, hubble::kRelayPort));
    if (!section) return {};
    relay.listen = TRY(address(*section, hubble::kRelayPort, relay.listen));
    if (const auto socket = section->find("socket")) relay.socket = TRY(socket->string());
    TRY(read_tls(*section, relay.tls));
    relay.allow_plain = TRY(section->boolean_or("allowPlain", false));
    relay.peers.targets = TRY(section->strings("peers"));
    relay.peers.notifier = TRY(section->string_or("notifier", ""));
    if (const auto tls = TRY(section->map("peerTls", {"ca", "cert", "key", "serverName"}))) {
        relay.peers.tls.ca = TRY(tls->string("ca"));
        relay.peers.tls.cert = TRY(tls->string_or("cert", ""));
        relay.peers.tls.key = TRY(tls->string_or("key", ""));
        relay.peers.tls.server_name = TRY(tls->string_or("serverName", ""));
        if (relay.peers.tls.cert.empty() != relay.peers.tls.key.empty())
            return tls->node().fail("expected both cert and key, or neither");
    }
    return {};
}

} // namespace

Result<> read_hubble(const yaml::Map& root, hubble::Section& config) {
    const auto map = TRY(root.map("hubble", {"enabled", "socket", "listen", "tls", "allowPlain",
                                             "cluster", "advertise", "nodeLabels", "peers",
                                             "streams", "stallSeconds", "relay"}));
    config.relay.listen = TRY(hubble::listen_address(config.relay.listen, hubble::kRelayPort));
    if (!map) return {};
    config.enabled = TRY(map->boolean_or("enabled", config.enabled));
    if (const auto socket = map->find("socket")) {
        config.socket = TRY(socket->string());
        if (*config.socket == "none") config.socket->clear();
    }
    config.listen = TRY(address(*map, hubble::kAgentPort, config.listen));
    TRY(read_tls(*map, config.tls));
    config.allow_plain = TRY(map->boolean_or("allowPlain", false));
    if (!config.listen.empty() && config.tls.cert.empty() && !config.allow_plain &&
        !hubble::is_loopback(config.listen))
        return map->fail_of("listen",
                            "{} would be open in plain text: give tls, a loopback "
                            "address, or say allowPlain: true",
                            config.listen);
    config.cluster = TRY(map->string_or("cluster", config.cluster));
    config.advertise = TRY(map->string_or("advertise", ""));
    config.node_labels = TRY(map->strings("nodeLabels"));
    TRY(read_peers(*map, config.peers));
    config.limits.streams = static_cast<std::size_t>(TRY(map->integer_or(
        "streams", 1, 1'000'000, static_cast<std::int64_t>(config.limits.streams))));
    config.limits.stall_ms =
        TRY(map->integer_or("stallSeconds", 1, 3600, config.limits.stall_ms / 1000)) * 1000;
    return read_relay(*map, config.relay);
}

} // namespace beeline::agent
