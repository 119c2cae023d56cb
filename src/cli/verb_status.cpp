#include <chrono>
#include <memory>

#include <fmt/format.h>

#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/status_wait.h"
#include "cli/table.h"
#include "cli/verbs.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

constexpr std::string_view kRed = "31";
constexpr std::string_view kYellow = "33";

std::string objects_text(const json& source) {
    std::vector<std::string> counts;
    for (const auto& [kind, count] : member(source, "objects").items())
        counts.push_back(fmt::format("{} {}", text(count), kind));
    return counts.empty() ? "no objects" : joined(counts, ", ");
}

std::string range_text(const json& range) {
    return fmt::format("{} of {} in {}", text(range, "used"), text(range, "size"),
                       text(range, "range"));
}

class Page {
public:
    explicit Page(Context& context) : context_(context) {}

    void line(std::string_view title, const std::string& value, std::string_view style = {}) {
        const std::string shown = printable(value);
        context_.out << fmt::format("  {:<11} {}\n", title,
                                    style.empty() ? shown : context_.styled(shown, style));
    }
    void section(std::string_view title) { context_.out << '\n' << title << '\n'; }
    void table(const Table& table) { table.print(context_.out); }

private:
    Context& context_;
};

void print_head(Context& context, Page& page, const json& status) {
    const std::string instance = text(status, "instance");
    const std::string head = fmt::format(
        "beelined {} on {}{}, pid {}, up {}", text(status, "version"), text(status, "node"),
        instance.empty() ? "" : fmt::format(" (instance {})", instance), text(status, "pid"),
        duration_text(number(status, "uptime_s") * 1000));
    context.out << printable(head) << '\n';
    const json& source = member(status, "source");
    page.line("source", fmt::format("{} {}: {}", text(source, "kind"), text(source, "place"),
                                    objects_text(source)));
    page.line("workloads", fmt::format("{} ({} identities, {} services, {} policies)",
                                       number(status, "workloads"), number(status, "identities"),
                                       number(status, "services"), number(status, "policies")));
    std::vector<std::string> ranges;
    for (const auto* family : {"ipv4", "ipv6"}) {
        const json& range = member(member(status, "addresses"), family);
        if (range.is_object() && !text(range, "range").empty()) ranges.push_back(range_text(range));
    }
    page.line("addresses", ranges.empty() ? "no ranges" : joined(ranges, ", "));
    const json& flows = member(status, "flows");
    const json& rate = member(flows, "per_second");
    page.line("flows",
              fmt::format("{} of {} stored, {:.1f} a second", number(flows, "stored"),
                          number(flows, "capacity"), rate.is_number() ? rate.get<double>() : 0.0));
    if (const json& history = member(status, "history"); flag(history, "enabled")) {
        const std::string error = text(history, "error");
        page.line("history",
                  error.empty()
                      ? fmt::format("{} flows in {} MB{}", number(history, "stored"),
                                    number(history, "bytes") / 1'000'000,
                                    text(history, "oldest").empty()
                                        ? std::string()
                                        : ", since " + text(history, "oldest").substr(0, 19))
                      : "cannot be written: " + error,
                  error.empty() ? std::string_view{} : kRed);
        if (const auto damage = text(history, "damage"); !damage.empty())
            page.line("", damage, kRed);
    }
    page.line("kernel", text(member(status, "kernel"), "release"));
}

void print_web(Page& page, const json& status) {
    const json& web = member(status, "web");
    if (!web.is_object()) return;
    if (const auto error = text(web, "error"); !error.empty())
        return page.line("web page", "could not start: " + error, kRed);
    const auto login = text(web, "login");
    page.line("web page", login.empty() ? text(web, "url") : login);
}

