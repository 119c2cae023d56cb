"""NetworkPolicy with real traffic: what is denied is dropped, the rest passes, and `policy explain` says the same."""
import harness
import scene
from scene import FAMILIES, policy


def address_of(node, end, family):
    """The address of a workload, of "host" as workloads see it, or of "outside"."""
    if end == "outside":
        return harness.OUTSIDE_V4 if family == 4 else harness.OUTSIDE_V6
    if end == "host":
        return harness.NODE_V4 if family == 4 else harness.NODE_V6
    return node.address(end, family)


def length(family):
    return 32 if family == 4 else 128


class Policy(scene.SharedNode):
    options = {"outside": True}

    @classmethod
    def prepare(cls):
        node = cls.node
        node.apply([scene.namespace("shop", team="a"), scene.namespace("blog", team="b")])
        node.run("web", *harness.serve("web", tcp=[80, 81, 8000, 8005, 8010], udp=[53]), namespace="shop",
                 labels={"app": "web"}, ports=[("http", "tcp", 80), ("dns", "udp", 53)])
        node.run("api", *harness.serve("api", tcp=[81], udp=[54]), namespace="shop", labels={"app": "api"},
                 ports=[("http", "tcp", 81)])
        node.run("client", *harness.serve("client", tcp=[80]), namespace="shop", labels={"app": "client"})
        node.run("other", namespace="shop", labels={"app": "other"})
        node.run("client", namespace="blog", labels={"app": "client"})
        node.serve("outside", "world", tcp=[80], udp=[53])
        node.serve("host", "host", tcp=[90])

    def probe(self, source, destination, port, protocol, family, timeout_ms):
        address = address_of(self.node, destination, family)
        options = {"timeout_ms": timeout_ms}
        if protocol == "udp":
            options["connected"] = True
        answer = self.node.requests(source, protocol, address, port, 1, **options)[-1]
        source_end = address_of(self.node, source, family) if source == "outside" else source
        return answer, scene.explain(self.node, source_end, address, port, protocol)

    def passes(self, source, destination, port, protocol="tcp", families=FAMILIES):
        for family in families:
            with self.subTest("passes", ends=(source, destination, port, protocol), family=family):
                answer, explained = self.probe(source, destination, port, protocol, family, 5000)
                self.assertEqual(answer["error"], "")
                self.assertTrue(explained["allowed"], explained)
                if "kernel" in explained:
                    self.assertTrue(explained["kernel"]["allowed"], explained)

    def denied(self, source, destination, port, protocol="tcp", families=FAMILIES, by=None):
        """`by`: the policies that the drop must name."""
        for family in families:
            with self.subTest("denied", ends=(source, destination, port, protocol), family=family):
                before = scene.last_number(self.node)
                answer, explained = self.probe(source, destination, port, protocol, family, 250)
                self.assertEqual(answer["error"], "TIMEOUT")
                self.assertFalse(explained["allowed"], explained)
                if "kernel" in explained:
                    self.assertFalse(explained["kernel"]["allowed"], explained)
                address = address_of(self.node, destination, family)
                flow = self.node.wait_flow(
                    lambda f: f.get("number", 0) > before and f["destination"]["address"] == address,
                    verdict="dropped", protocol=protocol, port=port)
                self.assertEqual(flow["drop_reason"]["name"], "POLICY_DENIED", flow)
                if by is not None:
                    self.assertEqual(flow["denied_by"], by, flow)

    # --- isolation ----------------------------------------------------------------------------------------------------

    def test_everything_passes_without_policies(self):
        self.passes("shop/client", "shop/web", 80)
        self.passes("blog/client", "shop/web", 53, "udp")
        self.passes("outside", "shop/web", 80)
        self.passes("shop/web", "outside", 80)

    def test_default_deny_of_ingress(self):
        self.node.apply([policy("deny", {"app": "web"}, types=["Ingress"])])
        self.denied("shop/client", "shop/web", 80, by=["NetworkPolicy shop/deny"])
        self.denied("blog/client", "shop/web", 53, "udp", by=["NetworkPolicy shop/deny"])
        self.denied("outside", "shop/web", 80)
        # The other direction, other pods and the host's probes are not concerned.
        self.passes("shop/web", "shop/client", 80)
        self.passes("shop/client", "shop/api", 81)
        self.passes("host", "shop/web", 80)
        self.passes("host", "shop/web", 53, "udp")
        for family in FAMILIES:
            self.assertTrue(self.node.ping("host", self.node.address("shop/web", family)))
            self.assertFalse(self.node.ping("shop/client", self.node.address("shop/web", family), 1, 1))
        entry = self.node.workload("shop/web")
        self.assertEqual(entry["isolated"], {"ingress": True, "egress": False})
        self.assertEqual(entry["policies"]["ingress"], ["NetworkPolicy shop/deny"])
        self.node.delete("networkpolicy", "deny", "shop")
        self.passes("shop/client", "shop/web", 80)
        self.passes("outside", "shop/web", 80)

    def test_default_deny_of_egress(self):
        self.node.apply([policy("mute", {"app": "client"}, types=["Egress"])])
        self.denied("shop/client", "shop/web", 80, by=["NetworkPolicy shop/mute"])
        self.denied("shop/client", "outside", 80)
        self.denied("shop/client", "host", 90)
        # Replies pass; the same labels in another namespace are another's.
        self.passes("shop/other", "shop/client", 80)
        self.passes("host", "shop/client", 80)
        self.passes("blog/client", "shop/web", 80)

    def test_pod_reaches_itself(self):
        self.node.apply([policy("deny-all", types=["Ingress", "Egress"])])
        for family in FAMILIES:
            with self.subTest(family=family):
                address = self.node.address("shop/web", family)
                self.assertEqual(self.node.tcp("shop/web", address, 80)["error"], "")

    def test_both_directions_must_allow(self):
        self.node.apply([policy("in", {"app": "web"}, ingress=[{"from": [{"podSelector": {}}]}]),
                         policy("out", {"app": "client"}, egress=[{"to": [{"podSelector": {"matchLabels": {"app": "api"}}}]}],
                                types=["Egress"])])
        self.denied("shop/client", "shop/web", 80, by=["NetworkPolicy shop/out"])
        self.passes("shop/client", "shop/api", 81)
        self.passes("shop/other", "shop/web", 80)

    # --- peers --------------------------------------------------------------------------------------------------------

    def test_peers_by_pod_and_namespace(self):
        pods = {"podSelector": {"matchLabels": {"app": "client"}}}
        spaces = {"namespaceSelector": {"matchLabels": {"team": "b"}}}
        with self.subTest("by pod: only of the policy's own namespace"):
            self.node.apply([policy("web", {"app": "web"}, ingress=[{"from": [pods]}])])
            self.passes("shop/client", "shop/web", 80)
            self.denied("shop/other", "shop/web", 80, families=[4])
            self.denied("blog/client", "shop/web", 80, families=[6])
        with self.subTest("by namespace"):
            self.node.apply([policy("web", {"app": "web"}, ingress=[{"from": [spaces]}])])
            self.passes("blog/client", "shop/web", 80)
            self.denied("shop/client", "shop/web", 80, families=[6])
        with self.subTest("either"):
            self.node.apply([policy("web", {"app": "web"}, ingress=[{"from": [pods, spaces]}])])
            self.passes("blog/client", "shop/web", 80)
            self.passes("shop/client", "shop/web", 80)
            self.denied("shop/other", "shop/web", 80, families=[4])
        with self.subTest("both"):
            self.node.apply([policy("web", {"app": "web"}, ingress=[{"from": [{**pods, **spaces}]}])])
            self.passes("blog/client", "shop/web", 80)
            self.denied("shop/client", "shop/web", 80, families=[4])
            self.denied("outside", "shop/web", 80, families=[6])
        with self.subTest("by expressions"):
            self.node.apply([policy("web", {"app": "web"}, ingress=[{"from": [{
                "namespaceSelector": {},
                "podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["client"]}]}}]}])])
            self.passes("shop/other", "shop/web", 80)
            self.denied("blog/client", "shop/web", 80, families=[4])

    def test_union_of_policies(self):
        self.node.apply([policy("a", {"app": "web"}, ingress=[{"ports": [{"port": 80}]}]),
                         policy("b", {"app": "web"}, ingress=[{"ports": [{"port": 81}]}])])
        self.passes("shop/client", "shop/web", 80)
        self.passes("shop/client", "shop/web", 81)
        self.denied("shop/client", "shop/web", 8000, by=["NetworkPolicy shop/a", "NetworkPolicy shop/b"])

    def test_address_blocks(self):
        for family in FAMILIES:
            everything = "0.0.0.0/0" if family == 4 else "::/0"
            client = f"{self.node.address('shop/client', family)}/{length(family)}"
            outside = f"{address_of(self.node, 'outside', family)}/{length(family)}"
            with self.subTest("ingress, pods by address", family=family):
                self.node.apply([policy("web", {"app": "web"}, ingress=[
                    {"from": [{"ipBlock": {"cidr": everything, "except": [client]}}]}])])
                self.denied("shop/client", "shop/web", 80, families=[family])
                self.passes("shop/other", "shop/web", 80, families=[family])
                self.passes("outside", "shop/web", 80, families=[family])
            with self.subTest("ingress, the outside excepted", family=family):
                self.node.apply([policy("web", {"app": "web"}, ingress=[
                    {"from": [{"ipBlock": {"cidr": everything, "except": [outside]}}]}])])
                self.passes("shop/client", "shop/web", 80, families=[family])
                self.denied("outside", "shop/web", 80, families=[family])
            self.node.delete("networkpolicy", "web", "shop")
            with self.subTest("egress", family=family):
                self.node.apply([policy("client", {"app": "client"}, types=["Egress"], egress=[
                    {"to": [{"ipBlock": {"cidr": outside}}]}])])
                self.passes("shop/client", "outside", 80, families=[family])
                self.denied("shop/client", "shop/web", 80, families=[family])
                self.denied("shop/client", "outside", 80, families=[10 - family])
            self.node.delete("networkpolicy", "client", "shop")

    # --- ports --------------------------------------------------------------------------------------------------------

    def test_ports(self):
        with self.subTest("number and protocol"):
            self.node.apply([policy("web", {"app": "web"}, ingress=[{"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}])])
            self.passes("shop/client", "shop/web", 80)
            self.passes("shop/client", "shop/web", 53, "udp")
            self.denied("shop/client", "shop/web", 81, families=[4])
        with self.subTest("range"):
            self.node.apply([policy("web", {"app": "web"}, ingress=[{"ports": [{"port": 8000, "endPort": 8009}]}])])
            self.passes("shop/client", "shop/web", 8000, families=[4])
            self.passes("shop/client", "shop/web", 8005)
            self.denied("shop/client", "shop/web", 8010, families=[6])
            self.denied("shop/client", "shop/web", 81, families=[4])
        with self.subTest("name of the pod's own port"):
            self.node.apply([policy("web", {"app": "web"}, ingress=[{"ports": [{"port": "http"}]}])])
            self.passes("shop/client", "shop/web", 80)
            self.denied("shop/client", "shop/web", 81, families=[4])
        self.node.delete("networkpolicy", "web", "shop")
        with self.subTest("name of the peer's port"):
            self.node.apply([policy("client", {"app": "client"}, types=["Egress"], egress=[{"ports": [{"port": "http"}]}])])
            self.passes("shop/client", "shop/web", 80)
            self.passes("shop/client", "shop/api", 81)
            self.denied("shop/client", "shop/web", 81, families=[6])

    # --- changes ------------------------------------------------------------------------------------------------------

    def test_live_change_cuts_and_restores_connections(self):
        holds = {family: self.node.hold("shop/client", 5, self.node.address("shop/web", family), 80, timeout_ms=300)
                 for family in FAMILIES}
        for family, hold in holds.items():
            self.assertEqual(hold.connected["open"], 5)
            self.assertEqual(hold.ping()["replied"], 5)
        self.node.apply([policy("deny", {"app": "web"}, types=["Ingress"])])
        for family, hold in holds.items():
            with self.subTest("cut", family=family):
                self.assertEqual(hold.ping()["errors"], {"TIMEOUT": 5})
                revoked = self.node.wait_flow(
                    lambda f: f["kind"] == "revoked" and f["destination"]["address"] == self.node.address("shop/web", family))
                self.assertEqual(revoked["verdict"], "DROPPED")
                self.assertEqual(revoked["denied_by"], ["NetworkPolicy shop/deny"])
                self.assertEqual((revoked["source"]["name"], revoked["destination"]["port"]), ("client", 80))
        self.node.delete("networkpolicy", "deny", "shop")
        for family, hold in holds.items():
            with self.subTest("resumed", family=family):
                self.node.wait_for(lambda: hold.ping()["replied"] == 5, 10, "the connections to go on")
                hold.close()

    def test_unconcerned_connections_stay(self):
        hold = self.node.hold("shop/client", 5, self.node.address("shop/web"), 80)
        self.node.apply([policy("web", {"app": "web"}, ingress=scene.from_pods(app="client"))])
        self.assertEqual(hold.ping()["replied"], 5)
        self.node.apply([policy("api", {"app": "api"}, types=["Ingress"])])
        self.assertEqual(hold.ping()["replied"], 5)
        hold.close()

    def test_labels_of_a_pod_manifest(self):
        self.node.apply([policy("web", {"app": "web"}, ingress=scene.from_pods(role="friend"))])
        self.denied("shop/other", "shop/web", 80)
        self.node.apply([{"apiVersion": "v1", "kind": "Pod",
                          "metadata": {"name": "other", "namespace": "shop", "labels": {"role": "friend"}}}])
        self.passes("shop/other", "shop/web", 80)
        self.node.delete("pod", "other", "shop")
        self.denied("shop/other", "shop/web", 80, families=[4])

    def test_rule_that_decided(self):
        self.node.apply([policy("web", {"app": "web"}, ingress=[{"ports": [{"port": 80}]}, {"ports": [{"port": 81}]}])])
        before = scene.last_number(self.node)
        self.passes("shop/client", "shop/web", 81, families=[4])
        flow = self.node.wait_flow(lambda f: f["number"] > before and f["kind"] == "opened", port=81)
        self.assertEqual(flow["ingress_rule"], "NetworkPolicy shop/web ingress[1]")
        out = self.node.cli_ok("policy", "explain", "shop/client", "shop/web", "81")
        self.assertIn("NetworkPolicy shop/web ingress[1]", out)


if __name__ == "__main__":
    harness.main()
