"""Bad input of every kind: an error that says where and what is expected, and the previous state stays in force."""
import json
import os
import socket

import harness
import scene
from scene import policy, service

VIP = "10.96.0.10"

# (text, words of the error): line and field of each are checked.
BAD_MANIFESTS = (
    ("a: [\n", ["2:1", "not valid YAML"]),
    ("\x00\x01\x02", ["1:1"]),
    ("just a text\n", ["1:1"]),
    ("kind: Deployment\napiVersion: apps/v1\nmetadata: {name: x}\n", ["1:", "kind", "'Deployment'", "expected"]),
    ("apiVersion: v2\nkind: Service\nmetadata: {name: x}\n", ["1:", "apiVersion"]),
    ("apiVersion: v1\nkind: Service\nspec: {clusterIP: None}\n", ["metadata"]),
    ("apiVersion: v1\nkind: Service\nmetadata: {name: Bad_Name}\nspec: {clusterIP: None}\n", ["3:", "metadata.name", "Bad_Name"]),
    ("apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec:\n  clusterIP: 10.96.0.300\n  ports: [{port: 80}]\n",
     ["5:", "spec.clusterIP", "10.96.0.300"]),
    ("apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec:\n  clusterIP: 10.96.0.30\n  ports:\n  - port: 0\n",
     ["7:", "spec.ports[0].port", "1 to 65535"]),
    ("apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec:\n  clusterIP: 10.96.0.30\n  type: Magic\n  ports: [{port: 80}]\n",
     ["6:", "spec.type", "Magic"]),
    ("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x}\nspec:\n  podSelector: {}\n  ingres: []\n",
     ["6:3", "spec.ingres", "did you mean 'ingress'"]),
    ("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x}\nspec:\n  podSelector: {}\n  ingress:\n"
     "  - from:\n    - ipBlock: {cidr: 10.0.0.0/8, except: [192.168.0.0/24]}\n", ["8:", "except"]),
    ("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x}\nspec:\n  podSelector: {}\n  ingress:\n"
     "  - ports: [{port: 80, endPort: 70}]\n", ["7:", "endPort"]),
    ("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x}\nspec:\n  podSelector:\n"
     "    matchExpressions: [{key: a, operator: Near, values: [b]}]\n", ["6:", "operator", "Near"]),
    ("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x}\nspec:\n  podSelector: {}\n"
     "  policyTypes: [Sideways]\n", ["6:", "policyTypes", "Sideways"]),
    ("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x}\nspec: {}\n---\n"
     "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: y}\nspec: 5\n", ["9:", "spec"]),
    ("[" * 100000, ["1:"]),
)

BAD_CONFIGS = (
    ("bogus: 1\n", ["1:1", "bogus"]),
    ("network: {ipv4: 10.0.0.0/33}\n", ["1:", "network.ipv4", "10.0.0.0/33"]),
    ("network:\n  ipv4: none\n  ipv6: none\n", ["network", "at least one"]),
    ("network: {mtu: 100}\n", ["1:", "network.mtu", "1280"]),
    ("flows: {ringBytes: 5000}\n", ["1:", "ringBytes", "power of two"]),
    ("conntrack: {timeoutSeconds: {established: -1}}\n", ["1:", "established"]),
    ("datapath: {attach: glue}\n", ["1:", "datapath.attach", "glue"]),
    ("log: {level: loud}\n", ["1:", "log.level", "loud"]),
    ("network: [\n", ["not valid YAML"]),
    ("a: 1\n---\nb: 2\n", ["one YAML document"]),
)

