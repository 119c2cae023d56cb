#include "datapath/compile.h"

#include <chrono>

#include <gtest/gtest.h>

#include "support/kernel_model.h"
#include "support/policy_builder.h"

namespace beeline::datapath {
namespace {

using model::FlowEnd;
using model::Protocol;
using test::block;
using test::ip;
using test::pods;
using test::policy;
using test::tcp;

class CompileTest : public ::testing::Test {
protected:
    model::Workload& workload(const std::string& name, const std::vector<std::string>& addresses,
                              model::Labels labels = {}) {
        model::Workload& made = workloads.emplace_back();
        made.id = static_cast<std::uint32_t>(workloads.size());
        made.name = test::object_name(name);
        made.labels = std::move(labels);
        made.ifindex = 40 + made.id;
        made.host_interface = fmt::format("bl{}", made.id);
        made.mac = {2, 0, 0, 0, 0, static_cast<std::uint8_t>(made.id)};
        for (const std::string& address : addresses)
            made.addresses.push_back(ip(address));
        return made;
    }

    model::Pod& pod(const std::string& name, const std::string& address,
                    model::Labels labels = {}) {
        model::Pod& made = objects.pods[test::object_name(name)];
        made.name = test::object_name(name);
        made.labels = std::move(labels);
        made.addresses = {ip(address)};
        return made;
    }

    const Compiled& compile() {
        auto result =
            datapath::compile({objects, workloads, host_addresses, previous, limits, {}, nodes});
        EXPECT_TRUE(result) << (result ? "" : result.error().message);
        if (result) now = std::move(*result);
        previous = now.tables;
        return now;
    }

    const bl_endpoint& endpoint(const std::string& address) {
        return now.tables.endpoints.at(to_abi(ip(address)));
    }
    bool in_ipcache(const std::string& prefix) {
        return now.tables.ipcache.contains(to_abi(test::cidr(prefix)));
    }
    std::uint32_t identity(const std::string& address) {
        return test::kernel_identity(now.tables, ip(address));
    }
    bool allowed(const std::string& from, const std::string& to, std::uint16_t port = 80) {
        return test::kernel_verdict(now.tables, ip(from), ip(to), Protocol::tcp, port).allowed();
    }

