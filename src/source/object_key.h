// Where an object is kept below a prefix of etcd, and what a key there means.
//   PREFIX/networkpolicies/shop/allow-web   an object of a namespace
//   PREFIX/nodes/node-1                     one of the whole cluster
//   PREFIX/workloads/node-1/shop/web        what a node says of a workload of its own, a Pod
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "source/manifest.h"

namespace beeline::source {

struct StoredKey {
    ObjectKind kind = ObjectKind::pod;
    model::ObjectName name;
    std::string node; // of a workload; else empty
    bool operator==(const StoredKey&) const = default;
};

// Begins with '/', does not end with one, and is plain text without empty parts.
bool is_key_prefix(std::string_view prefix);

std::string object_key(std::string_view prefix, ObjectKind kind, const model::ObjectName& name);
std::string workload_key(std::string_view prefix, std::string_view node,
                         const model::ObjectName& name);
Result<StoredKey> parse_key(std::string_view prefix, std::string_view key);

// The one object that a value holds, which must be the one that the key names. `shown` stands for the key in errors.
Result<Manifest> read_value(const StoredKey& key, std::string_view text, std::string_view shown,
                            const yaml::Limits& limits = {});

} // namespace beeline::source
