// Runs workloads: attaches, starts, supervises, stops, cleans up.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "api/client/client.h"
#include "api/client/paths.h"
#include "base/result.h"
#include "cli/run_spec.h"
#include "cli/runtime_record.h"

namespace beeline::cli {

struct RunOutcome {
    int exit_code = 0;
    std::string message; // for stderr when the program could not be started; empty otherwise
    RunRecord record;    // detached: as it was when the program had started
};

// Foreground: returns when the workload has ended and everything is cleaned up, with its exit code.
// Needs root and a single thread; takes over the process's signals.
Result<RunOutcome> run_foreground(const RunSpec& spec, const api::Paths& paths,
                                  const api::Client& client);

// Returns when the program has started, or could not be, under a supervisor process of its own.
Result<RunOutcome> run_detached(const RunSpec& spec, const api::Paths& paths,
                                const api::Client& client);

// Ends and cleans up what a supervisor that was killed has left. Returns the titles of those workloads.
Result<std::vector<std::string>> clean_leftovers(const api::Paths& paths,
                                                 const api::Client& client);

// Asks the main processes to end, kills what is left after `timeout`, returns when all is cleaned up.
Result<> stop_workloads(const std::vector<RunRecord>& records, const api::Paths& paths,
                        const api::Client& client, std::chrono::milliseconds timeout);

Result<> require_root(std::string_view verb);

} // namespace beeline::cli
