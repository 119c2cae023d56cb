#include "security/engine/event_args.h"

#include <fcntl.h>

#include <array>
#include <string>
#include <unordered_set>

#include "security/engine/fields.h"

namespace beeline::security::engine {
namespace {

using R = Render;

constexpr ArgRow kExec[] = {{"res", R::result},
                            {"exe", R::process},
                            {"args", R::process},
                            {"tid", R::process},
                            {"pid", R::process},
                            {"ptid", R::process},
                            {"cwd", R::process},
                            {"comm", R::process},
                            {"env", R::process},
                            {"tty", R::process},
                            {"vpgid", R::process},
                            {"pgid", R::process},
                            {"loginuid", R::process},
                            {"flags", R::exec_flags},
                            {"cap_inheritable", R::process},
                            {"cap_permitted", R::process},
                            {"cap_effective", R::process},
                            {"exe_ino", R::process},
                            {"exe_ino_ctime", R::process},
                            {"exe_ino_mtime", R::process},
                            {"uid", R::process},
                            {"gid", R::process},
                            {"trusted_exepath", R::process},
                            {"filename", R::text, 0}};
constexpr ArgRow kClone[] = {
    {"res", R::result},  {"exe", R::process},  {"args", R::process},
    {"tid", R::process}, {"pid", R::process},  {"ptid", R::process},
    {"cwd", R::process}, {"comm", R::process}, {"flags", R::bits, 0, clone_flag_names},
    {"uid", R::process}, {"gid", R::process}};
constexpr ArgRow kExit[] = {{"status", R::number, 0}, {"ret", R::number, 1}, {"sig", R::signal, 2}};
constexpr ArgRow kComm[] = {{"name", R::text, 0}};
constexpr ArgRow kOpen[] = {{"fd", R::made_fd},   {"name", R::path, 0}, {"flags", R::open_flags, 1},
                            {"mode", R::mode, 2}, {"dev", R::dev},      {"ino", R::ino}};
constexpr ArgRow kOpenat[] = {
    {"fd", R::made_fd},   {"dirfd", R::dirfd, 0}, {"name", R::path, 0}, {"flags", R::open_flags, 2},
    {"mode", R::mode, 3}, {"dev", R::dev},        {"ino", R::ino}};
constexpr ArgRow kOpenat2[] = {
    {"fd", R::made_fd},   {"dirfd", R::dirfd, 0}, {"name", R::path, 0}, {"flags", R::open_flags, 4},
    {"mode", R::mode, 5}, {"dev", R::dev},        {"ino", R::ino}};
constexpr ArgRow kCreat[] = {{"fd", R::made_fd},   {"name", R::path, 0},
                             {"mode", R::mode, 1}, {"dev", R::dev},
                             {"ino", R::ino},      {"creat_flags", R::creat_flags}};
constexpr ArgRow kOpenByHandle[] = {
    {"fd", R::made_fd},   {"mountfd", R::number, 0}, {"flags", R::open_flags, 2},
    {"path", R::path, 0}, {"dev", R::dev},           {"ino", R::ino}};
constexpr ArgRow kReadWrite[] = {
    {"res", R::result}, {"data", R::data}, {"fd", R::fd, 0}, {"size", R::number, 2}};
constexpr ArgRow kPositioned[] = {{"res", R::result},
                                  {"data", R::data},
                                  {"fd", R::fd, 0},
                                  {"size", R::number, 2},
                                  {"pos", R::number, 3}};
constexpr ArgRow kVector[] = {{"res", R::result}, {"fd", R::fd, 0}};
constexpr ArgRow kSendfile[] = {
    {"res", R::result}, {"out_fd", R::fd, 0}, {"in_fd", R::number, 1}, {"size", R::number, 3}};
constexpr ArgRow kSplice[] = {{"res", R::result},
                              {"fd_in", R::fd, 0},
                              {"fd_out", R::number, 2},
                              {"size", R::number, 4},
                              {"flags", R::hex, 5}};
constexpr ArgRow kCopyRange[] = {
    {"res", R::result}, {"fdin", R::fd, 0}, {"fdout", R::number, 2}, {"len", R::number, 4}};
constexpr ArgRow kTruncate[] = {{"res", R::result}, {"path", R::path, 0}, {"length", R::number, 1}};
constexpr ArgRow kFtruncate[] = {{"res", R::result}, {"fd", R::fd, 0}, {"length", R::number, 1}};
constexpr ArgRow kFallocate[] = {{"res", R::result}, {"fd", R::fd, 0}, {"mode", R::hex, 1}};
constexpr ArgRow kRename[] = {{"res", R::result}, {"oldpath", R::path, 0}, {"newpath", R::path, 2}};
constexpr ArgRow kRenameat[] = {{"res", R::result},
                                {"olddirfd", R::dirfd, 0},
                                {"oldpath", R::path, 0},
                                {"newdirfd", R::number, 2},
                                {"newpath", R::path, 2}};
constexpr ArgRow kRenameat2[] = {{"res", R::result},      {"olddirfd", R::dirfd, 0},
                                 {"oldpath", R::path, 0}, {"newdirfd", R::number, 2},
                                 {"newpath", R::path, 2}, {"flags", R::bits, 4, rename_flag_names}};
constexpr ArgRow kPath[] = {{"res", R::result}, {"path", R::path, 0}};
constexpr ArgRow kUnlinkat[] = {{"res", R::result},
                                {"dirfd", R::dirfd, 0},
                                {"name", R::path, 0},
                                {"flags", R::bits, 2, unlink_flag_names}};
constexpr ArgRow kLinkat[] = {{"res", R::result},      {"olddir", R::dirfd, 0},
                              {"oldpath", R::path, 0}, {"newdir", R::number, 2},
                              {"newpath", R::path, 2}, {"flags", R::bits, 4, unlink_flag_names}};
constexpr ArgRow kSymlink[] = {
    {"res", R::result}, {"target", R::text, 0}, {"linkpath", R::path, 2}};
constexpr ArgRow kSymlinkat[] = {{"res", R::result},
                                 {"target", R::text, 0},
                                 {"linkdirfd", R::number, 1},
                                 {"linkpath", R::path, 2}};
constexpr ArgRow kMkdir[] = {{"res", R::result}, {"path", R::path, 0}, {"mode", R::mode, 1}};
constexpr ArgRow kMkdirat[] = {
    {"res", R::result}, {"dirfd", R::dirfd, 0}, {"path", R::path, 0}, {"mode", R::mode, 2}};
constexpr ArgRow kMknod[] = {
    {"res", R::result}, {"path", R::path, 0}, {"mode", R::mode, 1}, {"dev", R::hex, 2}};
constexpr ArgRow kMknodat[] = {{"res", R::result},
                               {"dirfd", R::dirfd, 0},
                               {"path", R::path, 0},
                               {"mode", R::mode, 2},
                               {"dev", R::hex, 3}};
constexpr ArgRow kChmod[] = {
    {"res", R::result}, {"filename", R::path, 0}, {"mode", R::mode_bits, 1}};
constexpr ArgRow kFchmod[] = {{"res", R::result}, {"fd", R::fd, 0}, {"mode", R::mode_bits, 1}};
constexpr ArgRow kFchmodat[] = {{"res", R::result},
                                {"dirfd", R::dirfd, 0},
                                {"filename", R::path, 0},
                                {"mode", R::mode_bits, 2}};
constexpr ArgRow kChown[] = {
    {"res", R::result}, {"path", R::path, 0}, {"uid", R::uid, 1}, {"gid", R::gid, 2}};
constexpr ArgRow kFchown[] = {
    {"res", R::result}, {"fd", R::fd, 0}, {"uid", R::uid, 1}, {"gid", R::gid, 2}};
constexpr ArgRow kFchownat[] = {{"res", R::result},       {"dirfd", R::dirfd, 0},
                                {"pathname", R::path, 0}, {"uid", R::uid, 2},
                                {"gid", R::gid, 3},       {"flags", R::bits, 4, unlink_flag_names}};
constexpr ArgRow kMount[] = {{"res", R::result},
                             {"dev", R::text, 0},
                             {"dir", R::path, 2},
                             {"flags", R::bits, 3, mount_flag_names}};
constexpr ArgRow kUmount[] = {
    {"res", R::result}, {"name", R::path, 0}, {"flags", R::bits, 1, umount_flag_names}};
constexpr ArgRow kFsopen[] = {{"fd", R::made_fd}, {"fsname", R::text, 0}, {"flags", R::hex, 1}};
constexpr ArgRow kFsconfig[] = {{"res", R::result}, {"fd", R::fd, 0}, {"cmd", R::number, 1}};
constexpr ArgRow kMoveMount[] = {
    {"res", R::result}, {"from_path", R::path, 0}, {"to_path", R::path, 2}, {"flags", R::hex, 4}};
constexpr ArgRow kOpenTree[] = {
    {"fd", R::made_fd}, {"dirfd", R::dirfd, 0}, {"path", R::path, 0}, {"flags", R::hex, 2}};
constexpr ArgRow kMountSetattr[] = {
    {"res", R::result}, {"dirfd", R::dirfd, 0}, {"path", R::path, 0}, {"flags", R::hex, 2}};
constexpr ArgRow kPivot[] = {{"res", R::result}, {"new_root", R::path, 0}, {"put_old", R::path, 2}};
constexpr ArgRow kFdOnly[] = {{"res", R::result}, {"fd", R::fd, 0}};
constexpr ArgRow kSetuid[] = {{"res", R::result}, {"uid", R::uid, 0}};
constexpr ArgRow kSetgid[] = {{"res", R::result}, {"gid", R::gid, 0}};
constexpr ArgRow kSetreuid[] = {{"res", R::result}, {"ruid", R::uid, 0}, {"euid", R::uid, 1}};
constexpr ArgRow kSetregid[] = {{"res", R::result}, {"rgid", R::gid, 0}, {"egid", R::gid, 1}};
constexpr ArgRow kSetresuid[] = {
    {"res", R::result}, {"ruid", R::uid, 0}, {"euid", R::uid, 1}, {"suid", R::uid, 2}};
constexpr ArgRow kSetresgid[] = {
    {"res", R::result}, {"rgid", R::gid, 0}, {"egid", R::gid, 1}, {"sgid", R::gid, 2}};
constexpr ArgRow kCapset[] = {{"res", R::result},
                              {"cap_inheritable", R::process},
                              {"cap_permitted", R::process},
                              {"cap_effective", R::process}};
constexpr ArgRow kResult[] = {{"res", R::result}};
constexpr ArgRow kSetpgid[] = {{"res", R::result}, {"pid", R::pid, 0}, {"pgid", R::number, 1}};
constexpr ArgRow kSetns[] = {
    {"res", R::result}, {"fd", R::fd, 0}, {"nstype", R::bits, 1, clone_flag_names}};
constexpr ArgRow kUnshare[] = {{"res", R::result}, {"flags", R::bits, 0, clone_flag_names}};
constexpr ArgRow kPrctl[] = {
    {"res", R::result}, {"option", R::constant, 0, prctl_names}, {"arg2_int", R::number, 1}};
constexpr ArgRow kPtrace[] = {{"res", R::result},
                              {"addr", R::hex, 2},
                              {"data", R::hex, 3},
                              {"request", R::constant, 0, ptrace_names},
                              {"pid", R::pid, 1}};
constexpr ArgRow kProcessVm[] = {{"res", R::result}, {"pid", R::pid, 0}};
constexpr ArgRow kKill[] = {{"res", R::result}, {"pid", R::pid, 0}, {"sig", R::signal, 1}};
constexpr ArgRow kTgkill[] = {
    {"res", R::result}, {"pid", R::pid, 0}, {"tid", R::number, 1}, {"sig", R::signal, 2}};
constexpr ArgRow kPidfdOpen[] = {
    {"res", R::result}, {"pid", R::pid, 0}, {"flags", R::bits, 1, pidfd_flag_names}};
constexpr ArgRow kPidfdGetfd[] = {
    {"fd", R::result}, {"pid_fd", R::number, 0}, {"target_fd", R::number, 1}, {"flags", R::hex, 2}};
constexpr ArgRow kPidfdSignal[] = {
    {"res", R::result}, {"pid_fd", R::number, 0}, {"sig", R::signal, 1}};
constexpr ArgRow kSocket[] = {{"fd", R::made_fd},
                              {"domain", R::constant, 0, family_names},
                              {"type", R::number, 1},
                              {"proto", R::number, 2}};
constexpr ArgRow kSocketpair[] = {{"res", R::result},
                                  {"domain", R::constant, 0, family_names},
                                  {"type", R::number, 1},
                                  {"proto", R::number, 2}};
constexpr ArgRow kConnect[] = {
    {"res", R::result}, {"tuple", R::tuple}, {"fd", R::fd, 0}, {"addr", R::address}};
constexpr ArgRow kAccept[] = {{"fd", R::made_fd}, {"tuple", R::tuple}};
constexpr ArgRow kAccept4[] = {{"fd", R::made_fd}, {"tuple", R::tuple}, {"flags", R::hex, 3}};
constexpr ArgRow kBind[] = {{"res", R::result}, {"addr", R::address}, {"fd", R::fd, 0}};
constexpr ArgRow kListen[] = {{"res", R::result}, {"fd", R::fd, 0}, {"backlog", R::number, 1}};
constexpr ArgRow kSendto[] = {{"res", R::result},
                              {"data", R::data},
                              {"fd", R::fd, 0},
                              {"size", R::number, 2},
                              {"tuple", R::tuple}};
constexpr ArgRow kSendmsg[] = {
    {"res", R::result}, {"data", R::data}, {"fd", R::fd, 0}, {"tuple", R::tuple}};
constexpr ArgRow kShutdown[] = {
    {"res", R::result}, {"fd", R::fd, 0}, {"how", R::constant, 1, shutdown_names}};
constexpr ArgRow kDup[] = {{"res", R::made_fd}, {"oldfd", R::fd, 0}};
constexpr ArgRow kDup2[] = {{"res", R::made_fd}, {"oldfd", R::fd, 0}, {"newfd", R::fd, 1}};
constexpr ArgRow kDup3[] = {
    {"res", R::made_fd}, {"oldfd", R::fd, 0}, {"newfd", R::fd, 1}, {"flags", R::hex, 2}};
constexpr ArgRow kFcntl[] = {
    {"res", R::made_fd}, {"fd", R::fd, 0}, {"cmd", R::constant, 1, fcntl_names}};
constexpr ArgRow kClose[] = {{"res", R::result}, {"fd", R::fd, 0}};
constexpr ArgRow kMemfd[] = {
    {"fd", R::made_fd}, {"name", R::text, 0}, {"flags", R::bits, 1, memfd_flag_names}};
constexpr ArgRow kMmap[] = {{"res", R::hex, 6},
                            {"addr", R::hex, 0},
                            {"length", R::number, 1},
                            {"prot", R::bits, 2, mmap_protection_names},
                            {"flags", R::bits, 3, mmap_flag_names},
                            {"fd", R::number, 4}};
constexpr ArgRow kMprotect[] = {{"res", R::result},
                                {"addr", R::hex, 0},
                                {"length", R::number, 1},
                                {"prot", R::bits, 2, mmap_protection_names}};
constexpr ArgRow kInitModule[] = {{"res", R::result}, {"img", R::hex, 0}, {"length", R::number, 1}};
constexpr ArgRow kFinitModule[] = {
    {"res", R::result}, {"fd", R::fd, 0}, {"flags", R::bits, 2, module_flag_names}};
constexpr ArgRow kDeleteModule[] = {
    {"res", R::result}, {"name", R::text, 0}, {"flags", R::open_flags, 1}};
constexpr ArgRow kBpf[] = {{"fd", R::made_fd}, {"cmd", R::constant, 0, bpf_names}};
constexpr ArgRow kUserfault[] = {{"res", R::made_fd}, {"flags", R::bits, 0, userfault_flag_names}};
constexpr ArgRow kKeyctl[] = {{"res", R::result}, {"operation", R::constant, 0, keyctl_names}};
constexpr ArgRow kPerf[] = {{"res", R::result}, {"pid", R::pid, 1}};
constexpr ArgRow kUringSetup[] = {{"res", R::made_fd}, {"entries", R::number, 0}};
constexpr ArgRow kUringEnter[] = {
    {"res", R::result}, {"fd", R::number, 0}, {"to_submit", R::number, 1}};
constexpr ArgRow kUringRegister[] = {
    {"res", R::result}, {"fd", R::number, 0}, {"opcode", R::number, 1}};

const KindArgs kArgs[] = {
    {BL_EVENT_execve, kExec},
    {BL_EVENT_execveat, kExec},
    {BL_EVENT_clone, kClone},
    {BL_EVENT_procexit, kExit},
    {BL_EVENT_comm, kComm},
    {BL_EVENT_open, kOpen},
    {BL_EVENT_openat, kOpenat},
    {BL_EVENT_openat2, kOpenat2},
    {BL_EVENT_creat, kCreat},
    {BL_EVENT_open_by_handle_at, kOpenByHandle},
    {BL_EVENT_read, kReadWrite},
    {BL_EVENT_write, kReadWrite},
    {BL_EVENT_pread64, kPositioned},
    {BL_EVENT_pwrite64, kPositioned},
    {BL_EVENT_readv, kVector},
    {BL_EVENT_writev, kVector},
    {BL_EVENT_preadv, kVector},
    {BL_EVENT_pwritev, kVector},
    {BL_EVENT_sendfile, kSendfile},
    {BL_EVENT_splice, kSplice},
    {BL_EVENT_copy_file_range, kCopyRange},
    {BL_EVENT_truncate, kTruncate},
    {BL_EVENT_ftruncate, kFtruncate},
    {BL_EVENT_fallocate, kFallocate},
    {BL_EVENT_rename, kRename},
    {BL_EVENT_renameat, kRenameat},
    {BL_EVENT_renameat2, kRenameat2},
    {BL_EVENT_unlink, kPath},
    {BL_EVENT_unlinkat, kUnlinkat},
    {BL_EVENT_rmdir, kPath},
    {BL_EVENT_link, kRename},
    {BL_EVENT_linkat, kLinkat},
    {BL_EVENT_symlink, kSymlink},
    {BL_EVENT_symlinkat, kSymlinkat},
    {BL_EVENT_mkdir, kMkdir},
    {BL_EVENT_mkdirat, kMkdirat},
    {BL_EVENT_mknod, kMknod},
    {BL_EVENT_mknodat, kMknodat},
    {BL_EVENT_chmod, kChmod},
    {BL_EVENT_fchmod, kFchmod},
    {BL_EVENT_fchmodat, kFchmodat},
    {BL_EVENT_fchmodat2, kFchmodat},
    {BL_EVENT_chown, kChown},
    {BL_EVENT_lchown, kChown},
    {BL_EVENT_fchown, kFchown},
    {BL_EVENT_fchownat, kFchownat},
    {BL_EVENT_mount, kMount},
    {BL_EVENT_umount2, kUmount},
    {BL_EVENT_fsopen, kFsopen},
    {BL_EVENT_fsconfig, kFsconfig},
    {BL_EVENT_fsmount, kFdOnly},
    {BL_EVENT_move_mount, kMoveMount},
    {BL_EVENT_open_tree, kOpenTree},
    {BL_EVENT_mount_setattr, kMountSetattr},
    {BL_EVENT_pivot_root, kPivot},
    {BL_EVENT_chroot, kPath},
    {BL_EVENT_chdir, kPath},
    {BL_EVENT_fchdir, kFdOnly},
    {BL_EVENT_setuid, kSetuid},
    {BL_EVENT_setgid, kSetgid},
    {BL_EVENT_setreuid, kSetreuid},
    {BL_EVENT_setregid, kSetregid},
    {BL_EVENT_setresuid, kSetresuid},
    {BL_EVENT_setresgid, kSetresgid},
    {BL_EVENT_setfsuid, kSetuid},
    {BL_EVENT_setfsgid, kSetgid},
    {BL_EVENT_capset, kCapset},
    {BL_EVENT_setsid, kResult},
    {BL_EVENT_setpgid, kSetpgid},
    {BL_EVENT_setns, kSetns},
    {BL_EVENT_unshare, kUnshare},
    {BL_EVENT_prctl, kPrctl},
    {BL_EVENT_ptrace, kPtrace},
    {BL_EVENT_process_vm_readv, kProcessVm},
    {BL_EVENT_process_vm_writev, kProcessVm},
    {BL_EVENT_kill, kKill},
    {BL_EVENT_tkill, kKill},
    {BL_EVENT_tgkill, kTgkill},
    {BL_EVENT_pidfd_open, kPidfdOpen},
    {BL_EVENT_pidfd_getfd, kPidfdGetfd},
    {BL_EVENT_pidfd_send_signal, kPidfdSignal},
    {BL_EVENT_socket, kSocket},
    {BL_EVENT_socketpair, kSocketpair},
    {BL_EVENT_connect, kConnect},
    {BL_EVENT_accept, kAccept},
    {BL_EVENT_accept4, kAccept4},
    {BL_EVENT_bind, kBind},
    {BL_EVENT_listen, kListen},
    {BL_EVENT_sendto, kSendto},
    {BL_EVENT_sendmsg, kSendmsg},
    {BL_EVENT_sendmmsg, kSendmsg},
    {BL_EVENT_recvfrom, kSendto},
    {BL_EVENT_recvmsg, kSendmsg},
    {BL_EVENT_recvmmsg, kSendmsg},
    {BL_EVENT_shutdown, kShutdown},
    {BL_EVENT_pipe, kResult},
    {BL_EVENT_pipe2, kResult},
    {BL_EVENT_dup, kDup},
    {BL_EVENT_dup2, kDup2},
    {BL_EVENT_dup3, kDup3},
    {BL_EVENT_fcntl, kFcntl},
    {BL_EVENT_close, kClose},
    {BL_EVENT_memfd_create, kMemfd},
    {BL_EVENT_mmap, kMmap},
    {BL_EVENT_mprotect, kMprotect},
    {BL_EVENT_pkey_mprotect, kMprotect},
    {BL_EVENT_init_module, kInitModule},
    {BL_EVENT_finit_module, kFinitModule},
    {BL_EVENT_delete_module, kDeleteModule},
    {BL_EVENT_bpf, kBpf},
    {BL_EVENT_userfaultfd, kUserfault},
    {BL_EVENT_keyctl, kKeyctl},
    {BL_EVENT_add_key, kResult},
    {BL_EVENT_request_key, kResult},
    {BL_EVENT_perf_event_open, kPerf},
    {BL_EVENT_io_uring_setup, kUringSetup},
    {BL_EVENT_io_uring_enter, kUringEnter},
    {BL_EVENT_io_uring_register, kUringRegister},
};

// Parameters of other versions of this language or of calls that are not captured: rules may name them, no event has them.
constexpr std::string_view kForeign[] = {"queuepct",
                                         "queuelen",
                                         "queuemax",
                                         "fdlimit",
                                         "pgft_maj",
                                         "pgft_min",
                                         "vm_size",
                                         "vm_rss",
                                         "vm_swap",
                                         "cgroups",
                                         "uargs",
                                         "msgcontrol",
                                         "options",
                                         "level",
                                         "optname",
                                         "val",
                                         "optlen",
                                         "how",
                                         "source",
                                         "peer",
                                         "fd1",
                                         "fd2",
                                         "ino",
                                         "in_fd",
                                         "offset",
                                         "special",
                                         "type",
                                         "id",
                                         "operation",
                                         "pathname",
                                         "request",
                                         "argument",
                                         "nfds",
                                         "timeout",
                                         "maxevents",
                                         "events",
                                         "initval",
                                         "resource",
                                         "cur",
                                         "max",
                                         "who",
                                         "clockid",
                                         "tv",
                                         "quota_fmt",
                                         "dqblk_bhardlimit",
                                         "trusted_exepath",
                                         "next",
                                         "reaper_tid",
                                         "core",
                                         "sig",
                                         "spid",
                                         "dpid",
                                         "ip",
                                         "error",
                                         "attr",
                                         "target",
                                         "linkdirfd",
                                         "newdir",
                                         "olddir",
                                         "vpid",
                                         "vtid",
                                         "pidns_init_start_ts",
                                         "status",
                                         "resolve",
                                         "advice",
                                         "length",
                                         "prot",
                                         "ID",
                                         "nativeID",
                                         "interval",
                                         "mask",
                                         "flag",
                                         "len_in",
                                         "len",
                                         "msgvec",
                                         "vlen",
                                         "name",
                                         "data"};

const std::array<std::span<const ArgRow>, BL_EVENT_KIND_MAX>& by_kind() {
    static const auto kTable = [] {
        std::array<std::span<const ArgRow>, BL_EVENT_KIND_MAX> table{};
        for (const KindArgs& row : kArgs)
            table[row.kind] = row.args;
        return table;
    }();
    return kTable;
}

std::string_view number_text(Scene& scene, std::int64_t number) {
    Writer out(scene.arena);
    out.add_signed(number);
    return out.finish();
}

std::string_view unsigned_text(Scene& scene, std::uint64_t number, unsigned base = 10) {
    Writer out(scene.arena);
    if (base == 8) out.add('0');
    if (base == 16) out.add("0x");
    out.add_number(number, base);
    return out.finish();
}

std::string_view result_text(Scene& scene) {
    const std::int64_t result = scene.event->head.result;
    if (result >= 0 || result < -4095) return {};
    return errno_text(static_cast<int>(-result));
}

// "<f>/etc/passwd", "<4t>10.0.0.1:5->10.0.0.2:80"
std::string_view fd_text(Scene& scene) {
    const FdView& fd = fd_view(scene);
    if (!fd.present) return {};
    Writer out(scene.arena);
    out.add('<');
    out.add(fd.typechar);
    if (fd.socket && fd.protocol != "<NA>") out.add(fd.protocol == "icmp" ? 'i' : fd.protocol[0]);
    out.add('>');
    if (fd.has_name) out.add(fd.name);
    return out.finish();
}

std::string_view user_text(Scene& scene, std::uint64_t id, bool group) {
    const auto number = static_cast<std::uint32_t>(id);
    if (number == 0xffffffff) return "<NONE>";
    return group ? group_name(scene, number) : user_name(scene, number);
}

std::string_view exec_flags(Scene& scene) {
    if (scene.process == nullptr || !scene.process->image) return {};
    static constexpr BitName kNames[] = {{BL_FILE_WRITABLE, "EXE_WRITABLE"},
                                         {BL_FILE_UPPER, "EXE_UPPER_LAYER"},
                                         {BL_FILE_MEMFD, "EXE_FROM_MEMFD"},
                                         {BL_FILE_LOWER, "EXE_LOWER_LAYER"}};
    Writer out(scene.arena);
    add_bit_names(out, kNames, scene.process->image->flags);
    return out.finish();
}

// Parameters of exec and clone that are fields of the process.
bool process_text(Scene& scene, std::string_view name, std::string_view& text) {
    static constexpr std::pair<std::string_view, std::string_view> kFields[] = {
        {"exe", "proc.exe"},
        {"args", "proc.args"},
        {"tid", "thread.tid"},
        {"pid", "proc.pid"},
        {"ptid", "proc.ppid"},
        {"cwd", "proc.cwd"},
        {"comm", "proc.name"},
        {"env", "proc.env"},
        {"tty", "proc.tty"},
        {"vpgid", "proc.vpgid"},
        {"pgid", "proc.pgid"},
        {"loginuid", "user.loginuid"},
        {"cap_inheritable", "thread.cap_inheritable"},
        {"cap_permitted", "thread.cap_permitted"},
        {"cap_effective", "thread.cap_effective"},
        {"exe_ino", "proc.exe_ino"},
        {"exe_ino_ctime", "proc.exe_ino.ctime"},
        {"exe_ino_mtime", "proc.exe_ino.mtime"},
        {"uid", "user.uid"},
        {"gid", "group.gid"},
        {"trusted_exepath", "proc.exepath"},
    };
    static const auto kFound = [] {
        std::array<Field, std::size(kFields)> out;
        for (std::size_t i = 0; i < out.size(); ++i) {
            auto field = find_field(kFields[i].second, false, "");
            if (field) out[i] = *field;
        }
        return out;
    }();
    for (std::size_t i = 0; i < std::size(kFields); ++i) {
        if (kFields[i].first != name || kFound[i].row == nullptr) continue;
        Cursor cursor;
        Value value;
        if (!kFound[i].row->extract(scene, kFound[i], cursor, value)) return false;
        text = kFound[i].type == Type::text || kFound[i].type == Type::path
                   ? value.text
                   : number_text(scene, static_cast<std::int64_t>(value.number));
        return true;
    }
    return false;
}

std::string_view path_text(Scene& scene, unsigned from, std::string_view& raw) {
    const Event& event = *scene.event;
    raw = event.text[from];
    if (from == BL_STR_PATH && scene.reached && event.has(BL_STR_RESOLVED))
        return event.text[BL_STR_RESOLVED];
    if (!event.has(from)) {
        if (from == BL_STR_PATH && event.has(BL_STR_RESOLVED)) raw = event.text[BL_STR_RESOLVED];
        return raw;
    }
    // Absolute ones stay as they were given.
    if (!raw.empty() && raw.front() == '/') return raw;
    return absolute_path(scene, raw, event.text[from == BL_STR_PATH ? BL_STR_BASE : BL_STR_BASE2]);
}

std::string_view tuple_text(Scene& scene) {
    const FdView& fd = fd_view(scene);
    return fd.present && fd.has_name ? fd.name : std::string_view();
}

std::string_view address_text(Scene& scene) {
    const Event& event = *scene.event;
    if (event.socket == nullptr) return {};
    const bl_event_sock& socket = *event.socket;
    if (socket.family != 2 && socket.family != 10) return event.text[BL_STR_PATH];
    const bool own = event.head.kind == BL_EVENT_bind;
    Writer out(scene.arena);
    out.add_ip(own ? socket.local.byte : socket.remote.byte);
    out.add(':');
    out.add_number(__builtin_bswap16(own ? socket.local_port : socket.remote_port));
    return out.finish();
}

std::string_view pid_text(Scene& scene, std::uint64_t pid) {
    if (scene.tree == nullptr) return {};
    const Process* process = scene.tree->find_pid(static_cast<std::uint32_t>(pid));
    return process == nullptr ? std::string_view() : std::string_view(process->name);
}

} // namespace

std::span<const KindArgs> all_event_args() { return kArgs; }

std::span<const ArgRow> event_args(std::uint16_t kind) {
    return kind < BL_EVENT_KIND_MAX ? by_kind()[kind] : std::span<const ArgRow>();
}

const ArgRow* event_arg(std::uint16_t kind, std::string_view name) {
    for (const ArgRow& row : event_args(kind))
        if (row.name == name) return &row;
    return nullptr;
}

bool is_event_arg(std::string_view name) {
    static const auto kNames = [] {
        std::unordered_set<std::string_view> names(std::begin(kForeign), std::end(kForeign));
        for (const KindArgs& kind : kArgs)
            for (const ArgRow& row : kind.args)
                names.insert(row.name);
        return names;
    }();
    return kNames.contains(name);
}

bool arg_is_path(const ArgRow& row) { return row.render == Render::path; }

bool arg_is_number(const ArgRow& row) {
    switch (row.render) {
    case Render::path:
    case Render::text:
    case Render::data:
    case Render::process:
    case Render::tuple:
    case Render::address: return false;
    default: return true;
    }
}

Rendered render_arg(Scene& scene, const ArgRow& row) {
    const bl_event& head = scene.event->head;
    const std::uint64_t number = row.from < 6 ? head.num[row.from] : 0;
    const auto as_int = static_cast<std::int32_t>(number);
    Rendered out{.present = true, .raw = {}, .resolved = {}};
    switch (row.render) {
    case Render::result:
        out.raw = number_text(scene, head.result);
        out.resolved = result_text(scene);
        break;
    case Render::number: out.raw = number_text(scene, static_cast<std::int64_t>(number)); break;
    case Render::hex:
        out.raw = unsigned_text(
            scene, row.from == 6 ? static_cast<std::uint64_t>(head.result) : number, 16);
        break;
    case Render::fd:
        out.raw = number_text(scene, as_int);
        out.resolved = fd_text(scene);
        break;
    case Render::made_fd:
        out.raw = number_text(scene, head.result);
        out.resolved = head.result < 0 ? result_text(scene) : fd_text(scene);
        break;
    case Render::dirfd:
        out.raw = number_text(scene, as_int);
        if (as_int == AT_FDCWD) out.resolved = "AT_FDCWD";
        break;
    case Render::path: out.resolved = path_text(scene, row.from, out.raw); break;
    case Render::text: out.raw = scene.event->text[row.from]; break;
    case Render::data: out.raw = scene.event->text[BL_STR_PATH2]; break;
    case Render::mode: out.raw = unsigned_text(scene, number & 07777, 8); break;
    case Render::mode_bits: {
        out.raw = unsigned_text(scene, number & 07777, 8);
        Writer text(scene.arena);
        add_bit_names(text, mode_names(), number);
        out.resolved = text.finish();
        break;
    }
    case Render::open_flags: {
        out.raw = unsigned_text(scene, number);
        Writer text(scene.arena);
        add_open_flags(text, number,
                       scene.event->file == nullptr ? std::uint16_t{0} : scene.event->file->flags);
        out.resolved = text.finish();
        break;
    }
    case Render::creat_flags: {
        out.raw = "0";
        static constexpr BitName kNames[] = {{BL_FILE_CREATED, "O_F_CREATED"},
                                             {BL_FILE_UPPER, "FD_UPPER_LAYER_CREAT"},
                                             {BL_FILE_LOWER, "FD_LOWER_LAYER_CREAT"}};
        Writer text(scene.arena);
        if (scene.event->file != nullptr) add_bit_names(text, kNames, scene.event->file->flags);
        out.resolved = text.finish();
        break;
    }
    case Render::exec_flags:
        out.raw = "0";
        out.resolved = exec_flags(scene);
        break;
    case Render::bits: {
        out.raw = unsigned_text(scene, number);
        Writer text(scene.arena);
        add_bit_names(text, row.names(), number);
        out.resolved = text.finish();
        break;
    }
    case Render::constant:
        out.raw = unsigned_text(scene, number);
        out.resolved = constant_name(row.names(), number);
        break;
    case Render::signal:
        out.raw = number_text(scene, as_int);
        out.resolved = constant_name(signal_names(), number);
        break;
    case Render::uid:
    case Render::gid:
        out.raw = number_text(scene, as_int);
        out.resolved = user_text(scene, number, row.render == Render::gid);
        break;
    case Render::pid:
        out.raw = number_text(scene, as_int);
        out.resolved = pid_text(scene, number);
        break;
    case Render::tuple: out.raw = tuple_text(scene); break;
    case Render::address: out.raw = address_text(scene); break;
    case Render::dev:
        out.present = scene.event->file != nullptr;
        if (out.present) out.raw = unsigned_text(scene, scene.event->file->dev, 16);
        break;
    case Render::ino:
        out.present = scene.event->file != nullptr;
        if (out.present) out.raw = unsigned_text(scene, scene.event->file->ino);
        break;
    case Render::process: out.present = process_text(scene, row.name, out.raw); break;
    }
    return out;
}

} // namespace beeline::security::engine
