// What a rule set costs an event: evaluation alone, over a mix of events that no rule is about.
//   blrules [EVENTS]
// Opens 60 %, connects 10 %, exec, clone and exit 15 %, others 15 %. Prints one JSON object a line.
#include <fcntl.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "security/engine/test_scene.h"

using namespace beeline;
using namespace beeline::security;
using namespace beeline::security::testing;

namespace {

double now() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

std::vector<Event> mix(Machine& machine) {
    std::vector<const Process*> processes;
    const std::vector<std::vector<std::string>> ancestries = {{"bash", "sshd", "sshd", "systemd"},
                                                              {"make", "bash", "sshd", "systemd"},
                                                              {"systemd"},
                                                              {"containerd-shim", "systemd"},
                                                              {"python3", "sh", "cron", "systemd"}};
    const char* names[] = {"gcc",   "cc1plus", "as",       "nginx",        "haproxy",
                           "envoy", "kubelet", "postgres", "redis-server", "app"};
    for (unsigned i = 0; i < 200; ++i) {
        ProcessSpec spec;
        spec.name = names[i % 10];
        spec.args = {"-c", "some/file/name.txt", "--option=value", std::to_string(i)};
        spec.cwd = "/home/alice/";
        spec.uid = i % 3 == 0 ? 0 : 1000;
        spec.in_container = i % 4 == 0;
        spec.ancestors = ancestries[i % 5];
        processes.push_back(&machine.make(spec));
    }
    // As the process tree numbers what it knows.
    for (Process& process : machine.processes)
        process.facts = process.key.pid;
    const char* paths[] = {"/usr/lib/x86_64-linux-gnu/libc.so.6",
                           "/etc/ld.so.cache",
                           "/usr/include/c++/12/bits/stl_vector.h",
                           "/proc/meminfo",
                           "/home/alice/work/project/src/main.cpp",
                           "/usr/share/locale/locale.alias",
                           "/var/lib/app/data/table.db",
                           "/sys/fs/cgroup/memory.current",
                           "/tmp/cc1234.s",
                           "/dev/null"};
    std::vector<Event> out;
    std::uint64_t random = 1;
    for (unsigned i = 0; i < 4096; ++i) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        const auto roll = static_cast<unsigned>(random >> 33) % 100;
        const Process& process = *processes[(random >> 40) % processes.size()];
        const char* path = paths[(random >> 50) % 10];
        RecordBuilder record(BL_EVENT_execve);
        if (roll < 45) {
            record = open_of(path, O_RDONLY | O_CLOEXEC);
        } else if (roll < 52) {
            record = open_of(roll % 2 == 0 ? "/var/lib/app/data/table.db" : "/home/alice/work/x.o",
                             O_WRONLY | O_CREAT, 4, "", 0, 0644);
        } else if (roll < 56) {
            record = open_of("/lib/libm.so.6", O_RDONLY | O_CLOEXEC, 3, "/usr/lib/libm.so.6");
        } else if (roll < 60) {
            record = open_of(path, O_RDONLY, -2);
        } else if (roll < 70) {
            record = connect_to("10.0.3.7", 443);
        } else if (roll < 75) {
            record = RecordBuilder(BL_EVENT_execve);
        } else if (roll < 80) {
            record = RecordBuilder(BL_EVENT_clone);
        } else if (roll < 85) {
            record = RecordBuilder(BL_EVENT_procexit);
        } else if (roll < 90) {
            record = RecordBuilder(BL_EVENT_unlink).text(BL_STR_PATH, path);
        } else if (roll < 95) {
            record = RecordBuilder(BL_EVENT_sendto)
                         .num(0, 5)
                         .facts(socket_of("10.0.0.5", 4000, "10.0.0.9", 53, 17));
        } else {
            record = RecordBuilder(BL_EVENT_setuid).num(0, 1000);
        }
        Event event = machine.event(process, record);
        if (event.head.kind == BL_EVENT_setuid) event.head.uid = 0;
        out.push_back(event);
    }
    return out;
}

double measure(Engine& engine, const std::vector<Event>& events, std::uint64_t count,
               std::uint64_t& matches) {
    const Engine::Sink sink = [&](model::Alert&&) { ++matches; };
    const double start = now();
    for (std::uint64_t done = 0; done < count; done += events.size())
        for (const Event& event : events)
            engine.evaluate(event, sink);
    const std::uint64_t real = (count + events.size() - 1) / events.size() * events.size();
    return (now() - start) * 1e9 / static_cast<double>(real);
}

