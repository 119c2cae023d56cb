// YAML -> items: shapes, required keys, types of values. What an item refers to is not looked at here.
#include "security/rules/items.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <span>
#include <utility>

#include <fmt/format.h>

namespace beeline::security::rules {
namespace {

using yaml::Value;
using Kind = Value::Kind;

constexpr std::string_view kValidate = "LOAD_ERR_YAML_VALIDATE";

constexpr std::array<std::string_view, 5> kRuleAppendable = {"condition", "output", "desc", "tags",
                                                             "exceptions"};
constexpr std::array<std::string_view, 11> kRuleReplaceable = {"condition",
                                                               "output",
                                                               "desc",
                                                               "tags",
                                                               "exceptions",
                                                               "priority",
                                                               "enabled",
                                                               "capture",
                                                               "capture_duration",
                                                               "warn_evttypes",
                                                               "skip-if-unknown-filter"};

bool contains(std::span<const std::string_view> words, std::string_view word) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

std::optional<bool> parse_bool(std::string_view text) {
    static constexpr std::array<std::string_view, 11> kTrue = {
        "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"};
    static constexpr std::array<std::string_view, 11> kFalse = {
        "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"};
    if (text.empty()) return std::nullopt;
    if (contains(kTrue, text)) return true;
    if (contains(kFalse, text)) return false;
    return std::nullopt;
}

std::string_view kind_name(Kind kind) {
    switch (kind) {
    case Kind::null: return "nothing";
    case Kind::scalar: return "a single value";
    case Kind::list: return "a list";
    case Kind::map: break;
    }
    return "a mapping";
}

class Reader {
public:
    Reader(const SourceFile& file, Scalars& scalars, Report& report)
        : file_(file), scalars_(scalars), report_(report) {}

    std::vector<Item> run() {
        tree_ = yaml::parse(file_);
        if (!tree_.problem.empty()) {
            report_.error("LOAD_ERR_YAML_PARSE", {whole(tree_.position)}, tree_.problem);
            return {};
        }
        std::vector<Item> items;
        for (const std::uint32_t root : tree_.documents) {
            const Value& document = tree_.values[root];
            if (document.kind != Kind::list) {
                report_.error(
                    kValidate, {whole(document.position)},
                    fmt::format("rules are a list of items, found {}", kind_name(document.kind)));
                continue;
            }
            for (const std::uint32_t child : document.children)
                read_item(tree_.values[child], items);
        }
        return items;
    }

private:
    // A value that was asked for.
    struct Found {
        const Value* key = nullptr;
        const Value* value = nullptr;
        explicit operator bool() const { return value != nullptr; }
    };

    [[nodiscard]] Spot whole(Position position) const {
        return {"rules content", "", &file_, position};
    }
    void fail(const Value& at, std::string message) {
        report_.error(kValidate, trail_ + Spot{"", "", &file_, at.position}, std::move(message));
        good_ = false;
    }
    void fail(std::string message) {
        report_.error(kValidate, trail_, std::move(message));
        good_ = false;
    }

    [[nodiscard]] const Value& at(std::uint32_t index) const { return tree_.values[index]; }

    // The first of that name counts.
    [[nodiscard]] Found find(const Value& map, std::string_view key) const {
        for (std::size_t i = 0; i + 1 < map.children.size(); i += 2) {
            const Value& name = at(map.children[i]);
            if (name.kind == Kind::scalar && name.text == key)
                return {&name, &at(map.children[i + 1])};
        }
        return {};
    }
    // Absent keys and optional keys without a value give nothing.
    Found find(const Value& map, std::string_view key, bool required) {
        const Found found = find(map, key);
        if (!found) {
            if (required) fail(fmt::format("the key '{}' is missing", key));
            return {};
        }
        if (found.value->kind != Kind::null) return found;
        if (required) fail(*found.key, fmt::format("the key '{}' has no value", key));
        return {};
    }

    const Scalar* store(const Value& value) {
        return &scalars_.emplace_back(Scalar{&file_, value.text, value.position});
    }