BAD_WORDS = (  # (arguments, exit code, words of the error)
    (["bogus"], 2, ["bogus"]), (["flows", "--bogus"], 2, ["--bogus"]), (["flows", "--port", "99999"], 2, ["port", "99999", "65535"]),
    (["flows", "--verdict", "maybe"], 2, ["verdict", "forwarded"]), (["flows", "--since", "yesterday"], 2, ["since", "yesterday"]),
    (["flows", "--last", "x"], 2, ["last", "x"]), (["flows", "--pod", "a/b/c"], 2, ["pod", "a/b/c"]),
    (["flows", "-o", "xml"], 2, ["xml"]), (["policy", "explain", "shop/client"], 2, ["DST"]),
    (["policy", "explain", "shop/nobody", "shop/web", "80"], 1, ["shop/nobody"]),
    (["policy", "explain", "shop/client", "shop/web", "http"], 2, ["port", "http"]),
    (["policy", "explain", "shop/client", "shop/web", "80", "--protocol", "gre"], 2, ["gre"]),
    (["map", "dump", "nomap"], 1, ["nomap"]), (["delete", "networkpolicy", "nothing", "--namespace", "shop"], 1, ["shop/nothing"]),
    (["get", "bogus"], 1, ["bogus"]), (["apply", "-f", "/nonexistent"], 1, ["/nonexistent"]), (["apply"], 2, ["-f"]),
    (["stop", "nothing"], 1, ["nothing"]), (["run", "--name", "X_Y", "--", "true"], 2, ["--name", "X_Y"]),
    (["run", "--name", "x"], 2, []), (["run", "--name", "web", "--namespace", "shop", "--", "true"], 1, ["web"]),
    (["run", "--name", "x", "--label", "a b=c", "--", "true"], 2, ["--label"]),
    (["run", "--name", "x", "--port", "name=p,port=99999", "--", "true"], 2, ["--port"]),
    (["status", "--instance", "nope"], 1, ["not running"]),
)

BAD_CALLS = (  # (method, path, body, status, words of the error)
    ("GET", "/v1/bogus", None, 404, ["/v1/bogus"]), ("PUT", "/v1/status", None, 405, ["GET"]),
    ("POST", "/v1/objects", "a: [", 400, ["1:5"]), ("POST", "/v1/objects?dry_run=2", "", 400, ["dry_run"]),
    ("GET", "/v1/flows?verdict=x", None, 400, ["verdict"]), ("GET", "/v1/flows?bogus=1", None, 400, ["bogus"]),
    ("GET", "/v1/flows?last=-1", None, 400, ["last"]), ("GET", "/v1/maps/x", None, 404, ["x"]),
    ("GET", "/v1/maps/bl_ct?limit=x", None, 400, ["limit"]),
    ("DELETE", "/v1/objects/networkpolicy/shop/x", None, 404, ["shop/x"]), ("DELETE", "/v1/objects/bogus/shop/x", None, 400, ["bogus"]),
    ("GET", "/v1/policy/explain?source=shop/client", None, 400, ["destination"]),
    ("GET", "/v1/policy/explain?source=shop/client&destination=shop/web&port=0x50", None, 400, ["port"]),
    ("POST", "/v1/cni/bogus", "{}", 404, ["bogus"]), ("POST", "/v1/cni/add", "[]", 400, []),
    ("POST", "/v1/cni/add", "\xff{", 400, []),
)


