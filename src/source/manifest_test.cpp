#include "source/manifest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "model/policy_yaml.h"
#include "source/names.h"

namespace beeline::source {
namespace {

using model::Protocol;
using model::Requirement;

std::string data_path(const std::string& name) {
    return std::string(BEELINE_TEST_DATA) + "/manifests/" + name;
}

std::vector<Manifest> good(const std::string& text) {
    auto manifests = read_manifests(text, "t.yaml");
    EXPECT_TRUE(manifests) << manifests.error().message << "\n" << text;
    return manifests ? std::move(*manifests) : std::vector<Manifest>{};
}

Manifest good_file(const std::string& name) {
    auto manifests = good(read_file(data_path(name)).value());
    EXPECT_EQ(manifests.size(), 1U);
    return manifests.empty() ? Manifest{} : std::move(manifests.front());
}

template <typename T>
T object(const std::string& text) {
    const auto manifests = good(text);
    return manifests.size() == 1 ? std::get<T>(manifests.front().object) : T{};
}

net::Ip ip(std::string_view text) { return net::Ip::parse(text).value(); }
net::Prefix prefix(std::string_view text) { return net::Prefix::parse(text).value(); }

struct BadCase {
    std::string title;
    std::string error;
    std::string text;
};

// "=== title", ">>> error", then the text up to the next title.
std::vector<BadCase> bad_cases(const std::string& file) {
    std::vector<BadCase> out;
    const auto text = read_file(file).value();
    for (std::size_t at = 0; at < text.size();) {
        const auto end = std::min(text.find('\n', at), text.size());
        const auto line = text.substr(at, end - at);
        if (line.starts_with("=== ")) {
            out.push_back({line.substr(4), "", ""});
        } else if (line.starts_with(">>> ")) {
            out.back().error = "t.yaml:" + line.substr(4);
        } else {
            out.back().text += line + "\n";
        }
        at = end + 1;
    }
    return out;
}

TEST(Manifest, RefusesEveryWrongFieldWithItsPlace) {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(data_path(""))) {
        if (!entry.path().filename().string().starts_with("bad-")) continue;
        for (const auto& row : bad_cases(entry.path())) {
            const auto manifests = read_manifests(row.text, "t.yaml");
            EXPECT_FALSE(manifests) << row.title << "\n" << row.text;
            if (manifests) continue;
            EXPECT_EQ(manifests.error().message, row.error) << row.title << "\n" << row.text;
            EXPECT_EQ(manifests.error().code, Code::invalid);
            ++count;
        }
    }
    EXPECT_GE(count, 180U);
}

TEST(Manifest, Node) {
    const auto node = object<model::ClusterNode>(R"(
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {zone: a}}
spec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.1.0.0/24, "fd00:1::/64"], providerID: x, taints: []}
status:
  addresses:
    - {type: Hostname, address: n1}
    - {type: InternalIP, address: 192.0.2.1}
    - {type: ExternalIP, address: 203.0.113.1}
    - {type: InternalIP, address: "2001:db8::1"}
  conditions: [{type: MemoryPressure, status: "False"}, {type: Ready, status: Unknown}]
  nodeInfo: {architecture: amd64}
)");
    EXPECT_EQ(node.name, "n1");
    EXPECT_EQ(node.labels, (model::Labels{{"zone", "a"}}));
    EXPECT_EQ(node.addresses, (std::vector{ip("192.0.2.1"), ip("2001:db8::1")}));
    EXPECT_EQ(node.pod_ranges, (std::vector{prefix("10.1.0.0/24"), prefix("fd00:1::/64")}));
    EXPECT_FALSE(node.ready);
    const auto single = object<model::ClusterNode>(
        "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nspec: {podCIDR: 10.1.0.0/24}\n");
    EXPECT_EQ(single.pod_ranges, std::vector{prefix("10.1.0.0/24")});
    EXPECT_TRUE(single.ready);
}