rules::RuleSet load(const std::string& folder, const std::string& more) {
    auto files =
        rules::read_files({folder + "/falco_rules.yaml", folder + "/falco-incubating_rules.yaml",
                           folder + "/falco-sandbox_rules.yaml"});
    if (!files) std::exit(2);
    if (!more.empty()) files->push_back({.name = "more.yaml", .text = more, .read_error = ""});
    rules::LoadResult loaded = rules::load(*files, Engine::catalog());
    if (!loaded.successful()) {
        std::fputs(rules::to_text(loaded).c_str(), stderr);
        std::exit(2);
    }
    return std::move(loaded.set);
}

std::string thousand() {
    static constexpr const char* kKinds[] = {"mount",  "chroot",   "pivot_root", "kill",
                                             "keyctl", "mprotect", "bind",       "splice"};
    std::string out;
    for (int i = 0; i < 1000; ++i)
        out += fmt::format("- rule: more {0}\n  desc: d\n  condition: evt.type = {1} and proc.name "
                           "= p{0} and proc.args contains a{0}\n"
                           "  output: o\n  priority: NOTICE\n",
                           i, kKinds[i % 8]);
    return out;
}

} // namespace

int main(int argc, char** argv) {
    const std::uint64_t count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 2'000'000;
    Machine machine;
    const std::vector<Event> events = mix(machine);
    struct Case {
        const char* name;
        rules::RuleSet set;
        std::unique_ptr<Engine> engine;
        std::vector<double> values;
        std::uint64_t matches = 0;
    };
    std::vector<Case> cases;
    cases.push_back({"all 93 rules", load(BEELINE_RULES, ""), nullptr, {}, 0});
    cases.push_back(
        {"93 and 1,000 of other kinds", load(BEELINE_RULES, thousand()), nullptr, {}, 0});
    Case one{"1 rule", {}, nullptr, {}, 0};
    auto all = load(BEELINE_RULES, "");
    for (rules::Rule& rule : all.rules)
        if (rule.name == "Read sensitive file untrusted") one.set.rules.push_back(std::move(rule));
    cases.push_back(std::move(one));
    for (Case& each : cases) {
        EngineOptions options;
        options.selections = {{.enable = true, .rule = "*", .tag = ""}};
        auto engine = Engine::compile(each.set, options, machine.host, machine.tree);
        if (!engine) {
            std::fprintf(stderr, "%s\n", engine.error().message.c_str());
            return 2;
        }
        each.engine = std::move(*engine);
    }
    for (int run = 0; run < 6; ++run)
        for (Case& each : cases) {
            const double value = measure(*each.engine, events, count / 5, each.matches);
            if (run != 0) each.values.push_back(value);
        }
    for (Case& each : cases) {
        std::sort(each.values.begin(), each.values.end());
        std::printf("{\"bench\": \"rule_eval\", \"case\": \"%s\", \"unit\": \"ns/event\", "
                    "\"value\": %.1f, \"least\": %.1f, "
                    "\"worst\": %.1f, \"matches\": %.4f, \"runs\": %zu}\n",
                    each.name, each.values[each.values.size() / 2], each.values.front(),
                    each.values.back(),
                    static_cast<double>(each.matches) / (6.0 * static_cast<double>(count / 5)),
                    each.values.size());
    }
    if (std::getenv("BLRULES_KINDS") != nullptr) {
        std::map<std::uint16_t, std::vector<Event>> by_kind;
        for (const Event& event : events)
            by_kind[event.head.kind].push_back(event);
        for (const auto& [kind, some] : by_kind) {
            double least = 1e9;
            for (int run = 0; run < 5; ++run)
                least = std::min(least, measure(*cases[0].engine, some, 100'000, cases[0].matches));
            std::printf("kind %u: %zu of %zu events, %.1f ns\n", kind, some.size(), events.size(),
                        least);
        }
    }
    if (std::getenv("BLRULES_RULES") != nullptr)
        for (const RuleStats& row : cases[0].engine->stats())
            std::printf("%8.0f ns %9lu %s | %s\n",
                        row.sampled_events == 0 ? 0.0
                                                : static_cast<double>(row.sampled_ns) /
                                                      static_cast<double>(row.sampled_events),
                        static_cast<unsigned long>(row.matches), row.name.c_str(),
                        row.pushed_down.c_str());
    return 0;
}
