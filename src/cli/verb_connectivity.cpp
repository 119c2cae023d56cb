#include <unistd.h>

#include <atomic>
#include <csignal>
#include <memory>

#include "cli/connectivity/far_end.h"
#include "cli/connectivity_bed.h"
#include "cli/connectivity_report.h"
#include "cli/connectivity_run.h"
#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/runtime.h"
#include "cli/verbs.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

volatile std::sig_atomic_t interrupt = 0;

// Ctrl-C ends the test, but not before everything is cleaned up. A second one does.
class Interruptible {
public:
    Interruptible() {
        interrupt = 0;
        struct sigaction action{};
        action.sa_handler = [](int signal) { interrupt = signal; };
        action.sa_flags = static_cast<int>(SA_RESETHAND);
        for (std::size_t i = 0; i < kSignals.size(); ++i)
            ::sigaction(kSignals[i], &action, &before_[i]);
    }
    ~Interruptible() {
        for (std::size_t i = 0; i < kSignals.size(); ++i)
            ::sigaction(kSignals[i], &before_[i], nullptr);
    }
    Interruptible(const Interruptible&) = delete;
    Interruptible& operator=(const Interruptible&) = delete;

private:
    static constexpr std::array<int, 3> kSignals{SIGINT, SIGTERM, SIGHUP};
    std::array<struct sigaction, 3> before_{};
};

bool interrupted() { return interrupt != 0; }

struct Arguments {
    std::vector<std::string> patterns;
    std::vector<std::string> world;
    std::string output = "table";
    bool only_list = false;
    bool keep = false;
    bool reuse = false;
    bool clean = false;
    unsigned parallel = 8;
    unsigned timeout_s = 3;
};

// 192.0.2.1:443, [2001:db8::1]:443
Result<Endpoint> parse_endpoint(const std::string& text) {
    const auto colon = text.rfind(':');
    std::string host = text.substr(0, colon);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']')
        host = host.substr(1, host.size() - 2);
    const auto address = net::Ip::parse(host);
    const long port =
        colon == std::string::npos ? 0 : std::strtol(text.c_str() + colon + 1, nullptr, 10);
    if (!address || port < 1 || port > 65535)
        return fail(Code::invalid, "--world '{}' is not ADDRESS:PORT or [ADDRESS]:PORT", text);
    return Endpoint{*address, static_cast<std::uint16_t>(port)};
}

// One line on a terminal that is written over, nothing elsewhere.
class Progress {
public:
    Progress(Context& context, bool shown) : context_(context), shown_(shown) {}
    ~Progress() { clear(); }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void show(const std::string& line) {
        if (!shown_) return;
        context_.err << "\r\033[K" << line << std::flush;
        dirty_ = true;
    }
    void clear() {
        if (dirty_) context_.err << "\r\033[K" << std::flush;
        dirty_ = false;
    }

private:
    Context& context_;
    bool shown_;
    bool dirty_ = false;
};

// Cases that this machine cannot run, with the reason.
class Fitness {
public:
    Fitness(const json& status, const std::vector<Endpoint>& world) : world_(world) {
        for (const auto family : {Family::v4, Family::v6}) {
            const char* name = family == Family::v4 ? "ipv4" : "ipv6";
            if (!text(member(member(status, "addresses"), name), "range").empty())
                families_.push_back(family);
        }
        for (const auto& gateway : default_gateways()) {
            const auto family = gateway.is_v4() ? Family::v4 : Family::v6;
            if (gateway.bytes[0] == 0xfe && (gateway.bytes[1] & 0xc0) == 0x80) continue;
            const auto answer = probe({.kind = ProbeKind::ping,
                                       .address = gateway,
                                       .timeout = std::chrono::milliseconds(1000)});
            (answer.error.empty() ? gateways_ : silent_).push_back(family);
        }
    }