TEST(Manifest, EmptyTextHasNoObjects) { EXPECT_TRUE(good("# nothing\n---\n").empty()); }

TEST(Manifest, NetworkPolicyWithEveryField) {
    const auto manifest = good_file("policy-full.yaml");
    EXPECT_EQ(manifest.title(), "NetworkPolicy shop/web.rules");
    EXPECT_TRUE(manifest.warnings.empty());
    const auto& policy = std::get<model::Policy>(manifest.object);
    EXPECT_EQ(policy.kind, "NetworkPolicy");
    EXPECT_EQ(policy.space, "shop");
    EXPECT_EQ(policy.name, "web.rules");
    EXPECT_EQ(policy.subject.requirements,
              (std::vector<Requirement>{{"app", Requirement::Operator::in, {"web"}},
                                        {"tier", Requirement::Operator::in, {"front", "back"}},
                                        {"env", Requirement::Operator::not_in, {"test"}},
                                        {"example.com/live", Requirement::Operator::exists, {}},
                                        {"debug", Requirement::Operator::does_not_exist, {}}}));
    EXPECT_TRUE(policy.isolates_ingress);
    EXPECT_TRUE(policy.isolates_egress);

    ASSERT_EQ(policy.ingress.size(), 2U);
    const auto& rule = policy.ingress[0];
    EXPECT_EQ(rule.action, model::Rule::Action::allow);
    EXPECT_FALSE(rule.any_peer);
    EXPECT_FALSE(rule.any_port);
    ASSERT_EQ(rule.peers.size(), 3U);
    EXPECT_EQ(rule.peers[0].pods,
              (model::LabelSelector{{{"app", Requirement::Operator::in, {"client"}}}}));
    EXPECT_EQ(rule.peers[0].namespaces, model::LabelSelector{});
    EXPECT_EQ(
        rule.peers[1].block,
        (model::CidrBlock{prefix("10.0.0.0/8"), {prefix("10.1.0.0/16"), prefix("10.2.0.0/16")}}));
    EXPECT_EQ(rule.peers[2].block, (model::CidrBlock{prefix("fd00::/64"), {}}));
    EXPECT_EQ(rule.ports, (std::vector<model::PolicyPort>{{Protocol::tcp, "http", 0, 65535},
                                                          {Protocol::udp, "", 53, 53},
                                                          {Protocol::sctp, "", 7000, 7010},
                                                          {Protocol::tcp, "", 0, 65535}}));
    EXPECT_EQ(policy.ingress[1], (model::Rule{.any_peer = true, .any_port = true}));
    ASSERT_EQ(policy.egress.size(), 1U);
    EXPECT_EQ(policy.egress[0], (model::Rule{.any_peer = true, .any_port = true}));
}

model::Policy policy(const std::string& spec) {
    return object<model::Policy>(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: " +
        spec + "\n");
}

TEST(Manifest, PolicyTypesHaveDefaults) {
    struct Row {
        std::string spec;
        bool ingress, egress;
    };
    const Row rows[] = {
        {"{}", true, false},
        {"{podSelector: {}, egress: []}", true, false},
        {"{podSelector: {}, egress: }", true, false},
        {"{podSelector: {}, egress: [{}]}", true, true},
        {"{podSelector: {}, ingress: [{}]}", true, false},
        {"{podSelector: {}, policyTypes: []}", true, false},
        {"{podSelector: {}, policyTypes: [], egress: [{}]}", true, true},
        {"{podSelector: {}, policyTypes: [Egress]}", false, true},
        {"{podSelector: {}, policyTypes: [Egress], ingress: [{}]}", false, true},
        {"{podSelector: {}, policyTypes: [Ingress], egress: [{}]}", true, false},
        {"{podSelector: {}, policyTypes: [Egress, Ingress]}", true, true},
    };
    for (const auto& row : rows) {
        const auto made = policy(row.spec);
        EXPECT_EQ(made.isolates_ingress, row.ingress) << row.spec;
        EXPECT_EQ(made.isolates_egress, row.egress) << row.spec;
    }
}

