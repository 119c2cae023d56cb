// Problems and how people and programs see them.
#include "security/rules/report.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace beeline::security::rules {
namespace {

// One wrong word can break every rule of a file.
constexpr std::size_t kMostProblems = 200;

constexpr std::array<std::pair<std::string_view, std::string_view>, 22> kCodes = {{
    {"LOAD_ERR_FILE_READ", "the file cannot be read"},
    {"LOAD_ERR_YAML_PARSE", "the file is not YAML"},
    {"LOAD_ERR_YAML_VALIDATE", "an item has the wrong shape"},
    {"LOAD_ERR_COMPILE_CONDITION", "a condition is wrong"},
    {"LOAD_ERR_COMPILE_OUTPUT", "an output is wrong"},
    {"LOAD_ERR_VALIDATE", "an item does not fit the others"},
    {"LOAD_ERR_EXTENSION", "an extension item is wrong"},
    {"LOAD_UNKNOWN_SOURCE", "the event source is not there"},
    {"LOAD_UNSAFE_NA_CHECK", "comparing with <NA> does not do what it says"},
    {"LOAD_NO_EVTTYPE", "the condition can match many kinds of events"},
    {"LOAD_UNKNOWN_FILTER", "a field or kind of event is unknown"},
    {"LOAD_UNUSED_MACRO", "a macro is not used"},
    {"LOAD_UNUSED_LIST", "a list is not used"},
    {"LOAD_UNKNOWN_ITEM", "an item is unknown"},
    {"LOAD_UNKNOWN_KEY", "a key is unknown"},
    {"LOAD_DEPRECATED_ITEM", "something old is used"},
    {"LOAD_APPEND_NO_VALUES", "an exception adds nothing"},
    {"LOAD_EXCEPTION_NAME_NOT_UNIQUE", "two exceptions have one name"},
    {"LOAD_INVALID_MACRO_NAME", "a macro cannot have this name"},
    {"LOAD_INVALID_LIST_NAME", "a list cannot have this name"},
    {"LOAD_WARNING_EXTENSION", "an extension item is doubtful"},
    {"LOAD_COMPILE_CONDITION", "a condition may not mean what it says"},
}};

// Control characters and bytes that are no text become '?'.
std::string printable(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t size = utf8_size(text, i);
        const char c = text[i];
        const bool bad = size == 0 || (c >= 0 && c < ' ' && c != '\t') || c == 0x7f;
        out += bad ? "?" : text.substr(i, size);
        i += bad ? 1 : size;
    }
    return out;
}

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80; }

// The line of a place, and a caret under it. Long lines are cut around the place.
std::string snippet_of(const SourceFile& file, const Position& position) {
    constexpr std::size_t kBefore = 100;
    constexpr std::size_t kAfter = 80;
    if (file.text.empty() || position.line == 0 || position.line > file.lines.size()) return "";
    const std::size_t begin = file.lines[position.line - 1];
    std::size_t end = std::min(file.text.find('\n', begin), file.text.size());
    if (end > begin && file.text[end - 1] == '\r') --end;
    const std::size_t place = std::min<std::size_t>(begin + position.column - 1, end);
    std::size_t first = begin;
    if (place - begin > kBefore) {
        first = place - kBefore;
        while (first < place && !starts_character(file.text[first]))
            ++first;
    }
    std::size_t last = end;
    if (end - place > kAfter) {
        last = place + kAfter;
        while (last > place && !starts_character(file.text[last]))
            --last;
    }
    std::string out = printable(std::string_view(file.text).substr(first, last - first)) + "\n";
    for (std::size_t i = first; i < place; ++i) {
        if (starts_character(file.text[i])) out += file.text[i] == '\t' ? '\t' : ' ';
    }
    return out + "^";
}

Problem problem_of(std::string_view code, const Trail& trail, std::string message) {
    Problem problem;
    problem.code = code;
    problem.message = std::move(message);
    for (const Spot& spot : trail) {
        problem.locations.push_back({spot.type, spot.name, spot.position, spot.file->name});
    }
    problem.file = trail.back().file->name;
    problem.snippet = snippet_of(*trail.back().file, trail.back().position);
    return problem;
}

