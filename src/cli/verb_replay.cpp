#include <chrono>
#include <map>
#include <memory>

#include <fmt/format.h>

#include "cli/output.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "security/engine/engine.h"
#include "security/events/recording.h"
#include "security/rules/rule_set.h"

namespace beeline::cli {
namespace {

using nlohmann::json;
using security::FrameType;

struct Flags {
    std::vector<std::string> rules;
    std::string recording;
    bool first = false;
};

struct Replay {
    std::uint64_t events = 0;
    std::uint64_t refused = 0;
    std::uint64_t lost = 0;
    std::map<std::string, std::uint64_t> matches;
    std::chrono::nanoseconds took{};
};

// What the machine was when the recording was made; later frames know more containers.
security::RecordingContext context_of(security::RecordingReader& reader) {
    security::RecordingContext all;
    while (const auto frame = reader.next()) {
        if (frame->type != FrameType::context) continue;
        auto context = security::context_from_json(frame->text());
        if (!context) continue;
        auto placements = std::move(all.placements);
        for (auto& [cgroup, placement] : context->placements)
            placements[cgroup] = std::move(placement);
        all = std::move(*context);
        all.placements = std::move(placements);
    }
    return all;
}

Result<int> test_rules(Context& context, const Flags& flags) {
    const auto files = TRY(security::rules::read_files(flags.rules));
    const auto loaded = security::rules::load(files, security::Engine::catalog());
    if (!loaded.successful()) {
        context.err << security::rules::to_text(loaded);
        return kFailed;
    }
    auto first_pass = TRY(security::RecordingReader::open(flags.recording));
    const auto machine = context_of(first_pass);

    const auto host = std::make_shared<const security::HostFacts>(security::HostFacts{machine, {}});
    security::ProcessTree::Options options;
    options.boot_time_ns = machine.boot_time_ns;
    security::ProcessTree tree(options, [&](std::uint64_t cgroup) {
        const auto found = machine.placements.find(cgroup);
        return found == machine.placements.end() ? security::Placement{} : found->second;
    });
    security::EngineOptions engine_options;
    engine_options.match_all = !flags.first;
    const auto engine = TRY(security::Engine::compile(loaded.set, engine_options, host, tree));

    Replay replay;
    const security::Engine::Sink sink = [&](model::Alert&& alert) {
        ++replay.matches[alert.rule];
        if (context.format == Format::jsonl) context.out << security::alert_json(alert) << '\n';
    };
    auto reader = TRY(security::RecordingReader::open(flags.recording));
    const auto start = std::chrono::steady_clock::now();
    while (const auto frame = reader.next()) {
        if (frame->type == FrameType::losses) replay.lost += security::lost_of(frame->text());
        if (frame->type != FrameType::event) continue;
        security::Event event;
        if (security::decode(frame->payload, event) != security::DecodeError::none) {
            ++replay.refused;
            continue;
        }
        ++replay.events;
        tree.apply(event);
        engine->evaluate(event, sink);
    }
    replay.took = std::chrono::steady_clock::now() - start;

    for (const auto& problem : reader.problems())
        context.err << "beeline: " << problem << '\n';
    if (context.format == Format::jsonl) return kDone;
    json rules = json::array();
    for (const auto& rule : engine->stats()) {
        if (!rule.enabled) continue;
        json one{
            {"name", rule.name}, {"events", rule.events}, {"matches", replay.matches[rule.name]}};
        if (rule.sampled_events > 0) {
            one["ns_per_event"] =
                static_cast<double>(rule.sampled_ns) / static_cast<double>(rule.sampled_events);
        }
        rules.push_back(std::move(one));
    }
    if (context.format == Format::json) {
        context.out << json{{"events", replay.events},
                            {"refused", replay.refused},
                            {"lost", replay.lost},
                            {"ns", replay.took.count()},
                            {"rules", std::move(rules)}}
                           .dump(2)
                    << '\n';
        return kDone;
    }
    Table table({"RULE", "EVENTS", "MATCHES", "TIME"});
    for (const auto& rule : rules) {
        table.row({rule["name"], rule["events"].dump(), rule["matches"].dump(),
                   rule.contains("ns_per_event")
                       ? fmt::format("{:.0f}ns", rule["ns_per_event"].get<double>())
                       : ""});
    }
    table.print(context.out);
    context.out << fmt::format(
        "{} events in {:.3f} s, {:.0f} ns each; {} not readable, {} lost while recording\n",
        replay.events, static_cast<double>(replay.took.count()) / 1e9,
        static_cast<double>(replay.took.count()) /
            static_cast<double>(std::max<std::uint64_t>(replay.events, 1)),
        replay.refused, replay.lost);
    return kDone;
}

} // namespace

void register_rule_test(CLI::App& rules, Context& context) {
    auto flags = std::make_shared<Flags>();
    auto* verb = add_verb(rules, "test", "Run rules over a recording, without the agent",
                          "beeline rules test my_rules.yaml --on day.blrec\n"
                          "beeline rules test falco_rules.yaml local.yaml --on day.blrec -o jsonl");
    verb->add_option("FILE", flags->rules,
                     "Rule files, or folders of them, in the order of loading")
        ->required();
    verb->add_option("--on", flags->recording, "A file of `beeline record`")
        ->required()
        ->option_text("RECORDING");
    verb->add_flag("--first", flags->first, "Only the first rule that matches an event");
    add_format(verb, context, {Format::table, Format::json, Format::jsonl});
    on_run(verb, context, [&context, flags] { return test_rules(context, *flags); });
}

} // namespace beeline::cli
