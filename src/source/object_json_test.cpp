#include "source/object_json.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/file.h"
#include "source/json.h"

namespace beeline::source {
namespace {

constexpr const char* kObjects = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: "1"}}
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {zone: a}}
spec: {podCIDRs: [10.1.0.0/24, "fd00:1::/64"]}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}], conditions: [{type: Ready, status: "False"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}, annotations: {beeline.io/l7: "http,dns"}}
spec:
  nodeName: n1
  containers:
  - ports: [{name: http, containerPort: 80}, {name: dns, containerPort: 53, protocol: UDP}]
  - ports: [{name: http, containerPort: 8080}]
status: {phase: Running, podIPs: [{ip: 10.1.0.5}, {ip: "fd00:1::5"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: done, namespace: shop, annotations: {beeline.io/l7: "false"}}
spec: {hostNetwork: true}
status: {phase: Failed, podIP: 192.0.2.1, conditions: [{type: Ready, status: "False"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  clusterIPs: [10.96.0.9, "fd00:96::9"]
  selector: {app: web}
  ports: [{name: a, port: 80, targetPort: http, nodePort: 30080}, {name: b, port: 53, protocol: UDP}]
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: shop}
spec: {clusterIP: None, publishNotReadyAddresses: true}
---
apiVersion: v1
kind: Service
metadata: {name: out, namespace: shop}
spec: {type: ExternalName, externalName: example.org}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
ports: [{name: a, port: 8080}, {name: b, port: 53, protocol: UDP}]
endpoints:
- {addresses: ["fd00:1::5"], nodeName: n1, conditions: {ready: false, serving: true, terminating: true}}
- {addresses: ["fd00:1::6"]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}, matchExpressions: [{key: x, operator: DoesNotExist}]}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - podSelector: {}
      namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: ["2", "3"]}]}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    ports: [{port: http}, {port: 80, endPort: 90, protocol: UDP}, {protocol: SCTP}]
  egress:
  - {}
)";

TEST(ObjectJson, GivesTheSameObjectBack) {
    const auto manifests = read_manifests(kObjects, "f.yaml").value();
    ASSERT_EQ(manifests.size(), 9U);
    JsonReader reader;
    for (const auto& manifest : manifests) {
        SCOPED_TRACE(manifest.title());
        const auto text = to_json(manifest.object);
        const auto document = reader.read(text, "t").value();
        const auto again = read_manifest(document.root());
        ASSERT_TRUE(again) << again.error().message << "\n" << text;
        EXPECT_TRUE(again->object == manifest.object) << text;
        // As YAML too, by the readers of people's files; what an object lost makes some of them incomplete.
        if (std::holds_alternative<model::Service>(manifest.object)) continue;
        const auto from_yaml = read_manifests(to_yaml(manifest.object), "f.yaml");
        ASSERT_TRUE(from_yaml) << from_yaml.error().message << to_yaml(manifest.object);
        EXPECT_TRUE(from_yaml->front().object == manifest.object);
    }
}

// Every good manifest of the repository's test data.
TEST(ObjectJson, GivesTheSameObjectBackForAllManifests) {
    JsonReader reader;
    std::size_t count = 0;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(BEELINE_TEST_DATA "/manifests")) {
        if (!entry.is_regular_file()) continue;
        const auto manifests = read_manifests(read_file(entry.path()).value(), "f.yaml");
        if (!manifests) continue;
        for (const auto& manifest : *manifests) {
            const auto document = reader.read(to_json(manifest.object), "t").value();
            const auto again = read_manifest(document.root());
            ASSERT_TRUE(again) << again.error().message;
            EXPECT_TRUE(again->object == manifest.object) << to_json(manifest.object);
            ++count;
        }
    }
    EXPECT_GT(count, 0U);
}

TEST(ObjectJson, ASetSurvivesItsFile) {
    model::Objects objects;
    const auto manifests = read_manifests(kObjects, "f.yaml").value();
    for (const auto& manifest : manifests)
        EXPECT_TRUE(put_object(objects, {manifest.kind, manifest.name}, manifest.object));
    const auto path = std::filesystem::temp_directory_path() /
                      fmt::format("beeline-objects-{}", static_cast<int>(getpid()));
    ASSERT_TRUE(save_objects(path, objects));
    std::vector<std::string> problems;
    EXPECT_TRUE(load_objects(path, problems).value() == objects);
    EXPECT_TRUE(problems.empty());
    // A line that is damaged costs its object, no more.
    std::ofstream(path, std::ios::app) << "{\"kind\":\n";
    EXPECT_TRUE(load_objects(path, problems).value() == objects);
    EXPECT_EQ(problems.size(), 1U);
    std::ofstream(path) << "something else\n";
    EXPECT_EQ(load_objects(path, problems).error().code, Code::invalid);
    std::filesystem::remove(path);
    EXPECT_EQ(load_objects(path, problems).error().code, Code::not_found);
}

TEST(ObjectJson, PutAndEraseSayWhetherSomethingChanged) {
    model::Objects objects;
    const auto manifest = read_manifests(kObjects, "f.yaml").value().front();
    const ObjectKey key{manifest.kind, manifest.name};
    EXPECT_FALSE(has_object(objects, key));
    EXPECT_TRUE(put_object(objects, key, manifest.object));
    EXPECT_FALSE(put_object(objects, key, manifest.object));
    EXPECT_TRUE(has_equal(objects, key, manifest.object));
    EXPECT_TRUE(erase_object(objects, key));
    EXPECT_FALSE(erase_object(objects, key));
}

TEST(JsonReader, TakesWhatItDoesNotKnowAndLeavesOutWhatNobodyReads) {
    JsonReader reader;
    const auto document =
        reader
            .read(
                R"({"metadata":{"name":"web","namespace":"shop","labels":{"env":"prod"},"managedFields":[{"a":1}],
                      "newField":{"x":[1,2]}},"spec":{"volumes":[{"name":"v"}],"containers":[{"name":"c","env":[{"name":"x"}],
                      "ports":[{"name":"http","containerPort":80,"newField":1.5}]}]},"newTop":null})",
                "Pod shop/web")
            .value();
    const auto manifest = read_manifest(ObjectKind::pod, document.root());
    ASSERT_TRUE(manifest) << manifest.error().message;
    const auto& pod = std::get<model::Pod>(manifest->object);
    EXPECT_EQ(pod.labels.at("env"), "prod");
    EXPECT_EQ(pod.ports.front().port, 80);
    EXPECT_FALSE(document.root().get("spec")->get("volumes"));
}

TEST(JsonReader, NamesTheObjectInErrors) {
    JsonReader reader;
    const auto document =
        reader
            .read(R"({"metadata":{"name":"web"},"spec":{"ports":[{"port":"80"}]}})", "Service web")
            .value();
    EXPECT_EQ(
        read_manifest(ObjectKind::service, document.root()).error().message,
        "Service web: spec.ports[0].port: expected an integer from 1 to 65535, found the string "
        "\"80\": remove the quotes");
}

TEST(JsonReader, RefusesWhatIsNoJsonOrTooMuch) {
    JsonReader reader({100, 4, 10});
    for (const std::string text : {"", "{", "{\"a\":}", "nul", "{\"a\":\"\xff\"}", "[[[[[[1]]]]]]",
                                   "[1,2,3,4,5,6,7,8,9,10,11]"}) {
        EXPECT_FALSE(reader.read(text, "t")) << text;
    }
    EXPECT_FALSE(reader.read(std::string(101, ' '), "t"));
    EXPECT_TRUE(reader.read("{\"a\":[1]}", "t"));
}

} // namespace
} // namespace beeline::source