nlohmann::json to_json(const Problem& problem) {
    nlohmann::json locations = nlohmann::json::array();
    for (const Location& location : problem.locations) {
        locations.push_back({{"item_type", location.item_type},
                             {"item_name", location.item_name},
                             {"position",
                              {{"name", location.file},
                               {"line", location.position.line},
                               {"column", location.position.column},
                               {"offset", location.position.offset}}}});
    }
    return {{"code", problem.code},
            {"codedesc", code_description(problem.code)},
            {"message", problem.message},
            {"context", {{"locations", locations}, {"snippet", problem.snippet}}}};
}

// One block: where, what, the line with the caret, and what it is part of.
std::string block(std::string_view kind, const Problem& problem) {
    const Position place =
        problem.locations.empty() ? Position() : problem.locations.back().position;
    std::string out = fmt::format("{}:{}:{}: {}: {} [{}]\n", problem.file, place.line, place.column,
                                  kind, problem.message, problem.code);
    std::string_view snippet = problem.snippet;
    while (!snippet.empty()) {
        const auto end = std::min(snippet.find('\n'), snippet.size());
        out += fmt::format("    {}\n", snippet.substr(0, end));
        snippet.remove_prefix(std::min(end + 1, snippet.size()));
    }
    for (const Location& location : problem.locations) {
        if (location.item_name.empty()) continue;
        out +=
            fmt::format("  in {} '{}' ({}:{}:{})\n", location.item_type, shown(location.item_name),
                        location.file, location.position.line, location.position.column);
    }
    return out;
}

} // namespace

Trail operator+(Trail trail, Spot spot) {
    trail.push_back(std::move(spot));
    return trail;
}

void Report::error(std::string_view code, const Trail& trail, std::string message) {
    result_.successful = false;
    if (result_.errors.size() < kMostProblems)
        result_.errors.push_back(problem_of(code, trail, std::move(message)));
}

void Report::warning(std::string_view code, const Trail& trail, std::string message) {
    if (result_.warnings.size() < kMostProblems)
        result_.warnings.push_back(problem_of(code, trail, std::move(message)));
}

std::string shown(std::string_view text) {
    constexpr std::size_t kMost = 60;
    std::string out;
    if (text.size() <= kMost) {
        out = text;
    } else {
        std::size_t end = kMost;
        while (end > 0 && !starts_character(text[end]))
            --end;
        out = std::string(text.substr(0, end)) + "...";
    }
    std::replace_if(
        out.begin(), out.end(), [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; }, ' ');
    return out;
}

std::string_view code_description(std::string_view code) {
    for (const auto& [name, description] : kCodes) {
        if (name == code) return description;
    }
    return "";
}

std::string to_text(const LoadResult& result) {
    std::string out;
    for (const FileResult& file : result.files) {
        for (const Problem& problem : file.errors)
            out += block("error", problem);
        for (const Problem& problem : file.warnings)
            out += block("warning", problem);
        if (!file.successful) {
            out += fmt::format("{}: invalid, {} error{}\n", file.name, file.errors.size(),
                               file.errors.size() == 1 ? "" : "s");
        } else if (file.warnings.empty()) {
            out += fmt::format("{}: ok\n", file.name);
        } else {
            out += fmt::format("{}: ok, {} warning{}\n", file.name, file.warnings.size(),
                               file.warnings.size() == 1 ? "" : "s");
        }
    }
    return out;
}

std::string to_json(const LoadResult& result) {
    nlohmann::json files = nlohmann::json::array();
    for (const FileResult& file : result.files) {
        nlohmann::json errors = nlohmann::json::array();
        nlohmann::json warnings = nlohmann::json::array();
        for (const Problem& problem : file.errors)
            errors.push_back(to_json(problem));
        for (const Problem& problem : file.warnings)
            warnings.push_back(to_json(problem));
        files.push_back({{"name", file.name},
                         {"successful", file.successful},
                         {"errors", errors},
                         {"warnings", warnings}});
    }
    const nlohmann::json whole = {{"falco_load_results", files}};
    return whole.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool LoadResult::successful() const {
    return std::all_of(files.begin(), files.end(),
                       [](const FileResult& file) { return file.successful; });
}

} // namespace beeline::security::rules
