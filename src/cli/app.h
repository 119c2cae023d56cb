// The command line `beeline` as a whole.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/context.h"

namespace beeline::cli {

// `context` must outlive the app.
std::unique_ptr<CLI::App> make_app(Context& context);

// Runs one command line (without the program's name) and returns the exit code.
int run(std::vector<std::string> arguments, Context& context);

} // namespace beeline::cli
