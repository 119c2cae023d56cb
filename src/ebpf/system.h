// The file systems that BPF needs, and what this kernel can do.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace beeline::ebpf {

// Mounts bpffs at /sys/fs/bpf and tracefs at /sys/kernel/tracing when they are absent.
Result<> mount_file_systems();

// Where cgroup2 is mounted: /sys/fs/cgroup on pure v2 hosts, /sys/fs/cgroup/unified on hybrid ones,
// or elsewhere.
Result<std::string> cgroup2_mount();
// Where the hierarchies of version 1 are mounted, whatever their controllers.
std::vector<std::string> cgroup1_mounts();

struct Feature {
    std::string name;
    bool available = false;
    std::string lost; // one line: what does not work without it
};

// Found by trying: loads (and where harmless attaches) tiny programs. Takes some milliseconds.
std::vector<Feature> probe_features();

// Is there a tracepoint of this name that programs can read the arguments of?
bool has_tracepoint(const std::string& name);

} // namespace beeline::ebpf