    [[nodiscard]] std::string unfit(const Case& one) const {
        const char* name = one.family == Family::v4 ? "IPv4" : "IPv6";
        const auto has = [&](const std::vector<Family>& all) {
            return std::find(all.begin(), all.end(), one.family) != all.end();
        };
        if (!has(families_)) return fmt::format("workloads here have no {} addresses", name);
        if (one.to == "gateway" && !has(gateways_))
            return has(silent_)
                       ? fmt::format("the machine's {} gateway answers no ping at all", name)
                       : fmt::format("the machine has no {} gateway", name);
        if (one.to == "world" &&
            std::none_of(world_.begin(), world_.end(), [&](const Endpoint& end) {
                return end.address.is_v4() == (one.family == Family::v4);
            }))
            return fmt::format("no {} server outside was named with --world", name);
        return {};
    }

private:
    const std::vector<Endpoint>& world_;
    std::vector<Family> families_;
    std::vector<Family> gateways_;
    std::vector<Family> silent_;
};

void print(Context& context, const Arguments& arguments, const std::vector<CaseResult>& results) {
    if (arguments.output == "json")
        context.out << report_json(results).dump(2, ' ', false, json::error_handler_t::replace)
                    << '\n';
    else if (arguments.output == "junit")
        context.out << report_junit(results);
    else
        print_report(context, results, arguments.output == "wide");
}

Result<std::vector<CaseResult>> run_on(ConnectivityBed& bed, const api::Client& client,
                                       const Arguments& arguments,
                                       const std::vector<const Case*>& cases,
                                       const std::vector<Endpoint>& world, Progress& progress) {
    TRY(bed.start({.cases = cases,
                   .world = world,
                   .reuse = arguments.reuse,
                   .interrupted = interrupted,
                   .progress = [&](const std::string& line) { progress.show(line); }}));
    std::size_t done = 0;
    std::size_t bad = 0;
    ConnectivityOptions options;
    options.parallel = arguments.parallel;
    options.timeout = std::chrono::seconds(arguments.timeout_s);
    options.interrupted = interrupted;
    options.finished = [&](const CaseResult& result) {
        ++done;
        if (result.outcome == Outcome::failed) ++bad;
        progress.show(fmt::format("{} of {} cases{}: {}", done, cases.size(),
                                  bad == 0 ? "" : fmt::format(", {} failed", bad),
                                  result.test->name));
    };
    return run_cases(bed, client, cases, options);
}

Result<int> test_verb(const Arguments& arguments, Context& context) {
    const auto chosen = select_cases(arguments.patterns);
    if (chosen.empty()) {
        context.fail(Error{Code::invalid, 0,
                           fmt::format("no case is called '{}': '--list' shows all",
                                       joined(arguments.patterns, "' or '"))},
                     kWrongUsage);
        return kWrongUsage;
    }
    std::vector<Endpoint> world;
    for (const auto& text : arguments.world) {
        const auto one = parse_endpoint(text);
        if (!one) {
            context.fail(one.error(), kWrongUsage);
            return kWrongUsage;
        }
        world.push_back(*one);
    }
    if (arguments.only_list) {
        if (arguments.output == "json")
            context.out << cases_json(chosen).dump(2) << '\n';
        else
            print_cases(context, chosen);
        return kDone;
    }
    TRY(require_root("connectivity test"));
    const auto client = TRY(context.client());
    const auto status = TRY(client.get("/v1/status"));
    if (const auto kind = text(member(status, "source"), "kind"); kind != "files")
        return fail(Code::unsupported,
                    "this agent takes its objects from {}: the test makes its own workloads and "
                    "objects only where they come from files",
                    kind);
    const Interruptible handlers;
    const auto bed = TRY(ConnectivityBed::open(TRY(context.paths()), client));
    if (!arguments.reuse) TRY(bed->clear());
    if (arguments.clean) return kDone;

    const Fitness fitness(status, world);
    std::vector<const Case*> cases;
    std::vector<CaseResult> results;
    for (const auto* one : chosen) {
        auto reason = fitness.unfit(*one);
        if (reason.empty()) {
            cases.push_back(one);
        } else {
            auto& result = results.emplace_back();
            result.test = one;
            result.reason = std::move(reason);
        }
    }
    Progress progress(context, ::isatty(STDERR_FILENO) == 1);
    auto ran = run_on(*bed, client, arguments, cases, world, progress);
    Result<> cleared;
    if (!arguments.keep) {
        progress.show("cleaning up");
        cleared = bed->clear();
    }
    progress.clear();
    if (!ran) return tl::unexpected(ran.error());
    results.insert(results.end(), ran->begin(), ran->end());
    std::stable_sort(results.begin(), results.end(),
                     [](const CaseResult& a, const CaseResult& b) { return a.test < b.test; });
    print(context, arguments, results);
    if (!cleared) return tl::unexpected(cleared.error().with("not all was cleaned up"));
    if (interrupted())
        return fail(Code::unavailable, "interrupted after {} of {} cases", ran->size(),
                    cases.size());
    return summarize(results).failed == 0 ? kDone : kFailed;
}

