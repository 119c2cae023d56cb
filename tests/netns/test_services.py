"""Services with real traffic, translated at the socket and in the packet path alike."""
import time

import harness
import scene
from scene import FAMILIES, service, slice_of

VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
OTHER = {4: "10.96.0.20", 6: "fd00:96::20"}
BOTH = [VIP[4], VIP[6]]


def endpoint(address, port):
    return f"{address}:{port}" if ":" not in address else f"[{address}]:{port}"


class Services(scene.SharedNode):
    options = {"outside": True}

    @classmethod
    def prepare(cls):
        node = cls.node
        # The same port name stands for another number in each backend.
        node.run("one", *harness.serve("one", tcp=[8080], udp=[5353]), namespace="shop", labels={"app": "web"},
                 ports=[("http", "tcp", 8080), ("dns", "udp", 5353)])
        node.run("two", *harness.serve("two", tcp=[8081], udp=[5354]), namespace="shop", labels={"app": "web"},
                 ports=[("http", "tcp", 8081), ("dns", "udp", 5354)])
        node.run("client", namespace="shop", labels={"app": "client"})
        node.serve("outside", "world", tcp=[80], udp=[53])
        node.serve("host", "host", tcp=[90], udp=[91])

    def web(self, **spec):
        spec.setdefault("selector", {"app": "web"})
        spec.setdefault("addresses", BOTH)
        addresses = spec.pop("addresses")
        self.node.apply([service("web", addresses, [("http", "TCP", 80, "http"), ("dns", "UDP", 53, "dns")], **spec)])

    def each(self):
        """Every path with every family."""
        for path in scene.paths(self.node):
            for family in FAMILIES:
                yield path, family

    def servers(self, path, protocol, address, port, count, **options):
        answers = path.requests("shop/client", protocol, address, port, count, **options)
        self.assertEqual([a["error"] for a in answers], [""] * count)
        return {a["reply"].split()[0] for a in answers}

    # --- addresses ----------------------------------------------------------------------------------------------------

    def test_tcp_uses_every_backend(self):
        self.web()
        for path, family in self.each():
            with self.subTest(path=path.name, family=family):
                self.assertEqual(self.servers(path, "tcp", VIP[family], 80, 40), {"one", "two"})
                answer = path.request("shop/client", "tcp", VIP[family], 80)
                self.assertEqual(answer["peername"], endpoint(VIP[family], 80))
                # The backend sees the client itself.
                self.assertIn(f"peer={answer['local']} ", answer["reply"])
                self.assertEqual(path.request("shop/client", "tcp", VIP[family], 80, bulk=300000)["received"], 300000)
        metrics = self.node.api("GET", "/v1/status")["metrics"]
        self.assertGreaterEqual(metrics["svc_translated_sock"], 80)
        self.assertGreaterEqual(metrics["svc_translated_packet"], 80)

    def test_udp_shows_the_service_as_sender(self):
        self.web()
        for path, family in self.each():
            for connected in (True, False):
                with self.subTest(path=path.name, family=family, connected=connected):
                    found = set()
                    for _ in range(16):
                        answer = path.request("shop/client", "udp", VIP[family], 53, connected=connected)
                        self.assertEqual(answer["error"], "")
                        self.assertEqual(answer["from"], endpoint(VIP[family], 53))
                        if connected:
                            self.assertEqual(answer["peername"], endpoint(VIP[family], 53))
                        found.add(answer["reply"].split()[0])
                        if len(found) == 2:
                            break
                    self.assertEqual(found, {"one", "two"})
                    # The datagrams of one socket stay together.
                    self.assertEqual(len(self.servers(path, "udp", VIP[family], 53, 6, connected=connected)), 1)

    def test_single_stack(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                self.web(addresses=VIP[family])
                for path in scene.paths(self.node):
                    self.assertEqual(path.request("shop/client", "tcp", VIP[family], 80)["error"], "")
                    found = path.request("shop/client", "tcp", VIP[10 - family], 80, timeout_ms=300)
                    self.assertNotEqual(found["error"], "")
                self.node.delete("service", "web", "shop")

    def test_mapped_address(self):
        self.web()
        for protocol, port in (("tcp", 80), ("udp", 53)):
            for path in scene.paths(self.node):
                with self.subTest(protocol=protocol, path=path.name):
                    answer = path.request("shop/client", protocol, VIP[4], port, mapped=True)
                    self.assertEqual(answer["error"], "")
                    self.assertIn(answer["reply"].split()[0], ("one", "two"))
                    if protocol == "tcp":
                        self.assertEqual(answer["peername"], endpoint(VIP[4], 80))
                    else:
                        self.assertEqual(answer["from"], endpoint(VIP[4], 53))

    def test_host_process(self):
        self.web()
        for family in FAMILIES:
            with self.subTest(family=family):
                answers = self.node.requests("host", "tcp", VIP[family], 80, 20)
                self.assertEqual({a["error"] for a in answers}, {""})
                self.assertEqual({a["reply"].split()[0] for a in answers}, {"one", "two"})
                self.assertEqual(self.node.udp("host", VIP[family], 53)["from"], endpoint(VIP[family], 53))

    def test_headless_service_is_ignored(self):
        self.web()
        before = scene.dump(self.node, "bl_svc")
        self.node.apply([service("headless", "None", [("http", "TCP", 80, "http")], selector={"app": "web"})])
        self.assertEqual(scene.dump(self.node, "bl_svc"), before)
        self.assertEqual(self.node.tcp("shop/client", VIP[4], 80)["error"], "")

    def test_slice_by_hand(self):
        targets = {"outside": {4: harness.OUTSIDE_V4, 6: harness.OUTSIDE_V6}, "host": {4: harness.NODE_V4, 6: harness.NODE_V6}}
        ports = {"outside": (80, 53, "world"), "host": (90, 91, "host")}
        for place, addresses in targets.items():
            tcp, udp, name = ports[place]
            self.node.apply([service("ext", BOTH, [("http", "TCP", 80, tcp), ("dns", "UDP", 53, udp)])] + [
                slice_of("ext", [addresses[f]], [("http", "TCP", tcp), ("dns", "UDP", udp)], family=f) for f in FAMILIES])
            for path, family in self.each():
                with self.subTest(place=place, path=path.name, family=family):
                    answer = path.request("shop/client", "tcp", VIP[family], 80)
                    self.assertEqual((answer["error"], answer["reply"].split(" ")[0]), ("", name))
                    answer = path.request("shop/client", "udp", VIP[family], 53)
                    self.assertEqual((answer["error"], answer["reply"].split(" ")[0]), ("", name))
                    self.assertEqual(answer["from"], endpoint(VIP[family], 53))

    def test_endpoints_that_are_not_ready_get_nothing(self):
        def apply(ready):
            self.node.apply([service("ext", VIP[4], [("http", "TCP", 80, 8080)]),
                             slice_of("ext", [self.node.address("shop/one")], [("http", "TCP", 8080)], ready=ready)])
        apply(True)
        self.assertEqual(self.node.tcp("shop/client", VIP[4], 80)["error"], "")
        apply(False)
        self.assertEqual(self.node.tcp("shop/client", VIP[4], 80)["error"], "ECONNREFUSED")

    # --- choice -------------------------------------------------------------------------------------------------------

    def test_affinity_sticks(self):
        self.web(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 600}})
        for path, family in self.each():
            with self.subTest(path=path.name, family=family):
                self.assertEqual(len(self.servers(path, "tcp", VIP[family], 80, 30)), 1)

    def test_affinity_ends(self):
        self.web(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 1}})
        for path in scene.paths(self.node):
            with self.subTest(path=path.name):
                found = set()
                for _ in range(12):
                    found |= self.servers(path, "tcp", VIP[4], 80, 1)
                    if len(found) == 2:
                        break
                    time.sleep(1.1)
                self.assertEqual(found, {"one", "two"})

    # --- hairpin ------------------------------------------------------------------------------------------------------

    def test_workload_reaches_itself(self):
        self.node.apply([service("self", BOTH, [("http", "TCP", 80, 8080), ("dns", "UDP", 53, 5353)])] + [
            slice_of("self", [self.node.address("shop/one", f)], [("http", "TCP", 8080), ("dns", "UDP", 5353)], family=f)
            for f in FAMILIES])
        for deny in (False, True):
            if deny:
                self.node.apply([scene.policy("deny-all", types=["Ingress", "Egress"])])
            for path, family in self.each():
                with self.subTest(path=path.name, family=family, deny=deny):
                    answer = path.request("shop/one", "tcp", VIP[family], 80)
                    self.assertEqual(answer["error"], "")
                    self.assertEqual(answer["reply"].split()[0], "one")
                    self.assertEqual(answer["peername"], endpoint(VIP[family], 80))
                    answer = path.request("shop/one", "tcp", VIP[family], 80, bulk=200000)
                    self.assertEqual(answer["received"], 200000)
                    answer = path.request("shop/one", "udp", VIP[family], 53)
                    self.assertEqual((answer["error"], answer["from"]), ("", endpoint(VIP[family], 53)))

    # --- no backend ---------------------------------------------------------------------------------------------------

    def test_no_backend_refuses_at_once(self):
        self.web(selector={"app": "nobody"})
        for path, family in self.each():
            for protocol, port, options in (("tcp", 80, {}), ("udp", 53, {"connected": True})):
                with self.subTest(path=path.name, family=family, protocol=protocol):
                    before = scene.last_number(self.node)
                    answer = path.request("shop/client", protocol, VIP[family], port, timeout_ms=5000, **options)
                    self.assertEqual(answer["error"], "ECONNREFUSED")
                    flow = self.node.wait_flow(lambda f: f.get("number", 0) > before, verdict="dropped", port=port)
                    self.assertEqual(flow["drop_reason"]["name"], "SERVICE_BACKEND_NOT_FOUND")
                    self.assertEqual(flow["destination"]["address"], VIP[family])
        # A backend that comes is used from then on.
        self.web()
        self.assertEqual(self.node.tcp("shop/client", VIP[4], 80)["error"], "")

    def test_deleted_service(self):
        self.web()
        hold = self.node.hold("shop/client", 4, VIP[4], 80)
        self.node.delete("service", "web", "shop")
        self.assertNotEqual(self.node.tcp("shop/client", VIP[4], 80, timeout_ms=300)["error"], "")
        # Who is connected stays so: the backends still live.
        self.assertEqual(hold.ping()["replied"], 4)
        hold.close()


