#include "security/engine/engine.h"

#include <algorithm>
#include <array>
#include <bit>
#include <ctime>

#include "security/engine/format.h"
#include "security/engine/match.h"
#include "security/engine/memo.h"
#include "security/engine/program.h"
#include "security/engine/pushdown.h"

namespace beeline::security {

using namespace engine;

namespace {

constexpr std::size_t kDeepestShown = 64; // ancestors in an alert
constexpr std::uint64_t kSampleEvery = 1024;
constexpr std::uint64_t kSortLast = 1 << 20;

std::uint64_t now_ns() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(time.tv_nsec);
}

struct CompiledRule {
    std::string name;
    std::string source;
    model::Priority priority = model::Priority::debug;
    std::vector<std::string> tags;
    bool enabled = true;
    Template output;
    std::vector<std::pair<std::string, Template>> extra; // fields only
    Ref condition = kFalse;
    std::vector<std::uint16_t> kinds;
    std::string pushed_down;
    std::uint64_t matches = 0, sampled_ns = 0, sampled_events = 0;
};

// A part that some rules of a kind need. Which rules: bits of one word, which is all there is for up to 64 rules of a
// kind, and of others.
struct Gate {
    Ref ref = kTrue;
    std::uint32_t word = 0;
    std::uint64_t bits = 0;
    std::uint32_t asked = 0, failed = 0;
    float cost = 0;
    float guess = 0.7F; // how often it fails
    std::uint32_t rules = 0;
    std::vector<std::pair<std::uint32_t, std::uint64_t>> more;
};

// All parts of a kind that ask whether one and the same text is among some (proc.name in …), answered by one look: the
// rules that are out, by the text. Only for kinds of up to 64 rules.
struct Membership {
    Ref any = kTrue; // one of the checks: all look at the same value
    TextSet texts;
    std::vector<std::uint64_t> out; // by place in `texts`
    std::uint64_t out_other = 0;    // for every other text, and for none
    std::uint64_t rules = 0;
    std::size_t before = 0; // the gate that it is looked at before
};

// Cheap parts that rule out many rules first. What was seen counts more and more against the guess.
float order_of(const Gate& gate) {
    const float fails =
        (static_cast<float>(gate.failed) + gate.guess * 8) / (static_cast<float>(gate.asked) + 8);
    return (gate.cost + 1) / ((fails + 0.0005F) * static_cast<float>(gate.rules));
}

void sort_gates(std::vector<Gate>& gates) {
    std::sort(gates.begin(), gates.end(), [](const Gate& a, const Gate& b) {
        const float x = order_of(a), y = order_of(b);
        return x != y ? x < y : a.ref < b.ref;
    });
}

// Parts that rule out rules, the best first.
struct Sieve {
    std::vector<Gate> gates;
    std::vector<Membership> memberships;
};

struct KindProgram {
    std::vector<std::uint32_t> rules; // in order; bit i of a mask is rules[i]
    std::vector<Ref> roots;
    Sieve all_parts;
    // The same, split by what a part follows from. Only for kinds of up to 64 rules.
    Sieve of_process, of_path;
    Sieve not_of_process, not_of_path, of_neither;

