#include <memory>

#include <fmt/format.h>

#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/time_text.h"
#include "cli/verbs.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

constexpr std::string_view kDefaultLast = "20";
constexpr std::string_view kRed = "31";
constexpr std::string_view kYellow = "33";

struct Flags {
    bool follow = false;
    std::string since;
    std::string last;
    std::string priority;
    std::vector<std::string> rules;
    std::vector<std::string> tags;
    std::vector<std::string> pods;
    std::vector<std::string> containers;
    std::vector<std::string> pids;
    std::vector<std::string> kinds;
};

void add_all(api::Parameters& parameters, const std::string& name,
             const std::vector<std::string>& values) {
    for (const auto& value : values)
        parameters.emplace_back(name, value);
}

std::string missed_text(const json& line) {
    return fmt::format("MISSED {} of these: this reader was too slow", text(line, "missed"));
}

bool is_severe(const std::string& priority) {
    return priority == "Emergency" || priority == "Alert" || priority == "Critical" ||
           priority == "Error";
}

std::string alert_text(const Context& context, const json& alert) {
    if (alert.contains("missed")) return context.styled(missed_text(alert), kYellow);
    const bool wide = context.format == Format::wide;
    const std::string priority = text(alert, "priority");
    const json& own = member(alert, "beeline");
    std::string output = text(alert, "output");
    // Time and priority stand in columns of their own here.
    if (const auto at = output.find(": " + priority + " "); at != std::string::npos)
        output.erase(0, at + 3 + priority.size());
    std::string line = fmt::format("{} {:<13} {}", short_time(text(alert, "time"), wide), priority,
                                   text(alert, "rule"));
    if (const auto workload = text(own, "workload"); !workload.empty()) line += "  " + workload;
    std::vector<std::string> tree;
    for (const auto& ancestor : list(own, "ancestors")) {
        const std::string name =
            text(ancestor, "name"); // of what runs outside the scope: not known
        tree.push_back(fmt::format("{}[{}]", name.empty() ? "?" : name, text(ancestor, "pid")));
    }
    line += "\n    " + output;
    if (!tree.empty()) line += "\n    process: " + joined(tree, " < ");
    if (wide) {
        for (const auto& flow : list(own, "flows"))
            line += "\n    flow: " + json_line(flow);
    }
    std::string shown;
    for (std::size_t at = 0; at <= line.size();) { // each line made safe for the terminal
        const auto end = std::min(line.find('\n', at), line.size());
        shown += (at == 0 ? "" : "\n") + printable(std::string_view(line).substr(at, end - at));
        at = end + 1;
    }
    return is_severe(priority) ? context.styled(shown, kRed) : shown;
}

std::string event_text(const Context& context, const json& event) {
    if (event.contains("missed")) return context.styled(missed_text(event), kYellow);
    const json& process = member(event, "process");
    const json& socket = member(event, "socket");
    std::string line = fmt::format(
        "{} {:<12} {:>7} {:<15}", short_time(text(event, "time"), context.format == Format::wide),
        text(event, "type"), text(process, "pid"), text(process, "name"));
    const auto add = [&](std::string_view title, const std::string& value) {
        if (!value.empty()) line += fmt::format("  {}{}", title, value);
    };
    add("", text(event, "error"));
    const std::string type = text(event, "type");
    if (type == "execve" || type == "clone" || type == "proc") add("", text(process, "cmdline"));
    add("", text(event, "path"));
    add("-> ", text(event, "path2"));
    if (text(event, "resolved") != text(event, "path")) add("reached ", text(event, "resolved"));
    add("from ", text(socket, "local"));
    add("to ", text(socket, "remote"));
    add("", text(event, "workload"));
    add("container ", text(event, "container"));
    add("", joined(texts(event, "flags"), ","));
    return printable(line);
}

using LineText = std::string (*)(const Context&, const json&);

