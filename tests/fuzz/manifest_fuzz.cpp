// libs: beeline_source
// Manifests: whatever the text is, it becomes objects that keep the promises of the model and whose stored text means
// the same again, or one error that can be shown.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "source/manifest.h"
#include "source/manifest_set.h"
#include "source/names.h"
#include "source/yaml.h"

using namespace beeline;
using namespace beeline::source;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

void check_text(const std::string& message) {
    require(message.starts_with("f.yaml:"));
    require(yaml::invalid_utf8(message) == std::string::npos);
    require(std::none_of(message.begin(), message.end(), [](char c) { return c >= 0 && c < ' '; }));
}

void check(const model::LabelSelector& selector) {
    for (const auto& each : selector.requirements) {
        using Operator = model::Requirement::Operator;
        require(label_key_problem(each.key).empty());
        require(each.values.empty() ==
                (each.op == Operator::exists || each.op == Operator::does_not_exist));
    }
}

void check(const model::Rule& rule) {
    require(rule.any_peer == rule.peers.empty() && rule.any_port == rule.ports.empty());
    for (const auto& peer : rule.peers) {
        require(peer.block.has_value() != (peer.pods || peer.namespaces));
        if (peer.pods) check(*peer.pods);
        if (peer.namespaces) check(*peer.namespaces);
        if (!peer.block) continue;
        for (const auto& except : peer.block->except)
            require(peer.block->cidr.contains(except));
    }
    for (const auto& port : rule.ports) {
        require(port.first <= port.last && port.protocol != model::Protocol::any);
        require(port.name.empty() || port_name_problem(port.name).empty());
    }
}

void check(const model::Policy& policy) {
    require(policy.isolates_ingress || policy.isolates_egress);
    check(policy.subject);
    for (const auto& rule : policy.ingress)
        check(rule);
    for (const auto& rule : policy.egress)
        check(rule);
}

void check(const model::Service& service) {
    require(service.cluster_ips.size() <= 2);
    require(service.cluster_ips.empty() || !(service.headless || service.external_name));
    for (const auto& port : service.ports) {
        require(port.port != 0 && (port.target_port == 0) != port.target_name.empty());
    }
}

void check(const model::EndpointSlice& slice) {
    for (const auto& port : slice.ports)
        require(port.port != 0);
    for (const auto& endpoint : slice.endpoints)
        require(!endpoint.address.is_zero());
}

void check(const model::ClusterNode& node) {
    require(!node.name.empty());
    require(node.pod_ranges.size() <= 2);
    for (const auto& ip : node.addresses)
        require(!ip.is_zero());
}

void check(const model::Pod& pod) {
    for (const auto& port : pod.ports)
        require(port.port != 0 && port_name_problem(port.name).empty());
}

void check(const model::Namespace& space) {
    require(space.labels.at("kubernetes.io/metadata.name") == space.name);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    // Small, so that what only takes long is no finding.
    const yaml::Limits limits{.bytes = 1U << 16, .depth = 64, .values = 20'000};

    const auto documents = yaml::read(text, "f.yaml", limits);
    if (!documents) check_text(documents.error().message);
    auto manifests = read_manifests(text, "f.yaml", limits);
    if (!manifests) {
        check_text(manifests.error().message);
        return 0;
    }
    require(documents.has_value());
    for (const auto& manifest : *manifests) {
        for (const auto& warning : manifest.warnings)
            check_text(warning);
        require(has_namespace(manifest.kind) != manifest.name.space.empty());
        require(is_manifest_file_name(object_file_name(manifest.kind, manifest.name)));
        std::visit([](const auto& object) { check(object); }, manifest.object);
        // Text that grew while it was written anew (quotes, indentation) may exceed the small limit.
        const auto again = read_manifests(manifest.yaml, "f.yaml");
        require(again && again->size() == 1);
        require(again->front().object == manifest.object && again->front().yaml == manifest.yaml);
    }
    ManifestFiles files;
    files.emplace("f.yaml", std::make_shared<ManifestFile>(
                                ManifestFile{std::string(text), std::move(*manifests)}));
    const auto merged = merge(files);
    require(merged.places.size() + merged.conflicts.size() ==
            files.begin()->second->manifests.size());
    return 0;
}
