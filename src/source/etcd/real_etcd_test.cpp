// The same source against a real etcd, which tools/fetch-etcd unpacks. tests/netns/test_etcd.py runs these: too slow to be among
// the unit tests.
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/file.h"
#include "base/log.h"
#include "source/etcd/source.h"

namespace beeline::source {
namespace {

using namespace std::chrono_literals;

std::string program(const std::string& name) {
    const char* cache = ::getenv("BEELINE_ETCD");
    const std::string folder = cache != nullptr ? cache : "/var/cache/beeline/etcd";
    const auto path = folder + "/trixie/usr/bin/" + name;
    return ::access(path.c_str(), X_OK) == 0 ? path : "";
}

int free_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(fd, any, size), 0);
    EXPECT_EQ(::getsockname(fd, any, &size), 0);
    ::close(fd);
    return ntohs(address.sin_port);
}

class RealEtcd : public testing::Test {
protected:
    void SetUp() override {
        if (::getenv("BEELINE_TEST_REAL_ETCD") == nullptr)
            GTEST_SKIP() << "tests/netns/test_etcd.py runs this";
        if (program("etcd").empty())
            GTEST_SKIP() << "no etcd in /var/cache/beeline/etcd: tools/fetch-etcd brings it";
        set_log_level(LogLevel::error);
        std::string folder =
            (std::filesystem::temp_directory_path() / "beeline-real-etcd-XXXXXX").string();
        base_ = ::mkdtemp(folder.data());
        port_ = free_port();
        peer_ = free_port();
        options_.node = "n1";
        options_.lease_s = 2;
        options_.first_pause_ms = 20;
        options_.longest_pause_ms = 300;
        options_.page = 3;
    }
    void TearDown() override {
        stop();
        stop_etcd();
        if (!base_.empty()) std::filesystem::remove_all(base_);
    }

    static pid_t spawn(const std::vector<std::string>& words, const std::string& log) {
        const pid_t pid = ::fork();
        if (pid != 0) return pid;
        std::vector<char*> argv;
        for (const auto& word : words)
            argv.push_back(const_cast<char*>(word.c_str()));
        argv.push_back(nullptr);
        if (::freopen(log.c_str(), "a", stdout) == nullptr || ::dup2(1, 2) < 0) ::_exit(126);
        ::execv(argv[0], argv.data());
        ::_exit(127);
    }
    void start_etcd() {
        const auto scheme = tls_.empty() ? "http" : "https";
        const auto url = fmt::format("{}://127.0.0.1:{}", scheme, port_);
        const auto peer = fmt::format("http://127.0.0.1:{}", peer_);
        std::vector<std::string> words{program("etcd"),
                                       "--data-dir",
                                       base_ + "/data",
                                       "--unsafe-no-fsync",
                                       "--listen-client-urls",
                                       url,
                                       "--advertise-client-urls",
                                       url,
                                       "--listen-peer-urls",
                                       peer,
                                       "--initial-advertise-peer-urls",
                                       peer,
                                       "--initial-cluster",
                                       "default=" + peer};
        words.insert(words.end(), tls_.begin(), tls_.end());
        etcd_ = spawn(words, base_ + "/log");
        options_.endpoints = {url};
        options_.state_folder = base_ + "/state";
        ASSERT_TRUE(until([&] { return ctl({"endpoint", "health"}) == 0; }))
            << read_file(base_ + "/log").value_or("");
    }
    void stop_etcd() {
        if (etcd_ <= 0) return;
        ::kill(etcd_, SIGKILL);
        ::waitpid(etcd_, nullptr, 0);
        etcd_ = 0;
    }
    int ctl(std::vector<std::string> arguments) {
        std::vector<std::string> words{program("etcdctl"), "--endpoints",
                                       options_.endpoints.front()};
        words.insert(words.end(), ctl_flags_.begin(), ctl_flags_.end());
        words.insert(words.end(), arguments.begin(), arguments.end());
        int status = 0;
        ::waitpid(spawn(words, base_ + "/ctl"), &status, 0);
        return status;
    }
    void put(const std::string& name) {
        ASSERT_EQ(ctl({"put", "/beeline/networkpolicies/shop/" + name, policy(name)}), 0)
            << read_file(base_ + "/ctl").value_or("");
    }
    static std::string policy(const std::string& name) {
        return fmt::format(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: "
            "{}, namespace: shop}}\nspec: {{podSelector: {{}}}}\n",
            name);
    }

