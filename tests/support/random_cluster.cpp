#include "support/random_cluster.h"

#include <algorithm>

#include <fmt/format.h>

#include "model/party.h"
#include "support/policy_builder.h"

namespace beeline::test {
namespace {

using model::Protocol;

// Nested on purpose, and around pods, the host and the world.
const std::vector<std::string> kCidrs{
    "0.0.0.0/0",     "10.0.0.0/8",     "10.0.0.0/22",     "10.0.1.0/24",      "10.0.1.0/28",
    "10.0.0.254/32", "192.168.0.0/16", "192.0.2.0/24",    "192.0.2.128/25",   "192.0.2.200/32",
    "::/0",          "fd00::/16",      "fd00::/62",       "fd00:0:0:1::/64",  "fd00:0:0:1::/124",
    "fd07::/16",     "2001:db8::/32",  "2001:db8:1::/48", "2001:db8:1::5/128"};
const std::vector<std::string> kWorld{
    "192.0.2.1",  "192.0.2.130", "192.0.2.200",  "198.51.100.7",  "10.0.1.9",
    "10.200.0.1", "172.16.0.1",  "2001:db8::5",  "2001:db8:1::5", "2001:db8:1::6",
    "2a00::1",    "fd00::1:0:9", "fd00:0:0:1::9"};
const std::vector<std::string> kPodSelectors{"",
                                             "app=web",
                                             "app=db",
                                             "app!=web",
                                             "app in (web,cache)",
                                             "tier=front",
                                             "tier",
                                             "!tier",
                                             "canary",
                                             "app=web,tier=back",
                                             "app notin (db,cache),canary",
                                             "tier notin (front)",
                                             "app=nobody"};
const std::vector<std::string> kNamespaceSelectors{"",
                                                   "team=red",
                                                   "team!=red",
                                                   "env in (prod,dev)",
                                                   "!env",
                                                   "env=prod,team=blue",
                                                   "kubernetes.io/metadata.name=n1",
                                                   "kubernetes.io/metadata.name notin (n0)",
                                                   "team=nobody"};
const std::vector<std::uint16_t> kPorts{53, 80, 81, 88, 443, 8080, 9090, 1, 65535};
const std::vector<Protocol> kTransports{Protocol::tcp, Protocol::tcp, Protocol::tcp, Protocol::udp,
                                        Protocol::sctp};

class Maker {
public:
    Maker(std::mt19937& random, const ClusterSizes& sizes) : random_(random), sizes_(sizes) {}
    RandomCluster make();

private:
    unsigned below(unsigned bound) { return static_cast<unsigned>(random_() % bound); }
    bool chance(unsigned percent) { return below(100) < percent; }
    template <typename T>
    const T& pick(const std::vector<T>& of) {
        return of[below(static_cast<unsigned>(of.size()))];
    }

    std::string space() { return fmt::format("n{}", below(sizes_.namespaces)); }
    model::Labels pod_labels();
    std::vector<model::NamedPort> named_ports();
    std::vector<net::Ip> fresh_addresses();
    void add_namespaces();
    void add_workload();
    void add_manifest();
    model::Peer peer();
    model::Peer block_peer();
    model::PolicyPort port();
    std::vector<model::Rule> rules();
    void add_policy(unsigned number);

