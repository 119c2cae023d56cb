// The datapath's maps as values: what `compile` wants them to hold and what `sync` writes.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <unordered_map>

#include "abi/identity.h"
#include "abi/node.h"
#include "abi/policy.h"
#include "abi/service.h"
#include "net/address.h"

namespace beeline::datapath {

// Hash and equality over the bytes of the padded-to-zero structs of bpf/abi.
struct BytesHash {
    template <typename T>
    std::size_t operator()(const T& value) const noexcept {
        return std::hash<std::string_view>{}({reinterpret_cast<const char*>(&value), sizeof value});
    }
    // Neighbouring peers of a subject become neighbouring buckets: a broad policy has a million such entries, and
    // going through them at random is what would cost most of their compilation.
    std::size_t operator()(const bl_policy_key& key) const noexcept {
        std::uint64_t rest = (std::uint64_t{key.subject} << 32) | (std::uint64_t{key.port} << 16) |
                             (std::uint64_t{key.proto} << 8) | (key.prefixlen << 1) | key.direction;
        rest *= 0x9e3779b97f4a7c15;
        return (rest ^ (rest >> 32)) + key.peer;
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

inline bl_addr to_abi(const net::Ip& ip) {
    bl_addr addr;
    std::memcpy(addr.byte, ip.bytes.data(), sizeof addr.byte);
    return addr;
}

inline net::Ip from_abi(const bl_addr& addr) {
    net::Ip ip;
    std::memcpy(ip.bytes.data(), addr.byte, sizeof addr.byte);
    return ip;
}

inline bl_prefix to_abi(const net::Prefix& prefix) {
    return {prefix.mapped_length(), to_abi(prefix.base)};
}

struct Tables {
    Table<bl_addr, bl_endpoint> endpoints;
    Table<bl_prefix, bl_ipcache> ipcache;
    Table<std::uint32_t, bl_identity> identities;
    Table<bl_policy_key, bl_policy> policy;
    Table<bl_svc_key, bl_svc> services;
    Table<bl_slot_key, std::uint32_t> slots;
    Table<std::uint32_t, bl_backend> backends;
    Table<std::uint32_t, bl_node> nodes; // by number, from 1
};

} // namespace beeline::datapath