void print_nodes(Page& page, const json& status) {
    const json& nodes = member(status, "nodes");
    const auto mode = text(nodes, "mode");
    if (mode.empty() || (mode == "none" && list(nodes, "others").empty())) return;
    const auto error = text(nodes, "error");
    page.line("nodes",
              fmt::format("{} others by {}, packets up to {} bytes{}{}",
                          list(nodes, "others").size(), mode, number(nodes, "mtu"),
                          error.empty() ? "" : "; not complete: ", error),
              error.empty() ? std::string_view{} : kRed);
    for (const json& node : list(nodes, "others")) {
        std::vector<std::string> ranges;
        for (const json& range : list(node, "ranges"))
            ranges.push_back(range.get<std::string>());
        const auto path = text(node, "path");
        page.line("",
                  fmt::format("{} {}{}: {}", text(node, "name"),
                              path.empty() ? "without a path" : "at " + path,
                              flag(node, "ready") ? "" : ", not ready",
                              ranges.empty() ? "no pod ranges" : joined(ranges, ", ")),
                  path.empty() || !flag(node, "ready") ? kYellow : std::string_view{});
    }
    for (const json& warning : list(nodes, "warnings"))
        page.line("", warning.get<std::string>(), kYellow);
}

void print_losses(Page& page, const json& status) {
    const json& losses = member(status, "losses");
    std::vector<std::string> parts;
    if (losses.is_object()) {
        for (const auto& [where, count] : losses.items()) {
            if (count.is_number() && count != 0)
                parts.push_back(where == "security"
                                    ? fmt::format("{} security events", text(count))
                                    : fmt::format("{} flows in the {}", text(count), where));
        }
    }
    page.line("losses", parts.empty() ? "none" : "lost: " + joined(parts, ", "),
              parts.empty() ? std::string_view{} : kYellow);
}

void print_security(Page& page, const json& status) {
    const json& security = member(status, "security");
    if (!security.is_object()) return;
    if (const auto error = text(security, "error"); !error.empty()) {
        page.line("security", "could not start: " + error, kRed);
        return;
    }
    page.line("security", fmt::format("{} rules on {} sensors, {} processes, {} matches",
                                      number(security, "rules"), list(security, "attached").size(),
                                      number(member(security, "processes"), "live"),
                                      number(member(security, "alerts"), "matches")));
    if (flag(security, "rules_faulty")) {
        page.line(
            "",
            number(security, "rules") == 0
                ? "the rule files have errors, no rule is in force: beeline rules reload"
                : "the rule files have errors, older rules are in force: beeline rules reload",
            kRed);
    }
}

void print_hubble(Page& page, const json& status) {
    const json& hubble = member(status, "hubble");
    if (!hubble.is_object()) return;
    if (const auto error = text(hubble, "error"); !error.empty()) {
        page.line("hubble", "could not start: " + error, kRed);
        return;
    }
    std::vector<std::string> where;
    for (const char* key : {"socket", "listen"})
        if (const auto place = text(hubble, key); !place.empty()) where.push_back(place);
    std::string line =
        fmt::format("{}, {} streams", joined(where, ", "), number(hubble, "streams"));
    if (const auto cut = number(hubble, "streams_cut"); cut != 0)
        line += fmt::format(", {} cut off", cut);
    page.line("hubble", line);
}

void print_kernel_drops(Page& page, const json& status) {
    const json& drops = member(status, "kernel_drops");
    if (!drops.is_object()) return;
    if (const auto error = text(drops, "error"); !error.empty())
        page.line("kernel drops", "not seen: " + error, kYellow);
}

void print_capabilities(Page& page, const json& status) {
    const json& capabilities = member(status, "capabilities");
    const json& ports = member(capabilities, "host_ports");
    if (const auto count = number(ports, "count"); count != 0) {
        if (flag(ports, "from_outside"))
            page.line("host ports", std::to_string(count));
        else
            page.line("host ports", fmt::format("{}, not reached from outside", count), kYellow);
    }
    const json& limits = member(capabilities, "limits");
    if (const auto workloads = number(limits, "workloads"); workloads != 0) {
        page.line("limits", fmt::format("{} workloads, {} packets delayed, {} dropped", workloads,
                                        number(limits, "delayed_packets"),
                                        number(limits, "dropped_packets")));
    }
}

