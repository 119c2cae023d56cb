// What a process does to itself before it runs a workload's program. Every function acts on the calling process.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/run_spec.h"

namespace beeline::cli {

// Joins the network namespace of file `netns` and makes new mount, uts and ipc namespaces with the spec's volumes and
// hostname in them. Unless privileged: /sys shows this network namespace and is read-only, without cgroups, and the
// folders in `hidden` are empty.
Result<> enter_new_namespaces(const RunSpec& spec, const std::string& netns,
                              const std::vector<std::string>& hidden);

// Becomes the spec's user. Users but root lose every capability for good; root keeps those of an ordinary container.
Result<> become_user(const RunSpec& spec);

// Gives up everything but the uid.
Result<> drop_all_capabilities();

// Ends this process when the one that made it ends. `report` is a pipe that only the maker reads.
Result<> die_with_parent(int report);

} // namespace beeline::cli
