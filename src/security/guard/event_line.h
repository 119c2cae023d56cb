// An event as one line of JSON, for `beeline events`.
#pragma once

#include <string>

#include "security/events/event.h"

namespace beeline::security {

std::string event_line(const Event& event);

} // namespace beeline::security
