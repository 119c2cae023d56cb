#include "cli/etcd_objects.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "source/manifest_set.h"
#include "source/object_key.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

// What etcd takes in one transaction by default.
constexpr std::size_t kMostChanges = 128;

std::string trimmed(std::string prefix) {
    while (prefix.ends_with('/'))
        prefix.pop_back();
    return prefix;
}

Result<source::ObjectKind> kind_of(const std::string& kind) {
    const auto known = source::parse_kind(kind);
    if (known) return *known;
    return fail(Code::invalid, "'{}' is no kind of object that is known here",
                source::yaml::shown(kind));
}

json title_of(source::ObjectKind kind, const model::ObjectName& name) {
    return {{"kind", source::kind_name(kind)}, {"namespace", name.space}, {"name", name.name}};
}

std::shared_ptr<const source::ManifestFile> file_of(source::Manifest manifest) {
    auto out = std::make_shared<source::ManifestFile>();
    out->text = manifest.yaml;
    out->manifests.push_back(std::move(manifest));
    return out;
}

} // namespace

Result<json> etcd_apply(const EtcdFlags& flags, const std::string& text, bool dry_run) {
    auto manifests = TRY(source::read_manifests(text, "input"));
    if (manifests.empty()) return fail(Code::invalid, "input: there is no object in it");
    auto gateway = TRY(EtcdGateway::connect(flags));
    const auto prefix = trimmed(flags.prefix);

    std::map<std::string, EtcdGateway::Entry> known;
    source::ManifestFiles files;
    for (auto& entry : TRY(gateway.range(prefix + "/"))) {
        const auto key = source::parse_key(prefix, entry.key);
        if (key && key->node.empty()) {
            if (auto manifest = source::read_value(*key, entry.value, entry.key))
                files.emplace(entry.key, file_of(std::move(*manifest)));
        }
        known.emplace(entry.key, std::move(entry));
    }
    const auto before = source::merge(files).conflicts;

    json applied = json::array();
    json warnings = json::array();
    std::vector<EtcdGateway::Change> changes;
    for (auto& manifest : manifests) {
        const auto key = source::object_key(prefix, manifest.kind, manifest.name);
        const auto old = known.find(key);
        const bool same = old != known.end() && old->second.value == manifest.yaml;
        applied.push_back(title_of(manifest.kind, manifest.name));
        applied.back()["action"] = same ? "unchanged" : old == known.end() ? "created" : "changed";
        for (const auto& warning : manifest.warnings)
            warnings.push_back(warning);
        if (same) continue;
        changes.push_back(
            {key, manifest.yaml, old == known.end() ? 0 : old->second.modified, false});
        files[key] = file_of(std::move(manifest));
    }
    for (const auto& conflict : source::merge(files).conflicts) {
        if (std::find(before.begin(), before.end(), conflict) == before.end())
            return fail(Code::exists, "{}", conflict.message);
    }
    if (changes.size() > kMostChanges)
        return fail(Code::invalid,
                    "{} objects would change, etcd takes at most {} at once: apply them in parts",
                    changes.size(), kMostChanges);
    if (!dry_run && !changes.empty() && !TRY(gateway.change(changes)))
        return fail(Code::unavailable,
                    "the objects are being changed by others at the same time: try again");
    return json{{"applied", std::move(applied)}, {"warnings", std::move(warnings)}};
}

Result<json> etcd_get(const EtcdFlags& flags, const std::string& kind, const std::string& space,
                      const std::string& name) {
    std::optional<source::ObjectKind> wanted;
    if (!kind.empty()) wanted = TRY(kind_of(kind));
    auto gateway = TRY(EtcdGateway::connect(flags));
    const auto prefix = trimmed(flags.prefix);
    json objects = json::array();
    for (const auto& entry : TRY(gateway.range(prefix + "/"))) {
        const auto key = source::parse_key(prefix, entry.key);
        if (!key || (wanted && *wanted != key->kind) ||
            (!space.empty() && space != key->name.space) ||
            (!name.empty() && name != key->name.name))
            continue;
        objects.push_back(title_of(key->kind, key->name));
        objects.back()["file"] = entry.key;
        objects.back()["yaml"] = entry.value;
    }
    return json{{"objects", std::move(objects)}};
}

Result<> etcd_remove(const EtcdFlags& flags, const std::string& kind, const std::string& space,
                     const std::string& name) {
    const auto known = TRY(kind_of(kind));
    auto gateway = TRY(EtcdGateway::connect(flags));
    const auto key = source::object_key(trimmed(flags.prefix), known, {space, name});
    for (const auto& entry : TRY(gateway.range(key))) {
        if (entry.key != key) continue;
        if (TRY(gateway.change({{key, "", entry.modified, true}}))) return {};
        return fail(Code::unavailable, "{} is being changed by others at the same time: try again",
                    key);
    }
    return fail(Code::not_found, "{} {} does not exist", source::kind_name(known),
                model::ObjectName{space, name}.to_string());
}

} // namespace beeline::cli
