// Label selectors of filters: Kubernetes' syntax, with a source before the key ("k8s:app in (web, api), !reserved:host").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/repeated_field.h>

#include "base/result.h"

namespace beeline::hubble {

using LabelTexts =
    google::protobuf::RepeatedPtrField<std::string>; // "k8s:app=web", "reserved:host"

class Selector {
public:
    static Result<Selector> parse(std::string_view text);
    // All requirements hold.
    [[nodiscard]] bool matches(const LabelTexts& labels) const;

private:
    enum class Operator : std::uint8_t { in, not_in, exists, absent, greater, less };
    struct Requirement {
        std::string source; // empty: any
        std::string key;
        Operator op = Operator::exists;
        std::vector<std::string> values;
        std::int64_t number = 0; // of greater and less
        [[nodiscard]] bool holds(const LabelTexts& labels) const;
        [[nodiscard]] bool holds_for(std::string_view value) const;
    };
    class Parser;
    std::vector<Requirement> requirements_;
};

} // namespace beeline::hubble
