#include "cli/runtime_isolation.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "base/fd.h"

namespace beeline::cli {
namespace {

// What container runtimes leave to root, without CAP_MKNOD: no device list guards the devices here.
constexpr int kRootKeeps[] = {
    CAP_CHOWN,   CAP_DAC_OVERRIDE, CAP_FOWNER,      CAP_FSETID,  CAP_KILL,
    CAP_SETGID,  CAP_SETUID,       CAP_SETPCAP,     CAP_SETFCAP, CAP_NET_BIND_SERVICE,
    CAP_NET_RAW, CAP_SYS_CHROOT,   CAP_AUDIT_WRITE,
};

Result<> mount_at(const char* type, const std::string& target, unsigned long flags,
                  const char* data = nullptr) {
    if (::mount(type, target.c_str(), type, flags, data) != 0)
        return fail_errno(errno, fmt::format("mount {} on {}", type, target));
    return {};
}

struct OpenVolume {
    const Volume* volume;
    Fd source;
};

// Sources are taken while the host's files are all in sight; a later mount may cover them.
Result<std::vector<OpenVolume>> open_sources(const std::vector<Volume>& volumes) {
    std::vector<OpenVolume> result;
    for (const auto& volume : volumes) {
        Fd fd(::open(volume.source.c_str(), O_PATH | O_CLOEXEC));
        if (!fd) return fail_errno(errno, "volume " + volume.source);
        result.push_back({&volume, std::move(fd)});
    }
    return result;
}

Result<> make_read_only(const std::string& target) {
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_RDONLY;
    if (::syscall(SYS_mount_setattr, AT_FDCWD, target.c_str(), AT_RECURSIVE, &attributes,
                  sizeof(attributes)) == 0)
        return {};
    if (errno == ENOSYS)
        return fail(Code::unsupported, "read-only volumes need Linux 5.12 or newer");
    return fail_errno(errno, "make the volume read-only: " + target);
}

Result<> mount_volume(const OpenVolume& open) {
    const auto& target = open.volume->target;
    const auto source = fmt::format("/proc/self/fd/{}", open.source.get());
    if (::mount(source.c_str(), target.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
        return fail_errno(errno, fmt::format("volume {}:{}", open.volume->source, target));
    return open.volume->read_only ? make_read_only(target) : Result<>();
}

Result<> arrange_mounts(const RunSpec& spec, const std::vector<std::string>& hidden) {
    // Mounts of the host still arrive, and still go away, here; nothing made here reaches the host.
    if (::mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0)
        return fail_errno(errno, "detach mounts from the host");
    const auto sources = TRY(open_sources(spec.volumes));
    constexpr unsigned long inert = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (!spec.host_pid) TRY(mount_at("proc", "/proc", inert));
    if (!spec.privileged) {
        TRY(mount_at("sysfs", "/sys", inert | MS_RDONLY));
        for (const auto& folder : hidden) {
            if (::access(folder.c_str(), F_OK) == 0)
                TRY(mount_at("tmpfs", folder, inert | MS_RDONLY, "size=4k,mode=0555"));
        }
    }
    if (::access("/dev/shm", F_OK) == 0)
        TRY(mount_at("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777"));
    for (const auto& source : sources)
        TRY(mount_volume(source));
    return {};
}

int last_capability() {
    int last = CAP_LAST_CAP;
    // The kernel may know more of them than the headers did.
    while (last < 63 && ::prctl(PR_CAPBSET_READ, last + 1, 0, 0, 0) >= 0)
        ++last;
    return last;
}

Result<> bound_capabilities(std::uint64_t keep) {
    for (int capability = 0, last = last_capability(); capability <= last; ++capability) {
        if ((keep >> capability & 1) == 0 && ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 &&
            errno != EINVAL)
            return fail_errno(errno, fmt::format("drop capability {}", capability));
    }
    return {};
}

Result<> set_capabilities(std::uint64_t mask) {
    ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    __user_cap_header_struct header{};
    header.version = _LINUX_CAPABILITY_VERSION_3;
    __user_cap_data_struct own[2]{};
    if (::syscall(SYS_capget, &header, own) != 0) return fail_errno(errno, "read capabilities");
    for (int word = 0; word < 2; ++word) {
        const auto part = static_cast<std::uint32_t>(mask >> (32 * word));
        own[word].permitted &= part;
        own[word].effective = own[word].permitted;
        own[word].inheritable = 0;
    }
    if (::syscall(SYS_capset, &header, own) != 0) return fail_errno(errno, "set capabilities");
    return {};
}

Result<> no_new_privileges() {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno(errno, "set no_new_privs");
    return {};
}

} // namespace

Result<> enter_new_namespaces(const RunSpec& spec, const std::string& netns,
                              const std::vector<std::string>& hidden) {
    const Fd file(::open(netns.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return fail_errno(errno, netns);
    if (::setns(file.get(), CLONE_NEWNET) != 0) return fail_errno(errno, "enter " + netns);
    if (::unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC) != 0)
        return fail_errno(errno, "make mount, uts and ipc namespaces");
    if (::sethostname(spec.hostname.data(), spec.hostname.size()) != 0)
        return fail_errno(errno, "set the hostname");
    return arrange_mounts(spec, hidden);
}

Result<> drop_all_capabilities() {
    TRY(bound_capabilities(0));
    TRY(set_capabilities(0));
    return no_new_privileges();
}

Result<> become_user(const RunSpec& spec) {
    const bool root = spec.user.uid == 0;
    std::uint64_t keep = 0;
    if (spec.privileged) {
        keep = ~std::uint64_t{0};
    } else if (root) {
        for (const int capability : kRootKeeps)
            keep |= std::uint64_t{1} << capability;
    }
    TRY(bound_capabilities(keep));
    if (::setgroups(spec.user.groups.size(), spec.user.groups.data()) != 0)
        return fail_errno(errno, "set supplementary groups");
    if (::setresgid(spec.user.gid, spec.user.gid, spec.user.gid) != 0)
        return fail_errno(errno, "set the group");
    if (::setresuid(spec.user.uid, spec.user.uid, spec.user.uid) != 0)
        return fail_errno(errno, "set the user");
    TRY(set_capabilities(root ? keep : 0));
    if (!root && !spec.privileged) TRY(no_new_privileges());
    return {};
}

Result<> die_with_parent(int report) {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return fail_errno(errno, "ask for a signal at the supervisor's end");
    // It may have ended before the request; then nobody reads the pipe.
    pollfd poll{.fd = report, .events = 0, .revents = 0};
    if (::poll(&poll, 1, 0) == 1 && (poll.revents & POLLERR) != 0) ::_exit(1);
    return {};
}

} // namespace beeline::cli
