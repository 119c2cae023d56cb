#!/usr/bin/env python3
"""Workloads on different nodes: VXLAN and direct routes, policy on both sides, services, life and death of nodes."""
import json
import subprocess

import harness
from cluster import FAMILIES, Cluster, underlay
from scene import policy


def sees(answer):
    """The address that a test server says it was asked from."""
    return answer["reply"].split("peer=")[1].split()[0].rpartition(":")[0].strip("[]")


class Shared(harness.TestCase):
    """One cluster for a class: a web server on node 1, clients on both."""
    mode, outer, config = "vxlan", FAMILIES, None

    @classmethod
    def setUpClass(cls):
        cls.c = Cluster(2, cls.mode, cls.outer, cls.config)
        cls.addClassCleanup(cls.c.close)
        cls.c.__enter__()
        cls.c.run(1, "web", *harness.serve("web", tcp=[80, 81], udp=[53]), labels={"app": "web"})
        cls.c.run(0, "client", labels={"app": "client"})
        cls.c.run(1, "local", labels={"app": "client"})

    def web(self, family):
        return self.c[1].address("web", family)


class _Paths:
    families = FAMILIES

    def test_requests(self):
        for family in self.families:
            own = self.c[0].address("client", family)
            with self.subTest("tcp", family=family):
                answer = self.c[0].tcp("client", self.web(family), 80)
                self.assertEqual((answer["error"], sees(answer)), ("", own))
            with self.subTest("udp", family=family):
                answer = self.c[0].udp("client", self.web(family), 53)
                self.assertEqual((answer["error"], sees(answer)), ("", own))
            with self.subTest("ping", family=family):
                self.assertTrue(self.c[0].ping("client", self.web(family), 2))
            with self.subTest("back", family=family):
                self.assertTrue(self.c[1].ping("web", own, 1))

    def test_large(self):
        for family in self.families:
            with self.subTest("bulk", family=family):
                answer = self.c[0].tcp("client", self.web(family), 80, bulk=3_000_000, timeout_ms=20000)
                self.assertEqual(answer["received"], 3_000_000)
                answer = self.c[0].tcp("client", self.web(family), 80, size=1_000_000, timeout_ms=20000)
                self.assertEqual(answer["reply"].split("len=")[-1], "1000000")
            for size in (1380, 4000, 20000):
                with self.subTest("datagram", family=family, size=size):
                    answer = self.c[0].udp("client", self.web(family), 53, size=size, timeout_ms=5000)
                    self.assertEqual(answer["reply"].split("len=")[-1], str(size))
            with self.subTest("ping in fragments", family=family):
                self.assertTrue(self.c[0].ping("client", self.web(family), 1, 2, "-s", "5000"))

    def test_host(self):
        for family in self.families:
            with self.subTest("host to a workload elsewhere", family=family):
                answer = self.c[0].tcp("host", self.web(family), 80)
                self.assertEqual(answer["error"], "")
                self.assertTrue(self.c[0].ping("host", self.web(family), 1))
                answer = self.c[0].udp("host", self.web(family), 53, size=8000, timeout_ms=5000)
                self.assertEqual(answer["reply"].split("len=")[-1], "8000")
            if family in self.c.outer:
                with self.subTest("workload to the other node", family=family):
                    self.assertTrue(self.c[0].ping("client", underlay(1, family), 1))
                    self.assertTrue(self.c[1].ping("local", underlay(0, family), 1))

    def test_no_answer_from_nobody(self):
        for family in self.families:
            nobody = {4: "10.111.0.200", 6: "fd00:111::dead"}[family]
            self.assertFalse(self.c[0].ping("client", nobody, 1, 1))

    def test_closed_port(self):
        for family in self.families:
            self.assertEqual(self.c[0].tcp("client", self.web(family), 9)["error"], "ECONNREFUSED")
            self.assertEqual(self.c[0].udp("client", self.web(family), 9, connected=True)["error"], "ECONNREFUSED")