struct FarEndArguments {
    FarEndPlan plan;
    std::vector<std::string> names;
};

Result<int> far_end_verb(FarEndArguments& arguments) {
    for (const auto& text : arguments.names) {
        arguments.plan.dns = true;
        arguments.plan.dns_names.insert(TRY(parse_dns_name(text)));
    }
    TRY(FarEnd::open(arguments.plan)).serve();
}

void register_far_end(CLI::App& app, Context& context) {
    auto* verb = app.add_subcommand("far-end", "The server of the connectivity test")->group("");
    auto arguments = std::make_shared<FarEndArguments>();
    verb->add_option("--name", arguments->plan.name, "What it calls itself");
    verb->add_option("--tcp", arguments->plan.tcp, "TCP port, repeatable");
    verb->add_option("--udp", arguments->plan.udp, "UDP port, repeatable");
    verb->add_option("--dns", arguments->names, "NAME=ADDRESS,..., repeatable");
    on_run(verb, context, [arguments]() -> Result<int> { return far_end_verb(*arguments); });
}

} // namespace

void register_connectivity_commands(CLI::App& app, Context& context) {
    auto* parent = add_verb(app, "connectivity", "Prove that this machine's network works",
                            "beeline connectivity test");
    parent->require_subcommand(1);
    auto* verb =
        add_verb(*parent, "test",
                 "Start workloads, services and policies of its own, and try who reaches whom",
                 "beeline connectivity test\n"
                 "beeline connectivity test --case 'policy-*' --case 'dns/*' -o wide\n"
                 "beeline connectivity test --world 192.0.2.1:443 -o junit >connectivity.xml\n"
                 "beeline connectivity test --list");
    auto arguments = std::make_shared<Arguments>();
    verb->add_option("--case", arguments->patterns, "Only cases with such a name, with * and ?")
        ->option_text("PATTERN")
        ->allow_extra_args(false);
    verb->add_flag("--list", arguments->only_list, "Only show the cases");
    verb->add_option("--world", arguments->world,
                     "A TCP server outside of this machine that workloads should reach, one for "
                     "each family")
        ->option_text("ADDRESS:PORT")
        ->allow_extra_args(false);
    verb->add_flag("--keep", arguments->keep,
                   "Leave workloads and objects behind, to look at them");
    verb->add_flag("--reuse", arguments->reuse, "Take what --keep has left, as it is now");
    verb->add_flag("--clean", arguments->clean, "Only remove what --keep has left");
    verb->add_option("--parallel", arguments->parallel, "Cases at the same time (default 8)")
        ->option_text("N")
        ->check(CLI::Range(1U, 64U));
    verb->add_option("--timeout", arguments->timeout_s, "Wait so long for an answer (default 3)")
        ->option_text("SECONDS")
        ->check(CLI::Range(1U, 60U));
    verb->add_option("-o,--output", arguments->output, "Output format")
        ->option_text("table|wide|json|junit (default table)")
        ->check([](const std::string& name) {
            return name == "table" || name == "wide" || name == "json" || name == "junit"
                       ? std::string()
                       : fmt::format("'{}' is not one of table|wide|json|junit", name);
        });
    on_run(verb, context,
           [&context, arguments]() -> Result<int> { return test_verb(*arguments, context); });
    register_far_end(app, context);
}

} // namespace beeline::cli