class Vanished(scene.SharedNode):
    """Backends that go without a word: their network goes while the server still holds its sockets."""

    def setUp(self):
        node = self.node
        self.containers = {}
        for name in ("b1", "b2"):
            node.apply([{"apiVersion": "v1", "kind": "Pod",
                         "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}}}])
            self.attach(name)
        node.apply([service("web", BOTH, [("http", "TCP", 80, 8080), ("dns", "UDP", 53, 5353)], selector={"app": "web"})])

    @classmethod
    def prepare(cls):
        cls.node.run("client", namespace="shop", labels={"app": "client"})

    def attach(self, name):
        container = f"{name}-{time.monotonic_ns()}"
        path = self.node.make_netns(container)
        self.node._start(["ip", "link", "set", "lo", "up"], path).wait()
        code, out, err = self.node.cni("ADD", container, path, args=f"K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name}")
        self.assertEqual(code, 0, (out, err))
        server = self.node._start(harness.serve(name, tcp=[8080], udp=[5353]), path, stdout=-1, text=True)
        self.node._children.append(server)
        self.assertEqual(server.stdout.readline(), "ready\n")
        self.containers[name] = (container, path)

    def detach(self, name):
        container, path = self.containers.pop(name)
        # What a runtime that lost a pod does: the interface is gone, then DEL is called.
        self.node._start(["ip", "link", "delete", "eth0"], path).wait()
        self.assertEqual(self.node.cni("DEL", container, path)[0], 0)

    def tearDown(self):
        for name in list(self.containers):
            self.detach(name)
        super().tearDown()

    def test_tcp_is_reset(self):
        holds = [(path, family, path.hold("shop/client", 20, VIP[family], 80, timeout_ms=15000))
                 for path in scene.paths(self.node) for family in FAMILIES]
        shares = []
        for path, family, hold in holds:
            with self.subTest("before", path=path.name, family=family):
                before = hold.ping()
                self.assertEqual(before["replied"], 20)
                self.assertEqual(set(before["servers"]), {"b1", "b2"})
                shares.append(before["servers"])
        self.detach("b1")
        for (path, family, hold), servers in zip(holds, shares):
            with self.subTest("after", path=path.name, family=family):
                after = hold.ping()
                self.assertEqual(after["servers"], {"b2": servers["b2"]})
                self.assertEqual(sum(after["errors"].values()), servers["b1"], after)
                self.assertLessEqual(set(after["errors"]), {"ECONNRESET", "ECONNABORTED", "EPIPE", "CLOSED"})
                self.assertEqual({a["reply"].split()[0] for a in path.requests("shop/client", "tcp", VIP[family], 80, 10)},
                                 {"b2"})
                hold.close()

    def test_udp_moves(self):
        holds = [(path, family, path.hold("shop/client", 20, VIP[family], 53, udp=True, timeout_ms=2000))
                 for path in scene.paths(self.node) for family in FAMILIES]
        for path, family, hold in holds:
            with self.subTest("before", path=path.name, family=family):
                self.assertEqual(set(hold.ping()["servers"]), {"b1", "b2"})
        self.detach("b1")
        for path, family, hold in holds:
            with self.subTest("after", path=path.name, family=family):
                self.assertEqual(hold.ping()["servers"], {"b2": 20})
                hold.close()

    def test_last_backend_gone_refuses(self):
        self.detach("b1")
        self.detach("b2")
        for path in scene.paths(self.node):
            for family in FAMILIES:
                with self.subTest(path=path.name, family=family):
                    self.assertEqual(path.request("shop/client", "tcp", VIP[family], 80)["error"], "ECONNREFUSED")
        self.attach("b1")
        self.assertEqual(self.node.tcp("shop/client", VIP[4], 80)["error"], "")

    def test_affinity_moves(self):
        self.node.apply([service("web", BOTH, [("http", "TCP", 80, 8080), ("dns", "UDP", 53, 5353)], selector={"app": "web"},
                                 sessionAffinity="ClientIP")])
        for path in scene.paths(self.node):
            with self.subTest(path=path.name):
                bound = path.request("shop/client", "tcp", VIP[4], 80)["reply"].split()[0]
                other = {"b1": "b2", "b2": "b1"}[bound]
                self.detach(bound)
                found = {a["reply"].split()[0] for a in path.requests("shop/client", "tcp", VIP[4], 80, 5)}
                self.assertEqual(found, {other})
                self.attach(bound)

    def test_stopped_server_workload(self):
        self.node.run("b3", *harness.serve("b3", tcp=[8080], udp=[5353]), namespace="shop", labels={"app": "third"})
        self.node.apply([service("third", OTHER[4], [("http", "TCP", 80, 8080)], selector={"app": "third"})])
        hold = self.node.hold("shop/client", 5, OTHER[4], 80)
        self.assertEqual(hold.ping()["replied"], 5)
        self.node.stop("shop/b3")
        after = hold.ping()
        self.assertEqual((after["replied"], after["open"], sum(after["errors"].values())), (0, 0, 5))
        self.assertEqual(self.node.tcp("shop/client", OTHER[4], 80)["error"], "ECONNREFUSED")
        hold.close()


if __name__ == "__main__":
    harness.main()
