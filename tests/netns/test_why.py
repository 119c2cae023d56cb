"""`beeline why`: one answer for each way in which two workloads do not reach each other, and changes that do help."""
import harness
import scene
from scene import from_pods, namespace, policy, service

VIP = "10.96.0.20"


class Why(scene.SharedNode):
    options = {"outside": True}

    @classmethod
    def prepare(cls):
        node = cls.node
        node.run("web", *harness.serve("web", tcp=[80, 81]), namespace="shop", labels={"app": "web"}, ports={"http": 80})
        node.run("client", namespace="shop", labels={"app": "client"})
        node.run("reader", namespace="blog", labels={"app": "reader"})

    def why(self, source, destination, port=None, **parameters):
        query = f"/v1/why?source={source}&destination={destination}"
        if port is not None:
            parameters["port"] = port
        return self.node.api("GET", query + "".join(f"&{key}={value}" for key, value in parameters.items()))

    def seen(self, what, *question):
        """The answer once a flow of the question has been read."""
        def answer():
            found = self.why(*question)
            return found if found["flows"][what] >= 1 else None
        return harness.wait_for(answer, 10, f"a flow {what}")

    def reaches(self, source, destination, port):
        return self.node.tcp(source, self.node.address(destination), port, timeout_ms=400)["error"] == ""

    def text(self, *words):
        return self.node.cli_ok("why", *words)

    # --- each way in which it does not work -----------------------------------------------------------------------------

    def test_allowed(self):
        self.assertTrue(self.reaches("shop/client", "shop/web", 80))
        answer = self.seen("opened", "shop/client", "shop/web", 80)
        self.assertEqual(answer["verdict"], "allowed")
        self.assertTrue(answer["listening"]["open"])
        self.assertTrue(answer["policy"]["kernel"]["allowed"])
        self.assertEqual(answer["source"]["labels"]["app"], "client")
        out = self.text("shop/client", "shop/web", "80")
        self.assertTrue(out.startswith("ALLOWED  shop/client -> shop/web  TCP:80\n"), out)
        self.assertNotIn("\033", out)
        # The port that the workload names is the one that is meant.
        self.assertEqual(self.why("shop/client", "shop/web")["port"], 80)

    def test_connections_of_the_table(self):
        hold = self.node.hold("shop/client", 1, self.node.address("shop/web"), 80)
        self.assertEqual(hold.ping()["replied"], 1)
        found = self.why("shop/client", "shop/web", 80)["connections"]
        self.assertTrue(any(one["value"]["state"] == "established" for one in found), found)
        self.assertIn("established", self.text("shop/client", "shop/web", "80"))
        hold.close()

    def test_default_deny(self):
        self.node.apply([policy("deny", types=["Ingress"])])
        self.assertFalse(self.reaches("shop/client", "shop/web", 80))
        answer = self.seen("dropped", "shop/client", "shop/web", 80)
        self.assertEqual(answer["verdict"], "denied")
        ingress = answer["policy"]["ingress"]
        self.assertEqual(ingress["policies"], ["NetworkPolicy shop/deny"])
        self.assertNotIn("nearest", ingress)
        self.assertIn("POLICY_DENIED", answer["flows"]["reasons"])
        self.assertFalse(answer["policy"]["kernel"]["allowed"])
        out = self.text("shop/client", "shop/web", "80")
        for part in ("DENIED", "isolated by NetworkPolicy shop/deny", "a new NetworkPolicy shop/allow-from-client",
                     "POLICY_DENIED", "agrees with the policies"):
            self.assertIn(part, out)
        self.check_change(ingress["changes"][-1], "shop/client", "shop/web", 80)
        self.assertFalse(self.reaches("blog/reader", "shop/web", 80))
        self.assertFalse(self.reaches("shop/client", "shop/web", 81))

    def check_change(self, change, source, destination, port):
        """What the answer proposes is applied as it stands."""
        self.node.apply(change["yaml"])
        self.assertEqual(self.why(source, destination, port)["verdict"], "allowed")
        self.assertTrue(self.reaches(source, destination, port))

    def test_port_that_almost_matches(self):
        self.node.apply([policy("web", {"app": "web"}, ingress=[
            dict(from_pods(app="client")[0], ports=[{"port": 81}])])])
        self.assertFalse(self.reaches("shop/client", "shop/web", 80))
        ingress = self.why("shop/client", "shop/web", 80)["policy"]["ingress"]
        self.assertEqual(ingress["nearest"], {"rule": "NetworkPolicy shop/web ingress[0]", "failed": [
            {"condition": "port", "text": "port TCP 80 is not among TCP 81"}]})
        self.assertEqual(ingress["changes"][0]["text"], "add port TCP 80 to NetworkPolicy shop/web ingress[0]")
        self.check_change(ingress["changes"][0], "shop/client", "shop/web", 80)
        self.assertTrue(self.reaches("shop/client", "shop/web", 81))

    def test_wrong_label(self):
        self.node.apply([policy("web", {"app": "web"}, ingress=from_pods(role="front"))])
        answer = self.why("shop/client", "shop/web", 80)
        failed = answer["policy"]["ingress"]["nearest"]["failed"]
        self.assertEqual(failed, [{"condition": "pod_label",
                                   "text": "shop/client has no label role, the rule wants role=front"}])
        change = answer["policy"]["ingress"]["changes"][0]
        self.assertEqual(change["text"], "give shop/client the label role=front")
        self.check_change(change, "shop/client", "shop/web", 80)

    def test_wrong_namespace(self):
        self.node.apply([namespace("blog", team="red"),
                         policy("web", {"app": "web"}, ingress=[
                             {"from": [{"namespaceSelector": {"matchLabels": {"team": "blue"}}}]}])])
        answer = self.why("blog/reader", "shop/web", 80)
        self.assertEqual(answer["policy"]["ingress"]["nearest"]["failed"][0]["condition"], "namespace_label")
        self.check_change(answer["policy"]["ingress"]["changes"][0], "blog/reader", "shop/web", 80)

    def test_egress_to_the_world(self):
        self.node.apply([policy("client", {"app": "client"}, types=["Egress"], egress=[
            {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}])])
        answer = self.why("shop/client", harness.OUTSIDE_V4, 80)
        self.assertEqual((answer["verdict"], answer["destination"]["kind"]), ("denied", "world"))
        egress = answer["policy"]["egress"]
        self.assertEqual(egress["nearest"]["failed"], [
            {"condition": "cidr", "text": f"{harness.OUTSIDE_V4} is not in 10.0.0.0/8"}])
        self.node.apply(egress["changes"][-1]["yaml"])
        self.assertEqual(self.why("shop/client", harness.OUTSIDE_V4, 80)["verdict"], "allowed")

    def test_service_without_backends(self):
        self.node.apply([service("empty", VIP, [("http", "TCP", 80, 80)], selector={"app": "wbe"})])
        for destination in ("shop/empty", "service/shop/empty", VIP, "empty.shop.svc"):
            with self.subTest(destination=destination):
                answer = self.why("shop/client", destination, 80)
                self.assertEqual(answer["verdict"], "no_backends")
                self.assertEqual(answer["service"]["selected"], [])
        out = self.text("shop/client", "shop/empty")
        self.assertTrue(out.startswith("NO BACKENDS"), out)
        self.assertIn("its selector app=wbe finds no workload", out)
        self.assertEqual(self.why("shop/client", "shop/empty", 443)["verdict"], "no_such_port")

    def test_through_a_service(self):
        self.node.apply([service("front", VIP, [("http", "TCP", 8080, "http")], selector={"app": "web"}),
                         policy("web", {"app": "web"}, types=["Ingress"])])
        answer = self.why("shop/client", "front.shop.svc.cluster.local")
        self.assertEqual((answer["verdict"], answer["port"]), ("denied", 8080))
        self.assertEqual(answer["service"]["backends"], [
            {"address": self.node.address("shop/web"), "port": 80, "workload": "shop/web", "allowed": False,
             "listening": True}])
        self.assertEqual(answer["destination"]["name"], "web")
        self.node.apply(answer["policy"]["ingress"]["changes"][-1]["yaml"])
        self.assertEqual(self.node.tcp("shop/client", VIP, 8080)["error"], "")
        answer = self.seen("opened", "shop/client", VIP, 8080)
        self.assertEqual(answer["verdict"], "allowed")

    def test_nobody_listens(self):
        answer = self.why("shop/client", "shop/web", 8081)
        self.assertEqual(answer["verdict"], "nobody_listens")
        self.assertEqual(answer["listening"], {"open": False, "addresses": []})
        out = self.text("shop/client", "shop/web", "8081")
        self.assertTrue(out.startswith("NOBODY LISTENS"), out)

    def test_backends_differ(self):
        """One of two backends refuses or does not listen: that one is what the answer is about."""
        self.node.run("back-1", *harness.serve("b1", tcp=[80]), namespace="shop", labels={"app": "back", "n": "1"})
        self.node.run("back-2", *harness.serve("b2", tcp=[80]), namespace="shop", labels={"app": "back", "n": "2"})
        self.addCleanup(self.node.stop, "shop/back-1")
        self.addCleanup(self.node.stop, "shop/back-2")
        self.node.apply([service("back", VIP, [("http", "TCP", 80, 80)], selector={"app": "back"})])
        self.assertEqual(self.why("shop/client", VIP, 80)["verdict"], "allowed")
        self.node.apply([policy("two", {"n": "2"}, types=["Ingress"])])
        answer = self.why("shop/client", VIP, 80)
        self.assertEqual(answer["verdict"], "partly_reachable")
        self.assertIn("1 of 2 backends", answer["reason"])
        self.assertEqual(answer["destination"]["name"], "back-2")
        self.assertEqual({one["workload"]: one["allowed"] for one in answer["service"]["backends"]},
                         {"shop/back-1": True, "shop/back-2": False})
        self.assertIn("(denied)", self.text("shop/client", "service/shop/back", "80"))
        self.node.apply(answer["policy"]["ingress"]["changes"][-1]["yaml"])
        self.assertEqual(self.why("shop/client", VIP, 80)["verdict"], "allowed")

    def test_backend_that_does_not_listen(self):
        self.node.run("mute", namespace="shop", labels={"app": "half"})
        self.node.run("loud", *harness.serve("loud", tcp=[80]), namespace="shop", labels={"app": "half"})
        self.addCleanup(self.node.stop, "shop/mute")
        self.addCleanup(self.node.stop, "shop/loud")
        self.node.apply([service("half", VIP, [("http", "TCP", 80, 80)], selector={"app": "half"})])
        answer = self.why("shop/client", "service/shop/half", 80)
        self.assertEqual(answer["verdict"], "partly_reachable")
        self.assertIn("shop/mute", answer["reason"])

    # --- what the kernel drops ------------------------------------------------------------------------------------------

    def kernel_drop(self, reason, source, destination, port, **members):
        """The kernel's drop of the question for `reason`, once it is there."""
        def found():
            drops = self.why(source, destination, port, **members)["kernel_drops"]
            return next((one for one in drops if one["reason"] == reason), None)
        return harness.wait_for(found, 10, f"a drop for {reason}")

    def nft(self, text):
        self.assertEqual(self.node.host("nft", text)[0], 0)

    def test_closed_udp_port(self):
        for _ in range(3):
            self.node.udp("shop/client", self.node.address("shop/web"), 5300, timeout_ms=200)
        drop = self.kernel_drop("NO_SOCKET", "shop/client", "shop/web", 5300, protocol="UDP")
        self.assertEqual((drop["count"], drop["where"], drop["port"]), (3, "shop/web", 5300))
        self.assertNotIn("answer", drop)
        self.assertEqual(drop["source"]["name"], "client")
        self.assertRegex(drop["function"], "udp")
        out = self.text("shop/client", "shop/web", "5300", "--protocol", "udp")
        self.assertTrue(out.startswith("NOBODY LISTENS"), out)
        self.assertIn("kernel drops 3 NO_SOCKET: nobody listens", out)
        status = self.node.api("GET", "/v1/status")["kernel_drops"]
        self.assertGreaterEqual(status["reasons"]["NO_SOCKET"], 3)
        listed = self.node.api("GET", "/v1/kernel-drops?limit=1")["drops"]
        self.assertEqual(len(listed), 1)
        # Another question has none of it.
        self.assertEqual(self.why("shop/client", "shop/web", 5301, protocol="UDP")["kernel_drops"], [])
        self.assertEqual(self.why("blog/reader", "shop/web", 5300, protocol="UDP")["kernel_drops"], [])

    def test_firewall_of_the_host(self):
        self.nft("table inet why { chain f { type filter hook forward priority 0; tcp dport 7001 drop; "
                 "tcp sport 7002 drop; }; }")
        self.addCleanup(self.nft, "delete table inet why")
        self.node.serve("outside", "far", tcp=[7001, 7002])
        for port in (7001, 7002):
            self.assertNotEqual(self.node.tcp("shop/client", harness.OUTSIDE_V4, port, timeout_ms=300)["error"], "")
        drop = self.kernel_drop("NETFILTER_DROP", "shop/client", harness.OUTSIDE_V4, 7001)
        self.assertEqual(drop["where"], "the node")
        self.assertIn("firewall", drop["text"])
        answer = self.why("shop/client", harness.OUTSIDE_V4, 7001)
        self.assertEqual(answer["verdict"], "kernel_drops")
        self.assertIn("NETFILTER_DROP", answer["reason"])
        self.assertTrue(self.text("shop/client", harness.OUTSIDE_V4, "7001").startswith("KERNEL DROPS"))
        # The way back counts as well.
        back = self.kernel_drop("NETFILTER_DROP", "shop/client", harness.OUTSIDE_V4, 7002)
        self.assertTrue(back["answer"])
        self.assertEqual(back["destination"]["name"], "client")

    def test_full_socket_buffer(self):
        script = ("import socket, time\n"
                  "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                  "s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)\n"
                  "s.bind(('0.0.0.0', 5400))\n"
                  "time.sleep(60)\n")
        self.node.background("shop/web", "/usr/bin/python3", "-c", script)
        harness.wait_for(lambda: self.why("shop/client", "shop/web", 5400, protocol="UDP")["listening"]["open"], 10,
                         "the socket")
        scene.python(self.node, "shop/client", "import socket, sys\n"
                     "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                     "for _ in range(50): s.sendto(b'x' * 1000, (sys.argv[1], 5400))\n", self.node.address("shop/web"))
        drop = self.kernel_drop("SOCKET_RCVBUFF", "shop/client", "shop/web", 5400, protocol="UDP")
        self.assertGreater(drop["count"], 10)
        self.assertLess(drop["count"], 50)
        self.assertEqual(self.why("shop/client", "shop/web", 5400, protocol="UDP")["verdict"], "kernel_drops")

    def test_other_nodes_are_not_ours(self):
        """Another agent of this machine has workloads with the same addresses."""
        with harness.Node() as other:
            other.run("web", namespace="shop")
            other.run("client", namespace="shop")
            self.assertEqual(other.address("shop/web"), self.node.address("shop/web"))
            other.udp("shop/client", other.address("shop/web"), 5500, timeout_ms=200)
            harness.wait_for(lambda: other.api("GET", "/v1/kernel-drops")["drops"], 10, "the drop")
            self.assertFalse([one for one in self.node.api("GET", "/v1/kernel-drops?limit=4096")["drops"]
                              if one.get("port") == 5500])

    # --- questions that cannot be answered ------------------------------------------------------------------------------

    def test_bad_questions(self):
        for words, code, part in ((["shop/client", "shop/nobody", "80"], 1, "no workload and no service"),
                                  (["shop/nobody", "shop/web", "80"], 1, "no workload and no service"),
                                  (["shop/client", "shop/reader"], 1, "no workload and no service"),
                                  (["shop/client", "blog/reader"], 2, "which port?"),
                                  (["shop/client", "no.such.name", "80"], 1, "nothing is called"),
                                  (["shop/client", "2001:db8::1", "80", "--protocol", "icmp"], 2, "has no ports"),
                                  (["shop/client"], 2, "DST")):
            with self.subTest(words=words):
                found, out, err = self.node.cli("why", *words)
                self.assertEqual(found, code, err)
                self.assertIn(part, err)
        answer = self.node.cli_json("why", "shop/client", "shop/web", "80")
        self.assertEqual(answer["verdict"], "allowed")


class AfterRestart(harness.TestCase):
    def test_flows_of_the_history(self):
        """Memory is empty after a restart; the history is not."""
        with harness.Node() as node:
            node.run("web", *harness.serve("web", tcp=[80]), namespace="shop")
            node.run("client", namespace="shop")
            node.tcp("shop/client", node.address("shop/web"), 80)
            node.wait_flow(lambda flow: flow["kind"] == "opened" and flow["destination"]["port"] == 80)
            node.restart_agent()
            flows = node.api("GET", "/v1/why?source=shop/client&destination=shop/web&port=80")["flows"]
            self.assertEqual(flows["opened"], 1)
            self.assertEqual(flows["last"][0]["destination"]["name"], "web")


if __name__ == "__main__":
    harness.main()
