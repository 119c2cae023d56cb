#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "cli/flow_text.h"
#include "cli/output.h"
#include "cli/verbs.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

constexpr std::string_view kDefaultLast = "20";

struct Flags {
    bool follow = false;
    std::string since;
    std::string last;
    std::vector<std::string> pods;
    std::vector<std::string> to_pods;
    std::vector<std::string> verdicts;
    std::vector<std::string> protocols;
    std::vector<std::string> ports;
    std::vector<std::string> pids;
};

api::Parameters parameters_of(const Flags& flags) {
    api::Parameters parameters;
    if (flags.follow) parameters.emplace_back("follow", "1");
    if (!flags.since.empty()) parameters.emplace_back("since", flags.since);
    if (!flags.last.empty()) parameters.emplace_back("last", flags.last);
    // Everything that is stored is seldom meant.
    if (!flags.follow && flags.since.empty() && flags.last.empty())
        parameters.emplace_back("last", kDefaultLast);
    const auto add = [&](const std::string& name, const std::vector<std::string>& values) {
        for (const auto& value : values)
            parameters.emplace_back(name, value);
    };
    add("pod", flags.pods);
    add("to_pod", flags.to_pods);
    add("verdict", flags.verdicts);
    add("protocol", flags.protocols);
    add("port", flags.ports);
    add("pid", flags.pids);
    return parameters;
}

Result<int> show_flows(Context& context, const Flags& flags) {
    if (flags.follow && context.format == Format::json) {
        context.fail(
            Error{Code::invalid, 0, "-o json is one array and cannot follow: use -o jsonl"},
            kWrongUsage);
        return kWrongUsage;
    }
    const auto client = TRY(context.client());
    std::size_t count = 0;
    const auto done =
        client.stream(api::url("/v1/flows", parameters_of(flags)), [&](std::string_view line) {
            if (context.format == Format::jsonl) {
                context.out << line << '\n';
            } else if (context.format == Format::json) {
                context.out << (count == 0 ? "[\n  " : ",\n  ") << line;
            } else {
                const json flow = json::parse(line, nullptr, false);
                context.out << flow_text(context, flow) << '\n';
            }
            ++count;
            // A reader at the other end of a pipe sees live flows live.
            if (flags.follow) context.out.flush();
            return context.out.good();
        });
    if (context.format == Format::json && (done || count > 0))
        context.out << (count == 0 ? "[]\n" : "\n]\n");
    if (!done) {
        context.out.flush();
        context.fail(done.error(), done.error().code == Code::invalid ? kWrongUsage : kFailed);
        return context.exit_code;
    }
    if (count == 0 && !flags.follow && context.format != Format::json &&
        context.format != Format::jsonl)
        context.err << "no flows\n";
    return kDone;
}

} // namespace

void register_flow_commands(CLI::App& app, Context& context) {
    auto flags = std::make_shared<Flags>();
    auto* verb = add_verb(app, "flows",
                          "Connections that were seen, with verdicts and the rules that decided",
                          "beeline flows --follow\n"
                          "beeline flows --last 20 --verdict dropped\n"
                          "beeline flows --since 10m --pod shop/web -o jsonl");
    verb->footer(verb->get_footer() +
                 "\n\nAn option given twice widens (either value), different options narrow (all "
                 "must hold).\n"
                 "Without --follow, --since and --last the last 20 flows are shown.");
    const auto many = [&](const std::string& name, std::vector<std::string>& values,
                          const std::string& description, const std::string& value) {
        verb->add_option(name, values, description)->allow_extra_args(false)->option_text(value);
    };
    verb->add_flag("-f,--follow", flags->follow, "Go on with what happens next");
    verb->add_option("--since", flags->since,
                     "Not older than this: 10m, 1h30m, or 2026-11-25T09:00:00Z")
        ->option_text("TIME");
    verb->add_option("--last", flags->last, "The last N that match")->option_text("N");
    many("--pod", flags->pods, "Either end: NAMESPACE/NAME, NAMESPACE/ or NAME", "POD");
    many("--to-pod", flags->to_pods, "The destination, as --pod", "POD");
    many("--verdict", flags->verdicts, "forwarded or dropped", "VERDICT");
    many("--protocol", flags->protocols, "tcp, udp, sctp, icmp or icmpv6", "PROTOCOL");
    many("--port", flags->ports, "Port of the destination or of the service", "PORT");
    many("--pid", flags->pids, "Process at either end", "PID");
    add_format(verb, context, {Format::table, Format::wide, Format::json, Format::jsonl});
    on_run(verb, context, [&context, flags] { return show_flows(context, *flags); });
}

} // namespace beeline::cli
