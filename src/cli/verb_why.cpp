#include <memory>
#include <sstream>

#include <fmt/format.h>

#include "cli/flow_text.h"
#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/time_text.h"
#include "cli/verbs.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

constexpr std::string_view kRed = "31";
constexpr std::string_view kGreen = "32";
constexpr std::string_view kYellow = "33";
constexpr std::string_view kBold = "1";

struct Flags {
    std::string source;
    std::string destination;
    std::string port;
    std::string protocol;
};

std::string labels_text(const json& labels) {
    std::vector<std::string> pairs;
    if (labels.is_object()) {
        for (const auto& [key, value] : labels.items())
            pairs.push_back(key + "=" + text(value));
    }
    return joined(pairs, ",");
}

std::string short_end(const json& end) {
    const std::string name = object_name(end);
    if (!name.empty()) return name;
    if (text(end, "kind") == "host") return "host";
    const auto address = text(end, "address");
    return address.empty() ? text(end, "asked") : address;
}

std::string long_end(const json& end) {
    std::string out = short_end(end);
    const auto add = [&](const std::string& part) {
        if (!part.empty() && part != out) out += "  " + part;
    };
    add(text(end, "dns_name"));
    add(text(end, "address"));
    add(labels_text(member(end, "labels")));
    if (end.contains("ready") && !flag(end, "ready")) add("not ready");
    if (text(end, "kind") == "workload" && !flag(end, "attached")) add("on another node");
    return out;
}

class Answer {
public:
    Answer(Context& context, const json& answer) : context_(context), answer_(answer) {}

    void print() {
        head();
        line("source", long_end(member(answer_, "source")));
        line("destination", long_end(member(answer_, "destination")));
        service();
        names();
        check("egress");
        check("ingress");
        kernel();
        listening();
        connections();
        kernel_drops();
        flows();
        changes();
    }

private:
    void line(std::string_view title, const std::string& value, std::string_view style = {}) {
        const auto shown = printable(value);
        context_.out << fmt::format("  {:<12} {}\n", title,
                                    style.empty() ? shown : context_.styled(shown, style));
    }
    void head() {
        const std::string verdict = text(answer_, "verdict");
        const auto style = verdict == "allowed" ? kGreen : verdict == "denied" ? kRed : kYellow;
        std::string word = verdict;
        for (char& c : word)
            c = c == '_' ? ' ' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
        const auto port = text(answer_, "port");
        context_.out << fmt::format("{}  {} -> {}  {}{}\n", context_.styled(printable(word), style),
                                    printable(short_end(member(answer_, "source"))),
                                    printable(short_end(member(answer_, "destination"))),
                                    printable(text(answer_, "protocol")),
                                    port.empty() ? "" : ":" + printable(port));
        context_.out << context_.styled(printable(text(answer_, "reason")), kBold) << "\n\n";
    }
    void service() {
        const json& service = member(answer_, "service");
        if (!service.is_object()) return;
        std::string value = text(service, "name");
        if (const auto address = text(service, "address"); !address.empty())
            value += " at " + address_port(address, number(service, "port"));
        if (number(service, "affinity_s") != 0)
            value +=
                fmt::format(", a client stays {}s with its backend", number(service, "affinity_s"));
        line("service", value);
        std::vector<std::string> backends;
        for (const auto& one : list(service, "backends")) {
            const auto workload = text(one, "workload");
            const auto place = address_port(text(one, "address"), number(one, "port"));
            std::string shown = workload.empty() ? place : workload + " " + place;
            if (one.contains("allowed") && !flag(one, "allowed"))
                shown += " (denied)";
            else if (one.contains("listening") && !flag(one, "listening"))
                shown += " (nobody listens)";
            backends.push_back(std::move(shown));
        }
        line("", backends.empty() ? "no backends" : "backends: " + joined(backends, ", "),
             backends.empty() ? kYellow : std::string_view{});
        if (!backends.empty()) return;
        std::vector<std::string> selected;
        for (const auto& one : list(service, "selected"))
            selected.push_back(text(one, "name") + (flag(one, "ready") ? "" : " (not ready)"));
        if (const auto selector = text(service, "selector"); !selector.empty())
            line("", fmt::format("its selector {} finds {}", selector,
                                 selected.empty() ? "no workload" : joined(selected, ", ")));
        std::vector<std::string> ports;
        for (const auto& one : list(service, "ports"))
            ports.push_back(text(one, "protocol") + ":" + text(one, "port"));
        line("", "its ports: " + joined(ports, ", "));
    }
    void names() {
        for (const auto& one : list(answer_, "dns")) {
            const auto addresses = texts(one, "addresses");
            line("dns", fmt::format("{} -> {} (told {} at {})", text(one, "name"),
                                    addresses.empty() ? "code " + text(one, "code")
                                                      : joined(addresses, ", "),
                                    text(one, "client"), text(one, "time")));
        }
    }
    void check(const char* direction) {
        const json& check = member(member(answer_, "policy"), direction);
        if (!check.is_object()) return;
        const bool allowed = flag(check, "allowed");
        const auto rule = text(check, "rule");
        const auto policies = joined(texts(check, "policies"), ", ");
        std::string value;
        if (!rule.empty())
            value = fmt::format("{} by {}", allowed ? "allowed" : "denied", rule);
        else if (!allowed)
            value = "denied: no rule allows it; isolated by " + policies;
        else
            value = flag(check, "isolated") ? "allowed; isolated by " + policies
                                            : "allowed: no policy isolates it";
        line(direction, value, allowed ? std::string_view{} : kRed);
        const json& nearest = member(check, "nearest");
        if (!nearest.is_object()) return;
        line("", "nearest rule: " + text(nearest, "rule"));
        for (const auto& one : list(nearest, "failed"))
            line("", fmt::format("  {}", text(one, "text")), kYellow);
    }
    void kernel() {
        const json& policy = member(answer_, "policy");
        const json& kernel = member(policy, "kernel");
        if (!kernel.is_object()) return;
        const bool agrees = flag(kernel, "allowed") == flag(policy, "allowed");
        line("datapath",
             agrees                    ? "agrees with the policies"
             : flag(kernel, "allowed") ? "still allows it: a change is on its way, or report this"
                                       : "still denies it: a change is on its way, or report this",
             agrees ? std::string_view{} : kYellow);
    }
    void listening() {
        const json& listening = member(answer_, "listening");
        if (!listening.is_object()) return;
        const auto addresses = joined(texts(listening, "addresses"), ", ");
        line("listening", addresses.empty() ? "nobody" : "on " + addresses,
             flag(listening, "open") ? std::string_view{} : kYellow);
    }
    void connections() {
        if (!answer_.contains("connections")) return;
        const json& all = list(answer_, "connections");
        if (all.empty()) line("connections", "none in the connection table");
        for (const auto& one : all) {
            const json& value = member(one, "value");
            const json& packets = list(value, "packets");
            line("connections",
                 fmt::format("{}  {}  {}{}", joined(texts(member(one, "key"), "ends"), " <-> "),
                             text(value, "state"), joined(texts(value, "flags"), ","),
                             packets.size() == 2 ? fmt::format("  {} packets out, {} back",
                                                               text(packets[0]), text(packets[1]))
                                                 : ""));
        }
    }
    void kernel_drops() {
        for (const auto& drop : list(answer_, "kernel_drops")) {
            const auto meaning = text(drop, "text");
            line("kernel drops",
                 fmt::format("{} {}{}", text(drop, "count"), text(drop, "reason"),
                             meaning.empty() ? "" : ": " + meaning),
                 kYellow);
            line("",
                 fmt::format("  {} -> {}{}{}, the last at {}", short_end(member(drop, "source")),
                             short_end(member(drop, "destination")),
                             drop.contains("where") ? " in " + text(drop, "where") : "",
                             drop.contains("function") ? " by " + text(drop, "function") : "",
                             short_time(text(drop, "last"), false)));
        }
    }
    void flows() {
        const json& flows = member(answer_, "flows");
        if (!flows.is_object()) return;
        std::vector<std::string> reasons;
        for (const auto& [name, count] : member(flows, "reasons").items())
            reasons.push_back(fmt::format("{} {}", text(count), name));
        line("flows", fmt::format("{} opened and {} dropped{} in the last {}",
                                  number(flows, "opened"), number(flows, "dropped"),
                                  reasons.empty() ? "" : " (" + joined(reasons, ", ") + ")",
                                  duration_text(number(flows, "since_s") * 1000)));
        for (const auto& flow : list(flows, "last"))
            context_.out << "    " << flow_text(context_, flow) << '\n';
    }
    void changes() {
        const json& policy = member(answer_, "policy");
        for (const char* direction : {"egress", "ingress"}) {
            const json& changes = list(member(policy, direction), "changes");
            if (changes.empty()) continue;
            context_.out << fmt::format("\nWould allow the {} ('beeline apply -f -' takes it), the "
                                        "smallest first:\n",
                                        direction);
            std::size_t number = 0;
            for (const auto& change : changes) {
                ++number;
                context_.out << fmt::format(
                    "  {}. {}\n", number, context_.styled(printable(text(change, "text")), kGreen));
                std::istringstream yaml(text(change, "yaml"));
                for (std::string line; std::getline(yaml, line);)
                    context_.out << "       " << printable(line) << '\n';
            }
        }
    }

