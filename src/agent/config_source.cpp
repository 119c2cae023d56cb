#include "agent/config_source.h"

namespace beeline::agent {
namespace {

namespace yaml = source::yaml;

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

Result<> read_source(const yaml::Map& root, SourceConfig& config) {
    const auto map = TRY(root.map("source", {"kind", "manifests", "kubernetes"}));
    if (!map) return {};
    const auto kind = TRY(map->choice_or("kind", {"files", "kubernetes"}, "files"));
    config.kind = kind == "kubernetes" ? SourceConfig::Kind::kubernetes : SourceConfig::Kind::files;
    config.manifests = TRY(map->string_or("manifests", config.manifests));
    return read_kubernetes(*map, config.kubernetes);
}

} // namespace beeline::agent
