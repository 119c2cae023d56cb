#include "kube/access.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"

namespace beeline::kube {
namespace {

constexpr std::size_t kLargestFile = 4U << 20;

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

Result<std::string> from_base64(const std::string& text, std::string_view what) {
    std::string out;
    std::uint32_t bits = 0;
    unsigned count = 0;
    for (const char c : text) {
        if (c == '=' || c == '\n' || c == '\r' || c == ' ') continue;
        unsigned value = 0;
        if (c >= 'A' && c <= 'Z') {
            value = static_cast<unsigned>(c - 'A');
        } else if (c >= 'a' && c <= 'z') {
            value = static_cast<unsigned>(c - 'a') + 26;
        } else if (c >= '0' && c <= '9') {
            value = static_cast<unsigned>(c - '0') + 52;
        } else if (c == '+' || c == '/') {
            value = c == '+' ? 62 : 63;
        } else {
            return fail(Code::invalid, "{} is not base64", what);
        }
        bits = bits << 6 | value;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        out += static_cast<char>(bits >> count & 0xff);
    }
    return out;
}

// Throws what yaml-cpp throws; absent is empty.
std::string text_of(const YAML::Node& map, const char* key) {
    const auto node = map[key];
    return node && node.IsScalar() ? node.as<std::string>() : "";
}

// The entry of a list of {name, `part`}; undefined when it is not there.
YAML::Node named(const YAML::Node& list, const std::string& name, const char* part) {
    if (list && list.IsSequence()) {
        for (const auto& item : list) {
            if (item.IsMap() && text_of(item, "name") == name && item[part] && item[part].IsMap())
                return item[part];
        }
    }
    return YAML::Node(YAML::NodeType::Undefined);
}

class Kubeconfig {
public:
    Kubeconfig(const YAML::Node& root, const std::string& path) : root_(root), path_(path) {}

    Result<Access> access(const std::string& wanted) const {
        if (!root_.IsMap()) return fail(Code::invalid, "{}: this is no kubeconfig file", path_);
        const auto name = wanted.empty() ? text_of(root_, "current-context") : wanted;
        if (name.empty())
            return fail(Code::invalid, "{}: no current-context: name a context", path_);
        const auto context = named(root_["contexts"], name, "context");
        if (!context.IsDefined())
            return fail(Code::not_found, "{}: there is no context '{}'", path_, name);
        Access out;
        out.origin = path_ + ", context " + name;
        out.space = text_of(context, "namespace");
        TRY(read_cluster(out, text_of(context, "cluster")));
        TRY(read_user(out, text_of(context, "user")));
        return out;
    }

private:
    // File names are relative to the kubeconfig's folder.
    Result<Material> material(const YAML::Node& map, const char* data, const char* file) const {
        Material out;
        if (const auto text = text_of(map, data); !text.empty()) {
            out.data = TRY(from_base64(text, path_ + ": " + data));
        } else if (const auto name = text_of(map, file); !name.empty()) {
            out.file = std::filesystem::path(path_).parent_path() / name;
        }
        return out;
    }

    Result<> read_cluster(Access& out, const std::string& name) const {
        const auto cluster = named(root_["clusters"], name, "cluster");
        if (!cluster.IsDefined())
            return fail(Code::not_found, "{}: there is no cluster '{}'", path_, name);
        out.server = text_of(cluster, "server");
        out.server_name = text_of(cluster, "tls-server-name");
        out.proxy = text_of(cluster, "proxy-url");
        out.ca = TRY(material(cluster, "certificate-authority-data", "certificate-authority"));
        if (text_of(cluster, "insecure-skip-tls-verify") == "true") {
            return fail(Code::unsupported,
                        "{}: insecure-skip-tls-verify of cluster '{}' is not accepted: give the "
                        "server's authority in certificate-authority",
                        path_, name);
        }
        return {};
    }

