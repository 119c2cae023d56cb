#include "model/labels.h"

#include <algorithm>

#include <fmt/format.h>

namespace beeline::model {

bool Requirement::matches(const Labels& labels) const {
    const auto label = labels.find(key);
    const bool present = label != labels.end();
    const bool listed =
        present && std::find(values.begin(), values.end(), label->second) != values.end();
    switch (op) {
    case Operator::in: return listed;
    case Operator::not_in: return !listed;
    case Operator::exists: return present;
    case Operator::does_not_exist: return !present;
    }
    return false;
}

std::string Requirement::to_string() const {
    const bool one = values.size() == 1;
    switch (op) {
    case Operator::in:
        return one ? fmt::format("{}={}", key, values[0])
                   : fmt::format("{} in ({})", key, fmt::join(values, ","));
    case Operator::not_in:
        return one ? fmt::format("{}!={}", key, values[0])
                   : fmt::format("{} notin ({})", key, fmt::join(values, ","));
    case Operator::exists: return key;
    case Operator::does_not_exist: return "!" + key;
    }
    return key;
}

bool LabelSelector::matches(const Labels& labels) const {
    return std::all_of(requirements.begin(), requirements.end(),
                       [&](const Requirement& one) { return one.matches(labels); });
}

std::string LabelSelector::to_string() const {
    if (requirements.empty()) return "*";
    std::string text;
    for (const Requirement& requirement : requirements) {
        if (!text.empty()) text += ',';
        text += requirement.to_string();
    }
    return text;
}

} // namespace beeline::model
