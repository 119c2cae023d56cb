// Finds the labelled things that a selector chooses without asking each of them.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/labels.h"

namespace beeline::model {

class LabelIndex {
public:
    using Id = std::uint32_t;

    // Ids count from 0 in the order of the calls. `labels` must outlive the index.
    Id add(const std::string& space, const Labels& labels);

    // What `selector` matches within `spaces` (each named once), ascending.
    [[nodiscard]] std::vector<Id> select(const LabelSelector& selector,
                                         const std::vector<std::string>& spaces) const;

private:
    struct Item {
        std::uint32_t space;
        const Labels* labels;
    };
    using Postings = std::vector<const std::vector<Id>*>;

    [[nodiscard]] Postings postings_of(const Requirement& requirement) const;

    std::vector<Item> items_;
    std::unordered_map<std::string, std::uint32_t> spaces_;
    std::vector<std::vector<Id>> by_space_;
    std::unordered_map<std::string, std::vector<Id>> by_key_;
    std::unordered_map<std::string, std::vector<Id>> by_label_;
};

} // namespace beeline::model
