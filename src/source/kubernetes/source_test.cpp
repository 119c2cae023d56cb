// Against an API server of a few lines, which does what each test wants of it.
#include "source/kubernetes/source.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "base/fd.h"
#include "base/file.h"
#include "source/kubernetes/object_state.h"

namespace beeline::source {
namespace {

using namespace std::chrono_literals;

// Answers each request with what `answer` writes on the connection, and closes it then.
class FakeServer {
public:
    using Answer = std::function<void(int fd, const std::string& request)>;

    explicit FakeServer(Answer answer) : answer_(std::move(answer)) {
        listener_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        socklen_t size = sizeof address;
        getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
        port_ = ntohs(address.sin_port);
        listen(listener_.get(), 64);
        thread_ = std::thread([this] { serve(); });
    }
    ~FakeServer() { finish(); }
    // No answer is being given any more when this returns.
    void finish() {
        if (!thread_.joinable()) return;
        stopping_ = true;
        shutdown(listener_.get(), SHUT_RDWR);
        thread_.join();
        for (auto& thread : connections_)
            thread.join();
    }
    FakeServer(const FakeServer&) = delete;
    FakeServer& operator=(const FakeServer&) = delete;

    [[nodiscard]] std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
    [[nodiscard]] bool stopping() const { return stopping_; }

    static void write(int fd, std::string_view text) {
        (void)!::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    }
    static void begin(int fd, int status = 200) {
        write(fd, fmt::format("HTTP/1.1 {} X\r\nConnection: close\r\n\r\n", status));
    }
    // As long as the client stays and the test runs.
    void hold(int fd) const {
        char byte = 0;
        timeval wait{0, 20'000};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
        while (!stopping_ && (recv(fd, &byte, 1, 0) != 0)) {
        }
    }

private:
    void serve() {
        while (!stopping_) {
            const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0) continue;
            connections_.emplace_back([this, fd] {
                const Fd owner(fd);
                std::string request;
                char buffer[4096];
                while (request.find("\r\n\r\n") == std::string::npos) {
                    const auto count = recv(fd, buffer, sizeof buffer, 0);
                    if (count <= 0) return;
                    request.append(buffer, static_cast<std::size_t>(count));
                }
                answer_(fd, request);
                shutdown(fd, SHUT_WR);
            });
        }
    }

    Answer answer_;
    Fd listener_;
    unsigned port_ = 0;
    std::atomic<bool> stopping_{false};
    std::thread thread_;
    std::vector<std::thread> connections_;
};

std::string space_event(const std::string& type, const std::string& name, int version,
                        const std::string& labels = "{}") {
    return fmt::format(
        R"({{"type":"{}","object":{{"kind":"Namespace","apiVersion":"v1","metadata":{{"name":"{}","resourceVersion":"{}","labels":{}}}}}}})"
        "\n",
        type, name, version, labels);
}

std::string end_of_list(int version) {
    return fmt::format(
        R"({{"type":"BOOKMARK","object":{{"metadata":{{"resourceVersion":"{}","annotations":{{"k8s.io/initial-events-end":"true"}}}}}}}})"
        "\n",
        version);
}

bool is_list(const std::string& request) {
    return request.find("sendInitialEvents") != std::string::npos;
}
bool is_spaces(const std::string& request) {
    return request.starts_with("GET /api/v1/namespaces?");
}

class KubernetesSourceTest : public testing::Test {
protected:
    void SetUp() override {
        folder_ = std::filesystem::temp_directory_path() /
                  fmt::format("beeline-kubernetes-{}", static_cast<int>(getpid()));
        std::filesystem::remove_all(folder_);
        std::filesystem::create_directories(folder_);
        loop_ = loop::Loop::create().value();
    }
    void TearDown() override {
        stop();
        std::filesystem::remove_all(folder_);
    }

    // `spaces` answers for namespaces; all other kinds are empty and stay so.
    void start(FakeServer::Answer spaces) {
        server_ = std::make_unique<FakeServer>([this, spaces](int fd, const std::string& request) {
            if (is_spaces(request)) {
                spaces(fd, request);
                return;
            }
            FakeServer::begin(fd);
            if (is_list(request)) FakeServer::write(fd, end_of_list(1));
            server_->hold(fd);
        });
        open(server_->url());
    }
    void open(const std::string& url) {
        KubernetesOptions options;
        options.access.server = url;
        options.access.token = token_;
        options.node = "n1";
        options.state_folder = folder_;
        options.first_wait_ms = 10;
        options.longest_wait_ms = 50;
        options.largest_object = 4096;
        options.write_status = false;
        source_ = KubernetesSource::create(options, [this](auto objects) {
                      const std::lock_guard lock(mutex_);
                      last_ = std::move(objects);
                  }).value();
        ASSERT_TRUE(source_->start(*loop_));
        if (!thread_.joinable()) thread_ = std::thread([this] { loop_->run(); });
    }
    void stop() {
        if (thread_.joinable()) {
            if (source_)
                loop_->call([&] {
                    source_.reset();
                    return 0;
                });
            loop_->stop();
            thread_.join();
        }
        source_.reset();
        if (server_) server_->finish(); // its threads name it by this pointer
        server_.reset();
    }
    template <typename F>
    bool wait(F condition) {
        for (int i = 0; i < 1000; ++i) {
            if (loop_->call(condition)) return true;
            std::this_thread::sleep_for(10ms);
        }
        return false;
    }
    bool wait_for_spaces(const std::vector<std::string>& names) {
        return wait([&] {
            const auto objects = source_->objects();
            if (!objects || objects->namespaces.size() != names.size()) return false;
            return std::all_of(names.begin(), names.end(), [&](const auto& name) {
                return objects->namespaces.contains(name);
            });
        });
    }
    std::string errors() {
        return loop_->call([&] {
            std::string out;
            for (const auto& error : source_->errors())
                out += error.file + ": " + error.message + "\n";
            return out;
        });
    }

