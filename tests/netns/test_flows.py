"""What `beeline flows` and the API tell of connections: names, processes, rules, reasons, counters, filters, losses."""
import json
import os
import signal

import harness
import scene
from scene import policy, service

VIP = "10.96.0.10"
BINARY = os.path.realpath(harness.BLTEST)


class Flows(scene.SharedNode):
    options = {"outside": True}

    @classmethod
    def prepare(cls):
        node = cls.node
        node.run("web", *harness.serve("web", tcp=[80], udp=[53]), namespace="shop", labels={"app": "web", "tier": "front"},
                 ports={"http": 80})
        node.run("client", namespace="shop", labels={"app": "client"})
        node.run("client", namespace="blog", labels={"app": "reader"})
        node.serve("outside", "world", tcp=[80])

    def setUp(self):
        self.mark = scene.last_number(self.node)

    def new(self, **filters):
        return [f for f in self.node.flows(**filters) if f.get("number", 0) > self.mark]

    def wait_new(self, predicate, **filters):
        return self.node.wait_flow(lambda f: f.get("number", 0) > self.mark and predicate(f), **filters)

    def check_end(self, end, workload, port=None, process=True):
        entry = self.node.workload(workload)
        self.assertEqual((end["kind"], end["namespace"], end["name"]), ("workload", entry["namespace"], entry["name"]))
        self.assertEqual((end["labels"], end["identity"]), (entry["labels"], entry["identity"]))
        self.assertIn(end["address"], entry["addresses"])
        if port is not None:
            self.assertEqual(end["port"], port)
        if process:
            self.assertEqual(os.path.realpath(end["process"]["binary"]), BINARY)
            self.assertEqual((end["process"]["comm"], end["process"]["uid"]), ("bltest", 0))

    # --- what a flow tells --------------------------------------------------------------------------------------------

    def test_life_of_a_connection(self):
        self.node.apply([policy("web", {"app": "web"}, ingress=[{"ports": [{"port": 80}]}]),
                         policy("client", {"app": "client"}, types=["Egress"], egress=[{}])])
        for family in scene.FAMILIES:
            with self.subTest(family=family):
                self.mark = scene.last_number(self.node)
                hold = self.node.hold("shop/client", 1, self.node.address("shop/web", family), 80)
                for _ in range(3):
                    self.assertEqual(hold.ping()["replied"], 1)
                opened = self.wait_new(lambda f: f["kind"] == "opened", port=80)
                replied = self.wait_new(lambda f: f["kind"] == "replied", port=80)
                pid = hold.child.pid  # nsenter has become the client
                hold.close()
                closed = self.wait_new(lambda f: f["kind"] == "closed", port=80)
                for flow in (opened, replied, closed):
                    self.assertEqual((flow["verdict"], flow["protocol"], flow["node"]), ("FORWARDED", "TCP", "node-under-test"))
                    self.check_end(flow["source"], "shop/client")
                    self.assertEqual(flow["source"]["process"]["pid"], pid)
                    self.check_end(flow["destination"], "shop/web", 80, process=flow is not opened)
                    self.assertEqual(flow["ingress_rule"], "NetworkPolicy shop/web ingress[0]")
                    self.assertEqual(flow["egress_rule"], "NetworkPolicy shop/client egress[0]")
                    self.assertNotIn("drop_reason", flow)
                    self.assertEqual(flow["source"]["port"], opened["source"]["port"])
                self.assertLess(opened["time"], replied["time"])
                self.assertLess(replied["time"], closed["time"])
                self.assertEqual(replied["destination"]["process"]["pid"], self.node.workload("shop/web")["pid"])
                self.assertEqual(opened["tcp_flags"], ["SYN"])
                self.assertEqual(set(replied["tcp_flags"]), {"SYN", "ACK"})
                self.assertLessEqual({"SYN", "ACK", "FIN"}, set(closed["tcp_flags"]))
                # Three requests of six bytes, each with an answer, and the handshake.
                self.assertGreaterEqual(closed["packets"]["source"], 5)
                self.assertGreaterEqual(closed["packets"]["destination"], 4)
                header = 52 if family == 4 else 72
                self.assertGreaterEqual(closed["bytes"]["source"], 3 * (6 + header) + header + 8)
                self.assertLess(closed["bytes"]["source"], 3 * 6 + closed["packets"]["source"] * (header + 8) + 1)
                self.assertGreaterEqual(closed["bytes"]["destination"], 3 * (25 + header))
                self.assertIn("duration_ms", closed)

    def test_bulk_is_counted(self):
        size = 1000000
        self.assertEqual(self.node.tcp("blog/client", self.node.address("shop/web"), 80, bulk=size, timeout_ms=15000)["received"], size)
        closed = self.wait_new(lambda f: f["kind"] == "closed", pod="blog/client")
        self.assertGreater(closed["bytes"]["destination"], size)
        self.assertLess(closed["bytes"]["source"], size)

    def test_denied_connection(self):
        self.node.apply([policy("deny", {"app": "web"}, types=["Ingress"]),
                         policy("too", {"tier": "front"}, ingress=[{"ports": [{"port": 81}]}])])
        answer = self.node.tcp("blog/client", self.node.address("shop/web"), 80, timeout_ms=300)
        self.assertEqual(answer["error"], "TIMEOUT")
        flow = self.wait_new(lambda f: f["kind"] == "dropped", verdict="dropped")
        self.assertEqual(flow["verdict"], "DROPPED")
        self.check_end(flow["source"], "blog/client")
        self.check_end(flow["destination"], "shop/web", 80, process=False)
        self.assertEqual(flow["drop_reason"], {"code": 133, "name": "POLICY_DENIED", "text": "Policy denied"})
        self.assertEqual(flow["denied_direction"], "ingress")
        self.assertEqual(flow["denied_by"], ["NetworkPolicy shop/deny", "NetworkPolicy shop/too"])
        out = self.node.cli_ok("flows", "--verdict", "dropped", "--pod", "blog/client", "--last", "1")
        for word in ("blog/client", "shop/web", "TCP:80", "DROPPED", "Policy denied (ingress)", "NetworkPolicy shop/deny"):
            self.assertIn(word, out)
        self.assertNotIn("\033", out)
        colored = self.node.cli_ok("flows", "--color", "always", "--verdict", "dropped", "--pod", "blog/client", "--last", "1")
        self.assertEqual(colored.replace("\033[31m", "").replace("\033[0m", ""), out)
        self.assertNotEqual(colored, out)
        code, _, err = self.node.cli("flows", "--color", "blue")
        self.assertEqual(code, 2)
        self.assertIn("'blue' is not one of auto|always|never", err)
        for words, part in ((["--status", "5x"], "parameter 'status'"), (["--protocol", "htp"], "parameter 'protocol'")):
            code, _, err = self.node.cli("flows", *words)
            self.assertEqual(code, 2)
            self.assertIn(part, err)
        self.assertEqual(self.node.flows(l7=1), [])

    def test_service_is_named_on_both_paths(self):
        self.node.apply([service("web", VIP, [("http", "TCP", 8080, "http")], selector={"app": "web"})])
        for path in scene.paths(self.node):
            with self.subTest(path=path.name):
                self.mark = scene.last_number(self.node)
                self.assertEqual(path.request("shop/client", "tcp", VIP, 8080)["error"], "")
                for kind in ("opened", "closed"):
                    flow = self.wait_new(lambda f: f["kind"] == kind, port=8080)
                    self.assertEqual(flow["service"], {"name": "shop/web", "address": VIP, "port": 8080})
                    self.check_end(flow["source"], "shop/client", process=False)
                    self.check_end(flow["destination"], "shop/web", 80, process=False)
                self.assertIn("shop/web:8080", self.node.cli_ok("flows", "--port", "8080", "--last", "1"))

    def test_host_and_outside(self):
        self.assertEqual(self.node.tcp("host", self.node.address("shop/web"), 80)["error"], "")
        flow = self.wait_new(lambda f: f["kind"] == "closed", port=80)
        self.assertEqual((flow["source"]["kind"], flow["source"]["identity"]), ("host", 1))
        self.assertEqual(flow["source"]["process"]["comm"], "bltest")
        self.assertEqual(self.node.tcp("shop/client", harness.OUTSIDE_V4, 80)["error"], "")
        flow = self.wait_new(lambda f: f["kind"] == "closed" and f["destination"]["address"] == harness.OUTSIDE_V4)
        self.assertEqual((flow["destination"]["kind"], flow["destination"]["identity"]), ("world", 2))
        self.assertNotIn("process", flow["destination"])
        self.assertEqual(self.node.tcp("outside", self.node.address("shop/web"), 80)["error"], "")
        flow = self.wait_new(lambda f: f["kind"] == "closed" and f["source"]["kind"] == "world")
        self.assertEqual(flow["source"]["address"], harness.OUTSIDE_V4)

    def test_icmp(self):
        for family, protocol, echo in ((4, "ICMP", 8), (6, "ICMPv6", 128)):
            with self.subTest(protocol):
                self.assertTrue(self.node.ping("shop/client", self.node.address("shop/web", family)))
                flow = self.wait_new(lambda f: f["kind"] == "replied", protocol=protocol.lower())
                self.assertEqual(flow["protocol"].lower(), protocol.lower())
                self.assertEqual(flow["source"]["process"]["comm"], "ping")
                opened = self.wait_new(lambda f: f["kind"] == "opened", protocol=protocol.lower())
                self.assertEqual(opened["icmp"], {"type": echo, "code": 0})

    # --- asking -------------------------------------------------------------------------------------------------------

    def test_filters(self):
        web, now = self.node.address("shop/web"), None
        self.assertEqual(self.node.tcp("shop/client", web, 80)["error"], "")
        self.assertEqual(self.node.udp("blog/client", web, 53)["error"], "")
        self.wait_new(lambda f: f["kind"] == "replied", protocol="udp", pod="blog/client")
        self.wait_new(lambda f: f["kind"] == "closed", protocol="tcp", pod="shop/client")
        self.node.apply([policy("deny", {"app": "client"}, namespace="shop", types=["Ingress"])])
        self.node.tcp("shop/web", self.node.address("shop/client"), 99, timeout_ms=200)
        dropped = self.wait_new(lambda f: True, verdict="dropped")

        def names(**filters):
            return {(f["source"]["name"], f["source"]["namespace"], f["protocol"]) for f in self.new(**filters)}
        tcp, udp, drop = ("client", "shop", "TCP"), ("client", "blog", "UDP"), ("web", "shop", "TCP")
        for filters, wanted in (
                ({}, {tcp, udp, drop}),
                ({"pod": "shop/client"}, {tcp, drop}), ({"pod": "blog/"}, {udp}), ({"pod": "client"}, {tcp, udp, drop}),
                ({"pod": ["blog/client", "shop/client"]}, {tcp, udp, drop}), ({"pod": "shop/nobody"}, set()),
                ({"to_pod": "shop/client"}, {drop}), ({"to_pod": "shop/web"}, {tcp, udp}),
                ({"pod": "blog/client", "to_pod": "shop/client"}, set()),
                ({"verdict": "dropped"}, {drop}), ({"verdict": "forwarded"}, {tcp, udp}),
                ({"protocol": "udp"}, {udp}), ({"protocol": ["udp", "tcp"]}, {tcp, udp, drop}), ({"protocol": "sctp"}, set()),
                ({"port": 80}, {tcp}), ({"port": [53, 99]}, {udp, drop}),
                ({"since": "10m"}, {tcp, udp, drop}), ({"since": dropped["time"]}, {drop})):
            with self.subTest(filters=filters):
                self.assertEqual(names(**filters), wanted)
                # The command line says the same.
                words = [word for key, values in filters.items() for value in (values if isinstance(values, list) else [values])
                         for word in (f"--{key.replace('_', '-')}", value)]
                lines = self.node.cli_ok("flows", *words, "--last", "1000", "-o", "jsonl").splitlines()
                found = [json.loads(line) for line in lines]
                self.assertEqual([f for f in found if f["number"] > self.mark], self.new(**filters))
        for count in (1, 3):
            self.assertEqual(self.node.flows(last=count), self.node.flows()[-count:])

    def test_output_formats(self):
        self.assertEqual(self.node.tcp("shop/client", self.node.address("shop/web"), 80)["error"], "")
        self.wait_new(lambda f: f["kind"] == "closed", port=80)
        stored = self.new()
        lines = self.node.cli_ok("flows", "--last", len(stored), "-o", "jsonl").splitlines()
        self.assertEqual([json.loads(line) for line in lines], stored)
        self.assertEqual(json.loads(self.node.cli_ok("flows", "--last", len(stored), "-o", "json")), stored)
        table = self.node.cli_ok("flows", "--last", len(stored)).splitlines()
        self.assertEqual(len(table), len(stored))
        for line, flow in zip(table, stored):
            for word in ("shop/client", "shop/web", "TCP:80", "FORWARDED", flow["kind"]):
                self.assertIn(word, line)
        wide = self.node.cli_ok("flows", "--last", "1", "-o", "wide")
        self.assertIn(stored[-1]["time"], wide)
        self.assertIn(stored[-1]["interface"], wide)

    def test_follow(self):
        self.assertEqual(self.node.tcp("shop/client", self.node.address("shop/web"), 80)["error"], "")
        self.wait_new(lambda f: f["kind"] == "closed", port=80)
        # The time-out only ends a reading that would hang.
        follow = self.node.background("host", "timeout", "20", os.path.join(harness.BIN, "beeline"), "flows", "--follow",
                                      "--last", "1", "--pod", "shop/client", "-o", "jsonl")
        first = json.loads(follow.stdout.readline())
        self.assertEqual(first["kind"], "closed")
        self.assertEqual(self.node.tcp("blog/client", self.node.address("shop/web"), 80)["error"], "")
        self.assertEqual(self.node.udp("shop/client", self.node.address("shop/web"), 53)["error"], "")
        live = [json.loads(follow.stdout.readline()) for _ in range(2)]
        self.assertEqual([(f["kind"], f["protocol"], f["source"]["namespace"]) for f in live],
                         [("opened", "UDP", "shop"), ("replied", "UDP", "shop")])
        self.assertGreater(live[0]["number"], first["number"])
        follow.terminate()


