// Gathers what is needed to understand a node from afar.
#pragma once

#include <functional>
#include <string>

#include "api/client/client.h"
#include "api/client/paths.h"
#include "base/result.h"
#include "cli/sysdump/archive.h"

namespace beeline::cli {

struct SysdumpPlan {
    api::Paths paths;
    std::string folder; // of every file in the archive
    unsigned flows = 10'000;
    unsigned map_entries = 1'000;
    std::function<void(const std::string&)> progress;
};

struct SysdumpSummary {
    std::size_t files = 0;
    std::size_t failures = 0; // parts that could not be had; the archive says which and why
};

// Fails only when the archive cannot be written.
Result<SysdumpSummary> collect_sysdump(const SysdumpPlan& plan, const api::Client& client,
                                       Archive& archive);

} // namespace beeline::cli
