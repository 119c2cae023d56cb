// Items -> definitions: redefinition, append, override, and what they need to be there.
#include <algorithm>

#include <fmt/format.h>

#include "security/rules/definitions.h"
#include "security/rules/exceptions.h"
#include "security/rules/version.h"
#include "security/rules/words.h"

namespace beeline::security::rules {
namespace {

constexpr std::string_view kInvalid = "LOAD_ERR_VALIDATE";

Spot at(const Scalar& scalar) { return {"", "", scalar.file, scalar.position}; }

bool is_macro_name(std::string_view name) {
    return !name.empty() && is_letter(name.front()) &&
           std::all_of(name.begin(), name.end(), is_word);
}
bool is_list_name(std::string_view name) {
    return !name.empty() && std::all_of(name.begin(), name.end(), is_bare);
}

class Collector {
public:
    Collector(Definitions& definitions, const Catalog& catalog, Report& report)
        : all_(definitions), catalog_(catalog), report_(report) {}

    void operator()(const EngineVersionItem& item) {
        const auto wanted = parse_engine_version(item.version->text);
        const Trail trail = {item.spot, at(*item.version)};
        if (!wanted) {
            report_.error(kInvalid, trail,
                          fmt::format("'{}' is no version: expected a number or x.y.z",
                                      shown(item.version->text)));
        } else if (!kEngineVersion.satisfies(*wanted)) {
            report_.error(kInvalid, trail,
                          fmt::format("these rules need engine version {}.{}.{}, this is {}",
                                      wanted->major, wanted->minor, wanted->patch,
                                      to_text(kEngineVersion)));
        }
    }

    void operator()(const PluginVersionsItem& item) {
        for (const auto& choices : item.plugins) {
            std::string wanted;
            bool satisfied = false;
            bool good = true;
            for (const PluginVersion& each : choices) {
                const auto version = parse_version(each.version->text);
                if (!version) {
                    report_.error(kInvalid, {item.spot, at(*each.version)},
                                  fmt::format("'{}' is no version: expected x.y.z",
                                              shown(each.version->text)));
                    good = false;
                    break;
                }
                if (!wanted.empty()) wanted += " or ";
                wanted += fmt::format("{} {}", shown(each.name->text), shown(each.version->text));
                satisfied = satisfied || (each.name->text == kContainerPlugin &&
                                          kContainerPluginVersion.satisfies(*version));
            }
            if (!good) continue;
            if (!satisfied)
                report_.error(kInvalid, {item.spot, at(*choices.front().name)},
                              fmt::format("these rules need the plugin {}; there is only {} {}, "
                                          "which is built in",
                                          wanted, kContainerPlugin,
                                          to_text(kContainerPluginVersion)));
            all_.required_plugins[choices.front().name->text] = choices.front().version->text;
        }
    }

    void operator()(const ListItem& item) {
        ListDefinition* const earlier = all_.lists.find(item.name->text);
        if (!target_there(item, earlier != nullptr)) return;
        ListDefinition& list = touch(all_.lists, item.name, item.spot, item.append);
        if (!item.append) list.items.clear();
        list.items.insert(list.items.end(), item.items.begin(), item.items.end());
        if (earlier == nullptr && !is_list_name(item.name->text))
            report_.warning(
                "LOAD_INVALID_LIST_NAME", {item.spot, at(*item.name)},
                fmt::format("a list with the name '{}' cannot be used", shown(item.name->text)));
    }

    void operator()(const MacroItem& item) {
        MacroDefinition* const earlier = all_.macros.find(item.name->text);
        if (!target_there(item, earlier != nullptr)) return;
        MacroDefinition& macro = touch(all_.macros, item.name, item.spot, item.append);
        set_or_append(macro.condition, *item.condition, item.append);
        if (earlier == nullptr && !is_macro_name(item.name->text))
            report_.warning(
                "LOAD_INVALID_MACRO_NAME", {item.spot, at(*item.name)},
                fmt::format("a macro with the name '{}' cannot be used", shown(item.name->text)));
    }

