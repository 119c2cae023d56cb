#include "security/engine/program.h"

#include <algorithm>
#include <span>

#include "security/engine/names.h"

namespace beeline::security::engine {
namespace {

using rules::Modifier;
using rules::Operator;

// Operators whose checks of one field can be put into one: any of the values.
Operator merge_class(const Check& check) {
    if (check.modifier != Modifier::none || check.right || check.left.many == Many::list ||
        ((check.left.flags & kHostNames) != 0))
        return Operator::exists;
    switch (check.op) {
    case Operator::equal:
    case Operator::in:
    case Operator::intersects: return Operator::in;
    case Operator::startswith:
    case Operator::endswith:
    case Operator::contains:
    case Operator::icontains:
    case Operator::pmatch: return check.op;
    default: return Operator::exists;
    }
}

bool is_of(const Term& term, std::span<const std::string_view> names) {
    if (term.kind == Term::Kind::field)
        return std::find(names.begin(), names.end(), term.field.row->name) != names.end();
    return !term.arguments.empty() &&
           std::all_of(term.arguments.begin(), term.arguments.end(), [&](const Term& part) {
               return part.kind == Term::Kind::literal || is_of(part, names);
           });
}

// Fields that tell what Process::facts stands for, and no more: nothing of the event, of other processes, or of the time.
bool of_process(const Term& term) {
    static constexpr std::string_view kNames[] = {
        "proc.exe",
        "proc.exepath",
        "proc.name",
        "proc.args",
        "proc.cmdline",
        "proc.exeline",
        "proc.env",
        "proc.vpid",
        "proc.is_exe_writable",
        "proc.is_exe_upper_layer",
        "proc.is_exe_lower_layer",
        "proc.is_exe_from_memfd",
        "thread.cap_permitted",
        "thread.cap_effective",
        "thread.cap_inheritable",
        "container.id",
        "container.full_id",
        "container.name",
        "container.image",
        "container.image.id",
        "container.image.repository",
        "container.image.tag",
        "container.image.digest",
        "container.type",
        "container.privileged",
        "container.mounts",
        "container.mount",
        "container.mount.source",
        "container.mount.dest",
        "container.mount.mode",
        "container.mount.rdwr",
        "container.mount.propagation",
        "container.label",
        "container.labels",
        "k8s.pod.name",
        "k8s.pod.label",
        "k8s.pod.labels",
        "k8s.ns.name",
        "beeline.workload",
    };
    return is_of(term, kNames);
}

// Fields that tell nothing of an open but what Engine's of_path() puts together.
bool of_path(const Term& term) {
    static constexpr std::string_view kNames[] = {
        "fd.name",     "fd.nameraw",       "fd.directory",      "fd.filename",      "fd.type",
        "fd.typechar", "evt.is_open_read", "evt.is_open_write", "evt.is_open_exec", "evt.failed",
    };
    return is_of(term, kNames);
}

bool is_event_type(const Check& check) {
    return check.left.kind == Term::Kind::field && check.left.field.row->name == "evt.type";
}

// evt.type is known for a kind.
bool type_holds(const Check& check, std::uint16_t kind) {
    if (check.modifier != Modifier::none) {
        std::size_t holds = 0;
        for (const Check& part : check.parts)
            holds += type_holds(part, kind) ? 1 : 0;
        return check.modifier == Modifier::oneof   ? holds == 1
               : check.modifier == Modifier::anyof ? holds != 0
                                                   : holds == check.parts.size();
    }
    const auto listed = [&] {
        return std::any_of(check.texts.begin(), check.texts.end(),
                           [&](const std::string& name) { return kind_matches(kind, name); });
    };
    switch (check.op) {
    case Operator::exists: return true;
    case Operator::equal:
    case Operator::in:
    case Operator::intersects: return listed();
    case Operator::not_equal: return !listed();
    default: break;
    }
    Value value;
    value.text = kind_text(kind);
    return check.test != nullptr && check.test(check, value);
}

} // namespace

Program::Program() {
    nodes_.emplace_back(); // false
    slots_.emplace_back(); // none
}

Ref Program::intern_check(Check check) {
    const auto found = check_of_.find(check.key);
    if (found != check_of_.end()) return found->second;
    const auto index = static_cast<std::uint32_t>(checks_.size());
    const bool many =
        check.left.many != Many::one || check.modifier != Modifier::none ||
        check.right != nullptr ||
        ((check.left.flags & kHostNames) != 0 && check.left.kind == Term::Kind::field);
    ways_.push_back(many ? Way::many : Way::slot);
    std::uint32_t slot = 0;
    if (!many) {
        const auto [at, fresh] =
            slot_of_.emplace(check.left.text, static_cast<std::uint32_t>(slots_.size()));
        if (fresh) slots_.emplace_back();
        slot = at->second;
    }
    check_slots_.push_back(slot);
    Node node;
    node.kind = Kind::check;
    node.check = index;
    node.cost = check.cost;
    node.path_view = check.left.path_view || (check.right && check.right->path_view);
    node.of_process = of_process(check.left) && !check.right;
    node.of_path = of_path(check.left) && !check.right;
    const std::string key = check.key;
    checks_.push_back(std::move(check));
    const auto ref = static_cast<Ref>(nodes_.size() * 2);
    nodes_.push_back(std::move(node));
    check_of_.emplace(key, ref);
    return ref;
}

void Program::flatten(Kind kind, Ref ref, std::vector<Ref>& out) const {
    const Node& inner = node(ref);
    // not (a and b) is an `any` of negations, and the other way round.
    const Kind as = (ref & 1) == 0            ? inner.kind
                    : inner.kind == Kind::all ? Kind::any
                    : inner.kind == Kind::any ? Kind::all
                                              : inner.kind;
    if (as != kind || (inner.kind != Kind::all && inner.kind != Kind::any)) {
        out.push_back(ref);
        return;
    }
    for (const Ref child : inner.children)
        flatten(kind, child ^ (ref & 1), out);
}

void Program::merge(std::vector<Ref>& parts, bool negated) {
    std::map<std::pair<std::string, Operator>, std::vector<Ref>> groups;
    for (const Ref part : parts) {
        if (node(part).kind != Kind::check || ((part & 1) != 0) != negated) continue;
        const Check& one = check(node(part));
        const Operator as = merge_class(one);
        if (as != Operator::exists) groups[{one.left.text, as}].push_back(part);
    }
    for (const auto& [key, members] : groups) {
        if (members.size() < 2) continue;
        std::vector<std::string> values;
        for (const Ref member : members) {
            const Check& one = check(node(member));
            values.insert(values.end(), one.texts.begin(), one.texts.end());
        }
        std::sort(values.begin(), values.end());
        values.erase(std::unique(values.begin(), values.end()), values.end());
        Term left = check(node(members.front())).left;
        auto merged = build_check(std::move(left), key.second, std::move(values));
        if (!merged) continue;
        const Ref ref = intern_check(std::move(*merged)) ^ (negated ? 1U : 0U);
        std::erase_if(parts, [&](Ref part) {
            return std::find(members.begin(), members.end(), part) != members.end();
        });
        parts.push_back(ref);
    }
}

Ref Program::intern(Kind kind, std::vector<Ref> children) {
    const Ref neutral = kind == Kind::all ? kTrue : kFalse;
    std::vector<Ref> parts;
    for (const Ref child : children) {
        if (child == negate(neutral)) return negate(neutral);
        if (child != neutral) flatten(kind, child, parts);
    }
    merge(parts, kind == Kind::all);
    std::sort(parts.begin(), parts.end());
    parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
    for (std::size_t i = 1; i < parts.size(); ++i)
        if (parts[i] == negate(parts[i - 1]) && parts[i] / 2 == parts[i - 1] / 2)
            return negate(neutral); // a and not a
    if (parts.empty()) return neutral;
    if (parts.size() == 1) return parts.front();
    const auto key = std::make_pair(kind, parts);
    const auto found = node_of_.find(key);
    if (found != node_of_.end()) return found->second;
    Node made;
    made.kind = kind;
    made.of_process = made.of_path = true;
    for (const Ref part : parts) {
        made.cost += node(part).cost * 0.7F;
        made.path_view |= node(part).path_view;
        made.of_process &= node(part).of_process;
        made.of_path &= node(part).of_path;
    }
    made.children = parts;
    const auto ref = static_cast<Ref>(nodes_.size() * 2);
    nodes_.push_back(std::move(made));
    node_of_.emplace(key, ref);
    return ref;
}

Result<Ref> Program::convert(const rules::Node& node, bool negated) {
    switch (node.kind) {
    case rules::Node::Kind::negation: return convert(*node.children.at(0), !negated);
    case rules::Node::Kind::all:
    case rules::Node::Kind::any: {
        const bool all = (node.kind == rules::Node::Kind::all) != negated;
        std::vector<Ref> children;
        for (const rules::NodePtr& child : node.children)
            children.push_back(TRY(convert(*child, negated)));
        return intern(all ? Kind::all : Kind::any, std::move(children));
    }
    case rules::Node::Kind::check: {
        Check check = TRY(build_check(node));
        return intern_check(std::move(check)) ^ (negated ? 1U : 0U);
    }
    case rules::Node::Kind::macro:
        return fail(Code::invalid, "macro {} was not expanded", node.macro);
    }
    return fail(Code::internal, "unknown node");
}

Result<Ref> Program::add(const rules::Node& condition) { return convert(condition, false); }

Truth Program::truth(const Check& check, std::uint16_t kind) const {
    if (is_event_type(check)) return type_holds(check, kind) ? Truth::always : Truth::never;
    if (!check.left.applies(kind)) return Truth::never;
    if (check.right && !check.right->applies(kind)) return Truth::never;
    if (check.left.kind != Term::Kind::field || check.test == nullptr ||
        check.modifier != Modifier::none || check.right)
        return Truth::depends;
    const std::string_view name = check.left.field.row->name;
    Value value;
    if (name == "evt.num") {
        // Counted from 1.
        if (check.op == Operator::equal && check.numbers == std::vector<std::int64_t>{0})
            return Truth::never;
        return Truth::depends;
    }
    if (name == "evt.dir" || name == "evt.source") {
        value.text = name == "evt.dir" ? "<" : "syscall";
        return check.test(check, value) ? Truth::always : Truth::never;
    }
    if (name.starts_with("evt.is_open_") && !kind_is_open(kind))
        return check.test(check, value) ? Truth::always : Truth::never;
    return Truth::depends;
}

Ref Program::fold(Ref ref, std::uint16_t kind) {
    if (ref <= kTrue) return ref;
    const std::uint64_t key = std::uint64_t{ref / 2} << 16 | kind;
    const auto found = folded_.find(key);
    if (found != folded_.end()) return found->second ^ (ref & 1);
    Ref out = ref & ~1U;
    const Kind of = node(ref).kind;
    if (of == Kind::check) {
        switch (truth(check(node(ref)), kind)) {
        case Truth::never: out = kFalse; break;
        case Truth::always: out = kTrue; break;
        case Truth::depends: break;
        }
    } else {
        const std::vector<Ref> children = node(ref).children;
        std::vector<Ref> folded;
        folded.reserve(children.size());
        for (const Ref child : children)
            folded.push_back(fold(child, kind));
        out = intern(of, std::move(folded));
    }
    folded_.emplace(key, out);
    return out ^ (ref & 1);
}

void Program::finish() {
    for (Node& one : nodes_)
        std::sort(one.children.begin(), one.children.end(), [&](Ref a, Ref b) {
            return node(a).cost != node(b).cost ? node(a).cost < node(b).cost : a < b;
        });
    steps_.clear();
    for (const Node& one : nodes_) {
        Step step;
        step.kind = one.kind;
        step.path_view = one.path_view;
        if (one.kind == Kind::check) {
            step.check = &checks_[one.check];
            step.many = ways_[one.check] == Way::many;
            step.first = check_slots_[one.check];
        } else {
            step.first = static_cast<std::uint32_t>(children_.size());
            step.count = static_cast<std::uint32_t>(one.children.size());
            children_.insert(children_.end(), one.children.begin(), one.children.end());
        }
        steps_.push_back(step);
    }
    node_of_.clear();
    folded_.clear();
    check_of_.clear();
    slot_of_.clear();
}

std::vector<Ref> Program::conjuncts(Ref ref) const {
    std::vector<Ref> out;
    flatten(Kind::all, ref, out);
    return out;
}

const Program::Slot& Program::slot_of(const Step& step) {
    const Term& term = step.check->left;
    Slot& slot = slots_[step.first];
    const std::uint64_t stamp = step.path_view ? view_stamp_ : stamp_;
    if (slot.stamp != stamp) {
        slot.stamp = stamp;
        Cursor cursor;
        slot.present = term.kind == Term::Kind::field
                           ? term.field.row->extract(*scene_, term.field, cursor, slot.value)
                           : evaluate_term(term, *scene_, cursor, slot.value);
    }
    return slot;
}

const Value* Program::value_of(Ref ref) {
    const Slot& slot = slot_of(steps_[ref / 2]);
    return slot.present ? &slot.value : nullptr;
}

bool Program::is_member(Ref ref) const {
    const Node& one = node(ref);
    if (one.kind != Kind::check || ways_[one.check] != Way::slot) return false;
    const Check& of = check(one);
    return (of.left.type == Type::text || of.left.type == Type::path) &&
           (of.op == Operator::equal || of.op == Operator::in || of.op == Operator::intersects);
}

bool Program::judge(const Step& step) {
    const Check& check = *step.check;
    if (step.many) return check_many(check, *scene_);
    const Slot& slot = slot_of(step);
    return slot.present && check.test(check, slot.value);
}

bool Program::holds(Ref ref) {
    Step& step = steps_[ref / 2];
    const bool negated = (ref & 1) != 0;
    const std::uint64_t stamp = step.path_view ? view_stamp_ : stamp_;
    if (step.stamp == stamp) return step.known != negated;
    bool value = false;
    if (step.kind == Kind::check) {
        value = judge(step);
    } else if (step.kind != Kind::constant) {
        value = step.kind == Kind::all;
        const Ref* child = children_.data() + step.first;
        for (std::uint32_t i = 0; i < step.count; ++i)
            if (holds(child[i]) != value) {
                value = !value;
                break;
            }
    }
    step.stamp = stamp;
    step.known = value;
    return value != negated;
}

namespace {

// Kinds keep their numbers; names that are no kind follow.
std::size_t type_count() { return BL_EVENT_KIND_MAX + event_name_count(); }

bool is_type(std::size_t index) {
    if (index < BL_EVENT_KIND_MAX) return kind_is_event(static_cast<std::uint16_t>(index));
    const std::string_view name = event_name(index - BL_EVENT_KIND_MAX);
    for (std::uint16_t kind = 0; kind < BL_EVENT_KIND_MAX; ++kind)
        if (kind_is_event(kind) && kind_text(kind) == name) return false;
    return true;
}

const std::vector<bool>& every_type() {
    static const auto kAll = [] {
        std::vector<bool> all(type_count());
        for (std::size_t i = 0; i < all.size(); ++i)
            all[i] = is_type(i);
        return all;
    }();
    return kAll;
}

EventTypes types_of_check(const rules::Node& node) {
    const std::vector<bool>& all = every_type();
    EventTypes out{.possible = all, .always = std::vector<bool>(all.size())};
    if (node.left.kind != rules::Expression::Kind::field || node.right) return out;
    if (node.left.name == "evt.num" && node.op == Operator::equal && node.values.size() == 1 &&
        node.values[0].text == "0") {
        out.possible.assign(all.size(), false);
        return out;
    }
    if (node.left.name == "evt.dir" && node.op == Operator::equal && node.values.size() == 1) {
        (node.values[0].text == ">" ? out.possible : out.always) =
            node.values[0].text == ">" ? std::vector<bool>(all.size()) : all;
        return out;
    }
    if (node.left.name != "evt.type") return out;
    auto check = build_check(node);
    if (!check) return out;
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (!all[i]) continue;
        bool holds = false;
        if (i < BL_EVENT_KIND_MAX) {
            holds = type_holds(*check, static_cast<std::uint16_t>(i));
        } else {
            Value value;
            value.text = event_name(i - BL_EVENT_KIND_MAX);
            holds = check->modifier == Modifier::none ? check->test(*check, value) : false;
        }
        out.possible[i] = out.always[i] = holds;
    }
    return out;
}

} // namespace

