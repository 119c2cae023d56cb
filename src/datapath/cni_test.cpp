// CNI as the agent carries it out, in network namespaces that the tests make. Only the hooks are fakes.
#include "datapath/cni.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "datapath/cni_config.h"
#include "net/cni_protocol.h"
#include "net/sysctl.h"

namespace beeline::datapath {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

net::Ip ip(const std::string& text) { return net::Ip::parse(text).value(); }

TEST(CniConfig, ReadsEverythingThatIsKnown) {
    const auto config = parse_cni_config(json::parse(R"({
        "cniVersion": "1.0.0", "name": "pods", "type": "beeline-cni", "instance": "x", "beeline": {"mtu": 1400},
        "someone": {"elses": "key"}, "ipMasq": true, "ipam": {}, "dns": {"nameservers": ["10.0.0.53"]},
        "runtimeConfig": {"ips": ["10.1.0.9/24", "fd00::9"], "mac": "0A:00:00:00:00:01", "portMappings": [],
                          "cgroupPath": "/kubepods/x", "dns": {"searches": ["svc"]}, "aliases": {"pods": ["a"]}},
        "args": {"cni": {"labels": [{"key": "app", "value": "web"}, {"key": "tier", "value": ""}], "ips": ["10.1.0.1"]},
                 "beeline": {"pid": 7, "source": "run", "ports": [{"name": "http", "protocol": "tcp", "port": 80}]}},
        "prevResult": {"cniVersion": "1.0.0"},
        "cni.dev/valid-attachments": [{"containerID": "c", "ifname": "eth0"}]})"),
                                         "10.1.0.2", "0a:00:00:00:00:02");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->network, "pods");
    EXPECT_EQ(config->mtu, 1400U);
    EXPECT_EQ(config->ips, (std::vector{ip("10.1.0.9"), ip("fd00::9")}));
    EXPECT_EQ(net::to_string(*config->mac), "0a:00:00:00:00:01");
    EXPECT_EQ(config->cgroup, "/kubepods/x");
    EXPECT_EQ(config->dns, json::parse(R"({"nameservers": ["10.0.0.53"], "search": ["svc"]})"));
    EXPECT_EQ(config->labels, (model::Labels{{"app", "web"}, {"tier", ""}}));
    EXPECT_EQ(config->pid, 7U);
    EXPECT_EQ(config->source, "run");
    EXPECT_EQ(config->ports, (std::vector<model::NamedPort>{{"http", model::Protocol::tcp, 80}}));
    EXPECT_TRUE(config->previous.is_object());
    ASSERT_TRUE(config->valid_attachments);
    EXPECT_EQ(config->valid_attachments->size(), 1U);
}

TEST(CniConfig, OlderFormsYieldToNewerOnes) {
    const auto from_args = parse_cni_config({{"name", "n"}}, "10.1.0.2", "0a:00:00:00:00:02");
    EXPECT_EQ(from_args->ips, std::vector{ip("10.1.0.2")});
    EXPECT_TRUE(from_args->mac);
    const auto from_config = parse_cni_config(
        {{"name", "n"}, {"args", {{"cni", {{"ips", {"10.1.0.3"}}}}}}}, "10.1.0.2", "");
    EXPECT_EQ(from_config->ips, std::vector{ip("10.1.0.3")});
    EXPECT_FALSE(from_config->valid_attachments);
    // The earlier draft's name for the list of GC.
    const auto draft =
        parse_cni_config({{"name", "n"}, {"cni.dev/attachments", json::array()}}, "", "");
    EXPECT_TRUE(draft->valid_attachments);
}

