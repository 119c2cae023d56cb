#include "agent/workload_processes.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "ebpf/system.h"

namespace beeline::agent {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t kMost = 256;
constexpr int kDepth = 4; // of cgroups below the workload's

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

json process(unsigned pid) {
    const std::string folder = "/proc/" + std::to_string(pid);
    json out{{"pid", pid}, {"comm", first_line(folder + "/comm")}};
    std::array<char, 4096> target{};
    const auto size = ::readlink((folder + "/exe").c_str(), target.data(), target.size());
    if (size > 0) out["binary"] = std::string(target.data(), static_cast<std::size_t>(size));
    struct stat owner{};
    if (::stat(folder.c_str(), &owner) == 0) out["uid"] = owner.st_uid;
    return out;
}

void collect(const fs::path& folder, int depth, json& list) {
    std::ifstream file(folder / "cgroup.procs");
    unsigned pid = 0;
    while (list.size() < kMost && file >> pid)
        list.push_back(process(pid));
    if (depth == 0) return;
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
         entry.increment(error)) {
        std::error_code gone;
        if (entry->is_directory(gone)) collect(entry->path(), depth - 1, list);
    }
}

} // namespace

json processes_document(const std::string& cgroup) {
    json list = json::array();
    const auto mount = ebpf::cgroup2_mount();
    if (cgroup.empty() || !mount) return list;
    collect(fs::path(*mount) / fs::path(cgroup).relative_path(), kDepth, list);
    return list;
}

} // namespace beeline::agent
