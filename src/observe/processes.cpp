#include "observe/processes.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <climits>

#include "base/fd.h"

namespace beeline::observe {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr int kStartTimeField = 22;

} // namespace

Result<std::uint64_t> start_ticks(std::string_view stat) {
    // Field 2 is the comm in parentheses and may hold spaces and parentheses of its own; field 3 follows its end.
    const auto comm_end = stat.rfind(')');
    if (comm_end == std::string_view::npos) return fail(Code::invalid, "stat without a comm");
    stat.remove_prefix(comm_end + 1);
    for (int field = 3;; ++field) {
        const auto begin = stat.find_first_not_of(' ');
        if (begin == std::string_view::npos) return fail(Code::invalid, "stat ends early");
        stat.remove_prefix(begin);
        if (field == kStartTimeField) break;
        stat.remove_prefix(std::min(stat.find(' '), stat.size()));
    }
    std::uint64_t ticks = 0;
    if (std::from_chars(stat.data(), stat.data() + stat.size(), ticks).ec != std::errc{})
        return fail(Code::invalid, "stat with a start time that is no number");
    return ticks;
}

Result<std::string> read_binary(const std::string& proc, std::uint32_t pid, std::uint64_t start_ns,
                                std::uint64_t tick_ns) {
    // The open folder stays bound to this very process: after its exit the reads below fail, even if the pid is
    // in use again.
    const Fd folder(
        ::open(fmt::format("{}/{}", proc, pid).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!folder) return fail_errno(errno, "process folder");

    const Fd stat(::openat(folder.get(), "stat", O_RDONLY | O_CLOEXEC));
    if (!stat) return fail_errno(errno, "process stat");
    std::array<char, 1024> text;
    const ssize_t size = ::read(stat.get(), text.data(), text.size());
    if (size < 0) return fail_errno(errno, "process stat");
    const std::uint64_t found =
        TRY(start_ticks(std::string_view(text.data(), static_cast<std::size_t>(size))));
    const std::uint64_t wanted = start_ns / tick_ns;
    if (found + 1 < wanted || wanted + 1 < found)
        return fail(Code::not_found, "pid {} belongs to another process now", pid);

    std::array<char, PATH_MAX> link;
    const ssize_t length = ::readlinkat(folder.get(), "exe", link.data(), link.size());
    if (length < 0) return fail_errno(errno, "process exe");
    std::string_view path(link.data(), static_cast<std::size_t>(length));
    constexpr std::string_view deleted = " (deleted)";
    if (path.ends_with(deleted)) path.remove_suffix(deleted.size());
    return std::string(path);
}

Processes::Processes(std::string proc, std::size_t capacity)
    : proc_(std::move(proc)), cache_(capacity) {
    const long per_second = ::sysconf(_SC_CLK_TCK);
    tick_ns_ = kSecond / static_cast<std::uint64_t>(per_second > 0 ? per_second : 100);
}

std::shared_ptr<const ProcessInfo> Processes::find(const bl_process& key) {
    if (key.pid == 0) return nullptr;
    if (const auto* known = cache_.find(key)) return *known;
    auto info = std::make_shared<ProcessInfo>();
    info->key = key;
    auto binary = read_binary(proc_, key.pid, key.start_ns, tick_ns_);
    if (binary && !binary->empty()) info->binary = binaries_.get(*binary);
    return cache_.put(key, std::move(info));
}

} // namespace beeline::observe