TEST(CniConfig, ErrorsNameTheField) {
    const std::tuple<const char*, Code, const char*> rows[] = {
        {R"([])", Code::invalid, "object"},
        {R"({})", Code::invalid, "'name'"},
        {R"({"name": "a/b"})", Code::invalid, "a/b"},
        {R"({"name": 7})", Code::invalid, "'name'"},
        {R"({"name": "n", "instance": 1})", Code::invalid, "'instance'"},
        {R"({"name": "n", "beeline": {"mut": 1400}})", Code::invalid, "'beeline.mut'"},
        {R"({"name": "n", "beeline": {"mtu": 20}})", Code::invalid, "'beeline.mtu' is 20"},
        {R"({"name": "n", "beeline": {"mtu": "1400"}})", Code::invalid, "'beeline.mtu'"},
        {R"({"name": "n", "ipam": {"type": "host-local"}})", Code::unsupported,
         "'ipam.type' is 'host-local'"},
        {R"({"name": "n", "runtimeConfig": []})", Code::invalid, "'runtimeConfig'"},
        {R"({"name": "n", "runtimeConfig": {"portMappings": [{"hostPort": 80}]}})", Code::invalid,
         "containerPort"},
        {R"({"name": "n", "runtimeConfig": {"portMappings": [{"hostPort": 0, "containerPort": 8}]}})",
         Code::invalid, "hostPort"},
        {R"({"name": "n", "runtimeConfig": {"portMappings":
            [{"hostPort": 80, "containerPort": 8, "protocol": "sctp"}]}})",
         Code::unsupported, "SCTP"},
        {R"({"name": "n", "runtimeConfig": {"portMappings":
            [{"hostPort": 80, "containerPort": 8, "hostIP": "x"}]}})",
         Code::invalid, "hostIP"},
        {R"({"name": "n", "runtimeConfig": {"portMappings":
            [{"hostPort": 80, "containerPort": 8}, {"hostPort": 80, "containerPort": 9}]}})",
         Code::invalid, "twice"},
        {R"({"name": "n", "runtimeConfig": {"bandwidth": {"ingressRate": 1}}})", Code::invalid,
         "bandwidth.ingressRate' is 1"},
        {R"({"name": "n", "runtimeConfig": {"bandwidth": {"egressRate": -8}}})", Code::invalid,
         "egressRate"},
        {R"({"name": "n", "runtimeConfig": {"ipRanges": [[{"subnet": "10.0.0.0/24"}]]}})",
         Code::unsupported, "ipRanges"},
        {R"({"name": "n", "runtimeConfig": {"ips": "10.0.0.1"}})", Code::invalid,
         "'runtimeConfig.ips'"},
        {R"({"name": "n", "runtimeConfig": {"ips": ["10.0.0"]}})", Code::invalid, "'10.0.0'"},
        {R"({"name": "n", "runtimeConfig": {"ips": ["10.0.0.1/99"]}})", Code::invalid,
         "'10.0.0.1/99'"},
        {R"({"name": "n", "runtimeConfig": {"mac": "ff:ff:ff:ff:ff:ff"}})", Code::invalid, "ff:ff"},
        {R"({"name": "n", "args": {"cni": {"labels": {"a": "b"}}}})", Code::invalid,
         "'args.cni.labels'"},
        {R"({"name": "n", "args": {"cni": {"labels": [{"value": "b"}]}}})", Code::invalid,
         "'args.cni.labels'"},
        {R"({"name": "n", "args": {"beeline": {"pids": 1}}})", Code::invalid,
         "'args.beeline.pids'"},
        {R"({"name": "n", "args": {"beeline": {"source": "x"}}})", Code::invalid,
         "'args.beeline.source'"},
        {R"({"name": "n", "args": {"beeline": {"ports": [{"port": 0}]}}})", Code::invalid,
         "ports[].port"},
        {R"({"name": "n", "args": {"beeline": {"ports": [{"port": 1, "protocol": "icmp"}]}}})",
         Code::invalid, "'icmp'"},
        {R"({"name": "n", "args": {"beeline": {"ports": [{"port": 1, "x": 1}]}}})", Code::invalid,
         "ports[].x"},
        {R"({"name": "n", "args": {"beeline": {"ports": [7]}}})", Code::invalid, "ports[]"},
        {R"({"name": "n", "prevResult": 7})", Code::invalid, "'prevResult'"},
        {R"({"name": "n", "cni.dev/valid-attachments": [{"containerID": "c"}]})", Code::invalid,
         "valid-attachments"},
    };
    for (const auto& [text, code, named] : rows) {
        const auto config = parse_cni_config(json::parse(text), "", "");
        ASSERT_FALSE(config) << text;
        EXPECT_EQ(config.error().code, code) << text;
        EXPECT_NE(config.error().message.find(named), std::string::npos) << config.error().message;
    }
    // Only what the plugin declares is meant for it.
    EXPECT_TRUE(parse_cni_config(json::parse(R"({"name": "n", "capabilities": {"mac": true},
        "runtimeConfig": {"portMappings": [{"hostPort": 80}]}})"),
                                 "", ""));
}

TEST(CniConfig, HostPorts) {
    const auto config =
        parse_cni_config(json::parse(R"({"name": "n", "runtimeConfig": {"portMappings": [
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 8080, "containerPort": 80},
        {"hostPort": 53, "containerPort": 5353, "protocol": "UDP", "hostIP": "192.0.2.1"},
        {"hostPort": 443, "containerPort": 443, "hostIP": "0.0.0.0"},
        {"hostPort": 443, "containerPort": 444, "hostIP": "::"}]}})"),
                         "", "");
    ASSERT_TRUE(config) << config.error().message;
    std::vector<std::string> texts;
    for (const auto& port : config->host_ports)
        texts.push_back(fmt::format("{} {}", port.to_string(), port.target));
    std::sort(texts.begin(), texts.end());
    EXPECT_EQ(texts, (std::vector<std::string>{"*:8080/TCP 80", "0.0.0.0:443/TCP 443",
                                               "192.0.2.1:53/UDP 5353", "[::]:443/TCP 444"}));
}

