#include "ebpf/link.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace beeline::ebpf {
namespace {

bpf_attach_type attach_type(Hook hook) {
    switch (hook) {
    case Hook::tcx_ingress: return BPF_TCX_INGRESS;
    case Hook::tcx_egress: return BPF_TCX_EGRESS;
    case Hook::cgroup_connect4: return BPF_CGROUP_INET4_CONNECT;
    case Hook::cgroup_connect6: return BPF_CGROUP_INET6_CONNECT;
    case Hook::cgroup_sendmsg4: return BPF_CGROUP_UDP4_SENDMSG;
    case Hook::cgroup_sendmsg6: return BPF_CGROUP_UDP6_SENDMSG;
    case Hook::cgroup_recvmsg4: return BPF_CGROUP_UDP4_RECVMSG;
    case Hook::cgroup_recvmsg6: return BPF_CGROUP_UDP6_RECVMSG;
    case Hook::cgroup_getpeername4: return BPF_CGROUP_INET4_GETPEERNAME;
    case Hook::cgroup_getpeername6: return BPF_CGROUP_INET6_GETPEERNAME;
    case Hook::cgroup_post_bind4: return BPF_CGROUP_INET4_POST_BIND;
    case Hook::cgroup_post_bind6: return BPF_CGROUP_INET6_POST_BIND;
    case Hook::cgroup_sock_create: return BPF_CGROUP_INET_SOCK_CREATE;
    }
    return BPF_TCX_INGRESS;
}

bool is_tcx(Hook hook) { return hook == Hook::tcx_ingress || hook == Hook::tcx_egress; }

// Is the pinned link attached to this very target? A link whose device or cgroup went away stays
// pinned, dead.
bool alive(int link, Hook hook, int target) {
    bpf_link_info info{};
    std::uint32_t size = sizeof info;
    if (bpf_link_get_info_by_fd(link, &info, &size) != 0) return false;
    if (is_tcx(hook)) return info.tcx.ifindex == static_cast<std::uint32_t>(target);
    struct stat status{};
    return fstat(target, &status) == 0 && info.cgroup.cgroup_id == status.st_ino;
}

} // namespace

Result<> attach_pinned(int program, Hook hook, int target, const std::string& pin, bool first) {
    const Fd old(bpf_obj_get(pin.c_str()));
    if (old) {
        if (alive(old.get(), hook, target) && bpf_link_update(old.get(), program, nullptr) == 0)
            return {};
        if (unlink(pin.c_str()) != 0)
            return fail_errno(errno, "cannot remove the dead link " + pin);
    }
    bpf_link_create_opts options{};
    options.sz = sizeof options;
    if (first) options.flags = BPF_F_BEFORE;
    const Fd link(bpf_link_create(program, target, attach_type(hook), &options));
    if (!link) return fail_errno(errno, "cannot attach " + pin);
    if (const int error = bpf_obj_pin(link.get(), pin.c_str()); error != 0) {
        return fail_errno(-error, "cannot pin " + pin);
    }
    return {};
}

Result<Fd> pinned_program(const std::string& pin) {
    const Fd link(bpf_obj_get(pin.c_str()));
    if (!link) return fail_errno(errno, "cannot open " + pin);
    bpf_link_info info{};
    std::uint32_t size = sizeof info;
    if (const int error = bpf_link_get_info_by_fd(link.get(), &info, &size); error != 0) {
        return fail_errno(-error, "cannot read " + pin);
    }
    Fd program(bpf_prog_get_fd_by_id(info.prog_id));
    if (!program) return fail_errno(errno, "cannot open the program of " + pin);
    return program;
}

Result<> attach_clsact(int program, Hook hook, int ifindex, std::uint32_t handle) {
    bpf_tc_hook where{};
    where.sz = sizeof where;
    where.ifindex = ifindex;
    where.attach_point = hook == Hook::tcx_ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS;
    if (const int error = bpf_tc_hook_create(&where); error != 0 && error != -EEXIST) {
        return fail_errno(-error, "cannot create the clsact hook");
    }
    bpf_tc_opts options{};
    options.sz = sizeof options;
    options.prog_fd = program;
    options.handle = handle;
    options.priority = 1;
    options.flags = BPF_TC_F_REPLACE;
    if (const int error = bpf_tc_attach(&where, &options); error != 0) {
        return fail_errno(-error, "cannot attach to the clsact hook");
    }
    return {};
}

Result<Fd> attach_tp_btf(int program) {
    Fd link(bpf_raw_tracepoint_open(nullptr, program));
    if (!link) return fail_errno(errno, "cannot attach to a tracepoint");
    return link;
}

Result<Fd> attach_tracepoint(int program, const std::string& event) {
    const std::string path = "/sys/kernel/tracing/events/" + event + "/id";
    const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::array<char, 32> text{};
    if (!file || read(file.get(), text.data(), text.size() - 1) <= 0)
        return fail_errno(errno, "cannot read " + path);
    perf_event_attr attributes{};
    attributes.type = PERF_TYPE_TRACEPOINT;
    attributes.size = sizeof attributes;
    attributes.config = std::strtoull(text.data(), nullptr, 10);
    // A program at a tracepoint runs on every CPU, wherever the event is opened.
    Fd perf(static_cast<int>(
        syscall(SYS_perf_event_open, &attributes, -1, 0, -1, PERF_FLAG_FD_CLOEXEC)));
    if (!perf) return fail_errno(errno, "cannot open tracepoint " + event);
    if (ioctl(perf.get(), PERF_EVENT_IOC_SET_BPF, program) != 0 ||
        ioctl(perf.get(), PERF_EVENT_IOC_ENABLE, 0) != 0) {
        return fail_errno(errno, "cannot attach to tracepoint " + event);
    }
    return perf;
}

Result<Fd> attach_uprobe(int program, const Uprobe& where) {
    constexpr const char* kSource = "/sys/bus/event_source/devices/uprobe/";
    const auto number = [&](const char* name, const char* skip) -> Result<std::uint64_t> {
        const std::string path = std::string(kSource) + name;
        const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
        std::array<char, 32> text{};
        if (!file || read(file.get(), text.data(), text.size() - 1) <= 0)
            return fail_errno(errno, "cannot read " + path);
        const std::string_view value(text.data());
        if (!value.starts_with(skip)) return fail(Code::invalid, "{} says '{}'", path, value);
        return std::strtoull(text.data() + std::string_view(skip).size(), nullptr, 10);
    };
    perf_event_attr attributes{};
    attributes.type = static_cast<std::uint32_t>(TRY(number("type", "")));
    attributes.size = sizeof attributes;
    if (where.at_return)
        attributes.config = std::uint64_t{1} << TRY(number("format/retprobe", "config:"));
    attributes.config1 = reinterpret_cast<std::uint64_t>(where.file.c_str());
    attributes.config2 = where.offset;
    const Fd perf(static_cast<int>(
        syscall(SYS_perf_event_open, &attributes, -1, 0, -1, PERF_FLAG_FD_CLOEXEC)));
    if (!perf) return fail_errno(errno, "cannot place a uprobe in " + where.file);
    bpf_link_create_opts options{};
    options.sz = sizeof options;
    options.perf_event.bpf_cookie = where.cookie;
    // The link holds the event.
    Fd link(bpf_link_create(program, perf.get(), BPF_PERF_EVENT, &options));
    if (!link) return fail_errno(errno, "cannot attach to a uprobe in " + where.file);
    return link;
}

} // namespace beeline::ebpf