TEST(Manifest, EmptyAndAbsentInPolicies) {
    EXPECT_TRUE(policy("{podSelector: }").subject.requirements.empty());
    EXPECT_TRUE(policy("{podSelector: {matchLabels: }}").subject.requirements.empty());
    EXPECT_TRUE(policy("{ingress: }").ingress.empty());
    for (const auto* rule :
         {"{}", "{from: []}", "{from: }", "{ports: []}", "{from: [], ports: }"}) {
        const auto made = policy(fmt::format("{{ingress: [{}]}}", rule));
        ASSERT_EQ(made.ingress.size(), 1U) << rule;
        EXPECT_TRUE(made.ingress[0].any_peer) << rule;
        EXPECT_TRUE(made.ingress[0].any_port) << rule;
    }
    const auto ports_only = policy("{ingress: [{ports: [{port: 80}]}]}");
    EXPECT_TRUE(ports_only.ingress[0].any_peer);
    EXPECT_FALSE(ports_only.ingress[0].any_port);
    // A selector that is there and empty selects all; one that is null is absent.
    const auto peers =
        policy("{ingress: [{from: [{podSelector: {}, namespaceSelector: }]}]}").ingress[0].peers;
    ASSERT_EQ(peers.size(), 1U);
    EXPECT_TRUE(peers[0].pods);
    EXPECT_FALSE(peers[0].namespaces);
}

TEST(Manifest, PolicyPortEdges) {
    const auto made = policy("{ingress: [{ports: [{port: 1, endPort: 65535}, {port: 7, endPort: "
                             "7}, {port: a-1}, {protocol: UDP}]}]}");
    EXPECT_EQ(made.ingress[0].ports,
              (std::vector<model::PolicyPort>{{Protocol::tcp, "", 1, 65535},
                                              {Protocol::tcp, "", 7, 7},
                                              {Protocol::tcp, "a-1", 0, 65535},
                                              {Protocol::udp, "", 0, 65535}}));
}

std::vector<std::string> warnings(const std::string& text) {
    const auto manifests = good(text);
    return manifests.empty() ? std::vector<std::string>{} : manifests.front().warnings;
}

TEST(Manifest, WarnsOfPolicyPartsWithoutEffect) {
    const std::string head =
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n";
    EXPECT_EQ(warnings(head + "  policyTypes: [Ingress]\n  egress: [{}]\n"),
              std::vector<std::string>{
                  "t.yaml:6:3: spec.egress: these rules have no effect: policyTypes lacks Egress"});
    EXPECT_EQ(
        warnings(head + "  policyTypes: [Egress]\n  ingress: [{}]\n"),
        std::vector<std::string>{
            "t.yaml:6:3: spec.ingress: these rules have no effect: policyTypes lacks Ingress"});
    EXPECT_EQ(warnings(head + "  ingress: [{from: [{ipBlock: {cidr: 10.0.0.7/8}}]}]\n"),
              std::vector<std::string>{
                  "t.yaml:5:38: spec.ingress[0].from[0].ipBlock.cidr: bits after the length are "
                  "ignored: 10.0.0.0/8"});
}

TEST(Manifest, ServiceWithEveryField) {
    const auto manifest = good_file("service-full.yaml");
    const auto& service = std::get<model::Service>(manifest.object);
    EXPECT_EQ(service.name, (model::ObjectName{"shop", "web"}));
    EXPECT_EQ(service.cluster_ips, (std::vector<net::Ip>{ip("10.97.0.80"), ip("fd00:97::80")}));
    EXPECT_EQ(service.ports,
              (std::vector<model::ServicePort>{{"http", Protocol::tcp, 80, 0, "http", 30080},
                                               {"dns", Protocol::udp, 53, 5353, "", 0},
                                               {"plain", Protocol::tcp, 443, 443, "", 0},
                                               {"signal", Protocol::sctp, 7000, 7000, "", 0}}));
    EXPECT_EQ(service.selector, (model::Labels{{"app", "web"}}));
    EXPECT_EQ(service.affinity_s, 60U);
    EXPECT_TRUE(service.publish_not_ready);
    EXPECT_FALSE(service.headless);
    EXPECT_FALSE(service.external_name);
    EXPECT_EQ(manifest.warnings.size(), 3U);
}

