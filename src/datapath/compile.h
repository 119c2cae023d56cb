// Desired state in, map contents out. Pure: no kernel, no clock, no files.
#pragma once

#include <memory>
#include <vector>

#include "datapath/tables.h"
#include "model/directory.h"
#include "model/objects.h"
#include "model/workload.h"

namespace beeline::datapath {

struct CompileInput {
    const model::Objects& objects;
    const std::vector<model::Workload>& workloads;
    const std::vector<net::Ip>& host_addresses;
    // What the maps hold now: numbers of identities, services and backends, and slot generations, are kept from it.
    const Tables& previous;
};

// A backend that is no endpoint of its service any more: its connections must end or move.
struct GoneBackend {
    std::uint32_t id = 0;
    bl_backend backend{};
};

struct Compiled {
    Tables tables;
    std::shared_ptr<const model::Directory> directory;
    std::vector<GoneBackend> gone;
};

// Fails with Code::exhausted when a table would outgrow its map; the old state then stays in force.
Result<Compiled> compile(const CompileInput& input);

}  // namespace beeline::datapath