    const Scalar* scalar_of(const Value& value, std::string_view what) {
        if (value.kind != Kind::scalar) {
            fail(value,
                 fmt::format("{}: expected a single value, found {}", what, kind_name(value.kind)));
            return nullptr;
        }
        return store(value);
    }
    const Scalar* scalar(const Value& map, std::string_view key, bool required) {
        const Found found = find(map, key, required);
        if (!found) return nullptr;
        const Scalar* const value = scalar_of(*found.value, key);
        if (value != nullptr && value->text.empty()) {
            fail(*found.value, fmt::format("the value of '{}' is empty", key));
            return nullptr;
        }
        return value;
    }
    std::optional<bool> boolean(const Value& map, std::string_view key) {
        const Scalar* const value = scalar(map, key, false);
        if (value == nullptr) return std::nullopt;
        const auto parsed = parse_bool(value->text);
        if (!parsed)
            fail(*find(map, key).value,
                 fmt::format("{}: expected true or false, found '{}'", key, shown(value->text)));
        return parsed;
    }
    std::optional<std::vector<const Scalar*>> scalars(const Value& map, std::string_view key,
                                                      bool required) {
        const Found found = find(map, key, required);
        if (!found) return std::nullopt;
        if (found.value->kind != Kind::list) {
            fail(*found.value,
                 fmt::format("{}: expected a list, found {}", key, kind_name(found.value->kind)));
            return std::nullopt;
        }
        return scalars_of(*found.value, key);
    }
    std::vector<const Scalar*> scalars_of(const Value& list, std::string_view what) {
        std::vector<const Scalar*> result;
        result.reserve(list.children.size());
        for (const std::uint32_t child : list.children) {
            if (const Scalar* const each = scalar_of(at(child), what)) result.push_back(each);
        }
        return result;
    }

    void warn_keys(const Value& map, std::span<const std::string_view> known) {
        std::set<std::string_view> seen;
        for (std::size_t i = 0; i + 1 < map.children.size(); i += 2) {
            const Value& key = at(map.children[i]);
            const Trail trail = trail_ + Spot{"", "", &file_, key.position};
            if (key.kind != Kind::scalar || !contains(known, key.text)) {
                report_.warning(
                    "LOAD_UNKNOWN_KEY", trail,
                    fmt::format("the key '{}' is unknown and ignored", shown(key.text)));
            } else if (!seen.insert(key.text).second) {
                report_.warning("LOAD_UNKNOWN_KEY", trail,
                                fmt::format("the key '{}' stands here twice; the first counts",
                                            shown(key.text)));
            }
        }
    }

    void read_item(const Value& value, std::vector<Item>& items) {
        if (value.kind == Kind::null) return;
        good_ = true;
        trail_ = {whole(value.position)};
        if (value.kind != Kind::map) {
            fail(fmt::format("an item is a mapping, found {}", kind_name(value.kind)));
            return;
        }
        if (find(value, "required_engine_version")) return read_engine_version(value, items);
        if (find(value, "required_plugin_versions")) return read_plugin_versions(value, items);
        if (find(value, "list")) return read_list(value, items);
        if (find(value, "macro")) return read_macro(value, items);
        if (find(value, "rule")) return read_rule(value, items);
        std::string name;
        if (!value.children.empty()) name = at(value.children.front()).text;
        report_.warning(
            "LOAD_UNKNOWN_ITEM", trail_,
            fmt::format("an item that begins with '{}' is unknown and ignored", shown(name)));
    }

    void read_engine_version(const Value& value, std::vector<Item>& items) {
        trail_.back().type = "required_engine_version";
        EngineVersionItem item;
        item.spot = trail_.back();
        item.version = scalar(value, "required_engine_version", true);
        warn_keys(value, std::array<std::string_view, 1>{"required_engine_version"});
        if (good_) items.emplace_back(std::move(item));
    }

