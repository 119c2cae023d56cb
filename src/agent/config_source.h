// The section `source` of the configuration: where the desired state comes from.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "source/etcd/options.h"
#include "source/yaml.h"

namespace beeline::agent {

struct KubernetesConfig {
    std::string kubeconfig;   // empty: $KUBECONFIG, else the pod's service account, else root's own
    std::string context;      // empty: the current one
    unsigned coalesce_ms = 5; // a burst of changes counts as one
    unsigned node_wait_s = 120; // how long the start waits for the pod ranges of the own Node
    bool write_status = true;   // node condition, annotations and events
};

enum class SourceKind : std::uint8_t { files, kubernetes, etcd };

struct SourceSection {
    SourceKind kind = SourceKind::files;
    KubernetesConfig kubernetes;
    source::EtcdOptions etcd;
};

// `manifests` is the folder of kind files.
Result<> read_source(const source::yaml::Map& root, SourceSection& config, std::string& manifests);

} // namespace beeline::agent