model::Service service(const std::string& spec) {
    return object<model::Service>(
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: " + spec + "\n");
}

TEST(Manifest, ServiceForms) {
    const auto headless = service("{clusterIP: None, selector: {a: b}}");
    EXPECT_TRUE(headless.headless);
    EXPECT_TRUE(headless.cluster_ips.empty());
    EXPECT_TRUE(headless.ports.empty());
    EXPECT_TRUE(service("{clusterIP: None, clusterIPs: [None], ipFamilies: [IPv4, IPv6], "
                        "ipFamilyPolicy: RequireDualStack}")
                    .headless);
    // No translation, so SCTP may differ.
    EXPECT_EQ(service("{clusterIP: None, ports: [{port: 80, protocol: SCTP, targetPort: 81}]}")
                  .ports[0]
                  .target_port,
              81);

    const auto outside =
        service("{type: ExternalName, externalName: db.example.com., ports: [{port: 5432}]}");
    EXPECT_TRUE(outside.external_name);
    EXPECT_TRUE(outside.cluster_ips.empty());

    const auto plain = service("{clusterIP: \"fd00::1\", ports: [{port: 80}]}");
    EXPECT_EQ(plain.name.space, "default");
    EXPECT_EQ(plain.selector, std::nullopt);
    EXPECT_EQ(plain.affinity_s, 0U);
    EXPECT_EQ(plain.ports, (std::vector<model::ServicePort>{{"", Protocol::tcp, 80, 80, "", 0}}));
    EXPECT_EQ(service("{clusterIP: 10.0.0.1, selector: {}, ports: [{port: 80}]}").selector,
              std::nullopt);

    EXPECT_EQ(
        service("{clusterIP: 10.0.0.1, sessionAffinity: ClientIP, ports: [{port: 80}]}").affinity_s,
        10800U);
    EXPECT_EQ(service("{clusterIP: 10.0.0.1, sessionAffinity: ClientIP, sessionAffinityConfig: "
                      "{clientIP: {timeoutSeconds: "
                      "86400}}, ports: [{port: 80}]}")
                  .affinity_s,
              86400U);
    // The same number for two protocols is two ports.
    EXPECT_EQ(service("{clusterIP: 10.0.0.1, ports: [{name: a, port: 53}, {name: b, port: 53, "
                      "protocol: UDP}]}")
                  .ports.size(),
              2U);
}

TEST(Manifest, ServiceTypesOfTheOutsideWarn) {
    const std::string head = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  "
                             "clusterIP: 10.0.0.1\n  ports: [{port: 80}]\n";
    EXPECT_EQ(warnings(head + "  type: NodePort\n"),
              std::vector<std::string>{
                  "t.yaml:7:3: spec.type: node ports are not opened yet: works as ClusterIP"});
    EXPECT_EQ(
        warnings(head + "  type: LoadBalancer\n"),
        std::vector<std::string>{
            "t.yaml:7:3: spec.type: node ports and load balancer addresses are not served yet: "
            "works as ClusterIP"});
    EXPECT_TRUE(warnings(head + "  type: ClusterIP\n").empty());
    const auto left = good("apiVersion: v1\nkind: Service\nmetadata: {name: s, labels: "
                           "{service.kubernetes.io/service-proxy-name: x}}\n"
                           "spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}\n");
    ASSERT_EQ(left.size(), 1U);
    EXPECT_TRUE(std::get<model::Service>(left[0].object).cluster_ips.empty());
    EXPECT_EQ(left[0].warnings.size(), 1U);
}

TEST(Manifest, EndpointSliceWithEveryField) {
    const auto manifest = good_file("slice-full.yaml");
    const auto& slice = std::get<model::EndpointSlice>(manifest.object);
    EXPECT_EQ(slice.name, (model::ObjectName{"shop", "web-abc"}));
    EXPECT_EQ(slice.service, "web");
    using Endpoint = model::EndpointSlice::Endpoint;
    EXPECT_EQ(slice.endpoints,
              (std::vector<Endpoint>{Endpoint{ip("fd00::1"), false, true, true, "node-1"},
                                     Endpoint{ip("fd00::3"), true, true, false, ""}}));
    EXPECT_EQ(slice.ports,
              (std::vector<model::EndpointSlice::Port>{{"http", Protocol::tcp, 8080}}));
    EXPECT_EQ(
        manifest.warnings,
        std::vector<std::string>{"t.yaml:23:5: ports[1]: a port without a number has no effect"});
}

TEST(Manifest, EndpointSlicesWithoutEffectWarn) {
    const std::string head =
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s}\n";
    EXPECT_EQ(
        warnings(head + "addressType: IPv4\n"),
        std::vector<std::string>{
            "t.yaml:1:1: belongs to no Service: the label kubernetes.io/service-name is missing"});
    const auto names = good(head + "addressType: FQDN\nendpoints: [{addresses: [example.com]}]\n");
    ASSERT_EQ(names.size(), 1U);
    EXPECT_TRUE(std::get<model::EndpointSlice>(names[0].object).endpoints.empty());
}

