#include "datapath/service_compile.h"

#include <arpa/inet.h>

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "support/policy_builder.h"

namespace beeline::datapath {
namespace {

using model::Protocol;
using test::ip;
using Texts = std::vector<std::string>;

class ServiceCompile : public ::testing::Test {
protected:
    model::Service& service(const std::string& name, const std::vector<std::string>& addresses,
                            std::vector<model::ServicePort> ports = {
                                {"", Protocol::tcp, 80, 8080, "", 0}}) {
        model::Service& made = objects.services[test::object_name(name)];
        made.name = test::object_name(name);
        for (const std::string& address : addresses)
            made.cluster_ips.push_back(ip(address));
        made.ports = std::move(ports);
        return made;
    }

    using Endpoint = model::EndpointSlice::Endpoint;
    model::EndpointSlice&
    slice(const std::string& name, const std::string& of, std::vector<Endpoint> endpoints,
          std::vector<model::EndpointSlice::Port> ports = {{"", Protocol::tcp, 8080}}) {
        model::EndpointSlice& made = objects.slices[test::object_name(name)];
        made = {test::object_name(name), of, std::move(endpoints), std::move(ports)};
        return made;
    }

    static Endpoint at(const std::string& address, bool ready = true, bool serving = true,
                       bool terminating = false) {
        return {ip(address), ready, serving, terminating, ""};
    }

    model::Workload& workload(const std::string& name, const std::vector<std::string>& addresses,
                              model::Labels labels = {{"app", "web"}}) {
        model::Workload& made = workloads.emplace_back();
        made.id = static_cast<std::uint32_t>(workloads.size());
        made.name = test::object_name(name);
        made.labels = std::move(labels);
        for (const std::string& address : addresses)
            made.addresses.push_back(ip(address));
        return made;
    }

    // Compiles, and takes the result for what the maps hold next time.
    const ServiceTables& compile() {
        now = compile_services({objects, workloads, host_addresses, previous},
                               [&](const net::Ip& address) {
                                   const auto has = [&](const auto& of) {
                                       return std::find(of.addresses.begin(), of.addresses.end(),
                                                        address) != of.addresses.end();
                                   };
                                   return std::any_of(workloads.begin(), workloads.end(), has);
                               });
        previous.services = now.services;
        previous.slots = now.slots;
        previous.backends = now.backends;
        return now;
    }

    const bl_svc* entry(const std::string& address, unsigned port,
                        Protocol protocol = Protocol::tcp) {
        bl_svc_key key{};
        key.addr = to_abi(ip(address));
        key.port = htons(static_cast<std::uint16_t>(port));
        key.proto = static_cast<std::uint8_t>(protocol);
        const auto found = now.services.find(key);
        return found == now.services.end() ? nullptr : &found->second;
    }

    // "10.0.0.1 8080" of every slot in order; also checks that the slots are consistent.
    Texts backends(const std::string& address, unsigned port, Protocol protocol = Protocol::tcp) {
        const bl_svc* svc = entry(address, port, protocol);
        if (!svc) return {"no service"};
        Texts texts;
        for (std::uint32_t slot = 0; slot < svc->count; ++slot) {
            const auto id = now.slots.find({svc->id, svc->generation, slot});
            if (id == now.slots.end()) return {"no slot"};
            const bl_backend& backend = now.backends.at(id->second);
            EXPECT_EQ(backend.service, svc->id);
            EXPECT_EQ(backend.proto, static_cast<std::uint8_t>(protocol));
            texts.push_back(
                fmt::format("{} {}", from_abi(backend.addr).to_string(), ntohs(backend.port)));
        }
        return texts;
    }

    std::uint32_t backend_id(const std::string& text) {
        for (const auto& [id, backend] : now.backends) {
            if (fmt::format("{} {}", from_abi(backend.addr).to_string(), ntohs(backend.port)) ==
                text)
                return id;
        }
        return 0;
    }

