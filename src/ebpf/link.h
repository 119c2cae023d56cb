// Attachments that outlive the agent: pinned links, updated in place by the next run.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace beeline::ebpf {

enum class Hook {
    tcx_ingress,
    tcx_egress,
    cgroup_connect4,
    cgroup_connect6,
    cgroup_sendmsg4,
    cgroup_sendmsg6,
    cgroup_recvmsg4,
    cgroup_recvmsg6,
    cgroup_getpeername4,
    cgroup_getpeername6,
    cgroup_post_bind4,
    cgroup_post_bind6,
    cgroup_sock_create,
};

// Attaches `program` to `target` (an ifindex of the current network namespace, or a cgroup's fd)
// and pins the link at `pin`. When a link is pinned there already and still lives on the same
// target its program is replaced without a gap; a dead one is replaced by a new link.
// `first`: before the other programs of the device.
Result<> attach_pinned(int program, Hook hook, int target, const std::string& pin,
                       bool first = false);

// The program that a pinned link runs.
Result<Fd> pinned_program(const std::string& pin);

// Kernels before 6.6: the classic clsact hook. Idempotent.
// Each handle is one program; a new one runs before those that are there.
Result<> attach_clsact(int program, Hook hook, int ifindex, std::uint32_t handle = 1);

// Attachments that end with the descriptor.
Result<Fd> attach_tp_btf(int program);
// `event` as in tracefs: "syscalls/sys_enter_unlink".
Result<Fd> attach_tracepoint(int program, const std::string& event);

// A place in a file that programs map and run. The program's bpf_get_attach_cookie() gives `cookie`.
struct Uprobe {
    std::string file;         // any path to it, such as below /proc/PID/root
    std::uint64_t offset = 0; // in the file
    bool at_return = false;   // runs when the function returns
    std::uint64_t cookie = 0;
};
Result<Fd> attach_uprobe(int program, const Uprobe& where);

} // namespace beeline::ebpf