    std::optional<PluginVersion> plugin(const Value& value, bool main) {
        if (value.kind != Kind::map) {
            fail(value, fmt::format("expected a mapping with name and version, found {}",
                                    kind_name(value.kind)));
            return std::nullopt;
        }
        const Trail outer = trail_;
        trail_.push_back({"", "", &file_, value.position});
        PluginVersion plugin{scalar(value, "name", true), scalar(value, "version", true)};
        trail_ = outer;
        if (main) {
            warn_keys(value, std::array<std::string_view, 3>{"name", "version", "alternatives"});
        } else {
            warn_keys(value, std::array<std::string_view, 2>{"name", "version"});
        }
        if (plugin.name == nullptr || plugin.version == nullptr) return std::nullopt;
        return plugin;
    }

    void read_plugin_versions(const Value& value, std::vector<Item>& items) {
        trail_.back().type = "required_plugin_versions";
        PluginVersionsItem item;
        item.spot = trail_.back();
        const Found found = find(value, "required_plugin_versions", true);
        warn_keys(value, std::array<std::string_view, 1>{"required_plugin_versions"});
        if (!found) return;
        if (found.value->kind != Kind::list)
            return fail(*found.value, fmt::format("expected a list of plugins, found {}",
                                                  kind_name(found.value->kind)));
        for (const std::uint32_t child : found.value->children) {
            const auto main = plugin(at(child), true);
            if (!main) continue;
            auto& choices = item.plugins.emplace_back();
            choices.push_back(*main);
            const Found others = find(at(child), "alternatives", false);
            if (!others) continue;
            if (others.value->kind != Kind::list) {
                fail(*others.value, fmt::format("alternatives: expected a list, found {}",
                                                kind_name(others.value->kind)));
                continue;
            }
            for (const std::uint32_t other : others.value->children) {
                if (const auto choice = plugin(at(other), false)) choices.push_back(*choice);
            }
        }
        if (good_) items.emplace_back(std::move(item));
    }

    const Scalar* name_of(const Value& value, std::string_view type) {
        const Scalar* const name = scalar(value, type, true);
        trail_.back().type = type;
        if (name != nullptr) trail_.back().name = name->text;
        return name;
    }

    bool deprecated_append(const Value& value) {
        const auto append = boolean(value, "append");
        if (append.value_or(false))
            report_.warning("LOAD_DEPRECATED_ITEM",
                            trail_ + Spot{"", "", &file_, find(value, "append").key->position},
                            "'append' is deprecated: use 'override'");
        return append.value_or(false);
    }

    // The keys of `override` with what each does. Checks them against the item's own keys.
    std::map<std::string, Override, std::less<>>
    overrides(const Value& value, bool append, std::span<const std::string_view> appendable,
              std::span<const std::string_view> replaceable) {
        std::map<std::string, Override, std::less<>> result;
        const Found found = find(value, "override", false);
        if (!found) return result;
        if (found.value->kind != Kind::map) {
            fail(*found.value, fmt::format("override: expected a mapping, found {}",
                                           kind_name(found.value->kind)));
            return result;
        }
        const Value& map = *found.value;
        if (map.children.empty()) return result;
        if (append) fail(*found.key, "'override' and 'append: true' exclude each other");
        for (std::size_t i = 0; i + 1 < map.children.size(); i += 2) {
            const Value& key = at(map.children[i]);
            const Value& how = at(map.children[i + 1]);
            const std::string name = key.kind == Kind::scalar ? key.text : std::string();
            if (how.kind != Kind::scalar || (how.text != "append" && how.text != "replace")) {
                fail(how, fmt::format("override: '{}' must be 'append' or 'replace'", shown(name)));
                continue;
            }
            const bool appends = how.text == "append";
            if (!contains(appends ? appendable : replaceable, name)) {
                fail(key, fmt::format("override: '{}' cannot be {}", shown(name),
                                      appends ? "appended to" : "replaced"));
            } else if (!find(value, name)) {
                fail(key, fmt::format("override: the item has no key '{}'", shown(name)));
            } else {
                result.emplace(name, appends ? Override::append : Override::replace);
            }
        }
        for (std::size_t i = 0; i + 1 < value.children.size(); i += 2) {
            const Value& key = at(value.children[i]);
            if (key.kind == Kind::scalar && contains(replaceable, key.text) && !find(map, key.text))
                fail(key, fmt::format("the key '{}' has no entry in 'override'", shown(key.text)));
        }
        return result;
    }

