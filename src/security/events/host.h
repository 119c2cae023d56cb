// What this machine calls its users, groups and itself.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace beeline::security {

// Of a file like /etc/passwd or /etc/group: number -> name; the first name of a number counts.
std::map<std::uint32_t, std::string> parse_names(std::string_view file);

struct HostNames {
    std::string hostname;
    std::int64_t boot_time_ns = 0; // CLOCK_REALTIME - CLOCK_BOOTTIME
    std::map<std::uint32_t, std::string> users;
    std::map<std::uint32_t, std::string> groups;
    std::vector<std::string> addresses; // of its interfaces
};
HostNames host_facts();

} // namespace beeline::security
