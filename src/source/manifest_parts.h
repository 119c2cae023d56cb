// Inside of src/source: what the readers of the kinds share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/objects.h"
#include "source/manifest.h"
#include "source/yaml.h"

namespace beeline::source {

struct Metadata {
    model::ObjectName name;
    model::Labels labels;
    bool deleting = false; // deletionTimestamp is set
};

// One object on its way: its top mapping, its metadata, and warnings so far.
struct Reading {
    const yaml::Map& top;
    Metadata metadata;
    std::vector<std::string>& warnings;

    void warn(const yaml::Node& node, std::string_view message) const {
        warnings.push_back(node.failure(message).value().message);
    }
    void warn_of(const yaml::Map& map, std::string_view key, std::string_view message) const {
        warnings.push_back(map.node().failure_of(key, message).value().message);
    }
};

Result<model::Namespace> read_namespace(const Reading& in);
Result<model::ClusterNode> read_node(const Reading& in);
Result<model::Pod> read_pod(const Reading& in);
Result<model::Service> read_service(const Reading& in);
Result<model::EndpointSlice> read_endpoint_slice(const Reading& in);
Result<model::Policy> read_network_policy(const Reading& in);

// Mapping of label keys to values, both checked. Absent is empty.
Result<model::Labels> read_labels(const yaml::Map& map, std::string_view key);
Result<model::LabelSelector> read_selector(const yaml::Node& node);
Result<model::Protocol> read_protocol(const yaml::Map& map); // field `protocol`, TCP when absent
Result<std::uint16_t> read_port(const yaml::Map& map, std::string_view key);
// A field that is either; absent is neither.
struct PortOrName {
    std::uint16_t port = 0;
    std::string name;
};
Result<PortOrName> read_port_or_name(const yaml::Map& map, std::string_view key);
// An address that a packet can be sent to: not unspecified, loopback, link-local, multicast or
// broadcast.
Result<net::Ip> read_unicast(const yaml::Node& node);

inline std::string_view family_name(const net::Ip& ip) { return ip.is_v4() ? "IPv4" : "IPv6"; }

using Problem = std::string_view (*)(std::string_view);
// A string that `problem` finds nothing wrong with.
Result<std::string> read_checked(const yaml::Node& node, Problem problem);

} // namespace beeline::source