TEST(CniConfig, Bandwidth) {
    // What containerd sends for an annotation of 10M.
    const auto config = parse_cni_config(json::parse(R"({"name": "n", "runtimeConfig": {"bandwidth":
        {"IngressRate": 10000000, "IngressBurst": 4294967295, "EgressRate": 0, "EgressBurst": 4294967295},
        "dns": {"Servers": ["10.96.0.10"], "Searches": ["prod.svc.cluster.local"], "Options": ["ndots:5"]}}})"),
                                         "", "");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->bandwidth.ingress, (model::Rate{10'000'000, 4'294'967'295}));
    EXPECT_EQ(config->bandwidth.egress, model::Rate{});
    EXPECT_EQ(config->dns["nameservers"], json::array({"10.96.0.10"}));
    EXPECT_TRUE(config->bandwidth.limited());
    EXPECT_FALSE(parse_cni_config({{"name", "n"}}, "", "")->bandwidth.limited());
}

// A node of its own for each test, with namespaces for workloads.
class CniTest : public testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "needs root to make network namespaces";
        folder_ = fs::temp_directory_path() / fmt::format("beeline-cni-{}", getpid());
        fs::remove_all(folder_);
        fs::create_directories(folder_);
        home_ = net::Namespace::current().value();
        ASSERT_EQ(unshare(CLONE_NEWNET), 0);
        node_ = net::Netlink::open().value();
        ASSERT_TRUE(node_->run(net::change_link(1, {.up = true})));
        start("10.77.0.0/24", "fd00:77::/64");
    }
    void TearDown() override {
        if (!home_) return;
        for (const auto& path : paths_)
            EXPECT_TRUE(net::delete_named(path));
        ASSERT_EQ(setns(home_->fd(), CLONE_NEWNET), 0);
        fs::remove_all(folder_);
    }

    // The agent's parts, as after a start.
    void start(const char* v4, const char* v6) {
        context_.reset();
        Ipam::Options options;
        if (v4 != nullptr) options.ipv4 = net::Prefix::parse(v4).value();
        if (v6 != nullptr) options.ipv6 = net::Prefix::parse(v6).value();
        options.folder = folder_;
        ipam_ = Ipam::open(options).value();
        plumbing_ = Plumbing::create({.gateway_v4 = ipam_->gateway(true),
                                      .gateway_v6 = ipam_->gateway(false),
                                      .mtu = 0,
                                      .state = folder_})
                        .value();
        const auto prepared = plumbing_->prepare_node();
        ASSERT_TRUE(prepared) << prepared.error().message;
        workloads_ =
            Workloads::open(folder_ / "workloads",
                            {.attach = [this](const model::Workload& w) { return attach_(w); },
                             .detach = [this](const model::Workload&) { ++detached_; }},
                            [this](const model::Workload& w) { return plumbing_->present(w); })
                .value();
        context_.emplace(CniContext{*plumbing_, *ipam_, *workloads_, "", {}});
        ASSERT_TRUE(reconcile_workloads(*context_));
    }

    std::string make_netns(const std::string& name) {
        paths_.push_back(folder_ / "netns" / name);
        const auto made = net::create_named(paths_.back());
        EXPECT_TRUE(made) << made.error().message;
        return paths_.back();
    }
    CniRequest request(const std::string& container, const std::string& netns,
                       const std::string& version = "1.1.0") {
        return {.container = container,
                .netns = netns,
                .interface = "eth0",
                .args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=" + container,
                .config = {{"cniVersion", version}, {"name", "pods"}, {"type", "beeline-cni"}}};
    }
    CniResponse call(const char* verb, const CniRequest& request) {
        return handle_cni(*context_, verb, request);
    }
    CniResponse add(const CniRequest& request) {
        auto response = call("add", request);
        EXPECT_EQ(response.code, 0) << response.message;
        return response;
    }
    CniRequest with_previous(CniRequest request, const json& result) {
        request.config["prevResult"] = result;
        return request;
    }
    net::Netlink inside(const std::string& netns) {
        return net::Netlink::open_in(net::Namespace::open(netns).value()).value();
    }
    // Links of workloads in the node.
    std::size_t host_links() {
        const auto links = node_->links().value();
        return static_cast<std::size_t>(
            std::count_if(links.begin(), links.end(),
                          [](const auto& l) { return net::is_host_interface_name(l.name); }));
    }
    void expect_nothing_left() {
        EXPECT_EQ(host_links(), 0U);
        EXPECT_TRUE(ipam_->leases().empty());
        EXPECT_EQ(workloads_->size(), 0U);
        EXPECT_TRUE(!fs::exists(folder_ / "workloads") ||
                    std::none_of(fs::directory_iterator(folder_ / "workloads"),
                                 fs::directory_iterator(),
                                 [](const auto& e) { return e.path().extension() == ".json"; }));
    }
    // Does a TCP connection come about from one namespace to an address in the other?
    bool connects(const std::string& from, const std::string& to, const net::Ip& address) {
        sockaddr_in6 where{};
        where.sin6_family = AF_INET6;
        where.sin6_port = htons(7777);
        std::copy(address.bytes.begin(), address.bytes.end(), where.sin6_addr.s6_addr);
        Fd listener;
        {
            std::optional<net::InNamespace> there;
            if (!to.empty())
                there.emplace(net::InNamespace::enter(net::Namespace::open(to).value()).value());
            listener.reset(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
        }
        const int on = 1;
        setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) < 0)
            return false;
        if (listen(listener.get(), 4) < 0) return false;
        const auto here = net::InNamespace::enter(net::Namespace::open(from).value()).value();
        const Fd client(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const timeval limit{.tv_sec = 2, .tv_usec = 0};
        setsockopt(client.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        return connect(client.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
    }

    fs::path folder_;
    std::optional<net::Namespace> home_;
    std::optional<net::Netlink> node_;
    std::unique_ptr<Ipam> ipam_;
    std::optional<Plumbing> plumbing_;
    std::unique_ptr<Workloads> workloads_;
    std::optional<CniContext> context_;
    std::vector<std::string> paths_;
    std::function<Result<>(const model::Workload&)> attach_ = [](const model::Workload&) {
        return Result<>{};
    };
    unsigned detached_ = 0;
};

TEST_F(CniTest, AddMakesAWorkingDualStackWorkload) {
    const auto a = make_netns("a");
    const auto b = make_netns("b");
    bool down_at_attach = false;
    attach_ = [&](const model::Workload& w) -> Result<> {
        down_at_attach = !inside(w.netns).link("eth0")->up();
        return {};
    };
    auto asked = request("web-1", a);
    asked.config["args"] = {{"cni", {{"labels", {{{"key", "app"}, {"value", "web"}}}}}}};
    const auto result = add(asked).result;
    EXPECT_TRUE(down_at_attach);
    add(request("web-2", b));

    EXPECT_EQ(result["cniVersion"], "1.1.0");
    EXPECT_EQ(result["ips"][0]["address"], "10.77.0.2/32");
    EXPECT_EQ(result["ips"][0]["gateway"], "10.77.0.1");
    EXPECT_EQ(result["ips"][1]["address"], "fd00:77::2/128");
    EXPECT_FALSE(result["ips"][0].contains("version"));
    EXPECT_EQ(result["interfaces"][1]["name"], "eth0");
    EXPECT_EQ(result["interfaces"][1]["sandbox"], a);
    EXPECT_EQ(result["interfaces"][1]["mtu"], 1500);
    EXPECT_FALSE(result["interfaces"][0].contains("sandbox"));
    EXPECT_EQ(result["dns"], json::object());

    const auto* w = workloads_->find("web-1", "eth0");
    ASSERT_NE(w, nullptr);
    EXPECT_EQ(w->name, (model::ObjectName{"shop", "web-1"}));
    EXPECT_EQ(w->labels, (model::Labels{{"app", "web"}}));
    EXPECT_EQ(w->host_interface, result["interfaces"][0]["name"]);
    EXPECT_EQ(w->ifindex, node_->link(w->host_interface)->index);
    EXPECT_EQ(net::to_string(w->mac), result["interfaces"][1]["mac"]);
    EXPECT_EQ(inside(a).link("eth0")->mac, w->mac);
    EXPECT_EQ(inside(a).link("eth0")->alias, w->host_interface);

    for (const char* address : {"10.77.0.3", "fd00:77::3"}) {
        EXPECT_TRUE(connects(a, b, ip(address))) << address;
        EXPECT_TRUE(connects(b, b, ip(address))) << address;
    }
    for (const char* gateway : {"10.77.0.1", "fd00:77::1"})
        EXPECT_TRUE(connects(a, "", ip(gateway))) << gateway;

    EXPECT_EQ(call("check", with_previous(asked, result)).code, 0);
    EXPECT_EQ(call("del", asked).code, 0);
    EXPECT_EQ(detached_, 1U);
    EXPECT_EQ(inside(a).link("eth0").error().code, Code::not_found);
    EXPECT_EQ(call("del", asked).code, 0);
    EXPECT_EQ(call("del", request("web-2", "")).code, 0);
    expect_nothing_left();
}

TEST_F(CniTest, ResultsHaveTheShapeOfTheirVersion) {
    for (const auto version : net::kCniVersions) {
        const auto netns = make_netns("v" + std::string(version));
        const auto asked = request("c", netns, std::string(version));
        const auto result = add(asked).result;
        EXPECT_EQ(result["cniVersion"], version);
        EXPECT_EQ(result["ips"][0].contains("version"), version < "1.0.0") << version;
        if (version < "1.0.0") {
            EXPECT_EQ(result["ips"][0]["version"], "4");
            EXPECT_EQ(result["ips"][1]["version"], "6");
        }
        EXPECT_EQ(result["interfaces"][0].contains("mtu"), version == "1.1.0");
        EXPECT_EQ(call("check", with_previous(asked, result)).code, version == "0.3.1" ? 1 : 0);
        EXPECT_EQ(call("status", asked).code, version == "1.1.0" ? 0 : 1);
        EXPECT_EQ(call("del", asked).code, 0);
    }
    for (const char* other : {"0.2.0", "1.2.0", ""}) {
        EXPECT_EQ(call("add", request("c", "/x", other)).code, net::cni_code::kVersion);
    }
}

TEST_F(CniTest, OneFamilyOnly) {
    for (const auto& [v4, v6] : {std::pair<const char*, const char*>{"10.78.0.0/24", nullptr},
                                 {nullptr, "fd00:78::/64"}}) {
        start(v4, v6);
        const std::string family = v4 != nullptr ? "4" : "6";
        const auto a = make_netns("a" + family);
        const auto b = make_netns("b" + family);
        EXPECT_EQ(add(request("a", a)).result["ips"].size(), 1U);
        const auto result = add(request("b", b)).result;
        EXPECT_EQ(result["routes"].size(), 1U);
        const auto text = result["ips"][0]["address"].get<std::string>();
        EXPECT_TRUE(connects(a, b, ip(text.substr(0, text.find('/')))));
        EXPECT_EQ(call("check", with_previous(request("b", b), result)).code, 0);
        EXPECT_EQ(call("del", request("a", a)).code, 0);
        EXPECT_EQ(call("del", request("b", b)).code, 0);
        expect_nothing_left();
    }
}

TEST_F(CniTest, WorksWhereIpv6IsOffByDefault) {
    const auto netns = make_netns("a");
    {
        const auto guard = net::InNamespace::enter(net::Namespace::open(netns).value()).value();
        ASSERT_TRUE(net::write_sysctl("net/ipv6/conf/all/disable_ipv6", "1"));
        ASSERT_TRUE(net::write_sysctl("net/ipv6/conf/default/disable_ipv6", "1"));
    }
    add(request("c", netns));
    EXPECT_TRUE(connects(netns, "", ip("fd00:77::1")));
}

TEST_F(CniTest, AFailedAddLeavesNothing) {
    const auto netns = make_netns("a");
    const auto expect_failure = [&](int code, const char* named, const CniRequest& asked) {
        const auto response = call("add", asked);
        EXPECT_EQ(response.code, code) << response.message;
        EXPECT_NE(response.message.find(named), std::string::npos) << response.message;
        expect_nothing_left();
        EXPECT_EQ(detached_, 0U);
    };
    using namespace net::cni_code;
    const auto plain = request("c", netns);

    // The namespace.
    expect_failure(kNetns, "none", request("c", folder_ / "none"));
    expect_failure(kNetns, "/etc/passwd", request("c", "/etc/passwd"));
    expect_failure(kNetns, "own", request("c", "/proc/thread-self/ns/net"));
    // What was asked for.
    auto bad = plain;
    bad.args = "K8S_POD_NAME=x;FOO=bar";
    expect_failure(kEnvironment, "FOO", bad);
    bad = plain;
    bad.config["runtimeConfig"] = {{"ips", {"10.99.0.1"}}};
    expect_failure(kConfig, "10.99.0.1", bad);
    bad = plain;
    bad.interface = "a/b";
    expect_failure(kEnvironment, "a/b", bad);
    bad = plain;
    bad.container = "../x";
    expect_failure(kEnvironment, "../x", bad);
    // The interface is there already.
    auto pod = inside(netns);
    ASSERT_TRUE(pod.run(net::create_veth({.name = "eth0", .peer_name = "other"})));
    expect_failure(kExists, "eth0", plain);
    EXPECT_TRUE(pod.link("eth0"));
    ASSERT_TRUE(pod.run(net::delete_link("eth0")));
    // The host side: somebody has a route to the address that comes next.
    const auto next = ip(fmt::format("10.77.0.{}", 2 + ipam_->ipv4()->resting));
    ASSERT_TRUE(node_->run(net::add_route(
        {.destination = net::Prefix::host(next), .index = node_->link("bl_host")->index})));
    auto asked = plain;
    asked.config["runtimeConfig"] = {{"ips", {next.to_string()}}};
    expect_failure(kExists, next.to_string().c_str(), asked);
    EXPECT_FALSE(pod.link("eth0"));
    // The record cannot be written.
    fs::remove_all(folder_ / "workloads");
    expect_failure(kFailed, "workloads", plain);
    fs::create_directories(folder_ / "workloads");
    // The datapath refuses.
    attach_ = [](const model::Workload&) -> Result<> {
        return fail(Code::exhausted, "the table is full");
    };
    auto response = call("add", plain);
    EXPECT_EQ(response.code, kTryLater);
    EXPECT_NE(response.message.find("table is full"), std::string::npos);
    expect_nothing_left();
    EXPECT_FALSE(pod.link("eth0"));
    EXPECT_EQ(detached_, 1U);
    // The workload's end vanishes before it is made ready.
    attach_ = [&](const model::Workload&) -> Result<> {
        EXPECT_TRUE(pod.run(net::delete_link("eth0")));
        return {};
    };
    EXPECT_EQ(call("add", plain).code, kFailed);
    expect_nothing_left();
    EXPECT_EQ(detached_, 2U);
    // After all that it works.
    attach_ = [](const model::Workload&) { return Result<>{}; };
    add(plain);
    EXPECT_EQ(call("add", plain).code, kExists);
    EXPECT_EQ(workloads_->size(), 1U);
}

TEST_F(CniTest, ExhaustedRange) {
    start("10.79.0.0/30", nullptr);
    EXPECT_EQ(call("status", request("", "")).code, 0);
    add(request("a", make_netns("a")));
    const auto full = call("add", request("b", make_netns("b")));
    EXPECT_EQ(full.code, net::cni_code::kTryLater);
    const auto status = call("status", request("", ""));
    EXPECT_EQ(status.code, net::cni_code::kUnavailable);
    EXPECT_NE(status.message.find("10.79.0.0/30"), std::string::npos);
    EXPECT_EQ(call("del", request("a", "")).code, 0);
    // It rests still.
    EXPECT_EQ(call("status", request("", "")).code, net::cni_code::kUnavailable);
}

TEST_F(CniTest, StatusAsksTheAgent) {
    context_->ready = [] { return Result<>(fail(Code::unavailable, "still loading")); };
    const auto status = call("status", request("", ""));
    EXPECT_EQ(status.code, net::cni_code::kUnavailable);
    EXPECT_EQ(status.message, "still loading");
}

TEST_F(CniTest, SpecificAddressMacAndMtu) {
    auto asked = request("c", make_netns("a"));
    asked.config["runtimeConfig"] = {{"ips", {"10.77.0.99/24", "fd00:77::99"}},
                                     {"mac", "0a:00:00:00:00:99"}};
    asked.config["beeline"] = {{"mtu", 1300}};
    const auto result = add(asked).result;
    EXPECT_EQ(result["ips"][0]["address"], "10.77.0.99/32");
    EXPECT_EQ(result["ips"][1]["address"], "fd00:77::99/128");
    EXPECT_EQ(result["interfaces"][1]["mac"], "0a:00:00:00:00:99");
    EXPECT_EQ(inside(asked.netns).link("eth0")->mtu, 1300U);
    EXPECT_EQ(call("check", with_previous(asked, result)).code, 0);
    auto other = request("d", make_netns("b"));
    other.args += ";IP=10.77.0.99";
    EXPECT_EQ(call("add", other).code, net::cni_code::kExists);
}

TEST_F(CniTest, CheckFindsWhatWasTakenAway) {
    const auto netns = make_netns("a");
    const auto asked = request("c", netns);
    const auto previous = add(asked).result;
    const auto check = with_previous(asked, previous);
    auto pod = inside(netns);
    const auto index = pod.link("eth0")->index;
    const auto* w = workloads_->find("c", "eth0");
    const net::Route inner{.destination = net::Prefix::all_v6(),
                           .gateway = ip("fd00:77::1"),
                           .index = index,
                           .onlink = true};
    const net::Route outer{.destination = net::Prefix::host(ip("10.77.0.2")), .index = w->ifindex};
    const auto address = net::Prefix::host(ip("fd00:77::2"));
    const std::tuple<net::Netlink*, net::NetlinkRequest, net::NetlinkRequest, const char*> rows[] =
        {
            {&pod, net::delete_route(inner), net::add_route(inner), "default route via fd00:77::1"},
            {&pod, net::delete_neighbour(index, ip("10.77.0.1")),
             net::set_neighbour(index, ip("10.77.0.1"), net::attachment_mac("c", "eth0", true)),
             "neighbour entry of 10.77.0.1"},
            {&pod, net::delete_address(index, address.base, 128),
             net::add_address(index, address.base, 128), "address fd00:77::2"},
            {&*node_, net::delete_route(outer), net::add_route(outer), "no route to 10.77.0.2"},
        };
    EXPECT_EQ(call("check", check).code, 0);
    for (const auto& [where, harm, mend, named] : rows) {
        ASSERT_TRUE(where->run(harm)) << named;
        const auto response = call("check", check);
        EXPECT_EQ(response.code, net::cni_code::kMismatch) << named;
        EXPECT_NE(response.message.find(named), std::string::npos) << response.message;
        ASSERT_TRUE(where->run(mend)) << named;
        EXPECT_EQ(call("check", check).code, 0) << named;
    }
    EXPECT_EQ(call("check", asked).code, net::cni_code::kConfig); // no prevResult
    auto other = previous;
    other["ips"][0]["address"] = "10.77.0.200/32";
    EXPECT_EQ(call("check", with_previous(asked, other)).code, net::cni_code::kMismatch);
    EXPECT_EQ(call("check", with_previous(request("unknown", netns), previous)).code,
              net::cni_code::kMismatch);
    EXPECT_EQ(call("check", with_previous(request("c", make_netns("b")), previous)).code,
              net::cni_code::kMismatch);
    ASSERT_TRUE(pod.run(net::delete_link("eth0")));
    EXPECT_EQ(call("check", check).code, net::cni_code::kMismatch);
}

TEST_F(CniTest, DelNeverTouchesAnotherContainersNamespace) {
    const auto netns = make_netns("a");
    add(request("old", netns));
    // The old container's namespace is gone and its path is another one's now.
    ASSERT_TRUE(net::delete_named(netns));
    ASSERT_TRUE(net::create_named(netns));
    add(request("new", netns));
    EXPECT_EQ(call("del", request("old", netns)).code, 0);
    EXPECT_TRUE(inside(netns).link("eth0"));
    EXPECT_EQ(workloads_->size(), 1U);
    EXPECT_EQ(host_links(), 1U);
    // Never added, no namespace, unusable path.
    for (const std::string& path :
         {std::string(), netns, std::string("/nowhere"), std::string("/etc/passwd")}) {
        EXPECT_EQ(call("del", request("never", path)).code, 0) << path;
    }
    EXPECT_TRUE(inside(netns).link("eth0"));
    // The configuration may have become nonsense since.
    auto odd = request("new", "");
    odd.config["runtimeConfig"] = {{"portMappings", {{{"hostPort", 1}}}}};
    odd.args = "A=b";
    EXPECT_EQ(call("del", odd).code, 0);
    expect_nothing_left();
}

TEST_F(CniTest, AddAfterALostDel) {
    const auto netns = make_netns("a");
    add(request("c", netns));
    ASSERT_TRUE(net::delete_named(netns));
    const auto again = make_netns("b");
    add(request("c", again));
    EXPECT_EQ(workloads_->size(), 1U);
    EXPECT_EQ(ipam_->leases().size(), 1U);
    EXPECT_TRUE(inside(again).link("eth0"));
}

TEST_F(CniTest, ChainedBehindAnotherPlugin) {
    const auto netns = make_netns("a");
    auto pod = inside(netns);
    const auto target = net::Namespace::open(netns).value();
    ASSERT_TRUE(node_->run(
        net::create_veth({.name = "veth9", .peer_name = "eth0", .peer_netns = target.fd()})));
    ASSERT_TRUE(pod.run(net::add_address(pod.link("eth0")->index, ip("10.5.0.7"), 24)));
    const auto previous = json::parse(R"({"cniVersion": "1.0.0",
        "interfaces": [{"name": "cni0"}, {"name": "veth9"}, {"name": "eth0", "sandbox": "x"}],
        "ips": [{"address": "10.5.0.7/24", "gateway": "10.5.0.1", "interface": 2},
                {"address": "10.5.0.1/24", "interface": 0}], "routes": [{"dst": "0.0.0.0/0"}], "dns": {}})");
    const auto asked = with_previous(request("c", netns, "1.0.0"), previous);
    const auto result = add(asked).result;
    EXPECT_EQ(result, previous);
    const auto* w = workloads_->find("c", "eth0");
    ASSERT_NE(w, nullptr);
    EXPECT_TRUE(w->chained);
    EXPECT_EQ(w->host_interface, "veth9");
    EXPECT_EQ(w->addresses, std::vector{ip("10.5.0.7")});
    EXPECT_EQ(w->mac, pod.link("eth0")->mac);
    EXPECT_TRUE(ipam_->leases().empty());
    EXPECT_EQ(call("check", asked).code, 0);
    start("10.77.0.0/24", "fd00:77::/64");
    EXPECT_EQ(workloads_->size(), 1U);
    EXPECT_EQ(call("del", asked).code, 0);
    EXPECT_EQ(detached_, 1U);
    EXPECT_TRUE(node_->link("veth9"));
    EXPECT_TRUE(pod.link("eth0"));

    // No end in the node: the peer is in the pod itself, or in no pair at all.
    ASSERT_TRUE(pod.run(
        {net::delete_link("eth0"), net::create_veth({.name = "eth0", .peer_name = "inner"})}));
    auto response = call("add", asked);
    EXPECT_EQ(response.code, net::cni_code::kUnsupported) << response.message;
    ASSERT_TRUE(pod.run({net::delete_link("eth0"), net::create_bridge("eth0")}));
    response = call("add", asked);
    EXPECT_EQ(response.code, net::cni_code::kUnsupported) << response.message;
    EXPECT_NE(response.message.find("bridge"), std::string::npos);
    EXPECT_EQ(call("add", with_previous(request("c", netns), {{"ips", json::array()}})).code,
              net::cni_code::kConfig);
    EXPECT_EQ(call("add", with_previous(request("c", netns), {{"ips", 7}})).code,
              net::cni_code::kConfig);
    expect_nothing_left();
}