    [[nodiscard]] std::array<Sieve*, 6> sieves() {
        return {&all_parts, &of_process, &of_path, &not_of_process, &not_of_path, &of_neither};
    }
    std::vector<std::uint64_t> all;       // masks
    std::vector<std::uint64_t> path_view; // rules that can match another way by the reached path
    bool any_path_view = false;
    std::uint64_t events = 0;
    std::uint64_t sort_at = 64;
};

void sort_parts(Sieve& sieve) {
    constexpr float kCost = 8;
    sort_gates(sieve.gates);
    std::size_t before = 0;
    for (Membership& one : sieve.memberships) {
        const float order = kCost / (static_cast<float>(std::popcount(one.out_other)) + 0.05F);
        while (before < sieve.gates.size() && order_of(sieve.gates[before]) < order)
            ++before;
        one.before = before;
    }
}

// Sorts by what was seen, which is then worth half.
void sort_again(Sieve& sieve, bool forget) {
    sort_parts(sieve);
    if (!forget) return;
    for (Gate& gate : sieve.gates) {
        gate.asked /= 2;
        gate.failed /= 2;
    }
}

bool selected(const EngineOptions::Selection& selection, const rules::Rule& rule) {
    if (!selection.tag.empty() && !rule.tags.contains(selection.tag)) return false;
    return selection.rule.empty() ? !selection.tag.empty()
                                  : glob_match(selection.rule, rule.name, false);
}

bool is_enabled(const rules::Rule& rule, const EngineOptions& options) {
    bool enabled = rule.enabled;
    for (const EngineOptions::Selection& selection : options.selections)
        if (selected(selection, rule)) enabled = selection.enable;
    return enabled;
}

bool applies(const EngineOptions::Append& append, const rules::Rule& rule) {
    return (append.source.empty() || append.source == rule.source) &&
           (append.rule.empty() || append.rule == rule.name) &&
           std::all_of(append.tags.begin(), append.tags.end(),
                       [&](const std::string& tag) { return rule.tags.contains(tag); });
}

std::string suggested_text(const EngineOptions& options) {
    std::string out;
    for (const FieldRow& row : field_table()) {
        if ((row.flags & kSuggested) == 0) continue;
        std::string name(row.name);
        std::replace(name.begin(), name.end(), '.', '_');
        out += fmt::format(" {}=%{}", name, row.name);
    }
    for (const auto& [name, value] : options.static_fields)
        out += fmt::format(" static_{}=%static.{}", name, name);
    return out;
}

} // namespace

struct Engine::State {
    EngineOptions options;
    std::shared_ptr<const HostFacts> host;
    const ProcessTree* tree = nullptr;
    Program program;
    std::vector<CompiledRule> rules;
    std::vector<KindProgram> kinds{BL_EVENT_KIND_MAX};
    Capture capture;
    Scene scene;
    std::vector<std::uint64_t> alive, reached_alive;
    std::vector<std::uint64_t> part = {0};
    ProcessMemo process_memo;
    PathMemo path_memo;
    std::uint64_t events = 0;

    Result<> compile_rule(const rules::Rule& rule);
    Result<> compile_output(const rules::Rule& rule, CompiledRule& out) const;
    void index(std::size_t rule, const EventTypes& types);
    void make_gates(KindProgram& kind);
    void split_gates(KindProgram& kind) const;
    void make_memberships(Sieve& sieve);
    void make_capture();
    void want_state(unsigned flags);

    void sift(Sieve& sieve, std::size_t words, std::vector<std::uint64_t>& mask);
    void judge(KindProgram& kind, std::vector<std::uint64_t>& mask);
    Remembered* of_process(const Event& event);
    Remembered* of_path(const Event& event);
    void complete(Remembered& known, Sieve& sieve, std::uint64_t all);
    void sample(KindProgram& kind);
    void alert(std::uint32_t rule, const Engine::Sink& sink);
};

Result<> Engine::State::compile_output(const rules::Rule& rule, CompiledRule& out) const {
    std::string text = rule.output;
    bool suggested = options.suggested_output;
    for (const EngineOptions::Append& append : options.appends) {
        if (!applies(append, rule)) continue;
        if (!append.extra_output.empty()) text += ' ' + append.extra_output;
        suggested |= append.suggested;
        for (const auto& [name, value] : append.extra_fields)
            out.extra.emplace_back(name, TRY(Template::parse(value)));
    }
    if (suggested) text += suggested_text(options);
    out.output = TRY(Template::parse(text));
    return {};
}

Result<> Engine::State::compile_rule(const rules::Rule& rule) {
    CompiledRule out;
    out.name = rule.name;
    out.source = rule.source;
    out.priority = rule.priority;
    out.tags.assign(rule.tags.begin(), rule.tags.end());
    out.enabled = is_enabled(rule, options);
    if (auto made = compile_output(rule, out); !made)
        return Failure(made.error().with(fmt::format("output of rule {}", rule.name)));
    if (rule.condition == nullptr)
        return fail(Code::invalid, "rule {} has no condition", rule.name);
    auto condition = program.add(*rule.condition);
    if (!condition) return Failure(condition.error().with(fmt::format("rule {}", rule.name)));
    out.condition = *condition;
    const std::size_t number = rules.size();
    rules.push_back(std::move(out));
    index(number, event_types(*rule.condition));
    return {};
}

