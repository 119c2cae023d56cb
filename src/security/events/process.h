// A process as the security side knows it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace beeline::security {

// What an exec set: shared by the process and everything it forked since. Immutable.
struct Image {
    std::string exepath; // full path, seen from the root of the process
    std::string exe;     // argv[0]
    std::string argv;    // every argument closed by a NUL, argv[0] first
    std::string args;    // argv[1..] joined by blanks
    std::string env;     // every entry closed by a NUL; empty unless a rule wants it
    std::uint64_t ino = 0;
    std::uint64_t ctime_ns = 0; // CLOCK_REALTIME
    std::uint64_t mtime_ns = 0;
    std::uint32_t dev = 0;
    std::uint16_t flags = 0; // BL_FILE_*
};

// A container as its runtime tells. Immutable; replaced when more becomes known.
struct Container {
    struct Mount {
        std::string source;
        std::string destination;
        std::string mode;
        bool writable = false;
        std::string propagation;
    };
    std::string id; // first 12 characters
    std::string full_id;
    std::string runtime;   // "docker", "containerd", "cri-o", "podman", "lxc", "beeline"
    bool complete = false; // the fields below are known
    std::string name;
    std::string image; // as given: repository:tag or @digest
    std::string image_repository;
    std::string image_tag;
    std::string image_digest;
    std::string image_id;
    bool privileged = false;
    std::vector<Mount> mounts;
    std::map<std::string, std::string> labels;
    std::map<std::string, std::string> pod_labels; // empty: those of the container stand for them
    std::string pod_namespace;                     // Kubernetes
    std::string pod_name;
    std::string pod_uid;
    std::string pod_sandbox_id;
    std::string host_name;
    std::vector<std::string> addresses;
    std::map<std::uint32_t, std::string> users; // of the container's own passwd
    std::map<std::uint32_t, std::string> groups;
};

struct ProcessKey {
    std::uint32_t pid = 0;      // thread group, initial namespace
    std::uint64_t start_ns = 0; // CLOCK_BOOTTIME
    bool operator==(const ProcessKey&) const = default;
};

// Lives in the tree, which alone changes it (thread of the tree); exited ones stay for a while and as long as a
// descendant lives.
struct Process {
    ProcessKey key;
    const Process* parent = nullptr;            // who made it; stays the same when that one ends
    std::shared_ptr<const Image> image;         // never null
    std::string name;                           // comm after exec, at most 15 bytes
    std::string cmdline;                        // name and arguments
    std::string cwd;                            // ends with '/'; empty if not known
    std::shared_ptr<const Container> container; // null: the host
    std::string workload;                       // Beeline's "namespace/name"; empty if none
    std::int64_t started_ns = 0;                // CLOCK_REALTIME of its making
    std::uint64_t exec_boot_ns = 0;             // CLOCK_BOOTTIME of its last exec; 0: not seen
    std::uint64_t exit_boot_ns = 0;             // 0: lives
    int exit_code = 0;                          // as wait() has it
    std::uint64_t cgroup = 0;
    std::uint64_t cap_inheritable = 0;
    std::uint64_t cap_permitted = 0;
    std::uint64_t cap_effective = 0;
    std::uint64_t pidns_start_ns = 0;
    std::uint32_t ppid = 0;
    std::uint32_t pgid = 0;
    std::uint32_t sid = 0;
    std::uint32_t vpid = 0;
    std::uint32_t vpgid = 0;
    std::uint32_t vsid = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint32_t loginuid = 0xffffffff;
    std::uint32_t tty = 0;
    std::uint32_t ns_mnt = 0, ns_pid = 0, ns_net = 0, ns_user = 0, ns_uts = 0, ns_ipc = 0,
                  ns_cgroup = 0;
    bool guessed = false; // no exec, fork or snapshot of it was seen: little is known
    // A number that no other process and no other time has: image, name, container, capabilities and vpid are the same as long
    // as this is. 0: nobody keeps it.
    std::uint64_t facts = 0;
};

} // namespace beeline::security