TEST_F(CniTest, GarbageOfOneNetwork) {
    for (const char* name : {"a", "b", "c"})
        add(request(name, make_netns(name)));
    auto other = request("other", make_netns("d"));
    other.config["name"] = "another-network";
    add(other);
    ASSERT_TRUE(ipam_->lease({"nobody", "eth0"}));

    auto collect = request("", "");
    EXPECT_EQ(call("gc", collect).code, net::cni_code::kConfig); // no list at all
    EXPECT_EQ(workloads_->size(), 4U);
    collect.config["cni.dev/valid-attachments"] = {
        {{"containerID", "b"}, {"ifname", "eth0"}},
        {{"containerID", "unknown"}, {"ifname", "eth0"}}};
    EXPECT_EQ(call("gc", collect).code, 0);
    EXPECT_EQ(workloads_->size(), 2U);
    EXPECT_NE(workloads_->find("b", "eth0"), nullptr);
    EXPECT_NE(workloads_->find("other", "eth0"), nullptr);
    EXPECT_EQ(ipam_->find({"nobody", "eth0"}), nullptr);
    collect.config["cni.dev/valid-attachments"] = json::array();
    EXPECT_EQ(call("gc", collect).code, 0);
    EXPECT_EQ(workloads_->size(), 1U);
    EXPECT_EQ(host_links(), 1U);
}

