#include "security/events/cgroup_path.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <array>
#include <climits>
#include <cstring>
#include <deque>
#include <memory>

namespace beeline::security {
namespace {

constexpr int kKernfsHandle = 0xfe; // FILEID_KERNFS: the handle is the 64-bit id
constexpr std::size_t kMostWalked = 20'000;

} // namespace

CgroupPaths::CgroupPaths(std::string mount) : mount_(std::move(mount)) {
    while (mount_.size() > 1 && mount_.ends_with('/'))
        mount_.pop_back();
    if (mount_.empty()) return;
    folder_.reset(::open(mount_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct statfs is{};
    handles_ = folder_ && ::fstatfs(folder_.get(), &is) == 0 && is.f_type == CGROUP2_SUPER_MAGIC;
}

std::string CgroupPaths::path(std::uint64_t id) const {
    if (!folder_ || id == 0) return {};
    if (!handles_) return walk(id);
    // A file_handle ends in as many bytes as it says.
    alignas(file_handle) std::array<std::byte, sizeof(file_handle) + sizeof id> space{};
    auto* const handle = reinterpret_cast<file_handle*>(space.data());
    handle->handle_bytes = sizeof id;
    handle->handle_type = kKernfsHandle;
    std::memcpy(space.data() + sizeof(file_handle), &id, sizeof id);
    const Fd found(::open_by_handle_at(folder_.get(), handle, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!found) return errno == ESTALE ? std::string() : walk(id);
    std::array<char, PATH_MAX> text{};
    const auto link = "/proc/self/fd/" + std::to_string(found.get());
    const auto size = ::readlink(link.c_str(), text.data(), text.size());
    std::string_view path(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    if (path == mount_) return "/";
    if (!path.starts_with(mount_) || path[mount_.size()] != '/') return {};
    path.remove_prefix(mount_.size());
    constexpr std::string_view kDeleted = " (deleted)";
    if (path.ends_with(kDeleted)) path.remove_suffix(kDeleted.size());
    return std::string(path);
}

std::string CgroupPaths::walk(std::uint64_t id) const {
    std::deque<std::string> open{"/"};
    for (std::size_t seen = 0; !open.empty() && seen < kMostWalked; ++seen) {
        const auto at = std::move(open.front());
        open.pop_front();
        const auto full = mount_ + at;
        struct stat is{};
        if (::stat(full.c_str(), &is) != 0) continue;
        if (is.st_ino == id) return at;
        const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(full.c_str()), ::closedir);
        if (!folder) continue;
        while (const dirent* entry = ::readdir(folder.get())) {
            if (entry->d_type != DT_DIR || std::strcmp(entry->d_name, ".") == 0 ||
                std::strcmp(entry->d_name, "..") == 0)
                continue;
            open.push_back((at == "/" ? at : at + "/") + entry->d_name);
        }
    }
    return {};
}

std::vector<std::uint64_t> CgroupPaths::ids(const std::string& path) const {
    std::vector<std::uint64_t> out;
    for (auto at = path; !at.empty() && at != "/"; at.resize(at.rfind('/'))) {
        struct stat is{};
        if (::stat((mount_ + at).c_str(), &is) == 0) out.push_back(is.st_ino);
    }
    return out;
}

} // namespace beeline::security
