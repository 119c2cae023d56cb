#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <memory>

#include <fmt/format.h>

#include "base/fd.h"
#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "security/engine/engine.h"
#include "security/rules/rule_set.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

std::string per_event(const json& rule) {
    const json& ns = member(rule, "ns_per_event");
    return ns.is_number() ? fmt::format("{:.0f}ns", ns.get<double>()) : "";
}

// Kinds of one family are many: the first few, and how many more.
std::string kinds_of(const json& rule, std::size_t most) {
    auto kinds = texts(rule, "kinds");
    if (kinds.size() <= most) return joined(kinds, ",");
    const auto more = kinds.size() - most;
    kinds.resize(most);
    return fmt::format("{},+{}", joined(kinds, ","), more);
}

Result<int> list_rules(Context& context) {
    const json answer = TRY(TRY(context.client()).get("/v1/rules"));
    print_list(context, list(answer, "rules"),
               {column("RULE", "name"),
                column("PRIORITY", "priority"),
                {"ON", [](const json& rule) { return flag(rule, "enabled") ? "yes" : "no"; }},
                {"EVENT TYPES", [](const json& rule) { return kinds_of(rule, 4); }},
                column("IN THE KERNEL", "pushed_down"),
                column("EVENTS", "events"),
                column("MATCHES", "matches"),
                {"TIME", per_event},
                column("LIMITED", "limited", true),
                {"TAGS", [](const json& rule) { return joined(texts(rule, "tags"), ","); }, true}},
               "no rules are loaded: put rule files into the agent's rules folder");
    return kDone;
}

Result<int> check_rules(Context& context, const std::vector<std::string>& paths) {
    const auto files = TRY(security::rules::read_files(paths));
    const auto result = security::rules::load(files, security::Engine::catalog());
    if (context.format == Format::json) {
        context.out << security::rules::to_json(result) << '\n';
    } else {
        context.out << security::rules::to_text(result);
        if (result.successful()) {
            context.out << fmt::format("{} rules in {} files are good\n", result.set.rules.size(),
                                       files.size());
        }
    }
    return result.successful() ? kDone : kFailed;
}

Result<int> list_fields(Context& context) {
    json fields = json::array();
    for (const auto& field : security::Engine::fields()) {
        fields.push_back({{"name", field.name},
                          {"type", field.list ? "list of " + field.type : field.type},
                          {"argument", field.argument},
                          {"description", field.description}});
    }
    print_list(context, fields,
               {column("FIELD", "name"), column("TYPE", "type"), column("ARGUMENT", "argument"),
                column("MEANING", "description")},
               "");
    return kDone;
}

Result<int> reload_rules(Context& context) {
    const json answer = TRY(TRY(context.client()).call("POST", "/v1/rules/reload"));
    print_document(context, answer, [&] {
        context.out << fmt::format("{} rules are in force\n", text(answer, "rules"));
        if (const auto warnings = text(answer, "warnings"); !warnings.empty())
            context.out << warnings;
    });
    return kDone;
}

volatile std::sig_atomic_t interrupted = 0;

// The first Ctrl-C ends the recording, so that its file is whole.
Result<int> record(Context& context, const std::string& path, bool all, unsigned seconds) {
    const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file) return fail_errno(errno, "cannot write " + path);
    const auto client = TRY(context.client());
    struct sigaction action{};
    action.sa_handler = [](int) { interrupted = 1; };
    for (const int signal : {SIGINT, SIGTERM, SIGALRM})
        (void)sigaction(signal, &action, nullptr);
    if (seconds > 0) (void)alarm(seconds);
    context.err << "recording to " << path << "; Ctrl-C ends it\n";
    std::uint64_t bytes = 0;
    Error error;
    const auto done = client.download(
        api::url("/v1/record", {{"all", all ? "1" : "0"}}), [&](std::string_view part) {
            while (!part.empty()) {
                const auto n = write(file.get(), part.data(), part.size());
                if (n < 0 && errno == EINTR) continue;
                if (n <= 0) {
                    error = fail_errno(errno, "cannot write " + path).value();
                    return false;
                }
                bytes += static_cast<std::uint64_t>(n);
                part.remove_prefix(static_cast<std::size_t>(n));
            }
            return interrupted == 0;
        });
    if (!error.message.empty()) return Failure(error);
    if (!done && interrupted == 0) return Failure(done.error());
    context.err << fmt::format("{} bytes recorded\n", bytes);
    return kDone;
}

} // namespace

void register_rule_commands(CLI::App& app, Context& context) {
    auto* rules =
        add_verb(app, "rules", "Security rules in the language of Falco", "beeline rules list");
    rules->require_subcommand(1);

    auto* show =
        add_verb(*rules, "list", "Rules in force, what the kernel decides for them, and their cost",
                 "beeline rules list -o wide");
    add_format(show, context,
               {Format::table, Format::wide, Format::json, Format::jsonl, Format::yaml});
    on_run(show, context, [&context] { return list_rules(context); });

    auto paths = std::make_shared<std::vector<std::string>>();
    auto* check = add_verb(*rules, "check", "Check rule files, without the agent",
                           "beeline rules check falco_rules.yaml my_rules.yaml");
    check->add_option("FILE", *paths, "Rule files, or folders of them, in the order of loading")
        ->required();
    add_format(check, context, {Format::table, Format::json});
    on_run(check, context, [&context, paths] { return check_rules(context, *paths); });

    auto* fields = add_verb(*rules, "fields", "Fields that conditions and outputs can use",
                            "beeline rules fields");
    add_format(fields, context, {Format::table, Format::json, Format::jsonl});
    on_run(fields, context, [&context] { return list_fields(context); });

    auto* reload = add_verb(*rules, "reload", "Make the agent read its rule files again",
                            "beeline rules reload");
    add_format(reload, context, {Format::table, Format::json});
    on_run(reload, context, [&context] { return reload_rules(context); });

    register_rule_test(*rules, context);

    struct Recording {
        std::string path;
        bool all = false;
        unsigned seconds = 0;
    };
    auto recording = std::make_shared<Recording>();
    auto* verb = add_verb(app, "record", "Write the raw security events to a file",
                          "beeline record -o day.blrec --seconds 60\n"
                          "beeline rules test my_rules.yaml --on day.blrec");
    verb->add_option("-o,--output", recording->path, "The file, which is replaced")
        ->required()
        ->option_text("FILE");
    verb->add_flag("--all", recording->all,
                   "Everything the sensors can see, not only what the loaded rules need");
    verb->add_option("--seconds", recording->seconds, "End by itself")->option_text("N");
    on_run(verb, context, [&context, recording] {
        return record(context, recording->path, recording->all, recording->seconds);
    });
}

} // namespace beeline::cli
