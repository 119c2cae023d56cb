#include "security/events/container_names.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "security/events/host.h"
#include "security/events/json_read.h"

namespace beeline::security {
namespace {

constexpr std::size_t kMostFile = 1U << 20;

// A process of the cgroup; 0 if there is none.
std::uint32_t process_of(const std::string& cgroup_folder) {
    // podman's processes are one level deeper.
    for (const auto* below : {"", "/container"}) {
        const auto text = read_file(cgroup_folder + below + "/cgroup.procs", kMostFile);
        if (!text) continue;
        const auto pid = whole_number<std::uint32_t>(text->substr(0, text->find('\n')));
        if (pid && *pid != 0) return *pid;
    }
    return 0;
}

std::string read_inside(int root, const char* path) {
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    // Not across mounts: what the container mounted may be a file system that never answers.
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    const Fd file(static_cast<int>(::syscall(SYS_openat2, root, path, &how, sizeof how)));
    struct stat is{};
    if (!file || ::fstat(file.get(), &is) != 0 || !S_ISREG(is.st_mode) ||
        static_cast<std::size_t>(is.st_size) > kMostFile)
        return {};
    std::string out(static_cast<std::size_t>(is.st_size), '\0');
    const auto got = ::pread(file.get(), out.data(), out.size(), 0);
    out.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return out;
}

// Where a runtime made the file for the container and mounted it: it is read there.
std::string mounted_file(const Container& container, const char* destination) {
    for (const auto& mount : container.mounts) {
        if (mount.destination != destination) continue;
        struct stat is{};
        if (::lstat(mount.source.c_str(), &is) != 0 || !S_ISREG(is.st_mode)) return {};
        return read_file(mount.source, kMostFile).value_or(std::string());
    }
    return {};
}

} // namespace

bool read_container_names(const std::string& cgroup_folder, const std::string& proc,
                          Container& container) {
    const auto pid = process_of(cgroup_folder);
    if (pid == 0) return false;
    const auto path = proc + "/" + std::to_string(pid) + "/root";
    const Fd root(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct stat is{};
    struct stat host{};
    if (!root || ::fstat(root.get(), &is) != 0 || ::stat("/", &host) != 0) return false;
    // The runtime is still at work, or the pid is another's by now: not the container's names.
    if (is.st_dev == host.st_dev && is.st_ino == host.st_ino) return false;
    auto users = mounted_file(container, "/etc/passwd");
    if (users.empty()) users = read_inside(root.get(), "etc/passwd");
    auto groups = mounted_file(container, "/etc/group");
    if (groups.empty()) groups = read_inside(root.get(), "etc/group");
    container.users = parse_names(users);
    container.groups = parse_names(groups);
    return true;
}

} // namespace beeline::security
