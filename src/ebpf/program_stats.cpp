#include "ebpf/program_stats.h"

#include <cerrno>
#include <map>

#include <bpf/bpf.h>

namespace beeline::ebpf {

Result<Fd> enable_run_stats() {
    Fd fd(bpf_enable_stats(BPF_STATS_RUN_TIME));
    if (!fd) return fail_errno(errno, "cannot switch on the run time of BPF programs");
    return fd;
}

Result<std::vector<ProgramStats>> program_stats(std::string_view prefix) {
    std::map<std::string, ProgramStats> found;
    for (__u32 id = 0; bpf_prog_get_next_id(id, &id) == 0;) {
        // One that was unloaded meanwhile is left out.
        const Fd fd(bpf_prog_get_fd_by_id(id));
        if (!fd) continue;
        bpf_prog_info info{};
        __u32 size = sizeof info;
        if (bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0)
            return fail_errno(errno, "cannot read about a BPF program");
        const std::string name(info.name);
        if (!name.starts_with(prefix)) continue;
        ProgramStats& stats = found[name];
        stats.name = name;
        stats.run_ns += info.run_time_ns;
        stats.runs += info.run_cnt;
    }
    std::vector<ProgramStats> out;
    out.reserve(found.size());
    for (auto& [name, stats] : found)
        out.push_back(std::move(stats));
    return out;
}

} // namespace beeline::ebpf
