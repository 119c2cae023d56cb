// Where an instance keeps its files. The default instance has an empty name.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace beeline::api {

struct Paths {
    std::string instance;
    std::string run;   // /run/beeline[/NAME]
    std::string state; // /var/lib/beeline[/NAME]
    std::string pins;  // <bpffs>/beeline[/NAME], the default instance's pins in .../beeline/default
    std::string manifests; // /etc/beeline[/NAME]/manifests
    std::string cgroup;    // below the cgroup2 mount: "beeline/default" or "beeline/NAME"

    [[nodiscard]] std::string socket() const { return run + "/beeline.sock"; }
    [[nodiscard]] std::string tombstones() const { return run + "/cni-deleted"; }
};

// Fails when the name is not [a-z0-9]([a-z0-9-]*[a-z0-9])? of at most 32 characters.
Result<Paths> paths_for(std::string_view instance);

// The instance that commands talk to: `given` if not empty, else $BEELINE_INSTANCE, else the default one.
Result<Paths> paths_from_environment(std::string_view given);

} // namespace beeline::api
