// Text of manifests -> objects of the model. Kubernetes' own YAML and JSON for the kinds below, and
// `List` of them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/objects.h"
#include "source/yaml.h"

namespace beeline::source {

enum class ObjectKind { namespace_, node, pod, service, endpoint_slice, network_policy };

std::string_view kind_name(ObjectKind kind);   // "NetworkPolicy"
std::string_view kind_plural(ObjectKind kind); // "networkpolicies"
// Any case; also the plural and kubectl's short names ("netpol", "svc").
std::optional<ObjectKind> parse_kind(std::string_view text);
inline bool has_namespace(ObjectKind kind) {
    return kind != ObjectKind::namespace_ && kind != ObjectKind::node;
}

struct Manifest {
    ObjectKind kind = ObjectKind::namespace_;
    model::ObjectName name;
    std::variant<model::Namespace, model::ClusterNode, model::Pod, model::Service,
                 model::EndpointSlice, model::Policy>
        object;
    std::string yaml;  // this object alone, as it was written
    unsigned line = 0; // where it begins
    std::vector<std::string>
        warnings; // accepted, but something has no effect; with position and path

    [[nodiscard]] std::string title() const; // "NetworkPolicy shop/allow-web"
};

// Every object of `text`, in order. One wrong field fails the whole text; `file` is named in
// errors. The same object twice is an error.
Result<std::vector<Manifest>> read_manifests(std::string_view text, std::string_view file,
                                             const yaml::Limits& limits = {});

// One object from a mapping that has been read already; `yaml` stays empty.
Result<Manifest> read_manifest(const yaml::Node& root);
// The same for one whose kind is known: items of an API server's lists do not say it.
Result<Manifest> read_manifest(ObjectKind kind, const yaml::Node& root);

} // namespace beeline::source
