#include "cli/time_text.h"

#include <algorithm>
#include <ctime>

#include <fmt/format.h>

namespace beeline::cli {

std::string short_time(const std::string& time, bool whole) {
    tm utc{};
    const char* rest = strptime(time.c_str(), "%Y-%m-%dT%H:%M:%S", &utc);
    if (whole || rest == nullptr) return time;
    std::string fraction = *rest == '.' ? rest + 1 : "";
    fraction =
        fraction.substr(0, std::min<std::size_t>(3, fraction.find_first_not_of("0123456789")));
    fraction.resize(3, '0');
    const time_t seconds = timegm(&utc);
    tm local{};
    localtime_r(&seconds, &local);
    char text[32];
    std::strftime(text, sizeof(text), "%b %d %H:%M:%S", &local);
    return fmt::format("{}.{}", text, fraction);
}

} // namespace beeline::cli
