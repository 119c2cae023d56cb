#include "source/manifest_set.h"

#include <algorithm>

namespace beeline::source {
namespace {

// Room for the suffix of a temporary file within the 255 bytes that file systems take.
constexpr std::size_t kLongestFileName = 240;

std::uint64_t fnv1a(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char c : text)
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return hash;
}

class Merger {
public:
    MergedFiles run(const ManifestFiles& files) {
        for (const auto& [name, file] : files) {
            for (const auto& manifest : file->manifests)
                add(name, manifest);
        }
        return std::move(out_);
    }

private:
    void add(const std::string& file, const Manifest& manifest) {
        const ObjectKey key{manifest.kind, manifest.name};
        if (const auto first = out_.places.find(key); first != out_.places.end()) {
            conflict(file, manifest, fmt::format("is already defined in {}", first->second.file));
            return;
        }
        if (const auto* service = std::get_if<model::Service>(&manifest.object)) {
            if (!claim_addresses(file, manifest, *service)) return;
        }
        out_.places.emplace(key, MergedFiles::Place{file, &manifest});
        insert(manifest);
    }

    bool claim_addresses(const std::string& file, const Manifest& manifest,
                         const model::Service& service) {
        for (const auto& ip : service.cluster_ips) {
            const auto owner = owners_.find(ip);
            if (owner == owners_.end()) continue;
            const auto& place = out_.places.at({ObjectKind::service, owner->second});
            conflict(file, manifest,
                     fmt::format("has the cluster address {} of Service {} in {}", ip.to_string(),
                                 owner->second.to_string(), place.file));
            return false;
        }
        for (const auto& ip : service.cluster_ips)
            owners_.emplace(ip, service.name);
        return true;
    }

    void conflict(const std::string& file, const Manifest& manifest, std::string_view what) {
        out_.conflicts.push_back(
            {file, manifest.line,
             fmt::format("{} {}, which stays in force", manifest.title(), what)});
    }

    void insert(const Manifest& manifest) {
        auto& objects = out_.objects;
        const auto& object = manifest.object;
        switch (manifest.kind) {
        case ObjectKind::namespace_:
            objects.namespaces.emplace(manifest.name.name, std::get<model::Namespace>(object));
            break;
        case ObjectKind::node:
            objects.nodes.emplace(manifest.name.name, std::get<model::ClusterNode>(object));
            break;
        case ObjectKind::pod:
            objects.pods.emplace(manifest.name, std::get<model::Pod>(object));
            break;
        case ObjectKind::service:
            objects.services.emplace(manifest.name, std::get<model::Service>(object));
            break;
        case ObjectKind::endpoint_slice:
            objects.slices.emplace(manifest.name, std::get<model::EndpointSlice>(object));
            break;
        case ObjectKind::network_policy:
            objects.policies.emplace(manifest.name, std::get<model::Policy>(object));
            break;
        }
    }

    MergedFiles out_;
    std::map<net::Ip, model::ObjectName> owners_; // of cluster addresses
};

} // namespace

MergedFiles merge(const ManifestFiles& files) { return Merger().run(files); }

std::string object_file_name(ObjectKind kind, const model::ObjectName& name) {
    std::string stem(kind_name(kind));
    std::transform(stem.begin(), stem.end(), stem.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (!name.space.empty()) stem += "." + name.space;
    stem += "." + name.name;
    constexpr std::string_view kSuffix = ".yaml";
    if (stem.size() + kSuffix.size() > kLongestFileName) {
        const auto hash = fmt::format(".{:016x}", fnv1a(stem));
        stem.resize(kLongestFileName - kSuffix.size() - hash.size());
        stem += hash;
    }
    return stem.append(kSuffix);
}

bool is_manifest_file_name(std::string_view name) {
    if (name.starts_with('.')) return false;
    if (!name.ends_with(".yaml") && !name.ends_with(".yml") && !name.ends_with(".json"))
        return false;
    // The name is shown in errors and in JSON.
    return yaml::invalid_utf8(name) == std::string_view::npos &&
           std::none_of(name.begin(), name.end(),
                        [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
}

} // namespace beeline::source
