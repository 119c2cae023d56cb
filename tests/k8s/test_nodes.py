"""Two nodes of one cluster: agents that know nothing of each other but what a real API server tells both."""
import importlib.util
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cluster  # noqa: E402
import harness  # noqa: E402


def load(name, path):
    """tests/netns has a module `cluster`, too."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


nodes = load("nodes", os.path.join(cluster.ROOT, "tests", "netns", "cluster.py"))
ADDRESS = "192.0.2.250"  # of the API server, in the namespace that joins the nodes


def policy(name, **spec):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": "shop"},
            "spec": spec}


class Nodes(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.c = nodes.Cluster(2, "vxlan", agent=False)
        cls.addClassCleanup(cls.c.close)
        cls.c.__enter__()
        for words in (["link", "set", "lo", "up"], ["addr", "add", f"{ADDRESS}/24", "dev", "sw"]):
            subprocess.run(["ip", "-n", cls.c.switch, *words], check=True)
        cls.kubernetes = cluster.Cluster(cls.c[0], f"/run/netns/{cls.c.switch}", ADDRESS)
        cls.kubernetes.__enter__()
        cls.addClassCleanup(cls.kubernetes.close)
        cls.kubernetes.apply(*cluster.namespace("default"), *cluster.namespace("shop"),
                             *(cls.c.node_object(number) for number in range(2)))
        for node in cls.c:
            cluster.use(node, cls.kubernetes, ranges=False)
            node.start_agent(wait=False)
        for node in cls.c:
            node.wait_ready()
            cluster.wait_synced(node)
        cls.web = cls.add(1, "web", {"app": "web"}, [("http", "TCP", 8080)], tcp=[8080])
        cls.near = cls.add(0, "near", {"app": "near"}, tcp=[8080])
        cls.client = cls.add(0, "client", {"app": "client"})
        cls.other = cls.add(0, "other", {"app": "other"})
        cls.add(1, "local", {"app": "client"})

    @classmethod
    def add(cls, number, name, labels, ports=(), tcp=()):
        return cluster.add_pod(cls.c[number], cls.kubernetes, name, "shop", labels, ports, tcp, on=f"node-{number}")

    def tearDown(self):
        self.kubernetes.kubectl("delete", "networkpolicy", "--all", "--namespace", "shop")
        self.becomes(True, 0, "other", self.web)

    def reaches(self, number, where, addresses, port=8080):
        """Over both families, which must agree."""
        answers = {self.c[number].tcp(f"shop/{where}", address, port, timeout_ms=400)["ok"] for address in addresses}
        return answers.pop() if len(answers) == 1 else None

    def becomes(self, wanted, *arguments, **options):
        harness.wait_for(lambda: self.reaches(*arguments, **options) is wanted, 15, f"{arguments} to be {wanted}")

    def test_pods_talk_across_nodes(self):
        for number, addresses in ((1, self.web), (0, self.near)):
            self.assertEqual([a.startswith((f"10.{110 + number}.0.", f"fd00:{110 + number}:")) for a in addresses], [True] * 2,
                             "addresses are of the node's podCIDRs")
        self.becomes(True, 0, "client", self.web)
        self.becomes(True, 1, "local", self.near)
        for address in self.web:
            answer = self.c[0].tcp("shop/client", address, 8080)
            self.assertTrue(any(f"peer={own}" in answer["reply"] or f"peer=[{own}]" in answer["reply"] for own in self.client),
                            answer)
        for number in range(2):
            status = self.c[number].api("GET", "/v1/status")["nodes"]
            self.assertEqual([(one["name"], one["ready"]) for one in status["others"]], [(f"node-{1 - number}", True)])

    def test_policies_hold_across_nodes(self):
        self.becomes(True, 0, "client", self.web)
        self.kubernetes.apply(policy("web", podSelector={"matchLabels": {"app": "web"}}, ingress=[
            {"from": [{"podSelector": {"matchLabels": {"app": "client"}}}], "ports": [{"port": "http"}]}]))
        self.becomes(False, 0, "other", self.web)
        self.becomes(True, 0, "client", self.web)
        self.becomes(True, 1, "local", self.web)
        # A label of a pod of the other node is enough.
        self.kubernetes.kubectl("label", "pod", "client", "--namespace", "shop", "--overwrite", "app=stranger")
        try:
            self.becomes(False, 0, "client", self.web)
        finally:
            self.kubernetes.kubectl("label", "pod", "client", "--namespace", "shop", "--overwrite", "app=client")
        self.becomes(True, 0, "client", self.web)
        # Egress is the sender's node's.
        self.kubernetes.apply(policy("client", podSelector={"matchLabels": {"app": "client"}}, policyTypes=["Egress"], egress=[
            {"to": [{"podSelector": {"matchLabels": {"app": "near"}}}]}]))
        self.becomes(False, 0, "client", self.web)
        self.becomes(True, 0, "client", self.near)
        self.becomes(True, 1, "local", self.near)

    def test_service_with_a_backend_on_the_other_node(self):
        self.kubernetes.apply(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "namespace": "shop"},
             "spec": {"clusterIP": "10.96.0.80", "ports": [{"port": 80}]}},
            {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
             "metadata": {"name": "front-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "front"}},
             "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
             "endpoints": [{"addresses": [address]} for address in self.web if "." in address]})
        for number, where in ((0, "client"), (1, "local")):
            self.becomes(True, number, where, ["10.96.0.80"], port=80)


if __name__ == "__main__":
    cluster.programs()
    harness.main()
