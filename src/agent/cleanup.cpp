#include "agent/cleanup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "datapath/firewall.h"
#include "datapath/kernel.h"
#include "datapath/node_paths.h"
#include "datapath/plumbing.h"
#include "ebpf/system.h"
#include "net/namespace.h"

namespace beeline::agent {
namespace {

namespace fs = std::filesystem;

// Ends every process below `folder` of the cgroup file system and removes the cgroups.
void remove_cgroup(const std::string& folder) {
    std::error_code error;
    if (!fs::is_directory(folder, error)) return;
    std::vector<fs::path> groups{folder};
    for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
        if (entry.is_directory()) groups.push_back(entry.path());
    }
    for (int round = 0; round < 50; ++round) {
        bool busy = false;
        for (const auto& group : groups) {
            std::ifstream processes(group / "cgroup.procs");
            pid_t pid = 0;
            while (processes >> pid) {
                busy = true;
                if (pid != getpid()) kill(pid, SIGKILL);
            }
        }
        if (!busy) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    for (auto group = groups.rbegin(); group != groups.rend(); ++group) {
        if (rmdir(group->c_str()) != 0 && errno != ENOENT) {
            log_warn("a cgroup remains", kv("path", group->string()),
                     kv("error", std::strerror(errno)));
        }
    }
}

void remove_tree(const std::string& path) {
    std::error_code error;
    fs::remove_all(path, error);
    if (error) log_warn("files remain", kv("path", path), kv("error", error.message()));
}

} // namespace

Result<> cleanup(const api::Paths& paths) {
    const std::string lock_path = paths.run + "/beelined.lock";
    const Fd lock(open(lock_path.c_str(), O_RDWR | O_CLOEXEC));
    if (lock && flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
        return fail(Code::exists,
                    "beelined runs with this instance name: stop it before --cleanup");
    }
    // Limits of `beeline run` sit in version 1 hierarchies on hybrid hosts.
    auto hierarchies = ebpf::cgroup1_mounts();
    if (const auto mount = ebpf::cgroup2_mount()) hierarchies.push_back(*mount);
    for (const auto& hierarchy : hierarchies) {
        const fs::path cgroup = hierarchy + "/" + paths.cgroup;
        remove_cgroup(cgroup.string());
        (void)rmdir(cgroup.parent_path().c_str()); // unless another instance has it
    }
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(paths.run + "/netns", error)) {
        (void)net::delete_named(entry.path().string());
    }
    if (fs::exists(paths.state, error)) {
        datapath::NodeNetwork network;
        network.state = paths.state;
        auto plumbing = datapath::Plumbing::create(network);
        if (plumbing) {
            if (const auto done = plumbing->remove_node(); !done) {
                log_warn("interfaces remain", kv("error", done.error().message));
            }
        }
        auto paths_to_nodes = datapath::NodePaths::create({});
        if (paths_to_nodes) {
            if (const auto done = paths_to_nodes->remove(); !done) {
                log_warn("routes to other nodes remain", kv("error", done.error().message));
            }
        }
        if (const auto done = datapath::remove_firewall(); !done) {
            log_warn("firewall rules remain", kv("error", done.error().message));
        }
    }
    datapath::Kernel::remove_pins(paths.pins);
    // The default instance's folders contain those of the others.
    if (paths.instance.empty()) {
        for (const auto& folder : {paths.run, paths.state}) {
            for (const char* name :
                 {"workloads", "runs", "logs", "netns", "cni-deleted", "manifests-good"}) {
                remove_tree(folder + "/" + name);
            }
            for (const auto& entry : fs::directory_iterator(folder, error)) {
                if (!entry.is_directory()) remove_tree(entry.path().string());
            }
        }
    } else {
        remove_tree(paths.run);
        remove_tree(paths.state);
    }
    return {};
}

} // namespace beeline::agent
