"""The agent ends by SIGTERM or SIGKILL: the datapath goes on, and the next start finds everything."""
import json
import os

import harness
import scene
from scene import FAMILIES, policy, service

VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
STATE_MAPS = ("bl_endpoint", "bl_ipcache", "bl_identity", "bl_policy", "bl_svc", "bl_slot", "bl_backend")


def make_shop(node):
    """A web server behind a Service, a client that may reach it, an intruder that may not."""
    node.run("web", *harness.serve("web", tcp=[80], udp=[53]), namespace="shop", labels={"app": "web"}, ports={"http": 80})
    node.run("client", namespace="shop", labels={"app": "client"})
    node.run("intruder", namespace="shop", labels={"app": "intruder"})
    node.apply([policy("web", {"app": "web"}, ingress=scene.from_pods(app="client")),
                service("web", [VIP[4], VIP[6]], [("http", "TCP", 8080, "http"), ("dns", "UDP", 53, 53)],
                        selector={"app": "web"})])


def maps_of(node):
    return {name: scene.dump(node, name) for name in STATE_MAPS}


def connections(node):
    """The connection table: {ends and protocol: entry}, without the names of services."""
    return {json.dumps(one["key"], sort_keys=True): one["value"]
            for one in node.api("GET", "/v1/maps/bl_ct?limit=100000")["entries"]}


class Workloads:
    """Where to find the workloads while no agent can be asked."""

    def __init__(self, node):
        self.node = node
        self.entries = {f"{one['namespace']}/{one['name']}": one for one in node.workloads()}
        node.workload = self.workload

    def workload(self, name):
        return self.entries[name]

    def forget(self):
        del self.node.workload


