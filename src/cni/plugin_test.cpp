#include "cni/plugin.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/fd.h"
#include "base/file.h"
#include "cni/local_cleanup.h"
#include "net/namespace.h"
#include "net/netlink.h"

namespace beeline::cni {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kConfig = R"({"cniVersion": "1.1.0", "name": "pods", "type": "beeline-cni"})";

Environment environment(const char* command) {
    return {.command = command,
            .container = "c1",
            .netns = "/proc/thread-self/ns/net",
            .interface = "eth0",
            .args = "",
            .path = "/opt/cni/bin",
            .netns_override = true};
}

TEST(Invocation, TheEnvironmentIsRead) {
    const auto read = read_environment([](const char* name) -> const char* {
        const std::string_view key(name);
        if (key == "CNI_COMMAND") return "ADD";
        if (key == "CNI_IFNAME") return "eth1";
        if (key == "CNI_NETNS_OVERRIDE") return "1";
        return nullptr;
    });
    EXPECT_EQ(read.command, "ADD");
    EXPECT_EQ(read.interface, "eth1");
    EXPECT_EQ(read.container, "");
    EXPECT_TRUE(read.netns_override);
}

TEST(Invocation, MissingAndWrongVariables) {
    const auto expect = [](Environment changed, const char* named) {
        const auto parsed = parse_invocation(changed, kConfig);
        ASSERT_FALSE(parsed) << named;
        EXPECT_EQ(parsed.error().code, 4);
        EXPECT_NE(parsed.error().message.find(named), std::string::npos) << parsed.error().message;
    };
    expect({.command = "ADD"}, "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME");
    expect({.command = "DEL"}, "CNI_CONTAINERID, CNI_IFNAME");
    expect({.command = "CHECK"}, "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME");
    expect({.command = "GC"}, "CNI_PATH");
    expect({.command = "add"}, "'add'");
    expect({.command = "FROB"}, "'FROB'");
    auto changed = environment("ADD");
    changed.container = "-c";
    expect(changed, "CNI_CONTAINERID");
    changed = environment("ADD");
    changed.interface = "sixteen-letters-";
    expect(changed, "CNI_IFNAME");
    changed = environment("ADD");
    changed.args = "A=b=c";
    expect(changed, "A=b=c");
    changed.args = "A=b";
    expect(changed, "'A'");
    changed.command = "DEL";
    EXPECT_TRUE(parse_invocation(changed, kConfig));
    changed.netns = "";
    EXPECT_TRUE(parse_invocation(changed, kConfig));
    EXPECT_TRUE(parse_invocation({.command = "STATUS"}, kConfig));
}

TEST(Invocation, MissingAndWrongInput) {
    const std::tuple<const char*, std::string, int, const char*> rows[] = {
        {"ADD", "", 6, "empty"},
        {"ADD", " \n", 6, "empty"},
        {"ADD", "{\"cniVersion\": ", 6, "not JSON"},
        {"ADD", "not json", 6, "not JSON"},
        {"ADD", "[]", 6, "object"},
        {"ADD", "{\"a\": \"\xff\"}", 6, "not JSON"},
        {"ADD", std::string(kMaxInput + 1, ' ') + "{}", 6, "larger"},
        {"ADD", std::string(100000, '['), 6, "deeper"},
        {"ADD", "{}", 1, "cniVersion"},
        {"ADD", R"({"cniVersion": 1, "name": "n"})", 1, "cniVersion"},
        {"ADD", R"({"cniVersion": "0.2.0", "name": "n"})", 1, "0.2.0"},
        {"ADD", R"({"cniVersion": "1.0.0"})", 7, "'name'"},
        {"ADD", R"({"cniVersion": "1.0.0", "name": "/"})", 7, "'/'"},
        {"ADD", R"({"cniVersion": "1.0.0", "name": "n", "instance": 5})", 7, "'instance'"},
        {"CHECK", R"({"cniVersion": "0.3.1", "name": "n"})", 1, "CHECK came with CNI 0.4.0"},
        {"GC", R"({"cniVersion": "1.0.0", "name": "n"})", 1, "GC came with CNI 1.1.0"},
        {"STATUS", R"({"cniVersion": "1.0.0", "name": "n"})", 1, "STATUS came with CNI 1.1.0"},
        {"VERSION", "garbage", 6, "not JSON"},
    };
    for (const auto& [command, input, code, named] : rows) {
        const auto parsed = parse_invocation(environment(command), input);
        ASSERT_FALSE(parsed) << input.substr(0, 60);
        EXPECT_EQ(parsed.error().code, code) << input.substr(0, 60);
        EXPECT_NE(parsed.error().message.find(named), std::string::npos) << parsed.error().message;
    }
    const auto parsed = parse_invocation(environment("ADD"),
                                         R"({"cniVersion": "0.4.0", "name": "n", "instance": "x",
        "unknown": {"kept": true}})");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->version, "0.4.0");
    EXPECT_EQ(parsed->instance, "x");
    EXPECT_EQ(parsed->config["unknown"]["kept"], true);
}

