#include "net/namespace.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace beeline::net {
namespace {

constexpr const char* kOwn = "/proc/thread-self/ns/net";

} // namespace

Result<Namespace> Namespace::open(const std::string& path) {
    // O_NONBLOCK: the path comes from outside and may be a fifo.
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd && (errno == ENOENT || errno == ENOTDIR)) {
        return fail(Code::not_found, "network namespace '{}' does not exist", path);
    }
    if (!fd) return fail_errno(errno, fmt::format("open network namespace '{}'", path));
    struct statfs filesystem{};
    struct stat file{};
    if (::fstatfs(fd.get(), &filesystem) < 0 || filesystem.f_type != NSFS_MAGIC ||
        ::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET || ::fstat(fd.get(), &file) < 0) {
        return fail(Code::invalid, "'{}' is not a network namespace", path);
    }
    return Namespace(std::move(fd), file.st_ino, path);
}

Result<Namespace> Namespace::current() { return open(kOwn); }

Result<InNamespace> InNamespace::enter(const Namespace& netns) {
    Fd home(::open(kOwn, O_RDONLY | O_CLOEXEC));
    if (!home) return fail_errno(errno, "open the own network namespace");
    if (::setns(netns.fd(), CLONE_NEWNET) < 0) {
        return fail_errno(errno, fmt::format("enter network namespace '{}'", netns.path()));
    }
    return InNamespace(std::move(home));
}

InNamespace::~InNamespace() {
    if (home_ && ::setns(home_.get(), CLONE_NEWNET) < 0) {
        std::perror("cannot return to the own network namespace");
        std::abort();
    }
}

Result<> create_named(const std::string& path) {
    const Namespace home = TRY(Namespace::current());
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
    if (error) return fail_errno(error.value(), fmt::format("make the folder of '{}'", path));
    Fd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
    if (!file && errno == EEXIST)
        return fail(Code::exists, "network namespace '{}' exists already", path);
    if (!file) return fail_errno(errno, fmt::format("create '{}'", path));

    int number = 0;
    {
        // Entering home now makes the destructor bring the thread back from the new namespace.
        auto back = InNamespace::enter(home);
        if (!back) {
            number = back.error().number;
        } else if (::unshare(CLONE_NEWNET) < 0 ||
                   ::mount(kOwn, path.c_str(), nullptr, MS_BIND, nullptr) < 0) {
            number = errno;
        }
    }
    if (number == 0) return {};
    ::unlink(path.c_str());
    return fail_errno(number, fmt::format("create network namespace '{}'", path));
}

Result<> delete_named(const std::string& path) {
    if (::umount2(path.c_str(), MNT_DETACH) < 0 && errno != ENOENT && errno != EINVAL) {
        return fail_errno(errno, fmt::format("unmount '{}'", path));
    }
    if (::unlink(path.c_str()) < 0 && errno != ENOENT)
        return fail_errno(errno, fmt::format("remove '{}'", path));
    return {};
}

} // namespace beeline::net
