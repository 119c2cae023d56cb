#include "ebpf/map.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

namespace beeline::ebpf {
namespace {

Failure update_failure(int error, int map) {
    const auto info = map_info(map);
    const std::string name = info ? info->name : "?";
    if (error == E2BIG || error == ENOSPC) {
        return fail(Code::exhausted, "map {} is full ({} entries)", name,
                    info ? info->max_entries : 0);
    }
    return fail_errno(error, "cannot update map " + name);
}

} // namespace

Result<MapInfo> map_info(int map) {
    bpf_map_info info{};
    std::uint32_t size = sizeof info;
    if (const int error = bpf_map_get_info_by_fd(map, &info, &size); error != 0) {
        return fail_errno(-error, "cannot read map info");
    }
    const char* type = libbpf_bpf_map_type_str(static_cast<bpf_map_type>(info.type));
    return MapInfo{info.name, type != nullptr ? type : "unknown", info.key_size, info.value_size,
                   info.max_entries};
}

Result<Fd> open_pinned(const std::string& path) {
    const int fd = bpf_obj_get(path.c_str());
    if (fd < 0) return fail_errno(-fd, "cannot open " + path);
    return Fd(fd);
}

Result<bool> map_lookup(int map, const void* key, void* value) {
    const int error = bpf_map_lookup_elem(map, key, value);
    if (error == -ENOENT) return false;
    if (error != 0) return fail_errno(-error, "cannot look up in a map");
    return true;
}

Result<> map_update(int map, const void* key, const void* value) {
    if (const int error = bpf_map_update_elem(map, key, value, BPF_ANY); error != 0) {
        return update_failure(-error, map);
    }
    return {};
}

Result<> map_insert(int map, const void* key, const void* value) {
    const int error = bpf_map_update_elem(map, key, value, BPF_NOEXIST);
    if (error != 0 && error != -EEXIST) return update_failure(-error, map);
    return {};
}

Result<> map_erase(int map, const void* key) {
    const int error = bpf_map_delete_elem(map, key);
    if (error != 0 && error != -ENOENT) return fail_errno(-error, "cannot delete from a map");
    return {};
}

Result<> map_update_many(int map, const void* keys, const void* values, std::uint32_t count) {
    if (count == 0) return {};
    std::uint32_t done = count;
    const int error = bpf_map_update_batch(map, keys, values, &done, nullptr);
    if (error == 0) return {};
    if (error != -EOPNOTSUPP && error != -524 /* ENOTSUPP */ && error != -EINVAL)
        return update_failure(-error, map);
    const MapInfo info = TRY(map_info(map));
    const auto* key = static_cast<const std::byte*>(keys);
    const auto* value = static_cast<const std::byte*>(values);
    for (std::uint32_t i = 0; i < count; ++i, key += info.key_size, value += info.value_size) {
        TRY(map_update(map, key, value));
    }
    return {};
}

Result<> map_for_each(int map, const MapInfo& info,
                      const std::function<bool(const std::byte*, const std::byte*)>& callback) {
    const bool per_cpu = info.type.starts_with("percpu");
    std::vector<std::byte> key(info.key_size);
    std::vector<std::byte> next(info.key_size);
    std::vector<std::byte> value(per_cpu ? ((info.value_size + 7) & ~7U) * possible_cpus()
                                         : info.value_size);
    int error = bpf_map_get_next_key(map, nullptr, next.data());
    while (error == 0) {
        key.swap(next);
        // The entry may be gone by now: then it is simply not reported.
        if (bpf_map_lookup_elem(map, key.data(), value.data()) == 0 &&
            !callback(key.data(), value.data()))
            return {};
        error = bpf_map_get_next_key(map, key.data(), next.data());
    }
    if (error != -ENOENT) return fail_errno(-error, "cannot walk map " + info.name);
    return {};
}

unsigned possible_cpus() {
    const int cpus = libbpf_num_possible_cpus();
    return cpus > 0 ? static_cast<unsigned>(cpus) : 1;
}

Result<std::vector<std::uint64_t>> per_cpu_sums(int map) {
    const MapInfo info = TRY(map_info(map));
    std::vector<std::uint64_t> sums(info.max_entries);
    std::vector<std::uint64_t> values(possible_cpus());
    for (std::uint32_t index = 0; index < info.max_entries; ++index) {
        if (!TRY(map_lookup(map, &index, values.data()))) continue;
        for (const auto value : values)
            sums[index] += value;
    }
    return sums;
}

Result<MapMemory> MapMemory::of(int map) {
    const MapInfo info = TRY(map_info(map));
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t values = (info.value_size + 7ULL) / 8 * 8 * info.max_entries;
    const std::size_t size = (values + page - 1) / page * page;
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
    if (memory == MAP_FAILED) return fail_errno(errno, "cannot map the memory of map " + info.name);
    MapMemory out;
    out.bytes_ = {static_cast<std::byte*>(memory), size};
    return out;
}

MapMemory::~MapMemory() {
    if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

} // namespace beeline::ebpf
