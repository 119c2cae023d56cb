#include "security/outputs/dispatcher.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include "base/fd.h"
#include "security/engine/engine.h"

namespace beeline::security {
namespace {

namespace fs = std::filesystem;

model::Alert alert(const std::string& rule, std::int64_t time_ns = 0) {
    model::Alert out;
    out.rule = rule;
    out.time_ns = time_ns;
    out.priority = model::Priority::warning;
    out.message = "hello " + rule;
    return out;
}

struct Folder {
    fs::path path = fs::temp_directory_path() / fmt::format("beeline-outputs-{}", getpid());
    Folder() { fs::create_directories(path); }
    ~Folder() { fs::remove_all(path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] std::string file(const std::string& name) const { return path / name; }
};

std::string read_file(const std::string& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

// Answers each request with the next status; keeps the bodies.
class WebServer {
public:
    explicit WebServer(std::vector<int> statuses) : statuses_(std::move(statuses)) {
        listener_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
        EXPECT_EQ(listen(listener_.get(), 8), 0);
        getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { serve(); });
    }
    ~WebServer() {
        shutdown(listener_.get(), SHUT_RDWR);
        thread_.join();
    }
    WebServer(const WebServer&) = delete;
    WebServer& operator=(const WebServer&) = delete;

    [[nodiscard]] std::string url() const { return fmt::format("http://127.0.0.1:{}/a", port_); }
    std::vector<std::string> requests() {
        const std::lock_guard lock(mutex_);
        return requests_;
    }

private:
    void serve() {
        for (std::size_t i = 0;; ++i) {
            const Fd peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (!peer) return;
            std::string request;
            char buffer[4096];
            while (!complete(request)) {
                const auto count = recv(peer.get(), buffer, sizeof buffer, 0);
                if (count <= 0) break;
                request.append(buffer, static_cast<std::size_t>(count));
            }
            {
                const std::lock_guard lock(mutex_);
                requests_.push_back(request);
            }
            const auto answer =
                fmt::format("HTTP/1.1 {} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                            statuses_[std::min(i, statuses_.size() - 1)]);
            (void)send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
        }
    }
    static bool complete(const std::string& request) {
        const auto head = request.find("\r\n\r\n");
        if (head == std::string::npos) return false;
        const auto at = request.find("Content-Length: ");
        return at != std::string::npos &&
               request.size() >= head + 4 + std::strtoul(&request[at + 16], nullptr, 10);
    }

    std::vector<int> statuses_;
    Fd listener_;
    std::uint16_t port_ = 0;
    std::mutex mutex_;
    std::vector<std::string> requests_;
    std::thread thread_;
};

TEST(RateLimit, BucketsAreOfTheRule) {
    RateLimit limit(2, 3);
    for (int i = 0; i < 3; ++i)
        EXPECT_TRUE(limit.allow("a", 1'000'000'000));
    EXPECT_FALSE(limit.allow("a", 1'000'000'000));
    EXPECT_TRUE(limit.allow("b", 1'000'000'000));
    EXPECT_TRUE(limit.allow("a", 1'500'000'000));
    EXPECT_FALSE(limit.allow("a", 1'500'000'000));
    EXPECT_FALSE(limit.allow("a", 1'000'000'000)); // time that goes back gives nothing
    RateLimit none(0, 0);
    for (int i = 0; i < 10; ++i)
        EXPECT_TRUE(none.allow("a", 0));
}

TEST(FileChannel, WritesRotatesAndFollowsMoves) {
    const Folder folder;
    FileOutput output;
    output.path = folder.file("alerts.log");
    output.max_bytes = 20;
    output.keep = 2;
    const auto channel = file_channel(output);
    for (const auto* line : {"first line", "second", "third line is longer than all", "4", "5"})
        ASSERT_TRUE(channel->send(line, false, {}));
    EXPECT_EQ(read_file(output.path), "4\n5\n");
    EXPECT_EQ(read_file(output.path + ".1"), "third line is longer than all\n");
    EXPECT_EQ(read_file(output.path + ".2"), "first line\nsecond\n");
    fs::rename(output.path, folder.file("moved"));
    ASSERT_TRUE(channel->send("after", false, {}));
    EXPECT_EQ(read_file(output.path), "after\n");
    const auto broken = file_channel({folder.file("none/alerts"), 0, 0});
    const auto failed = broken->send("x", false, {});
    ASSERT_FALSE(failed);
    EXPECT_NE(failed.error().message.find("none/alerts"), std::string::npos);
}

TEST(ProgramChannel, FeedsItsInputAndStartsItAgain) {
    const Folder folder;
    const std::string out = folder.file("got");
    {
        const auto channel = program_channel({{"dd", "status=none", "of=" + out}, true});
        ASSERT_TRUE(channel->send("one", false, {}));
        ASSERT_TRUE(channel->send("two", false, {}));
    }
    EXPECT_EQ(read_file(out), "one\ntwo\n");
    {
        const auto channel = program_channel({{"dd", "status=none", "of=" + out}, false});
        ASSERT_TRUE(channel->send("three", false, {}));
        EXPECT_EQ(read_file(out), "three\n");
    }
    const auto none = program_channel({{folder.file("nothing")}, true});
    EXPECT_FALSE(none->send("x", false, {}));
}

TEST(HttpChannel, TriesAgainOnlyWhereThatHelps) {
    WebServer server({503, 200, 400});
    HttpOutput output;
    output.url = server.url();
    output.headers = {"X-Token: secret"};
    auto channel = http_channel(output);
    ASSERT_TRUE(channel);
    EXPECT_TRUE((*channel)->send("{\"a\":1}", true, {}));
    EXPECT_FALSE((*channel)->send("text", false, {}));
    const auto requests = server.requests();
    ASSERT_EQ(requests.size(), 3);
    EXPECT_TRUE(requests[1].ends_with("\r\n\r\n{\"a\":1}"));
    EXPECT_NE(requests[1].find("Content-Type: application/json"), std::string::npos);
    EXPECT_NE(requests[1].find("X-Token: secret"), std::string::npos);
    EXPECT_NE(requests[2].find("Content-Type: text/plain"), std::string::npos);
    output.url = "file:///etc/passwd";
    EXPECT_FALSE(http_channel(output));
}

// Takes lines only when told to.
class Slow final : public Channel {
public:
    explicit Slow(std::vector<std::string>& lines, std::mutex& gate) : lines_(lines), gate_(gate) {}
    Result<> send(const std::string& line, bool, const model::Alert&) override {
        const std::lock_guard lock(gate_);
        lines_.push_back(line);
        if (line.find("bad") != std::string::npos) return fail(Code::unavailable, "no thanks");
        return {};
    }

private:
    std::vector<std::string>& lines_;
    std::mutex& gate_;
};

TEST(Dispatcher, DeliversLimitsAndCounts) {
    AlertStore store;
    std::vector<std::string> lines;
    std::mutex gate;
    DispatchStats stats;
    {
        DispatchOptions options;
        options.queue = 4;
        options.per_second = 1;
        options.burst = 10;
        options.complete = [](model::Alert& one) { one.flows.push_back("{}"); };
        std::vector<std::pair<std::string, std::unique_ptr<Channel>>> channels;
        channels.emplace_back("slow", std::make_unique<Slow>(lines, gate));
        Dispatcher dispatcher(std::move(options), store, std::move(channels));
        const auto arrived = [&](std::uint64_t count) {
            for (int i = 0; i < 2000 && dispatcher.stats().channels[0].sent +
                                                dispatcher.stats().channels[0].failed <
                                            count;
                 ++i)
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
        };
        dispatcher.send(alert("good"));
        dispatcher.send(alert("bad"));
        arrived(2);
        {
            // The channel stands still: its queue of four fills, the rest is counted as dropped.
            const std::lock_guard lock(gate);
            for (int i = 0; i < 12; ++i) {
                const auto before = store.stats().total + dispatcher.stats().limited;
                dispatcher.send(alert("flood"));
                for (int n = 0;
                     n < 2000 && store.stats().total + dispatcher.stats().limited == before; ++n)
                    std::this_thread::sleep_for(std::chrono::milliseconds(1));
            }
        }
        for (int i = 0; i < 2000 && dispatcher.stats().channels[0].sent +
                                            dispatcher.stats().channels[0].failed +
                                            dispatcher.stats().channels[0].dropped <
                                        12;
             ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        stats = dispatcher.stats();
    }
    EXPECT_EQ(stats.alerts, 14);
    EXPECT_EQ(stats.limited, 2); // a burst of ten
    EXPECT_EQ(stats.limited_by_rule.at("flood"), 2);
    EXPECT_EQ(stats.dropped, 0);
    ASSERT_EQ(stats.channels.size(), 1);
    EXPECT_EQ(stats.channels[0].failed, 1);
    EXPECT_EQ(stats.channels[0].last_error, "no thanks");
    EXPECT_GE(stats.channels[0].dropped, 5);
    EXPECT_EQ(stats.channels[0].sent + stats.channels[0].failed + stats.channels[0].dropped, 12);
    ASSERT_FALSE(lines.empty());
    EXPECT_NE(lines[0].find("Warning hello good"), std::string::npos);
    auto reader = store.read({});
    const auto first = reader.next();
    ASSERT_TRUE(first);
    EXPECT_EQ(std::get<0>(*first)->flows.size(), 1);
}

} // namespace
} // namespace beeline::security
