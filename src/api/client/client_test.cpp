#include "api/client/client.h"

#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "api/client/paths.h"
#include "base/fd.h"

namespace beeline::api {
namespace {

using namespace std::chrono_literals;

class TemporaryFolder {
public:
    TemporaryFolder() {
        char pattern[] = "/tmp/beeline-client-XXXXXX";
        path_ = mkdtemp(pattern);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    ~TemporaryFolder() { std::filesystem::remove_all(path_); }
    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

// Serves one connection: reads up to the end of the request's head, then writes the given pieces
// one by one.
class OneShotServer {
public:
    OneShotServer(const std::string& path, std::vector<std::string> pieces,
                  std::chrono::milliseconds linger = 0ms) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
        listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
        EXPECT_EQ(listen(listener_.get(), 4), 0);
        thread_ = std::thread([this, pieces = std::move(pieces), linger] {
            const Fd peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            char buffer[4096];
            while (request_.find("\r\n\r\n") == std::string::npos) {
                const auto got = recv(peer.get(), buffer, sizeof(buffer), 0);
                if (got <= 0) return;
                request_.append(buffer, static_cast<std::size_t>(got));
            }
            for (const auto& piece : pieces) {
                if (send(peer.get(), piece.data(), piece.size(), MSG_NOSIGNAL) < 0) return;
                std::this_thread::sleep_for(2ms);
            }
            std::this_thread::sleep_for(linger);
        });
    }
    OneShotServer(const OneShotServer&) = delete;
    ~OneShotServer() { finish(); }
    std::string finish() {
        if (thread_.joinable()) thread_.join();
        return request_;
    }

private:
    Fd listener_;
    std::string request_;
    std::thread thread_;
};

std::string answer(int status, const std::string& body,
                   const std::string& type = "application/json") {
    return fmt::format("HTTP/1.1 {} X\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n{}", status,
                       type, body.size(), body);
}

std::vector<std::string> bytes_of(const std::string& text) {
    std::vector<std::string> pieces;
    for (const char c : text)
        pieces.emplace_back(1, c);
    return pieces;
}

TEST(Client, SendsTheRequestAndReadsTheAnswer) {
    const TemporaryFolder folder;
    OneShotServer server(folder.file("s"), {answer(200, R"({"a":1})")});
    const auto result =
        Client(folder.file("s")).request("POST", "/v1/objects?dry_run=1", "kind: Pod\n");
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->status, 200);
    EXPECT_EQ(result->content_type, "application/json");
    EXPECT_EQ((*result->json())["a"], 1);
    const std::string request = server.finish();
    EXPECT_TRUE(request.starts_with("POST /v1/objects?dry_run=1 HTTP/1.1\r\n")) << request;
    EXPECT_NE(request.find("Content-Length: 10\r\n"), std::string::npos) << request;
    EXPECT_TRUE(request.ends_with("\r\n\r\nkind: Pod\n")) << request;
}

TEST(Client, ReadsAnAnswerThatArrivesByteByByte) {
    const TemporaryFolder folder;
    OneShotServer server(folder.file("s"),
                         bytes_of("HTTP/1.1 100 Continue\r\n\r\n" + answer(200, "{}")));
    const auto result = Client(folder.file("s")).request("GET", "/");
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->content_type, "application/json");
    EXPECT_EQ(result->body, "{}");
}

TEST(Client, ReadsABodyThatEndsWithTheConnection) {
    const TemporaryFolder folder;
    OneShotServer server(folder.file("s"), {"HTTP/1.1 200 OK\r\n\r\nall of it"});
    const auto result = Client(folder.file("s")).request("GET", "/");
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->body, "all of it");
}

TEST(Client, ApiErrorsKeepTheirCodeAndMessage) {
    const std::vector<std::pair<std::string, Code>> codes{{"invalid", Code::invalid},
                                                          {"not_found", Code::not_found},
                                                          {"exhausted", Code::exhausted},
                                                          {"from-the-future", Code::internal}};
    for (const auto& [name, code] : codes) {
        const TemporaryFolder folder;
        OneShotServer server(
            folder.file("s"),
            {answer(400,
                    fmt::format(R"({{"error":{{"code":"{}","message":"line 3: no"}}}})", name))});
        const auto result = Client(folder.file("s")).request("GET", "/");
        ASSERT_FALSE(result);
        EXPECT_EQ(result.error().code, code) << name;
        EXPECT_EQ(result.error().message, "line 3: no");
    }
}

TEST(Client, OtherErrorBodiesAreAnswersOfRequestAndErrorsOfCall) {
    for (const std::string body :
         {R"({"cniVersion":"1.0.0","code":11,"msg":"later"})", R"({"error":"text"})", "[]", "x"}) {
        const TemporaryFolder folder;
        OneShotServer server(folder.file("s"), {answer(503, body)});
        const auto result = Client(folder.file("s")).request("POST", "/v1/cni/add", "{}");
        ASSERT_TRUE(result) << body;
        EXPECT_EQ(result->status, 503);
        EXPECT_EQ(result->body, body);
        EXPECT_FALSE(result->ok());
        server.finish();
        OneShotServer again(folder.file("t"), {answer(503, body)});
        const auto called = Client(folder.file("t")).call("POST", "/v1/cni/add", "{}");
        ASSERT_FALSE(called);
        EXPECT_EQ(called.error().code, Code::internal);
    }
}

