// The datapath's maps as values: what `compile` wants them to hold and what `sync` writes.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <unordered_map>

#include "abi/identity.h"
#include "abi/policy.h"
#include "abi/service.h"

namespace beeline::datapath {

// Hash and equality over the bytes of the padded-to-zero structs of bpf/abi.
struct BytesHash {
    template <typename T>
    std::size_t operator()(const T& value) const noexcept {
        return std::hash<std::string_view>{}({reinterpret_cast<const char*>(&value), sizeof value});
    }
};
struct BytesEqual {
    template <typename T>
    bool operator()(const T& a, const T& b) const noexcept {
        return std::memcmp(&a, &b, sizeof a) == 0;
    }
};
template <typename K, typename V>
using Table = std::unordered_map<K, V, BytesHash, BytesEqual>;

struct Tables {
    Table<bl_addr, bl_endpoint> endpoints;
    Table<bl_prefix, bl_ipcache> ipcache;
    Table<std::uint32_t, bl_identity> identities;
    Table<bl_policy_key, bl_policy> policy;
    Table<bl_svc_key, bl_svc> services;
    Table<bl_slot_key, std::uint32_t> slots;
    Table<std::uint32_t, bl_backend> backends;
};

}  // namespace beeline::datapath