class Restart(harness.TestCase):
    def check_traffic(self, node):
        for family in FAMILIES:
            address = node.address("shop/web", family)
            with self.subTest("traffic", family=family, agent=node.agent is not None):
                self.assertEqual(node.tcp("shop/client", address, 80, timeout_ms=5000)["error"], "")
                self.assertEqual(node.tcp("shop/client", VIP[family], 8080, timeout_ms=5000)["error"], "")
                self.assertEqual(node.udp("shop/client", VIP[family], 53, timeout_ms=5000)["error"], "")
                packet = scene.Packets(node).request("shop/client", "tcp", VIP[family], 8080, timeout_ms=5000)
                self.assertEqual(packet["error"], "")
                self.assertEqual(node.tcp("host", address, 80, timeout_ms=5000)["error"], "")
                self.assertEqual(node.tcp("shop/intruder", address, 80, timeout_ms=250)["error"], "TIMEOUT")
                self.assertEqual(node.tcp("shop/intruder", VIP[family], 8080, timeout_ms=250)["error"], "TIMEOUT")

    def down_and_up(self, end):
        with harness.Node() as node:
            make_shop(node)
            holds = [node.hold("shop/client", 25, address, port) for address, port in (
                (node.address("shop/web", 4), 80), (node.address("shop/web", 6), 80), (VIP[4], 8080), (VIP[6], 8080))]
            packet = scene.Packets(node).hold("shop/client", 10, VIP[4], 8080)
            holds.append(packet)
            for hold in holds:
                self.assertEqual(hold.ping()["replied"], hold.connected["open"])
            self.check_traffic(node)
            workloads = {one["name"]: one for one in node.workloads()}
            objects = node.api("GET", "/v1/objects")
            addresses = node.api("GET", "/v1/status")["addresses"]
            maps, table = maps_of(node), connections(node)
            metrics = node.api("GET", "/v1/status")["metrics"]
            drops = {one["reason"]: one["count"] for one in node.api("GET", "/v1/status")["drops"]}
            living = {key: value for key, value in table.items() if value["state"] == "established"}
            self.assertGreaterEqual(len(living), 110)

            known = Workloads(node)
            end(node)
            for hold in holds:
                self.assertEqual(hold.ping()["replied"], hold.connected["open"])
            self.check_traffic(node)
            known.forget()
            node.start_agent()

            for hold in holds:
                self.assertEqual(hold.ping()["replied"], hold.connected["open"])
            self.assertEqual({one["name"]: one for one in node.workloads()}, workloads)
            self.assertEqual(node.api("GET", "/v1/objects"), objects)
            status = node.api("GET", "/v1/status")
            self.assertEqual(status["addresses"], addresses)
            after = maps_of(node)
            for name in STATE_MAPS:
                self.assertEqual(after[name], maps[name], name)
            table = connections(node)
            for key, value in living.items():
                self.assertIn(key, table)
                if "frontend" in value["flags"]:
                    continue
                self.assertEqual(table[key]["state"], "established", key)
                for end_of in (0, 1):
                    self.assertGreater(table[key]["packets"][end_of], value["packets"][end_of], key)
                    self.assertGreater(table[key]["bytes"][end_of], value["bytes"][end_of], key)
            for name, count in metrics.items():
                self.assertGreaterEqual(status["metrics"][name], count, name)
            found = {one["reason"]: one["count"] for one in status["drops"]}
            for reason, count in drops.items():
                # The probes while the agent was down were dropped and counted.
                self.assertGreater(found[reason], count, reason)
            self.check_traffic(node)
            node.run("late", namespace="shop", labels={"app": "client"})
            self.assertNotIn(node.address("shop/late"), [a for one in workloads.values() for a in one["addresses"]])
            self.assertEqual(node.tcp("shop/late", VIP[4], 8080)["error"], "")
            for hold in holds:
                hold.close()

    def test_sigterm(self):
        self.down_and_up(lambda node: self.assertEqual(node.stop_agent(), 0))

    def test_sigkill(self):
        self.down_and_up(lambda node: node.kill_agent())

    def test_changes_while_down_take_effect_at_the_start(self):
        with harness.Node() as node:
            make_shop(node)
            path = node.make_netns("pod")
            self.assertEqual(node.cni("ADD", "pod", path, args="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=pod")[0], 0)
            gone = node.address("shop/pod")
            used = node.api("GET", "/v1/status")["addresses"]["ipv4"]["used"]
            node.kill_agent()
            self.assertEqual(node.cni("DEL", "pod", path)[0], 0)
            with open(os.path.join(node.manifests, "deny.yaml"), "w") as file:
                file.write(json.dumps(policy("deny-all", types=["Ingress"])))
            for name in os.listdir(node.manifests):
                if name.startswith("networkpolicy."):
                    os.remove(os.path.join(node.manifests, name))
            node.start_agent()
            node.wait_for(lambda: "pod" not in [one["name"] for one in node.workloads()], what="the workload to go")
            self.assertEqual(node.api("GET", "/v1/status")["addresses"]["ipv4"]["used"], used - 1)
            self.assertNotIn(gone, "".join(scene.dump(node, "bl_endpoint")))
            self.assertEqual(node.tcp("shop/client", node.address("shop/web"), 80, timeout_ms=250)["error"], "TIMEOUT")

    def test_changed_settings_are_taken_over(self):
        """Whatever changes in the configuration, a restart keeps connections, verdicts and workloads."""
        with harness.Node() as node:
            make_shop(node)
            holds = [node.hold("shop/client", 20, node.address("shop/web", family), 80) for family in FAMILIES]
            with open(node.config_file) as file:
                base = file.read()
            for section, member, value in (
                    ("conntrack", "maxEntries", 2048), ("conntrack", "maxEntries", 200000), ("flows", "ringBytes", 1 << 20),
                    ("conntrack", "timeoutSeconds", {"replied": 7}), ("services", "socketHooks", False),
                    ("datapath", "attach", "clsact"), ("datapath", "attach", "tcx")):
                with self.subTest(**{member: value}):
                    config = harness.yaml.safe_load(base)
                    config.setdefault(section, {})[member] = value
                    with open(node.config_file, "w") as file:
                        harness.yaml.safe_dump(config, file)
                    self.assertEqual(node.stop_agent(), 0)
                    node.start_agent()
                    if member == "maxEntries":
                        maps = {one["name"]: one for one in node.api("GET", "/v1/status")["maps"]}
                        self.assertEqual(maps["bl_ct"]["max_entries"], value)
                    if member == "attach":
                        # Links of tcx would go before the programs of clsact.
                        links = os.listdir(f"/sys/fs/bpf/beeline/{node.instance}/links")
                        self.assertEqual(len([link for link in links if "_pod" in link]), 6 if value == "tcx" else 0)
                    for hold in holds:
                        self.assertEqual(hold.ping()["replied"], 20)
                    web = node.address("shop/web")
                    self.assertEqual(node.tcp("shop/client", VIP[4], 8080)["error"], "")
                    self.assertEqual(node.tcp("shop/intruder", web, 80, timeout_ms=250)["error"], "TIMEOUT")
                    before = scene.last_number(node)
                    self.assertEqual(node.tcp("shop/client", web, 80)["error"], "")
                    node.wait_flow(lambda f: f["number"] > before and f["kind"] == "closed", port=80)
            for hold in holds:
                hold.close()

    def test_one_agent_per_instance(self):
        with harness.Node() as node:
            command = [os.path.join(harness.BIN, "beelined"), "--config", node.config_file, "--instance", node.instance]
            code, _, err = node.host(*command)
            self.assertEqual(code, 1)
            self.assertIn("another beelined runs", err)
            code, _, err = node.host(*command, "--cleanup")
            self.assertEqual(code, 1)
            self.assertIn("stop it before --cleanup", err)
            node.api("GET", "/v1/status")

    def test_cleanup_leaves_nothing(self):
        for how in ("stop_agent", "kill_agent"):
            with self.subTest(how), harness.Node() as node:
                make_shop(node)
                self.assertEqual(node.tcp("shop/client", VIP[4], 8080)["error"], "")
                self.assertIn("beeline", node.host("nft", "list", "tables")[1])
                getattr(node, how)()
                # Not from within the node's cgroup, which is about to be removed.
                code, out, err = node._finish([os.path.join(harness.BIN, "beelined"), "--config", node.config_file,
                                               "--instance", node.instance, "--cleanup"], node.netns_path)
                self.assertEqual(code, 0, (out, err))
                self.assertEqual([f for f in harness.folders_of(node.instance) if os.path.exists(f)], [])
                self.assertFalse(os.path.exists(node.cgroup))
                links = json.loads(node._ip("-j", "link").stdout)
                self.assertEqual([link["ifname"] for link in links if link["ifname"].startswith("bl")], [])
                code, out, _ = node._finish(["nft", "list", "tables"], node.netns_path)
                self.assertEqual((code, out), (0, ""))
                with open("/proc/self/mountinfo") as file:
                    self.assertNotIn(f"/beeline/{node.instance}/", file.read())
                # Again, with nothing there: no error.
                code, out, err = node._finish([os.path.join(harness.BIN, "beelined"), "--instance", node.instance,
                                               "--cleanup"], node.netns_path)
                self.assertEqual(code, 0, (out, err))


if __name__ == "__main__":
    harness.main()