class VxlanDual(_Paths, Shared):
    def test_mtu(self):
        _, out, _ = self.c[0].exec("client", "ip", "-j", "link", "show", "eth0")
        self.assertEqual(json.loads(out)[0]["mtu"], 1450)


class VxlanOverV6(_Paths, Shared):
    outer = (6,)

    def test_mtu(self):
        _, out, _ = self.c[0].exec("client", "ip", "-j", "link", "show", "eth0")
        self.assertEqual(json.loads(out)[0]["mtu"], 1430)


class VxlanOverV4(_Paths, Shared):
    outer = (4,)


class DirectDual(_Paths, Shared):
    mode = "direct"

    def test_mtu(self):
        _, out, _ = self.c[0].exec("client", "ip", "-j", "link", "show", "eth0")
        self.assertEqual(json.loads(out)[0]["mtu"], 1500)


class DirectV4(_Paths, Shared):
    mode, outer, families = "direct", (4,), (4,)


class VxlanClsact(_Paths, Shared):
    config = {"datapath": {"attach": "clsact"}}



def denied(answer):
    return answer["error"] in ("TIMEOUT", "CLOSED")


class _Rules:
    """Policies on both sides. Every test removes what it applied."""

    def applied(self, *documents, nodes=None):
        documents = list(documents)
        self.c.apply(documents, nodes)
        for document in documents:
            self.addCleanup(self.c.delete, document["kind"], document["metadata"]["name"], "default", nodes)

    def ask(self, number, name, family, port=80):
        return self.c[number].tcp(name, self.web(family), port, timeout_ms=400)["error"]

    def test_ingress_where_the_receiver_is(self):
        self.applied(policy("web", {"app": "web"}, "default", ingress=[
            {"from": [{"podSelector": {"matchLabels": {"app": "client"}}}], "ports": [{"port": 80}]}]), nodes=[self.c[1]])
        for family in FAMILIES:
            with self.subTest(family=family):
                self.assertEqual(self.ask(0, "client", family), "")
                self.assertEqual(self.ask(0, "client", family, 81), "TIMEOUT")
                self.assertEqual(self.ask(0, "other", family), "TIMEOUT")
        flow = self.c[1].wait_flow(lambda f: f["verdict"] == "DROPPED" and f["source"].get("name") == "other")
        self.assertEqual(flow["destination"]["name"], "web")
        self.assertEqual(flow["drop_reason"]["name"], "POLICY_DENIED")
        seen = self.c[0].wait_flow(lambda f: f["source"].get("name") == "other" and f["destination"].get("name") == "web")
        self.assertEqual(seen["verdict"], "FORWARDED", "the sender's node lets it go: its own policies do not mind")

    def test_egress_where_the_sender_is(self):
        self.applied(policy("client", {"app": "client"}, "default", egress=[
            {"to": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 80}]}], types=["Egress"]))
        for family in FAMILIES:
            with self.subTest(family=family):
                self.assertEqual(self.ask(0, "client", family), "")
                self.assertEqual(self.ask(0, "client", family, 81), "TIMEOUT")
                self.assertEqual(self.ask(0, "other", family, 81), "")
        flow = self.c[0].wait_flow(lambda f: f["verdict"] == "DROPPED" and f["source"].get("name") == "client")
        self.assertEqual(flow["destination"]["name"], "web")

    def test_established_connection_is_cut_and_given_back(self):
        hold = self.c[0].hold("other", 1, self.web(4), 80, timeout_ms=500)
        try:
            self.assertEqual(hold.ping()["replied"], 1)
            document = policy("web", {"app": "web"}, "default", ingress=[])
            self.c.apply(document, [self.c[1]])
            self.assertEqual(hold.ping()["replied"], 0)
            self.c.delete("NetworkPolicy", "web", nodes=[self.c[1]])
            self.assertEqual(self.ask(0, "other", 4), "")
        finally:
            hold.close()

    def test_hosts(self):
        """The own node reaches its workloads always; another node only as an address that a policy names."""
        self.applied(policy("web", {"app": "web"}, "default", ingress=[]), nodes=[self.c[1]])
        for family in FAMILIES:
            with self.subTest(family=family):
                self.assertEqual(self.c[1].tcp("host", self.web(family), 80, timeout_ms=400)["error"], "")
                self.assertEqual(self.c[0].tcp("host", self.web(family), 80, timeout_ms=400)["error"], "TIMEOUT")
        flow = self.c[1].wait_flow(lambda f: f["verdict"] == "DROPPED" and f["source"]["kind"] == "remote" and
                                   not f["source"].get("namespace"))
        self.assertEqual(flow["source"]["name"], "node-0")
        blocks = [{"ipBlock": {"cidr": underlay(0, 4) + "/32"}}, {"ipBlock": {"cidr": underlay(0, 6) + "/128"}}]
        self.c.apply(policy("web", {"app": "web"}, "default", ingress=[{"from": blocks}]), [self.c[1]])
        for family in FAMILIES:
            with self.subTest("named", family=family):
                self.assertEqual(self.c[0].tcp("host", self.web(family), 80, timeout_ms=400)["error"], "")
                self.assertEqual(self.ask(0, "client", family), "TIMEOUT")

    def test_services(self):
        self.applied({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
                      "spec": {"clusterIP": "10.96.0.80", "clusterIPs": ["10.96.0.80", "fd00:96::80"],
                               "selector": {"app": "web"},
                               "ports": [{"name": "http", "protocol": "TCP", "port": 8080, "targetPort": 80},
                                         {"name": "dns", "protocol": "UDP", "port": 5353, "targetPort": 53}]}})
        for address, family in (("10.96.0.80", 4), ("fd00:96::80", 6)):
            for number, where in ((0, "client"), (0, "host"), (1, "local"), (1, "host")):
                with self.subTest(family=family, node=number, where=where):
                    answer = self.c[number].tcp(where, address, 8080, timeout_ms=1000)
                    self.assertEqual((answer["error"], answer["reply"][:4]), ("", "web "))
                    answer = self.c[number].udp(where, address, 5353, timeout_ms=1000)
                    self.assertEqual((answer["error"], answer["reply"][:4]), ("", "web "))
            with self.subTest("packet by packet", family=family):
                # A process outside of the agent's cgroup: no socket hook translates for it.
                netns = self.c[0].workload("client")["netns"]
                done = subprocess.run(["nsenter", f"--net={netns}", harness.BLTEST, "tcp", address, "8080"], capture_output=True,
                                      text=True, timeout=20, check=False)
                self.assertIn("web ", done.stdout)
        flow = self.c[0].wait_flow(lambda f: f.get("service", {}).get("name") == "default/web" and f["source"].get("name") == "client")
        self.assertEqual(flow["destination"]["name"], "web")


