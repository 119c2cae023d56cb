// Objects of the model -> Kubernetes' JSON of them, with what the agent knows: read back, it gives the same object. For
// sources that keep no text of what they read.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "source/manifest.h"
#include "source/source.h"

namespace beeline::source {

using ObjectKey = std::pair<ObjectKind, model::ObjectName>;
using Object = decltype(Manifest::object);

std::string to_json(const Object& object);
std::string to_yaml(const Object& object);

// What `filter` selects of a set, as YAML. `place` stands for the file.
Result<std::vector<StoredObject>>
list_objects(const model::Objects& objects, const ObjectFilter& filter, const std::string& place);

// Calls function(ObjectKind, name, object) for every object.
template <typename F>
void for_each_object(const model::Objects& objects, F function) {
    for (const auto& [name, object] : objects.namespaces)
        function(ObjectKind::namespace_, model::ObjectName{"", name}, object);
    for (const auto& [name, object] : objects.nodes)
        function(ObjectKind::node, model::ObjectName{"", name}, object);
    for (const auto& [name, object] : objects.pods)
        function(ObjectKind::pod, name, object);
    for (const auto& [name, object] : objects.services)
        function(ObjectKind::service, name, object);
    for (const auto& [name, object] : objects.slices)
        function(ObjectKind::endpoint_slice, name, object);
    for (const auto& [name, object] : objects.policies)
        function(ObjectKind::network_policy, name, object);
}

// One object set, replaced or taken out. Returns whether that changed anything.
bool put_object(model::Objects& objects, const ObjectKey& key, const Object& object);
bool erase_object(model::Objects& objects, const ObjectKey& key);
bool has_object(const model::Objects& objects, const ObjectKey& key);
bool has_equal(const model::Objects& objects, const ObjectKey& key, const Object& object);

// The last set that a source had, in a file, for a start while its place cannot be reached.
Result<> save_objects(const std::string& path, const model::Objects& objects);
// not_found when there is none. Lines that cannot be read are left out and named in `problems`.
Result<model::Objects> load_objects(const std::string& path, std::vector<std::string>& problems);

} // namespace beeline::source
