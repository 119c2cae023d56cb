// Files, one after the other -> rules. After each file everything read so far must compile.
#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "security/rules/definitions.h"
#include "security/rules/exceptions.h"
#include "security/rules/list_expansion.h"
#include "security/rules/macro_expansion.h"
#include "security/rules/words.h"

namespace beeline::security::rules {
namespace {

constexpr std::size_t kMostEventKinds = 100;
// All rules together: each node and value takes about 100 bytes.
constexpr std::size_t kMostSize = 5'000'000;

constexpr std::array<std::string_view, 6> kDeprecatedFields = {
    "evt.dir",        "evt.latency",       "evt.latency.s",
    "evt.latency.ns", "evt.latency.human", "evt.wait_latency"};

constexpr std::string_view kContainerInfo = "%container.info";

bool is_deprecated(std::string_view field) {
    return std::find(kDeprecatedFields.begin(), kDeprecatedFields.end(), field) !=
           kDeprecatedFields.end();
}

// Everything read so far, compiled.
class Compiler {
public:
    // `file` counts the files from 1. Only the last gives rules.
    Compiler(Definitions& all, const Catalog& catalog, Report& report, std::uint32_t file,
             bool last)
        : all_(all), catalog_(catalog), report_(report), file_(file), last_(last) {}

    void run() {
        for (ListDefinition& list : all_.lists.all) {
            std::vector<std::string_view> items;
            items.reserve(list.items.size());
            for (const Scalar* const item : list.items)
                items.emplace_back(item->text);
            lists_.add(list.name->text, std::move(items));
        }
        parse_macros();
        for (RuleDefinition& rule : all_.rules.all)
            compile(rule);
    }

    // Lists and macros that nothing names.
    void warn_unused(std::vector<FileResult>& files) {
        const auto warn = [&](std::string_view code, const Definition& definition,
                              std::string message) {
            for (FileResult& file : files) {
                if (file.name == definition.spot.file->name)
                    return Report(file).warning(code, {definition.spot}, std::move(message));
            }
        };
        for (std::size_t i = 0; i < all_.macros.all.size(); ++i) {
            if (macros_.used(i)) continue;
            const MacroDefinition& macro = all_.macros.all[i];
            warn("LOAD_UNUSED_MACRO", macro,
                 fmt::format("the macro '{}' is not used", shown(macro.name->text)));
        }
        for (std::size_t i = 0; i < all_.lists.all.size(); ++i) {
            if (lists_.used(static_cast<std::uint32_t>(i))) continue;
            const ListDefinition& list = all_.lists.all[i];
            warn("LOAD_UNUSED_LIST", list,
                 fmt::format("the list '{}' is not used", shown(list.name->text)));
        }
    }

    // Precondition: no error was reported.
    std::vector<Rule> take_rules() { return std::move(rules_); }

private:
    // The first problem of the checks in a condition.
    struct Failure {
        Trail trail; // within the rule
        std::string message;
        bool unknown = false;
    };

    [[nodiscard]] static Spot spot_in(const Condition& condition, std::size_t offset) {
        const Place place = condition.text.place(offset);
        return {"condition expression", "", place.scalar->file, place.position()};
    }

    // The node stays as it is when the text has not changed since the file before.
    void parse(const MappedText& text, Condition& condition, const Trail& trail,
               bool silent = false) {
        bool too_big = false;
        MappedText expanded = lists_.expand(text, too_big);
        if (size_ > kMostSize || too_big) {
            condition.node = nullptr;
            if (too_big)
                report_.error("LOAD_ERR_COMPILE_CONDITION", trail,
                              "the lists in it grow too large or are nested too deep");
            return;
        }
        const bool same = condition.node && condition.text.text() == expanded.text();
        condition.text = std::move(expanded);
        if (same) return;
        Parsed parsed = parse_condition(condition.text.text());
        if (!parsed.node && !silent)
            report_.error("LOAD_ERR_COMPILE_CONDITION",
                          trail + spot_in(condition, parsed.error.position.offset),
                          parsed.error.message);
        condition.node = std::move(parsed.node);
        condition.changed = file_;
    }

