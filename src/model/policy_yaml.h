// A policy as the NetworkPolicy manifest that means it.
#pragma once

#include <string>
#include <string_view>

#include "model/labels.h"
#include "model/policy.h"

namespace beeline::model {

// Precondition: every rule allows; NetworkPolicy knows no deny rules.
std::string to_yaml(const Policy& policy);

// `text` as a YAML scalar: plain where that is read as the same text, else in double quotes.
std::string yaml_scalar(std::string_view text);
// "{app: web, tier: front}"
std::string yaml_labels(const Labels& labels);

} // namespace beeline::model