void Engine::State::index(std::size_t rule, const EventTypes& types) {
    for (std::uint16_t kind = 0; kind < BL_EVENT_KIND_MAX; ++kind) {
        if (!kind_is_event(kind) || !can_match(types, kind)) continue;
        const Ref root = program.fold(rules[rule].condition, kind);
        if (root == kFalse) continue;
        rules[rule].kinds.push_back(kind);
        if (!rules[rule].enabled) continue;
        kinds[kind].rules.push_back(static_cast<std::uint32_t>(rule));
        kinds[kind].roots.push_back(root);
    }
}

void Engine::State::make_gates(KindProgram& kind) {
    const std::size_t words = (kind.rules.size() + 63) / 64;
    kind.all.assign(words, 0);
    kind.path_view.assign(words, 0);
    std::map<Ref, std::map<std::uint32_t, std::uint64_t>> masks;
    for (std::size_t i = 0; i < kind.rules.size(); ++i) {
        const auto word = static_cast<std::uint32_t>(i / 64);
        const std::uint64_t bit = std::uint64_t{1} << (i % 64);
        kind.all[word] |= bit;
        if (program.node(kind.roots[i]).path_view) {
            kind.path_view[word] |= bit;
            kind.any_path_view = true;
        }
        for (const Ref part : program.conjuncts(kind.roots[i]))
            if (part != kTrue) masks[part][word] |= bit;
    }
    for (const auto& [ref, words_of] : masks) {
        Gate gate;
        gate.ref = ref;
        gate.cost = program.node(ref).cost;
        // What a rule leaves out is rare: `not x`, and `not (x and y)`, which is an `any` of negations.
        const Program::Node& node = program.node(ref);
        if ((ref & 1) != 0 || (node.kind == Program::Kind::any &&
                               std::any_of(node.children.begin(), node.children.end(),
                                           [](Ref child) { return (child & 1) != 0; })))
            gate.guess = 0.02F;
        for (const auto& [word, bits] : words_of) {
            gate.rules += static_cast<std::uint32_t>(std::popcount(bits));
            if (gate.bits == 0) {
                gate.word = word;
                gate.bits = bits;
            } else {
                gate.more.emplace_back(word, bits);
            }
        }
        kind.all_parts.gates.push_back(std::move(gate));
    }
    if (words == 1) split_gates(kind);
    for (Sieve* sieve : kind.sieves()) {
        if (words == 1) make_memberships(*sieve);
        sort_parts(*sieve);
    }
}

void Engine::State::split_gates(KindProgram& kind) const {
    for (const Gate& gate : kind.all_parts.gates) {
        const bool process = program.node(gate.ref).of_process;
        const bool path = !process && program.node(gate.ref).of_path;
        if (process) kind.of_process.gates.push_back(gate);
        if (path) kind.of_path.gates.push_back(gate);
        if (!process) kind.not_of_process.gates.push_back(gate);
        if (!path) kind.not_of_path.gates.push_back(gate);
        if (!process && !path) kind.of_neither.gates.push_back(gate);
    }
}

void Engine::State::make_memberships(Sieve& sieve) {
    constexpr std::size_t kWorthwhile = 3;
    std::map<std::string, std::vector<Gate>> groups;
    for (const Gate& gate : sieve.gates)
        if (program.is_member(gate.ref))
            groups[program.check(program.node(gate.ref)).left.text].push_back(gate);
    for (const auto& [text, gates] : groups) {
        if (gates.size() < kWorthwhile) continue;
        Membership made;
        made.any = gates.front().ref;
        for (const Gate& gate : gates) {
            made.rules |= gate.bits;
            if ((gate.ref & 1) == 0) made.out_other |= gate.bits;
            for (const std::string& value : program.check(program.node(gate.ref)).texts)
                made.texts.add(value);
        }
        made.texts.prepare();
        for (const std::string& value : made.texts.texts()) {
            std::uint64_t out = 0;
            for (const Gate& gate : gates) {
                const auto& listed = program.check(program.node(gate.ref)).texts;
                const bool in = std::find(listed.begin(), listed.end(), value) != listed.end();
                if (in == ((gate.ref & 1) != 0)) out |= gate.bits;
            }
            made.out.push_back(out);
        }
        std::erase_if(sieve.gates, [&](const Gate& gate) {
            return std::any_of(gates.begin(), gates.end(),
                               [&](const Gate& one) { return one.ref == gate.ref; });
        });
        sieve.memberships.push_back(std::move(made));
    }
    // What rules out most, first.
    std::sort(sieve.memberships.begin(), sieve.memberships.end(),
              [](const Membership& a, const Membership& b) {
                  const int x = std::popcount(a.out_other), y = std::popcount(b.out_other);
                  return x != y ? x > y : a.any < b.any;
              });
}

