#include <memory>

#include <fmt/format.h>

#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/verbs.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

struct Flags {
    std::string source;
    std::string destination;
    std::string port;
    std::string protocol;
};

std::string end_text(const json& end) {
    const std::string name = object_name(end);
    const std::string address = text(end, "address");
    if (name.empty()) return address.empty() ? text(end, "kind") : address;
    return address.empty() ? name : fmt::format("{} ({})", name, address);
}

std::string check_text(const json& check) {
    const std::string rule = text(check, "rule");
    const std::string policies = joined(texts(check, "policies"), ", ");
    const bool allowed = flag(check, "allowed");
    if (!rule.empty()) return fmt::format("{} by {}", allowed ? "allowed" : "denied", rule);
    if (!allowed) return fmt::format("no rule allows; isolated by {}", policies);
    return flag(check, "isolated") ? "allowed; isolated by " + policies
                                   : "allowed: no policy isolates it";
}

void print_explanation(Context& context, const json& answer) {
    const bool allowed = flag(answer, "allowed");
    const std::string verdict =
        context.styled(allowed ? "ALLOWED" : "DENIED", allowed ? "32" : "31");
    const std::string port = text(answer, "port");
    context.out << fmt::format(
        "{}  {} -> {}  {}{}\n", verdict, printable(end_text(member(answer, "source"))),
        printable(end_text(member(answer, "destination"))), text(answer, "protocol"),
        port.empty() || port == "0" ? "" : ":" + port);
    const auto line = [&](std::string_view title, const std::string& value) {
        context.out << fmt::format("  {:<9}{}\n", title, printable(value));
    };
    if (const json& service = member(answer, "service"); service.is_object())
        line("service",
             fmt::format("{} {}", object_name(service),
                         address_port(text(service, "address"), number(service, "port"))));
    line("egress", check_text(member(answer, "egress")));
    line("ingress", check_text(member(answer, "ingress")));
    if (const json& kernel = member(answer, "kernel"); kernel.is_object()) {
        const bool agrees = flag(kernel, "allowed") == allowed;
        const std::string rule = text(kernel, "rule");
        line("kernel", agrees ? "agrees"
                              : fmt::format("{}{}: a change is on its way, or report this",
                                            flag(kernel, "allowed") ? "allows it" : "denies it",
                                            rule.empty() ? "" : " by " + rule));
    }
}

Result<int> explain(Context& context, const Flags& flags) {
    api::Parameters parameters{{"source", flags.source}, {"destination", flags.destination}};
    if (!flags.port.empty()) parameters.emplace_back("port", flags.port);
    if (!flags.protocol.empty()) parameters.emplace_back("protocol", flags.protocol);
    const auto answer = TRY(context.client()).get(api::url("/v1/policy/explain", parameters));
    if (!answer) {
        // What the agent finds wrong about the question was typed here.
        context.fail(answer.error(), answer.error().code == Code::invalid ? kWrongUsage : kFailed);
        return context.exit_code;
    }
    print_document(context, *answer, [&] { print_explanation(context, *answer); });
    return kDone;
}

} // namespace

void register_policy_commands(CLI::App& app, Context& context) {
    auto* policy = add_verb(app, "policy", "Ask what policies decide",
                            "beeline policy explain shop/client shop/web 8080");
    policy->require_subcommand(1);
    auto flags = std::make_shared<Flags>();
    auto* verb =
        add_verb(*policy, "explain", "Would this connection be allowed, and which rule says so",
                 "beeline policy explain shop/client shop/web 8080\n"
                 "beeline policy explain shop/web 192.0.2.7 53 --protocol udp\n"
                 "beeline policy explain host shop/web --protocol icmp");
    verb->add_option("SRC", flags->source,
                     "Who connects: NAMESPACE/NAME of a workload, an address, or host")
        ->required();
    verb->add_option("DST", flags->destination, "Who is connected to, as SRC")->required();
    verb->add_option("PORT", flags->port, "Destination port (protocols with ports)");
    verb->add_option("--protocol", flags->protocol, "tcp (default), udp, sctp, icmp or icmpv6")
        ->option_text("PROTOCOL");
    add_format(verb, context, {Format::table, Format::json, Format::yaml});
    on_run(verb, context, [&context, flags] { return explain(context, *flags); });
}

} // namespace beeline::cli
