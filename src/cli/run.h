// The verbs of `beeline` that start, show and end workloads: run, ps, logs, stop.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/context.h"

namespace beeline::cli {

void register_run_commands(CLI::App& app, Context& context);

} // namespace beeline::cli
