// What stands in a rule file: its lists, macros and rules as written, before they are merged with those of other files.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/alert.h"
#include "security/rules/report.h"
#include "security/rules/yaml.h"

namespace beeline::security::rules {

// Scalars of all files; they stay where they are.
using Scalars = std::deque<Scalar>;

struct Exception {
    struct Element {
        bool list = false;
        std::vector<const Scalar*> scalars; // one unless it is a list
    };
    struct Tuple {
        bool list = false;
        const Scalar* place = nullptr; // of a list
        std::vector<Element> elements;
    };
    const Scalar* name = nullptr;
    Spot spot;
    bool has_fields = false;
    bool has_comps = false;
    bool single = false; // `fields` is no list: values are a flat list
    bool single_comp = false;
    std::vector<const Scalar*> fields;
    std::vector<const Scalar*> comps;
    std::vector<Tuple> values;
};

enum class Override : std::uint8_t { append, replace };

struct ListItem {
    const Scalar* name = nullptr;
    Spot spot;
    std::vector<const Scalar*> items;
    bool append = false; // also from override
    bool update = false; // append or replace by override: there must be an earlier one
};

struct MacroItem {
    const Scalar* name = nullptr;
    Spot spot;
    const Scalar* condition = nullptr;
    bool append = false;
    bool update = false;
};

// Absent keys are null or nothing.
struct RuleItem {
    enum class Kind : std::uint8_t { definition, append, override, toggle };
    Kind kind = Kind::definition;
    const Scalar* name = nullptr;
    Spot spot;
    std::map<std::string, Override, std::less<>> overrides;
    const Scalar* description = nullptr;
    const Scalar* condition = nullptr;
    const Scalar* output = nullptr;
    const Scalar* source = nullptr;
    std::optional<model::Priority> priority;
    std::optional<std::vector<const Scalar*>> tags;
    std::optional<std::vector<Exception>> exceptions;
    std::optional<bool> enabled;
    std::optional<bool> warn_evttypes;
    std::optional<bool> skip_if_unknown_filter;
    std::optional<bool> capture;
    std::optional<std::uint64_t> capture_duration_ms;
};

struct PluginVersion {
    const Scalar* name = nullptr;
    const Scalar* version = nullptr;
};
struct EngineVersionItem {
    Spot spot;
    const Scalar* version = nullptr;
};
struct PluginVersionsItem {
    Spot spot;
    std::vector<std::vector<PluginVersion>> plugins; // each with its alternatives
};

using Item = std::variant<EngineVersionItem, PluginVersionsItem, ListItem, MacroItem, RuleItem>;

// Items whose shape is wrong are reported and left out.
std::vector<Item> read_items(const SourceFile& file, Scalars& scalars, Report& report);

} // namespace beeline::security::rules
