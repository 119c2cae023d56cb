#include "base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>

#include "base/fd.h"

namespace beeline {
namespace {

Result<> write_all(int fd, std::string_view content) {
    while (!content.empty()) {
        const auto written = ::write(fd, content.data(), content.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return fail_errno(errno, "write");
        content.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

Result<> sync_folder_of(const std::string& path) {
    const std::string folder = std::filesystem::path(path).parent_path();
    const Fd fd(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd || ::fsync(fd.get()) < 0) return fail_errno(errno, "sync the folder");
    return {};
}

Result<> write_and_rename(const std::string& temporary, const std::string& path,
                          std::string_view content, Durable durable) {
    const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!fd) return fail_errno(errno, "create");
    TRY(write_all(fd.get(), content));
    if (durable == Durable::yes && ::fsync(fd.get()) < 0) return fail_errno(errno, "sync");
    if (::rename(temporary.c_str(), path.c_str()) < 0) return fail_errno(errno, "rename");
    return durable == Durable::yes ? sync_folder_of(path) : Result<>{};
}

} // namespace

Result<std::string> read_file(const std::string& path, std::size_t most) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd && errno == ENOENT) return fail(Code::not_found, "'{}' does not exist", path);
    if (!fd) return fail_errno(errno, fmt::format("open '{}'", path));
    std::string content;
    std::array<char, 65536> buffer; // filled by read
    for (;;) {
        const auto size = ::read(fd.get(), buffer.data(), buffer.size());
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return fail_errno(errno, fmt::format("read '{}'", path));
        if (size == 0) return content;
        content.append(buffer.data(), static_cast<std::size_t>(size));
        if (content.size() > most)
            return fail(Code::exhausted, "'{}' is larger than {} bytes", path, most);
    }
}

Result<> replace_file(const std::string& path, std::string_view content, Durable durable) {
    // Beside the target, for rename works within one file system only; hidden, for folders are read by pattern.
    const std::filesystem::path target(path);
    const std::string temporary =
        target.parent_path() / fmt::format(".{}.new", target.filename().string());
    auto outcome = write_and_rename(temporary, path, content, durable);
    if (!outcome) {
        ::unlink(temporary.c_str());
        return Failure(outcome.error().with(fmt::format("write '{}'", path)));
    }
    return {};
}

Result<> make_folder(const std::string& path) {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) return fail_errno(error.value(), fmt::format("make the folder '{}'", path));
    return {};
}

} // namespace beeline
