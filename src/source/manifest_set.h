// Several manifest files -> one set of objects. Pure: no disk, no clock.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/objects.h"
#include "source/manifest.h"

namespace beeline::source {

struct ManifestFile {
    std::string text;
    std::vector<Manifest> manifests;
};

// By file name, which is also the order of precedence.
using ManifestFiles = std::map<std::string, std::shared_ptr<const ManifestFile>>;

using ObjectKey = std::pair<ObjectKind, model::ObjectName>;

struct MergedFiles {
    struct Place {
        std::string file;
        const Manifest* manifest = nullptr; // lives in the ManifestFiles that were merged
    };
    // An object that is left out, since another one came first.
    struct Conflict {
        std::string file;
        unsigned line = 0;
        std::string message; // names both objects and the file that stays in force
        bool operator==(const Conflict&) const = default;
    };
    model::Objects objects;
    std::map<ObjectKey, Place> places; // of every object in `objects`
    std::vector<Conflict> conflicts;
};

// The first of two equal objects stays; so does the first of two Services with one cluster address.
MergedFiles merge(const ManifestFiles& files);

// The file that `apply` keeps an object in: "networkpolicy.shop.allow-web.yaml".
std::string object_file_name(ObjectKind kind, const model::ObjectName& name);

// Not hidden, and .yaml, .yml or .json: everything else in the folder belongs to someone else.
bool is_manifest_file_name(std::string_view name);

} // namespace beeline::source