    static std::size_t size_of(const Node& node) {
        std::size_t size = 1 + node.values.size();
        for (const NodePtr& child : node.children)
            size += size_of(*child);
        return size;
    }
    // Counts what conditions take; false beyond the bound, which is an error once.
    bool grow(std::size_t size, const Trail& trail) {
        const bool full = size_ > kMostSize;
        size_ += size;
        if (size_ <= kMostSize) return true;
        if (!full)
            report_.error("LOAD_ERR_COMPILE_CONDITION", trail,
                          fmt::format("all conditions together grow to more than {} parts once "
                                      "lists and macros are expanded",
                                      kMostSize));
        return false;
    }

    void parse_macros() {
        for (MacroDefinition& macro : all_.macros.all) {
            Condition& condition = macro.compiled;
            parse(macro.condition, condition, {macro.spot});
            if (condition.node && !grow(size_of(*condition.node), {macro.spot}))
                condition.node = nullptr;
            macros_.add({macro.name->text, condition.node.get(), macro.index, macro.last_index,
                         condition.changed});
        }
        macros_.resolve_all([&](std::size_t number, const Node& node, std::string message) {
            report_.error("LOAD_ERR_VALIDATE",
                          {all_.macros.all[number].spot,
                           spot_in(all_.macros.all[number].compiled, node.position.offset)},
                          std::move(message));
        });
    }

    void compile(RuleDefinition& rule) {
        const Trail trail = {rule.spot};
        Condition& condition = rule.compiled;
        // What it names counts as used even if it is left out.
        parse(with_exceptions(rule.condition, rule.exceptions), condition, trail,
              rule.unknown_source);
        if (!condition.node) return;
        const auto size =
            macros_.measure(*condition.node, [&](const Node& node, std::string message) {
                if (rule.unknown_source) return;
                report_.error("LOAD_ERR_VALIDATE", trail + spot_in(condition, node.position.offset),
                              std::move(message));
            });
        if (!size.good || rule.unknown_source || !grow(size.size, trail)) return;
        const bool changed = std::max(size.changed, condition.changed) == file_;
        if (changed || !rule.warned || !rule.checked) check_rule(rule, trail);
        if (!last_ || !rule.checked || rule.left_out) return;
        Rule result = make(rule);
        result.condition = macros_.expand(*condition.node);
        rules_.push_back(std::move(result));
    }

    void check_rule(RuleDefinition& rule, const Trail& trail) {
        const bool warn = !std::exchange(rule.warned, true);
        rule.checked = rule.left_out = false;
        const Condition& condition = rule.compiled;
        if (auto failure = check(*condition.node, condition, rule.source, trail, warn))
            return fail(rule, "LOAD_ERR_COMPILE_CONDITION", *failure, warn);
        if (!check_output(rule, trail, warn)) return;
        rule.checked = true;
        if (warn && rule.warn_evttypes && rule.source == "syscall" &&
            catalog_.event_kinds(*macros_.expand(*condition.node)) > kMostEventKinds)
            report_.warning("LOAD_NO_EVTTYPE", trail,
                            fmt::format("the condition can match more than {} kinds of events, "
                                        "which is slow: restrict evt.type",
                                        kMostEventKinds));
    }

    static std::string without_container_info(std::string output) {
        for (std::size_t found = output.find(kContainerInfo); found != std::string::npos;
             found = output.find(kContainerInfo, found))
            output.erase(found, kContainerInfo.size());
        return output;
    }

    static Rule make(const RuleDefinition& rule) {
        Rule result;
        result.name = rule.name->text;
        result.source = rule.source;
        result.description = rule.description;
        result.condition_text = rule.condition.text();
        result.output = without_container_info(rule.output.text());
        result.priority = rule.priority;
        result.tags = rule.tags;
        result.enabled = rule.enabled;
        result.warn_evttypes = rule.warn_evttypes;
        result.capture = rule.capture;
        result.capture_duration_ms = rule.capture_duration_ms;
        result.file = rule.spot.file->name;
        result.position = rule.spot.position;
        return result;
    }

    void fail(RuleDefinition& rule, std::string_view code, const Failure& failure, bool warn) {
        if (rule.skip_if_unknown_filter && failure.unknown) {
            rule.checked = rule.left_out = true;
            if (warn)
                report_.warning("LOAD_UNKNOWN_FILTER", failure.trail,
                                failure.message + "; the rule is left out");
        } else {
            report_.error(code, failure.trail, failure.message);
        }
    }

