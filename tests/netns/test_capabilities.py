"""Capabilities of the CNI plugin: ports of the node, limits, fixed addresses; from everywhere, and over restarts of the agent."""
import json
import time

import harness
from test_cni import CniTestCase, K8S_ARGS, addresses_of, inside

V4, V6 = harness.NODE_V4, harness.NODE_V6


def port(host, target=80, protocol="tcp", **members):
    return {"hostPort": host, "containerPort": target, "protocol": protocol, **members}


class Capabilities(CniTestCase):
    spaces = 0

    @classmethod
    def setUpClass(cls):
        cls.node = harness.Node(outside=True)
        cls.node.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    def tearDown(self):
        for container in self.containers():
            self.ok("DEL", container, "")
        self.assertEqual(self.routes(), [])

    def pod(self, name, **runtime):
        """(netns, result) of a pod with these capabilities."""
        Capabilities.spaces += 1
        netns = self.node.make_netns(f"{name}-{self.spaces}")
        return self.add(name, netns, args=K8S_ARGS.format("shop", name), config=self.config(runtimeConfig=runtime))

    def serving(self, name, *mappings, udp=()):
        netns, result = self.pod(name, portMappings=list(mappings))
        child = self.node._start(harness.serve(name, tcp=[80], udp=udp), netns, stdout=-1, text=True)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        self.assertEqual(child.stdout.readline(), "ready\n")
        return netns, result

    def routes(self):
        """What of the node's ports the firewall leads on."""
        _, out, err = self.node.host("nft", "-j", "list", "table", "inet", "beeline")
        found = []
        for entry in json.loads(out)["nftables"]:
            for pair in entry.get("map", {}).get("elem", []):
                found.append(pair)
        return found

    def ask(self, where, address, number, protocol="tcp", cgroup=None, source=0):
        """The answer of a request from "host", "outside" or a network namespace."""
        words = [harness.BLTEST, protocol, address, str(number), "--timeout", "2000", "--source-port", str(source)]
        if where == "host":
            _, out, err = self.node.host(*words)
        elif where == "outside":
            _, out, err = self.node.outside(*words)
        else:
            _, out, err = self.node._finish(words, where, cgroup)
        self.assertTrue(out, err)
        return harness.Answer(json.loads(out.splitlines()[-1]))

    def answered(self, name, *where, **options):
        answer = self.ask(*where, **options)
        self.assertEqual(answer["error"], "", f"{where}: {answer}")
        self.assertTrue(answer["reply"].startswith(f"{name} "), answer)
        return answer

    def test_host_ports_from_everywhere(self):
        web, _ = self.serving("web", port(8080), port(5353, 53, "udp"), udp=[53])
        client, _ = self.pod("client")
        for address in (V4, V6):
            for number, protocol in ((8080, "tcp"), (5353, "udp")):
                with self.subTest(address=address, protocol=protocol):
                    answer = self.answered("web", "outside", address, number, protocol=protocol)
                    # The workload sees who asks.
                    self.assertIn(harness.OUTSIDE_V4 if address == V4 else harness.OUTSIDE_V6, answer["reply"])
                    self.answered("web", "host", address, number, protocol=protocol)
                    # With and without hooks at the socket: translated there, or packet by packet.
                    for cgroup in (self.node.host_cgroup, None):
                        self.answered("web", client, address, number, protocol=protocol, cgroup=cgroup)
                        self.answered("web", web, address, number, protocol=protocol, cgroup=cgroup)
        for loopback in ("127.0.0.1", "::1"):
            self.answered("web", "host", loopback, 8080)
            # A workload's loopback is its own.
            self.assertEqual(self.ask(client, loopback, 8080, cgroup=self.node.host_cgroup)["error"], "ECONNREFUSED")
        self.assertNotEqual(self.ask("outside", V4, 8081)["error"], "")
        self.ok("DEL", "web", web)
        self.assertNotEqual(self.ask("outside", V4, 8080)["error"], "")
        self.assertNotEqual(self.ask("host", V4, 8080)["error"], "")

    def test_host_address(self):
        self.serving("bound", port(8080, hostIP=V4), port(8081, hostIP="0.0.0.0"), port(8082, hostIP="::"))
        self.answered("bound", "outside", V4, 8080)
        self.answered("bound", "host", V4, 8080)
        self.answered("bound", "outside", V4, 8081)
        self.answered("bound", "outside", V6, 8082)
        for address, number in ((V6, 8080), (V6, 8081), (V4, 8082)):
            self.assertNotEqual(self.ask("outside", address, number)["error"], "", f"{address} {number}")
            self.assertNotEqual(self.ask("host", address, number)["error"], "", f"{address} {number}")

    def test_udp_clients_move_with_the_port(self):
        self.serving("old", port(5353, 53, "udp"), udp=[53])
        self.answered("old", "outside", V4, 5353, protocol="udp", source=40001)
        self.ok("DEL", "old", "")
        self.serving("new", port(5353, 53, "udp"), udp=[53])
        # As a client would: a datagram that met nobody is sent again.
        harness.wait_for(lambda: self.answered("new", "outside", V4, 5353, protocol="udp", source=40001) or True, 10,
                         "the port to lead to the new workload")

    def test_one_port_leads_to_one_workload(self):
        self.pod("first", portMappings=[port(8080), port(8081, hostIP=V4)])
        for wanted in ([port(8080)], [port(8080, 443)], [port(8080, hostIP=V6)], [port(8081)], [port(9), port(8081, hostIP=V4)]):
            refusal = self.refused(100, "ADD", "second", self.node.make_netns(f"second-{time.monotonic_ns()}"),
                                   config=self.config(runtimeConfig={"portMappings": wanted}), names="hostPort")
            self.assertIn("shop/first", refusal["msg"])
            self.expect_nothing_of("second")
        self.pod("second", portMappings=[port(8080, protocol="udp"), port(8081, hostIP=V6), port(8082)])
        self.ok("DEL", "first", "")
        self.pod("third", portMappings=[port(8080), port(8081, hostIP=V4)])

    def test_wrong_capabilities(self):
        netns = self.node.make_netns("wrong")
        mappings = "portMappings"
        for number, names, runtime in (
                (7, "hostPort", {mappings: [port(0)]}), (7, "hostPort", {mappings: [port(65536)]}),
                (7, "containerPort", {mappings: [{"hostPort": 80}]}), (7, "containerPort", {mappings: [port(80, "http")]}),
                (7, "icmp", {mappings: [port(80, protocol="icmp")]}), (7, "hostIP", {mappings: [port(80, hostIP="x")]}),
                (7, "twice", {mappings: [port(80), port(80, 81)]}), (7, mappings, {mappings: {"80": 80}}),
                (7, mappings, {mappings: [80]}), (2, "SCTP", {mappings: [port(80, 81, "sctp")]}),
                (7, mappings, {mappings: [port(i + 1) for i in range(1025)]}),
                (7, "bandwidth", {"bandwidth": 8}), (7, "ingressRate", {"bandwidth": {"ingressRate": 999}}),
                (7, "egressRate", {"bandwidth": {"egressRate": -1}}), (7, "egressRate", {"bandwidth": {"egressRate": "1M"}}),
                (7, "ingressBurst", {"bandwidth": {"ingressRate": 10000, "ingressBurst": 10 ** 16}}),
                (7, "ips", {"ips": ["10.88.300.1"]}), (7, "192.0.2.1", {"ips": ["192.0.2.1"]}),
                (7, "mac", {"mac": "01:00:00:00:00:01"}), (2, "ipRanges", {"ipRanges": [[{"subnet": "10.0.0.0/24"}]]})):
            self.refused(number, "ADD", "wrong", netns, names=names, config=self.config(runtimeConfig=runtime))
            self.expect_nothing_of("wrong", netns)

    def test_fixed_addresses_in_every_form(self):
        forms = {"capability": {"config": self.config(runtimeConfig={"ips": ["10.88.50.1/24", "fd00:88::5001"],
                                                                     "mac": "0a:00:00:00:50:01"})},
                 "args": {"config": self.config(args={"cni": {"ips": ["10.88.50.1"]}}), "args": "MAC=0a:00:00:00:50:01"},
                 "environment": {"args": "IP=10.88.50.1;MAC=0A:00:00:00:50:01"},
                 # The newer form counts.
                 "both": {"config": self.config(runtimeConfig={"ips": ["10.88.50.1"], "mac": "0a:00:00:00:50:01"},
                                                args={"cni": {"ips": ["10.88.50.2"]}}),
                          "args": "IP=10.88.50.3;MAC=0a:00:00:00:50:03"}}
        for name, options in forms.items():
            netns, result = self.add(f"fixed-{name}", **options)
            self.assertEqual(addresses_of(result)[0], "10.88.50.1", name)
            self.assertEqual(self.links(netns)["eth0"]["address"], "0a:00:00:00:50:01", name)
            config = options.get("config") or self.config()
            self.ok("CHECK", f"fixed-{name}", netns, config={**config, "prevResult": result})
            self.refused(101, "CHECK", f"fixed-{name}", netns, names="10.88.50.9",
                         config=self.config(prevResult=result, runtimeConfig={"ips": ["10.88.50.9"]}))
            self.ok("DEL", f"fixed-{name}", netns)

    def test_check_verifies_capabilities(self):
        asked = {"portMappings": [port(8080)], "bandwidth": {"ingressRate": 8_000_000, "ingressBurst": 8_000_000}}
        netns, result = self.pod("checked", **asked)
        self.ok("CHECK", "checked", netns, config=self.config(prevResult=result, runtimeConfig=asked))
        self.ok("CHECK", "checked", netns, config=self.config(prevResult=result))
        for names, other in (("portMappings", {"portMappings": [port(8081)]}),
                             ("bandwidth", {"bandwidth": {"ingressRate": 9_000_000, "ingressBurst": 8_000_000}}),
                             ("MAC", {"mac": "0a:00:00:00:00:07"})):
            self.refused(101, "CHECK", "checked", netns, names=names,
                         config=self.config(prevResult=result, runtimeConfig=other))

    def test_restart_of_the_agent(self):
        web, _ = self.serving("web", port(8080), port(5353, 53, "udp"), udp=[53])
        outside = self.node.hold("outside", 5, V4, 8080)
        host = self.node.hold("host", 5, V6, 8080)
        client, _ = self.pod("client")
        self.assertEqual((outside.connected["open"], host.connected["open"]), (5, 5), outside.connected)
        before = self.routes()

        def everybody():
            for hold in (outside, host):
                self.assertEqual(hold.ping()["replied"], 5)
            self.answered("web", "outside", V4, 8080)
            self.answered("web", "outside", V6, 5353, protocol="udp")
            self.answered("web", "host", "127.0.0.1", 8080)
            self.answered("web", client, V4, 8080)
        everybody()
        self.node.stop_agent()
        everybody()
        self.node.start_agent()
        everybody()
        self.assertEqual(self.routes(), before)
        self.refused(100, "ADD", "thief", self.node.make_netns("thief"), names="8080",
                     config=self.config(runtimeConfig={"portMappings": [port(8080)]}))
        self.node.kill_agent()
        everybody()
        self.node.start_agent()
        everybody()
        # Removed while nobody is there: the port is free when the agent is back.
        self.node.stop_agent()
        self.ok("DEL", "web", web)
        self.node.start_agent()
        self.assertEqual(self.routes(), [])
        self.assertNotEqual(self.ask("outside", V4, 8080)["error"], "")

    def test_policies_see_the_client(self):
        self.serving("guarded", port(8080))
        self.node.apply([{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                          "metadata": {"name": "inside-only", "namespace": "shop"},
                          "spec": {"podSelector": {}, "policyTypes": ["Ingress"],
                                   "ingress": [{"from": [{"ipBlock": {"cidr": "10.88.0.0/16"}}]}]}}])
        self.addCleanup(self.node.delete, "networkpolicy", "inside-only", "shop")
        client, _ = self.pod("client")
        self.answered("guarded", client, V4, 8080)
        self.assertEqual(self.ask("outside", V4, 8080)["error"], "TIMEOUT")
        flow = self.node.wait_flow(verdict="DROPPED", to_pod="shop/guarded")
        self.assertEqual(flow["source"]["address"], harness.OUTSIDE_V4, flow)


if __name__ == "__main__":
    harness.main()