TEST_F(CniTest, RestartKeepsTheLivingAndFreesTheDead) {
    const auto a = make_netns("a");
    const auto b = make_netns("b");
    const auto result = add(request("a", a)).result;
    add(request("b", b));
    ASSERT_TRUE(net::delete_named(b));
    // A crash in the middle of an ADD leaves a lease, or an interface, that nobody knows.
    ASSERT_TRUE(ipam_->lease({"half", "eth0"}));
    ASSERT_TRUE(node_->run(net::create_veth({.name = "bl0123456789ab", .peer_name = "x"})));
    // The interface goes with its namespace, but not at once.
    const auto lost = workloads_->find("b", "eth0")->host_interface;
    for (unsigned turn = 0; turn < 200 && node_->link(lost); ++turn)
        usleep(10'000);

    start("10.77.0.0/24", "fd00:77::/64");
    EXPECT_EQ(workloads_->size(), 1U);
    ASSERT_NE(workloads_->find("a", "eth0"), nullptr);
    EXPECT_EQ(ipam_->leases().size(), 1U);
    EXPECT_EQ(host_links(), 1U);
    EXPECT_EQ(call("check", with_previous(request("a", a), result)).code, 0);
    // A lost address log is made up for by the records.
    fs::remove(folder_ / "ipam.log");
    start("10.77.0.0/24", "fd00:77::/64");
    EXPECT_EQ(ipam_->leases().size(), 1U);
    EXPECT_NE(add(request("c", make_netns("c"))).result["ips"][0]["address"],
              result["ips"][0]["address"]);
}

TEST_F(CniTest, TombstonesAreReplayed) {
    add(request("a", make_netns("a")));
    add(request("b", make_netns("b")));
    const auto folder = folder_ / "cni-deleted";
    EXPECT_EQ(replay_tombstones(*context_, folder), 0U);
    fs::create_directories(folder);
    const auto write = [&](const char* name, const std::string& text) {
        std::ofstream(folder / name) << text;
    };
    write("1.json", json{{"container", "a"},
                         {"interface", "eth0"},
                         {"netns", ""},
                         {"args", ""},
                         {"path", ""},
                         {"config", {{"cniVersion", "0.4.0"}, {"name", "pods"}}}}
                        .dump());
    write("2.json", "garbage");
    write("3.json", std::string(1000, '['));
    write("other", "not ours");
    EXPECT_EQ(replay_tombstones(*context_, folder), 1U);
    EXPECT_EQ(workloads_->size(), 1U);
    EXPECT_NE(workloads_->find("b", "eth0"), nullptr);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 1);
}