    void start() {
        loop_ = loop::Loop::create().value();
        auto made = EtcdSource::create(options_, [this](auto objects) { last_ = objects; });
        ASSERT_TRUE(made) << made.error().message;
        source_ = std::move(*made);
        loop_->post([this] { ASSERT_TRUE(source_->start(*loop_)); });
        thread_ = std::thread([this] { loop_->run(); });
    }
    void stop() {
        if (!loop_) return;
        loop_->call([this] { source_.reset(); });
        loop_->stop();
        thread_.join();
        loop_.reset();
    }
    static bool until(const std::function<bool()>& holds) {
        for (int i = 0; i < 400; ++i) {
            if (holds()) return true;
            std::this_thread::sleep_for(50ms);
        }
        return false;
    }
    bool come_to(const std::string& names) {
        return until([&] {
            return loop_->call([&] {
                std::string out;
                for (const auto& [name, each] : last_->policies)
                    out += name.name;
                return out == names;
            });
        });
    }
    bool connected(bool wanted) {
        return until(
            [&] { return loop_->call([&] { return source_->state().connected == wanted; }); });
    }
    std::string errors() {
        return loop_->call([this] {
            std::string out;
            for (const auto& each : source_->errors())
                out += each.message + "\n";
            return out;
        });
    }

    std::string base_;
    int port_ = 0;
    int peer_ = 0;
    pid_t etcd_ = 0;
    std::vector<std::string> tls_;
    std::vector<std::string> ctl_flags_;
    EtcdOptions options_;
    std::unique_ptr<loop::Loop> loop_;
    std::unique_ptr<EtcdSource> source_;
    std::thread thread_;
    std::shared_ptr<const model::Objects> last_;
};

TEST_F(RealEtcd, OutageCompactionAndLeases) {
    start_etcd();
    for (const auto* name : {"a", "b", "c", "d"})
        put(name);
    start();
    ASSERT_TRUE(come_to("abcd")) << errors();
    ASSERT_TRUE(connected(true));
    const auto applied = source_->apply(policy("e"), false);
    ASSERT_TRUE(applied) << applied.error().message;
    ASSERT_TRUE(source_->remove("networkpolicy", {"shop", "a"}));
    put("f");
    ASSERT_TRUE(come_to("bcdef"));

    loop_->call([this] {
        model::ClusterNode node;
        node.addresses = {net::Ip::parse("192.0.2.1").value()};
        node.pod_ranges = {net::Prefix::parse("10.1.0.0/24").value()};
        model::Workload web;
        web.name = {"shop", "web"};
        web.labels = {{"app", "web"}};
        web.addresses = {net::Ip::parse("10.1.0.5").value()};
        source_->announce({node, {web}});
    });
    EXPECT_TRUE(until([this] {
        return loop_->call([this] { return last_->nodes.contains("n1"); });
    })) << errors();

    // Killed, changed without us, compacted.
    stop_etcd();
    ASSERT_TRUE(connected(false));
    start_etcd();
    ASSERT_TRUE(connected(true)) << errors();
    put("g");
    EXPECT_TRUE(come_to("bcdefg"));
    stop();
    ASSERT_EQ(ctl({"del", "/beeline/networkpolicies/shop/b"}), 0);
    for (int i = 0; i < 5; ++i)
        put("h");
    std::string revision;
    for (int r = 40; r > 5 && revision.empty(); --r) {
        if (ctl({"compact", std::to_string(r)}) == 0) revision = std::to_string(r);
    }
    EXPECT_NE(revision, "");
    start();
    EXPECT_TRUE(come_to("cdefgh")) << errors();
    // Nobody kept the lease alive: the node is gone with its workloads.
    EXPECT_TRUE(until([this] { return loop_->call([this] { return last_->nodes.empty(); }); }));
}