// The lines of a stream in the format of -o.
Result<int> show(Context& context, const std::string& url, bool follow, LineText as_text,
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
            context.out << as_text(context, json::parse(line, nullptr, false)) << '\n';
        }
        ++count;
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

void many(CLI::App* verb, const std::string& name, std::vector<std::string>& values,
          const std::string& description, const std::string& value) {
    verb->add_option(name, values, description)->allow_extra_args(false)->option_text(value);
}

void add_who(CLI::App* verb, Flags& flags) {
    many(verb, "--pod", flags.pods, "Workload: NAMESPACE/NAME, NAMESPACE/ or NAME", "POD");
    many(verb, "--container", flags.containers, "Beginning of a container id", "ID");
    many(verb, "--pid", flags.pids, "The process or one of its ancestors", "PID");
}

void add_who(api::Parameters& parameters, const Flags& flags) {
    add_all(parameters, "pod", flags.pods);
    add_all(parameters, "container", flags.containers);
    add_all(parameters, "pid", flags.pids);
}

} // namespace

void register_alert_commands(CLI::App& app, Context& context) {
    auto flags = std::make_shared<Flags>();
    auto* alerts = add_verb(app, "alerts", "What the security rules matched",
                            "beeline alerts --follow\n"
                            "beeline alerts --since 1h --priority warning\n"
                            "beeline alerts --rule 'terminal shell*' --pod shop/web -o jsonl");
    alerts->footer(
        alerts->get_footer() +
        "\n\nAn option given twice widens (either value), different options narrow (all "
        "must hold).\nWithout --follow, --since and --last the last 20 alerts are shown.");
    alerts->add_flag("-f,--follow", flags->follow, "Go on with what happens next");
    alerts
        ->add_option("--since", flags->since,
                     "Not older than this: 10m, 1h30m, or 2026-11-25T09:00:00Z")
        ->option_text("TIME");
    alerts->add_option("--last", flags->last, "The last N that match")->option_text("N");
    alerts
        ->add_option("--priority", flags->priority,
                     "This severe or more: emergency, alert, critical, error, warning, notice, "
                     "informational, debug")
        ->option_text("PRIORITY");
    many(alerts, "--rule", flags->rules, "Name of the rule, with * and ?", "RULE");
    many(alerts, "--tag", flags->tags, "A tag of the rule", "TAG");
    add_who(alerts, *flags);
    add_format(alerts, context, {Format::table, Format::wide, Format::json, Format::jsonl});
    on_run(alerts, context, [&context, flags]() -> Result<int> {
        api::Parameters parameters;
        if (flags->follow) parameters.emplace_back("follow", "1");
        if (!flags->since.empty()) parameters.emplace_back("since", flags->since);
        if (!flags->last.empty()) parameters.emplace_back("last", flags->last);
        if (!flags->follow && flags->since.empty() && flags->last.empty())
            parameters.emplace_back("last", kDefaultLast);
        if (!flags->priority.empty()) parameters.emplace_back("priority", flags->priority);
        add_all(parameters, "rule", flags->rules);
        add_all(parameters, "tag", flags->tags);
        add_who(parameters, *flags);
        return show(context, api::url("/v1/alerts", parameters), flags->follow, alert_text,
                    "no alerts");
    });

    auto* events = add_verb(app, "events", "Live security events that the loaded rules let through",
                            "beeline events\n"
                            "beeline events --kind execve --kind connect --pod shop/web\n"
                            "beeline events --pid 4711 -o jsonl");
    many(events, "--kind", flags->kinds, "An event type of the rules, such as execve or openat",
         "KIND");
    add_who(events, *flags);
    add_format(events, context, {Format::table, Format::wide, Format::jsonl});
    on_run(events, context, [&context, flags]() -> Result<int> {
        api::Parameters parameters;
        add_all(parameters, "kind", flags->kinds);
        add_who(parameters, *flags);
        return show(context, api::url("/v1/events", parameters), true, event_text, "");
    });
}

} // namespace beeline::cli