void print_features(Context& context, Page& page, const json& status) {
    const json& features = list(member(status, "kernel"), "features");
    std::vector<const json*> missing;
    for (const auto& feature : features)
        if (!flag(feature, "available")) missing.push_back(&feature);
    if (!missing.empty()) {
        page.section("This kernel lacks");
        for (const auto* feature : missing)
            page.line(text(*feature, "name"), text(*feature, "lost"));
    }
    if (context.format != Format::wide) return;
    page.section("This kernel has");
    std::vector<std::string> available;
    for (const auto& feature : features)
        if (flag(feature, "available")) available.push_back(text(feature, "name"));
    context.out << "  " << printable(joined(available, " ")) << '\n';
}

void print_errors(Context& context, Page& page, const json& status) {
    const json& errors = list(member(status, "source"), "errors");
    if (errors.empty()) return;
    page.section("Manifests with errors (what they said before stays in force)");
    for (const auto& error : errors) {
        const std::string file = text(error, "file");
        const std::string message = text(error, "message");
        // Most messages begin with the place already.
        const bool placed = file.empty() || message.starts_with(file);
        context.out << "  "
                    << context.styled(printable(placed ? message : file + ": " + message), kRed)
                    << '\n';
    }
}

void print_tables(Context& context, Page& page, const json& status) {
    Table drops({"DROPPED PACKETS", "REASON"});
    for (const auto& drop : list(status, "drops")) {
        if (number(drop, "count") != 0) drops.row({text(drop, "count"), text(drop, "reason")});
    }
    if (!drops.empty()) {
        context.out << '\n';
        page.table(drops);
    }
    Table kernel({"DROPPED BY THE KERNEL", "REASON"});
    for (const auto& [reason, count] : member(member(status, "kernel_drops"), "reasons").items())
        kernel.row({text(count), reason});
    if (!kernel.empty()) {
        context.out << '\n';
        page.table(kernel);
    }
    if (context.format != Format::wide) return;
    Table maps({"MAP", "ENTRIES", "MAX"});
    for (const auto& map : list(status, "maps"))
        maps.row({text(map, "name"), text(map, "entries"), text(map, "max_entries")});
    context.out << '\n';
    page.table(maps);
    Table metrics({"METRIC", "VALUE"});
    for (const auto& [name, value] : member(status, "metrics").items())
        metrics.row({name, text(value)});
    context.out << '\n';
    page.table(metrics);
}

void print_status(Context& context, const json& status) {
    Page page(context);
    print_head(context, page, status);
    print_security(page, status);
    print_hubble(page, status);
    print_web(page, status);
    print_nodes(page, status);
    print_losses(page, status);
    print_kernel_drops(page, status);
    print_capabilities(page, status);
    print_features(context, page, status);
    print_errors(context, page, status);
    print_tables(context, page, status);
}

} // namespace

void register_status_commands(CLI::App& app, Context& context) {
    auto* verb =
        add_verb(app, "status", "How the agent is, what it has lost and what this kernel lacks",
                 "beeline status\n"
                 "beeline --instance demo status -o json\n"
                 "beeline status --wait --timeout 30");
    add_format(verb, context, {Format::table, Format::wide, Format::json, Format::yaml});
    struct Wait {
        bool wanted = false;
        unsigned timeout_s = 60;
    };
    auto wait = std::make_shared<Wait>();
    verb->add_flag("--wait", wait->wanted,
                   "Wait until the agent answers, its source is connected and read as a whole, and "
                   "the desired state is in force");
    verb->add_option("--timeout", wait->timeout_s, "Wait so long (default 60)")
        ->option_text("SECONDS")
        ->check(CLI::Range(1U, 86'400U));
    on_run(verb, context, [&context, wait]() -> Result<int> {
        const json status =
            wait->wanted ? TRY(wait_for_agent(context, std::chrono::seconds(wait->timeout_s)))
                         : TRY(TRY(context.client()).get("/v1/status"));
        print_document(context, status, [&] { print_status(context, status); });
        return kDone;
    });
}

} // namespace beeline::cli
