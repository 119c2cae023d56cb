#include "security/events/snapshot.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <ctime>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "base/fd.h"
#include "security/events/record_builder.h"

namespace beeline::security {
namespace {

constexpr std::uint64_t kTickNs = 10'000'000; // USER_HZ is 100 on every architecture that has eBPF
constexpr std::uint64_t kNanosecond = 1'000'000'000;

std::uint64_t boot_clock_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * kNanosecond +
           static_cast<std::uint64_t>(now.tv_nsec);
}

template <typename T>
T number(std::string_view text, int base = 10, T otherwise = 0) {
    T value = otherwise;
    std::from_chars(text.data(), text.data() + text.size(), value, base);
    return value;
}

// Words of a line, one after the other.
class Words {
public:
    explicit Words(std::string_view text) : rest_(text) {}
    std::string_view next() {
        const auto from = std::min(rest_.find_first_not_of(" \t"), rest_.size());
        rest_.remove_prefix(from);
        const auto to = std::min(rest_.find_first_of(" \t"), rest_.size());
        const auto word = rest_.substr(0, to);
        rest_.remove_prefix(to);
        return word;
    }
    std::string_view last() {
        std::string_view word;
        for (auto more = next(); !more.empty(); more = next())
            word = more;
        return word;
    }

private:
    std::string_view rest_;
};

struct Stat {
    std::string_view comm;
    std::uint32_t ppid = 0;
    std::uint32_t pgid = 0;
    std::uint32_t sid = 0;
    std::uint32_t tty = 0;
    std::uint64_t start_ns = 0;
};

// "7 (a) b) S 1 7 ...": the name may hold anything, so it ends at the last bracket.
std::optional<Stat> parse_stat(std::string_view text) {
    const auto open = text.find('(');
    const auto close = text.rfind(')');
    if (open == std::string_view::npos || close == std::string_view::npos || close < open)
        return std::nullopt;
    Stat stat;
    stat.comm = text.substr(open + 1, close - open - 1);
    Words words(text.substr(close + 1));
    words.next(); // state
    stat.ppid = number<std::uint32_t>(words.next());
    stat.pgid = number<std::uint32_t>(words.next());
    stat.sid = number<std::uint32_t>(words.next());
    stat.tty = number<std::uint32_t>(words.next());
    for (int field = 8; field < 22; ++field)
        words.next();
    const auto start = words.next();
    if (start.empty()) return std::nullopt;
    stat.start_ns = number<std::uint64_t>(start) * kTickNs;
    return stat;
}

void parse_status(std::string_view text, bl_event_task& task) {
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        const auto line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        const auto colon = line.find(':');
        if (colon == std::string_view::npos) continue;
        const auto name = line.substr(0, colon);
        Words words(line.substr(colon + 1));
        if (name == "Uid") {
            words.next(); // the real one
            task.uid = number<std::uint32_t>(words.next());
        } else if (name == "Gid") {
            words.next();
            task.gid = number<std::uint32_t>(words.next());
        } else if (name == "NSpid") {
            task.vpid = number<std::uint32_t>(words.last());
        } else if (name == "NSpgid") {
            task.vpgid = number<std::uint32_t>(words.last());
        } else if (name == "NSsid") {
            task.vsid = number<std::uint32_t>(words.last());
        } else if (name == "CapInh") {
            task.cap_inheritable = number<std::uint64_t>(words.next(), 16);
        } else if (name == "CapPrm") {
            task.cap_permitted = number<std::uint64_t>(words.next(), 16);
        } else if (name == "CapEff") {
            task.cap_effective = number<std::uint64_t>(words.next(), 16);
            return; // nothing behind it is wanted
        }
    }
}

std::uint64_t to_ns(const timespec& time) {
    return static_cast<std::uint64_t>(time.tv_sec) * kNanosecond +
           static_cast<std::uint64_t>(time.tv_nsec);
}

// A path as the process sees it: /proc shows it from our root.
std::string_view below_root(std::string_view path, std::string_view root) {
    if (root.size() > 1 && path.starts_with(root) &&
        (path.size() == root.size() || path[root.size()] == '/')) {
        path.remove_prefix(root.size());
        if (path.empty()) path = "/";
    }
    return path;
}

class Scan {
public:
    Scan(const SnapshotOptions& options, const std::function<void(std::span<const std::byte>)>& use)
        : options_(options), use_(use) {}