    std::filesystem::path folder_;
    kube::Material token_;
    std::unique_ptr<loop::Loop> loop_;
    std::thread thread_;
    std::unique_ptr<FakeServer> server_;
    std::unique_ptr<KubernetesSource> source_;
    std::mutex mutex_;
    std::shared_ptr<const model::Objects> last_;
};

TEST_F(KubernetesSourceTest, ListsStreamAndGoOnAsAWatch) {
    start([this](int fd, const std::string& request) {
        FakeServer::begin(fd);
        if (is_list(request)) {
            // In pieces that are no lines.
            const auto text = space_event("ADDED", "a", 1) + space_event("ADDED", "b", 2) +
                              end_of_list(5) + space_event("MODIFIED", "a", 6, R"({"x":"y"})") +
                              space_event("DELETED", "b", 7) + space_event("ADDED", "c", 8);
            for (std::size_t at = 0; at < text.size(); at += 37) {
                FakeServer::write(fd, text.substr(at, 37));
                std::this_thread::sleep_for(1ms);
            }
        }
        server_->hold(fd);
    });
    EXPECT_TRUE(wait_for_spaces({"a", "c"}));
    EXPECT_EQ(loop_->call([&] { return source_->objects()->namespaces.at("a").labels.at("x"); }),
              "y");
    EXPECT_TRUE(wait([&] { return source_->state().connected && source_->state().synced; }));
    EXPECT_EQ(errors(), "");
    EXPECT_EQ(source_->apply("", false).error().code, Code::unsupported);
    EXPECT_EQ(source_->remove("pod", {}).error().code, Code::unsupported);
}

TEST_F(KubernetesSourceTest, GoesOnFromTheLastVersionAndListsAgainWhenThatIsGone) {
    std::atomic<int> round{0};
    start([this, &round](int fd, const std::string& request) {
        if (is_list(request)) {
            FakeServer::begin(fd);
            if (round++ == 0) {
                FakeServer::write(fd, space_event("ADDED", "a", 1) +
                                          space_event("ADDED", "old", 2) + end_of_list(5));
                return; // the connection ends
            }
            FakeServer::write(fd, space_event("ADDED", "a", 1) + space_event("ADDED", "new", 9) +
                                      end_of_list(10));
            server_->hold(fd);
            return;
        }
        EXPECT_NE(request.find("resourceVersion=5&"), std::string::npos) << request;
        FakeServer::begin(fd);
        FakeServer::write(
            fd, R"({"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}})"
                "\n");
    });
    EXPECT_TRUE(wait_for_spaces({"a", "new"}));
    EXPECT_EQ(round, 2);
}

TEST_F(KubernetesSourceTest, PagesWhereTheServerDoesNotStreamLists) {
    start([this](int fd, const std::string& request) {
        if (is_list(request)) {
            FakeServer::begin(fd, 422);
            FakeServer::write(fd,
                              R"({"kind":"Status","message":"sendInitialEvents is forbidden"})");
            return;
        }
        FakeServer::begin(fd);
        const bool second = request.find("continue=next%2Fpage") != std::string::npos;
        if (second) {
            FakeServer::write(
                fd, R"({"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"b"}}]})");
        } else if (request.find("limit=") != std::string::npos) {
            FakeServer::write(
                fd,
                R"({"metadata":{"resourceVersion":"7","continue":"next/page"},"items":[{"metadata":{"name":"a"}}]})");
        } else {
            EXPECT_NE(request.find("resourceVersion=7&"), std::string::npos);
            FakeServer::write(fd, space_event("ADDED", "c", 8));
            server_->hold(fd);
        }
    });
    EXPECT_TRUE(wait_for_spaces({"a", "b", "c"}));
}

TEST_F(KubernetesSourceTest, AnObjectThatIsWrongLeavesTheOthersAndItsOwnPastInForce) {
    start([this](int fd, const std::string& request) {
        FakeServer::begin(fd);
        if (is_list(request)) {
            FakeServer::write(fd, space_event("ADDED", "good", 1) +
                                      space_event("ADDED", "turns-bad", 2, R"({"x":"1"})") +
                                      end_of_list(3) +
                                      space_event("MODIFIED", "turns-bad", 4, R"({"x":["list"]})") +
                                      space_event("ADDED", "never-good", 5, "7") +
                                      space_event("ADDED", "late", 6));
        }
        server_->hold(fd);
    });
    EXPECT_TRUE(wait_for_spaces({"good", "turns-bad", "late"}));
    EXPECT_EQ(
        loop_->call([&] { return source_->objects()->namespaces.at("turns-bad").labels.at("x"); }),
        "1");
    EXPECT_TRUE(wait([&] { return source_->errors().size() == 2; }));
    EXPECT_NE(errors().find("Namespace turns-bad: Namespace: object.metadata.labels.x: expected a "
                            "string, found a list"),
              std::string::npos)
        << errors();
}