class Input(scene.SharedNode):
    @classmethod
    def prepare(cls):
        node = cls.node
        node.run("web", *harness.serve("web", tcp=[80]), namespace="shop", labels={"app": "web"})
        node.run("client", namespace="shop", labels={"app": "client"})
        node.run("intruder", namespace="shop", labels={"app": "intruder"})
        node.apply([policy("web", {"app": "web"}, ingress=scene.from_pods(app="client")),
                    service("web", VIP, [("http", "TCP", 8080, 80)], selector={"app": "web"})])

    def setUp(self):
        self.before = self.state()

    def state(self):
        return (self.node.api("GET", "/v1/objects"), [scene.dump(self.node, name) for name in ("bl_policy", "bl_svc", "bl_endpoint")],
                sorted(os.listdir(self.node.manifests)), self.node.workloads())

    def check_in_force(self):
        """Nothing has changed, and the policy still decides."""
        self.assertEqual(self.state(), self.before)
        self.check_verdicts()

    def check_verdicts(self):
        web = self.node.address("shop/web")
        self.assertEqual(self.node.tcp("shop/client", web, 80, timeout_ms=5000)["error"], "")
        self.assertEqual(self.node.tcp("shop/client", VIP, 8080, timeout_ms=5000)["error"], "")
        self.assertEqual(self.node.tcp("shop/intruder", web, 80, timeout_ms=250)["error"], "TIMEOUT")

    def check_words(self, text, words):
        self.assertTrue(text.strip())
        for word in words:
            self.assertIn(word, text)

    def test_manifests(self):
        for text, words in BAD_MANIFESTS:
            with self.subTest(text[:200]):
                code, out, err = self.node.cli("apply", "-f", "-", input=text)
                self.assertEqual((code, out), (1, ""))
                self.check_words(err, words)
                with self.assertRaises(harness.ApiError) as refused:
                    self.node.api("POST", "/v1/objects", text.encode())
                self.assertEqual(refused.exception.status, 400)
                self.check_words(json.loads(refused.exception.body)["error"]["message"], words)
        self.check_in_force()

    def test_all_or_nothing(self):
        good = harness.yaml.safe_dump(policy("open", {"app": "web"}, ingress=[{}]))
        for text, _ in BAD_MANIFESTS[3:9]:
            code, _, err = self.node.cli("apply", "-f", "-", input=f"{good}---\n{text}")
            self.assertEqual(code, 1, err)
        # Of two files the good one is not applied either, and the error names the bad one.
        paths = [os.path.join(self.node.folder, name) for name in ("good.yaml", "bad.yaml")]
        for path, text in zip(paths, (good, BAD_MANIFESTS[10][0])):
            with open(path, "w") as file:
                file.write(text)
        code, _, err = self.node.cli("apply", "-f", paths[0], "-f", paths[1])
        self.assertEqual(code, 1)
        self.check_words(err, [f"{paths[1]}:6:3", "spec.ingres"])
        self.check_in_force()

    def test_dry_run_changes_nothing(self):
        answer = self.node.api("POST", "/v1/objects?dry_run=1", json.dumps(policy("open", {"app": "web"}, ingress=[{}])))
        self.assertEqual([one["action"] for one in answer["applied"]], ["created"])
        self.check_in_force()

    def test_command_line(self):
        for words, wanted, expected in BAD_WORDS:
            with self.subTest(words):
                code, out, err = self.node.cli(*words)
                self.assertEqual((code, out), (wanted, ""), err)
                self.check_words(err, expected)
                self.assertEqual(err.count("\n"), 1, err)
        self.check_in_force()

    def test_api(self):
        for method, path, body, status, words in BAD_CALLS:
            with self.subTest(method=method, path=path):
                with self.assertRaises(harness.ApiError) as refused:
                    self.node.api(method, path, body.encode("latin-1") if body is not None else None)
                self.assertEqual(refused.exception.status, status)
                self.check_words(refused.exception.body, words)
        self.check_in_force()

    def test_bytes_that_are_not_http(self):
        for data in (b"\0" * 1000, b"GET\r\n\r\n", b"GET /v1/status HTTP/9.9\r\n\r\n", b"POST /v1/objects HTTP/1.1\r\nHost: x\r\n"
                     b"Content-Length: 99999999999999\r\n\r\nx", b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\n\r\n", b""):
            with self.subTest(data[:40]), socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5)
                client.connect(self.node.socket_path)
                try:
                    client.sendall(data)
                except (BrokenPipeError, ConnectionResetError):
                    pass
        self.check_in_force()

    def test_cni(self):
        for text in ("", "{", "[]", "null", '{"cniVersion":"1.0.0"}', '{"cniVersion":"9.9.9","name":"x","type":"beeline-cni"}', "\0"):
            with self.subTest(text):
                code, out, _ = self.node.cni("ADD", "c1", self.node.netns_path, stdin=text)
                self.assertEqual(code, 1)
                self.assertIn(out["code"], (1, 4, 6, 7), out)
                self.assertTrue(out["msg"])
        self.check_in_force()

    def test_configuration(self):
        path = os.path.join(self.node.folder, "bad-config.yaml")
        for text, words in BAD_CONFIGS:
            with self.subTest(text):
                with open(path, "w") as file:
                    file.write(text)
                code, out, err = self.node.host(os.path.join(harness.BIN, "beelined"), "--config", path, "--instance",
                                                self.node.instance)
                self.assertEqual((code, out), (1, ""))
                self.check_words(err, [path, *words])
        for words, wanted in ((["--bogus"], 2), (["--config", "/nonexistent"], 1), (["--instance", "../x"], 1),
                              (["--instance", "a" * 99], 1)):
            with self.subTest(words):
                code, _, err = self.node.host(os.path.join(harness.BIN, "beelined"), *words)
                self.assertEqual(code, wanted)
                self.assertTrue(err)
        self.check_in_force()