    Result<std::size_t> run() {
        proc_.reset(::open(options_.proc.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!proc_) return fail_errno(errno, "open " + options_.proc);
        const std::unique_ptr<DIR, int (*)(DIR*)> folder(::fdopendir(::dup(proc_.get())),
                                                         ::closedir);
        if (!folder) return fail_errno(errno, "read " + options_.proc);
        std::size_t count = 0;
        while (const dirent* entry = ::readdir(folder.get())) {
            const auto pid = number<std::uint32_t>(entry->d_name);
            if (pid != 0 && process(entry->d_name, pid)) ++count;
        }
        return count;
    }

private:
    struct Cgroup {
        std::uint64_t id = 0;
        bool in_scope = false;
    };

    // Text of a small file below `folder`; it stays valid until the next call with the same buffer.
    template <std::size_t N>
    static std::string_view read(int folder, const char* name, std::array<char, N>& buffer) {
        const Fd file(::openat(folder, name, O_RDONLY | O_CLOEXEC));
        if (!file) return {};
        std::size_t size = 0;
        while (size < N) {
            const auto got = ::read(file.get(), buffer.data() + size, N - size);
            if (got <= 0) break;
            size += static_cast<std::size_t>(got);
            // Short files come whole in the first read: asking for the end of each would cost as much again.
            if (static_cast<std::size_t>(got) < N / 2) break;
        }
        return {buffer.data(), size};
    }

    template <std::size_t N>
    static std::string_view link(int folder, const char* name, std::array<char, N>& buffer) {
        const auto size = ::readlinkat(folder, name, buffer.data(), N);
        return {buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
    }

    // "net:[4026531840]": reading the link costs half of following it.
    static std::uint32_t namespace_number(int folder, const char* name) {
        std::array<char, 64> buffer{};
        const auto text = link(folder, name, buffer);
        const auto open = text.find('[');
        return open == std::string_view::npos ? 0 : number<std::uint32_t>(text.substr(open + 1));
    }

    static void namespaces(int process, bl_event_task& task) {
        const Fd folder(::openat(process, "ns", O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (!folder) return;
        task.ns_mnt = namespace_number(folder.get(), "mnt");
        task.ns_pid = namespace_number(folder.get(), "pid");
        task.ns_net = namespace_number(folder.get(), "net");
        task.ns_user = namespace_number(folder.get(), "user");
        task.ns_uts = namespace_number(folder.get(), "uts");
        task.ns_ipc = namespace_number(folder.get(), "ipc");
        task.ns_cgroup = namespace_number(folder.get(), "cgroup");
    }

    const Cgroup& cgroup(const std::string& path) {
        const auto known = cgroups_.find(path);
        if (known != cgroups_.end()) return known->second;
        Cgroup found;
        struct stat is{};
        // Paths outside of our cgroup namespace start with "/..".
        if (!options_.cgroup_mount.empty() && !path.starts_with("/..") &&
            ::stat((options_.cgroup_mount + path).c_str(), &is) == 0)
            found.id = is.st_ino;
        found.in_scope = found.id != 0 && found.id == options_.scope_cgroup;
        if (!found.in_scope && path.size() > 1) {
            const auto slash = path.rfind('/');
            found.in_scope = cgroup(slash == 0 ? "/" : path.substr(0, slash)).in_scope;
        }
        return cgroups_.emplace(path, found).first->second;
    }

    Cgroup cgroup_of(int process) {
        auto text = read(process, "cgroup", small_);
        while (!text.empty()) {
            const auto end = std::min(text.find('\n'), text.size());
            auto line = text.substr(0, end);
            text.remove_prefix(std::min(end + 1, text.size()));
            if (!line.starts_with("0::/")) continue;
            line.remove_prefix(3);
            constexpr std::string_view kDeleted = " (deleted)";
            if (line.ends_with(kDeleted)) line.remove_suffix(kDeleted.size());
            return cgroup(std::string(line));
        }
        return {};
    }

    std::uint64_t start_of(std::uint32_t pid) {
        const auto known = starts_.find(pid);
        if (known != starts_.end()) return known->second;
        const auto name = std::to_string(pid) + "/stat";
        const auto stat = parse_stat(read(proc_.get(), name.c_str(), small_));
        const std::uint64_t start_ns = stat ? stat->start_ns : 0;
        starts_.emplace(pid, start_ns);
        return start_ns;
    }

    // False for a kernel thread (or one that ended): it has no arguments either.
    bool executable(int process, bl_event_task& task) {
        struct stat is{};
        auto path = link(process, "exe", path_);
        if (path.empty()) return false;
        if (::fstatat(process, "exe", &is, 0) == 0) {
            task.exe.ino = is.st_ino;
            task.exe.ctime_ns = to_ns(is.st_ctim);
            task.exe.mtime_ns = to_ns(is.st_mtim);
            task.exe.dev = (major(is.st_dev) << 20U) | minor(is.st_dev);
            task.exe.mode = static_cast<std::uint16_t>(is.st_mode);
            constexpr std::string_view kDeleted = " (deleted)";
            if (is.st_nlink == 0 && path.ends_with(kDeleted)) {
                path.remove_suffix(kDeleted.size());
                task.exe.flags |= BL_FILE_DELETED;
            }
        }
        if (path.starts_with("/memfd:")) task.exe.flags |= BL_FILE_MEMFD;
        record_.text(BL_STR_RESOLVED, below_root(path, root_));
        return true;
    }

    void arguments(int process, const char* file, unsigned string) {
        auto text = read(process, file, large_);
        if (text.empty()) return;
        if (text.back() != '\0' && text.size() < large_.size()) {
            large_[text.size()] = '\0'; // a title that the program set itself
            text = {large_.data(), text.size() + 1};
        }
        record_.text(string, text);
    }

    // One that made its own pid namespace tells when that started.
    std::uint64_t pid_namespace_start(const bl_event_task& task) {
        if (task.vpid == 1) {
            if (task.ns_pid != 0) inits_.emplace(task.ns_pid, task.start_ns);
            return task.start_ns;
        }
        const auto init = inits_.find(task.ns_pid);
        return init == inits_.end() ? 0 : init->second;
    }

    bool process(const char* name, std::uint32_t pid) {
        const Fd folder(::openat(proc_.get(), name, O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (!folder) return false;
        const int at = folder.get();
        const auto group = cgroup_of(at);
        if (options_.scope_cgroup != 0 && !group.in_scope) return false;

        const auto stat = parse_stat(read(at, "stat", small_));
        if (!stat) return false;
        starts_[pid] = stat->start_ns;
        bl_event_task task{};
        task.pid = task.vpid = pid;
        task.start_ns = stat->start_ns;
        task.ppid = stat->ppid;
        task.pgid = task.vpgid = stat->pgid;
        task.sid = task.vsid = stat->sid;
        task.tty = stat->tty;
        task.cgroup = group.id;
        std::memcpy(task.comm, stat->comm.data(),
                    std::min(stat->comm.size(), sizeof task.comm - 1));
        const auto status = read(at, "status", large_);
        if (status.empty()) return false; // it just ended
        parse_status(status, task);
        task.parent_start_ns = task.ppid == 0 ? 0 : start_of(task.ppid);
        constexpr std::uint32_t kUnset = 0xffffffff;
        task.loginuid = number<std::uint32_t>(read(at, "loginuid", small_), 10, kUnset);
        task.session = kUnset; // no rule asks for it, and every file counts here
        namespaces(at, task);
        task.pidns_start_ns = pid_namespace_start(task);

        auto& head = record_.begin(BL_EVENT_proc).head();
        head.time_ns = boot_clock_ns();
        head.start_ns = task.start_ns;
        head.cgroup = task.cgroup;
        head.pid = head.tid = pid;
        head.uid = task.uid;
        head.gid = task.gid;
        root_ = link(at, "root", root_buffer_);
        const bool program = executable(at, task);
        const auto cwd = link(at, "cwd", path_);
        if (!cwd.empty()) record_.text(BL_STR_BASE, below_root(cwd, root_));
        if (program) arguments(at, "cmdline", BL_STR_PATH2);
        if (program && options_.environment) arguments(at, "environ", BL_STR_BASE2);
        use_(record_.facts(task).finish());
        return true;
    }

    const SnapshotOptions& options_;
    const std::function<void(std::span<const std::byte>)>& use_;
    Fd proc_;
    RecordBuilder record_;
    std::unordered_map<std::string, Cgroup> cgroups_;         // by path
    std::unordered_map<std::uint32_t, std::uint64_t> starts_; // by pid
    std::unordered_map<std::uint32_t, std::uint64_t> inits_;  // by pid namespace
    std::array<char, 2048> small_{};
    std::array<char, RecordBuilder::kLongest> large_{};
    std::array<char, 4096> path_{};
    std::array<char, 4096> root_buffer_{};
    std::string_view root_;
};

} // namespace

Result<std::size_t> snapshot(const SnapshotOptions& options,
                             const std::function<void(std::span<const std::byte>)>& record) {
    return Scan(options, record).run();
}

} // namespace beeline::security
