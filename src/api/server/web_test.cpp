#include "api/server/web.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include <gtest/gtest.h>

#include "api/server/listen.h"

namespace beeline::api {
namespace {

constexpr std::string_view kToken = "0123456789abcdef0123456789abcdef";

using Headers = std::map<std::string, std::string>;

// The status of the gate's answer; 0: the API may answer.
int ask(const WebGate& gate, std::string_view method, std::string_view target, Headers headers) {
    headers.emplace("Host", "127.0.0.1:12000");
    const auto reply =
        gate({.method = method, .target = target, .header = [&](const char* name) {
                  const auto found = headers.find(name);
                  return found != headers.end() ? std::string_view(found->second) : "";
              }});
    return reply ? reply->status : 0;
}

Headers with_token() { return {{"Authorization", "Bearer " + std::string(kToken)}}; }

TEST(WebGate, TheApiNeedsTheToken) {
    const WebGate gate(std::string(kToken), {});
    EXPECT_EQ(ask(gate, "GET", "/v1/status", with_token()), 0);
    EXPECT_EQ(ask(gate, "GET", "/v1/status", {}), 401);
    EXPECT_EQ(ask(gate, "GET", "/v1/status?x=1", {{"Authorization", "Bearer wrong"}}), 401);
    EXPECT_EQ(ask(gate, "GET", "/v1/status", {{"Authorization", "Bearer "}}), 401);
    EXPECT_EQ(
        ask(gate, "GET", "/v1/status", {{"Authorization", "Bearer " + std::string(kToken) + "0"}}),
        401);
    EXPECT_EQ(ask(gate, "GET", "/v1/status", {{"Authorization", std::string(kToken)}}), 401);
    EXPECT_EQ(ask(WebGate("", {}), "GET", "/v1/status", {}), 0);
}

TEST(WebGate, FilesAreForEverybodyAndAreNotSentTwice) {
    const WebGate gate(std::string(kToken), {});
    for (const auto* path : {"/", "/index.html", "/app.js", "/app.css", "/flows?pod=a", "/policy",
                             "/workloads/shop/web"})
        EXPECT_EQ(ask(gate, "GET", path, {}), 200) << path;
    for (const auto* path : {"/nothing", "/../etc/passwd", "//", "/app.js/", "/flowsx", "*"})
        EXPECT_EQ(ask(gate, "GET", path, {}), 404) << path;
    const auto assets = web_assets();
    ASSERT_FALSE(assets.empty());
    EXPECT_EQ(ask(gate, "GET", assets[0].path, {{"If-None-Match", std::string(assets[0].etag)}}),
              304);
}

TEST(WebGate, NamesOfOthersAreRefused) {
    const WebGate gate("", {"beeline.example"});
    const auto named = [&](const std::string& host) {
        return ask(gate, "GET", "/v1/status", {{"Host", host}});
    };
    for (const auto* good : {"localhost:12000", "localhost", "127.0.0.1:8080", "[::1]:12000",
                             "192.0.2.1:12000", "beeline.example"})
        EXPECT_EQ(named(good), 0) << good;
    for (const auto* bad : {"evil.example", "evil.example:12000", "127.0.0.1.evil.example",
                            "localhost.evil.example:12000", "[::1", ":12000", ""})
        EXPECT_EQ(named(bad), 403) << bad;
    EXPECT_EQ(ask(gate, "GET", "/", {{"Host", "evil.example"}}), 403);
}

TEST(WebGate, OtherSitesAreRefused) {
    const WebGate gate("", {});
    const auto with = [&](const Headers& headers, std::string_view target = "/v1/status") {
        return ask(gate, "GET", target, headers);
    };
    EXPECT_EQ(with({{"Origin", "http://127.0.0.1:12000"}}), 0);
    EXPECT_EQ(with({{"Sec-Fetch-Site", "same-origin"}}), 0);
    EXPECT_EQ(with({{"Sec-Fetch-Site", "none"}}), 0);
    EXPECT_EQ(with({{"Origin", "http://127.0.0.1:9999"}}), 403);
    EXPECT_EQ(with({{"Origin", "https://evil.example"}}), 403);
    EXPECT_EQ(with({{"Origin", "null"}}), 403);
    EXPECT_EQ(with({{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Mode", "navigate"}}), 403);
    EXPECT_EQ(with({{"Sec-Fetch-Site", "same-site"}}), 403);
    // A link to the page may be followed, its files not used elsewhere.
    EXPECT_EQ(with({{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Mode", "navigate"}}, "/"), 200);
    EXPECT_EQ(with({{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Mode", "no-cors"}}, "/app.js"),
              403);
}

TEST(WebGate, OnlyReads) {
    const WebGate gate("", {});
    for (const auto* method : {"POST", "DELETE", "PUT", "OPTIONS", "HEAD"})
        EXPECT_EQ(ask(gate, method, "/v1/objects", {}), 405) << method;
}

class WebToken : public testing::Test {
protected:
    void SetUp() override {
        char pattern[] = "/tmp/beeline-token-XXXXXX";
        folder_ = ::mkdtemp(pattern);
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    std::string folder_;
};

TEST_F(WebToken, IsMadeOnceAndIsPrivate) {
    const WebConfig config;
    const auto token = web_token(config, folder_);
    ASSERT_TRUE(token) << token.error().message;
    EXPECT_EQ(token->size(), 48U);
    EXPECT_EQ(web_token(config, folder_).value(), *token);
    struct stat file{};
    ASSERT_EQ(::stat((folder_ + "/web.token").c_str(), &file), 0);
    EXPECT_EQ(file.st_mode & 0777, 0600U);
    // One that is damaged is replaced.
    std::ofstream(folder_ + "/web.token", std::ios::trunc) << "short";
    EXPECT_NE(web_token(config, folder_).value(), *token);
}

TEST_F(WebToken, OfAFileIsChecked) {
    WebConfig config;
    config.token = folder_ + "/token";
    EXPECT_FALSE(web_token(config, folder_));
    std::ofstream(config.token) << kToken << "\n";
    ::chmod(config.token.c_str(), 0644);
    EXPECT_FALSE(web_token(config, folder_));
    ::chmod(config.token.c_str(), 0600);
    EXPECT_EQ(web_token(config, folder_).value(), kToken);
    std::ofstream(config.token, std::ios::trunc) << "with spaces in it, and long enough";
    EXPECT_FALSE(web_token(config, folder_));
}

TEST_F(WebToken, NoneIsForLoopback) {
    WebConfig config;
    config.token = "none";
    EXPECT_EQ(web_token(config, folder_).value(), "");
    config.listen = "0.0.0.0:12000";
    EXPECT_FALSE(web_token(config, folder_));
}

TEST(TcpAddress, Parses) {
    EXPECT_EQ(TcpAddress::parse("127.0.0.1:12000").value().to_string(), "127.0.0.1:12000");
    EXPECT_EQ(TcpAddress::parse("[::1]:80").value().to_string(), "[::1]:80");
    EXPECT_TRUE(TcpAddress::parse("[::1]:80").value().is_loopback());
    EXPECT_TRUE(TcpAddress::parse("127.9.9.9:80").value().is_loopback());
    EXPECT_FALSE(TcpAddress::parse("0.0.0.0:80").value().is_loopback());
    for (const auto* bad : {"", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536",
                            "::1:80", "[127.0.0.1]:80", "localhost:80", "127.0.0.1:80x"})
        EXPECT_FALSE(TcpAddress::parse(bad)) << bad;
}

} // namespace
} // namespace beeline::api