TEST_F(RealEtcd, CompactionWhileTheWatchIsAway) {
    start_etcd();
    put("a");
    start();
    ASSERT_TRUE(come_to("a"));
    ASSERT_TRUE(connected(true));
    ::kill(etcd_, SIGSTOP); // the connection stays, nothing is answered
    const auto held = source_->apply(policy("x"), false);
    EXPECT_FALSE(held);
    ::kill(etcd_, SIGCONT);
    ASSERT_TRUE(connected(true));
    put("b");
    EXPECT_TRUE(until([this] {
        return loop_->call([this] { return last_->policies.contains({"shop", "b"}); });
    }));
}

TEST_F(RealEtcd, TlsAndUsers) {
    const auto shell = fmt::format(
        "cd {} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "
        "2 "
        "-subj /CN=ca -keyout ca.key -out ca.crt && for n in server client; do openssl req -newkey "
        "ec "
        "-pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=$n -keyout $n.key -out $n.csr && "
        "printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' > $n.ext "
        "&& "
        "openssl x509 -req -days 2 -in $n.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile "
        "$n.ext "
        "-out $n.crt; done",
        base_);
    int status = 0;
    ::waitpid(spawn({"/bin/sh", "-c", shell}, base_ + "/ctl"), &status, 0);
    ASSERT_EQ(status, 0) << read_file(base_ + "/ctl").value_or("");
    tls_ = {"--cert-file",        base_ + "/server.crt", "--key-file",     base_ + "/server.key",
            "--client-cert-auth", "--trusted-ca-file",   base_ + "/ca.crt"};
    ctl_flags_ = {"--cacert", base_ + "/ca.crt",    "--cert", base_ + "/client.crt",
                  "--key",    base_ + "/client.key"};
    start_etcd();
    put("a");
    for (const auto& words : std::vector<std::vector<std::string>>{
             {"user", "add", "root:rootpw"},
             {"user", "grant-role", "root", "root"},
             {"user", "add", "beeline:secret"},
             {"role", "add", "agent"},
             {"role", "grant-permission", "agent", "--prefix=true", "readwrite", "/beeline/"},
             {"user", "grant-role", "beeline", "agent"},
             {"auth", "enable"}})
        ASSERT_EQ(ctl(words), 0) << words[1] << read_file(base_ + "/ctl").value_or("");
    ctl_flags_.insert(ctl_flags_.end(), {"--user", "root:rootpw"});

    options_.user = "beeline";
    options_.password_file = base_ + "/password";
    ASSERT_TRUE(replace_file(options_.password_file, "wrong\n"));
    options_.ca_file = base_ + "/server.crt"; // does not sign it
    start();
    ASSERT_TRUE(until([this] { return errors().find("certificate") != std::string::npos; }))
        << errors();
    stop();
    options_.ca_file = base_ + "/ca.crt";
    options_.certificate = base_ + "/client.crt";
    options_.key = base_ + "/client.key";
    start();
    ASSERT_TRUE(until([this] {
        return errors().find("authentication failed") != std::string::npos;
    })) << errors();
    ASSERT_TRUE(replace_file(options_.password_file, "secret\n"));
    EXPECT_TRUE(come_to("a")) << errors();
    ASSERT_TRUE(connected(true));
    EXPECT_TRUE(source_->apply(policy("b"), false));
    // A user that changes makes every token stale.
    ASSERT_EQ(ctl({"user", "add", "other:pw"}), 0);
    const auto applied = source_->apply(policy("c"), false);
    EXPECT_TRUE(applied) << applied.error().message;
    EXPECT_TRUE(come_to("abc"));
}

} // namespace
} // namespace beeline::source