TEST(Manifest, PodAsAClusterWritesIt) {
    const auto manifest = good_file("pod-full.yaml");
    const auto& pod = std::get<model::Pod>(manifest.object);
    EXPECT_EQ(pod.name, (model::ObjectName{"shop", "web-5f6d-x2z"}));
    EXPECT_EQ(pod.labels, (model::Labels{{"app", "web"}, {"pod-template-hash", "5f6d"}}));
    EXPECT_EQ(pod.ports, (std::vector<model::NamedPort>{{"http", Protocol::tcp, 8080},
                                                        {"admin", Protocol::tcp, 15000},
                                                        {"dns", Protocol::udp, 53}}));
    EXPECT_EQ(pod.addresses, (std::vector<net::Ip>{ip("10.1.0.5"), ip("fd00::5")}));
    EXPECT_EQ(pod.node, "node-1");
    EXPECT_FALSE(pod.host_network);
    EXPECT_FALSE(pod.ready);
    EXPECT_FALSE(pod.finished);
}

TEST(Manifest, PodForms) {
    const auto pod = [](const std::string& rest) {
        return object<model::Pod>(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {a: ''}}\n" + rest);
    };
    const auto plain = pod("");
    EXPECT_EQ(plain.name.space, "default");
    EXPECT_EQ(plain.labels, (model::Labels{{"a", ""}}));
    EXPECT_TRUE(plain.ready);
    EXPECT_TRUE(plain.addresses.empty());
    EXPECT_TRUE(pod("spec: {hostNetwork: true}\n").host_network);
    EXPECT_TRUE(pod("status: {phase: Succeeded}\n").finished);
    EXPECT_TRUE(pod("status: {phase: Failed}\n").finished);
    EXPECT_FALSE(pod("status: {phase: Pending}\n").finished);
    EXPECT_EQ(pod("status: {podIP: 10.0.0.1}\n").addresses, std::vector<net::Ip>{ip("10.0.0.1")});
    EXPECT_TRUE(pod("status: {podIP: \"\"}\n").addresses.empty());
    EXPECT_TRUE(pod("status: {conditions: [{type: Ready, status: \"True\"}]}\n").ready);
    const auto going =
        object<model::Pod>("apiVersion: v1\nkind: Pod\nmetadata: {name: p, deletionTimestamp: "
                           "\"2026-11-25T09:00:00Z\", deletionGracePeriodSeconds: 30}\n");
    EXPECT_FALSE(going.ready);
}

