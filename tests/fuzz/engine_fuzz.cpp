// libs: beeline_security_engine
// Records: whatever the bytes are, decode refuses them or every official rule can be judged on them, and alerts are valid JSON.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include <nlohmann/json.hpp>

#include "security/engine/engine.h"
#include "security/engine/fields.h"

using namespace beeline;
using namespace beeline::security;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

// A rule that prints every field, and one that compares texts.
const rules::RuleSet& rule_set() {
    static const rules::LoadResult kLoaded = [] {
        std::string text =
            "- rule: all fields\n  desc: d\n  condition: evt.num > 0\n  warn_evttypes: false\n"
            "  priority: NOTICE\n  output: \"";
        for (const FieldInfo& field : Engine::fields())
            if (field.argument != "required" &&
                Engine::catalog().check_output("%" + field.name, "syscall").empty())
                text += "%" + field.name + " ";
        text += "%proc.aname[3] %proc.args[1] %proc.env[PATH] %evt.arg[0] %evt.arg[1] "
                "%tolower(fd.name) %b64(proc.args)\"\n";
        text += "- rule: texts\n  desc: d\n  condition: >\n    evt.type != x_never and (fd.name "
                "glob '*[a-z]*' or fd.name pmatch (/etc, /h*/x) or"
                " proc.cmdline regex '.*(a|b)+.*' or evt.buffer bcontains 00 or evt.args icontains "
                "etc)\n"
                "  output: o\n  priority: NOTICE\n";
        const std::string cut = "evt.type != x_never and ";
        text.erase(text.find(cut), cut.size());
        rules::LoadResult loaded =
            rules::load({{.name = "fuzz.yaml", .text = text, .read_error = ""}}, Engine::catalog());
        require(loaded.successful());
        return loaded;
    }();
    return kLoaded.set;
}

struct World {
    World()
        : tree(ProcessTree::Options{.limit = 256,
                                    .keep_exited_ns = 1'000'000'000,
                                    .boot_time_ns = 0},
               [this](std::uint64_t cgroup) {
                   Placement out;
                   if (cgroup % 2 == 1) out.container = container;
                   return out;
               }) {
        container = std::make_shared<Container>();
        container->id = "0123456789ab";
        container->complete = true;
        auto facts = std::make_shared<HostFacts>();
        facts->hostname = "h";
        EngineOptions options;
        options.match_all = true;
        auto made = Engine::compile(rule_set(), options, facts, tree);
        require(made.has_value());
        engine = std::move(*made);
    }
    std::shared_ptr<Container> container;
    ProcessTree tree;
    std::unique_ptr<Engine> engine;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    World world;
    // Records one behind the other, each with its size in its head; a bad size takes the rest.
    while (size != 0) {
        std::size_t length = size;
        if (size >= sizeof(bl_event)) {
            bl_event head;
            std::memcpy(&head, data, sizeof head);
            if (head.size >= sizeof head && head.size <= size) length = head.size;
        }
        std::vector<std::uint64_t> aligned((length + 7) / 8);
        std::memcpy(aligned.data(), data, length);
        Event event;
        if (decode(std::as_bytes(std::span(aligned)).first(length), event) == DecodeError::none) {
            world.tree.apply(event);
            int alerts = 0;
            world.engine->evaluate(event, [&](model::Alert&& alert) {
                ++alerts;
                const auto json = nlohmann::json::parse(alert_json(alert), nullptr, false);
                require(json.is_object() && json.contains("output_fields"));
                require(alert_text(alert).find('\n') == std::string::npos);
            });
            require(alerts <= 2);
            if (engine::kind_is_event(event.head.kind)) require(alerts >= 1);
        }
        data += length;
        size -= length;
    }
    return 0;
}
