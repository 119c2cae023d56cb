#include "cli/runtime_cgroup.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <csignal>
#include <memory>
#include <set>
#include <sstream>
#include <thread>

#include "cli/runtime_files.h"

namespace beeline::cli {
namespace {

using namespace std::chrono_literals;

constexpr int kCpuPeriodUs = 100'000;
constexpr auto kEmptyWait = 5s;

std::vector<std::string> words(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> result;
    for (std::string word; stream >> word;)
        result.push_back(word);
    return result;
}

std::vector<std::string> comma_list(std::string text) {
    for (char& c : text)
        if (c == ',') c = ' ';
    return words(text);
}

// mountinfo writes space, tab, newline and backslash of a path as three octal digits.
std::string unescape(std::string_view text) {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        unsigned code = 0;
        if (text[i] == '\\' && i + 3 < text.size() &&
            std::from_chars(text.data() + i + 1, text.data() + i + 4, code, 8).ptr ==
                text.data() + i + 4) {
            result += static_cast<char>(code);
            i += 3;
        } else {
            result += text[i];
        }
    }
    return result;
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

bool lists_controller(const std::string& file, const std::string& controller) {
    const auto text = read_file(file);
    if (!text) return false;
    const auto all = words(*text);
    return std::find(all.begin(), all.end(), controller) != all.end();
}

// Another run may remove a shared parent between two of our mkdir calls.
Result<> make_cgroup(const std::string& path) {
    for (int attempt = 0;; ++attempt) {
        auto made = make_folder(path);
        if (made || made.error().number != ENOENT || attempt == 20) return made;
    }
}

// cgroup2 hands a controller down one level at a time.
Result<> delegate(const std::string& mount, const std::string& relative,
                  const std::string& controller) {
    std::string directory = mount;
    for (std::size_t at = 0; at != std::string::npos;) {
        if (!lists_controller(directory + "/cgroup.subtree_control", controller)) {
            auto written = write_value(directory + "/cgroup.subtree_control", "+" + controller);
            if (!written) {
                return Failure(written.error().with(fmt::format(
                    "the limit needs the {} controller below {}", controller, directory)));
            }
        }
        const auto next = relative.find('/', at);
        if (next == std::string::npos) break;
        directory += "/" + relative.substr(at, next - at);
        at = next + 1;
    }
    return {};
}

Result<std::string> limited_directory(const CgroupMounts& mounts, const std::string& relative,
                                      const std::string& controller) {
    if (lists_controller(mounts.unified + "/cgroup.controllers", controller)) {
        TRY(delegate(mounts.unified, relative, controller));
        return mounts.unified + "/" + relative;
    }
    const auto found = mounts.controllers.find(controller);
    if (found == mounts.controllers.end()) {
        return fail(Code::unsupported,
                    "the limit cannot be applied: no cgroup hierarchy of this machine has the {} "
                    "controller",
                    controller);
    }
    std::string directory = found->second + "/" + relative;
    TRY(make_cgroup(directory));
    return directory;
}

Result<> limit_memory(const CgroupMounts& mounts, const std::string& relative,
                      std::uint64_t bytes) {
    const auto directory = TRY(limited_directory(mounts, relative, "memory"));
    const auto value = std::to_string(bytes);
    // Swap would stretch the limit; hosts without swap accounting lack these files.
    if (exists(directory + "/memory.max")) {
        TRY(write_value(directory + "/memory.max", value));
        if (exists(directory + "/memory.swap.max"))
            TRY(write_value(directory + "/memory.swap.max", "0"));
        return {};
    }
    TRY(write_value(directory + "/memory.limit_in_bytes", value));
    if (exists(directory + "/memory.memsw.limit_in_bytes"))
        TRY(write_value(directory + "/memory.memsw.limit_in_bytes", value));
    return {};
}

Result<> limit_cpu(const CgroupMounts& mounts, const std::string& relative, std::uint32_t millis) {
    const auto directory = TRY(limited_directory(mounts, relative, "cpu"));
    const auto quota = static_cast<std::uint64_t>(millis) * kCpuPeriodUs / 1000;
    if (exists(directory + "/cpu.max"))
        return write_value(directory + "/cpu.max", fmt::format("{} {}", quota, kCpuPeriodUs));
    TRY(write_value(directory + "/cpu.cfs_period_us", std::to_string(kCpuPeriodUs)));
    return write_value(directory + "/cpu.cfs_quota_us", std::to_string(quota));
}

// Every hierarchy's directory of this cgroup that exists; controllers may share one mount.
std::vector<std::string> version1_directories(const CgroupMounts& mounts,
                                              const std::string& relative) {
    std::set<std::string> result;
    for (const auto* controller : {"memory", "cpu"}) {
        const auto found = mounts.controllers.find(controller);
        if (found != mounts.controllers.end() && exists(found->second + "/" + relative))
            result.insert(found->second + "/" + relative);
    }
    return {result.begin(), result.end()};
}

std::vector<std::string> child_directories(const std::string& path) {
    std::vector<std::string> result;
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
    if (!directory) return result;
    while (const dirent* entry = ::readdir(directory.get())) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            result.push_back(fmt::format("{}/{}", path, entry->d_name));
    }
    return result;
}

Result<> remove_directory(const std::string& path) {
    for (const auto& child : child_directories(path))
        TRY(remove_directory(child));
    const auto deadline = std::chrono::steady_clock::now() + kEmptyWait;
    while (::rmdir(path.c_str()) != 0) {
        const int number = errno;
        if (number == ENOENT) return {};
        if (number != EBUSY || std::chrono::steady_clock::now() > deadline)
            return fail_errno(number, "remove cgroup " + path);
        std::this_thread::sleep_for(5ms);
    }
    return {};
}

void remove_empty_parents(const std::string& mount, std::string relative, int most) {
    for (int level = 0; level < most; ++level) {
        const auto slash = relative.rfind('/');
        if (slash == std::string::npos) return;
        relative.resize(slash);
        if (::rmdir(fmt::format("{}/{}", mount, relative).c_str()) != 0) return;
    }
}

std::vector<pid_t> processes_in(const std::string& directory) {
    std::vector<pid_t> result;
    for (const auto& word : words(read_file(directory + "/cgroup.procs").value_or("")))
        result.push_back(static_cast<pid_t>(std::strtol(word.c_str(), nullptr, 10)));
    return result;
}

void kill_one_by_one(const std::string& directory) {
    for (const auto& child : child_directories(directory))
        kill_one_by_one(child);
    // A process may fork while it is looked at: repeat until nothing is left, but not for ever.
    for (int round = 0; round < 100; ++round) {
        const auto pids = processes_in(directory);
        if (pids.empty()) return;
        for (const pid_t pid : pids)
            if (pid > 1) ::kill(pid, SIGKILL);
        std::this_thread::sleep_for(5ms);
    }
}

std::optional<std::uint64_t> number_in(const std::string& file) {
    const auto text = read_file(file);
    if (!text) return std::nullopt;
    return std::strtoull(text->c_str(), nullptr, 10);
}

// Of a file with lines `KEY NUMBER`; 0 when it has no such line.
std::uint64_t value_of(const std::string& file, std::string_view wanted) {
    std::istringstream lines(read_file(file).value_or(""));
    std::string key;
    for (std::uint64_t value = 0; lines >> key >> value;)
        if (key == wanted) return value;
    return 0;
}

std::uint64_t resident_bytes(const std::vector<pid_t>& pids) {
    std::uint64_t pages = 0;
    for (const pid_t pid : pids) {
        const auto fields = words(read_file(fmt::format("/proc/{}/statm", pid)).value_or(""));
        if (fields.size() > 1) pages += std::strtoull(fields[1].c_str(), nullptr, 10);
    }
    return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

} // namespace

Result<CgroupMounts> parse_cgroup_mounts(std::string_view mountinfo) {
    CgroupMounts mounts;
    std::istringstream lines{std::string(mountinfo)};
    for (std::string line; std::getline(lines, line);) {
        const auto fields = words(line);
        const auto dash = std::find(fields.begin(), fields.end(), "-");
        if (fields.size() < 6 || fields.end() - dash < 4) continue;
        const auto mount = unescape(fields[4]);
        if (*(dash + 1) == "cgroup2") {
            if (mounts.unified.empty()) mounts.unified = mount;
        } else if (*(dash + 1) == "cgroup") {
            for (const auto& option : comma_list(*(dash + 3)))
                mounts.controllers.emplace(option, mount);
        }
    }
    if (mounts.unified.empty()) {
        return fail(Code::unsupported,
                    "no cgroup2 file system is mounted: mount one, for example with "
                    "'mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified'");
    }
    return mounts;
}

Result<CgroupMounts> find_cgroup_mounts() {
    return parse_cgroup_mounts(TRY(read_file("/proc/self/mountinfo")));
}

Result<> cgroup_create(const CgroupMounts& mounts, const std::string& relative,
                       const CgroupLimits& limits) {
    TRY(make_cgroup(mounts.unified + "/" + relative));
    if (limits.memory_bytes != 0) {
        auto limited = limit_memory(mounts, relative, limits.memory_bytes);
        if (!limited) return Failure(limited.error().with("--memory"));
    }
    if (limits.cpu_millis != 0) {
        auto limited = limit_cpu(mounts, relative, limits.cpu_millis);
        if (!limited) return Failure(limited.error().with("--cpu"));
    }
    return {};
}

Result<> cgroup_add(const CgroupMounts& mounts, const std::string& relative, pid_t pid) {
    TRY(write_value(mounts.unified + "/" + relative + "/cgroup.procs", std::to_string(pid)));
    for (const auto& directory : version1_directories(mounts, relative))
        TRY(write_value(directory + "/cgroup.procs", std::to_string(pid)));
    return {};
}

std::vector<pid_t> cgroup_processes(const CgroupMounts& mounts, const std::string& relative) {
    return processes_in(mounts.unified + "/" + relative);
}

void cgroup_kill(const CgroupMounts& mounts, const std::string& relative) {
    const std::string directory = mounts.unified + "/" + relative;
    if (!exists(directory)) return;
    // Linux 5.14 kills a whole subtree at once.
    if (!write_value(directory + "/cgroup.kill", "1")) kill_one_by_one(directory);
}

Result<> cgroup_remove(const CgroupMounts& mounts, const std::string& relative) {
    for (const auto& directory : version1_directories(mounts, relative)) {
        TRY(remove_directory(directory));
        remove_empty_parents(directory.substr(0, directory.size() - relative.size() - 1), relative,
                             8);
    }
    TRY(remove_directory(mounts.unified + "/" + relative));
    // Only the folder of workloads: the one above is the agent's, with its programs attached.
    remove_empty_parents(mounts.unified, relative, 1);
    return {};
}

CgroupUsage cgroup_usage(const CgroupMounts& mounts, const std::string& relative) {
    CgroupUsage usage;
    const std::string directory = mounts.unified + "/" + relative;
    usage.cpu_us = value_of(directory + "/cpu.stat", "usage_usec");
    auto memory = number_in(directory + "/memory.current");
    for (const auto& other : version1_directories(mounts, relative))
        if (!memory) memory = number_in(other + "/memory.usage_in_bytes");
    usage.memory_bytes = memory ? *memory : resident_bytes(processes_in(directory));
    return usage;
}

std::uint64_t cgroup_oom_kills(const CgroupMounts& mounts, const std::string& relative) {
    auto kills = value_of(mounts.unified + "/" + relative + "/memory.events", "oom_kill");
    for (const auto& directory : version1_directories(mounts, relative))
        kills += value_of(directory + "/memory.oom_control", "oom_kill");
    return kills;
}

} // namespace beeline::cli
