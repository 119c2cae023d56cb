#include "api/server/server.h"

#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "abi/event.h"
#include "api/client/client.h"
#include "api/server/flow_lines.h"
#include "api/server/listen.h"
#include "api/server/v1.h"
#include "loop/loop.h"

namespace beeline::api {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using nlohmann::json;

// Delivers numbered lines of the given size until told to end.
class Numbers : public LineStream {
public:
    Numbers(int count, std::size_t size, bool follow)
        : count_(count), size_(size), follow_(follow) {}
    ~Numbers() override { ++destroyed; }
    std::optional<std::string> next(std::chrono::milliseconds wait) override {
        if (number_ >= count_) {
            if (follow_) std::this_thread::sleep_for(wait);
            return {};
        }
        return json({{"number", number_++}, {"pad", std::string(size_, 'x')}}).dump();
    }
    [[nodiscard]] bool done() const override { return !follow_ && number_ >= count_; }

    static inline std::atomic<int> destroyed = 0;

private:
    int count_;
    std::size_t size_;
    bool follow_;
    int number_ = 0;
};

// Two pieces with a newline of their own in the middle.
class Bytes : public LineStream {
public:
    std::optional<std::string> next(std::chrono::milliseconds) override {
        return sent_ == 2 ? std::optional<std::string>{} : std::string(sent_++ == 0 ? "a\nb" : "c");
    }
    [[nodiscard]] bool done() const override { return sent_ == 2; }
    [[nodiscard]] bool raw() const override { return true; }

private:
    int sent_ = 0;
};

class FakeBackend : public Backend {
public:
    Result<json> status() override {
        if (slow_status > 0ms) std::this_thread::sleep_for(slow_status);
        return json{{"version", "test"}, {"pid", 1}};
    }
    Result<json> workloads() override { return json{{"workloads", json::array()}}; }
    Result<json> services() override { return fail(Code::unavailable, "still starting"); }
    Result<json> objects(const ObjectQuery& query) override {
        last_objects = query;
        return json{{"objects", json::array()}};
    }
    Result<json> apply(const std::string& yaml, bool dry_run) override {
        const std::lock_guard lock(mutex);
        last_yaml = yaml;
        last_dry_run = dry_run;
        return json{{"applied", json::array()}};
    }
    Result<json> remove(const std::string& kind, const model::ObjectName& name) override {
        if (name.name == "none")
            return fail(Code::not_found, "there is no {} {}", kind, name.to_string());
        return json{{"deleted", {{"kind", kind}, {"namespace", name.space}, {"name", name.name}}}};
    }
    Result<std::unique_ptr<LineStream>> flows(const observe::FlowFilter& filter) override {
        last_flows = filter;
        const int count = static_cast<int>(filter.last.value_or(3));
        return std::make_unique<Numbers>(count, line_size, filter.follow);
    }
    Result<json> explain(const ExplainQuery& query) override {
        last_explain = query;
        return json{{"allowed", true}};
    }
    Result<json> why(const WhyQuery& query) override {
        last_why = query;
        return json{{"verdict", "allowed"}};
    }
    Result<json> top(std::int64_t window_ns) override {
        return json{{"window_ms", window_ns / 1'000'000}};
    }
    Result<json> maps() override { throw std::runtime_error("a library threw"); }
    Result<json> map(const std::string& name, std::size_t limit) override {
        return json{{"name", name}, {"limit", limit}, {"bytes", "\xff\xfe"}};
    }
    Result<std::unique_ptr<LineStream>> alerts(const security::AlertFilter& filter) override {
        last_alerts = filter;
        return std::make_unique<Numbers>(2, line_size, false);
    }
    Result<std::unique_ptr<LineStream>> events(const EventQuery& query) override {
        last_events = query;
        return std::make_unique<Numbers>(2, line_size, false);
    }
    Result<std::unique_ptr<LineStream>> record(bool all) override {
        if (!all) return fail(Code::unavailable, "no sensors");
        return std::make_unique<Bytes>();
    }
    Result<json> rules() override { return json{{"rules", json::array()}}; }
    Result<json> reload_rules() override { return fail(Code::invalid, "line 3"); }
    Result<CniReply> cni(const CniCall& call) override {
        last_cni = call;
        if (call.container == "later") return fail(Code::unavailable, "still starting");
        if (call.container == "broken")
            return CniReply{.code = 103, .message = "no", .details = "because"};
        return CniReply{
            .code = 0, .message = {}, .details = {}, .result = {{"cniVersion", "1.1.0"}}};
    }

