// Hubble's flow filters, compiled once.
#pragma once

#include <functional>
#include <vector>

#include <flow/flow.pb.h>

#include "base/result.h"

namespace beeline::hubble {

using FlowFilters = google::protobuf::RepeatedPtrField<::flow::FlowFilter>;

// Bounds of one request.
inline constexpr int kMaxFilters = 1000;      // of a list
inline constexpr int kMaxValues = 10'000;     // of one field
inline constexpr std::size_t kMaxText = 4096; // of one value

// Fields that are set must all hold; of the values of one field any. Any thread.
class Filter {
public:
    // `where` is named in errors, "whitelist[0]"; so is the field.
    static Result<Filter> compile(const ::flow::FlowFilter& filter, std::string_view where);
    [[nodiscard]] bool matches(const ::flow::Flow& flow) const;

private:
    using Test = std::function<bool(const ::flow::Flow&)>;
    class Compiler;
    std::vector<Test> tests_;
};

// Kept: what any filter of the whitelist matches, or the whitelist is empty, and none of the blacklist.
class FilterLists {
public:
    FilterLists() = default;
    static Result<FilterLists> compile(const FlowFilters& whitelist, const FlowFilters& blacklist);
    [[nodiscard]] bool keeps(const ::flow::Flow& flow) const;
    [[nodiscard]] bool empty() const { return whitelist_.empty() && blacklist_.empty(); }

private:
    std::vector<Filter> whitelist_;
    std::vector<Filter> blacklist_;
};

} // namespace beeline::hubble
