// Lists, macros and rules of all files read so far, merged.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "security/rules/items.h"

namespace beeline::security::rules {

// An index tells when it was first defined, the last index when it was last changed; one count for all kinds.
struct Definition {
    const Scalar* name = nullptr;
    Spot spot; // of the last definition
    std::uint32_t index = 0;
    std::uint32_t last_index = 0;
    bool warned = false; // what is known of it as it is now was said
};

// A condition with its lists expanded, parsed. Kept from file to file while it reads the same.
struct Condition {
    MappedText text;
    NodePtr node;              // null: wrong, which was reported
    std::uint32_t changed = 0; // the file, counted from 1, since which it reads so
};

struct ListDefinition : Definition {
    std::vector<const Scalar*> items;
};

struct MacroDefinition : Definition {
    MappedText condition;
    Condition compiled;
};

struct RuleDefinition : Definition {
    std::string source = "syscall";
    bool unknown_source = false;
    std::string description;
    MappedText condition;
    MappedText output;
    Condition compiled;    // with its exceptions
    bool checked = false;  // good as it is, unless a macro of its condition changes
    bool left_out = false; // for something unknown
    model::Priority priority = model::Priority::debug;
    std::set<std::string> tags;
    std::vector<Exception> exceptions;
    bool enabled = true;
    bool warn_evttypes = true;
    bool skip_if_unknown_filter = false;
    bool capture = false;
    std::uint64_t capture_duration_ms = 0;
};

template <typename T>
struct Named {
    std::vector<T> all; // in the order of their first definition
    std::unordered_map<std::string_view, std::size_t> names;

    T* find(std::string_view name) {
        const auto found = names.find(name);
        return found == names.end() ? nullptr : &all[found->second];
    }
};

struct Definitions {
    Scalars scalars;
    Named<ListDefinition> lists;
    Named<MacroDefinition> macros;
    Named<RuleDefinition> rules;
    std::map<std::string, std::string> required_plugins;
    std::uint32_t next_index = 0;
};

// What does not fit what is there already is reported and left out.
void collect(Definitions& definitions, const std::vector<Item>& items, const Catalog& catalog,
             Report& report);

} // namespace beeline::security::rules
