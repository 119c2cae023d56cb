#include "agent/config_source.h"

#include "source/etcd/client.h"
#include "source/object_key.h"

namespace beeline::agent {
namespace {

namespace yaml = source::yaml;

Result<std::string> file_of(const yaml::Map& map, std::string_view key) {
    auto path = TRY(map.string_or(key, ""));
    if (!path.empty() && !path.starts_with('/'))
        return map.fail_of(key, "expected an absolute path");
    return path;
}

Result<> read_tls(const yaml::Map& section, source::EtcdOptions& etcd, bool wanted) {
    const auto tls = TRY(section.map("tls", {"caFile", "certificate", "key", "serverName"}));
    if (!tls) return {};
    if (!wanted) return section.fail_of("tls", "every endpoint is http://: expected https://");
    etcd.ca_file = TRY(file_of(*tls, "caFile"));
    etcd.certificate = TRY(file_of(*tls, "certificate"));
    etcd.key = TRY(file_of(*tls, "key"));
    if (etcd.certificate.empty() != etcd.key.empty())
        return section.fail_of("tls", "certificate and key belong together");
    etcd.server_name = TRY(tls->string_or("serverName", ""));
    return {};
}

Result<> read_etcd(const yaml::Map& section, source::EtcdOptions& etcd) {
    const auto map = TRY(section.map("etcd", {"endpoints", "prefix", "tls", "user", "passwordFile",
                                              "leaseSeconds", "nodeAddresses"}));
    if (!map) return section.fail_of("etcd", "kind etcd needs this section, with its endpoints");
    const auto endpoints = TRY(map->list("endpoints"));
    bool tls = false;
    for (const auto& node : endpoints) {
        auto url = TRY(node.string());
        const auto endpoint = source::parse_endpoint(url);
        if (!endpoint) return node.failure(endpoint.error().message);
        tls = tls || endpoint->tls;
        etcd.endpoints.push_back(std::move(url));
    }
    if (endpoints.empty()) return map->fail_of("endpoints", "expected a list of URLs");
    etcd.prefix = TRY(map->string_or("prefix", etcd.prefix));
    if (!source::is_key_prefix(etcd.prefix))
        return map->fail_of("prefix", "expected a path such as /beeline");
    TRY(read_tls(*map, etcd, tls));
    etcd.user = TRY(map->string_or("user", ""));
    etcd.password_file = TRY(file_of(*map, "passwordFile"));
    if (etcd.user.empty() && !etcd.password_file.empty())
        return map->fail_of("passwordFile", "a password needs a user");
    for (const auto& node : TRY(map->list("nodeAddresses"))) {
        const auto ip = net::Ip::parse(TRY(node.string()));
        if (!ip) return node.failure(ip.error().message);
        for (const auto& other : etcd.addresses)
            if (other.is_v4() == ip->is_v4()) return node.fail("one address of each family");
        etcd.addresses.push_back(*ip);
    }
    etcd.lease_s = static_cast<unsigned>(
        TRY(map->integer_or("leaseSeconds", 5, 86400, static_cast<std::int64_t>(etcd.lease_s))));
    return {};
}

Result<> read_kubernetes(const yaml::Map& map, KubernetesConfig& config) {
    const auto section = TRY(map.map("kubernetes", {"kubeconfig", "context", "coalesceMilliseconds",
                                                    "nodeWaitSeconds", "writeStatus"}));
    if (!section) return {};
    config.kubeconfig = TRY(section->string_or("kubeconfig", config.kubeconfig));
    config.context = TRY(section->string_or("context", config.context));
    config.coalesce_ms = static_cast<unsigned>(
        TRY(section->integer_or("coalesceMilliseconds", 0, 10'000, config.coalesce_ms)));
    config.node_wait_s = static_cast<unsigned>(
        TRY(section->integer_or("nodeWaitSeconds", 0, 86'400, config.node_wait_s)));
    config.write_status = TRY(section->boolean_or("writeStatus", config.write_status));
    return {};
}

} // namespace

Result<> read_source(const yaml::Map& root, SourceSection& config, std::string& manifests) {
    const auto map = TRY(root.map("source", {"kind", "manifests", "kubernetes", "etcd"}));
    if (!map) return {};
    const auto kind = TRY(map->choice_or("kind", {"files", "kubernetes", "etcd"}, "files"));
    config.kind = kind == "kubernetes" ? SourceKind::kubernetes
                  : kind == "etcd"     ? SourceKind::etcd
                                       : SourceKind::files;
    manifests = TRY(map->string_or("manifests", manifests));
    TRY(read_kubernetes(*map, config.kubernetes));
    // Endpoints of a source that is not in use may be missing, not wrong.
    if (config.kind == SourceKind::etcd || map->find("etcd")) TRY(read_etcd(*map, config.etcd));
    return {};
}

} // namespace beeline::agent