    std::mt19937& random_;
    const ClusterSizes& sizes_;
    RandomCluster cluster_;
    unsigned next_address_ = 0;
};

model::Labels Maker::pod_labels() {
    model::Labels labels;
    if (chance(80)) labels["app"] = pick<std::string>({"web", "db", "cache"});
    if (chance(60)) labels["tier"] = pick<std::string>({"front", "back"});
    if (chance(25)) labels["canary"] = "";
    return labels;
}

std::vector<model::NamedPort> Maker::named_ports() {
    std::vector<model::NamedPort> ports;
    if (chance(60)) ports.push_back({"http", Protocol::tcp, pick<std::uint16_t>({80, 8080, 9090})});
    if (chance(30)) ports.push_back({"dns", Protocol::udp, 53});
    if (chance(30)) ports.push_back({"dns", Protocol::tcp, pick<std::uint16_t>({53, 9090})});
    if (chance(20)) ports.push_back({"sig", Protocol::sctp, 80});
    return ports;
}

std::vector<net::Ip> Maker::fresh_addresses() {
    const unsigned at = next_address_++;
    const net::Ip v4 = ip(fmt::format("10.0.{}.{}", at % 4, 10 + at / 4 % 200));
    const net::Ip v6 = ip(fmt::format("fd00:0:0:{}::{:x}", at % 4, 10 + at / 4));
    const unsigned kind = below(100);
    if (kind < 15) return {v4};
    if (kind < 30) return {v6};
    return {v4, v6};
}

void Maker::add_namespaces() {
    // The last one has no object: then only its name is known.
    for (unsigned i = 0; i + 1 < sizes_.namespaces; ++i) {
        model::Labels labels;
        if (chance(70)) labels["team"] = pick<std::string>({"red", "blue"});
        if (chance(50)) labels["env"] = pick<std::string>({"prod", "dev"});
        add_namespace(cluster_.objects, fmt::format("n{}", i), std::move(labels));
    }
}

void Maker::add_workload() {
    const auto number = static_cast<std::uint32_t>(cluster_.workloads.size() + 1);
    model::Workload workload;
    workload.id = number;
    workload.name = {space(), fmt::format("p{}", number)};
    workload.labels = pod_labels();
    workload.ports = named_ports();
    if (!cluster_.workloads.empty() && chance(30)) {
        // A replica, or at least one to the selectors.
        const model::Workload& other = pick(cluster_.workloads);
        workload.name.space = other.name.space;
        workload.labels = other.labels;
        if (chance(50)) workload.ports = other.ports;
    }
    workload.addresses = fresh_addresses();
    workload.ifindex = 1000 + number;
    workload.host_interface = fmt::format("bl{:08x}", number);
    workload.mac = {
        2, 0, 0, 0, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
    if (chance(40)) {
        model::Pod& manifest = cluster_.objects.pods[workload.name];
        manifest.name = workload.name;
        manifest.labels = pod_labels();
        manifest.ports = named_ports();
        if (chance(30)) manifest.addresses = fresh_addresses();
    }
    cluster_.workloads.push_back(std::move(workload));
}

void Maker::add_manifest() {
    model::Pod pod;
    pod.name = {space(), fmt::format("m{}", cluster_.objects.pods.size())};
    pod.labels = pod_labels();
    pod.ports = named_ports();
    pod.addresses = fresh_addresses();
    const unsigned kind = below(100);
    if (kind < 15) {
        // Its address has gone to a live workload.
        pod.finished = true;
        if (!cluster_.workloads.empty()) pod.addresses = pick(cluster_.workloads).addresses;
    } else if (kind < 30) {
        pod.host_network = true;
        pod.addresses = {cluster_.host_addresses[0]};
    }
    cluster_.objects.pods[pod.name] = std::move(pod);
}

model::Peer Maker::block_peer() {
    std::string network = pick(kCidrs);
    if (chance(20)) {
        const std::vector<net::Ip>& addresses = pick(cluster_.workloads).addresses;
        network = net::Prefix::host(pick(addresses)).to_string();
    }
    model::CidrBlock made = cidr_block(network);
    for (const std::string& hole : kCidrs) {
        if (made.cidr.contains(cidr(hole)) && chance(15)) made.except.push_back(cidr(hole));
    }
    return {{}, {}, std::move(made)};
}

model::Peer Maker::peer() {
    switch (below(5)) {
    case 0: return pods(pick(kPodSelectors));
    case 1: return namespaces(pick(kNamespaceSelectors));
    case 2: {
        const std::string& namespace_selector = pick(kNamespaceSelectors);
        return pods_in(namespace_selector, pick(kPodSelectors));
    }
    default: return block_peer();
    }
}

model::PolicyPort Maker::port() {
    const Protocol protocol = pick(kTransports);
    switch (below(8)) {
    case 0: return all_of(protocol);
    case 1: return named(pick<std::string>({"http", "dns", "sig"}), protocol);
    case 2:
    case 3: return named("http");
    case 4: {
        const std::uint16_t one = pick(kPorts);
        const std::uint16_t other = pick(kPorts);
        return {protocol, "", std::min(one, other), std::max(one, other)};
    }
    default: {
        const std::uint16_t number = pick(kPorts);
        return {protocol, "", number, number};
    }
    }
}

std::vector<model::Rule> Maker::rules() {
    std::vector<model::Rule> made;
    for (unsigned count = below(4); count > 0; --count) {
        model::Rule rule;
        if (sizes_.deny_rules && chance(20)) rule.action = model::Rule::Action::deny;
        rule.any_peer = chance(25);
        for (unsigned n = rule.any_peer ? 0 : 1 + below(3); n > 0; --n)
            rule.peers.push_back(peer());
        rule.any_port = chance(35);
        for (unsigned n = rule.any_port ? 0 : 1 + below(3); n > 0; --n)
            rule.ports.push_back(port());
        made.push_back(std::move(rule));
    }
    return made;
}

void Maker::add_policy(unsigned number) {
    // Names whose order as text is neither that of the numbers nor that of the namespaces.
    const std::string name = fmt::format("{}{}", chance(50) ? "a" : "b-", number);
    const std::string where = space();
    model::Policy made = policy(where + "/" + name, pick(kPodSelectors));
    const unsigned kind = below(3);
    made.isolates_ingress = kind != 1;
    made.isolates_egress = kind != 0;
    made.ingress = rules();
    made.egress = rules();
    add(cluster_.objects, made);
}

RandomCluster Maker::make() {
    cluster_.host_addresses = {ip("10.0.0.254"), ip("192.168.7.1"), ip("fd00::fe"), ip("fd07::1")};
    add_namespaces();
    for (unsigned i = 0; i < sizes_.workloads; ++i)
        add_workload();
    for (unsigned i = 0; i < sizes_.manifests; ++i)
        add_manifest();
    for (unsigned i = 0; i < sizes_.policies; ++i)
        add_policy(i);
    return std::move(cluster_);
}

// Every address that a probe may start from or go to.
std::vector<net::Ip> known_addresses(const RandomCluster& cluster) {
    std::vector<net::Ip> all = cluster.host_addresses;
    for (const auto& [name, pod] : cluster.objects.pods) {
        all.insert(all.end(), pod.addresses.begin(), pod.addresses.end());
    }
    for (const std::string& address : kWorld)
        all.push_back(ip(address));
    return all;
}

} // namespace

RandomCluster make_cluster(std::mt19937& random, const ClusterSizes& sizes) {
    return Maker(random, sizes).make();
}

model::Query make_query(std::mt19937& random, const RandomCluster& cluster) {
    const auto pick = [&](const auto& of) { return of[random() % of.size()]; };
    std::vector<net::Ip> pods;
    for (const model::Workload& workload : cluster.workloads) {
        pods.insert(pods.end(), workload.addresses.begin(), workload.addresses.end());
    }
    const net::Ip mine = pick(pods);
    std::vector<net::Ip> others = random() % 2 ? pods : known_addresses(cluster);
    std::erase_if(others, [&](const net::Ip& other) { return other.is_v4() != mine.is_v4(); });
    net::Ip source = mine;
    net::Ip destination = pick(others);
    if (random() % 2) std::swap(source, destination);

    const auto party = [&](const net::Ip& address) {
        return model::party_at(cluster.objects, cluster.workloads, cluster.host_addresses, address);
    };
    model::Query query{party(source), party(destination), pick(kTransports), pick(kPorts)};
    switch (random() % 12) {
    case 0:
        query.protocol = mine.is_v4() ? Protocol::icmp : Protocol::icmpv6;
        query.port = 0;
        break;
    case 1:
        query.protocol = static_cast<Protocol>(47);
        query.port = 0;
        break;
    case 2: query.port = static_cast<std::uint16_t>(1 + random() % 65535); break;
    default: break;
    }
    return query;
}

model::Decision node_decision(const RandomCluster& cluster, const model::Query& query) {
    const auto attached = [&](const model::Party& party) {
        return party.kind == model::Party::Kind::pod &&
               std::any_of(
                   cluster.workloads.begin(), cluster.workloads.end(),
                   [&](const model::Workload& workload) { return workload.name == party.name; });
    };
    model::Decision decision = model::evaluate(cluster.objects, query);
    if (!attached(query.source)) decision.egress = {};
    if (!attached(query.destination)) decision.ingress = {};
    decision.allowed = decision.egress.allowed && decision.ingress.allowed;
    return decision;
}

std::string describe(const model::Query& query) {
    const auto end = [](const model::Party& party) {
        const char* kind = party.kind == model::Party::Kind::host ? "host" : "world";
        return fmt::format("{} {}",
                           party.kind == model::Party::Kind::pod ? party.name.to_string() : kind,
                           party.address.to_string());
    };
    return fmt::format("{} -> {} {}/{}", end(query.source), end(query.destination),
                       model::to_string(query.protocol), query.port);
}

} // namespace beeline::test