class Losses(harness.TestCase):
    def test_losses_are_shown(self):
        with harness.Node(config={"flows": {"ringBytes": 4096, "memory": 1024}}) as node:
            node.run("web", *harness.serve("web", tcp=[80], udp=[53]))
            node.run("client")
            address = node.address("web")
            self.assertEqual(node.tcp("client", address, 80)["error"], "")
            self.assertEqual(node.api("GET", "/v1/status")["losses"]["ring"], 0)
            flood = node.hold("client", 100, address, 53, udp=True, timeout_ms=5000)
            # Nobody reads the ring meanwhile.
            node.agent.send_signal(signal.SIGSTOP)
            try:
                self.assertEqual(flood.ping()["replied"], 100)
            finally:
                node.agent.send_signal(signal.SIGCONT)
            self.assertEqual(node.tcp("client", address, 80)["error"], "")
            lost = node.wait_flow(lambda f: f["kind"] == "lost")
            self.assertEqual(lost["lost"]["where"], "ring")
            self.assertGreater(lost["lost"]["count"], 0)
            self.assertIn("time", lost)
            status = node.api("GET", "/v1/status")
            self.assertGreaterEqual(status["losses"]["ring"], lost["lost"]["count"])
            self.assertEqual(status["losses"]["ring"], status["metrics"]["flow_lost"])
            # Every event was either stored or counted as lost.
            told = [f for f in node.flows() if f["kind"] != "lost"]
            self.assertGreaterEqual(len(told) + status["metrics"]["flow_lost"], 200)
            self.assertRegex(node.cli_ok("flows", "--last", "1000"), r"LOST \d+ flows")
            self.assertIn(str(status["losses"]["ring"]), node.cli_ok("status"))
            # The memory is bounded: the oldest go.
            for _ in range(6):
                node.requests("client", "tcp", address, 80, 100)
            stored = node.api("GET", "/v1/status")["flows"]
            self.assertLessEqual(stored["stored"], 1024)
            self.assertEqual(stored["capacity"], 1024)
            flood.close()


if __name__ == "__main__":
    harness.main()
