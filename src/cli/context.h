// What every verb of `beeline` shares: which agent it talks to, where it prints, how it ends.
#pragma once

#include <functional>
#include <initializer_list>
#include <ostream>
#include <string>

#include <CLI/CLI.hpp>

#include "api/client/client.h"
#include "api/client/paths.h"
#include "base/result.h"

namespace beeline::cli {

enum class Format { table, wide, json, jsonl, yaml };

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kWrongUsage = 2;

struct Context {
    std::ostream& out;
    std::ostream& err;
    bool color = false; // `out` is a terminal and NO_COLOR is not set

    std::string instance;          // --instance
    Format format = Format::table; // -o of the verb that runs
    int exit_code = kDone;

    // Where an instance keeps its files; tests put a folder of their own here.
    std::function<Result<api::Paths>(std::string_view instance)> find_paths =
        api::paths_from_environment;

    [[nodiscard]] Result<api::Paths> paths() const { return find_paths(instance); }
    [[nodiscard]] Result<api::Client> client() const;

    // Prints "beeline: MESSAGE" to `err` and sets the exit code.
    void fail(const Error& error, int code = kFailed);

    // `text` in an ANSI style ("31": red) when colours are on.
    [[nodiscard]] std::string styled(std::string_view text, std::string_view style) const;
};

// What a verb does: its exit code, or an Error (exit code 1).
using Action = std::function<Result<int>()>;

// A verb with an example for its help: `example` is one or more command lines without indentation.
CLI::App* add_verb(CLI::App& parent, const std::string& name, const std::string& description,
                   const std::string& example);
// Runs `action` when the command line names the verb and is right.
void on_run(CLI::App* verb, Context& context, Action action);

// -o of a verb; the first format is the default.
void add_format(CLI::App* verb, Context& context, std::initializer_list<Format> formats);
std::string_view format_name(Format format);

} // namespace beeline::cli
