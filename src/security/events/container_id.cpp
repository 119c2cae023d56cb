#include "security/events/container_id.h"

#include <algorithm>
#include <array>
#include <vector>

namespace beeline::security {
namespace {

constexpr std::size_t kIdLength = 64;

bool is_id(std::string_view text) {
    return text.size() == kIdLength && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

// Names that containerd and LXC allow; they become part of paths.
bool is_name(std::string_view text) {
    return !text.empty() && text.size() <= kIdLength && text.front() != '.' &&
           std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      c == '-' || c == '_' || c == '.';
           });
}

struct Form {
    std::string_view before;
    std::string_view runtime;
    bool scope_optional;
};
// What follows is an id, and ".scope".
constexpr std::array<Form, 7> kForms{{{"docker-", "docker", false},
                                      {"crio-", "cri-o", true},
                                      {"cri-containerd-", "containerd", false},
                                      {"nerdctl-", "containerd", false},
                                      {"libpod-payload-", "podman", true},
                                      {"libpod-", "podman", true},
                                      {"buildkit-", "docker", true}}};

std::optional<ContainerId> named_in_full(std::string_view part) {
    for (const auto& form : kForms) {
        if (!part.starts_with(form.before)) continue;
        auto id = part.substr(form.before.size());
        const bool scope = id.ends_with(".scope");
        if (scope) id.remove_suffix(6);
        if (is_id(id) && (scope || form.scope_optional))
            return ContainerId{std::string(id), std::string(form.runtime), false, {}};
    }
    constexpr std::string_view kMiddle = ":cri-containerd:";
    const auto middle = part.find(kMiddle);
    if (middle != std::string_view::npos && is_id(part.substr(middle + kMiddle.size())))
        return ContainerId{
            std::string(part.substr(middle + kMiddle.size())), "containerd", false, {}};
    constexpr std::string_view kPayload = "lxc.payload.";
    if (part.starts_with(kPayload) && is_name(part.substr(kPayload.size())))
        return ContainerId{std::string(part.substr(kPayload.size())), "lxc", false, {}};
    return std::nullopt;
}

// A part that is nothing but an id or a name: its parent tells what it can be.
std::optional<ContainerId> named_by_parent(const std::vector<std::string_view>& parts,
                                           std::size_t at) {
    if (at == 0) return std::nullopt;
    const auto part = parts[at];
    const auto parent = parts[at - 1];
    if (is_id(part)) {
        if (parent == "docker") return ContainerId{std::string(part), "docker", false, {}};
        // The kubelet's folder of a pod; the runtime is known when its files are found.
        // The kubelet may have been given a cgroup for all its pods.
        if (parent.starts_with("pod") &&
            std::any_of(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(at),
                        [](auto above) { return above.starts_with("kubepods"); }))
            return ContainerId{std::string(part), "containerd", false, {}};
        if (parent == "libpod_parent") return ContainerId{std::string(part), "podman", false, {}};
    }
    if (parent == "lxc" || parent == "lxc.payload")
        return is_name(part) ? std::optional(ContainerId{std::string(part), "lxc", false, {}})
                             : std::nullopt;
    // Someone's own parent cgroup, or /NAMESPACE/ID as `ctr` has it.
    if (is_id(part)) return ContainerId{std::string(part), "docker", true, {}};
    const auto is_unit = [](std::string_view name) {
        return name.ends_with(".service") || name.ends_with(".slice") || name.ends_with(".scope");
    };
    if (at == 1 && is_name(part) && is_name(parent) && !is_unit(part) && !is_unit(parent))
        return ContainerId{std::string(part), "containerd", true, std::string(parent)};
    return std::nullopt;
}

} // namespace

std::optional<ContainerId> container_of_cgroup(std::string_view path) {
    std::vector<std::string_view> parts;
    while (!path.empty()) {
        const auto slash = std::min(path.find('/'), path.size());
        if (slash != 0) parts.push_back(path.substr(0, slash));
        path.remove_prefix(std::min(slash + 1, path.size()));
    }
    std::optional<ContainerId> unsure;
    for (std::size_t at = parts.size(); at-- > 0;) {
        auto found = named_in_full(parts[at]);
        if (!found) found = named_by_parent(parts, at);
        if (found && !found->unsure) return found;
        if (found && !unsure) unsure = std::move(found);
    }
    return unsure;
}

std::string short_container_id(std::string_view id) {
    return std::string(is_id(id) ? id.substr(0, 12) : id);
}

} // namespace beeline::security
