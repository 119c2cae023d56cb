#include "source/object_key.h"

#include <algorithm>

#include "source/names.h"

namespace beeline::source {
namespace {

constexpr std::size_t kLongestKey = 1024;
constexpr std::string_view kWorkloads = "workloads";

std::vector<std::string_view> split(std::string_view text) {
    std::vector<std::string_view> out;
    for (;;) {
        const auto end = text.find('/');
        out.push_back(text.substr(0, end));
        if (end == std::string_view::npos) return out;
        text.remove_prefix(end + 1);
    }
}

Result<std::string> part(std::string_view text, std::string_view what,
                         std::string_view (*problem)(std::string_view)) {
    const auto wrong = problem(text);
    if (!wrong.empty()) return fail(Code::invalid, "{} '{}' {}", what, yaml::shown(text), wrong);
    return std::string(text);
}

} // namespace

bool is_key_prefix(std::string_view prefix) {
    if (prefix.size() < 2 || prefix.size() > 256 || prefix.front() != '/') return false;
    const auto parts = split(prefix.substr(1));
    return std::none_of(parts.begin(), parts.end(),
                        [](std::string_view each) { return each.empty(); }) &&
           std::all_of(prefix.begin(), prefix.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

std::string object_key(std::string_view prefix, ObjectKind kind, const model::ObjectName& name) {
    std::string out = fmt::format("{}/{}/", prefix, kind_plural(kind));
    if (has_namespace(kind)) out += name.space + "/";
    return out + name.name;
}

std::string workload_key(std::string_view prefix, std::string_view node,
                         const model::ObjectName& name) {
    return fmt::format("{}/{}/{}/{}/{}", prefix, kWorkloads, node, name.space, name.name);
}

Result<StoredKey> parse_key(std::string_view prefix, std::string_view key) {
    if (key.size() > kLongestKey)
        return fail(Code::invalid, "a key must not have more than {} bytes", kLongestKey);
    if (!key.starts_with(prefix) || key.size() <= prefix.size() + 1 || key[prefix.size()] != '/')
        return fail(Code::invalid, "the key is not below {}", prefix);
    const auto parts = split(key.substr(prefix.size() + 1));
    StoredKey out;
    if (parts.front() == kWorkloads) {
        if (parts.size() != 4)
            return fail(Code::invalid, "expected {}/NODE/NAMESPACE/NAME below {}", kWorkloads,
                        prefix);
        out.node = TRY(part(parts[1], "the node's name", dns_subdomain_problem));
        out.name.space = TRY(part(parts[2], "the namespace", dns_label_problem));
        out.name.name = TRY(part(parts[3], "the name", dns_subdomain_problem));
        return out;
    }
    // One spelling each, or two keys would be the same object.
    const auto kind = parse_kind(parts.front());
    if (!kind || kind_plural(*kind) != parts.front())
        return fail(Code::invalid, "'{}' is no plural of a kind that is known here",
                    yaml::shown(parts.front()));
    out.kind = *kind;
    if (parts.size() != (has_namespace(*kind) ? 3U : 2U))
        return fail(Code::invalid, "expected {}/{}NAME below {}", parts.front(),
                    has_namespace(*kind) ? "NAMESPACE/" : "", prefix);
    if (has_namespace(*kind))
        out.name.space = TRY(part(parts[1], "the namespace", dns_label_problem));
    out.name.name = TRY(part(parts.back(), "the name", dns_subdomain_problem));
    return out;
}

Result<Manifest> read_value(const StoredKey& key, std::string_view text, std::string_view shown,
                            const yaml::Limits& limits) {
    auto manifests = TRY(read_manifests(text, shown, limits));
    if (manifests.size() != 1)
        return fail(Code::invalid, "{}: expected one object, found {}", shown, manifests.size());
    auto& manifest = manifests.front();
    if (manifest.kind != key.kind || manifest.name != key.name)
        return fail(Code::invalid, "{}: the value is {}, another object than the key names", shown,
                    manifest.title());
    return std::move(manifest);
}

} // namespace beeline::source
