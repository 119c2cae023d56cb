#include "cli/stream.h"

namespace beeline::cli {

Result<int> show_stream(Context& context, const std::string& url, bool follow, LineText as_text,
                        std::string_view nothing) {
    if (follow && context.format == Format::json) {
        context.fail(
            Error{Code::invalid, 0, "-o json is one array and cannot follow: use -o jsonl"},
            kWrongUsage);
        return kWrongUsage;
    }
    const auto client = TRY(context.client());
    std::size_t count = 0;
    const auto done = client.stream(url, [&](std::string_view line) {
        if (context.format == Format::jsonl) {
            context.out << line << '\n';
        } else if (context.format == Format::json) {
            context.out << (count == 0 ? "[\n  " : ",\n  ") << line;
        } else {
            context.out << as_text(context, nlohmann::json::parse(line, nullptr, false)) << '\n';
        }
        ++count;
        // A reader at the other end of a pipe sees live lines live.
        if (follow) context.out.flush();
        return context.out.good();
    });
    if (context.format == Format::json && (done || count > 0))
        context.out << (count == 0 ? "[]\n" : "\n]\n");
    if (!done) {
        context.out.flush();
        context.fail(done.error(), done.error().code == Code::invalid ? kWrongUsage : kFailed);
        return context.exit_code;
    }
    if (count == 0 && !follow && context.format != Format::json && context.format != Format::jsonl)
        context.err << nothing << '\n';
    return kDone;
}

void add_many(CLI::App* verb, const std::string& name, std::vector<std::string>& values,
              const std::string& description, const std::string& value) {
    verb->add_option(name, values, description)->allow_extra_args(false)->option_text(value);
}

void add_all(api::Parameters& parameters, const std::string& name,
             const std::vector<std::string>& values) {
    for (const auto& value : values)
        parameters.emplace_back(name, value);
}

} // namespace beeline::cli