TEST(Manifest, NamespacesCarryTheirName) {
    const auto space = object<model::Namespace>(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {a: b}}\n");
    EXPECT_EQ(space.name, "shop");
    EXPECT_EQ(space.labels, (model::Labels{{"a", "b"}, {"kubernetes.io/metadata.name", "shop"}}));
}

TEST(Manifest, ListsAndJson) {
    const auto list = good(read_file(data_path("list.yaml")).value());
    ASSERT_EQ(list.size(), 2U);
    EXPECT_EQ(list[0].title(), "Namespace shop");
    EXPECT_EQ(list[1].title(), "NetworkPolicy shop/deny");
    // An item's text stands alone and means the same.
    for (const auto& item : list) {
        const auto again = good(item.yaml);
        ASSERT_EQ(again.size(), 1U);
        EXPECT_EQ(again[0].object, item.object);
        EXPECT_EQ(again[0].yaml, item.yaml);
    }
    const auto json = good_file("policy.json");
    EXPECT_EQ(json.name, (model::ObjectName{"default", "json"}));
    EXPECT_EQ(std::get<model::Policy>(json.object).egress[0].peers[0].namespaces,
              (model::LabelSelector{
                  {{"kubernetes.io/metadata.name", Requirement::Operator::in, {"dns"}}}}));
}

TEST(Manifest, SeveralDocumentsKeepTheirText) {
    const auto manifests = good("# shop\napiVersion: v1\nkind: Namespace\nmetadata: {name: a} # "
                                "a\n---\n\napiVersion: v1\nkind: "
                                "Namespace\nmetadata: {name: b}\n...\n");
    ASSERT_EQ(manifests.size(), 2U);
    EXPECT_EQ(manifests[0].yaml,
              "# shop\napiVersion: v1\nkind: Namespace\nmetadata: {name: a} # a\n");
    EXPECT_EQ(manifests[1].yaml, "apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n");
    EXPECT_EQ(manifests[1].line, 7U);
}

TEST(Manifest, SameNameInOtherKindOrNamespaceIsAnotherObject) {
    EXPECT_EQ(good("{apiVersion: v1, kind: Pod, metadata: {name: a}}\n---\n{apiVersion: v1, kind: "
                   "Pod, metadata: {name: a, "
                   "namespace: b}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: a}}\n")
                  .size(),
              3U);
}

TEST(Manifest, DemoIsGood) {
    std::size_t count = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator(BEELINE_TEST_DATA "/../../deploy/demo")) {
        if (entry.path().extension() != ".yaml") continue;
        for (const auto& manifest : good(read_file(entry.path()).value())) {
            EXPECT_TRUE(manifest.warnings.empty()) << entry.path();
            ++count;
        }
    }
    EXPECT_GE(count, 4U);
}

TEST(ObjectKindNames, AnyCaseAndShortForms) {
    EXPECT_EQ(parse_kind("networkpolicy"), ObjectKind::network_policy);
    EXPECT_EQ(parse_kind("NetworkPolicies"), ObjectKind::network_policy);
    EXPECT_EQ(parse_kind("netpol"), ObjectKind::network_policy);
    EXPECT_EQ(parse_kind("SVC"), ObjectKind::service);
    EXPECT_EQ(parse_kind("ns"), ObjectKind::namespace_);
    EXPECT_EQ(parse_kind("po"), ObjectKind::pod);
    EXPECT_EQ(parse_kind("EndpointSlice"), ObjectKind::endpoint_slice);
    EXPECT_EQ(parse_kind(""), std::nullopt);
    EXPECT_EQ(parse_kind("Deployment"), std::nullopt);
}

