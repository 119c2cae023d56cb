// Raw map entries -> JSON for people, by the map's name.
#pragma once

#include <cstddef>
#include <string>

#include <nlohmann/json.hpp>

#include "ebpf/map.h"
#include "model/directory.h"

namespace beeline::agent {

// {"key": ..., "value": ...}. Maps without a form of their own are shown as hexadecimal.
nlohmann::json map_entry(const std::string& map, const ebpf::MapInfo& info, const std::byte* key,
                         const std::byte* value, const model::Directory& directory);

} // namespace beeline::agent