    Context& context_;
    const json& answer_;
};

Result<int> why(Context& context, const Flags& flags) {
    api::Parameters parameters{{"source", flags.source}, {"destination", flags.destination}};
    if (!flags.port.empty()) parameters.emplace_back("port", flags.port);
    if (!flags.protocol.empty()) parameters.emplace_back("protocol", flags.protocol);
    const auto answer = TRY(context.client()).get(api::url("/v1/why", parameters));
    if (!answer) {
        // What the agent finds wrong about the question was typed here.
        context.fail(answer.error(), answer.error().code == Code::invalid ? kWrongUsage : kFailed);
        return context.exit_code;
    }
    print_document(context, *answer, [&] { Answer(context, *answer).print(); });
    return kDone;
}

} // namespace

void register_why_commands(CLI::App& app, Context& context) {
    auto flags = std::make_shared<Flags>();
    auto* verb = add_verb(app, "why",
                          "Why one end reaches another or does not, and the smallest change that "
                          "would allow it",
                          "beeline why shop/client shop/web 8080\n"
                          "beeline why shop/client web.shop.svc\n"
                          "beeline why shop/client service/shop/web 80 -o json\n"
                          "beeline why host 192.0.2.7 53 --protocol udp");
    verb->add_option("SRC", flags->source,
                     "Who connects: NAMESPACE/NAME of a workload, an address, or host")
        ->required();
    verb->add_option("DST", flags->destination,
                     "Who is connected to: as SRC, or a service (service/NAMESPACE/NAME where a "
                     "workload has the name too), or a DNS name")
        ->required();
    verb->add_option("PORT", flags->port,
                     "Destination port; absent: the first that the destination names");
    verb->add_option("--protocol", flags->protocol, "tcp (default), udp, sctp, icmp or icmpv6")
        ->option_text("PROTOCOL");
    add_format(verb, context, {Format::table, Format::json, Format::yaml});
    on_run(verb, context, [&context, flags] { return why(context, *flags); });
}

} // namespace beeline::cli