std::size_t EventTypes::count() const {
    return static_cast<std::size_t>(std::count(possible.begin(), possible.end(), true));
}

EventTypes event_types(const rules::Node& condition) {
    const std::size_t size = every_type().size();
    switch (condition.kind) {
    case rules::Node::Kind::negation: {
        EventTypes inner = event_types(*condition.children.at(0));
        EventTypes out = inner;
        for (std::size_t i = 0; i < size; ++i) {
            out.possible[i] = every_type()[i] && !inner.always[i];
            out.always[i] = every_type()[i] && !inner.possible[i];
        }
        return out;
    }
    case rules::Node::Kind::all:
    case rules::Node::Kind::any: {
        const bool all = condition.kind == rules::Node::Kind::all;
        EventTypes out{.possible = std::vector<bool>(size, all),
                       .always = std::vector<bool>(size, all)};
        for (const rules::NodePtr& child : condition.children) {
            const EventTypes part = event_types(*child);
            for (std::size_t i = 0; i < size; ++i) {
                out.possible[i] =
                    all ? out.possible[i] && part.possible[i] : out.possible[i] || part.possible[i];
                out.always[i] =
                    all ? out.always[i] && part.always[i] : out.always[i] || part.always[i];
            }
        }
        return out;
    }
    case rules::Node::Kind::check: return types_of_check(condition);
    case rules::Node::Kind::macro: break;
    }
    return {.possible = every_type(), .always = std::vector<bool>(size)};
}

bool can_match(const EventTypes& types, std::uint16_t kind) { return types.possible[kind]; }

} // namespace beeline::security::engine
