#include "security/events/host.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <unistd.h>

#include <array>
#include <ctime>

#include "base/file.h"
#include "security/events/json_read.h"

namespace beeline::security {
namespace {

constexpr std::size_t kMostFile = 4U << 20;
constexpr std::size_t kMostNames = 65536;

std::int64_t clock_ns(clockid_t clock) {
    timespec now{};
    ::clock_gettime(clock, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

std::vector<std::string> interface_addresses() {
    std::vector<std::string> out;
    ifaddrs* all = nullptr;
    if (::getifaddrs(&all) != 0) return out;
    for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
        if (one->ifa_addr == nullptr) continue;
        std::array<char, INET6_ADDRSTRLEN> text{};
        const void* address = nullptr;
        const int family = one->ifa_addr->sa_family;
        if (family == AF_INET)
            address = &reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr;
        if (family == AF_INET6)
            address = &reinterpret_cast<const sockaddr_in6*>(one->ifa_addr)->sin6_addr;
        if (address != nullptr && ::inet_ntop(family, address, text.data(), text.size()) != nullptr)
            out.emplace_back(text.data());
    }
    ::freeifaddrs(all);
    return out;
}

} // namespace

std::map<std::uint32_t, std::string> parse_names(std::string_view file) {
    std::map<std::uint32_t, std::string> out;
    while (!file.empty() && out.size() < kMostNames) {
        const auto end = std::min(file.find('\n'), file.size());
        const auto line = file.substr(0, end);
        file.remove_prefix(std::min(end + 1, file.size()));
        const auto name = line.find(':');
        if (name == std::string_view::npos || name == 0 || line[0] == '#') continue;
        const auto password = line.find(':', name + 1);
        if (password == std::string_view::npos) continue;
        const auto number_end = std::min(line.find(':', password + 1), line.size());
        const auto number =
            whole_number<std::uint32_t>(line.substr(password + 1, number_end - password - 1));
        if (number) out.emplace(*number, line.substr(0, name));
    }
    return out;
}

HostNames host_facts() {
    HostNames out;
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) == 0) out.hostname = name.data();
    out.boot_time_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
    if (const auto passwd = read_file("/etc/passwd", kMostFile)) out.users = parse_names(*passwd);
    if (const auto group = read_file("/etc/group", kMostFile)) out.groups = parse_names(*group);
    out.addresses = interface_addresses();
    return out;
}

} // namespace beeline::security
