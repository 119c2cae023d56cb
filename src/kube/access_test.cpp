#include "kube/access.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace beeline::kube {
namespace {

constexpr const char* kGood = R"(apiVersion: v1
kind: Config
clusters:
- {name: a, cluster: {server: "https://10.0.0.1:6443/", certificate-authority-data: Q0E=, tls-server-name: kubernetes}}
- {name: b, cluster: {server: "https://b.example", insecure-skip-tls-verify: true}}
- {name: p, cluster: {server: "http://10.0.0.1:80"}}
- {name: l, cluster: {server: "http://127.0.0.1:80"}}
users:
- {name: cert, user: {client-certificate-data: Q1JU, client-key: keys/k.pem}}
- {name: token, user: {token: secret, future-field: {x: 1}}}
- {name: file, user: {token: old, tokenFile: /run/token}}
- {name: exec, user: {exec: {command: aws}}}
- {name: half, user: {client-key-data: Q1JU}}
contexts:
- {name: cert, context: {cluster: a, user: cert, namespace: shop}}
- {name: token, context: {cluster: a, user: token}}
- {name: file, context: {cluster: a, user: file}}
- {name: exec, context: {cluster: a, user: exec}}
- {name: half, context: {cluster: a, user: half}}
- {name: insecure, context: {cluster: b, user: token}}
- {name: plain, context: {cluster: p, user: token}}
- {name: loopback, context: {cluster: l, user: token}}
- {name: nobody, context: {cluster: a, user: gone}}
current-context: cert
)";

Result<Access> parse(const std::string& context, const std::string& text = kGood) {
    return parse_kubeconfig(text, "/etc/kube/config", context);
}

std::string error(const std::string& context, const std::string& text = kGood) {
    const auto access = parse(context, text);
    return access ? "" : access.error().message;
}

TEST(Kubeconfig, ReadsWhatAContextSays) {
    const auto access = parse("").value();
    EXPECT_EQ(access.server, "https://10.0.0.1:6443");
    EXPECT_EQ(access.server_name, "kubernetes");
    EXPECT_EQ(access.ca.data, "CA");
    EXPECT_EQ(access.certificate.data, "CRT");
    EXPECT_EQ(access.key.file, "/etc/kube/keys/k.pem");
    EXPECT_EQ(access.space, "shop");
    EXPECT_EQ(parse("token").value().token.data, "secret");
    EXPECT_EQ(parse("file").value().token.file, "/run/token");
    EXPECT_TRUE(parse("file").value().token.data.empty());
    EXPECT_EQ(parse("loopback").value().server, "http://127.0.0.1:80");
}

TEST(Kubeconfig, SaysWhatItDoesNotTake) {
    EXPECT_NE(error("exec").find("another program"), std::string::npos);
    EXPECT_NE(error("insecure").find("insecure-skip-tls-verify"), std::string::npos);
    EXPECT_NE(error("plain").find("plain text"), std::string::npos);
    EXPECT_NE(error("half").find("both"), std::string::npos);
    EXPECT_NE(error("nobody").find("no user 'gone'"), std::string::npos);
    EXPECT_NE(error("none").find("no context 'none'"), std::string::npos);
    EXPECT_NE(error("", "[1, 2]").find("no kubeconfig"), std::string::npos);
    EXPECT_NE(error("", "a: [").find("/etc/kube/config"), std::string::npos);
    EXPECT_NE(error("", "").find("no kubeconfig"), std::string::npos);
}

TEST(PodAccess, IsTheServiceAccountThatIsMounted) {
    const auto folder = std::filesystem::temp_directory_path() /
                        fmt::format("beeline-kube-{}", static_cast<int>(getpid()));
    std::filesystem::create_directories(folder);
    unsetenv("KUBERNETES_SERVICE_HOST");
    EXPECT_EQ(pod_access(folder).error().code, Code::not_found);
    setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    EXPECT_EQ(pod_access(folder).error().code, Code::not_found);
    std::ofstream(folder / "token") << "one\n";
    std::ofstream(folder / "namespace") << "beeline";
    const auto access = pod_access(folder).value();
    EXPECT_EQ(access.server, "https://[fd00::1]:443");
    EXPECT_EQ(access.token.read().value(), "one");
    EXPECT_EQ(access.space, "beeline");
    std::ofstream(folder / "token") << "two\n"; // it rotates
    EXPECT_EQ(access.token.read().value(), "two");
    unsetenv("KUBERNETES_SERVICE_HOST");
    std::filesystem::remove_all(folder);
}

} // namespace
} // namespace beeline::kube
