#include "cli/app.h"

#include <algorithm>
#include <exception>
#include <optional>

#include "cli/run.h"
#include "cli/suggest.h"
#include "cli/verbs.h"

namespace beeline::cli {
namespace {

bool shown(const CLI::App* app) { return !app->get_group().empty(); }

std::vector<std::string> verb_names(const CLI::App& app) {
    std::vector<std::string> names;
    for (const auto* verb : app.get_subcommands([](const CLI::App* each) { return shown(each); }))
        names.push_back(verb->get_name());
    return names;
}

std::string hint(std::string_view nearest, std::string_view help_of) {
    if (!nearest.empty()) return fmt::format("did you mean '{}'?", nearest);
    return fmt::format("'{} --help' shows what there is", help_of);
}

// Only options that stand before the verb matter here.
bool takes_value(const std::string& argument) {
    return argument == "--instance" || argument == "--color";
}

// The message for a word that should be a verb and is none; nothing when all is well.
std::optional<std::string> unknown_verb(const CLI::App& app,
                                        const std::vector<std::string>& arguments) {
    const CLI::App* at = &app;
    std::string path = app.get_name();
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& word = arguments[i];
        if (takes_value(word)) {
            ++i;
            continue;
        }
        if (word == "--") return {};
        if (word.starts_with('-')) continue;
        const auto verbs = at->get_subcommands([](const CLI::App*) { return true; });
        if (verbs.empty()) return {};
        const auto found = std::find_if(verbs.begin(), verbs.end(), [&](const CLI::App* verb) {
            return verb->check_name(word);
        });
        if (found == verbs.end())
            return fmt::format("'{}' has no verb '{}': {}", path, word,
                               hint(nearest(word, verb_names(*at)), path));
        at = *found;
        path += " " + at->get_name();
    }
    return {};
}

// The verb that was reached on the command line.
const CLI::App* reached(const CLI::App& app, std::string& path) {
    const CLI::App* at = &app;
    path = app.get_name();
    for (auto next = at->get_subcommands(); !next.empty(); next = at->get_subcommands()) {
        at = next.back();
        path += " " + at->get_name();
    }
    return at;
}

std::string option_hint(const CLI::App& verb, const std::vector<std::string>& extras,
                        const std::string& path) {
    std::vector<std::string> known{"--instance", "--color"};
    for (const auto* option : verb.get_options())
        for (const auto& name : option->get_lnames())
            known.push_back("--" + name);
    for (const auto& extra : extras) {
        if (!extra.starts_with("--")) continue;
        const std::string near = nearest(extra.substr(0, extra.find('=')), known);
        if (!near.empty()) return hint(near, path);
    }
    return hint("", path);
}

int usage_error(const CLI::App& app, const CLI::ParseError& error, Context& context) {
    std::string path;
    const CLI::App* verb = reached(app, path);
    std::string message = error.what();
    std::replace(message.begin(), message.end(), '\n', ' ');
    if (const auto extras = app.remaining(true); !extras.empty())
        message = fmt::format("'{}' does not take '{}': {}", path, extras.front(),
                              option_hint(*verb, extras, path));
    else if (const auto verbs = verb_names(*verb);
             !verbs.empty() && dynamic_cast<const CLI::RequiredError*>(&error) != nullptr)
        message = fmt::format("'{}' needs a verb: {} ('{} --help' says more)", path,
                              fmt::join(verbs, ", "), path);
    else
        message += fmt::format(" ('{} --help' shows how)", path);
    context.fail(Error{Code::invalid, 0, message}, kWrongUsage);
    return context.exit_code;
}

} // namespace

std::unique_ptr<CLI::App> make_app(Context& context) {
    auto app = std::make_unique<CLI::App>(
        "Beeline connects, watches and guards the workloads of this machine.", "beeline");
    app->get_formatter()->column_width(32);
    app->require_subcommand(1);
    app->set_version_flag("--version", "beeline " BEELINE_VERSION);
    app->add_option("--instance", context.instance,
                    "Talk to this instance of the agent instead of $BEELINE_INSTANCE or the "
                    "default one")
        ->option_text("NAME");
    app->add_option_function<std::string>(
           "--color",
           [&context](const std::string& when) {
               if (when != "auto") context.color = when == "always";
           },
           "auto (default): on a terminal, unless NO_COLOR is set")
        ->option_text("auto|always|never")
        ->check([](const std::string& when) {
            return when == "auto" || when == "always" || when == "never"
                       ? std::string()
                       : fmt::format("'{}' is not one of auto|always|never", when);
        });
    app->footer("'beeline VERB --help' has an example for each verb. Exit codes: 0 done, 1 failed, "
                "2 wrong usage.");

    register_status_commands(*app, context);
    register_run_commands(*app, context);
    register_object_commands(*app, context);
    register_flow_commands(*app, context);
    register_top_commands(*app, context);
    register_why_commands(*app, context);
    register_alert_commands(*app, context);
    register_rule_commands(*app, context);
    register_policy_commands(*app, context);
    register_service_commands(*app, context);
    register_map_commands(*app, context);
    register_connectivity_commands(*app, context);
    register_install_commands(*app, context);
    register_sysdump_commands(*app, context);
    register_shell_commands(*app, context);

    auto* version =
        add_verb(*app, "version", "Print the version of this program", "beeline version");
    on_run(version, context, [&context]() -> Result<int> {
        context.out << "beeline " BEELINE_VERSION << '\n';
        return kDone;
    });
    return app;
}

int run(std::vector<std::string> arguments, Context& context) {
    const auto app = make_app(context);
    context.exit_code = kDone;
    if (const auto message = unknown_verb(*app, arguments)) {
        context.fail(Error{Code::invalid, 0, *message}, kWrongUsage);
        return context.exit_code;
    }
    try {
        std::reverse(arguments.begin(), arguments.end());
        app->parse(std::move(arguments));
    } catch (const CLI::Success& done) { // --help, --version
        return app->exit(done, context.out, context.err);
    } catch (const CLI::ParseError& error) {
        return usage_error(*app, error, context);
    } catch (const std::exception& error) {
        context.fail(Error{Code::internal, 0, error.what()});
    }
    context.out.flush();
    return context.exit_code;
}

} // namespace beeline::cli
