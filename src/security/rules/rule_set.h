// Rule files in the language of Falco -> rules ready to compile, with every error and warning that its users know.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/alert.h"
#include "security/rules/ast.h"

namespace beeline::security::rules {

// What the loader must know of fields and events to check a condition or an output. Implemented by the engine.
class Catalog {
public:
    virtual ~Catalog() = default;
    // Empty: the check, with macros and lists expanded, is good for rules of this source; else what is wrong with it (unknown
    // field, operator not for this type, value that cannot be read, transformer misuse, unknown evt.type).
    [[nodiscard]] virtual std::string check(const Node& check, std::string_view source) const = 0;
    // Whether that problem is an unknown field or event type (skip-if-unknown-filter).
    [[nodiscard]] virtual bool knows(const Node& check, std::string_view source) const = 0;
    // Empty: `output` can be formatted; else what is wrong with it.
    [[nodiscard]] virtual std::string check_output(std::string_view output,
                                                   std::string_view source) const = 0;
    [[nodiscard]] virtual bool has_source(std::string_view source) const = 0;
    // How many kinds of events the condition can match: more than 100 is warned about; 0: provably none.
    [[nodiscard]] virtual std::size_t event_kinds(const Node& condition) const = 0;
};

struct Location {
    std::string item_type; // "rule", "macro", "list", "exception", "condition expression", ""
    std::string item_name;
    Position position; // in the file
    std::string file;
};

struct Problem {
    std::string code; // "LOAD_ERR_VALIDATE", "LOAD_UNUSED_MACRO", ...
    std::string message;
    std::string file;
    std::vector<Location> locations; // outermost first
    std::string snippet;             // the line, and below it a caret
};

struct Rule {
    std::string name;
    std::string source = "syscall";
    std::string description;
    NodePtr condition;          // macros, lists and exceptions expanded
    std::string condition_text; // as written, appends joined
    std::string output;
    model::Priority priority = model::Priority::debug;
    std::set<std::string> tags;
    bool enabled = true;
    bool warn_evttypes = true;
    bool capture = false;
    std::uint64_t capture_duration_ms = 0;
    std::string file; // of its last definition
    Position position;
};

struct File {
    std::string name;
    std::string text;
    std::string read_error; // not empty: why it could not be read (LOAD_ERR_FILE_READ)
};

struct FileResult {
    std::string name;
    bool successful = true;
    std::vector<Problem> errors;
    std::vector<Problem> warnings;
};

struct RuleSet {
    std::vector<Rule> rules; // in the order of their first definition; unknown sources left out
    std::map<std::string, std::string> required_plugins; // name -> version
};

struct LoadResult {
    RuleSet set;                   // empty unless successful
    std::vector<FileResult> files; // up to and including the first that failed
    [[nodiscard]] bool successful() const;
};

// Deterministic; touches no file. Files in the order given.
LoadResult load(const std::vector<File>& files, const Catalog& catalog);
// Reads files, with `read_error` for those that cannot be read; folders give their *.yaml and *.yml in alphabetical order.
Result<std::vector<File>> read_files(const std::vector<std::string>& paths);

// The text that people see: one block per problem with file, line, column, snippet and caret.
std::string to_text(const LoadResult& result);
// {"falco_load_results":[{name, successful, errors, warnings}]}
std::string to_json(const LoadResult& result);

// For tests and tools: one condition.
struct ParseError {
    std::string message;
    Position position;
};
struct Parsed {
    NodePtr node; // null on error
    ParseError error;
};
Parsed parse_condition(std::string_view text, std::size_t depth_limit = 1000);

} // namespace beeline::security::rules