class Folder(harness.TestCase):
    """Files of the manifests folder are written by anybody at any time."""

    check_verdicts = Input.check_verdicts

    def put(self, name, text):
        """As an editor does: the file is replaced in one step."""
        path = os.path.join(self.node.manifests, name)
        with open(path + "~", "w") as file:
            file.write(text)
        os.rename(path + "~", path)

    def errors(self):
        return self.node.api("GET", "/v1/status")["source"]["errors"]

    def test_broken_file_leaves_its_old_objects(self):
        good = json.dumps(policy("web", {"app": "web"}, ingress=scene.from_pods(app="client")))
        with harness.Node() as self.node:
            node = self.node
            node.run("web", *harness.serve("web", tcp=[80]), namespace="shop", labels={"app": "web"})
            node.run("client", namespace="shop", labels={"app": "client"})
            node.run("intruder", namespace="shop", labels={"app": "intruder"})
            self.put("policy.yaml", good)
            self.put("service.yaml", json.dumps(service("web", VIP, [("http", "TCP", 8080, 80)], selector={"app": "web"})))
            node.wait_for(lambda: len(scene.objects_of(node)) == 2, what="both files to be read")
            self.check_verdicts()
            for text, words in (("a: [\n", ["policy.yaml:2:1"]), ("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
                                "metadata: {name: web, namespace: shop}\nspec:\n  podSelector: {}\n  ingres: []\n",
                                ["policy.yaml:6:3", "spec.ingres"])):
                with self.subTest(text):
                    self.put("policy.yaml", text)
                    error = node.wait_for(lambda: [e for e in self.errors() if all(w in e["message"] for w in words)],
                                          what="the error to be shown")
                    self.assertEqual([os.path.basename(e["file"]) for e in error], ["policy.yaml"])
                    self.check_verdicts()
                    self.assertIn(words[0], node.cli_ok("status"))
            # Others still change, and over a restart the old objects stay.
            self.put("other.yaml", json.dumps(policy("other", {"app": "other"}, types=["Ingress"])))
            node.wait_for(lambda: ("NetworkPolicy", "shop", "other") in scene.objects_of(node), what="the other file")
            for end in (node.stop_agent, node.kill_agent):
                end()
                node.start_agent()
                self.assertEqual(len(self.errors()), 1)
                self.check_verdicts()
            # Repaired, and then removed.
            self.put("policy.yaml", good)
            node.wait_for(lambda: not self.errors(), what="the error to go")
            self.check_verdicts()
            os.remove(os.path.join(node.manifests, "policy.yaml"))
            web = node.address("shop/web")
            node.wait_for(lambda: node.tcp("shop/intruder", web, 80, timeout_ms=300)["error"] == "", what="the policy to go")

    def test_file_that_is_broken_from_the_start(self):
        with harness.Node(agent=False) as self.node:
            self.put("a.yaml", "kind: [\n")
            self.put("b.yaml", json.dumps(policy("b", types=["Ingress"])))
            self.put("notes.txt", "not a manifest")
            self.node.start_agent()
            self.assertEqual([os.path.basename(e["file"]) for e in self.errors()], ["a.yaml"])
            self.assertEqual(scene.objects_of(self.node), [("NetworkPolicy", "shop", "b")])

    def test_same_object_in_two_files(self):
        with harness.Node() as self.node:
            self.put("a.yaml", json.dumps(policy("one", {"app": "a"}, types=["Ingress"])))
            self.node.wait_for(lambda: scene.objects_of(self.node), what="the first file")
            before = self.node.api("GET", "/v1/objects")
            self.put("b.yaml", json.dumps(policy("one", {"app": "b"}, types=["Ingress"])))
            error = self.node.wait_for(self.errors, what="the error")[0]
            self.assertIn("NetworkPolicy shop/one", error["message"])
            self.assertEqual(self.node.api("GET", "/v1/objects"), before)


if __name__ == "__main__":
    harness.main()