TEST_F(KubernetesSourceTest, GarbageAndGiantsCostANewListOnly) {
    std::atomic<int> round{0};
    start([this, &round](int fd, const std::string& request) {
        if (!is_list(request)) {
            FakeServer::begin(fd);
            server_->hold(fd);
            return;
        }
        switch (round++) {
        case 0:
            FakeServer::begin(fd);
            FakeServer::write(fd, "this is no JSON\n");
            return;
        case 1:
            FakeServer::begin(fd);
            FakeServer::write(fd, "{\"type\":\"ADDED\"}\n");
            return;
        case 2:
            FakeServer::begin(fd);
            FakeServer::write(fd, std::string(10'000, 'x'));
            return;
        case 3:
            FakeServer::begin(fd, 500);
            FakeServer::write(fd, "\x01\xff");
            return;
        case 4: FakeServer::write(fd, "no HTTP at all"); return;
        case 5: return;
        default: break;
        }
        FakeServer::begin(fd);
        FakeServer::write(fd, space_event("ADDED", "a", 1) + end_of_list(2));
        server_->hold(fd);
    });
    EXPECT_TRUE(wait_for_spaces({"a"}));
    EXPECT_TRUE(wait([&] { return source_->state().connected; }));
    EXPECT_EQ(errors(), "");
}

TEST_F(KubernetesSourceTest, AnExpiredTokenIsReadAnew) {
    token_.file = folder_ / "token";
    std::ofstream(token_.file) << "old\n";
    std::atomic<bool> refused{false};
    start([this, &refused](int fd, const std::string& request) {
        if (request.find("Authorization: Bearer new\r\n") == std::string::npos) {
            refused = true;
            FakeServer::begin(fd, 401);
            FakeServer::write(fd, R"({"kind":"Status","message":"Unauthorized"})");
            return;
        }
        FakeServer::begin(fd);
        if (is_list(request)) FakeServer::write(fd, space_event("ADDED", "a", 1) + end_of_list(2));
        server_->hold(fd);
    });
    EXPECT_TRUE(wait([&] { return refused.load() && !source_->errors().empty(); }));
    EXPECT_NE(errors().find("status 401: Unauthorized"), std::string::npos) << errors();
    std::ofstream(folder_ / "token") << "new\n";
    EXPECT_TRUE(wait_for_spaces({"a"}));
}

TEST_F(KubernetesSourceTest, NothingIsPublishedBeforeEverythingIsKnownAndTheLastSetSurvives) {
    open("http://127.0.0.1:1"); // nobody listens
    EXPECT_TRUE(wait([&] { return !source_->errors().empty(); }));
    EXPECT_FALSE(loop_->call([&] { return source_->objects(); }));
    EXPECT_EQ(loop_->call([&] { return source_->list({}).error().code; }), Code::unavailable);
    stop();
    loop_ = loop::Loop::create().value();
    start([this](int fd, const std::string& request) {
        FakeServer::begin(fd);
        if (is_list(request))
            FakeServer::write(fd, space_event("ADDED", "kept", 1) + end_of_list(2));
        server_->hold(fd);
    });
    EXPECT_TRUE(wait_for_spaces({"kept"}));
    stop();
    loop_ = loop::Loop::create().value();
    open("http://127.0.0.1:1");
    EXPECT_TRUE(wait_for_spaces({"kept"}));
    EXPECT_FALSE(source_->state().synced);
}

TEST(ObjectStatePublish, SetsAreIndependentHoweverLongTheyAreHeld) {
    ObjectState state;
    std::vector<std::shared_ptr<const model::Objects>> held;
    for (int i = 0; i < 20; ++i) {
        const auto name = fmt::format("n{}", i);
        state.put(ObjectKind::namespace_, {{"", name}, model::Namespace{name, {}}, {}});
        if (i >= 3) state.erase(ObjectKind::namespace_, {"", fmt::format("n{}", i - 3)});
        auto set = state.publish();
        EXPECT_EQ(set->namespaces.size(),
                  std::min<std::size_t>(static_cast<std::size_t>(i) + 1, 3));
        EXPECT_TRUE(set->namespaces.contains(name));
        if (i % 5 == 0) held.push_back(set);
    }
    EXPECT_TRUE(held[1]->namespaces.contains("n5"));
    EXPECT_FALSE(held[1]->namespaces.contains("n6"));
    state.keep_only(ObjectKind::namespace_, {{"", "n19"}});
    EXPECT_EQ(state.publish()->namespaces.size(), 1U);
}

} // namespace
} // namespace beeline::source
