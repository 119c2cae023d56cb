// How often BPF programs ran and how long: the kernel counts only while somebody asks it to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace beeline::ebpf {

struct ProgramStats {
    std::string name; // as the kernel keeps it: 15 characters
    std::uint64_t run_ns = 0;
    std::uint64_t runs = 0;
};

// Counting, of every program of the machine, lasts as long as the descriptor is open.
Result<Fd> enable_run_stats();
// Programs of the machine whose names begin with `prefix`, those of one name added up, sorted by name.
Result<std::vector<ProgramStats>> program_stats(std::string_view prefix);

} // namespace beeline::ebpf
