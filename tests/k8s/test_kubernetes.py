"""What a cluster's objects say is what the kernel does, through outages of everything."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cluster  # noqa: E402
import harness  # noqa: E402


def policy(name, namespace, spec):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def service(name, namespace, port, address, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": address, "ports": [{"port": port}], **spec}}


def endpoints(name, namespace, port, addresses):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name + "-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"name": "", "port": port, "protocol": "TCP"}], "endpoints": [{"addresses": [a]} for a in addresses]}


DENY = {"podSelector": {}, "policyTypes": ["Ingress"]}
ALLOW_CLIENT = {"podSelector": {"matchLabels": {"app": "web"}},
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}], "ports": [{"port": "http"}]}]}


class Kubernetes(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = harness.Node(agent=False)
        cls.addClassCleanup(cls.node.__exit__, None, None, None)
        cls.node.__enter__()
        cls.kubernetes = cluster.Cluster(cls.node)
        cls.kubernetes.__enter__()
        cls.addClassCleanup(cls.kubernetes.__exit__, None, None, None)
        node, kubernetes = cls.node, cls.kubernetes
        kubernetes.apply(
            *cluster.namespace("default"), *cluster.namespace("shop", team="a"),
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-under-test"},
             "spec": {"podCIDRs": ["10.77.0.0/24"], "podCIDR": "10.77.0.0/24"}})
        cluster.use(node, kubernetes, ranges=False)
        node.start_agent()
        cluster.wait_synced(node)
        cluster.add_pod(node, kubernetes, "web", "shop", {"app": "web"}, [("http", "TCP", 8080)], tcp=[8080])
        cluster.add_pod(node, kubernetes, "client", "shop", {"app": "client"})
        cluster.add_pod(node, kubernetes, "other", "default", {"app": "other"})

    def tearDown(self):
        self.kubernetes.kubectl("delete", "networkpolicy", "--all", "--namespace", "shop")
        harness.wait_for(lambda: self.open("default/other"), 10, "the policies to be gone")

    def web(self):
        return self.node.address("shop/web")

    def open(self, where):
        return self.node.tcp(where, self.web(), 8080, timeout_ms=300)["ok"]

    def wait_verdicts(self, client, other, timeout=10):
        wanted = {"shop/client": client, "default/other": other}
        harness.wait_for(lambda: {where: self.open(where) for where in wanted} == wanted, timeout, f"{wanted}")

    def status(self):
        return self.node.api("GET", "/v1/status")["source"]

    def test_a_pod_ranges_of_the_own_node(self):
        self.assertTrue(self.web().startswith("10.77.0."), self.web())

    def test_b_policies_come_and_go_with_kubectl(self):
        self.wait_verdicts(True, True)
        self.kubernetes.apply(policy("deny", "shop", DENY))
        self.wait_verdicts(False, False)
        self.kubernetes.apply(policy("allow", "shop", ALLOW_CLIENT))
        self.wait_verdicts(True, False)
        # Labels of a pod that runs: kubectl label is enough.
        self.kubernetes.kubectl("label", "pod", "client", "--namespace", "shop", "--overwrite", "app=stranger")
        self.wait_verdicts(False, False)
        self.kubernetes.kubectl("label", "pod", "client", "--namespace", "shop", "--overwrite", "app=client")
        self.wait_verdicts(True, False)
        self.kubernetes.kubectl("delete", "networkpolicy", "deny", "allow", "--namespace", "shop")
        self.wait_verdicts(True, True)

    def test_c_services_with_slices_of_the_server(self):
        self.kubernetes.apply(service("front", "shop", 80, "10.96.0.80"), endpoints("front", "shop", 8080, [self.web()]))
        ask = lambda: self.node.tcp("shop/client", "10.96.0.80", 80, timeout_ms=300)["ok"]  # noqa: E731
        harness.wait_for(ask, 10, "the service")
        self.kubernetes.kubectl("patch", "endpointslice", "front-1", "--namespace", "shop", "--type", "merge", "--patch",
                                json.dumps({"endpoints": []}))
        harness.wait_for(lambda: not ask(), 10, "the service without endpoints")
        self.kubernetes.kubectl("delete", "service", "front", "--namespace", "shop")
        self.kubernetes.kubectl("delete", "endpointslice", "front-1", "--namespace", "shop")

    def test_d_api_server_gone_and_back(self):
        self.kubernetes.apply(policy("deny", "shop", DENY), policy("allow", "shop", ALLOW_CLIENT))
        self.wait_verdicts(True, False)
        self.kubernetes.stop()
        harness.wait_for(lambda: not self.status()["connected"], 10, "the status to say so")
        self.assertTrue(self.status()["errors"])
        self.wait_verdicts(True, False)
        # The agent itself starts anew meanwhile: policies stay, and a new pod is safe.
        self.node.restart_agent()
        self.assertFalse(self.status()["connected"])
        self.wait_verdicts(True, False)
        netns = self.node.make_netns("late")
        code, result, _ = self.node.cni("ADD", "late-id", netns, args="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=late")
        self.assertEqual(code, 0, result)
        self.node.serve("shop/late", "late", tcp=[8080])
        late = self.node.address("shop/late")
        self.assertFalse(self.node.tcp("default/other", late, 8080, timeout_ms=300)["ok"])
        self.assertEqual(self.node.cni("DEL", "late-id", netns)[0], 0)
        # What happens before the agent is back is seen as a whole.
        self.kubernetes.start()
        self.kubernetes.kubectl("delete", "networkpolicy", "deny", "allow", "--namespace", "shop")
        cluster.wait_synced(self.node, 40)
        self.wait_verdicts(True, True, 20)

    def test_e_history_compacted_while_away(self):
        self.kubernetes.apply(policy("deny", "shop", DENY))
        self.wait_verdicts(False, False)
        self.kubernetes.stop()
        harness.wait_for(lambda: not self.status()["connected"], 10, "the status to say so")
        self.kubernetes.start()
        self.kubernetes.kubectl("delete", "networkpolicy", "deny", "--namespace", "shop")
        self.compact()
        cluster.wait_synced(self.node, 40)
        self.wait_verdicts(True, True, 20)

    def compact(self):
        etcdctl = [f"{self.kubernetes.bin}/etcdctl", "--endpoints", f"http://127.0.0.1:{cluster.ETCD}"]
        code, out, err = self.node.host(*etcdctl, "endpoint", "status", "-w", "json")
        self.assertEqual(code, 0, err)
        revision = json.loads(out)[0]["Status"]["header"]["revision"]
        self.assertEqual(self.node.host(*etcdctl, "compact", str(revision))[0], 0)

    def test_f_writes_condition_and_events_and_has_no_more_rights(self):
        def condition():
            entries = self.kubernetes.get("node", "node-under-test")["status"].get("conditions", [])
            return next((c for c in entries if c["type"] == "NetworkUnavailable"), None)
        found = harness.wait_for(condition, 10, "the condition of the Node")
        self.assertEqual((found["status"], found["reason"]), ("False", "BeelineIsUp"))
        self.assertIn("beeline.io/version", self.kubernetes.get("node", "node-under-test")["metadata"]["annotations"])
        code, _, _ = self.node.cni("ADD", "web-again", "/run/netns/none-such",
                                   args="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=u-web")
        self.assertNotEqual(code, 0)
        event = harness.wait_for(lambda: next(iter(self.kubernetes.get("events", "--namespace", "shop")["items"]), None),
                                 10, "the event")
        self.assertEqual((event["involvedObject"]["name"], event["type"]), ("web", "Warning"))
        account = "--as=system:serviceaccount:kube-system:beeline"
        for verb, resource in (("delete", "pods"), ("create", "pods"), ("get", "secrets"), ("list", "secrets"),
                               ("patch", "networkpolicies")):
            self.assertEqual(self.kubernetes.kubectl("auth", "can-i", verb, resource, account, check=False).strip(), "no")

    def test_g_objects_are_changed_elsewhere(self):
        code, _, err = self.node.cli("delete", "networkpolicy", "x", "--namespace", "shop")
        self.assertNotEqual(code, 0)
        self.assertIn("kubectl", err)
        listed = self.node.cli_ok("get", "pods", "--namespace", "shop")
        self.assertIn("web", listed)

    def test_h_pods_of_other_nodes_have_their_identity(self):
        self.kubernetes.apply(cluster.pod("far", "default", {"app": "far"}, node="elsewhere", addresses=["10.99.0.7"]))
        egress = {"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"],
                  "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "far"}}, "namespaceSelector": {}}]}]}
        self.kubernetes.apply(policy("egress", "shop", egress))

        def allowed(address):
            query = f"/v1/policy/explain?from=shop/client&to={address}&port=80&protocol=tcp"
            return self.node.api("GET", query)["kernel"]["allowed"]
        try:
            harness.wait_for(lambda: allowed("10.99.0.7") and not allowed("10.99.0.8"), 10, "the pod elsewhere")
        except harness.ApiError as error:
            self.fail(str(error))


if __name__ == "__main__":
    cluster.programs()
    harness.main()
