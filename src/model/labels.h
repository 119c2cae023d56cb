// Labels and the selectors of Kubernetes.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace beeline::model {

using Labels = std::map<std::string, std::string>;

struct Requirement {
    enum class Operator { in, not_in, exists, does_not_exist };
    std::string key;
    Operator op = Operator::exists;
    std::vector<std::string> values; // of in and not_in, at least one

    // not_in and does_not_exist also match labels that lack the key.
    [[nodiscard]] bool matches(const Labels& labels) const;
    [[nodiscard]] std::string
    to_string() const; // "app=web", "app!=web", "tier in (a,b)", "tier notin (a,b)", "x", "!x"
    bool operator==(const Requirement&) const = default;
};

// All requirements must hold; an empty selector matches everything. matchLabels become `in` with
// one value.
struct LabelSelector {
    std::vector<Requirement> requirements;

    [[nodiscard]] bool matches(const Labels& labels) const;
    [[nodiscard]] std::string to_string() const; // "app=web,tier in (a,b),!x", "*" when empty
    bool operator==(const LabelSelector&) const = default;
};

} // namespace beeline::model
