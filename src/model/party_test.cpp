#include "model/party.h"

#include <gtest/gtest.h>

#include "support/policy_builder.h"

namespace beeline::model {
namespace {

using test::ip;

Workload web() {
    Workload workload;
    workload.id = 1;
    workload.name = {"shop", "web"};
    workload.labels = {{"app", "web"}, {"owner", "run"}};
    workload.ports = {{"http", Protocol::tcp, 80}, {"dns", Protocol::udp, 53}};
    workload.addresses = {ip("10.0.0.5"), ip("fd00::5")};
    return workload;
}

Pod pod(const std::string& name, const std::string& address) {
    Pod made;
    made.name = test::object_name(name);
    made.labels = {{"from", name}};
    made.addresses = {ip(address)};
    return made;
}

TEST(Merge, WithoutAManifestTheWorkloadStandsForItself) {
    const Objects objects;
    EXPECT_EQ(merged_labels(web(), objects), web().labels);
    EXPECT_EQ(merged_ports(web(), objects), web().ports);
    EXPECT_TRUE(merged_ready(web(), objects));
}

TEST(Merge, TheManifestWinsKeyByKey) {
    Objects objects;
    Pod& manifest = objects.pods[{"shop", "web"}];
    manifest.labels = {{"owner", "manifest"}, {"extra", "1"}};
    manifest.ports = {{"http", Protocol::tcp, 8080}, {"dns", Protocol::tcp, 53}};
    EXPECT_EQ(merged_labels(web(), objects),
              (Labels{{"app", "web"}, {"owner", "manifest"}, {"extra", "1"}}));
    EXPECT_EQ(merged_ports(web(), objects), (std::vector<NamedPort>{{"http", Protocol::tcp, 8080},
                                                                    {"dns", Protocol::tcp, 53},
                                                                    {"dns", Protocol::udp, 53}}));
}

TEST(Merge, ReadyNeedsBoth) {
    Objects objects;
    Pod& manifest = objects.pods[{"shop", "web"}];
    EXPECT_TRUE(merged_ready(web(), objects));
    manifest.ready = false;
    EXPECT_FALSE(merged_ready(web(), objects));
    manifest.ready = true;
    manifest.finished = true;
    EXPECT_FALSE(merged_ready(web(), objects));
    manifest.finished = false;
    Workload workload = web();
    workload.ready = false;
    EXPECT_FALSE(merged_ready(workload, objects));
}

TEST(PartyAt, FindsTheOwner) {
    Objects objects;
    objects.pods[{"shop", "remote"}] = pod("shop/remote", "10.1.0.1");
    const std::vector<Workload> workloads{web()};
    const std::vector<net::Ip> host{ip("192.168.0.1")};
    const auto at = [&](const char* address) {
        return party_at(objects, workloads, host, ip(address));
    };

    EXPECT_EQ(at("10.0.0.5").name, (ObjectName{"shop", "web"}));
    EXPECT_EQ(at("fd00::5").kind, Party::Kind::pod);
    EXPECT_EQ(at("fd00::5").address, ip("fd00::5"));
    EXPECT_EQ(at("10.1.0.1").labels, (Labels{{"from", "shop/remote"}}));
    EXPECT_EQ(at("192.168.0.1").kind, Party::Kind::host);
    EXPECT_EQ(at("192.0.2.1").kind, Party::Kind::world);
}

TEST(PartyAt, ManifestsThatOwnNoAddress) {
    Objects objects;
    Pod finished = pod("shop/done", "10.1.0.1");
    finished.finished = true;
    Pod on_host = pod("shop/node", "10.1.0.2");
    on_host.host_network = true;
    // The attached workload's addresses are what its network says, not what its manifest says.
    Pod attached = pod("shop/web", "10.1.0.3");
    for (const Pod& one : {finished, on_host, attached})
        objects.pods[one.name] = one;
    for (const char* address : {"10.1.0.1", "10.1.0.2", "10.1.0.3"}) {
        EXPECT_EQ(party_at(objects, {web()}, {}, ip(address)).kind, Party::Kind::world) << address;
    }
}

TEST(PartyAt, TheFirstByNameOwnsASharedAddress) {
    Objects objects;
    for (const char* name : {"b/one", "a/two"})
        objects.pods[test::object_name(name)] = pod(name, "10.1.0.1");
    EXPECT_EQ(party_at(objects, {}, {}, ip("10.1.0.1")).name, (ObjectName{"a", "two"}));
}

} // namespace
} // namespace beeline::model