LIAR = """
import json, socket, struct, sys
to, web, lies = json.loads(sys.argv[1])
def sum16(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def ip(source, target, payload):
    head = lambda check: struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, 17, check,
                                     socket.inet_aton(source), socket.inet_aton(target))
    return head(sum16(head(0))) + payload
def udp(sport, dport, payload):
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for outer, vni, inner in lies:
    packet = ip(inner, web, udp(7, 53, b"hi"))
    if outer is None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"up0")
        raw.sendto(packet, (to, 0))
    else:
        frame = bytes.fromhex("020000000001" "020000000002" "0800") + packet
        raw.sendto(ip(outer, to, udp(5, 8472, struct.pack("!II", 8 << 24, vni << 8) + frame)), (to, 0))
"""


class VxlanRules(_Rules, Shared):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.c.run(0, "other", labels={"app": "other"})

    def test_sources_that_lie(self):
        """What the tunnel brings must come from the node of its source; what comes beside it must not claim a workload."""
        web, client = self.c[1].address("web"), self.c[0].address("client")
        before = self.drops()
        stranger = "192.0.2.77"
        self.c[0]._ip("addr", "add", f"{stranger}/24", "dev", "up0")
        self.addCleanup(self.c[0]._ip, "addr", "del", f"{stranger}/24", "dev", "up0")
        # (device, outer source or none, VNI, inner source)
        lies = [(stranger, 1, client), (underlay(0, 4), 77, client), (underlay(0, 4), 1, web), (None, 0, client)]
        code, _, err = self.c[0].host("/usr/bin/python3", "-c", LIAR, json.dumps([underlay(1, 4), web, lies]))
        self.assertEqual(code, 0, err)
        harness.wait_for(lambda: self.drops().get("TUNNEL_SOURCE", 0) - before.get("TUNNEL_SOURCE", 0) == 2, 5,
                         "two drops of a foreign tunnel source")
        harness.wait_for(lambda: self.drops().get("INVALID_SOURCE_IP", 0) > before.get("INVALID_SOURCE_IP", 0), 5,
                         "a drop of a local source from the tunnel")

    def drops(self):
        return {row["reason"]: row["count"] for row in self.c[1].api("GET", "/v1/status")["drops"]}


