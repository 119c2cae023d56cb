// Times of the API for people.
#pragma once

#include <string>

namespace beeline::cli {

// "2026-11-25T09:00:00.123456789Z" as "Nov 25 09:00:00.123" of this machine's time zone; `whole`: as it is.
std::string short_time(const std::string& time, bool whole);

} // namespace beeline::cli