    model::Objects objects;
    std::vector<model::Workload> workloads;
    std::vector<net::Ip> host_addresses{ip("10.0.0.254"), ip("192.168.0.1")};
    Tables previous;
    Limits limits;
    std::vector<RemoteNode> nodes;
    Compiled now;
};

TEST_F(CompileTest, EndpointsAreWorkloadsAndTheHost) {
    workload("shop/web", {"10.0.0.1", "fd00::1"}, {{"app", "web"}});
    compile();
    EXPECT_EQ(now.tables.endpoints.size(), 4U);
    const bl_endpoint& web = endpoint("fd00::1");
    EXPECT_EQ(web.ifindex, 41U);
    EXPECT_EQ(web.id, 1U);
    EXPECT_EQ(web.mac[5], 1);
    EXPECT_EQ(web.flags, 0U);
    EXPECT_EQ(web.identity, 256U);
    EXPECT_EQ(endpoint("10.0.0.1").identity, 256U);
    EXPECT_EQ(endpoint("192.168.0.1").flags, unsigned{BL_EP_HOST});
    EXPECT_EQ(endpoint("192.168.0.1").identity, std::uint32_t{BL_ID_host});
    EXPECT_EQ(endpoint("192.168.0.1").ifindex, 0U);
    // Only what is told apart by a digest has one; reserved numbers are fixed.
    EXPECT_EQ(now.tables.identities.size(), 1U);
    EXPECT_TRUE(now.tables.identities.contains(256));
}

TEST_F(CompileTest, TheWorldIsAlwaysThereInBothFamilies) {
    compile();
    EXPECT_EQ(now.tables.ipcache.size(), 2U);
    EXPECT_TRUE(in_ipcache("0.0.0.0/0"));
    EXPECT_TRUE(in_ipcache("::/0"));
    EXPECT_EQ(identity("192.0.2.1"), std::uint32_t{BL_ID_world});
    test::add(objects, policy("shop/p").in({block("::/0")}));
    compile();
    EXPECT_EQ(identity("192.0.2.1"), std::uint32_t{BL_ID_world});
    EXPECT_GE(identity("2001:db8::1"), std::uint32_t{BL_ID_FIRST_LOCAL});
}

TEST_F(CompileTest, EveryPolicyCidrHasAnIdentity) {
    test::add(objects, policy("shop/p").in({block("192.0.2.0/24", {"192.0.2.128/25"})}));
    compile();
    EXPECT_TRUE(in_ipcache("192.0.2.0/24"));
    EXPECT_TRUE(in_ipcache("192.0.2.128/25"));
    EXPECT_NE(identity("192.0.2.1"), identity("192.0.2.129"));
    EXPECT_EQ(now.directory->identities.at(identity("192.0.2.129")), "world in 192.0.2.128/25");
    EXPECT_EQ(now.directory->identities.at(BL_ID_world), "world");
}

TEST_F(CompileTest, ManifestsOfPodsElsewhere) {
    workload("shop/web", {"10.0.0.1"}, {{"app", "web"}});
    pod("shop/far", "10.1.0.1", {{"app", "web"}});
    pod("shop/done", "10.1.0.2").finished = true;
    pod("shop/node", "10.0.0.254").host_network = true;
    compile();
    EXPECT_EQ(identity("10.1.0.1"), identity("10.0.0.1")); // one set of labels, one identity
    EXPECT_TRUE(in_ipcache("10.1.0.1/32"));
    EXPECT_FALSE(in_ipcache("10.1.0.2/32"));
    EXPECT_EQ(identity("10.0.0.254"), std::uint32_t{BL_ID_host});
    EXPECT_TRUE(now.warnings.empty());
}

TEST_F(CompileTest, AManifestGivesItsWorkloadLabelsAndPortsButNoAddress) {
    workload("shop/web", {"10.0.0.1"}, {{"app", "old"}, {"own", "1"}}).ports = {
        {"http", Protocol::tcp, 80}};
    pod("shop/web", "10.1.0.1", {{"app", "web"}}).ports = {{"http", Protocol::tcp, 8080}};
    test::add(objects, policy("shop/p", "app=web,own=1").in({}, {test::named("http")}));
    compile();
    EXPECT_FALSE(in_ipcache("10.1.0.1/32"));
    EXPECT_TRUE(allowed("192.0.2.1", "10.0.0.1", 8080));
    EXPECT_FALSE(allowed("192.0.2.1", "10.0.0.1", 80));
    EXPECT_EQ(now.directory->by_address.at(ip("10.0.0.1")).labels,
              (model::Labels{{"app", "web"}, {"own", "1"}}));
}

TEST_F(CompileTest, Directory) {
    workload("shop/web", {"10.0.0.1"}, {{"app", "web"}});
    pod("shop/far", "10.1.0.1");
    test::add(objects, policy("shop/p", "app=web").in({pods("")}));
    compile();
    const model::Directory& directory = *now.directory;
    const auto& web = directory.by_address.at(ip("10.0.0.1"));
    EXPECT_EQ(web.kind, FlowEnd::Kind::workload);
    EXPECT_EQ(web.endpoint, 1U);
    EXPECT_EQ(web.identity, identity("10.0.0.1"));
    EXPECT_EQ(web.space + "/" + web.name, "shop/web");
    EXPECT_EQ(directory.by_address.at(ip("10.1.0.1")).kind, FlowEnd::Kind::remote);
    EXPECT_EQ(directory.by_address.at(ip("10.0.0.254")).kind, FlowEnd::Kind::host);
    EXPECT_EQ(directory.identities.at(web.identity), "shop app=web");
    EXPECT_EQ(directory.interfaces.at(41), "bl1");
    EXPECT_EQ(directory.subjects.at(web.identity).selecting[BL_DIR_INGRESS],
              (std::vector<std::string>{"NetworkPolicy shop/p"}));
    ASSERT_EQ(directory.rules.size(), 1U);
    EXPECT_EQ(directory.rules.begin()->second, "NetworkPolicy shop/p ingress[0]");
    EXPECT_EQ(endpoint("10.0.0.1").flags, unsigned{BL_EP_INGRESS});
}

TEST_F(CompileTest, ContestedAddresses) {
    workload("shop/one", {"10.0.0.1"}, {{"app", "one"}});
    workload("shop/two", {"10.0.0.1", "10.0.0.254"}, {{"app", "two"}});
    pod("shop/three", "10.0.0.1");
    pod("shop/four", "10.1.0.4");
    pod("shop/five", "10.1.0.4");
    compile();
    EXPECT_EQ(endpoint("10.0.0.1").id, 1U);
    EXPECT_EQ(endpoint("10.0.0.254").identity, std::uint32_t{BL_ID_host});
    EXPECT_EQ(now.directory->by_address.at(ip("10.1.0.4")).name, "five");
    EXPECT_EQ(now.warnings,
              (std::vector<std::string>{
                  "workload shop/two: address 10.0.0.1 already belongs to workload shop/one",
                  "workload shop/two: address 10.0.0.254 already belongs to the host",
                  "Pod shop/four: address 10.1.0.4 already belongs to Pod shop/five",
                  "Pod shop/three: address 10.0.0.1 already belongs to workload shop/one",
              }));
}

TEST_F(CompileTest, AReusedAddressHasTheRightsOfItsNewOwner) {
    workload("shop/web", {"10.0.0.1"}, {{"app", "web"}});
    workload("shop/db", {"10.0.0.2"}, {{"app", "db"}});
    test::add(objects, policy("shop/p", "app=db").in({pods("app=web")}));
    compile();
    EXPECT_TRUE(allowed("10.0.0.1", "10.0.0.2"));
    workloads[0].name.name = "intruder";
    workloads[0].labels = {{"app", "intruder"}};
    const std::uint32_t before = identity("10.0.0.1");
    compile();
    EXPECT_FALSE(allowed("10.0.0.1", "10.0.0.2"));
    EXPECT_NE(identity("10.0.0.1"), before);
}

TEST_F(CompileTest, NamespaceLabelsAreJudgedWhenTheyChange) {
    workload("shop/web", {"10.0.0.1"});
    workload("test/curl", {"10.0.0.2"});
    test::add(objects, policy("shop/p").in({test::namespaces("team=red")}));
    compile();
    EXPECT_FALSE(allowed("10.0.0.2", "10.0.0.1"));
    test::add_namespace(objects, "test", {{"team", "red"}});
    compile();
    EXPECT_TRUE(allowed("10.0.0.2", "10.0.0.1"));
}

TEST_F(CompileTest, CompilingAgainChangesNothing) {
    workload("shop/web", {"10.0.0.1", "fd00::1"}, {{"app", "web"}});
    workload("shop/db", {"10.0.0.2"}, {{"app", "db"}});
    test::add(
        objects,
        policy("shop/p", "app=db").in({pods("app=web"), block("192.0.2.0/24")}, {tcp(1, 1000)}));
    model::Service& service = objects.services[{"shop", "db"}];
    service.name = {"shop", "db"};
    service.cluster_ips = {ip("10.96.0.1")};
    service.ports = {{"", Protocol::tcp, 5432, 5432, "", 0}};
    service.selector = model::Labels{{"app", "db"}};
    compile();
    const Tables first = now.tables;
    compile();
    const auto same = [](const auto& a, const auto& b) {
        return a.size() == b.size() && std::all_of(a.begin(), a.end(), [&](const auto& entry) {
                   const auto found = b.find(entry.first);
                   return found != b.end() && BytesEqual{}(found->second, entry.second);
               });
    };
    EXPECT_TRUE(same(first.endpoints, now.tables.endpoints));
    EXPECT_TRUE(same(first.ipcache, now.tables.ipcache));
    EXPECT_TRUE(same(first.identities, now.tables.identities));
    EXPECT_TRUE(same(first.policy, now.tables.policy));
    EXPECT_TRUE(same(first.services, now.tables.services));
    EXPECT_TRUE(same(first.slots, now.tables.slots));
    EXPECT_TRUE(same(first.backends, now.tables.backends));
    EXPECT_FALSE(first.policy.empty());
    EXPECT_FALSE(first.slots.empty());
    EXPECT_TRUE(now.gone.empty());
}

TEST_F(CompileTest, AGoneBackendWhoseAddressAPodOwnsDoesNotMove) {
    model::Service& service = objects.services[{"shop", "dns"}];
    service.name = {"shop", "dns"};
    service.cluster_ips = {ip("10.96.0.53")};
    service.ports = {{"", Protocol::udp, 53, 53, "", 0}};
    service.selector = model::Labels{{"app", "dns"}};
    workload("shop/one", {"10.0.0.1"}, {{"app", "dns"}});
    workload("shop/two", {"10.0.0.2"}, {{"app", "dns"}});
    compile();
    workloads[0].ready = false;
    compile();
    EXPECT_EQ(now.gone.size(), 1U);
    EXPECT_EQ(now.tables.services.size(), 1U);
    workloads[0].ready = true;
    compile();
    workloads.erase(workloads.begin());
    compile();
    EXPECT_EQ(now.tables.services.size(), 2U);
}

TEST_F(CompileTest, FullTablesAreRefusedByName) {
    workload("shop/web", {"10.0.0.1"}, {{"app", "web"}});
    workload("shop/db", {"10.0.0.2"}, {{"app", "db"}});
    pod("shop/far", "10.1.0.1");
    model::Service& service = objects.services[{"shop", "web"}];
    service.name = {"shop", "web"};
    service.cluster_ips = {ip("10.96.0.1"), ip("10.96.0.2")};
    service.ports = {{"", Protocol::tcp, 80, 80, "", 0}};
    objects.slices[{"shop", "web"}] = {
        {"shop", "web"}, "web", {{ip("10.0.0.1")}}, {{"", Protocol::tcp, 80}}};
    test::add(objects, policy("shop/p").in({pods("")}));
    const auto refusal = [&](std::size_t Limits::* limit, std::size_t value) {
        Limits small;
        small.*limit = value;
        const auto result =
            datapath::compile({objects, workloads, host_addresses, Tables{}, small});
        return result ? "fits"
                      : std::string(code_name(result.error().code)) + " " + result.error().message;
    };
    EXPECT_EQ(refusal(&Limits::endpoints, 4), "fits");
    EXPECT_EQ(refusal(&Limits::endpoints, 3),
              "exhausted addresses of this machine and its workloads: 4 are needed, 3 fit");
    EXPECT_EQ(refusal(&Limits::ipcache, 2),
              "exhausted pods elsewhere and policy CIDRs: 3 are needed, 2 fit");
    EXPECT_EQ(refusal(&Limits::identities, 2), "exhausted identities: 3 are needed, 2 fit");
    EXPECT_EQ(refusal(&Limits::services, 1),
              "exhausted service addresses and ports: 2 are needed, 1 fit");
    EXPECT_EQ(refusal(&Limits::slots, 1), "exhausted service slots: 2 are needed, 1 fit");
    EXPECT_EQ(refusal(&Limits::backends, 1), "exhausted service backends: 2 are needed, 1 fit");
    EXPECT_EQ(refusal(&Limits::policy, 6), "fits");
    EXPECT_NE(refusal(&Limits::policy, 5).find("NetworkPolicy shop/p"), std::string::npos);
}

// Loose bounds: they catch a lost index (seconds), not a slow machine. The budget is 0.25 s in the release preset.
class CompileScale : public CompileTest {
protected:
    double seconds() {
        const auto begin = std::chrono::steady_clock::now();
        compile();
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        RecordProperty("milliseconds", static_cast<int>(took.count() * 1000));
        return took.count();
    }
};

TEST_F(CompileScale, ThousandWorkloadsAndThousandPolicies) {
    for (int i = 0; i < 1000; ++i) {
        workload(fmt::format("n{}/p{}", i % 20, i),
                 {fmt::format("10.1.{}.{}", i / 250, i % 250), fmt::format("fd00::{:x}", i)},
                 {{"app", fmt::format("a{}", i)}, {"tier", i % 2 ? "front" : "back"}});
    }
    for (int i = 0; i < 1000; ++i) {
        const auto app = [](int n) { return fmt::format("app=a{}", n % 1000); };
        test::add(
            objects,
            policy(fmt::format("n{}/policy{}", i % 20, i), app(i))
                .in({pods(app(i + 20)), test::pods_in("", app(i + 1))}, {tcp(80), tcp(8000, 8010)})
                .out({test::pods_in("kubernetes.io/metadata.name=n3", app(i + 2))}, {tcp(443)}));
    }
    EXPECT_LT(seconds(), 5.0);
    EXPECT_GE(now.tables.policy.size(), 5000U);
}

TEST_F(CompileScale, ThousandPodsUnderOneBroadPolicy) {
    for (int i = 0; i < 1000; ++i) {
        workload(fmt::format("shop/p{}", i), {fmt::format("10.1.{}.{}", i / 250, i % 250)},
                 {{"app", fmt::format("a{}", i)}});
    }
    test::add(objects, policy("shop/p").in({pods("")}));
    EXPECT_LT(seconds(), 5.0);
    EXPECT_EQ(now.tables.policy.size(), 1'000'000U);
}

TEST_F(CompileTest, OtherNodes) {
    const auto node = [](const std::string& name, const std::string& address,
                         const std::string& range) {
        RemoteNode made;
        made.name = name;
        made.path.addr = to_abi(ip(address));
        made.addresses = {ip(address)};
        made.ranges = {test::cidr(range)};
        return made;
    };
    const auto at = [&](const std::string& prefix) {
        return now.tables.ipcache.at(to_abi(test::cidr(prefix)));
    };
    nodes = {node("a", "192.0.2.1", "10.1.0.0/24"), node("b", "192.0.2.2", "10.2.0.0/24")};
    pod("shop/far", "10.2.0.9", {{"app", "far"}});
    auto& astray = pod("shop/static", "172.16.0.1");
    astray.node = "a";
    workload("shop/near", {"10.0.0.1"}, {{"app", "near"}});
    test::add(objects,
              policy("shop/near").in({test::block("10.2.0.0/28"), test::block("10.0.0.0/8")}));
    compile();
    const auto a = at("10.1.0.0/24").node;
    const auto b = at("10.2.0.0/24").node;
    EXPECT_NE(a, 0);
    EXPECT_NE(b, 0);
    EXPECT_NE(a, b);
    EXPECT_EQ(at("10.2.0.9/32").node, b);
    EXPECT_EQ(at("172.16.0.1/32").node, a);
    EXPECT_EQ(at("10.2.0.0/28").node, b) << "a policy's CIDR inside of the range";
    EXPECT_EQ(at("10.0.0.0/8").node, 0);
    EXPECT_EQ(at("10.2.0.0/24").identity, at("10.0.0.0/8").identity) << "strangers in the range";
    EXPECT_EQ(at("192.0.2.2/32").node, b);
    EXPECT_EQ(at("192.0.2.2/32").flags, BL_IPC_NODE);
    EXPECT_EQ(at("192.0.2.2/32").identity, std::uint32_t{BL_ID_remote_node});
    EXPECT_EQ(now.directory->by_address.at(ip("192.0.2.2")).name, "b");
    EXPECT_TRUE(allowed("10.2.0.9", "10.0.0.1"));
    EXPECT_FALSE(allowed("192.0.2.2", "10.0.0.1")) << "another node is no own host";

    // Numbers stay, and that of a node that goes is not given to another in the same change.
    nodes = {node("0", "192.0.2.9", "10.9.0.0/24"), nodes[1]};
    compile();
    EXPECT_EQ(at("10.2.0.0/24").node, b);
    EXPECT_NE(at("10.9.0.0/24").node, a);
    EXPECT_EQ(now.tables.nodes.size(), 2U);
}

} // namespace
} // namespace beeline::datapath