    Result<> read_user(Access& out, const std::string& name) const {
        const auto user = named(root_["users"], name, "user");
        if (!user.IsDefined()) {
            if (name.empty()) return {};
            return fail(Code::not_found, "{}: there is no user '{}'", path_, name);
        }
        for (const auto* part : {"exec", "auth-provider"}) {
            if (!user[part]) continue;
            return fail(Code::unsupported,
                        "{}: user '{}' logs in by another program ({}), which is not supported: "
                        "use a token, a tokenFile or a client certificate",
                        path_, name, part);
        }
        if (user["username"]) {
            return fail(Code::unsupported,
                        "{}: user '{}' has a password, which API servers take no more: use a "
                        "token or a client certificate",
                        path_, name);
        }
        out.certificate = TRY(material(user, "client-certificate-data", "client-certificate"));
        out.key = TRY(material(user, "client-key-data", "client-key"));
        if (out.certificate.empty() != out.key.empty()) {
            return fail(Code::invalid,
                        "{}: user '{}' needs both a client-certificate and a client-key", path_,
                        name);
        }
        // The file is the one that rotates.
        if (const auto file = text_of(user, "tokenFile"); !file.empty()) {
            out.token.file = std::filesystem::path(path_).parent_path() / file;
        } else {
            out.token.data = text_of(user, "token");
        }
        return {};
    }

    const YAML::Node& root_;
    const std::string& path_;
};

// The host of a URL, without brackets.
std::string host_of(std::string_view url) {
    const auto scheme = url.find("://");
    if (scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
    url = url.substr(0, url.find('/'));
    if (url.starts_with('[')) return std::string(url.substr(1, url.find(']') - 1));
    return std::string(url.substr(0, url.find(':')));
}

Result<Access> checked(Access access) {
    while (access.server.ends_with('/'))
        access.server.pop_back();
    const auto host = host_of(access.server);
    const bool plain = access.server.starts_with("http://");
    if (host.empty() || (!plain && !access.server.starts_with("https://"))) {
        return fail(Code::invalid, "{}: the server's URL '{}' is no https URL", access.origin,
                    access.server);
    }
    if (plain && host != "localhost" && host != "::1" && !host.starts_with("127.")) {
        return fail(Code::unsupported, "{}: {} is plain text, taken for loopback only: use https",
                    access.origin, access.server);
    }
    return access;
}

} // namespace

Result<std::string> Material::read() const {
    if (!data.empty() || file.empty()) return data;
    auto text = TRY(read_file(file, kLargestFile));
    while (text.ends_with('\n') || text.ends_with('\r'))
        text.pop_back();
    return text;
}

Result<Access> parse_kubeconfig(const std::string& text, const std::string& path,
                                const std::string& context) {
    try {
        const auto root = YAML::Load(text);
        return checked(TRY(Kubeconfig(root, path).access(context)));
    } catch (const YAML::Exception& error) {
        return fail(Code::invalid, "{}: {}", path, error.what());
    }
}

Result<Access> pod_access(const std::string& folder) {
    const auto host = environment("KUBERNETES_SERVICE_HOST");
    const auto port = environment("KUBERNETES_SERVICE_PORT");
    if (host.empty() || port.empty() || !std::filesystem::exists(folder + "/token")) {
        return fail(Code::not_found,
                    "this is no pod with a service account: no "
                    "KUBERNETES_SERVICE_HOST, or no token in {}",
                    folder);
    }
    Access out;
    out.server = host.find(':') == std::string::npos
                     ? "https://" + host + ":" + port
                     : std::string("https://") + "[" + host + "]:" + port;
    out.ca.file = folder + "/ca.crt";
    out.token.file = folder + "/token";
    if (const auto space = read_file(folder + "/namespace", 256)) out.space = *space;
    out.origin = "the pod's service account";
    return checked(std::move(out));
}

Result<Access> find_access(const AccessOptions& options) {
    auto path = options.kubeconfig;
    if (path.empty()) path = environment("KUBECONFIG");
    if (path.empty()) {
        auto pod = pod_access();
        if (pod || pod.error().code != Code::not_found) return pod;
        const auto home = environment("HOME");
        path = (home.empty() ? "/root" : home) + "/.kube/config";
        if (!std::filesystem::exists(path)) {
            return fail(Code::not_found,
                        "no way to the API server: give a kubeconfig file ({} does not exist, "
                        "$KUBECONFIG is not set, and {})",
                        path, pod.error().message);
        }
    }
    return parse_kubeconfig(TRY(read_file(path, kLargestFile)), path, options.context);
}

} // namespace beeline::kube