// Events that keep the process tree true for the fields in use.
void Engine::State::want_state(unsigned flags) {
    std::vector<std::uint16_t> wanted = {BL_EVENT_proc, BL_EVENT_execve, BL_EVENT_clone,
                                         BL_EVENT_procexit};
    const auto add = [&](std::initializer_list<std::uint16_t> more) {
        wanted.insert(wanted.end(), more);
    };
    if ((flags & kNeedsCwd) != 0) add({BL_EVENT_chdir, BL_EVENT_fchdir});
    if ((flags & kNeedsSession) != 0) add({BL_EVENT_setsid});
    if ((flags & kNeedsGroup) != 0) add({BL_EVENT_setsid, BL_EVENT_setpgid});
    if ((flags & kNeedsCredentials) != 0)
        add({BL_EVENT_capset, BL_EVENT_setuid, BL_EVENT_setreuid, BL_EVENT_setresuid,
             BL_EVENT_setfsuid});
    for (const std::uint16_t kind : wanted) {
        Capture::Kind& row = capture.kinds[kind];
        row = Capture::Kind{
            .want = row.want & (BL_WANT_DATA | BL_WANT_ENV), .path_any = 0, .comms = {}};
        row.want |= BL_WANT_ON;
    }
    // Only what happened changes a state; rules may still want failures.
    for (const std::uint16_t kind :
         {std::uint16_t{BL_EVENT_execve}, std::uint16_t{BL_EVENT_execveat},
          std::uint16_t{BL_EVENT_chdir}, std::uint16_t{BL_EVENT_fchdir},
          std::uint16_t{BL_EVENT_setsid}, std::uint16_t{BL_EVENT_setpgid},
          std::uint16_t{BL_EVENT_capset}, std::uint16_t{BL_EVENT_setuid},
          std::uint16_t{BL_EVENT_setreuid}, std::uint16_t{BL_EVENT_setresuid},
          std::uint16_t{BL_EVENT_setfsuid}}) {
        if ((capture.kinds[kind].want & BL_WANT_ON) != 0 && kinds[kind].rules.empty())
            capture.kinds[kind].want |= BL_WANT_SUCCESS;
    }
    if ((flags & kNeedsEnvironment) != 0) capture.kinds[BL_EVENT_execve].want |= BL_WANT_ENV;
}