TEST_F(CniTest, TheNodeIsPreparedAndPutBack) {
    EXPECT_EQ(net::read_sysctl("net/ipv4/ip_forward").value(), "1");
    EXPECT_EQ(net::read_sysctl("net/ipv6/conf/all/forwarding").value(), "1");
    ASSERT_TRUE(node_->run(net::create_veth({.name = "up0", .peer_name = "up1"})));
    add(request("a", make_netns("a")));
    start("10.80.0.0/24", "fd00:80::/64");
    const auto addresses = node_->addresses().value();
    const auto index = node_->link("bl_host")->index;
    std::set<std::string> found;
    for (const auto& address : addresses) {
        if (address.index == index) found.insert(address.ip.to_string());
    }
    EXPECT_EQ(found, (std::set<std::string>{"10.80.0.1", "fd00:80::1"}));
    ASSERT_TRUE(plumbing_->remove_node());
    ASSERT_TRUE(plumbing_->remove_node());
    EXPECT_EQ(net::read_sysctl("net/ipv4/ip_forward").value(), "0");
    EXPECT_EQ(net::read_sysctl("net/ipv6/conf/all/forwarding").value(), "0");
    EXPECT_FALSE(node_->link("bl_host"));
    EXPECT_EQ(host_links(), 0U);
    EXPECT_TRUE(node_->link("up0"));
    EXPECT_FALSE(fs::exists(folder_ / "node-sysctls.json"));
}

