// A typed view of a BPF map. Thread-safe as the kernel's map is.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace beeline::ebpf {

struct MapInfo {
    std::string name;
    std::string type; // "hash", "lpm_trie", ...
    std::uint32_t key_size = 0;
    std::uint32_t value_size = 0;
    std::uint32_t max_entries = 0;
};

// Untyped access; sizes are those of MapInfo.
Result<MapInfo> map_info(int map);
Result<Fd> open_pinned(const std::string& path);
Result<bool> map_lookup(int map, const void* key, void* value); // false: no such key
Result<> map_update(int map, const void* key, const void* value);
Result<> map_insert(int map, const void* key,
                    const void* value);       // a key that is there keeps its value
Result<> map_erase(int map, const void* key); // an absent key is no error
// `count` keys and values one after another. Code::exhausted when the map is full.
Result<> map_update_many(int map, const void* keys, const void* values, std::uint32_t count);
// Steps over the keys; the callback gets key and value and returns false to stop.
Result<>
map_for_each(int map, const MapInfo& info,
             const std::function<bool(const std::byte* key, const std::byte* value)>& callback);
unsigned possible_cpus();

// The values of an array map that was made for it (BPF_F_MMAPABLE, as data sections are), as memory shared with the kernel.
class MapMemory {
public:
    static Result<MapMemory> of(int map);
    MapMemory() = default;
    MapMemory(MapMemory&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
    MapMemory& operator=(MapMemory&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~MapMemory();

    [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

private:
    std::span<std::byte> bytes_;
};

template <typename K, typename V>
class Map {
public:
    // Borrows `fd`. Fails when the kernel's sizes are not those of K and V.
    static Result<Map> of(int fd) {
        const MapInfo info = TRY(map_info(fd));
        if (info.key_size != sizeof(K) || info.value_size != sizeof(V)) {
            return fail(Code::internal, "map {} has key {} value {}, expected {} and {}", info.name,
                        info.key_size, info.value_size, sizeof(K), sizeof(V));
        }
        return Map(fd, info);
    }

    [[nodiscard]] const MapInfo& info() const { return info_; }
    [[nodiscard]] Result<std::optional<V>> lookup(const K& key) const {
        V value;
        if (!TRY(map_lookup(fd_, &key, &value))) return std::nullopt;
        return value;
    }
    Result<> update(const K& key, const V& value) const { return map_update(fd_, &key, &value); }
    Result<> erase(const K& key) const { return map_erase(fd_, &key); }
    Result<> update_many(const std::vector<K>& keys, const std::vector<V>& values) const {
        return map_update_many(fd_, keys.data(), values.data(),
                               static_cast<std::uint32_t>(keys.size()));
    }
    template <typename F>
    Result<> for_each(F callback) const {
        return map_for_each(fd_, info_, [&](const std::byte* k, const std::byte* v) {
            K key;
            V value;
            std::memcpy(&key, k, sizeof key);
            std::memcpy(&value, v, sizeof value);
            callback(key, value);
            return true;
        });
    }

private:
    Map(int fd, MapInfo info) : fd_(fd), info_(std::move(info)) {}
    int fd_;
    MapInfo info_;
};

// Sum over the CPUs of each slot of a per-CPU array of u64.
Result<std::vector<std::uint64_t>> per_cpu_sums(int map);

} // namespace beeline::ebpf