    model::Objects objects;
    std::vector<model::Workload> workloads;
    std::vector<net::Ip> host_addresses;
    Tables previous;
    ServiceTables now;
};

TEST_F(ServiceCompile, EveryPortAndAddressIsAFrontend) {
    service("shop/web", {"10.96.0.1", "fd96::1"},
            {{"http", Protocol::tcp, 80, 8080, "", 0}, {"dns", Protocol::udp, 53, 5353, "", 0}});
    slice("shop/web-4", "web", {at("10.0.0.2"), at("10.0.0.1")},
          {{"http", Protocol::tcp, 8080}, {"dns", Protocol::udp, 5353}});
    slice("shop/web-6", "web", {at("fd00::1")},
          {{"http", Protocol::tcp, 8080}, {"dns", Protocol::udp, 5353}});
    compile();
    EXPECT_EQ(now.services.size(), 4U);
    EXPECT_EQ(backends("10.96.0.1", 80), (Texts{"10.0.0.1 8080", "10.0.0.2 8080"}));
    EXPECT_EQ(backends("10.96.0.1", 53, Protocol::udp), (Texts{"10.0.0.1 5353", "10.0.0.2 5353"}));
    EXPECT_EQ(backends("fd96::1", 80), (Texts{"fd00::1 8080"}));
    EXPECT_EQ(backends("10.96.0.1", 53), (Texts{"no service"}));
    std::set<std::uint32_t> ids;
    for (const auto& [key, svc] : now.services)
        ids.insert(svc.id);
    EXPECT_EQ(ids.size(), 4U);
    EXPECT_EQ(now.names.at({ip("fd96::1"), 53, Protocol::udp}), "shop/web");
}

TEST_F(ServiceCompile, OnlyClusterIpServicesHaveFrontends) {
    service("shop/headless", {"10.96.0.2"}).headless = true;
    service("shop/elsewhere", {"10.96.0.3"}).external_name = true;
    service("shop/none", {});
    service("shop/no-ports", {"10.96.0.4"}, {});
    compile();
    EXPECT_TRUE(now.services.empty());
}

TEST_F(ServiceCompile, WithoutBackendsTheFrontendRefuses) {
    service("shop/web", {"10.96.0.1"});
    compile();
    ASSERT_TRUE(entry("10.96.0.1", 80));
    EXPECT_EQ(entry("10.96.0.1", 80)->count, 0U);
    EXPECT_TRUE(now.slots.empty());
}

TEST_F(ServiceCompile, ReadyEndpointsElseServingAndTerminating) {
    service("shop/web", {"10.96.0.1"});
    slice("shop/a", "web",
          {at("10.0.0.1"), at("10.0.0.2", false), at("10.0.0.3", false, true, true)});
    compile();
    EXPECT_EQ(backends("10.96.0.1", 80), (Texts{"10.0.0.1 8080"}));
    slice("shop/a", "web",
          {at("10.0.0.2", false, true, false), at("10.0.0.3", false, true, true),
           at("10.0.0.4", false, false, true)});
    compile();
    EXPECT_EQ(backends("10.96.0.1", 80), (Texts{"10.0.0.3 8080"}));
}

TEST_F(ServiceCompile, FamiliesChooseForThemselves) {
    service("shop/web", {"10.96.0.1", "fd96::1"});
    slice("shop/a", "web", {at("10.0.0.1"), at("fd00::3", false, true, true)});
    compile();
    EXPECT_EQ(backends("10.96.0.1", 80), (Texts{"10.0.0.1 8080"}));
    EXPECT_EQ(backends("fd96::1", 80), (Texts{"fd00::3 8080"}));
}

TEST_F(ServiceCompile, SlicesOfOneServiceAreMerged) {
    service("shop/web", {"10.96.0.1"});
    slice("shop/a", "web", {at("10.0.0.1", false), at("10.0.0.2")});
    slice("shop/b", "web", {at("10.0.0.2"), at("10.0.0.1"), at("10.0.0.3")},
          {{"", Protocol::tcp, 9090}, {"", Protocol::tcp, 0}});
    slice("shop/c", "web", {at("10.0.0.1")});
    slice("shop/other", "db", {at("10.0.0.9")});
    slice("other/web", "web", {at("10.0.0.8")});
    compile();
    EXPECT_EQ(backends("10.96.0.1", 80), (Texts{"10.0.0.1 8080", "10.0.0.1 9090", "10.0.0.2 8080",
                                                "10.0.0.2 9090", "10.0.0.3 9090"}));
}

TEST_F(ServiceCompile, SlicePortsMatchByNameAndProtocol) {
    service("shop/web", {"10.96.0.1"},
            {{"http", Protocol::tcp, 80, 0, "http", 0}, {"alt", Protocol::tcp, 81, 0, "alt", 0}});
    slice("shop/a", "web", {at("10.0.0.1")},
          {{"http", Protocol::tcp, 8080}, {"alt", Protocol::udp, 8081}, {"", Protocol::tcp, 1}});
    compile();
    EXPECT_EQ(backends("10.96.0.1", 80), (Texts{"10.0.0.1 8080"}));
    EXPECT_EQ(backends("10.96.0.1", 81), Texts{});
}

TEST_F(ServiceCompile, SelectorsFindWorkloadsAndPods) {
    service("shop/web", {"10.96.0.1", "fd96::1"}).selector = model::Labels{{"app", "web"}};
    workload("shop/one", {"10.0.0.1", "fd00::1"});
    workload("shop/two", {"10.0.0.2"}, {{"app", "db"}});
    workload("other/one", {"10.0.0.3"});
    workload("shop/late", {"10.0.0.4"}).ready = false;
    workload("shop/by-manifest", {"10.0.0.5"}, {});
    objects.pods[{"shop", "by-manifest"}].labels = {{"app", "web"}};
    for (const auto& [name, address] :
         {std::pair{"far", "10.1.0.1"}, {"done", "10.1.0.2"}, {"busy", "10.1.0.3"}}) {
        model::Pod& pod = objects.pods[{"shop", name}];
        pod.name = {"shop", name};
        pod.labels = {{"app", "web"}};
        pod.addresses = {ip(address)};
    }
    objects.pods[{"shop", "done"}].finished = true;
    objects.pods[{"shop", "busy"}].ready = false;
    compile();
    EXPECT_EQ(backends("10.96.0.1", 80),
              (Texts{"10.0.0.1 8080", "10.0.0.5 8080", "10.1.0.1 8080"}));
    EXPECT_EQ(backends("fd96::1", 80), (Texts{"fd00::1 8080"}));

    objects.services[{"shop", "web"}].publish_not_ready = true;
    compile();
    EXPECT_EQ(backends("10.96.0.1", 80), (Texts{"10.0.0.1 8080", "10.0.0.4 8080", "10.0.0.5 8080",
                                                "10.1.0.1 8080", "10.1.0.3 8080"}));

    // Given slices replace what the selector finds.
    slice("shop/a", "web", {at("10.2.0.1")});
    compile();
    EXPECT_EQ(backends("10.96.0.1", 80), (Texts{"10.2.0.1 8080"}));
}

TEST_F(ServiceCompile, AnEmptySelectorSelectsNothing) {
    service("shop/web", {"10.96.0.1"}).selector = model::Labels{};
    workload("shop/one", {"10.0.0.1"});
    compile();
    EXPECT_EQ(backends("10.96.0.1", 80), Texts{});
}

TEST_F(ServiceCompile, NamedTargetPortsResolveOnEachPod) {
    service("shop/web", {"10.96.0.1"}, {{"", Protocol::tcp, 80, 0, "http", 0}}).selector =
        model::Labels{{"app", "web"}};
    workload("shop/one", {"10.0.0.1"}).ports = {{"http", Protocol::udp, 1},
                                                {"http", Protocol::tcp, 8080}};
    workload("shop/two", {"10.0.0.2"}).ports = {{"http", Protocol::tcp, 9090}};
    workload("shop/three", {"10.0.0.3"});
    compile();
    EXPECT_EQ(backends("10.96.0.1", 80), (Texts{"10.0.0.1 8080", "10.0.0.2 9090"}));
}

TEST_F(ServiceCompile, SctpKeepsItsPort) {
    service("shop/sig", {"10.96.0.1"}, {{"", Protocol::sctp, 9000, 9000, "", 0}});
    slice("shop/a", "sig", {at("10.0.0.1")}, {{"", Protocol::sctp, 9000}});
    slice("shop/b", "sig", {at("10.0.0.2")}, {{"", Protocol::sctp, 9001}});
    compile();
    EXPECT_EQ(backends("10.96.0.1", 9000, Protocol::sctp), (Texts{"10.0.0.1 9000"}));
    ASSERT_EQ(now.warnings.size(), 1U);
    EXPECT_NE(now.warnings[0].find("shop/sig port 9000/SCTP"), std::string::npos)
        << now.warnings[0];
}

TEST_F(ServiceCompile, TheFirstByNameOwnsAContestedFrontend) {
    service("shop/b", {"10.96.0.1"});
    service("shop/a", {"10.96.0.1"});
    slice("shop/a", "a", {at("10.0.0.1")});
    slice("shop/b", "b", {at("10.0.0.2")});
    compile();
    EXPECT_EQ(backends("10.96.0.1", 80), (Texts{"10.0.0.1 8080"}));
    EXPECT_EQ(now.warnings,
              (Texts{"Service shop/b: 10.96.0.1 port 80/TCP already belongs to Service shop/a"}));
}

TEST_F(ServiceCompile, AffinityIsPassedOn) {
    service("shop/web", {"10.96.0.1"}).affinity_s = 10800;
    compile();
    EXPECT_EQ(entry("10.96.0.1", 80)->affinity_s, 10800U);
}

TEST_F(ServiceCompile, NothingChangesWhenNothingChanges) {
    service("shop/web", {"10.96.0.1"});
    slice("shop/a", "web", {at("10.0.0.1"), at("10.0.0.2")});
    compile();
    const ServiceTables first = now;
    slice("shop/a", "web", {at("10.0.0.2"), at("10.0.0.1")}); // the order of a slice means nothing
    compile();
    EXPECT_EQ(entry("10.96.0.1", 80)->generation, 1U);
    EXPECT_EQ(now.slots.size(), first.slots.size());
    for (const auto& [key, backend] : first.slots)
        EXPECT_EQ(now.slots.at(key), backend);
    EXPECT_EQ(now.backends.size(), first.backends.size());
    EXPECT_TRUE(now.gone.empty());
}

TEST_F(ServiceCompile, AChangedListIsANewGenerationWithStableIds) {
    service("shop/web", {"10.96.0.1"});
    slice("shop/a", "web", {at("10.0.0.1"), at("10.0.0.3")});
    compile();
    const std::uint32_t id = entry("10.96.0.1", 80)->id;
    const std::uint32_t first = backend_id("10.0.0.1 8080");
    const std::uint32_t third = backend_id("10.0.0.3 8080");

    slice("shop/a", "web", {at("10.0.0.1"), at("10.0.0.2"), at("10.0.0.3")});
    compile();
    EXPECT_EQ(entry("10.96.0.1", 80)->id, id);
    EXPECT_EQ(entry("10.96.0.1", 80)->generation, 2U);
    EXPECT_EQ(backend_id("10.0.0.1 8080"), first);
    EXPECT_EQ(backend_id("10.0.0.3 8080"), third);
    EXPECT_GT(backend_id("10.0.0.2 8080"), third);
    EXPECT_EQ(now.slots.size(), 3U); // the old set is not wanted any more
    EXPECT_EQ(backends("10.96.0.1", 80),
              (Texts{"10.0.0.1 8080", "10.0.0.2 8080", "10.0.0.3 8080"}));

    slice("shop/a", "web", {at("10.0.0.2")});
    compile();
    EXPECT_EQ(entry("10.96.0.1", 80)->generation, 3U);
    ASSERT_EQ(now.gone.size(), 2U);
    EXPECT_EQ(now.gone[0].id, first);
    EXPECT_EQ(now.gone[1].id, third);
    EXPECT_EQ(from_abi(now.gone[1].backend.addr), ip("10.0.0.3"));
}

TEST_F(ServiceCompile, ALostSlotIsWrittenAnew) {
    service("shop/web", {"10.96.0.1"});
    slice("shop/a", "web", {at("10.0.0.1")});
    compile();
    previous.slots.clear();
    compile();
    EXPECT_EQ(entry("10.96.0.1", 80)->generation, 2U);
}

TEST_F(ServiceCompile, NewNumbersAreAboveAllThatTheMapsStillName) {
    previous.services[{to_abi(ip("10.96.0.9")), htons(80), 6, 0}].id = 7;
    previous.slots[{9, 1, 0}] = 40;
    previous.backends[50] = {to_abi(ip("10.0.0.9")), htons(80), 6, 0, 12};
    service("shop/web", {"10.96.0.1"});
    slice("shop/a", "web", {at("10.0.0.1")});
    compile();
    EXPECT_EQ(entry("10.96.0.1", 80)->id, 13U);
    EXPECT_EQ(backend_id("10.0.0.1 8080"), 51U);
}

TEST_F(ServiceCompile, HostPortsAreServicesAtTheNodesAddresses) {
    host_addresses = {ip("198.51.100.1"), ip("198.51.100.9"), ip("2001:db8::1")};
    model::Workload& web = workload("shop/web", {"10.0.0.2", "fd00::2"});
    web.host_ports = {{.address = {},
                       .v4 = true,
                       .v6 = true,
                       .protocol = Protocol::tcp,
                       .port = 8080,
                       .target = 80},
                      {.address = ip("198.51.100.9"),
                       .v4 = true,
                       .v6 = false,
                       .protocol = Protocol::udp,
                       .port = 53,
                       .target = 5353}};
    compile();
    EXPECT_EQ(backends("198.51.100.1", 8080), Texts{"10.0.0.2 80"});
    EXPECT_EQ(backends("198.51.100.9", 8080), Texts{"10.0.0.2 80"});
    EXPECT_EQ(backends("2001:db8::1", 8080), Texts{"fd00::2 80"});
    EXPECT_EQ(backends("198.51.100.9", 53, Protocol::udp), Texts{"10.0.0.2 5353"});
    EXPECT_EQ(entry("198.51.100.1", 53, Protocol::udp), nullptr);
    // Loopback is for the node's own sockets, and no address of the firewall.
    ASSERT_NE(entry("127.0.0.1", 8080), nullptr);
    EXPECT_EQ(entry("127.0.0.1", 8080)->flags, BL_SVC_NODE_ONLY);
    EXPECT_EQ(backends("::1", 8080), Texts{"fd00::2 80"});
    EXPECT_EQ(entry("127.0.0.1", 53, Protocol::udp), nullptr);
    ASSERT_EQ(now.host_ports.size(), 4U);
    EXPECT_EQ(now.host_ports.front().address, ip("198.51.100.1"));
    EXPECT_EQ(now.host_ports.front().to, ip("10.0.0.2"));
    EXPECT_EQ(now.host_ports.front().target, 80);

    const bl_svc before = *entry("198.51.100.1", 8080);
    compile();
    EXPECT_EQ(entry("198.51.100.1", 8080)->id, before.id);
    EXPECT_EQ(entry("198.51.100.1", 8080)->generation, before.generation);
    workloads.clear();
    compile();
    EXPECT_EQ(entry("198.51.100.1", 8080), nullptr);
    EXPECT_TRUE(now.host_ports.empty());
}

TEST_F(ServiceCompile, AServiceKeepsItsAddressFromHostPorts) {
    host_addresses = {ip("198.51.100.1")};
    service("shop/db", {"198.51.100.1"}, {{"", Protocol::tcp, 8080, 8080, "", 0}});
    slice("shop/db", "db", {at("10.0.0.9")});
    workload("shop/web", {"10.0.0.2"}).host_ports = {{.address = {},
                                                      .v4 = true,
                                                      .v6 = true,
                                                      .protocol = Protocol::tcp,
                                                      .port = 8080,
                                                      .target = 80}};
    compile();
    EXPECT_EQ(backends("198.51.100.1", 8080), Texts{"10.0.0.9 8080"});
    ASSERT_EQ(now.warnings.size(), 1U);
    EXPECT_NE(now.warnings.front().find("hostPort *:8080/TCP"), std::string::npos);
    EXPECT_TRUE(now.host_ports.empty());
}

class ServiceMoves : public ServiceCompile {
protected:
    ServiceMoves() {
        service("shop/dns", {"10.96.0.53"},
                {{"udp", Protocol::udp, 53, 5353, "", 0}, {"tcp", Protocol::tcp, 53, 5353, "", 0}})
            .affinity_s = 60;
        serve({"10.0.0.1", "10.0.0.2"});
        compile();
    }
    void serve(const std::vector<std::string>& addresses) {
        std::vector<Endpoint> endpoints;
        endpoints.reserve(addresses.size());
        for (const std::string& address : addresses)
            endpoints.push_back(at(address));
        slice("shop/a", "dns", std::move(endpoints),
              {{"udp", Protocol::udp, 5353}, {"tcp", Protocol::tcp, 5353}});
    }
    bool moved(const std::string& address) {
        const bl_svc* found = entry(address, 5353, Protocol::udp);
        return found && found->flags & BL_SVC_MOVED;
    }
    std::size_t moves() {
        return static_cast<std::size_t>(
            std::count_if(now.services.begin(), now.services.end(),
                          [](const auto& one) { return (one.second.flags & BL_SVC_MOVED) != 0; }));
    }
};

TEST_F(ServiceMoves, AGoneUdpBackendLeadsToItsService) {
    serve({"10.0.0.2"});
    compile();
    const bl_svc* service = entry("10.96.0.53", 53, Protocol::udp);
    const bl_svc* led = entry("10.0.0.1", 5353, Protocol::udp);
    ASSERT_TRUE(service && led);
    EXPECT_EQ(led->flags, std::uint32_t{BL_SVC_MOVED});
    EXPECT_EQ(led->id, service->id);
    EXPECT_EQ(led->generation, service->generation);
    EXPECT_EQ(led->count, 1U);
    EXPECT_EQ(led->affinity_s, 60U);
    EXPECT_EQ(moves(), 1U); // TCP does not move
    EXPECT_EQ(now.gone.size(), 2U);
}

TEST_F(ServiceMoves, TheMoveFollowsTheServiceAndEndsWithIt) {
    serve({"10.0.0.2"});
    compile();
    serve({"10.0.0.3", "10.0.0.4"});
    compile();
    EXPECT_TRUE(moved("10.0.0.1"));
    EXPECT_TRUE(moved("10.0.0.2"));
    EXPECT_EQ(entry("10.0.0.1", 5353, Protocol::udp)->generation,
              entry("10.96.0.53", 53, Protocol::udp)->generation);
    EXPECT_EQ(entry("10.0.0.1", 5353, Protocol::udp)->count, 2U);
    objects.services.clear();
    compile();
    EXPECT_TRUE(now.services.empty());
}

TEST_F(ServiceMoves, WhileNobodyServesTheMoveRefuses) {
    serve({});
    compile();
    EXPECT_TRUE(moved("10.0.0.1"));
    EXPECT_EQ(entry("10.0.0.1", 5353, Protocol::udp)->count, 0U);
    serve({"10.0.0.7"});
    compile();
    EXPECT_TRUE(moved("10.0.0.1"));
    EXPECT_EQ(entry("10.0.0.1", 5353, Protocol::udp)->count, 1U);
}

TEST_F(ServiceMoves, ABackendThatReturnsIsNotMoved) {
    serve({"10.0.0.2"});
    compile();
    serve({"10.0.0.1", "10.0.0.2"});
    compile();
    EXPECT_FALSE(moved("10.0.0.1"));
}

TEST_F(ServiceMoves, AnAddressWithAnOwnerIsNotTaken) {
    workload("shop/new", {"10.0.0.1"});
    serve({"10.0.0.2"});
    compile();
    EXPECT_FALSE(moved("10.0.0.1"));
    workloads.clear();
    // The move is not made up later: only what vanishes now, or was moved already, moves.
    compile();
    EXPECT_FALSE(moved("10.0.0.1"));
    serve({"10.0.0.3"});
    compile();
    EXPECT_TRUE(moved("10.0.0.2"));
    workload("shop/other", {"10.0.0.2"});
    compile();
    EXPECT_FALSE(moved("10.0.0.2"));
}

TEST_F(ServiceMoves, ABackendOfAnotherServiceIsNotTaken) {
    service("shop/dns2", {"10.96.0.54"}, {{"udp", Protocol::udp, 53, 5353, "", 0}});
    slice("shop/b", "dns2", {at("10.0.0.1")}, {{"udp", Protocol::udp, 5353}});
    serve({"10.0.0.2"});
    compile();
    EXPECT_FALSE(moved("10.0.0.1"));
}

TEST_F(ServiceMoves, AtMostSoMany) {
    std::vector<std::string> many;
    many.reserve(1500);
    for (int i = 0; i < 1500; ++i)
        many.push_back(fmt::format("10.3.{}.{}", i / 250, i % 250));
    serve(many);
    compile();
    EXPECT_EQ(moves(), 2U);
    serve({"10.0.0.9"});
    compile();
    EXPECT_EQ(moves(), kMostMoved);
    EXPECT_FALSE(moved("10.0.0.1")); // the older ones go first
}

} // namespace
} // namespace beeline::datapath
