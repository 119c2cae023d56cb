#include "observe/processes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <cstring>
#include <ctime>
#include <span>
#include <utility>

#include "base/fd.h"

namespace beeline::observe {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr int kParentField = 4;
constexpr int kStartTimeField = 22;
constexpr std::size_t kContainerId = 64;
constexpr std::size_t kChains = 4096;
constexpr std::uint64_t kUsersPeriodNs = 10 * kSecond;
constexpr std::size_t kLargestPasswd = 4U << 20;

// A small file of /proc; longer ones are cut.
std::string_view read_small(int folder, const char* name, std::span<char> into) {
    const Fd file(::openat(folder, name, O_RDONLY | O_CLOEXEC));
    if (!file) return {};
    const ssize_t size = ::read(file.get(), into.data(), into.size());
    return {into.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

Fd open_process(const std::string& proc, std::uint32_t pid) {
    return Fd(::open(fmt::format("{}/{}", proc, pid).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

Result<std::string> binary_of(int folder) {
    std::array<char, PATH_MAX> link;
    const ssize_t length = ::readlinkat(folder, "exe", link.data(), link.size());
    if (length < 0) return fail_errno(errno, "process exe");
    std::string_view path(link.data(), static_cast<std::size_t>(length));
    constexpr std::string_view deleted = " (deleted)";
    if (path.ends_with(deleted)) path.remove_suffix(deleted.size());
    return std::string(path);
}

Result<ProcessStat> stat_of(int folder, std::span<char> buffer) {
    const auto text = read_small(folder, "stat", buffer);
    if (text.empty()) return fail(Code::not_found, "process stat");
    return parse_stat(text);
}

bool same_start(std::uint64_t found_ticks, std::uint64_t start_ns, std::uint64_t tick_ns) {
    const std::uint64_t wanted = start_ns / tick_ns;
    return found_ticks + 1 >= wanted && wanted + 1 >= found_ticks;
}

// The process folder, if it is of the process that began then. An open folder stays bound to this very process: after its
// exit reads below it fail, even if the pid is in use again.
Result<Fd> open_same(const std::string& proc, std::uint32_t pid, std::uint64_t start_ns,
                     std::uint64_t tick_ns, ProcessStat& stat, std::span<char> buffer) {
    Fd folder = open_process(proc, pid);
    if (!folder) return fail_errno(errno, "process folder");
    stat = TRY(stat_of(folder.get(), buffer));
    if (!same_start(stat.start_ticks, start_ns, tick_ns))
        return fail(Code::not_found, "pid {} belongs to another process now", pid);
    return folder;
}

bool is_hexadecimal(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

std::uint64_t monotonic_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * kSecond +
           static_cast<std::uint64_t>(now.tv_nsec);
}

std::map<std::uint32_t, std::string> parse_users(std::string_view text) {
    std::map<std::uint32_t, std::string> users;
    while (!text.empty()) {
        const auto line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
        const auto name = line.find(':');
        const auto password = name == line.npos ? name : line.find(':', name + 1);
        if (password == line.npos) continue;
        std::uint32_t uid = 0;
        const char* begin = line.data() + password + 1;
        const auto [end, error] = std::from_chars(begin, line.data() + line.size(), uid);
        if (error != std::errc{} || end == line.data() + line.size() || *end != ':') continue;
        users.emplace(uid, line.substr(0, name));
    }
    return users;
}

} // namespace

Result<ProcessStat> parse_stat(std::string_view stat) {
    ProcessStat out;
    // Field 2 is the comm in parentheses and may hold spaces and parentheses of its own; field 3 follows its end.
    const auto comm_begin = stat.find('(');
    const auto comm_end = stat.rfind(')');
    if (comm_end == std::string_view::npos || comm_begin >= comm_end)
        return fail(Code::invalid, "stat without a comm");
    out.comm = stat.substr(comm_begin + 1, comm_end - comm_begin - 1);
    stat.remove_prefix(comm_end + 1);
    const auto number = [&](auto& value) {
        return std::from_chars(stat.data(), stat.data() + stat.size(), value).ec == std::errc{};
    };
    for (int field = 3;; ++field) {
        const auto begin = stat.find_first_not_of(' ');
        if (begin == std::string_view::npos) return fail(Code::invalid, "stat ends early");
        stat.remove_prefix(begin);
        if (field == kParentField && !number(out.parent))
            return fail(Code::invalid, "stat with a parent that is no number");
        if (field == kStartTimeField) break;
        stat.remove_prefix(std::min(stat.find(' '), stat.size()));
    }
    if (!number(out.start_ticks))
        return fail(Code::invalid, "stat with a start time that is no number");
    return out;
}

Result<std::uint64_t> start_ticks(std::string_view stat) {
    return TRY(parse_stat(stat)).start_ticks;
}

Result<std::string> read_binary(const std::string& proc, std::uint32_t pid, std::uint64_t start_ns,
                                std::uint64_t tick_ns) {
    std::array<char, 1024> buffer;
    ProcessStat stat;
    const Fd folder = TRY(open_same(proc, pid, start_ns, tick_ns, stat, buffer));
    return binary_of(folder.get());
}

std::string container_in(std::string_view cgroups) {
    std::string_view found;
    std::size_t depth = 0;
    while (!cgroups.empty()) { // one line for each hierarchy
        const auto line = cgroups.substr(0, cgroups.find('\n'));
        cgroups.remove_prefix(std::min(cgroups.size(), line.size() + 1));
        for (std::size_t at = 0; at < line.size();) {
            if (!is_hexadecimal(line[at])) {
                ++at;
                continue;
            }
            std::size_t end = at;
            while (end < line.size() && is_hexadecimal(line[end]))
                ++end;
            if (end - at == kContainerId && at >= depth) {
                found = line.substr(at, kContainerId);
                depth = at;
            }
            at = end;
        }
    }
    return std::string(found);
}

std::size_t Processes::FactsHash::operator()(const ProcessFacts& facts) const noexcept {
    const std::hash<std::string> text;
    std::size_t seed = text(facts.binary);
    const auto mix = [&](const std::string& one) {
        seed ^= text(one) + 0x9e3779b97f4a7c15U + (seed << 6) + (seed >> 2);
    };
    mix(facts.user);
    mix(facts.container);
    for (const auto& one : facts.ancestry)
        mix(one);
    return seed;
}

Processes::Processes(std::string proc, std::size_t capacity, std::string passwd)
    : proc_(std::move(proc)), passwd_(std::move(passwd)), cache_(capacity), chains_(kChains) {
    const long per_second = ::sysconf(_SC_CLK_TCK);
    tick_ns_ = kSecond / static_cast<std::uint64_t>(per_second > 0 ? per_second : 100);
}

void Processes::set_source(ProcessSource source) {
    const std::lock_guard lock(mutex_);
    source_ = std::move(source);
}

std::shared_ptr<const ProcessInfo> Processes::find(const bl_process& key) {
    if (key.pid == 0) return nullptr;
    if (const auto* known = cache_.find(key)) return *known;
    auto info = std::make_shared<ProcessInfo>(key);
    info->set(facts_.get(read(key)));
    {
        const std::lock_guard lock(mutex_);
        if (source_) source_(info);
    }
    return cache_.put(key, std::move(info));
}

ProcessFacts Processes::read(const bl_process& key) {
    ProcessFacts facts;
    std::array<char, 4096> buffer;
    ProcessStat stat;
    const auto folder = open_same(proc_, key.pid, key.start_ns, tick_ns_, stat, buffer);
    if (folder) {
        const std::uint32_t parent = stat.parent;
        facts.binary = binary_of(folder->get()).value_or("");
        facts.container = container_in(read_small(folder->get(), "cgroup", buffer));
        if (const auto above = chain(parent, 0)) facts.ancestry = *above;
        if (facts.ancestry.size() > kAncestors) facts.ancestry.resize(kAncestors);
    }
    // What a container calls a uid is in its own files.
    if (facts.container.empty() || key.uid == 0) facts.user = user(key.uid);
    return facts;
}

// Ancestors are shared by many: each is read once for as long as it keeps its comm. Null when there is none.
Processes::Chain Processes::chain(std::uint32_t pid, std::size_t depth) {
    if (pid == 0 || depth == kAncestors) return nullptr;
    const Fd folder = open_process(proc_, pid);
    if (!folder) return nullptr;
    std::array<char, 1024> buffer;
    const auto stat = stat_of(folder.get(), buffer);
    if (!stat) return nullptr;
    ParentKey key;
    key.pid = pid;
    key.ticks = stat->start_ticks;
    stat->comm.copy(key.comm, sizeof key.comm - 1);
    if (const auto* known = chains_.find(key)) return *known;
    auto names = std::make_shared<std::vector<std::string>>();
    auto binary = binary_of(folder.get()).value_or("");
    names->push_back(binary.empty() ? std::string(stat->comm) : std::move(binary));
    if (const auto above = chain(stat->parent, depth + 1))
        names->insert(names->end(), above->begin(), above->end());
    return chains_.put(key, std::move(names));
}

std::string Processes::user(std::uint32_t uid) {
    if (const auto now = monotonic_ns(); now >= users_next_ns_) {
        users_next_ns_ = now + kUsersPeriodNs;
        const Fd file(::open(passwd_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
        struct stat info{};
        if (file && ::fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode)) {
            const std::int64_t changed =
                info.st_mtim.tv_sec * static_cast<std::int64_t>(kSecond) + info.st_mtim.tv_nsec;
            const auto size =
                std::min<std::size_t>(static_cast<std::size_t>(info.st_size), kLargestPasswd);
            if (changed != users_changed_ns_) {
                std::string text(size, '\0');
                const ssize_t got = ::read(file.get(), text.data(), text.size());
                text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
                users_ = parse_users(text);
                users_changed_ns_ = changed;
            }
        }
    }
    const auto found = users_.find(uid);
    return found == users_.end() ? std::string() : found->second;
}

} // namespace beeline::observe