    std::mutex mutex;
    std::chrono::milliseconds slow_status{0};
    std::size_t line_size = 10;
    std::string last_yaml;
    bool last_dry_run = false;
    ObjectQuery last_objects;
    observe::FlowFilter last_flows;
    security::AlertFilter last_alerts;
    EventQuery last_events;
    ExplainQuery last_explain;
    WhyQuery last_why;
    CniCall last_cni;
};

class ServerTest : public testing::Test {
protected:
    void SetUp() override {
        char pattern[] = "/tmp/beeline-server-XXXXXX";
        folder = mkdtemp(pattern);
        path = folder + "/run/beeline.sock";
    }
    void TearDown() override {
        server.reset();
        std::filesystem::remove_all(folder);
    }

    void start(ServerOptions options = {}) {
        auto made = Server::create(v1_routes(backend), options);
        ASSERT_TRUE(made);
        server = std::move(*made);
        const auto served = server->serve_unix(path);
        ASSERT_TRUE(served) << served.error().message;
    }

    [[nodiscard]] Client client() const { return Client(path); }

    // A connected socket for clients that do not behave.
    [[nodiscard]] Fd raw(std::string_view text = "") const {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
        Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0)
            << errno;
        EXPECT_EQ(send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(text.size()));
        return fd;
    }

    // Everything the server sends until it closes, or until the time is over.
    static std::string read_all(const Fd& fd, std::chrono::milliseconds limit = 5s) {
        std::string out;
        const auto end = Clock::now() + limit;
        char buffer[65536];
        while (Clock::now() < end) {
            pollfd entry{.fd = fd.get(), .events = POLLIN, .revents = 0};
            if (poll(&entry, 1, 50) <= 0) continue;
            const auto got = recv(fd.get(), buffer, sizeof(buffer), 0);
            if (got <= 0) return out;
            out.append(buffer, static_cast<std::size_t>(got));
        }
        return out + "[still open]";
    }

    [[nodiscard]] Error error(std::string_view method, std::string_view target,
                              std::string_view body = "") const {
        const auto result = client().request(method, target, body);
        EXPECT_FALSE(result) << target << " answered " << (result ? result->body : "");
        return result ? Error{} : result.error();
    }

    template <typename Condition>
    static bool eventually(Condition condition, std::chrono::milliseconds limit = 5s) {
        const auto end = Clock::now() + limit;
        while (!condition()) {
            if (Clock::now() > end) return false;
            std::this_thread::sleep_for(10ms);
        }
        return true;
    }

    std::string folder;
    std::string path;
    FakeBackend backend;
    std::unique_ptr<Server> server;
};

// --- calls

TEST_F(ServerTest, AnswersWithTheBackendsDocument) {
    start();
    const auto response = client().request("GET", "/v1/status");
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_EQ(response->status, 200);
    EXPECT_EQ(response->content_type, "application/json");
    EXPECT_EQ((*response->json())["version"], "test");
    EXPECT_EQ(server->counters().requests, 1U);
}

