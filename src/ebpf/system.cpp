#include "ebpf/system.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <sstream>
#include <vector>

#include "base/fd.h"

namespace beeline::ebpf {
namespace {

Result<> mount_if_absent(const char* path, const char* type, long magic) {
    struct statfs status{};
    if (statfs(path, &status) == 0 && status.f_type == magic) return {};
    if (mount(type, path, type, 0, nullptr) != 0) {
        return fail_errno(errno, fmt::format("cannot mount {} at {}", type, path));
    }
    return {};
}

// { r0 = 0; exit }
const bpf_insn kReturnZero[] = {
    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 0},
    {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
};

Fd load(bpf_prog_type type, int attach_type = 0, int btf_id = 0) {
    bpf_prog_load_opts options{};
    options.sz = sizeof options;
    options.expected_attach_type = static_cast<bpf_attach_type>(attach_type);
    options.attach_btf_id = static_cast<std::uint32_t>(btf_id);
    return Fd(bpf_prog_load(type, "bl_probe", "GPL", kReturnZero, 2, &options));
}

bool has_tcx() {
    const Fd program = load(BPF_PROG_TYPE_SCHED_CLS);
    if (!program) return false;
    // The loopback device of the agent's own namespace, for a moment, with a program that passes
    // everything on.
    bpf_link_create_opts options{};
    options.sz = sizeof options;
    const bpf_insn next[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K,
         .dst_reg = BPF_REG_0,
         .src_reg = 0,
         .off = 0,
         .imm = -1},
        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
    };
    bpf_prog_load_opts load_options{};
    load_options.sz = sizeof load_options;
    const Fd pass(
        bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "bl_probe", "GPL", next, 2, &load_options));
    const Fd link(bpf_link_create(pass.get(), static_cast<int>(if_nametoindex("lo")),
                                  BPF_TCX_INGRESS, &options));
    return static_cast<bool>(link);
}

// The kernel's types: reading them takes longer than all probes together.
using Types = std::unique_ptr<btf, decltype(&btf__free)>;

bool has_tracing(const Types& types, const char* name, std::uint32_t kind, bpf_attach_type attach) {
    const int id = types ? btf__find_by_name_kind(types.get(), name, kind) : 0;
    if (id <= 0) return false;
    const Fd program = load(BPF_PROG_TYPE_TRACING, attach, id);
    if (!program) return false;
    const Fd link(bpf_raw_tracepoint_open(nullptr, program.get()));
    return static_cast<bool>(link);
}

bool has_kprobe() { return access("/sys/bus/event_source/devices/kprobe/type", R_OK) == 0; }

// Loading is possible where attaching is refused, so the list of active modules decides too.
bool has_lsm(const Types& types) {
    std::ifstream file("/sys/kernel/security/lsm");
    std::string modules;
    std::getline(file, modules);
    if ((',' + modules + ',').find(",bpf,") == std::string::npos || !types) return false;
    const int id = btf__find_by_name_kind(types.get(), "bpf_lsm_file_open", BTF_KIND_FUNC);
    if (id <= 0) return false;
    return static_cast<bool>(load(BPF_PROG_TYPE_LSM, BPF_LSM_MAC, id));
}

bool has_helper(bpf_prog_type type, bpf_func_id helper) {
    return libbpf_probe_bpf_helper(type, helper, nullptr) == 1;
}

} // namespace

Result<> mount_file_systems() {
    TRY(mount_if_absent("/sys/fs/bpf", "bpf", BPF_FS_MAGIC));
    return mount_if_absent("/sys/kernel/tracing", "tracefs", TRACEFS_MAGIC);
}

namespace {

// Of a whole file system: a bind mount of a part of a hierarchy is not what is looked for.
std::vector<std::string> mounts_of(std::string_view type) {
    std::ifstream mounts("/proc/self/mountinfo");
    const std::string mark = fmt::format(" - {} ", type);
    std::vector<std::string> found;
    for (std::string line; std::getline(mounts, line);) {
        if (line.find(mark) == std::string::npos) continue;
        std::istringstream fields(line);
        std::string id, parent, device, root, path;
        fields >> id >> parent >> device >> root >> path;
        if (root == "/") found.push_back(path);
    }
    return found;
}

} // namespace

std::vector<std::string> cgroup1_mounts() { return mounts_of("cgroup"); }

Result<std::string> cgroup2_mount() {
    std::string best;
    for (const auto& path : mounts_of("cgroup2")) {
        if (best.empty() || path.size() < best.size()) best = path;
    }
    if (best.empty()) {
        return fail(Code::unsupported, "cgroup2 is not mounted: mount it with 'mount -t cgroup2 "
                                       "cgroup2 /sys/fs/cgroup/unified'");
    }
    return best;
}

bool has_tracepoint(const std::string& name) {
    btf* types = btf__load_vmlinux_btf();
    if (types == nullptr) return false;
    const int id = btf__find_by_name_kind(types, ("btf_trace_" + name).c_str(), BTF_KIND_TYPEDEF);
    btf__free(types);
    return id > 0;
}

std::vector<Feature> probe_features() {
    const Types types(btf__load_vmlinux_btf(), btf__free);
    return {
        {"ring buffer", libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, nullptr) == 1,
         "no flows: Beeline cannot run"},
        {"socket hooks",
         static_cast<bool>(load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT)),
         "services are translated packet by packet; flows know no process"},
        {"socket storage", libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SK_STORAGE, nullptr) == 1,
         "flows know no process"},
        {"redirect to peer", has_helper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_redirect_peer),
         "Beeline cannot deliver between workloads"},
        {"tcx", has_tcx(), "programs are attached by clsact, which is a little slower"},
        {"set retval", has_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval),
         "a service without backends answers EPERM instead of ECONNREFUSED"},
        {"map iteration in BPF", has_helper(BPF_PROG_TYPE_SYSCALL, BPF_FUNC_for_each_map_elem),
         "idle connections are swept by the agent"},
        {"tp_btf",
         has_tracing(types, "btf_trace_sched_process_exec", BTF_KIND_TYPEDEF, BPF_TRACE_RAW_TP),
         "no runtime security events"},
        {"fentry", has_tracing(types, "bpf_fentry_test1", BTF_KIND_FUNC, BPF_TRACE_FENTRY),
         "sensors use tracepoints instead"},
        {"kprobe", has_kprobe(), "sensors use tracepoints instead"},
        {"BPF LSM", has_lsm(types),
         "file and exec actions cannot be denied, only reported and killed"},
    };
}

} // namespace beeline::ebpf