TEST(Client, NotJsonIsAnErrorOfCall) {
    const TemporaryFolder folder;
    OneShotServer server(folder.file("s"), {answer(200, "<html>")});
    const auto result = Client(folder.file("s")).get("/");
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message.find("not JSON"), std::string::npos);
}

TEST(Client, BrokenAnswersAreErrors) {
    const std::vector<std::string> answers{
        "", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "SMTP hello\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"};
    for (const auto& text : answers) {
        const TemporaryFolder folder;
        OneShotServer server(folder.file("s"), {text});
        const auto result = Client(folder.file("s")).request("GET", "/");
        ASSERT_FALSE(result) << text;
        EXPECT_EQ(result.error().code, Code::unavailable) << text;
        EXPECT_NE(result.error().message.find("broke"), std::string::npos)
            << result.error().message;
    }
}

TEST(Client, SaysThatTheDaemonIsNotRunning) {
    const TemporaryFolder folder;
    const auto missing = Client(folder.file("none")).request("GET", "/");
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, Code::unavailable);
    EXPECT_NE(missing.error().message.find("beelined is not running"), std::string::npos);
    EXPECT_NE(missing.error().message.find(folder.file("none")), std::string::npos);
    {
        OneShotServer dead(folder.file("dead"), {answer(200, "{}")});
        ASSERT_TRUE(Client(folder.file("dead")).get("/"));
    }
    const auto refused = Client(folder.file("dead")).request("GET", "/");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::unavailable);
}

TEST(Client, SaysWhichGroupMayOpenTheSocket) {
    if (geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
    const TemporaryFolder folder;
    const std::string path = folder.file("s");
    chmod(path.substr(0, path.rfind('/')).c_str(), 0755);
    OneShotServer server(path, {answer(200, "{}")});
    chmod(path.c_str(), 0600); // not 0660: this thread keeps the group
    setfsuid(65534);
    const auto result = Client(path).request("GET", "/");
    setfsuid(0);
    ASSERT_TRUE(Client(path).request("GET", "/")); // ends the server
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Code::denied);
    EXPECT_NE(result.error().message.find("group beeline"), std::string::npos);
}

TEST(Client, GivesUpInTime) {
    const TemporaryFolder folder;
    OneShotServer server(folder.file("s"), {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"}, 300ms);
    const auto start = std::chrono::steady_clock::now();
    const auto result = Client(folder.file("s")).request("GET", "/", "", 80);
    EXPECT_LT(std::chrono::steady_clock::now() - start, 250ms);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Code::unavailable);
    EXPECT_NE(result.error().message.find("did not answer"), std::string::npos);
}

TEST(Client, PathsThatDoNotFitAreRefused) {
    const auto result = Client(std::string(200, 'x')).request("GET", "/");
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Code::invalid);
}

TEST(Client, StreamsLinesAcrossChunkBorders) {
    const TemporaryFolder folder;
    OneShotServer server(folder.file("s"),
                         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                          "5\r\none\nt\r\n", "2\r\nwo\r\n", "8\r\n\n\nthree\n\r\n", "0\r\n\r\n"});
    std::vector<std::string> lines;
    const auto result = Client(folder.file("s")).stream("/v1/flows", [&](std::string_view line) {
        lines.emplace_back(line);
        return true;
    });
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(lines, (std::vector<std::string>{"one", "two", "three"}));
}

TEST(Client, StreamEndsWhenTheReaderHasEnough) {
    const TemporaryFolder folder;
    OneShotServer server(folder.file("s"), {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                                            "8\r\na\nb\nc\nd\n\r\n"});
    int lines = 0;
    const auto result =
        Client(folder.file("s")).stream("/", [&](std::string_view) { return ++lines < 2; });
    EXPECT_TRUE(result);
    EXPECT_EQ(lines, 2);
}

TEST(Client, StreamThatBreaksOrFailsIsAnError) {
    const TemporaryFolder folder;
    const auto ignore = [](std::string_view) { return true; };
    OneShotServer broken(folder.file("a"),
                         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na\nb\n\r\n"});
    const auto ended = Client(folder.file("a")).stream("/", ignore);
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().code, Code::unavailable);
    OneShotServer refusing(
        folder.file("b"), {answer(400, R"({"error":{"code":"invalid","message":"bad 'since'"}})")});
    const auto refused = Client(folder.file("b")).stream("/", ignore);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message, "bad 'since'");
}

TEST(Url, EncodesEverythingThatIsReserved) {
    EXPECT_EQ(url_encode("shop/web a&b=c%~-_.9"), "shop%2Fweb%20a%26b%3Dc%25~-_.9");
    EXPECT_EQ(url_encode("\xc3\xa9"), "%C3%A9");
    EXPECT_EQ(url("/v1/flows", {}), "/v1/flows");
    EXPECT_EQ(url("/v1/flows", {{"follow", "1"}, {"pod", "shop/web"}}),
              "/v1/flows?follow=1&pod=shop%2Fweb");
}

TEST(Paths, FollowTheInstance) {
    EXPECT_EQ(paths_for("")->socket(), "/run/beeline/beeline.sock");
    EXPECT_EQ(paths_for("n1")->socket(), "/run/beeline/n1/beeline.sock");
    EXPECT_EQ(paths_for("")->cgroup, "beeline/default");
    EXPECT_EQ(paths_for("n1")->pins, "/sys/fs/bpf/beeline/n1");
    for (const std::string bad :
         {"default", "../x", "A", "-a", "a-", "a b", "123456789012345678901234567890123"})
        EXPECT_FALSE(paths_for(bad)) << bad;
}

} // namespace
} // namespace beeline::api