TEST_F(ServerTest, BackendErrorsKeepCodeAndStatus) {
    start();
    EXPECT_EQ(error("GET", "/v1/services").code, Code::unavailable);
    const Error gone = error("DELETE", "/v1/objects/networkpolicy/shop/none");
    EXPECT_EQ(gone.code, Code::not_found);
    EXPECT_EQ(gone.message, "there is no networkpolicy shop/none");
    const std::string text =
        read_all(raw("GET /v1/services HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    EXPECT_TRUE(text.starts_with("HTTP/1.1 503 ")) << text;
    EXPECT_NE(text.find(R"({"error":{"code":"unavailable","message":"still starting"}})"),
              std::string::npos)
        << text;
}

TEST_F(ServerTest, ThrowingLibrariesBecomeInternalErrors) {
    start();
    const Error thrown = error("GET", "/v1/maps");
    EXPECT_EQ(thrown.code, Code::internal);
    EXPECT_NE(thrown.message.find("a library threw"), std::string::npos);
}

TEST_F(ServerTest, BytesThatAreNotUtf8AreReplaced) {
    start();
    const auto answer = client().get("/v1/maps/bl_ct?limit=7");
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ((*answer)["name"], "bl_ct");
    EXPECT_EQ((*answer)["limit"], 7);
    EXPECT_EQ((*client().get("/v1/maps/bl_ct"))["limit"], 1000);
}

TEST_F(ServerTest, UnknownPathsAndMethods) {
    start();
    for (const std::string target :
         {"/", "/v1", "/v1/statu", "/v1/status/", "//v1/status", "/v1/maps/", "/v1/objects/a/b",
          "/v1/objects/a//c", "/v2/status", "/v1/%73tatus/x"}) {
        const std::string method = target.starts_with("/v1/objects") ? "DELETE" : "GET";
        EXPECT_EQ(error(method, target).code, Code::not_found) << target;
    }
    EXPECT_TRUE(client().get("/v1/%73tatus"));
    const std::string text =
        read_all(raw("PUT /v1/objects HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    EXPECT_TRUE(text.starts_with("HTTP/1.1 405 ")) << text;
    EXPECT_NE(text.find("Allow: GET, POST\r\n"), std::string::npos) << text;
    EXPECT_NE(text.find("takes GET, POST, not PUT"), std::string::npos) << text;
    EXPECT_EQ(error("POST", "/v1/status").code, Code::invalid);
}

TEST_F(ServerTest, UnknownParametersAreErrorsEverywhere) {
    start();
    EXPECT_EQ(error("GET", "/v1/status?verbose=1").message,
              "unknown parameter 'verbose': this call takes none");
    EXPECT_EQ(error("GET", "/v1/flows?folow=1").message,
              "unknown parameter 'folow': known are follow, since, until, first, last, pod, "
              "to_pod, verdict, protocol, port, pid, l7, status, method, path");
    EXPECT_EQ(error("POST", "/v1/objects?dryrun=1", "x").code, Code::invalid);
}

TEST_F(ServerTest, ObjectsCalls) {
    start();
    ASSERT_TRUE(client().get("/v1/objects?kind=Service&namespace=-&name=web"));
    EXPECT_EQ(backend.last_objects.kind, "Service");
    EXPECT_EQ(backend.last_objects.space, std::optional<std::string>(""));
    EXPECT_EQ(backend.last_objects.name, "web");
    ASSERT_TRUE(client().get("/v1/objects"));
    EXPECT_FALSE(backend.last_objects.space);

    ASSERT_TRUE(client().call("POST", "/v1/objects?dry_run=1", "kind: Pod\n"));
    EXPECT_EQ(backend.last_yaml, "kind: Pod\n");
    EXPECT_TRUE(backend.last_dry_run);
    EXPECT_EQ(error("POST", "/v1/objects", " \n").code, Code::invalid);
    EXPECT_EQ(error("POST", "/v1/objects?dry_run=x", "a").code, Code::invalid);

    const auto deleted = client().call("DELETE", "/v1/objects/namespace/-/a%2Fb");
    ASSERT_TRUE(deleted) << deleted.error().message;
    EXPECT_EQ((*deleted)["deleted"],
              (json{{"kind", "namespace"}, {"namespace", ""}, {"name", "a/b"}}));
}

TEST_F(ServerTest, FlowParametersReachTheFilter) {
    start();
    const auto ignore = [](std::string_view) { return true; };
    ASSERT_TRUE(client().stream(
        "/v1/flows?since=2026-11-25T09:00:00Z&last=1&pod=shop/web&pod=api&to_pod=shop/&verdict="
        "DROPPED&verdict=forwarded&protocol=tcp&port=80&port=443",
        ignore));
    const auto& filter = backend.last_flows;
    EXPECT_EQ(filter.since_ns, 1795597200'000000000LL);
    EXPECT_EQ(filter.last, 1U);
    EXPECT_EQ(filter.pods, (std::vector<std::string>{"shop/web", "api"}));
    EXPECT_EQ(filter.to_pods, (std::vector<std::string>{"shop/"}));
    EXPECT_EQ(filter.verdicts,
              (std::vector{model::Flow::Verdict::dropped, model::Flow::Verdict::forwarded}));
    EXPECT_EQ(filter.protocols, (std::vector{model::Protocol::tcp}));
    EXPECT_EQ(filter.ports, (std::vector<std::uint16_t>{80, 443}));
    EXPECT_FALSE(filter.follow);
    for (const std::string bad : {"since=soon", "last=-1", "pod=a/b/c", "to_pod=", "verdict=maybe",
                                  "protocol=any", "port=0", "follow=2"}) {
        const Error refused = error("GET", "/v1/flows?" + bad);
        EXPECT_EQ(refused.code, Code::invalid);
        EXPECT_NE(refused.message.find("'" + bad.substr(0, bad.find('=')) + "'"), std::string::npos)
            << refused.message;
    }
}

TEST_F(ServerTest, AlertParametersReachTheFilter) {
    start();
    ASSERT_TRUE(client().request(
        "GET",
        "/v1/alerts?priority=WARNING&rule=Terminal*&rule=x&tag=host&pod=shop/web&container=ab"
        "&pid=7&last=5&since=1m"));
    const auto& filter = backend.last_alerts;
    EXPECT_EQ(filter.least, model::Priority::warning);
    EXPECT_EQ(filter.rules, (std::vector<std::string>{"Terminal*", "x"}));
    EXPECT_EQ(filter.tags, (std::vector<std::string>{"host"}));
    EXPECT_EQ(filter.workloads, (std::vector<std::string>{"shop/web"}));
    EXPECT_EQ(filter.containers, (std::vector<std::string>{"ab"}));
    EXPECT_EQ(filter.pids, (std::vector<std::uint32_t>{7}));
    EXPECT_EQ(filter.last, 5U);
    EXPECT_TRUE(filter.since_ns);
    EXPECT_FALSE(filter.follow);
    EXPECT_NE(error("GET", "/v1/alerts?priority=warn").message.find("'warn' is not one of"),
              std::string::npos);
    EXPECT_NE(error("GET", "/v1/alerts?pid=0").message.find("'0' is not a process number"),
              std::string::npos);
    EXPECT_NE(error("GET", "/v1/alerts?pid=1x").message.find("'1x'"), std::string::npos);
}

TEST_F(ServerTest, EventParametersReachTheQuery) {
    start();
    ASSERT_TRUE(client().request("GET", "/v1/events?kind=execve&kind=fork&pid=7&pod=web"));
    EXPECT_EQ(backend.last_events.kinds,
              (std::vector<std::uint16_t>{BL_EVENT_execve, BL_EVENT_clone}));
    EXPECT_EQ(backend.last_events.pids, (std::vector<std::uint32_t>{7}));
    EXPECT_EQ(backend.last_events.workloads, (std::vector<std::string>{"web"}));
    EXPECT_NE(error("GET", "/v1/events?kind=exec").message.find("'exec' is no kind of event"),
              std::string::npos);
}

TEST_F(ServerTest, RecordingsAreBytes) {
    start();
    std::string got;
    ASSERT_TRUE(client().download("/v1/record?all=1", [&](std::string_view bytes) {
        got += bytes;
        return true;
    }));
    EXPECT_EQ(got, "a\nbc");
    EXPECT_EQ(client().download("/v1/record", [](std::string_view) { return true; }).error().code,
              Code::unavailable);
    EXPECT_EQ(error("POST", "/v1/rules/reload").message, "line 3");
}

TEST_F(ServerTest, ExplainParameters) {
    start();
    ASSERT_TRUE(client().get(
        "/v1/policy/explain?source=shop/web&destination=10.0.0.1&port=80&protocol=udp"));
    EXPECT_EQ(backend.last_explain.source.kind, ExplainEnd::Kind::workload);
    EXPECT_EQ(backend.last_explain.source.name, (model::ObjectName{"shop", "web"}));
    EXPECT_EQ(backend.last_explain.destination.kind, ExplainEnd::Kind::address);
    EXPECT_EQ(backend.last_explain.destination.address.to_string(), "10.0.0.1");
    EXPECT_EQ(backend.last_explain.protocol, model::Protocol::udp);
    EXPECT_EQ(backend.last_explain.port, 80);
    ASSERT_TRUE(client().get("/v1/policy/explain?source=host&destination=fd00::1&protocol=icmpv6"));
    EXPECT_EQ(backend.last_explain.source.kind, ExplainEnd::Kind::host);
    EXPECT_EQ(error("GET", "/v1/policy/explain?source=host&destination=host").message,
              "parameter 'port': TCP needs one");
    EXPECT_EQ(error("GET", "/v1/policy/explain?source=host&destination=host&protocol=icmp&port=8")
                  .message,
              "parameter 'port': ICMP has no ports");
    EXPECT_NE(error("GET", "/v1/policy/explain?destination=host&port=8").message.find("'source'"),
              std::string::npos);
}

TEST_F(ServerTest, CniCalls) {
    start();
    const std::string body =
        R"({"container":"c1","netns":"/n","interface":"eth0","args":"A=1","path":"/p","config":{"cniVersion":"1.1.0"}})";
    const auto answer = client().request("POST", "/v1/cni/add", body);
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ((*answer->json())["cniVersion"], "1.1.0");
    EXPECT_EQ(backend.last_cni.verb, "add");
    EXPECT_EQ(backend.last_cni.container, "c1");
    EXPECT_EQ(backend.last_cni.netns, "/n");
    EXPECT_EQ(backend.last_cni.interface, "eth0");
    EXPECT_EQ(backend.last_cni.args, "A=1");
    EXPECT_EQ(backend.last_cni.path, "/p");
    EXPECT_TRUE(client().request("POST", "/v1/cni/status", R"({"config":{}})")->ok());

    struct Row {
        std::string verb;
        std::string body;
        int status;
        unsigned code;
        std::string message;
    };
    const std::vector<Row> rows{
        {"add",
         R"({"container":"later","netns":"/n","interface":"e","config":{"cniVersion":"1.1.0"}})",
         503, 11, "still"},
        {"del", R"({"container":"broken","interface":"e","config":{"cniVersion":"1.1.0"}})", 500,
         103, "no"},
        {"add", R"({"container":"c","interface":"e","config":{"cniVersion":"1.1.0"}})", 400, 4,
         "'netns' is missing"},
        {"check", R"({"netns":"/n","config":{"cniVersion":"1.1.0"}})", 400, 4,
         "'container' is missing"},
        {"add", "{", 400, 6, "not a JSON object"},
        {"add", R"({"config":3})", 400, 7, "'config'"},
        {"add", R"({"netns":3,"config":{}})", 400, 6, "'netns' is not a string"},
        {"add", R"({"ns":"","config":{}})", 400, 6, "unknown member 'ns'"},
    };
    for (const auto& row : rows) {
        const auto refused = client().request("POST", "/v1/cni/" + row.verb, row.body);
        ASSERT_TRUE(refused) << refused.error().message;
        EXPECT_EQ(refused->status, row.status) << row.body;
        const auto document = *refused->json();
        EXPECT_EQ(document["code"], row.code) << row.body;
        EXPECT_NE(document["msg"].get<std::string>().find(row.message), std::string::npos)
            << document;
        EXPECT_TRUE(document.contains("cniVersion"));
        EXPECT_EQ(document.value("details", ""), row.code == 103 ? "because" : "");
    }
    EXPECT_EQ(error("POST", "/v1/cni/version", "{}").code, Code::not_found);
}

TEST_F(ServerTest, BodiesHaveALimit) {
    start({.body_bytes = 100000});
    ASSERT_TRUE(client().call("POST", "/v1/objects", std::string(100000, 'x')));
    EXPECT_EQ(backend.last_yaml.size(), 100000U);
    const Error large = error("POST", "/v1/objects", std::string(100001, 'x'));
    EXPECT_EQ(large.code, Code::exhausted);
    EXPECT_NE(large.message.find("100000 bytes"), std::string::npos);

    // Without a length the limit shows only as the body comes in.
    std::string chunked = "POST /v1/objects HTTP/1.1\r\nHost: x\r\nConnection: "
                          "close\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 3; ++i)
        chunked += "c350\r\n" + std::string(50000, 'x') + "\r\n";
    const std::string text = read_all(raw(chunked + "0\r\n\r\n"));
    EXPECT_TRUE(text.starts_with("HTTP/1.1 413 ")) << text.substr(0, 200);
}

TEST_F(ServerTest, BinaryBodiesArriveWhole) {
    start();
    std::string body;
    for (int i = 0; i < 3'000'000; ++i)
        body += static_cast<char>(i * 7);
    ASSERT_TRUE(client().call("POST", "/v1/objects", body));
    EXPECT_TRUE(backend.last_yaml == body);
}

TEST_F(ServerTest, ConnectionsCanBeReused) {
    start();
    const Fd fd = raw("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
                      "GET /v1/workloads HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const std::string text = read_all(fd);
    EXPECT_NE(text.find(R"("version":"test")"), std::string::npos);
    EXPECT_NE(text.find(R"({"workloads":[]})"), std::string::npos);
}

// A handler that is slower than the idle timeout keeps its connection.
TEST_F(ServerTest, SlowHandlersAreNotTimedOut) {
    backend.slow_status = 1600ms;
    start({.idle_timeout_s = 1});
    const auto answer = client().get("/v1/status");
    EXPECT_TRUE(answer) << answer.error().message;
}

// --- the document

TEST_F(ServerTest, ServesTheOpenApiDocument) {
    start();
    const auto answer = client().request("GET", "/v1/openapi");
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->content_type, "application/yaml");
    EXPECT_EQ(answer->body, openapi_document());
    EXPECT_TRUE(answer->body.starts_with("openapi: 3.0"));
}

// --- streams

TEST_F(ServerTest, StreamsLinesUntilTheEnd) {
    start();
    std::vector<int> numbers;
    const auto result = client().stream("/v1/flows?last=5000", [&](std::string_view line) {
        numbers.push_back(json::parse(line)["number"]);
        return true;
    });
    ASSERT_TRUE(result) << result.error().message;
    ASSERT_EQ(numbers.size(), 5000U);
    EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
    EXPECT_TRUE(eventually([&] { return server->counters().streams == 0; }));
}

TEST_F(ServerTest, LinesLargerThanABufferAndNoLinesAtAll) {
    backend.line_size = 300000;
    start();
    std::size_t bytes = 0;
    ASSERT_TRUE(client().stream("/v1/flows?last=7", [&](std::string_view line) {
        bytes += line.size();
        return true;
    }));
    EXPECT_GT(bytes, 7U * 300000);
    EXPECT_TRUE(client().stream("/v1/flows?last=0", [](std::string_view) { return false; }));
}

TEST_F(ServerTest, FollowedLinesArriveWhenTheyHappen) {
    start();
    const auto begin = Clock::now();
    int lines = 0;
    ASSERT_TRUE(client().stream("/v1/flows?follow=1&last=3",
                                [&](std::string_view) { return ++lines < 3; }));
    EXPECT_LT(Clock::now() - begin, 1s);
    // The client is gone: the stream notices although it has nothing to send.
    const int before = Numbers::destroyed;
    EXPECT_TRUE(eventually([&] { return server->counters().streams == 0; }, 2s));
    EXPECT_GE(Numbers::destroyed, before);
}

// An idle follower outlives the idle timeout of connections.
TEST_F(ServerTest, QuietStreamsAreNotTimedOut) {
    start({.idle_timeout_s = 1, .stall_timeout = 1s});
    const Fd fd = raw("GET /v1/flows?follow=1&last=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    const std::string text = read_all(fd, 1600ms);
    EXPECT_TRUE(text.ends_with("[still open]")) << text;
    EXPECT_EQ(server->counters().streams, 1U);
    EXPECT_EQ(server->counters().streams_cut, 0U);
}

TEST_F(ServerTest, ClientThatNeverReadsIsCutAndHoldsUpNobody) {
    backend.line_size = 10000;
    start({.stall_timeout = 400ms});
    const Fd sleeper = raw("GET /v1/flows?follow=1&last=1000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    ASSERT_TRUE(eventually([&] { return server->counters().streams == 1; }));
    for (int i = 0; i < 20; ++i)
        EXPECT_TRUE(client().get("/v1/status"));
    EXPECT_TRUE(eventually([&] { return server->counters().streams == 0; }));
    EXPECT_EQ(server->counters().streams_cut, 1U);
    // The answer has no proper end, so that the client knows.
    const std::string text = read_all(sleeper);
    EXPECT_FALSE(text.ends_with("0\r\n\r\n"));
}

// --- hostile clients

TEST_F(ServerTest, HalfRequestsEndWithTheIdleTimeout) {
    start({.idle_timeout_s = 1});
    std::vector<Fd> halves;
    for (const std::string text :
         {"", "GET", "GET /v1/status HTTP/1.1\r\nHost: x\r\n",
          "POST /v1/objects HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"})
        halves.push_back(raw(text));
    EXPECT_TRUE(client().get("/v1/status"));
    for (const auto& half : halves)
        EXPECT_FALSE(read_all(half).ends_with("[still open]"));
}

TEST_F(ServerTest, NonsenseAndHugeHeadersAreRefused) {
    start({.idle_timeout_s = 1});
    const std::string huge =
        "GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + std::string(65536, 'a') + "\r\n\r\n";
    const std::string long_target =
        "GET /v1/flows?pod=" + std::string(65536, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n";
    std::string many = "GET /v1/status HTTP/1.1\r\nHost: x\r\n";
    for (int i = 0; i < 5000; ++i)
        many += fmt::format("X-{}: {}\r\n", i, i);
    for (const std::string& text :
         {huge, long_target, many + "\r\n", std::string("\x16\x03\x01 TLS hello\r\n\r\n"),
          std::string("GET\r\n\r\n"), std::string("GET  HTTP/1.1\r\n\r\n"), std::string(1000, '\0'),
          std::string("GET /v1/status HTTP/9.9\r\n\r\n"),
          std::string("GET /v1/flows?pod=%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
          std::string("POST /v1/objects HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"),
          std::string("POST /v1/objects HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "zz\r\n")}) {
        const Fd fd = raw();
        // The server may close before it has read everything.
        send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
        const std::string answer = read_all(fd);
        EXPECT_FALSE(answer.ends_with("[still open]")) << text.substr(0, 60);
        EXPECT_EQ(answer.find("HTTP/1.1 200"), std::string::npos) << text.substr(0, 60);
    }
    EXPECT_TRUE(client().get("/v1/status"));
}

TEST_F(ServerTest, ManyClientsAtOnce) {
    start();
    std::vector<Fd> idle;
    idle.reserve(200);
    for (int i = 0; i < 200; ++i)
        idle.push_back(raw(i % 2 == 0 ? "" : "GET /v1/sta"));
    std::atomic<int> good = 0;
    std::vector<std::thread> threads;
    threads.reserve(20);
    for (int i = 0; i < 20; ++i) {
        threads.emplace_back([&] {
            for (int j = 0; j < 20; ++j) {
                if (client().get("/v1/status")) ++good;
            }
        });
    }
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(good, 400);
    for (auto& fd : idle)
        fd = raw("GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    for (const auto& fd : idle)
        EXPECT_NE(read_all(fd).find("\"version\""), std::string::npos);
}

TEST_F(ServerTest, ConnectionsBeyondTheLimitWaitOrAreRefused) {
    start({.connections = 8, .idle_timeout_s = 1});
    std::vector<Fd> idle;
    idle.reserve(20);
    for (int i = 0; i < 20; ++i)
        idle.push_back(raw());
    // The idle ones time out, then there is room again.
    EXPECT_TRUE(eventually([&] { return client().request("GET", "/v1/status").has_value(); }, 10s));
}

// --- start and stop

TEST_F(ServerTest, StopsWithOpenStreamsAndHalfRequests) {
    backend.line_size = 10000;
    start();
    const Fd follower = raw("GET /v1/flows?follow=1&last=2 HTTP/1.1\r\nHost: x\r\n\r\n");
    const Fd sleeper = raw("GET /v1/flows?follow=1&last=1000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    const Fd half = raw("GET /v1/st");
    const Fd kept = raw("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n");
    ASSERT_TRUE(eventually([&] { return server->counters().streams == 2; }));
    const auto begin = Clock::now();
    server->stop();
    EXPECT_LT(Clock::now() - begin, 1s);
    EXPECT_TRUE(read_all(follower).ends_with("0\r\n\r\n")) << "the stream must end properly";
    EXPECT_FALSE(read_all(half).ends_with("[still open]"));
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_EQ(client().get("/v1/status").error().code, Code::unavailable);
    server->stop();
}

TEST_F(ServerTest, StopWaitsForHandlersThatUseTheLoop) {
    auto loop = std::move(*loop::Loop::create());
    std::thread runner([&] { loop->run(); });
    Router router;
    router.add({"GET", "/slow", {}, [&](const Request&) -> Result<Reply> {
                    return json_reply(loop->call([] {
                        std::this_thread::sleep_for(300ms);
                        return json("done");
                    }));
                }});
    server = std::move(*Server::create(std::move(router)));
    ASSERT_TRUE(server->serve_unix(path));
    std::thread caller([&] { (void)client().request("GET", "/slow"); });
    ASSERT_TRUE(eventually([&] { return server->counters().requests == 1; }));
    server->stop();
    loop->stop();
    runner.join();
    caller.join();
}

TEST_F(ServerTest, SocketModeAndStaleFiles) {
    {
        const auto first = listen_unix(path);
        ASSERT_TRUE(first) << first.error().message;
        struct stat file{};
        ASSERT_EQ(lstat(path.c_str(), &file), 0);
        EXPECT_TRUE(S_ISSOCK(file.st_mode));
        EXPECT_EQ(file.st_mode & 07777, 0660U);
        const auto second = listen_unix(path);
        ASSERT_FALSE(second);
        EXPECT_EQ(second.error().code, Code::exists);
        EXPECT_NE(second.error().message.find("another beelined answers"), std::string::npos);
    }
    // Nobody answers on it any more.
    EXPECT_TRUE(std::filesystem::exists(path));
    EXPECT_TRUE(listen_unix(path, "no-such-group"));

    const std::string plain = folder + "/plain";
    std::ofstream(plain) << "precious";
    EXPECT_EQ(listen_unix(plain).error().code, Code::exists);
    EXPECT_TRUE(std::filesystem::exists(plain));
    EXPECT_EQ(listen_unix("/" + std::string(200, 'x')).error().code, Code::invalid);
    EXPECT_FALSE(listen_unix("/proc/none/x"));
}

TEST_F(ServerTest, SocketGroup) {
    if (geteuid() != 0) GTEST_SKIP() << "needs root to give files away";
    ASSERT_TRUE(listen_unix(path, "daemon"));
    struct stat file{};
    ASSERT_EQ(lstat(path.c_str(), &file), 0);
    EXPECT_NE(file.st_gid, 0U);
}

TEST_F(ServerTest, StopLeavesTheSocketOfASuccessor) {
    start();
    std::filesystem::remove(path);
    const auto successor = listen_unix(path);
    ASSERT_TRUE(successor);
    server->stop();
    EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(ServerTest, ServesASecondListener) {
    start();
    const std::string first = path;
    path = folder + "/second.sock";
    ASSERT_TRUE(server->serve_unix(path));
    EXPECT_TRUE(client().get("/v1/status"));
    EXPECT_TRUE(Client(first).get("/v1/status"));
}

// --- flows of a real store

TEST_F(ServerTest, FlowLinesFollowAStore) {
    observe::Store store;
    store.append(observe::lost_record(1000, 5));
    store.publish();
    auto stored = flow_lines(observe::history::FlowQuery(store, "", {}), false, "n1");
    const auto line = stored->next(0ms);
    ASSERT_TRUE(line);
    EXPECT_EQ(json::parse(line.value_or("null"))["lost"]["count"], 5);
    EXPECT_FALSE(stored->done());
    EXPECT_FALSE(stored->next(0ms));
    EXPECT_TRUE(stored->done());

    observe::FlowFilter follow;
    follow.follow = true;
    auto live = flow_lines(observe::history::FlowQuery(store, "", follow), true, "n1");
    EXPECT_FALSE(live->next(0ms));
    EXPECT_FALSE(live->done());
    std::thread ingest([&] {
        std::this_thread::sleep_for(20ms);
        store.append(observe::lost_record(2000, 6));
        store.publish();
    });
    const auto begin = Clock::now();
    const auto next = live->next(5s);
    ingest.join();
    ASSERT_TRUE(next);
    EXPECT_LT(Clock::now() - begin, 2s);
    EXPECT_EQ(json::parse(next.value_or("null"))["lost"]["count"], 6);
}

TEST_F(ServerTest, WhyAndTop) {
    start();
    ASSERT_TRUE(
        client().get("/v1/why?source=shop/client&destination=web.shop&port=81&protocol=udp"));
    EXPECT_EQ(backend.last_why.source, "shop/client");
    EXPECT_EQ(backend.last_why.destination, "web.shop");
    EXPECT_EQ(backend.last_why.port, 81);
    EXPECT_EQ(backend.last_why.protocol, model::Protocol::udp);
    for (const char* bad :
         {"/v1/why?source=a", "/v1/why?destination=a", "/v1/why?source=a&destination=b&port=0",
          "/v1/why?source=a&destination=b&protocol=icmp&port=80", "/v1/top?window=x",
          "/v1/top?window=0s", "/v1/top?window=2h"}) {
        const auto answer = client().get(bad);
        ASSERT_FALSE(answer) << bad;
        EXPECT_EQ(answer.error().code, Code::invalid) << bad;
    }
    EXPECT_EQ(client().get("/v1/top").value()["window_ms"], 10'000);
    EXPECT_EQ(client().get("/v1/top?window=1500ms").value()["window_ms"], 1500);
}

} // namespace
} // namespace beeline::api