TEST_F(CniTest, TheMtuIsThatOfTheWayOut) {
    ASSERT_TRUE(node_->run(net::create_veth({.name = "up0", .peer_name = "up1", .mtu = 1380})));
    const auto index = node_->link("up0")->index;
    ASSERT_TRUE(node_->run({net::change_link(node_->link("up1")->index, {.up = true}),
                            net::change_link(index, {.up = true}),
                            net::add_route({.destination = net::Prefix::all_v4(),
                                            .gateway = ip("192.0.2.1"),
                                            .index = index,
                                            .onlink = true})}));
    start("10.77.0.0/24", "fd00:77::/64");
    const auto netns = make_netns("a");
    add(request("a", netns));
    EXPECT_EQ(inside(netns).link("eth0")->mtu, 1380U);
}

TEST_F(CniTest, AddTakesLittleTime) {
    using Clock = std::chrono::steady_clock;
    constexpr int kCount = 50;
    std::vector<std::string> spaces;
    for (int i = 0; i < kCount; ++i)
        spaces.push_back(make_netns(fmt::format("n{}", i)));
    const auto start = Clock::now();
    for (int i = 0; i < kCount; ++i)
        add(request(fmt::format("c{}", i), spaces[static_cast<std::size_t>(i)]));
    const auto added = Clock::now();
    for (int i = 0; i < kCount; ++i)
        EXPECT_EQ(call("del", request(fmt::format("c{}", i), "")).code, 0);
    const auto deleted = Clock::now();
    const auto ms = [](Clock::duration d) {
        return std::chrono::duration<double, std::milli>(d).count() / kCount;
    };
    std::printf("ADD %.2f ms, DEL %.2f ms, each of %d\n", ms(added - start), ms(deleted - added),
                kCount);
    expect_nothing_left();
}

} // namespace
} // namespace beeline::datapath
