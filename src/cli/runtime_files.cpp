#include "cli/runtime_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <csignal>
#include <ctime>

namespace beeline::cli {

Result<> write_value(const std::string& path, std::string_view value) {
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return fail_errno(errno, path);
    if (::write(fd.get(), value.data(), value.size()) < 0)
        return fail_errno(errno, fmt::format("write '{}' to {}", value, path));
    return {};
}

std::optional<std::uint64_t> process_start(pid_t pid) {
    const auto text = read_file(fmt::format("/proc/{}/stat", pid));
    if (!text) return std::nullopt;
    // The second field is the name in parentheses and may hold anything; the start is the 22nd.
    auto at = text->rfind(')');
    if (at == std::string::npos || at + 2 >= text->size()) return std::nullopt;
    if ((*text)[at + 2] == 'Z' || (*text)[at + 2] == 'X') return std::nullopt;
    for (int field = 2; field < 22; ++field) {
        at = text->find(' ', at + 1);
        if (at == std::string::npos) return std::nullopt;
    }
    std::uint64_t ticks = 0;
    std::from_chars(text->data() + at + 1, text->data() + text->size(), ticks);
    return ticks;
}

std::string boot_id() {
    auto text = read_file("/proc/sys/kernel/random/boot_id").value_or("");
    while (text.ends_with('\n'))
        text.pop_back();
    return text;
}

Result<Fd> lock_file(const std::string& path) {
    Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd) return fail_errno(errno, path);
    while (::flock(fd.get(), LOCK_EX) != 0) {
        if (errno != EINTR) return fail_errno(errno, "lock " + path);
    }
    return fd;
}

Fd open_process(pid_t pid, std::uint64_t start) {
    if (pid <= 0) return {};
    Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    // In this order: the descriptor keeps meaning the process whose start is then compared.
    if (!process || process_start(pid) != start) return {};
    return process;
}

bool signal_process(const Fd& process, int signal) {
    return process && ::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0) == 0;
}

std::string timestamp() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    std::tm utc{};
    ::gmtime_r(&now.tv_sec, &utc);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", utc.tm_year + 1900,
                       utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                       now.tv_nsec / 1000);
}

} // namespace beeline::cli
