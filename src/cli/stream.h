// Verbs that print a stream of JSON lines: flows, alerts, events.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/context.h"

namespace beeline::cli {

// One object of the stream for people, without a newline at its end.
using LineText = std::string (*)(const Context&, const nlohmann::json&);

// The stream at `url` in the format of -o. `nothing` goes to `err` when a stream that ends had no line.
Result<int> show_stream(Context& context, const std::string& url, bool follow, LineText as_text,
                        std::string_view nothing);

// An option that can be given several times.
void add_many(CLI::App* verb, const std::string& name, std::vector<std::string>& values,
              const std::string& description, const std::string& value);
void add_all(api::Parameters& parameters, const std::string& name,
             const std::vector<std::string>& values);

} // namespace beeline::cli