    // Walks the checks of a condition, those of its macros included.
    std::optional<Failure> check(const Node& node, const Condition& condition,
                                 const std::string& source, const Trail& trail, bool warn) {
        if (node.kind == Node::Kind::macro) return check_macro(node, condition, source, trail);
        if (node.kind == Node::Kind::check) {
            std::string problem = catalog_.check(node, source);
            if (!problem.empty())
                return Failure{trail + spot_in(condition, node.position.offset), std::move(problem),
                               !catalog_.knows(node, source)};
            if (warn) warn_check(node, condition, source, trail);
        }
        for (const NodePtr& child : node.children) {
            if (auto failure = check(*child, condition, source, trail, warn)) return failure;
        }
        return std::nullopt;
    }

    // Each macro once for each source.
    std::optional<Failure> check_macro(const Node& node, const Condition& condition,
                                       const std::string& source, const Trail& trail) {
        const std::size_t number = macros_.number_of(node);
        const auto key = std::pair(source, number);
        auto known = checked_.find(key);
        if (known == checked_.end()) {
            MacroDefinition& macro = all_.macros.all[number];
            const bool warn = !std::exchange(macro.warned, true);
            const Condition& inner = macro.compiled;
            auto failure = check(*inner.node, inner, source, {macro.spot}, warn);
            known = checked_.emplace(key, std::move(failure)).first;
        }
        const std::optional<Failure>& found = known->second;
        if (!found) return std::nullopt;
        Failure failure = *found;
        Trail whole = trail + spot_in(condition, node.position.offset);
        whole.insert(whole.end(), failure.trail.begin(), failure.trail.end());
        failure.trail = std::move(whole);
        return failure;
    }

    // What is allowed but rarely meant.
    void warn_check(const Node& node, const Condition& condition, const std::string& source,
                    const Trail& trail) {
        const auto spot = [&](const Position& position) {
            return trail + spot_in(condition, position.offset);
        };
        warn_deprecated(node.left, condition, trail);
        if (node.right) warn_deprecated(*node.right, condition, trail);
        const bool compares_equal =
            node.op == Operator::equal || node.op == Operator::not_equal || takes_set(node.op);
        const bool audit = node.left.name.starts_with("ka.") || node.left.name.starts_with("jevt.");
        for (const Value& value : node.values) {
            if (audit && compares_equal && value.text == "<NA>")
                report_.warning(
                    "LOAD_UNSAFE_NA_CHECK", spot(value.position),
                    fmt::format("'{}' is never \"<NA>\": use 'exists'", shown(node.left.name)));
            if (looks_like_expression(value.text, source))
                report_.warning("LOAD_COMPILE_CONDITION", spot(value.position),
                                fmt::format("'{}' is compared with as text; to compare with what "
                                            "it stands for, write {}",
                                            shown(value.text),
                                            value.text.find('(') != std::string::npos
                                                ? "it without quotes"
                                                : fmt::format("val({})", shown(value.text))));
        }
    }

    void warn_deprecated(const Expression& expression, const Condition& condition,
                         const Trail& trail) {
        if (expression.kind == Expression::Kind::field && is_deprecated(expression.name))
            report_.warning("LOAD_DEPRECATED_ITEM",
                            trail + spot_in(condition, expression.position.offset),
                            fmt::format("the field '{}' is deprecated", expression.name));
        for (const Expression& argument : expression.arguments)
            warn_deprecated(argument, condition, trail);
    }

    // A field that is known, or a transformer.
    bool looks_like_expression(std::string_view text, const std::string& source) const {
        constexpr std::size_t kMost = 200;
        std::size_t end = 0;
        while (end < text.size() && is_word(text[end]))
            ++end;
        if (end == 0 || end == text.size() || text.size() > kMost || !is_letter(text[0]))
            return false;
        const bool transformer = text[end] == '(' && text.back() == ')' &&
                                 (is_transformer(text.substr(0, end)) || text.starts_with("val("));
        if (text[end] != '.' && !transformer) return false;
        if (text.starts_with("val(")) text = text.substr(4, text.size() - 5);
        const Parsed parsed = parse_condition(std::string(text) + " exists");
        return parsed.node && parsed.node->kind == Node::Kind::check &&
               parsed.node->op == Operator::exists && parsed.node->position.offset == 0 &&
               catalog_.check(*parsed.node, source).empty();
    }

