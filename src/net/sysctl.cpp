#include "net/sysctl.h"

#include <fcntl.h>

#include <array>

#include "base/fd.h"

namespace beeline::net {
namespace {

Result<Fd> open_sysctl(std::string_view name, int flags) {
    Fd fd(::open(fmt::format("/proc/sys/{}", name).c_str(), flags | O_CLOEXEC));
    if (!fd && errno == ENOENT) return fail(Code::not_found, "no sysctl {}", name);
    if (!fd) return fail_errno(errno, fmt::format("open sysctl {}", name));
    return fd;
}

} // namespace

Result<> write_sysctl(std::string_view name, std::string_view value) {
    const Fd fd = TRY(open_sysctl(name, O_WRONLY));
    if (::write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
        return fail_errno(errno, fmt::format("set sysctl {} to {}", name, value));
    }
    return {};
}

Result<std::string> read_sysctl(std::string_view name) {
    const Fd fd = TRY(open_sysctl(name, O_RDONLY));
    std::array<char, 4096> buffer{};
    const auto size = ::read(fd.get(), buffer.data(), buffer.size());
    if (size < 0) return fail_errno(errno, fmt::format("read sysctl {}", name));
    std::string text(buffer.data(), static_cast<std::size_t>(size));
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    return text;
}

} // namespace beeline::net