void Engine::State::make_capture() {
    // Without a rule nothing has to run.
    if (std::none_of(rules.begin(), rules.end(), [](const CompiledRule& r) { return r.enabled; }))
        return;
    std::vector<std::string> seen(rules.size());
    unsigned flags = 0;
    for (const CompiledRule& rule : rules) {
        if (!rule.enabled) continue;
        flags |= rule.output.flags();
        for (const auto& [name, value] : rule.extra)
            flags |= value.flags();
    }
    for (std::uint16_t kind = 0; kind < BL_EVENT_KIND_MAX; ++kind) {
        KindProgram& program_of = kinds[kind];
        if (program_of.rules.empty()) continue;
        if (kind == BL_EVENT_flow) { // not of the kernel's sensors
            capture.kinds[kind].want = BL_WANT_ON;
            continue;
        }
        std::vector<Need> needs;
        for (std::size_t i = 0; i < program_of.rules.size(); ++i) {
            const std::vector<Need> some = needs_of(program, program_of.roots[i], kind);
            const std::string text = describe(some);
            std::string& shown = seen[program_of.rules[i]];
            if (shown.empty() && text != "never") shown = text;
            needs.insert(needs.end(), some.begin(), some.end());
        }
        push_down(kind, needs, capture);
    }
    // Flags of fields in conditions of enabled rules.
    std::vector<bool> visited(program.size());
    const auto visit = [&](auto&& self, Ref ref) -> unsigned {
        if (visited[ref / 2]) return 0;
        visited[ref / 2] = true;
        const Program::Node& node = program.node(ref);
        unsigned out = 0;
        if (node.kind == Program::Kind::check) {
            const Check& check = program.check(node);
            out = check.left.flags | (check.right ? check.right->flags : 0);
        }
        for (const Ref child : node.children)
            out |= self(self, child);
        return out;
    };
    for (std::uint16_t kind = 0; kind < BL_EVENT_KIND_MAX; ++kind) {
        std::fill(visited.begin(), visited.end(), false);
        unsigned of_kind = 0;
        for (const Ref root : kinds[kind].roots)
            of_kind |= visit(visit, root);
        flags |= of_kind;
        for (const std::uint32_t rule : kinds[kind].rules)
            of_kind |= rules[rule].output.flags();
        if ((of_kind & kNeedsData) != 0 && (capture.kinds[kind].want & BL_WANT_ON) != 0)
            capture.kinds[kind].want |= BL_WANT_DATA;
    }
    want_state(flags);

    std::map<std::tuple<std::string, bool, bool>, std::uint32_t> paths;
    for (const Capture::PathText& text : capture.paths)
        paths[{text.text, text.at_start, text.at_end}] |= text.classes;
    capture.paths.clear();
    for (const auto& [key, classes] : paths)
        capture.paths.push_back({.text = std::get<0>(key),
                                 .at_start = std::get<1>(key),
                                 .at_end = std::get<2>(key),
                                 .classes = classes});
    for (std::size_t i = 0; i < rules.size(); ++i)
        rules[i].pushed_down = seen[i];
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::compile(const rules::RuleSet& set,
                                                const EngineOptions& options,
                                                std::shared_ptr<const HostFacts> host,
                                                const ProcessTree& tree) {
    auto state = std::make_unique<State>();
    state->options = options;
    state->host = std::move(host);
    state->tree = &tree;
    for (const rules::Rule& rule : set.rules) {
        if (rule.priority > options.least) continue;
        TRY(state->compile_rule(rule));
    }
    for (KindProgram& kind : state->kinds)
        if (!kind.rules.empty()) state->make_gates(kind);
    state->make_capture();
    state->program.finish();
    std::size_t words = 1;
    for (const KindProgram& kind : state->kinds)
        words = std::max(words, kind.all.size());
    state->alive.assign(words, 0);
    state->reached_alive.assign(words, 0);
    state->scene.host = state->host.get();
    state->scene.tree = state->tree;
    state->scene.statics = &state->options.static_fields;
    return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

// Takes the rules out of `mask` that one of their parts rules out.
void Engine::State::sift(Sieve& sieve, std::size_t words, std::vector<std::uint64_t>& mask) {
    std::size_t left = 0;
    for (std::size_t i = 0; i < words; ++i)
        left += mask[i] != 0 ? 1 : 0;
    std::size_t next = 0; // membership
    const auto look = [&](const Membership& one) {
        if ((mask[0] & one.rules) == 0) return;
        const Value* value = program.value_of(one.any);
        const std::uint32_t place = value == nullptr ? TextSet::kNone : one.texts.find(value->text);
        mask[0] &= ~(place == TextSet::kNone ? one.out_other : one.out[place]);
        left = mask[0] != 0 ? 1 : 0;
    };
    for (std::size_t at = 0; at < sieve.gates.size(); ++at) {
        while (next < sieve.memberships.size() && sieve.memberships[next].before <= at)
            look(sieve.memberships[next++]);
        if (left == 0) return;
        Gate& gate = sieve.gates[at];
        bool needed = (mask[gate.word] & gate.bits) != 0;
        for (const auto& [word, bits] : gate.more)
            needed |= (mask[word] & bits) != 0;
        if (!needed) continue;
        ++gate.asked;
        if (program.holds(gate.ref)) continue;
        ++gate.failed;
        const auto clear = [&](std::uint32_t word, std::uint64_t bits) {
            if ((mask[word] & bits) == 0) return;
            mask[word] &= ~bits;
            left -= mask[word] == 0 ? 1 : 0;
        };
        clear(gate.word, gate.bits);
        for (const auto& [word, bits] : gate.more)
            clear(word, bits);
    }
    while (next < sieve.memberships.size())
        look(sieve.memberships[next++]);
}

Remembered* Engine::State::of_process(const Event& event) {
    const Process* process = event.process;
    if (process == nullptr || process->facts == 0) return nullptr;
    return &process_memo.at(process->facts, event.head.kind);
}

// All that the fields of Program's of_path look at, in the present view.
Remembered* Engine::State::of_path(const Event& event) {
    const std::uint16_t kind = event.head.kind;
    if (!kind_is_open(kind)) return nullptr;
    const std::string_view asked = event.text[BL_STR_PATH];
    const bool relative = asked.empty() || asked.front() != '/';
    // Then the directory of the process is looked at.
    if (event.has(BL_STR_PATH) && relative && event.text[BL_STR_BASE].empty()) return nullptr;
    const auto& num = event.head.num;
    const unsigned at = kind == BL_EVENT_open || kind == BL_EVENT_creat ? 1
                        : kind == BL_EVENT_openat2                      ? 4
                                                                        : 2;
    PathMemo::Key key;
    key.add(num[at]);
    key.add(num[at + 1]);
    key.add(event.head.result < 0 ? event.head.result : 0);
    key.add(kind);
    key.add(event.file != nullptr ? event.file->mode : std::uint16_t{0});
    key.add(event.file != nullptr ? event.file->flags : std::uint16_t{0});
    key.add(static_cast<std::uint16_t>((scene.reached ? 1 : 0) | (event.file != nullptr ? 2 : 0) |
                                       (event.has(BL_STR_PATH) ? 4 : 0) |
                                       (event.has(BL_STR_RESOLVED) ? 8 : 0)));
    key.add(asked);
    key.add(relative ? event.text[BL_STR_BASE] : std::string_view());
    key.add(scene.reached || !event.has(BL_STR_PATH) ? event.text[BL_STR_RESOLVED]
                                                     : std::string_view());
    return key.fits() ? &path_memo.at(key) : nullptr;
}

void Engine::State::complete(Remembered& known, Sieve& sieve, std::uint64_t all) {
    if (known.judged || !known.met) {
        known.met = true;
        return;
    }
    part[0] = all;
    sift(sieve, 1, part);
    known.mask = part[0];
    known.judged = true;
}

// Takes the rules out of `mask` that this event, in the present view, does not match.
void Engine::State::judge(KindProgram& kind, std::vector<std::uint64_t>& mask) {
    const std::size_t words = kind.all.size();
    if (words != 1) {
        sift(kind.all_parts, words, mask);
        return;
    }
    const Event& event = *scene.event;
    Remembered* process = of_process(event);
    if (process != nullptr) {
        complete(*process, kind.of_process, kind.all[0]);
        if (process->judged) mask[0] &= process->mask;
        if (mask[0] == 0) return;
    }
    Remembered* path = of_path(event);
    if (path != nullptr) {
        complete(*path, kind.of_path, kind.all[0]);
        if (path->judged) mask[0] &= path->mask;
        if (mask[0] == 0) return;
    }
    const bool knows_process = process != nullptr && process->judged;
    const bool knows_path = path != nullptr && path->judged;
    sift(knows_process ? knows_path ? kind.of_neither : kind.not_of_process
         : knows_path  ? kind.not_of_path
                       : kind.all_parts,
         1, mask);
}

// Times each rule of this kind alone.
void Engine::State::sample(KindProgram& kind) {
    for (std::size_t i = 0; i < kind.rules.size(); ++i) {
        program.start(scene);
        const std::uint64_t start = now_ns();
        (void)program.holds(kind.roots[i]);
        CompiledRule& rule = rules[kind.rules[i]];
        rule.sampled_ns += now_ns() - start;
        ++rule.sampled_events;
    }
}

void Engine::State::alert(std::uint32_t index, const Engine::Sink& sink) {
    CompiledRule& rule = rules[index];
    ++rule.matches;
    const Event& event = *scene.event;
    model::Alert out;
    out.time_ns = event.time_ns;
    out.rule = rule.name;
    out.source = rule.source;
    out.priority = rule.priority;
    out.tags = rule.tags;
    out.hostname = host->hostname;
    rule.output.format(scene, out.message);
    out.fields.reserve(rule.output.field_count() + rule.extra.size() + 1);
    rule.output.values(scene, out.fields);
    for (const auto& [name, value] : rule.extra) {
        std::string text;
        value.format(scene, text);
        out.fields.emplace_back(name, std::move(text));
    }
    out.fields.emplace_back("evt.time", std::int64_t{event.time_ns});
    const auto by_name = [](const auto& a, const auto& b) { return a.first < b.first; };
    // Those of the output are in order already.
    if (rule.extra.empty()) {
        std::inplace_merge(out.fields.begin(), out.fields.end() - 1, out.fields.end(), by_name);
    } else {
        std::stable_sort(out.fields.begin(), out.fields.end(), by_name);
    }
    out.fields.erase(std::unique(out.fields.begin(), out.fields.end(),
                                 [](const auto& a, const auto& b) { return a.first == b.first; }),
                     out.fields.end());
    out.event = std::string(kind_text(event.head.kind));
    if (const Process* process = scene.process; process != nullptr) {
        out.workload = process->workload;
        if (process->container) out.container = process->container->id;
        out.pid = process->key.pid;
        out.start_ns = process->key.start_ns;
        for (const Process* at = process; at != nullptr && out.ancestors.size() < kDeepestShown;
             at = at->parent)
            out.ancestors.push_back({.pid = at->key.pid,
                                     .name = at->name,
                                     .exepath = at->image->exepath,
                                     .cmdline = at->cmdline});
    }
    sink(std::move(out));
}

void Engine::evaluate(const Event& event, const Sink& sink) {
    State& state = *state_;
    if (event.head.kind >= BL_EVENT_KIND_MAX) return;
    KindProgram& kind = state.kinds[event.head.kind];
    if (kind.rules.empty()) return;
    ++kind.events;
    // The order of the gates changes nothing but the time.
    if (kind.events == kind.sort_at) {
        kind.sort_at = kind.sort_at < kSortLast ? kind.sort_at * 4 : kind.sort_at + kSortLast;
        for (Sieve* sieve : kind.sieves())
            sort_again(*sieve, kind.sort_at > kSortLast);
    }
    state.scene.set(event);
    if (++state.events % kSampleEvery == 0) state.sample(kind);
    state.program.start(state.scene);
    const std::size_t words = kind.all.size();
    std::copy(kind.all.begin(), kind.all.end(), state.alive.begin());
    state.judge(kind, state.alive);

    // The file that was reached, where it is not the one that was asked for by name.
    bool second = false;
    if (kind.any_path_view && event.has(BL_STR_RESOLVED) && event.has(BL_STR_PATH) &&
        kind_shape(event.head.kind) != BL_SHAPE_exec) {
        state.scene.reached = false;
        second = event.text[BL_STR_PATH] != event.text[BL_STR_RESOLVED] &&
                 absolute_path(state.scene, event.text[BL_STR_PATH], event.text[BL_STR_BASE]) !=
                     event.text[BL_STR_RESOLVED];
    }
    if (second) {
        state.scene.reached = true;
        state.program.reached();
        std::copy(kind.path_view.begin(), kind.path_view.end(), state.reached_alive.begin());
        state.judge(kind, state.reached_alive);
    } else {
        std::fill_n(state.reached_alive.begin(), words, 0);
    }
    for (std::size_t word = 0; word < words; ++word) {
        std::uint64_t hits = state.alive[word] | state.reached_alive[word];
        while (hits != 0) {
            const auto bit = static_cast<unsigned>(std::countr_zero(hits));
            hits &= hits - 1;
            state.scene.reached = (state.alive[word] >> bit & 1) == 0;
            state.alert(kind.rules[word * 64 + bit], sink);
            if (!state.options.match_all) return;
        }
    }
}

const Capture& Engine::capture() const { return state_->capture; }

std::vector<RuleStats> Engine::stats() const {
    std::vector<RuleStats> out;
    for (const CompiledRule& rule : state_->rules) {
        RuleStats row;
        row.name = rule.name;
        row.source = rule.source;
        row.priority = rule.priority;
        row.tags = rule.tags;
        row.enabled = rule.enabled;
        for (const std::uint16_t kind : rule.kinds) {
            row.kinds.emplace_back(kind_text(kind));
            if (rule.enabled) row.events += state_->kinds[kind].events;
        }
        row.pushed_down = rule.pushed_down;
        row.matches = rule.matches;
        row.sampled_ns = rule.sampled_ns;
        row.sampled_events = rule.sampled_events;
        out.push_back(std::move(row));
    }
    return out;
}

std::vector<std::string> Engine::names() const {
    std::set<std::string> out;
    for (const Check& check : state_->program.checks())
        if ((check.left.flags & kHostNames) != 0)
            out.insert(check.texts.begin(), check.texts.end());
    return {out.begin(), out.end()};
}

void Engine::set_host(std::shared_ptr<const HostFacts> host) {
    state_->host = std::move(host);
    state_->scene.host = state_->host.get();
    state_->process_memo.clear();
    state_->path_memo.clear();
}

} // namespace beeline::security