    // What a list or macro does to an earlier one of its name; `key` is all that it has.
    template <typename T>
    void read_change(const Value& value, T& item, std::string_view key) {
        const std::array<std::string_view, 1> overridable = {key};
        item.append = deprecated_append(value);
        const auto changes = overrides(value, item.append, overridable, overridable);
        if (changes.empty()) return;
        item.update = true;
        item.append = changes.begin()->second == Override::append;
    }

    void read_list(const Value& value, std::vector<Item>& items) {
        ListItem item;
        item.name = name_of(value, "list");
        item.spot = trail_.back();
        read_change(value, item, "items");
        item.items = scalars(value, "items", true).value_or(std::vector<const Scalar*>());
        warn_keys(value, std::array<std::string_view, 4>{"list", "items", "append", "override"});
        if (good_) items.emplace_back(std::move(item));
    }

    void read_macro(const Value& value, std::vector<Item>& items) {
        MacroItem item;
        item.name = name_of(value, "macro");
        item.spot = trail_.back();
        read_change(value, item, "condition");
        item.condition = scalar(value, "condition", true);
        warn_keys(value,
                  std::array<std::string_view, 4>{"macro", "condition", "append", "override"});
        if (good_) items.emplace_back(std::move(item));
    }

    void read_rule(const Value& value, std::vector<Item>& items) {
        static constexpr std::array<std::string_view, 15> kKeys = {"rule",
                                                                   "desc",
                                                                   "condition",
                                                                   "output",
                                                                   "priority",
                                                                   "source",
                                                                   "enabled",
                                                                   "tags",
                                                                   "exceptions",
                                                                   "warn_evttypes",
                                                                   "skip-if-unknown-filter",
                                                                   "capture",
                                                                   "capture_duration",
                                                                   "append",
                                                                   "override"};
        RuleItem item;
        item.name = name_of(value, "rule");
        item.spot = trail_.back();
        const bool append = deprecated_append(value);
        item.overrides = overrides(value, append, kRuleAppendable, kRuleReplaceable);
        const bool body = find(value, "condition") || find(value, "output") ||
                          find(value, "desc") || find(value, "priority");
        const Found override_key = find(value, "override", false);
        const bool overrides_any = override_key && (override_key.value->kind != Kind::map ||
                                                    !override_key.value->children.empty());
        if (overrides_any) {
            item.kind = RuleItem::Kind::override;
        } else if (append) {
            item.kind = RuleItem::Kind::append;
        } else if (!body && find(value, "enabled")) {
            item.kind = RuleItem::Kind::toggle;
            report_.warning(
                "LOAD_DEPRECATED_ITEM",
                trail_ + Spot{"", "", &file_, find(value, "enabled").key->position},
                "'enabled' alone is deprecated: use 'override' with 'enabled: replace'");
        }
        const bool whole = item.kind == RuleItem::Kind::definition;
        item.description = scalar(value, "desc", whole);
        item.condition = scalar(value, "condition", whole);
        item.output = scalar(value, "output", whole);
        item.source = scalar(value, "source", false);
        read_priority(value, whole, item);
        item.tags = scalars(value, "tags", false);
        item.enabled = boolean(value, "enabled");
        item.warn_evttypes = boolean(value, "warn_evttypes");
        item.skip_if_unknown_filter = boolean(value, "skip-if-unknown-filter");
        item.capture = boolean(value, "capture");
        read_capture_duration(value, item);
        read_exceptions(value, item);
        warn_keys(value, kKeys);
        if (item.kind == RuleItem::Kind::append && item.condition == nullptr && !item.exceptions)
            fail("nothing to append: expected 'condition' or 'exceptions'");
        if (good_) items.emplace_back(std::move(item));
    }

