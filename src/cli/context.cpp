#include "cli/context.h"

#include <map>
#include <sstream>
#include <vector>

namespace beeline::cli {

Result<api::Client> Context::client() const {
    const auto found = TRY(paths());
    return api::Client(found.socket());
}

void Context::fail(const Error& error, int code) {
    err << "beeline: " << error.message << std::endl;
    exit_code = code;
}

std::string Context::styled(std::string_view text, std::string_view style) const {
    if (!color || text.empty()) return std::string(text);
    return fmt::format("\033[{}m{}\033[0m", style, text);
}

CLI::App* add_verb(CLI::App& parent, const std::string& name, const std::string& description,
                   const std::string& example) {
    CLI::App* verb = parent.add_subcommand(name, description);
    std::istringstream lines(example);
    std::string footer = "Example:";
    for (std::string line; std::getline(lines, line);)
        footer += "\n  " + line;
    verb->footer(footer);
    verb->fallthrough(); // so that --instance may come behind the verb
    return verb;
}

void on_run(CLI::App* verb, Context& context, Action action) {
    verb->callback([&context, action = std::move(action)] {
        context.out.flush();
        const auto result = action();
        if (result)
            context.exit_code = *result;
        else
            context.fail(result.error());
    });
}

std::string_view format_name(Format format) {
    switch (format) {
    case Format::table: return "table";
    case Format::wide: return "wide";
    case Format::json: return "json";
    case Format::jsonl: return "jsonl";
    case Format::yaml: return "yaml";
    }
    return "table";
}

void add_format(CLI::App* verb, Context& context, std::initializer_list<Format> formats) {
    std::map<std::string, Format> names;
    std::string list;
    for (const Format format : formats) {
        names.emplace(format_name(format), format);
        list += (list.empty() ? "" : "|") + std::string(format_name(format));
    }
    const Format first = *formats.begin();
    verb->preparse_callback([&context, first](std::size_t) { context.format = first; });
    verb->add_option_function<std::string>(
            "-o,--output",
            [&context, names](const std::string& name) { context.format = names.at(name); },
            "Output format")
        ->option_text(fmt::format("{} (default {})", list, format_name(first)))
        ->check([names, list](const std::string& name) {
            return names.contains(name) ? std::string()
                                        : fmt::format("'{}' is not one of {}", name, list);
        });
}

} // namespace beeline::cli