TEST(Invocation, ErrorsAreOneJsonObject) {
    const auto text = error_json({7, "bad \xff \"thing\"", "more"}, "0.4.0");
    EXPECT_EQ(text.find('\n'), text.size() - 1);
    const auto object = json::parse(text);
    EXPECT_EQ(object["cniVersion"], "0.4.0");
    EXPECT_EQ(object["code"], 7);
    EXPECT_EQ(object["details"], "more");
    EXPECT_EQ(json::parse(error_json({7, "x", ""}, "9.9.9"))["cniVersion"], "1.1.0");
}

// An agent that answers one request after the other with the same answer.
class FakeAgent {
public:
    FakeAgent(const std::string& path, int status, std::string body)
        : status_(status), body_(std::move(body)) {
        listener_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        EXPECT_EQ(
            ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
            0);
        EXPECT_EQ(::listen(listener_.get(), 16), 0);
        thread_ = std::thread([this] { serve(); });
    }
    ~FakeAgent() {
        ::shutdown(listener_.get(), SHUT_RDWR);
        thread_.join();
    }
    std::vector<std::string> requests; // read after the plugin returned

private:
    void serve() {
        for (;;) {
            const Fd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (!peer) return;
            std::string request;
            char buffer[4096];
            std::size_t wanted = std::string::npos;
            while (request.size() < wanted) {
                const auto size = ::read(peer.get(), buffer, sizeof buffer);
                if (size <= 0) break;
                request.append(buffer, static_cast<std::size_t>(size));
                const auto head = request.find("\r\n\r\n");
                const auto length = request.find("Content-Length: ");
                if (head != std::string::npos && length != std::string::npos) {
                    wanted = head + 4 + std::stoul(request.substr(length + 16));
                }
            }
            if (request.empty()) continue; // a look whether somebody listens
            requests.push_back(request);
            const auto answer = fmt::format("HTTP/1.1 {} X\r\nContent-Length: {}\r\n\r\n{}",
                                            status_, body_.size(), body_);
            (void)::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
        }
    }
    int status_;
    std::string body_;
    Fd listener_;
    std::thread thread_;
};

