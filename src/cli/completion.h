// Scripts that let shells complete the command line, made from the command line itself.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace beeline::cli {

std::string bash_completion(const CLI::App& app);
std::string zsh_completion(const CLI::App& app);
std::string fish_completion(const CLI::App& app);

} // namespace beeline::cli