    void read_priority(const Value& value, bool required, RuleItem& item) {
        const Scalar* const priority = scalar(value, "priority", required);
        if (priority == nullptr) return;
        item.priority = model::parse_priority(priority->text);
        if (!item.priority)
            fail(*find(value, "priority").value,
                 fmt::format("priority: expected emergency, alert, critical, error, warning, "
                             "notice, informational or debug, found '{}'",
                             shown(priority->text)));
    }

    void read_capture_duration(const Value& value, RuleItem& item) {
        const Scalar* const duration = scalar(value, "capture_duration", false);
        if (duration == nullptr) return;
        std::uint32_t number = 0;
        const char* const end = duration->text.data() + duration->text.size();
        const auto parsed = std::from_chars(duration->text.data(), end, number);
        if (parsed.ec != std::errc() || parsed.ptr != end) {
            fail(*find(value, "capture_duration").value,
                 fmt::format("capture_duration: expected milliseconds, found '{}'",
                             shown(duration->text)));
            return;
        }
        item.capture_duration_ms = number;
    }

    void read_exceptions(const Value& value, RuleItem& item) {
        const Found found = find(value, "exceptions", false);
        if (!found) return;
        if (found.value->kind != Kind::list)
            return fail(*found.value, fmt::format("exceptions: expected a list, found {}",
                                                  kind_name(found.value->kind)));
        auto& exceptions = item.exceptions.emplace();
        const Trail outer = trail_;
        for (const std::uint32_t child : found.value->children) {
            read_exception(at(child), exceptions.emplace_back());
            trail_ = outer;
        }
    }

    void read_exception(const Value& value, Exception& out) {
        if (value.kind != Kind::map)
            return fail(value,
                        fmt::format("an exception is a mapping, found {}", kind_name(value.kind)));
        trail_ = std::move(trail_) + Spot{"exception", "", &file_, value.position};
        out.name = name_of(value, "name");
        trail_.back().type = "exception";
        out.spot = trail_.back();
        out.has_fields = one_or_more(value, "fields", out.single, out.fields);
        out.has_comps = one_or_more(value, "comps", out.single_comp, out.comps);
        warn_keys(value, std::array<std::string_view, 4>{"name", "fields", "comps", "values"});
        const Found values = find(value, "values", false);
        if (!values) return;
        if (values.value->kind != Kind::list)
            return fail(*values.value, fmt::format("values: expected a list, found {}",
                                                   kind_name(values.value->kind)));
        out.values.reserve(values.value->children.size());
        for (const std::uint32_t child : values.value->children)
            read_tuple(at(child), out.values.emplace_back());
    }

    bool one_or_more(const Value& value, std::string_view key, bool& single,
                     std::vector<const Scalar*>& out) {
        const Found found = find(value, key, false);
        if (!found) return false;
        if (found.value->kind == Kind::list) {
            out = scalars_of(*found.value, key);
        } else if (const Scalar* const only = scalar_of(*found.value, key)) {
            single = true;
            out.push_back(only);
        }
        return true;
    }

    // One value stands for a tuple of one; which of them fits depends on `fields`.
    void read_tuple(const Value& value, Exception::Tuple& out) {
        if (value.kind != Kind::list) {
            if (const Scalar* const only = scalar_of(value, "values"))
                out.elements.push_back({false, {only}});
            return;
        }
        out.list = true;
        out.place = store(value);
        for (const std::uint32_t child : value.children) {
            Exception::Element& element = out.elements.emplace_back();
            const Value& each = at(child);
            element.list = each.kind == Kind::list;
            if (element.list) {
                element.scalars = scalars_of(each, "values");
            } else if (const Scalar* const only = scalar_of(each, "values")) {
                element.scalars.push_back(only);
            }
        }
    }

    const SourceFile& file_;
    Scalars& scalars_;
    Report& report_;
    yaml::Tree tree_;
    Trail trail_;
    bool good_ = true;
};

} // namespace

std::vector<Item> read_items(const SourceFile& file, Scalars& scalars, Report& report) {
    return Reader(file, scalars, report).run();
}

} // namespace beeline::security::rules
