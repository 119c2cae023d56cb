#include "net/cni_protocol.h"

#include <algorithm>
#include <cstdint>

namespace beeline::net {
namespace {

bool is_alphanumeric(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// FNV-1a with a final mix. The separator cannot be part of either name.
std::uint64_t digest(std::string_view container, std::string_view interface) {
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    const auto feed = [&](std::string_view text) {
        for (const char c : text)
            hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3ULL;
    };
    feed(container);
    feed("/");
    feed(interface);
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93ULL;
    return hash ^ (hash >> 32);
}

std::optional<bool> parse_bool(std::string_view text) {
    std::string lower(text);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (lower == "1" || lower == "true") return true;
    if (lower == "0" || lower == "false") return false;
    return {};
}

} // namespace

bool cni_speaks(std::string_view version) {
    return std::find(kCniVersions.begin(), kCniVersions.end(), version) != kCniVersions.end();
}

bool cni_at_least(std::string_view version, std::string_view least) {
    const auto rank = [](std::string_view v) {
        return std::find(kCniVersions.begin(), kCniVersions.end(), v);
    };
    return rank(version) >= rank(least);
}

bool is_cni_name(std::string_view text) {
    return !text.empty() && is_alphanumeric(text.front()) &&
           std::all_of(text.begin(), text.end(), [](char c) {
               return is_alphanumeric(c) || c == '_' || c == '.' || c == '-';
           });
}

bool is_interface_name(std::string_view text) {
    return !text.empty() && text.size() <= 15 && text != "." && text != ".." &&
           std::none_of(text.begin(), text.end(), [](char c) {
               const auto byte = static_cast<unsigned char>(c);
               return c == '/' || c == ':' || byte <= ' ' || byte == 0x7f;
           });
}

Result<CniArgs> parse_cni_args(std::string_view text) {
    CniArgs args;
    if (text.empty()) return args;
    std::string unknown;
    for (bool more = true; more;) {
        const auto semicolon = text.find(';');
        const auto pair = text.substr(0, semicolon);
        more = semicolon != std::string_view::npos;
        if (more) text.remove_prefix(semicolon + 1);

        const auto equals = pair.find('=');
        if (equals == std::string_view::npos ||
            pair.find('=', equals + 1) != std::string_view::npos) {
            return fail(Code::invalid, "CNI_ARGS: '{}' must be KEY=VALUE with exactly one '='",
                        pair);
        }
        const auto key = pair.substr(0, equals);
        const std::string value(pair.substr(equals + 1));
        if (key == "IgnoreUnknown") {
            const auto flag = parse_bool(value);
            if (!flag)
                return fail(Code::invalid,
                            "CNI_ARGS: IgnoreUnknown is '{}', expected true or false", value);
            args.ignore_unknown = *flag;
        } else if (key == "K8S_POD_NAMESPACE") {
            args.pod_namespace = value;
        } else if (key == "K8S_POD_NAME") {
            args.pod_name = value;
        } else if (key == "K8S_POD_UID") {
            args.pod_uid = value;
        } else if (key == "K8S_POD_INFRA_CONTAINER_ID") {
            args.infra_container = value;
        } else if (key == "IP") {
            args.ip = value;
        } else if (key == "MAC") {
            args.mac = value;
        } else if (unknown.empty()) {
            unknown = key.empty() ? "(empty)" : std::string(key);
        }
    }
    // IgnoreUnknown may stand anywhere.
    if (!unknown.empty() && !args.ignore_unknown) {
        return fail(Code::invalid, "CNI_ARGS: unknown key '{}' (IgnoreUnknown=1 lets it pass)",
                    unknown);
    }
    for (const auto& [key, value] : {std::pair{"K8S_POD_NAMESPACE", &args.pod_namespace},
                                     std::pair{"K8S_POD_NAME", &args.pod_name}}) {
        if (!value->empty() && (!is_cni_name(*value) || value->size() > 253)) {
            return fail(Code::invalid,
                        "CNI_ARGS: {} is '{}', expected letters, digits, '-', '_' and '.'", key,
                        *value);
        }
    }
    return args;
}

std::string host_interface_name(std::string_view container, std::string_view interface) {
    return fmt::format("bl{:012x}", digest(container, interface) >> 16);
}

bool is_host_interface_name(std::string_view name) {
    return name.size() == 14 && name.starts_with("bl") &&
           std::all_of(name.begin() + 2, name.end(),
                       [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Mac attachment_mac(std::string_view container, std::string_view interface, bool host_side) {
    const std::uint64_t hash = digest(container, interface);
    Mac mac{static_cast<std::uint8_t>(host_side ? 0xee : 0x0a)};
    for (unsigned i = 1; i < mac.size(); ++i)
        mac[i] = static_cast<std::uint8_t>(hash >> (8 * i));
    return mac;
}

bool json_deeper_than(std::string_view text, unsigned limit) {
    unsigned depth = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
            if (c == '\\')
                ++i;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            if (++depth > limit) return true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            --depth;
        }
    }
    return false;
}

} // namespace beeline::net
