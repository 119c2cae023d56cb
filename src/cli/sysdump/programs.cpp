#include "cli/sysdump/programs.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace beeline::cli {
namespace {

constexpr std::size_t kMost = 10'000; // programs, or maps

int bpf(int command, union bpf_attr& attr) {
    return static_cast<int>(::syscall(SYS_bpf, command, &attr, sizeof(attr)));
}

union bpf_attr empty_attr() {
    union bpf_attr attr;
    std::memset(&attr, 0, sizeof(attr));
    return attr;
}

template <typename Info>
bool read_info(int fd, Info& info) {
    std::memset(&info, 0, sizeof(info));
    auto attr = empty_attr();
    attr.info.bpf_fd = static_cast<std::uint32_t>(fd);
    attr.info.info_len = sizeof(info);
    attr.info.info = reinterpret_cast<std::uint64_t>(&info);
    return bpf(BPF_OBJ_GET_INFO_BY_FD, attr) == 0;
}

// Calls `use` with a descriptor of each object.
template <typename Use>
Result<> each_object(int next, int open, const Use& use) {
    std::uint32_t id = 0;
    for (std::size_t i = 0; i < kMost; ++i) {
        auto attr = empty_attr();
        attr.start_id = id;
        if (bpf(next, attr) != 0) {
            if (errno == ENOENT) return {};
            return fail_errno(errno, "list BPF objects");
        }
        id = attr.next_id;
        attr = empty_attr();
        attr.prog_id = id;
        const Fd fd(bpf(open, attr));
        if (fd) use(fd.get()); // it may have gone in between
    }
    return {};
}

std::string name_of(const char (&name)[BPF_OBJ_NAME_LEN]) {
    return {name, ::strnlen(name, sizeof(name))};
}

} // namespace

Result<Fd> enable_bpf_statistics() {
    auto attr = empty_attr();
    attr.enable_stats.type = BPF_STATS_RUN_TIME;
    Fd fd(bpf(BPF_ENABLE_STATS, attr));
    if (!fd) return fail_errno(errno, "count run times of BPF programs");
    return fd;
}

Result<nlohmann::json> bpf_programs(std::string_view prefix) {
    auto all = nlohmann::json::array();
    TRY(each_object(BPF_PROG_GET_NEXT_ID, BPF_PROG_GET_FD_BY_ID, [&](int fd) {
        struct bpf_prog_info info;
        if (!read_info(fd, info)) return;
        const auto name = name_of(info.name);
        if (!name.starts_with(prefix)) return;
        all.push_back({{"id", info.id},
                       {"name", name},
                       {"type", info.type},
                       {"loaded_ns", info.load_time},
                       {"translated_bytes", info.xlated_prog_len},
                       {"native_bytes", info.jited_prog_len},
                       {"verified_instructions", info.verified_insns},
                       {"maps", info.nr_map_ids},
                       {"run_count", info.run_cnt},
                       {"run_time_ns", info.run_time_ns},
                       {"recursion_misses", info.recursion_misses}});
    }));
    return all;
}

Result<nlohmann::json> bpf_maps(std::string_view prefix) {
    auto all = nlohmann::json::array();
    TRY(each_object(BPF_MAP_GET_NEXT_ID, BPF_MAP_GET_FD_BY_ID, [&](int fd) {
        struct bpf_map_info info;
        if (!read_info(fd, info)) return;
        const auto name = name_of(info.name);
        if (!name.starts_with(prefix)) return;
        all.push_back({{"id", info.id},
                       {"name", name},
                       {"type", info.type},
                       {"key_bytes", info.key_size},
                       {"value_bytes", info.value_size},
                       {"max_entries", info.max_entries},
                       {"flags", info.map_flags}});
    }));
    return all;
}

} // namespace beeline::cli
