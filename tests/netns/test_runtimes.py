"""Container runtimes end to end: pods that containerd makes as the kubelet asks it to, and containers of podman, with the CNI
configuration that Beeline ships. Ports of the node, limits, fixed addresses, policies by labels; the agent stopped and
restarted in between; nothing is left at the end.
"""
import json
import time

import harness
import test_containers
import test_cri

MBIT = 1_000_000


def pod_manifest(name, **labels):
    """In the files setting labels come from manifests: the runtime hands none to the plugin."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "prod", "labels": labels},
            "spec": {"containers": [{"name": "app"}]}}


class Runtime:
    """What both runtimes are asked."""

    def from_outside(self, address, port, protocol="tcp"):
        ask = self.node.tcp if protocol == "tcp" else self.node.udp
        return ask("outside", address, port, timeout_ms=2000)

    def answered(self, name, answer):
        self.assertEqual(answer["error"], "", answer)
        self.assertTrue(answer["reply"].startswith(f"{name} "), answer)

    def expect_nothing(self):
        self.assertEqual(self.node.workloads(), [])
        addresses = self.node.api("GET", "/v1/status")["addresses"]
        self.assertEqual((addresses["ipv4"]["used"], addresses["ipv6"]["used"]), (0, 0))
        _, links, _ = self.node.host("ip", "-j", "link")
        self.assertEqual([one["ifname"] for one in json.loads(links) if len(one["ifname"]) == 14], [])
        _, table, _ = self.node.host("nft", "list", "table", "inet", "beeline")
        self.assertNotIn("elements", table)
        endpoints = self.node.cli_json("map", "dump", "bl_endpoint")
        self.assertEqual([one for one in endpoints if one["value"]["id"] != 0], [])
        self.assertEqual(self.node.cli_json("map", "dump", "bl_svc"), [])

    def plugin(self, verb, container="", netns="", **members):
        config = {**self.list["plugins"][0], "cniVersion": "1.1.0", "name": self.list["name"], **members}
        return self.node.cni(verb, container, netns, config=config)


class Containerd(Runtime, test_cri.CriEngine):
    options = {"outside": True}

    def exec(self, container, *words):
        done = self.kubelet.call("ExecSync", container_id=container, cmd=[str(word) for word in words], timeout=30)
        out = done.stdout.decode()
        self.assertTrue(out.strip(), f"{words}: exit code {done.exit_code}: {done.stderr.decode()}")
        return harness.Answer(json.loads(out.splitlines()[-1]))

    def ask(self, container, address, port, protocol="tcp", **options):
        words = [word for key, value in options.items() for word in ("--" + key, value)]
        return self.exec(container, "/bin/bltest", protocol, address, port, "--timeout", 10000, *words)

    def addresses(self, pod):
        network = self.kubelet.call("PodSandboxStatus", pod_sandbox_id=pod).status.network
        return [network.ip, *(one.ip for one in network.additional_ips)]

    def serve(self, name, tcp=(80,), udp=(), **options):
        pod, container = self.run_pod(name, command=["/bin/bltest", *harness.serve(name, tcp, udp)[1:]], **options)
        address = self.node.address(f"prod/{name}")
        harness.wait_for(lambda: self.node.tcp("host", address, tcp[0])["error"] == "", 10, f"{name} listening")
        return pod, container

    def test_pods_from_start_to_end(self):
        self.node.apply([pod_manifest("web", app="web"), pod_manifest("client", app="client"), pod_manifest("other", app="other")])
        web, web_container = self.serve(
            "web", tcp=(80,), udp=(53,), ports=[{"container_port": 80, "host_port": 8080},
                                                {"protocol": 1, "container_port": 53, "host_port": 5353}])
        _, client = self.run_pod("client")
        other_pod, other = self.run_pod("other")
        workload = self.node.workload("prod/web")
        self.assertEqual(workload["labels"], {"app": "web"})
        self.assertEqual(workload["addresses"], self.addresses(web))
        self.assertEqual(workload["container"], web)
        self.assertEqual([(one["port"], one["target"], one["protocol"]) for one in workload["host_ports"]],
                         [(8080, 80, "TCP"), (5353, 53, "UDP")])

        def reached():
            for address in self.addresses(web):
                self.answered("web", self.ask(client, address, 80))
            for address in (harness.NODE_V4, harness.NODE_V6):
                for port, protocol in ((8080, "tcp"), (5353, "udp")):
                    self.answered("web", self.from_outside(address, port, protocol))
                    self.answered("web", self.ask(client, address, port, protocol))
                    self.answered("web", self.ask(web_container, address, port, protocol))
            self.answered("web", self.node.tcp("host", "127.0.0.1", 8080))
        reached()
        self.node.apply([{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                          "metadata": {"name": "web", "namespace": "prod"},
                          "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"],
                                   "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}},
                                                         {"ipBlock": {"cidr": "198.51.100.0/24"}},
                                                         {"ipBlock": {"cidr": "2001:db8:51::/64"}}]}]}}])
        reached()
        self.assertEqual(self.ask(other, self.addresses(web)[0], 80, timeout=1500)["error"], "TIMEOUT")

        # The agent goes and comes back: what there is works on, and nothing new is half made.
        outside = self.node.hold("outside", 3, harness.NODE_V4, 8080)
        self.node.stop_agent()
        reached()
        self.assertEqual(outside.ping()["replied"], 3)
        begin = time.monotonic()
        with self.assertRaises(self.grpc.RpcError) as refused:
            self.kubelet.call("RunPodSandbox", config={"metadata": {"name": "early", "uid": "u", "namespace": "prod"},
                                                       "linux": {"cgroup_parent": f"/{self.cgroups}/kubepods/early"}})
        self.assertIn("not running", refused.exception.details())
        harness.log(f"refused after {time.monotonic() - begin:.1f} s")
        self.remove_pod(other_pod)
        self.node.start_agent()
        self.assertEqual(sorted(one["name"] for one in self.node.workloads()), ["client", "web"])
        reached()
        self.assertEqual(outside.ping()["replied"], 3)

        # A second pod with the same port: the kubelet gets told why.
        with self.assertRaises(self.grpc.RpcError) as refused:
            self.run_pod("thief", ports=[{"container_port": 80, "host_port": 8080}])
        self.assertIn("hostPort *:8080/TCP is taken by workload prod/web", refused.exception.details())

        # Attachments of a runtime that lost its memory.
        self.assertEqual(self.plugin("ADD", "lost", self.node.make_netns("lost"))[0], 0)
        self.assertEqual(self.plugin("STATUS")[0], 0)
        kept = [{"containerID": pod, "ifname": "eth0"} for pod in self.pods]
        code, out, err = self.plugin("GC", **{"cni.dev/valid-attachments": kept})
        self.assertEqual(code, 0, f"{out} {err}")
        self.assertEqual(sorted(one["name"] for one in self.node.workloads()), ["client", "web"])
        reached()
        for pod in list(self.pods):
            self.remove_pod(pod)
        self.expect_nothing()
        self.assertNotEqual(self.from_outside(harness.NODE_V4, 8080)["error"], "")

    def test_bandwidth_annotations(self):
        limits = {"kubernetes.io/egress-bandwidth": "8M"}
        slow, _ = self.serve("slow", annotations=limits)
        _, free = self.serve("free")
        _, small = self.run_pod("small", annotations={"kubernetes.io/ingress-bandwidth": "8M"})
        shown = self.node.workload("prod/slow")["bandwidth"]["egress"]
        self.assertEqual((shown["bits_per_second"], shown["dropped_packets"]), (8 * MBIT, 0))
        # 8 Mbit/s are 1 MB/s.
        for direction, asker, server in (("egress", free, "slow"), ("ingress", small, "free")):
            for address in self.node.workload(f"prod/{server}")["addresses"]:
                answer = self.ask(asker, address, 80, bulk=1_500_000, timeout=20000)
                self.assertEqual((answer["error"], answer["received"]), ("", 1_500_000), answer)
                self.assertGreater(answer["ms"], 500, f"{direction} {answer}")
            limited = self.node.workload("prod/slow" if direction == "egress" else "prod/small")["bandwidth"][direction]
            self.assertGreater(limited["dropped_packets"], 0, limited)
        self.assertGreater(self.node.tcp("host", self.node.address("prod/slow"), 80, bulk=1_500_000, timeout_ms=20000)["ms"], 500)
        flow = self.node.wait_flow(verdict="DROPPED", pod="prod/slow")
        self.assertEqual(flow["drop_reason"]["name"], "DROP_RATE_LIMITED", flow)
        drops = {one["reason"]: one["count"] for one in self.node.api("GET", "/v1/status")["drops"]}
        self.assertGreater(drops["DROP_RATE_LIMITED"], 0)

        # Others are not slowed down, and have no programs more than they had.
        before = self.node.workload("prod/slow")["bandwidth"]["egress"]["dropped_packets"]
        self.assertLess(self.node.tcp("host", self.node.address("prod/free"), 80, bulk=1_500_000)["ms"], 500)
        self.assertNotIn("bandwidth", self.node.workload("prod/free"))

        # In force while the agent is away, with the counters it had when it is back.
        self.node.stop_agent()
        self.assertGreater(self.ask(free, self.addresses(slow)[0], 80, bulk=1_500_000, timeout=20000)["ms"], 500)
        self.node.start_agent()
        self.assertGreater(self.node.workload("prod/slow")["bandwidth"]["egress"]["dropped_packets"], before)
        self.assertGreater(self.ask(free, self.addresses(slow)[0], 80, bulk=1_500_000, timeout=20000)["ms"], 500)
        self.assertEqual(len(self.node.cli_json("map", "dump", "bl_limit")), 2)
        for pod in list(self.pods):
            self.remove_pod(pod)
        self.expect_nothing()
        self.assertEqual(self.node.cli_json("map", "dump", "bl_limit"), [])


class Podman(Runtime, test_containers.PodmanEngine):
    options = {"outside": True}

    def test_containers_from_start_to_end(self):
        self.run_container("-d", "--name", "web", "-p", "8080:80", "-p", f"{harness.NODE_V4}:5353:53/udp", "--ip", "10.88.9.9",
                           "--mac-address", "0a:00:00:00:09:09", test_containers.IMAGE, "/bin/bltest", "serve", "--name", "web",
                           "--tcp", 80, "--udp", 53)
        harness.wait_for(lambda: "ready" in self.podman("logs", "web"), 20, "web listening")
        workload = self.node.workload("default/web")
        self.assertEqual((workload["addresses"][0], workload["mac"]), ("10.88.9.9", "0a:00:00:00:09:09"))

        def reached():
            self.answered("web", self.from_outside(harness.NODE_V4, 8080))
            self.answered("web", self.from_outside(harness.NODE_V4, 5353, "udp"))
            self.answered("web", self.node.tcp("host", "127.0.0.1", 8080))
            self.answered("web", self.node.tcp("host", harness.NODE_V4, 8080))
        reached()
        # Another engine's words for the same failure.
        code, _, err = self.run_container("--rm", "-p", "8080:81", test_containers.IMAGE, "/bin/sh", "-c", "exit 0", ok=False)
        self.assertNotEqual(code, 0)
        self.assertIn("8080/TCP is taken by workload default/web", err)

        outside = self.node.hold("outside", 3, harness.NODE_V4, 8080)
        self.node.stop_agent()
        reached()
        code, _, err = self.run_container("--rm", "--name", "early", test_containers.IMAGE, "/bin/sh", "-c", "exit 0", ok=False)
        self.assertNotEqual(code, 0)
        self.assertIn("not running", err)
        self.node.start_agent()
        self.assertEqual(outside.ping()["replied"], 3)
        reached()
        self.assertEqual([one["name"] for one in self.node.workloads()], ["web"])
        self.podman("restart", "--time", "0", "web")
        harness.wait_for(lambda: self.podman("logs", "web").count("ready") == 2, 20, "web listening again")
        reached()
        self.podman("rm", "--force", "--time", "0", "web")
        self.expect_nothing()


if __name__ == "__main__":
    harness.main()
