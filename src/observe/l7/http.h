// What HTTP/1 and HTTP/2 share: a message's fields from its header fields.
#pragma once

#include <string_view>

#include "observe/l7/parser.h"

namespace beeline::observe::l7 {

bool iequals(std::string_view a, std::string_view b); // ASCII
std::string_view trim(std::string_view text);         // spaces and tabs

// Host, traceparent and the headers to keep, redacted. `name` in any case.
void add_header(model::L7& message, std::string_view name, std::string_view value,
                const Context& context);
// Splits a request target into host (of the absolute form), resource and url.
void set_target(model::L7& message, std::string_view target, const Context& context);

} // namespace beeline::observe::l7