    void operator()(const RuleItem& item) {
        RuleDefinition* const earlier = all_.rules.find(item.name->text);
        if (item.kind == RuleItem::Kind::definition) return define(item, earlier);
        if (earlier == nullptr) {
            report_.error(
                kInvalid, {item.spot, at(*item.name)},
                fmt::format("there is no earlier rule '{}' to change", shown(item.name->text)));
            return;
        }
        if (item.source != nullptr && !same_source(item, *earlier)) return;
        if (item.kind == RuleItem::Kind::toggle) {
            earlier->enabled = item.enabled.value_or(earlier->enabled);
            earlier->last_index = all_.next_index++;
            return;
        }
        change(item, *earlier);
    }

private:
    template <typename T>
    T& touch(Named<T>& named, const Scalar* name, const Spot& spot, bool append) {
        const std::uint32_t index = all_.next_index++;
        T* there = named.find(name->text);
        if (there == nullptr) {
            named.names.emplace(name->text, named.all.size());
            there = &named.all.emplace_back();
            there->index = index;
            there->name = name;
        }
        if (!append || there->spot.file == nullptr) there->spot = spot;
        there->last_index = index;
        there->warned = false;
        return *there;
    }

    template <typename T>
    bool target_there(const T& item, bool there) {
        if (there || !(item.append || item.update)) return true;
        report_.error(kInvalid, {item.spot, at(*item.name)},
                      fmt::format("there is no earlier {} '{}' to {}", item.spot.type,
                                  shown(item.name->text), item.append ? "append to" : "replace"));
        return false;
    }

    // Blocks end with a line break that nobody means.
    static std::string_view trimmed(std::string_view text) {
        constexpr std::string_view kBlanks = " \t\r\n";
        const std::size_t first = std::min(text.find_first_not_of(kBlanks), text.size());
        return text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
    }

    static void set_or_append(MappedText& text, const Scalar& more, bool append) {
        if (!append) text = {};
        const std::string_view part = trimmed(more.text);
        if (!text.empty()) text.append(" ", {&more, 0});
        text.append(MappedText(more), static_cast<std::size_t>(part.data() - more.text.data()),
                    part.size());
    }

    bool same_source(const RuleItem& item, const RuleDefinition& earlier) {
        if (item.source->text == earlier.source) return true;
        report_.error(kInvalid, {item.spot, at(*item.source)},
                      fmt::format("the rule is of source '{}', which cannot change to '{}'",
                                  shown(earlier.source), shown(item.source->text)));
        return false;
    }

    void define(const RuleItem& item, RuleDefinition* earlier) {
        std::string source = "syscall";
        if (item.source != nullptr) {
            source = item.source->text;
            if (earlier != nullptr && !same_source(item, *earlier)) return;
        } else if (earlier != nullptr) {
            source = earlier->source;
        }
        const std::vector<Exception> none;
        const auto& exceptions = item.exceptions ? *item.exceptions : none;
        if (!check_all(exceptions, source, {item.spot})) return;

        RuleDefinition& rule = touch(all_.rules, item.name, item.spot, false);
        rule.source = source;
        rule.unknown_source = !catalog_.has_source(source);
        if (rule.unknown_source)
            report_.warning(
                "LOAD_UNKNOWN_SOURCE", {item.spot},
                fmt::format("there is no event source '{}': the rule is left out", shown(source)));
        rule.description = trimmed(item.description->text);
        set_or_append(rule.condition, *item.condition, false);
        set_or_append(rule.output, *item.output, false);
        rule.priority = item.priority.value_or(rule.priority);
        rule.tags.clear();
        add_tags(rule, item);
        rule.exceptions = exceptions;
        rule.enabled = item.enabled.value_or(true);
        rule.warn_evttypes = item.warn_evttypes.value_or(true);
        rule.skip_if_unknown_filter = item.skip_if_unknown_filter.value_or(false);
        rule.capture = item.capture.value_or(false);
        rule.capture_duration_ms = item.capture_duration_ms.value_or(0);
    }

    static void add_tags(RuleDefinition& rule, const RuleItem& item) {
        if (!item.tags) return;
        for (const Scalar* const tag : *item.tags)
            rule.tags.insert(tag->text);
    }

