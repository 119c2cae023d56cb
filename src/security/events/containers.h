// From cgroups to containers and workloads.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "security/events/container_metadata.h"
#include "security/events/process_tree.h"

namespace beeline::security {

// A container that Beeline itself runs.
struct Workload {
    std::string name; // "namespace/name"
    std::string container_id;
    std::map<std::string, std::string> labels;
    bool operator==(const Workload&) const = default;
};

class ContainerResolver {
public:
    struct Options {
        std::string cgroup_mount; // of cgroup2
        std::string proc = "/proc";
        MetadataSources sources;
        std::size_t limit = 8192; // cgroups remembered
        // More is known of a cgroup (0: of many) than placement() said last: see ProcessTree::place_again(). Called on the
        // resolver's thread, or that of set_workloads(), without a lock held.
        std::function<void(std::uint64_t cgroup)> changed;
    };
    explicit ContainerResolver(Options options);
    ~ContainerResolver();
    ContainerResolver(const ContainerResolver&) = delete;
    ContainerResolver& operator=(const ContainerResolver&) = delete;

    // Any thread; quick. What takes longer is looked up in the background.
    Placement placement(std::uint64_t cgroup);
    // BL_SCOPE_CONTAINER or BL_SCOPE_HOST; 0 if the cgroup cannot be found.
    std::uint32_t scope_flags(std::uint64_t cgroup);
    // Replaces Beeline's own, by cgroup2 id. The cgroups below belong to them too.
    void set_workloads(std::map<std::uint64_t, Workload> workloads);
    // What has been asked for so far, for recordings.
    [[nodiscard]] std::map<std::uint64_t, Placement> placements() const;
    // Waits until nothing is to be looked up: for tests.
    void settle();

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace beeline::security
