// Which metrics of flows are kept, in the words of Hubble's option: "dns:query;ignoreAAAA drop:sourceContext=pod|ip".
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "observe/metrics/contexts.h"

namespace beeline::observe::metrics {

struct Enabled {
    std::string name; // "httpV2"
    Contexts contexts;
    std::map<std::string, std::string>
        flags;        // "query" -> "", "exemplars" -> "true"; keys in lower case
    std::string text; // as it was written
};

// One or more entries, separated by spaces. Unknown names, options and values are errors.
Result<std::vector<Enabled>> parse_enabled(std::string_view text);
// Several texts make one list: a name stands in it once, and http and httpV2 exclude each other.
Result<std::vector<Enabled>> parse_enabled(const std::vector<std::string>& texts);

// What Hubble's bundled dashboards need, and Beeline's own L7 metrics.
std::vector<std::string> recommended_texts();
std::vector<Enabled> recommended();

} // namespace beeline::observe::metrics