    // Of append and override. The deprecated append knows only conditions and exceptions; with override every key that is
    // there has an entry.
    void change(const RuleItem& item, RuleDefinition& rule) {
        const auto appends = [&](std::string_view key) {
            if (item.kind == RuleItem::Kind::append) return true;
            const auto found = item.overrides.find(key);
            return found != item.overrides.end() && found->second == Override::append;
        };
        if (item.exceptions &&
            !change_exceptions(item.spot, *item.exceptions, rule, appends("exceptions")))
            return;
        if (item.condition != nullptr)
            set_or_append(rule.condition, *item.condition, appends("condition"));
        if (item.kind == RuleItem::Kind::override) {
            if (item.output != nullptr) set_or_append(rule.output, *item.output, appends("output"));
            if (item.description != nullptr) {
                if (appends("desc")) {
                    rule.description += " ";
                } else {
                    rule.description.clear();
                }
                rule.description += trimmed(item.description->text);
            }
            if (item.tags && !appends("tags")) rule.tags.clear();
            add_tags(rule, item);
            rule.priority = item.priority.value_or(rule.priority);
            rule.enabled = item.enabled.value_or(rule.enabled);
            rule.capture = item.capture.value_or(rule.capture);
            rule.capture_duration_ms = item.capture_duration_ms.value_or(rule.capture_duration_ms);
            rule.warn_evttypes = item.warn_evttypes.value_or(rule.warn_evttypes);
            rule.skip_if_unknown_filter =
                item.skip_if_unknown_filter.value_or(rule.skip_if_unknown_filter);
        }
        rule.last_index = all_.next_index++;
        rule.warned = false;
    }

    bool check_all(const std::vector<Exception>& exceptions, std::string_view source,
                   const Trail& trail) {
        std::set<std::string_view> names;
        for (const Exception& exception : exceptions) {
            if (!check_exception(exception, source, trail, catalog_, report_)) return false;
            if (!names.insert(exception.name->text).second)
                report_.warning("LOAD_EXCEPTION_NAME_NOT_UNIQUE", trail + exception.spot,
                                fmt::format("the rule has another exception '{}'",
                                            shown(exception.name->text)));
        }
        return true;
    }

    bool change_exceptions(const Spot& spot, const std::vector<Exception>& exceptions,
                           RuleDefinition& rule, bool append) {
        const Trail trail = {spot};
        std::vector<Exception> result;
        if (append) result = rule.exceptions;
        for (const Exception& exception : exceptions) {
            if (exception.values.empty())
                report_.warning("LOAD_APPEND_NO_VALUES", trail + exception.spot,
                                "the exception has no values, so it changes nothing");
            const auto same =
                std::find_if(result.begin(), result.end(), [&](const Exception& each) {
                    return each.name->text == exception.name->text;
                });
            if (same == result.end()) {
                if (!check_exception(exception, rule.source, trail, catalog_, report_))
                    return false;
                result.push_back(exception);
                continue;
            }
            if (!append)
                report_.warning("LOAD_EXCEPTION_NAME_NOT_UNIQUE", trail + exception.spot,
                                fmt::format("the rule has another exception '{}'",
                                            shown(exception.name->text)));
            if (exception.has_fields || exception.has_comps) {
                report_.error(kInvalid, trail + exception.spot,
                              fmt::format("the exception '{}' is there already: only values can "
                                          "be added",
                                          shown(exception.name->text)));
                return false;
            }
            if (!check_values(*same, exception, trail, report_)) return false;
            same->values.insert(same->values.end(), exception.values.begin(),
                                exception.values.end());
        }
        rule.exceptions = std::move(result);
        return true;
    }

    Definitions& all_;
    const Catalog& catalog_;
    Report& report_;
};

} // namespace

void collect(Definitions& definitions, const std::vector<Item>& items, const Catalog& catalog,
             Report& report) {
    Collector collector(definitions, catalog, report);
    for (const Item& item : items)
        std::visit(collector, item);
}

} // namespace beeline::security::rules
