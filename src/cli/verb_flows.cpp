#include <algorithm>
#include <memory>

#include "cli/flow_text.h"
#include "cli/stream.h"
#include "cli/verbs.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

constexpr std::string_view kDefaultLast = "20";

struct Flags {
    bool follow = false;
    std::string since;
    std::string until;
    std::string first;
    std::string last;
    std::vector<std::string> pods;
    std::vector<std::string> to_pods;
    std::vector<std::string> verdicts;
    std::vector<std::string> protocols;
    std::vector<std::string> ports;
    std::vector<std::string> pids;
    bool l7 = false;
    std::vector<std::string> statuses;
    std::vector<std::string> methods;
    std::vector<std::string> paths;
};

api::Parameters parameters_of(const Flags& flags) {
    api::Parameters parameters;
    if (flags.follow) parameters.emplace_back("follow", "1");
    if (!flags.since.empty()) parameters.emplace_back("since", flags.since);
    if (!flags.until.empty()) parameters.emplace_back("until", flags.until);
    if (!flags.first.empty()) parameters.emplace_back("first", flags.first);
    if (!flags.last.empty()) parameters.emplace_back("last", flags.last);
    // Everything that is stored is seldom meant.
    if (!flags.follow && flags.since.empty() && flags.first.empty() && flags.last.empty())
        parameters.emplace_back("last", kDefaultLast);
    add_all(parameters, "pod", flags.pods);
    add_all(parameters, "to_pod", flags.to_pods);
    add_all(parameters, "verdict", flags.verdicts);
    add_all(parameters, "protocol", flags.protocols);
    add_all(parameters, "port", flags.ports);
    add_all(parameters, "pid", flags.pids);
    if (flags.l7) parameters.emplace_back("l7", "1");
    add_all(parameters, "status", flags.statuses);
    add_all(parameters, "method", flags.methods);
    add_all(parameters, "path", flags.paths);
    return parameters;
}

} // namespace

void register_flow_commands(CLI::App& app, Context& context) {
    auto flags = std::make_shared<Flags>();
    auto* verb = add_verb(app, "flows",
                          "Connections that were seen, with verdicts and the rules that decided",
                          "beeline flows --follow\n"
                          "beeline flows --last 20 --verdict dropped\n"
                          "beeline flows --since 10m --pod shop/web -o jsonl\n"
                          "beeline flows --protocol http --status 5xx --path /cart");
    verb->footer(verb->get_footer() +
                 "\n\nAn option given twice widens (either value), different options narrow (all "
                 "must hold).\n"
                 "Without --follow, --since, --first and --last the last 20 flows are shown.");
    verb->add_flag("-f,--follow", flags->follow, "Go on with what happens next");
    verb->add_option("--since", flags->since,
                     "Not older than this: 10m, 1h30m, or 2026-11-25T09:00:00Z")
        ->option_text("TIME");
    verb->add_option("--until", flags->until, "Not younger than this, as --since")
        ->option_text("TIME");
    verb->add_option("--first", flags->first, "The first N that match")->option_text("N");
    verb->add_option("--last", flags->last, "The last N that match")->option_text("N");
    add_many(verb, "--pod", flags->pods, "Either end: NAMESPACE/NAME, NAMESPACE/ or NAME", "POD");
    add_many(verb, "--to-pod", flags->to_pods, "The destination, as --pod", "POD");
    add_many(verb, "--verdict", flags->verdicts, "forwarded or dropped", "VERDICT");
    add_many(verb, "--protocol", flags->protocols,
             "tcp, udp, sctp, icmp, icmpv6, or of applications: http, grpc, dns, kafka, redis, "
             "postgresql, mysql, mongodb, amqp, nats, memcached, cassandra",
             "PROTOCOL");
    add_many(verb, "--port", flags->ports, "Port of the destination or of the service", "PORT");
    add_many(verb, "--pid", flags->pids, "Process at either end", "PID");
    verb->add_flag("--l7", flags->l7, "Only requests and answers of applications");
    add_many(verb, "--status", flags->statuses, "Of answers: 404, 5xx, 500-599, ok or error",
             "STATUS");
    add_many(verb, "--method", flags->methods, "Of requests: GET, SELECT, Produce", "METHOD");
    add_many(verb, "--path", flags->paths,
             "Beginning of path, table, topic or name; with * a pattern of the whole", "PATH");
    add_format(verb, context, {Format::table, Format::wide, Format::json, Format::jsonl});
    on_run(verb, context, [&context, flags] {
        return show_stream(context, api::url("/v1/flows", parameters_of(*flags)), flags->follow,
                           flow_text, "no flows");
    });
}

} // namespace beeline::cli
