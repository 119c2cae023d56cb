// The kernel's BPF programs and maps, asked for without a library.
#pragma once

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/result.h"

namespace beeline::cli {

// Run times are counted while this descriptor is open.
Result<Fd> enable_bpf_statistics();

// [{id, name, type, run_count, run_time_ns, ...}]; only names that begin with `prefix`. What the kernel refuses to tell is
// left out.
Result<nlohmann::json> bpf_programs(std::string_view prefix);
Result<nlohmann::json> bpf_maps(std::string_view prefix);

} // namespace beeline::cli
