// The section `source` of the configuration.
#pragma once

#include "base/result.h"
#include "source/etcd/options.h"
#include "source/yaml.h"

namespace beeline::agent {

enum class SourceKind { files, etcd };

struct SourceSection {
    SourceKind kind = SourceKind::files;
    source::EtcdOptions etcd;
};

// `manifests` is the folder of kind files.
Result<> read_source(const source::yaml::Map& root, SourceSection& section, std::string& manifests);

} // namespace beeline::agent
