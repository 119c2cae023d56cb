#include "api/client/paths.h"

#include <algorithm>
#include <cstdlib>

namespace beeline::api {
namespace {

bool is_name(std::string_view text) {
    const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    return !text.empty() && text.size() <= 32 && plain(text.front()) && plain(text.back()) &&
           std::all_of(text.begin(), text.end(), [&](char c) { return plain(c) || c == '-'; });
}

} // namespace

Result<Paths> paths_for(std::string_view instance) {
    if (!instance.empty() && (!is_name(instance) || instance == "default")) {
        return fail(Code::invalid,
                    "'{}' cannot name an instance: use at most 32 of a-z, 0-9 and '-', not '-' at "
                    "an end, not "
                    "'default'",
                    instance);
    }
    const std::string tail = instance.empty() ? "" : "/" + std::string(instance);
    const std::string leaf = instance.empty() ? "/default" : tail;
    return Paths{.instance = std::string(instance),
                 .run = "/run/beeline" + tail,
                 .state = "/var/lib/beeline" + tail,
                 .pins = "/sys/fs/bpf/beeline" + leaf,
                 .manifests = "/etc/beeline" + tail + "/manifests",
                 .cgroup = "beeline" + leaf};
}

Result<Paths> paths_from_environment(std::string_view given) {
    if (!given.empty()) return paths_for(given);
    const char* name = std::getenv("BEELINE_INSTANCE");
    return paths_for(name != nullptr ? name : "");
}

} // namespace beeline::api