    bool check_output(RuleDefinition& rule, const Trail& trail, bool warn) {
        const auto spot = [&](std::size_t offset) {
            const Place place = rule.output.place(offset);
            return trail + Spot{"", "", place.scalar->file, place.position()};
        };
        const std::string& text = rule.output.text();
        for (std::size_t found = text.find(kContainerInfo); found != std::string::npos && warn;
             found = text.find(kContainerInfo, found + 1)) {
            report_.warning("LOAD_DEPRECATED_ITEM", spot(found),
                            "'%container.info' is deprecated and replaced by nothing");
        }
        std::string problem = catalog_.check_output(without_container_info(text), rule.source);
        if (!problem.empty()) {
            fail(rule, "LOAD_ERR_COMPILE_OUTPUT", {spot(0), std::move(problem), true}, warn);
            return false;
        }
        if (!warn) return true;
        for (std::size_t begin = 0; begin < text.size(); ++begin) {
            std::size_t end = begin;
            while (end < text.size() && (is_word(text[end]) || text[end] == '.'))
                ++end;
            while (end > begin && text[end - 1] == '.')
                --end;
            const std::string_view word = std::string_view(text).substr(begin, end - begin);
            if (begin > 0 && (text[begin - 1] == '%' || text[begin - 1] == '(') &&
                is_deprecated(word))
                report_.warning("LOAD_DEPRECATED_ITEM", spot(begin),
                                fmt::format("the field '{}' is deprecated", word));
            begin = std::max(begin, end);
        }
        return true;
    }

    Definitions& all_;
    const Catalog& catalog_;
    Report& report_;
    std::uint32_t file_;
    bool last_;
    ListExpander lists_;
    MacroTable macros_;
    std::map<std::pair<std::string, std::size_t>, std::optional<Failure>> checked_;
    std::size_t size_ = 0;
    std::vector<Rule> rules_;
};

// In the order of the file, whatever found them.
void sort_by_place(std::vector<Problem>& problems) {
    using Key = std::tuple<std::string_view, std::uint32_t, std::size_t>;
    std::vector<Key> order;
    order.reserve(problems.size());
    for (const Problem& problem : problems)
        order.emplace_back(problem.file, problem.locations.back().position.offset, order.size());
    std::sort(order.begin(), order.end());
    std::vector<Problem> sorted;
    sorted.reserve(problems.size());
    for (const auto& [file, offset, number] : order)
        sorted.push_back(problems[number]);
    problems = std::move(sorted);
}

std::string without_mark(const std::string& text) {
    return text.starts_with("\xef\xbb\xbf") ? text.substr(3) : text;
}

LoadResult load_unsorted(const std::vector<File>& files, const Catalog& catalog) {
    LoadResult result;
    std::deque<SourceFile> sources;
    Definitions definitions;
    result.files.reserve(files.size());
    for (const File& file : files) {
        FileResult& outcome = result.files.emplace_back();
        outcome.name = file.name;
        Report report(outcome);
        const SourceFile& source = sources.emplace_back(file.name, without_mark(file.text));
        if (!file.read_error.empty()) {
            report.error("LOAD_ERR_FILE_READ", {{"rules content", "", &source, {}}},
                         file.read_error);
            return result;
        }
        const auto items = read_items(source, definitions.scalars, report);
        if (report.failed()) return result;
        collect(definitions, items, catalog, report);
        if (report.failed()) return result;
        const bool last = &file == &files.back();
        Compiler compiler(definitions, catalog, report,
                          static_cast<std::uint32_t>(result.files.size()), last);
        compiler.run();
        if (report.failed()) return result;
        if (last) {
            compiler.warn_unused(result.files);
            result.set.rules = compiler.take_rules();
        }
    }
    result.set.required_plugins = definitions.required_plugins;
    return result;
}

} // namespace

LoadResult load(const std::vector<File>& files, const Catalog& catalog) {
    LoadResult result = load_unsorted(files, catalog);
    for (FileResult& file : result.files) {
        sort_by_place(file.errors);
        sort_by_place(file.warnings);
    }
    return result;
}

} // namespace beeline::security::rules
