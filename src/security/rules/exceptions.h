// Exceptions of rules: `and not (...)` for each that has values.
#pragma once

#include <string_view>

#include "security/rules/items.h"

namespace beeline::security::rules {

// Fields, operators and lengths of one that is defined. False: it was reported.
bool check_exception(const Exception& exception, std::string_view source, const Trail& rule,
                     const Catalog& catalog, Report& report);
// Values that are appended to `exception`, which is good.
bool check_values(const Exception& exception, const Exception& with_values, const Trail& rule,
                  Report& report);

// The condition with the exceptions put behind it; itself if none has values.
MappedText with_exceptions(const MappedText& condition, const std::vector<Exception>& exceptions);

} // namespace beeline::security::rules