class PluginTest : public testing::Test {
protected:
    void SetUp() override {
        folder_ = fs::temp_directory_path() / fmt::format("beeline-plugin-{}", getpid());
        fs::remove_all(folder_);
        fs::create_directories(folder_);
        // DEL without an agent deletes an interface: never in the machine's own network.
        if (geteuid() == 0) {
            home_ = net::Namespace::current().value();
            ASSERT_EQ(unshare(CLONE_NEWNET), 0);
        }
    }
    void TearDown() override {
        if (home_) {
            ASSERT_EQ(setns(home_->fd(), CLONE_NEWNET), 0);
        }
        fs::remove_all(folder_);
    }
    Output run(const Environment& environment, const std::string& input = kConfig) {
        return run_plugin(environment, input,
                          [this](std::string_view instance) -> Result<api::Paths> {
                              if (instance == "bad")
                                  return fail(Code::invalid, "'bad' cannot name an instance");
                              api::Paths paths;
                              paths.run = folder_;
                              return paths;
                          });
    }
    std::string socket() const { return folder_ / "beeline.sock"; }
    std::size_t notes() const {
        const auto folder = folder_ / "cni-deleted";
        if (!fs::exists(folder)) return 0;
        return static_cast<std::size_t>(
            std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
    }
    static void expect_error(const Output& output, int code, const char* named = "") {
        EXPECT_EQ(output.exit_code, 1);
        const auto object = json::parse(output.out, nullptr, false);
        ASSERT_TRUE(object.is_object()) << output.out;
        EXPECT_EQ(object["code"], code) << output.out;
        EXPECT_NE(object["msg"].get<std::string>().find(named), std::string::npos) << output.out;
    }

    fs::path folder_;
    std::optional<net::Namespace> home_;
};

TEST_F(PluginTest, AboutAndVersionNeedNoAgent) {
    const auto about = run({}, "");
    EXPECT_EQ(about.exit_code, 0);
    EXPECT_EQ(about.out, "");
    EXPECT_NE(about.err.find("0.3.1, 0.4.0, 1.0.0, 1.1.0"), std::string::npos);
    for (const auto& [input, version] : {std::pair{R"({"cniVersion": "0.4.0"})", "0.4.0"},
                                         {R"({"cniVersion": "9.0.0"})", "9.0.0"},
                                         {"", "1.1.0"}}) {
        const auto output = run({.command = "VERSION"}, input);
        EXPECT_EQ(output.exit_code, 0);
        const auto object = json::parse(output.out);
        EXPECT_EQ(object["cniVersion"], version);
        EXPECT_EQ(object["supportedVersions"], (json{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}));
    }
}

TEST_F(PluginTest, ForwardsToTheAgent) {
    FakeAgent agent(socket(), 200, R"({"cniVersion": "1.1.0", "ips": []})");
    auto asked = environment("ADD");
    asked.args = "K8S_POD_NAME=web";
    const auto added = run(asked, R"({"cniVersion": "1.1.0", "name": "pods", "key": [1]})");
    EXPECT_EQ(added.exit_code, 0) << added.out;
    EXPECT_EQ(json::parse(added.out)["ips"], json::array());
    ASSERT_EQ(agent.requests.size(), 1U);
    const auto& request = agent.requests[0];
    EXPECT_TRUE(request.starts_with("POST /v1/cni/add HTTP/1.1\r\n")) << request;
    const auto body = json::parse(request.substr(request.find("\r\n\r\n") + 4));
    EXPECT_EQ(body, (json{{"container", "c1"},
                          {"netns", asked.netns},
                          {"interface", "eth0"},
                          {"args", asked.args},
                          {"path", "/opt/cni/bin"},
                          {"config", {{"cniVersion", "1.1.0"}, {"name", "pods"}, {"key", {1}}}}}));
    for (const char* verb : {"DEL", "CHECK", "GC", "STATUS"}) {
        const auto output = run(environment(verb));
        EXPECT_EQ(output.exit_code, 0) << verb;
        EXPECT_EQ(output.out, "") << verb;
    }
}

TEST_F(PluginTest, ErrorsOfTheAgentArePassedOn) {
    {
        FakeAgent agent(socket(), 503,
                        R"({"cniVersion": "1.0.0", "code": 50, "msg": "full", "details": "d"})");
        const auto output = run(environment("STATUS"));
        expect_error(output, 50, "full");
        EXPECT_EQ(json::parse(output.out)["details"], "d");
    }
    fs::remove(socket());
    {
        FakeAgent agent(socket(), 200, "oops");
        expect_error(run(environment("ADD")), 102, "JSON");
    }
    fs::remove(socket());
    {
        FakeAgent agent(socket(), 404, R"({"message": "?"})");
        expect_error(run(environment("DEL")), 102, "404");
    }
}

TEST_F(PluginTest, WithoutTheAgent) {
    const auto start = std::chrono::steady_clock::now();
    expect_error(run(environment("ADD")), 11, "not running");
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
    expect_error(run(environment("CHECK")), 11);
    expect_error(run(environment("GC")), 50);
    expect_error(run(environment("STATUS")), 50);
    EXPECT_EQ(notes(), 0U);
}

TEST_F(PluginTest, AddWaitsForAnAgentThatIsJustStarting) {
    std::unique_ptr<FakeAgent> agent;
    std::thread later([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        agent = std::make_unique<FakeAgent>(socket(), 200, "{}");
    });
    const auto output = run(environment("ADD"));
    later.join();
    EXPECT_EQ(output.exit_code, 0) << output.out;
}

TEST_F(PluginTest, NamespacesAreChecked) {
    auto asked = environment("ADD");
    asked.netns_override = false;
    expect_error(run(asked), 8, "own");
    asked.netns = folder_ / "none";
    expect_error(run(asked), 8, "none");
    asked.netns = "/etc/passwd";
    asked.netns_override = true;
    expect_error(run(asked), 8, "/etc/passwd");
}

TEST_F(PluginTest, TheInstanceIsChecked) {
    expect_error(
        run(environment("ADD"), R"({"cniVersion": "1.1.0", "name": "n", "instance": "bad"})"), 7,
        "instance");
}

TEST_F(PluginTest, DelWithoutTheAgentCleansUpAndLeavesANote) {
    if (!home_) GTEST_SKIP() << "needs root to make network namespaces";
    const std::string path = folder_ / "netns";
    ASSERT_TRUE(net::create_named(path));
    const auto host = net::host_interface_name("c1", "eth0");
    {
        auto netlink = net::Netlink::open().value();
        const auto netns = net::Namespace::open(path).value();
        auto inside = net::Netlink::open_in(netns).value();
        const auto make = [&](const std::string& name, const std::string& peer) {
            EXPECT_TRUE(netlink.run(
                net::create_veth({.name = name, .peer_name = peer, .peer_netns = netns.fd()})));
            return inside.link(peer)->index;
        };
        auto asked = environment("DEL");
        asked.netns = path;

        // Another plugin's interface of the same name is left alone.
        make("other", "eth0");
        auto output = run(asked);
        EXPECT_EQ(output.exit_code, 0) << output.out;
        EXPECT_EQ(output.out, "");
        EXPECT_TRUE(inside.link("eth0"));
        ASSERT_TRUE(netlink.run(net::delete_link("other")));
        // Found by the host's end.
        make(host, "eth0");
        EXPECT_EQ(run(asked).exit_code, 0);
        EXPECT_FALSE(inside.link("eth0"));
        // Found by the alias, when the agent lives in another namespace.
        ASSERT_TRUE(inside.run(net::change_link(make("elsewhere", "eth0"), {.alias = host})));
        EXPECT_EQ(run(asked).exit_code, 0);
        EXPECT_FALSE(inside.link("eth0"));
        // Nothing there, no namespace.
        EXPECT_EQ(run(asked).exit_code, 0);
        asked.netns = "";
        EXPECT_EQ(run(asked).exit_code, 0);
    }
    ASSERT_EQ(notes(), 1U);
    const auto note = read_file(folder_ / "cni-deleted" / (host + ".json"));
    ASSERT_TRUE(note);
    EXPECT_EQ(json::parse(*note)["container"], "c1");
    EXPECT_EQ(json::parse(*note)["config"]["name"], "pods");
    // A later attachment of the same name is not undone by it.
    FakeAgent agent(socket(), 200, "{}");
    EXPECT_EQ(run(environment("ADD")).exit_code, 0);
    EXPECT_EQ(notes(), 0U);
    ASSERT_TRUE(net::delete_named(path));
}

TEST_F(PluginTest, NotesAreBounded) {
    const std::string folder = folder_ / "cni-deleted";
    const Tombstones tombstones(folder);
    const std::string longest(5000, 'c');
    for (std::size_t i = 0; i + 1 < Tombstones::kMost; ++i)
        std::ofstream(folder_ / "cni-deleted" / std::to_string(i));
    ASSERT_TRUE(tombstones.write(longest, "eth0", "{}"));
    for (std::size_t i = 0; i < Tombstones::kMost; ++i)
        std::ofstream(folder + "/" + std::to_string(i));
    EXPECT_EQ(tombstones.write("other", "eth0", "{}").error().code, Code::exhausted);
    tombstones.erase(longest, "eth0");
    tombstones.erase(longest, "eth0");
    EXPECT_EQ(notes(), Tombstones::kMost);
    // DEL itself does not fail for that.
    if (home_) {
        EXPECT_EQ(run(environment("DEL")).exit_code, 0);
    }
}

} // namespace
} // namespace beeline::cni
