// Rules -> a program that judges events; and what the program needs from the kernel.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/alert.h"
#include "security/events/capture.h"
#include "security/events/event.h"
#include "security/events/host.h"
#include "security/events/process_tree.h"
#include "security/rules/rule_set.h"

namespace beeline::security {

// Facts of the machine that fields need. Immutable.
struct HostFacts : HostNames {
    // fd.sip.name and the like: names -> addresses, looked up in the background.
    std::map<std::string, std::vector<std::string>> resolved;
};

struct EngineOptions {
    bool match_all = false;                         // rule_matching: all
    model::Priority least = model::Priority::debug; // rules less severe are left out
    struct Selection {
        bool enable = false;
        std::string rule; // with * and ?; empty: by tag
        std::string tag;
    };
    std::vector<Selection> selections; // in order
    bool suggested_output = true;      // append_output: suggested_output
    struct Append {
        std::string source, rule; // empty: every
        std::vector<std::string> tags;
        std::string extra_output;
        std::map<std::string, std::string> extra_fields; // name -> template
        bool suggested = false;
    };
    std::vector<Append> appends;
    std::map<std::string, std::string> static_fields; // static.k
};

struct RuleStats {
    std::string name;
    std::string source;
    model::Priority priority = model::Priority::debug;
    std::vector<std::string> tags;
    bool enabled = true;
    std::vector<std::string> kinds; // evt.type names it can match
    std::string pushed_down;        // for people: what the kernel decides already
    std::uint64_t events = 0;       // events it was evaluated for
    std::uint64_t matches = 0;
    std::uint64_t sampled_ns = 0;     // time of the sampled evaluations
    std::uint64_t sampled_events = 0; // one in 1024 is timed
};

struct FieldInfo {
    std::string name;
    std::string type;     // "string", "uint64", ...
    std::string argument; // "", "optional", "required"
    bool list = false;
    std::string description; // one line
};

// One thread. Compiled once; a new rule set is a new engine.
class Engine {
public:
    // Every field and check of the language, for the loader and `rules fields`.
    static const rules::Catalog& catalog();
    static std::vector<FieldInfo> fields();

    static Result<std::unique_ptr<Engine>> compile(const rules::RuleSet& rules,
                                                   const EngineOptions& options,
                                                   std::shared_ptr<const HostFacts> host,
                                                   const ProcessTree& tree);
    ~Engine();

    using Sink = std::function<void(model::Alert&&)>;
    // Calls `sink` for each match (the first only, unless match_all). Allocates only when a rule matches.
    void evaluate(const Event& event, const Sink& sink);

    // Empty when no rule is enabled.
    [[nodiscard]] const Capture& capture() const;
    [[nodiscard]] std::vector<RuleStats> stats() const;
    // Names that rules compare fd.sip.name and its like with: to be looked up for HostFacts::resolved.
    [[nodiscard]] std::vector<std::string> names() const;
    void set_host(std::shared_ptr<const HostFacts> host);

private:
    struct State;
    explicit Engine(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// A line of text or JSON as users of Falco know them (rules page, section 3); Beeline's own fields only in JSON, under "beeline".
std::string alert_text(const model::Alert& alert, bool iso_8601 = false);
std::string alert_json(const model::Alert& alert, bool iso_8601 = false, bool own_fields = true);

} // namespace beeline::security