class DirectRules(_Rules, Shared):
    mode = "direct"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.c.run(0, "other", labels={"app": "other"})


class Life(harness.TestCase):
    """Nodes and workloads that come and go."""

    def test_life(self):
        for mode in ("vxlan", "direct"):
            with self.subTest(mode), Cluster(2, mode) as c:
                c.run(1, "web", *harness.serve("web", tcp=[80], udp=[53]), labels={"app": "web"})
                c.run(0, "client", labels={"app": "client"})
                self.restart(c)
                self.reuse(c)
                self.node_goes(c)
                self.cleanup(c)

    def restart(self, c):
        """Connections between nodes outlive both agents."""
        holds = [c[0].hold("client", 5, c[1].address("web", f), 80) for f in FAMILIES]
        for node in c:
            node.stop_agent()
        for hold in holds:
            self.assertEqual(hold.ping()["replied"], 5, "without agents")
        for node in c:
            node.start_agent()
        for hold in holds:
            self.assertEqual(hold.ping()["replied"], 5, "with new agents")
            hold.close()

    def reuse(self, c):
        """An address that passes to another workload brings no permission along, on neither side."""
        c.apply(policy("web", {"app": "web"}, "default", ingress=[
            {"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]))
        address = "10.110.0.77"
        for attempt in range(3):
            good = self.attach(c[0], f"good{attempt}", "good", address, {"app": "client"})
            c.apply(c.pod_object(0, "good", [address], labels={"app": "client"}), [c[1]])
            self.assertEqual(c[0].udp("good", c[1].address("web"), 53, source_port=4000)["error"], "")
            self.assertEqual(c[0].tcp("good", c[1].address("web"), 80, source_port=4001)["error"], "")
            self.detach(c[0], *good)
            bad = self.attach(c[0], f"bad{attempt}", "bad", address, {"app": "other"})
            # The other node hears of both at once.
            c.apply([c.pod_object(0, "good", [], labels={"app": "client"}),
                     c.pod_object(0, "bad", [address], labels={"app": "other"})], [c[1]])
            self.assertEqual(c[0].udp("bad", c[1].address("web"), 53, source_port=4000, timeout_ms=300)["error"], "TIMEOUT")
            self.assertEqual(c[0].tcp("bad", c[1].address("web"), 80, source_port=4001, timeout_ms=300)["error"], "TIMEOUT")
            self.detach(c[0], *bad)
            for name in ("good", "bad"):
                c.delete("Pod", name, nodes=[c[1]])
        c.delete("NetworkPolicy", "web")

    @staticmethod
    def attach(node, container, name, address, labels):
        """A workload with a chosen address, as a runtime makes it."""
        netns = node.make_netns(container)
        config = node.cni_config(args={"cni": {"ips": [address], "labels": [{"key": k, "value": v} for k, v in labels.items()]}})
        code, out, err = node.cni("ADD", container, netns, config=config,
                                  args=f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}")
        if code != 0:
            raise AssertionError(f"{out} {err}")
        return container, netns, config

    @staticmethod
    def detach(node, container, netns, config):
        code, out, err = node.cni("DEL", container, netns, config=config)
        if code != 0:
            raise AssertionError(f"{out} {err}")

    def node_goes(self, c):
        """A node that is deleted has no path; when it returns, with another number and its old address, all is as before."""
        hold = c[0].hold("client", 1, c[1].address("web"), 80, timeout_ms=500)
        self.assertEqual(hold.ping()["replied"], 1)
        c.delete("Node", "node-1", "", nodes=[c[0]])
        self.assertEqual(c[0].api("GET", "/v1/status")["nodes"]["others"], [])
        self.assertEqual(c[0].host("ip", "route", "show", "proto", "190")[1], "")
        self.assertNotEqual(c[0].tcp("client", c[1].address("web"), 80, timeout_ms=300)["error"], "")
        c.apply(c.node_object(1), [c[0]])
        self.assertEqual(c[0].tcp("client", c[1].address("web"), 80)["error"], "")
        self.assertEqual(hold.ping()["replied"], 1, "the connection goes on")
        hold.close()
        # The machine itself dies, and comes back without its connections.
        c[1]._ip("link", "set", "up0", "down")
        self.assertEqual(c[0].tcp("client", c[1].address("web"), 80, timeout_ms=300)["error"], "TIMEOUT")
        c[1]._ip("link", "set", "up0", "up")
        harness.wait_for(lambda: c[0].tcp("client", c[1].address("web"), 80, timeout_ms=500)["error"] == "", 15, "the node's return")

    def cleanup(self, c):
        c[0].stop_agent()
        code, _, err = c[0].cleanup()
        self.assertEqual(code, 0, err)
        self.assertEqual(c[0].host("ip", "route", "show", "proto", "190")[1], "")
        self.assertNotIn("bl_", c[0].host("ip", "-br", "link")[1])



class Ranges(harness.TestCase):
    """The node's own range is what its Node object says, unless the configuration has one."""

    def test_from_the_node_object(self):
        node = harness.Node(config={"network": {"mode": "vxlan"}}, agent=False)
        with node:
            config = node.config_file
            with open(config) as file:
                text = file.read()
            text = "\n".join(line for line in text.splitlines() if "ipv4" not in line and "ipv6" not in line)
            with open(config, "w") as file:
                file.write(text)
            node.start_agent()
            netns = node.make_netns("early")
            code, out, _ = node.cni("ADD", "early", netns)
            self.assertNotEqual(code, 0)
            self.assertIn("podCIDRs", json.dumps(out))
            for attempt, ranges in enumerate((["10.44.0.0/24", "fd44::/64"], ["10.45.0.0/24"])):
                node.apply([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-under-test"},
                             "spec": {"podCIDR": ranges[0], "podCIDRs": ranges}}])

                def in_force(ranges=ranges):
                    addresses = node.api("GET", "/v1/status")["addresses"]
                    return addresses["ipv4"]["range"] == ranges[0]
                harness.wait_for(lambda: self.quietly(in_force), 15, f"ranges {ranges}")
                entry = node.run(f"web{attempt}", "sleep", "600")
                self.assertEqual(entry["addresses"][0].rsplit(".", 1)[0], ranges[0].rsplit(".", 1)[0])

    @staticmethod
    def quietly(what):
        try:
            return what()
        except OSError:
            return False


if __name__ == "__main__":
    harness.main()
