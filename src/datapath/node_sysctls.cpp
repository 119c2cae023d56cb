#include "datapath/node_sysctls.h"

#include <unistd.h>

#include <filesystem>
#include <map>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "net/sysctl.h"

namespace beeline::datapath {
namespace {

struct Change {
    std::string name;
    std::string value;
};

// In an order in which they may be applied one after the other.
std::vector<Change> wanted_changes(bool ipv4, bool ipv6) {
    std::vector<Change> changes;
    if (ipv4) {
        // The strictest of `all` and the device's own counts.
        changes.push_back({"net/ipv4/conf/all/rp_filter", "0"});
        changes.push_back({"net/ipv4/ip_forward", "1"});
    }
    if (ipv6) {
        // A forwarding host ignores router advertisements, and with them its own default route, unless told otherwise.
        std::error_code error;
        for (const auto& entry :
             std::filesystem::directory_iterator("/proc/sys/net/ipv6/conf", error)) {
            const std::string name = entry.path().filename();
            const std::string sysctl = "net/ipv6/conf/" + name + "/accept_ra";
            const auto value = net::read_sysctl(sysctl);
            if (value && *value == "1" && name != "all" && name != "default" && name != "lo") {
                changes.push_back({sysctl, "2"});
            }
        }
        changes.push_back({"net/ipv6/conf/all/forwarding", "1"});
    }
    return changes;
}

// name -> [value before, value set]
nlohmann::json read_saved(const std::string& file) {
    const auto text = read_file(file);
    auto saved = text ? nlohmann::json::parse(*text, nullptr, false) : nlohmann::json::object();
    return saved.is_object() ? saved : nlohmann::json::object();
}

} // namespace

Result<> set_node_sysctls(const std::string& file, bool ipv4, bool ipv6) {
    auto saved = read_saved(file);
    std::vector<Change> changes;
    for (auto& change : wanted_changes(ipv4, ipv6)) {
        const std::string before = TRY(net::read_sysctl(change.name));
        if (before == change.value) continue;
        if (!saved.contains(change.name)) saved[change.name] = {before, change.value};
        changes.push_back(std::move(change));
    }
    if (changes.empty()) return {};
    // First the note, then the deed: what was changed can always be put back.
    TRY(replace_file(file, saved.dump(1)));
    for (const auto& change : changes)
        TRY(net::write_sysctl(change.name, change.value));
    return {};
}

Result<> restore_node_sysctls(const std::string& file) {
    const auto saved = read_saved(file);
    Result<> outcome;
    for (const auto& [name, values] : saved.items()) {
        if (!values.is_array() || values.size() != 2 || !values[0].is_string() ||
            !values[1].is_string())
            continue;
        const auto now = net::read_sysctl(name);
        if (!now || *now != values[1].get<std::string>()) continue;
        const auto done = net::write_sysctl(name, values[0].get<std::string>());
        if (!done && outcome) outcome = done;
    }
    if (outcome && ::unlink(file.c_str()) < 0 && errno != ENOENT)
        return fail_errno(errno, fmt::format("remove '{}'", file));
    return outcome;
}

} // namespace beeline::datapath