TEST(Names, KubernetesRules) {
    const std::string long63(63, 'a');
    for (const auto& text : {std::string("a"), std::string("a-1"), std::string("1a"), long63}) {
        EXPECT_EQ(dns_label_problem(text), "") << text;
    }
    for (const auto& text : {std::string(), std::string("-a"), std::string("a-"),
                             std::string("a.b"), std::string("A"), long63 + "a"}) {
        EXPECT_NE(dns_label_problem(text), "") << text;
    }
    EXPECT_EQ(dns_1035_label_problem("a1"), "");
    EXPECT_NE(dns_1035_label_problem("1a"), "");
    EXPECT_EQ(dns_subdomain_problem("a.b-c.1"), "");
    for (const auto* text : {"", ".", "a.", ".a", "a..b", "a.-b", "a_b"})
        EXPECT_NE(dns_subdomain_problem(text), "") << text;
    EXPECT_EQ(dns_subdomain_problem(std::string(253, 'a')), "");
    EXPECT_NE(dns_subdomain_problem(std::string(254, 'a')), "");
    for (const auto* text : {"http", "a", "a-1", "1a", "abcdefghijklmno"})
        EXPECT_EQ(port_name_problem(text), "") << text;
    for (const auto* text : {"", "80", "-a", "a-", "a--b", "A", "a_b", "abcdefghijklmnop"}) {
        EXPECT_NE(port_name_problem(text), "") << text;
    }
    for (const auto* text : {"a", "A.b_c-d", "example.com/a", "7"})
        EXPECT_EQ(label_key_problem(text), "") << text;
    for (const auto* text : {"", "/a", "a/", "a/b/c", "_a", "a b", "Ex.com/a"})
        EXPECT_NE(label_key_problem(text), "") << text;
    EXPECT_EQ(label_value_problem(""), "");
    EXPECT_EQ(label_value_problem("A_1.x"), "");
    for (const auto* text : {"-a", "a-", "a/b", "a b"})
        EXPECT_NE(label_value_problem(text), "") << text;
}

TEST(Manifest, PolicyThatIsWrittenIsReadBack) {
    model::Policy policy;
    policy.kind = "NetworkPolicy";
    policy.space = "shop";
    policy.name = "allow-all-sorts";
    policy.subject.requirements = {{"app", Requirement::Operator::in, {"web"}},
                                   {"tier", Requirement::Operator::not_in, {"a", "true"}},
                                   {"x.y/z", Requirement::Operator::exists, {}},
                                   {"gone", Requirement::Operator::does_not_exist, {}},
                                   {"version", Requirement::Operator::in, {"1.0", ""}}};
    policy.isolates_ingress = policy.isolates_egress = true;
    model::Rule rule;
    rule.peers = {{model::LabelSelector{}, {}, {}},
                  {{}, model::LabelSelector{{{"env", Requirement::Operator::in, {"1"}}}}, {}},
                  {model::LabelSelector{{{"a", Requirement::Operator::in, {"yes"}}}},
                   model::LabelSelector{},
                   {}},
                  {{}, {}, model::CidrBlock{prefix("10.0.0.0/8"), {prefix("10.1.0.0/16")}}},
                  {{}, {}, model::CidrBlock{prefix("fd00::/16"), {}}}};
    rule.ports = {{Protocol::tcp, "", 80, 80},
                  {Protocol::udp, "", 1000, 2000},
                  {Protocol::tcp, "http", 0, 65535},
                  {Protocol::sctp, "", 0, 65535}};
    policy.ingress.push_back(rule);
    model::Rule everything;
    everything.any_peer = everything.any_port = true;
    policy.ingress.push_back(everything);
    rule.any_port = true;
    rule.ports.clear();
    policy.egress.push_back(rule);
    const auto yaml = model::to_yaml(policy);
    auto read = object<model::Policy>(yaml);
    const auto sorted = [](model::Policy one) {
        std::sort(one.subject.requirements.begin(), one.subject.requirements.end(),
                  [](const auto& a, const auto& b) { return a.key < b.key; });
        return one;
    };
    EXPECT_EQ(sorted(read), sorted(policy)) << yaml;
}

} // namespace
} // namespace beeline::source
