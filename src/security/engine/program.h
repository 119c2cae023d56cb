// All conditions as one graph: equal parts exist once, and are judged once an event.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "security/engine/check.h"

namespace beeline::security::engine {

// A node, or its negation: node * 2 + 1.
using Ref = std::uint32_t;
inline constexpr Ref kFalse = 0; // node 0
inline constexpr Ref kTrue = 1;
constexpr Ref negate(Ref ref) { return ref ^ 1; }

// Possible values of a condition.
enum class Truth : std::uint8_t { never, always, depends };

class Program {
public:
    enum class Kind : std::uint8_t { constant, check, all, any };
    struct Node {
        Kind kind = Kind::constant;
        bool path_view = false;
        bool of_process = false; // follows from what Process::facts stands for
        bool of_path = false;    // follows from the path, flags and failure of an open
        std::uint32_t check = 0;
        float cost = 0;
        std::vector<Ref> children;
    };

    Program();

    // Adds a condition; what it means for every kind of event.
    Result<Ref> add(const rules::Node& condition);
    // What is left of it for one kind of event.
    Ref fold(Ref ref, std::uint16_t kind);
    // Sorts children by cost. After the last add() and fold().
    void finish();

    [[nodiscard]] const Node& node(Ref ref) const { return nodes_[ref / 2]; }
    [[nodiscard]] const Check& check(const Node& node) const { return checks_[node.check]; }
    [[nodiscard]] std::size_t size() const { return nodes_.size(); }
    [[nodiscard]] const std::vector<Check>& checks() const { return checks_; }
    // Top-level parts that must all hold.
    [[nodiscard]] std::vector<Ref> conjuncts(Ref ref) const;

    // Evaluation: a new event, or the same seen by the reached path.
    void start(Scene& scene) {
        scene_ = &scene;
        stamp_ += 2;
        view_stamp_ = stamp_;
    }
    void reached() { view_stamp_ = stamp_ + 1; }
    bool holds(Ref ref);
    // The value that this check looks at, null if it is absent. Only of checks with is_member().
    const Value* value_of(Ref ref);
    // Whether it only asks if one text is among some: node(ref) is such a check, negated or not.
    [[nodiscard]] bool is_member(Ref ref) const;

private:
    struct Slot {
        std::uint64_t stamp = 0;
        bool present = false;
        Value value;
    };
    // How a check is judged.
    enum class Way : std::uint8_t { slot, many };

    Result<Ref> convert(const rules::Node& node, bool negated);
    Ref intern_check(Check check);
    Ref intern(Kind kind, std::vector<Ref> children);
    void flatten(Kind kind, Ref ref, std::vector<Ref>& out) const;
    // One check for several of the same field among the parts of `any` (or, negated, of `all`).
    void merge(std::vector<Ref>& parts, bool negated);
    Truth truth(const Check& check, std::uint16_t kind) const;

    // What evaluation needs of a node, close together.
    struct Step {
        std::uint64_t stamp = 0;
        Kind kind = Kind::constant;
        bool path_view = false;
        bool known = false; // the value at `stamp`
        bool many = false;
        std::uint32_t first = 0, count = 0; // children; of a check its slot
        const Check* check = nullptr;
    };
    bool judge(const Step& step);
    const Slot& slot_of(const Step& step);

    std::vector<Step> steps_;
    std::vector<Ref> children_;
    std::vector<Node> nodes_;
    std::vector<Check> checks_;
    std::vector<std::uint32_t> check_slots_;
    std::vector<Way> ways_;
    std::vector<Slot> slots_;
    std::unordered_map<std::string, std::uint32_t> slot_of_;
    std::unordered_map<std::string, Ref> check_of_;
    std::map<std::pair<Kind, std::vector<Ref>>, Ref> node_of_;
    std::unordered_map<std::uint64_t, Ref> folded_; // node and kind
    Scene* scene_ = nullptr;
    std::uint64_t stamp_ = 0;
    std::uint64_t view_stamp_ = 0;
};

// Which event types a condition can match at all: for the index and the warning about broad rules.
// Names are numbered: kinds first, then the names of names.h that are no kind.
struct EventTypes {
    std::vector<bool> possible;
    std::vector<bool> always;
    [[nodiscard]] std::size_t count() const;
};
EventTypes event_types(const rules::Node& condition);
bool can_match(const EventTypes& types, std::uint16_t kind);

} // namespace beeline::security::engine
