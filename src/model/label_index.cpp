#include "model/label_index.h"

#include <algorithm>

namespace beeline::model {
namespace {

std::string label_text(const std::string& key, const std::string& value) {
    std::string text;
    text.reserve(key.size() + value.size() + 1);
    return text.append(key).append(1, '\0').append(value);
}

std::size_t total(const std::vector<const std::vector<LabelIndex::Id>*>& lists) {
    std::size_t sum = 0;
    for (const auto* list : lists)
        sum += list->size();
    return sum;
}

} // namespace

LabelIndex::Id LabelIndex::add(const std::string& space, const Labels& labels) {
    const Id id = static_cast<Id>(items_.size());
    const auto [known, is_new] =
        spaces_.try_emplace(space, static_cast<std::uint32_t>(by_space_.size()));
    if (is_new) by_space_.emplace_back();
    by_space_[known->second].push_back(id);
    for (const auto& [key, value] : labels) {
        by_key_[key].push_back(id);
        by_label_[label_text(key, value)].push_back(id);
    }
    items_.push_back({known->second, &labels});
    return id;
}

LabelIndex::Postings LabelIndex::postings_of(const Requirement& requirement) const {
    Postings lists;
    const auto append = [&](const auto& index, const std::string& text) {
        const auto found = index.find(text);
        if (found == index.end()) return;
        // A value listed twice must not give its things twice.
        if (std::find(lists.begin(), lists.end(), &found->second) == lists.end()) {
            lists.push_back(&found->second);
        }
    };
    if (requirement.op == Requirement::Operator::exists) append(by_key_, requirement.key);
    if (requirement.op == Requirement::Operator::in) {
        for (const std::string& value : requirement.values) {
            append(by_label_, label_text(requirement.key, value));
        }
    }
    return lists;
}

std::vector<LabelIndex::Id> LabelIndex::select(const LabelSelector& selector,
                                               const std::vector<std::string>& spaces) const {
    // The shortest of: everything in the namespaces, or what has the labels that one requirement
    // asks for.
    std::vector<bool> wanted(by_space_.size());
    Postings shortest;
    for (const std::string& space : spaces) {
        const auto found = spaces_.find(space);
        if (found == spaces_.end()) continue;
        wanted[found->second] = true;
        shortest.push_back(&by_space_[found->second]);
    }
    for (const Requirement& requirement : selector.requirements) {
        if (requirement.op == Requirement::Operator::not_in ||
            requirement.op == Requirement::Operator::does_not_exist) {
            continue;
        }
        Postings lists = postings_of(requirement);
        if (total(lists) < total(shortest)) shortest = std::move(lists);
    }

    std::vector<Id> chosen;
    for (const std::vector<Id>* list : shortest) {
        for (const Id id : *list) {
            if (wanted[items_[id].space] && selector.matches(*items_[id].labels)) {
                chosen.push_back(id);
            }
        }
    }
    std::sort(chosen.begin(), chosen.end());
    return chosen;
}

} // namespace beeline::model
