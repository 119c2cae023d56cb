// Desired state: the objects that sources (files, later Kubernetes and etcd) deliver.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/l7_choice.h"
#include "model/labels.h"
#include "model/policy.h"
#include "model/protocol.h"
#include "net/address.h"

namespace beeline::model {

// Does a pattern of the command line and the API name this workload? "shop/web", "shop/" for a whole namespace, "web" in any.
bool names_workload(std::string_view pattern, std::string_view space, std::string_view name);
// The same for "shop/web" as one text; an empty one is no workload.
bool names_workload(std::string_view pattern, std::string_view full_name);

struct ObjectName {
    std::string space; // namespace; empty for cluster-wide kinds
    std::string name;
    [[nodiscard]] std::string to_string() const {
        return space.empty() ? name : space + "/" + name;
    }
    auto operator<=>(const ObjectName&) const = default;
};

struct Namespace {
    std::string name;
    Labels labels; // always with kubernetes.io/metadata.name
    bool operator==(const Namespace&) const = default;
};

struct NamedPort {
    std::string name;
    Protocol protocol = Protocol::tcp;
    std::uint16_t port = 0;
    auto operator<=>(const NamedPort&) const = default;
};

// A pod manifest. In the files setting it gives labels and ports to a workload of the same
// namespace and name; with addresses of its own (status.podIPs) it describes a pod that this agent
// does not attach.
struct Pod {
    ObjectName name;
    Labels labels;
    std::vector<NamedPort> ports;
    std::vector<net::Ip> addresses;
    std::string node;
    bool host_network = false;
    bool ready = true;
    bool finished = false;         // phase Succeeded or Failed: its addresses mean nothing
    std::optional<L7Protocols> l7; // what kL7Annotation says
    bool operator==(const Pod&) const = default;
};

// A machine of the cluster.
struct ClusterNode {
    std::string name;
    Labels labels;
    std::vector<net::Ip> addresses;      // InternalIP: where other nodes reach it
    std::vector<net::Prefix> pod_ranges; // spec.podCIDRs, one of a family
    bool ready = true;
    bool operator==(const ClusterNode&) const = default;
};

struct ServicePort {
    std::string name; // empty when the only one
    Protocol protocol = Protocol::tcp;
    std::uint16_t port = 0;
    std::uint16_t target_port = 0; // 0: by name
    std::string target_name;
    std::uint16_t node_port = 0;
    bool operator==(const ServicePort&) const = default;
};

struct Service {
    ObjectName name;
    std::vector<net::Ip> cluster_ips; // empty: headless or ExternalName
    std::vector<ServicePort> ports;
    std::optional<Labels> selector; // absent: endpoint slices are given
    std::uint32_t affinity_s = 0;   // ClientIP affinity timeout; 0: none
    bool headless = false;
    bool external_name = false;
    bool publish_not_ready = false;
    bool operator==(const Service&) const = default;
};

struct EndpointSlice {
    struct Endpoint {
        net::Ip address;
        bool ready = true;
        bool serving = true;
        bool terminating = false;
        std::string node;
        bool operator==(const Endpoint&) const = default;
    };
    struct Port {
        std::string name;
        Protocol protocol = Protocol::tcp;
        std::uint16_t port = 0;
        bool operator==(const Port&) const = default;
    };
    ObjectName name;
    std::string service; // label kubernetes.io/service-name
    std::vector<Endpoint> endpoints;
    std::vector<Port> ports;
    bool operator==(const EndpointSlice&) const = default;
};

// One consistent set of objects, as a source sees it. Sources publish a new set as a whole
// (level-triggered).
struct Objects {
    std::map<std::string, Namespace> namespaces;
    std::map<std::string, ClusterNode> nodes;
    std::map<ObjectName, Pod> pods;
    std::map<ObjectName, Service> services;
    std::map<ObjectName, EndpointSlice> slices;
    std::map<ObjectName, Policy> policies; // NetworkPolicy

    // Labels of a namespace; one without an object has only kubernetes.io/metadata.name.
    [[nodiscard]] Labels namespace_labels(const std::string& name) const;
    bool operator==(const Objects&) const = default;
};

} // namespace beeline::model
