"""The harness itself: what it makes works as the tests assume, and nothing of it stays behind."""
import glob
import json
import os
import signal
import subprocess
import sys
import time

import harness


class WithoutAgent(harness.TestCase):
    def test_host_commands_run_in_the_nodes_namespace_and_cgroup(self):
        with harness.Node(agent=False) as node:
            code, out, _ = node.host("cat", "/proc/self/cgroup")
            self.assertEqual(code, 0)
            self.assertIn(f"0::/beeline/{node.instance}/host", out)
            _, links, _ = node.host("ip", "-j", "link")
            self.assertEqual([link["ifname"] for link in json.loads(links)
                              if link["ifname"] not in ("tunl0", "sit0", "ip6tnl0", "gre0", "erspan0", "gretap0",
                                                        "ip6gre0", "ip6_vti0", "ip_vti0")], ["lo"])
            self.assertTrue(node.ping("host", "127.0.0.1"))
            self.assertTrue(node.ping("host", "::1"))

    def test_outside_is_reached_both_ways(self):
        with harness.Node(outside=True, agent=False) as node:
            node.serve("outside", "world", tcp=[80], udp=[53])
            node.serve("host", "host", tcp=[81])
            for address in (harness.OUTSIDE_V4, harness.OUTSIDE_V6):
                self.assertEqual(node.tcp("host", address, 80)["reply"].split()[0], "world")
                self.assertEqual(node.udp("host", address, 53)["reply"].split()[0], "world")
                self.assertEqual(node.tcp("host", address, 99)["error"], "ECONNREFUSED")
            for address in (harness.NODE_V4, harness.NODE_V6):
                answer = node.tcp("outside", address, 81)
                self.assertEqual(answer["reply"].split()[0], "host")
                self.assertIn(address, answer["peername"])

    def test_server_reports_the_client_that_it_saw(self):
        with harness.Node(outside=True, agent=False) as node:
            node.serve("outside", "world", tcp=[80], udp=[53])
            answer = node.tcp("host", harness.OUTSIDE_V4, 80, size=5000)
            self.assertEqual(answer["reply"], f"world peer={answer['local']} len=5000")
            answer = node.udp("host", harness.OUTSIDE_V6, 53, connected=True, source_port=4242)
            self.assertEqual(answer["reply"], f"world peer=[{harness.NODE_V6}]:4242 len=6")
            self.assertEqual(answer["from"], f"[{harness.OUTSIDE_V6}]:53")
            self.assertEqual(len(node.requests("host", "tcp", harness.OUTSIDE_V4, 80, 10)), 10)
            self.assertEqual(node.tcp("host", harness.OUTSIDE_V4, 80, bulk=500000)["received"], 500000)

    def test_hold_keeps_connections_and_notices_their_end(self):
        with harness.Node(agent=False) as node:
            server = node.serve("host", "srv", tcp=[80])
            hold = node.hold("host", 20, "127.0.0.1", 80)
            self.assertEqual(hold.connected["open"], 20)
            self.assertEqual(hold.ping()["servers"], {"srv": 20})
            server.kill()
            server.wait()
            after = hold.ping()
            self.assertEqual((after["replied"], after["open"]), (0, 0))
            self.assertEqual(sum(after["errors"].values()), 20)
            hold.close()

    def test_teardown_leaves_nothing(self):
        with harness.Node(outside=True, agent=False) as node:
            node.background("host", "sleep", "1000")
            # A grandchild that nobody waits for ends too.
            node.host("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &")
            node.make_netns("pod")
            self.assertEqual(len(harness.namespaces_of(node.instance)), 3)
        self.assertEqual(harness.traces(node.instance), [])
        self.assertFalse(os.path.exists(node.folder))

    def test_leftovers_of_a_crashed_run_are_removed(self):
        script = ("import harness, time\n"
                  "node = harness.Node(outside=True, agent=False).__enter__()\n"
                  "node.background('host', 'sleep', '1000')\n"
                  "print(node.instance, flush=True)\n"
                  "time.sleep(1000)\n")
        child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
                                 cwd=os.path.dirname(os.path.abspath(__file__)))
        instance = child.stdout.readline().strip()
        self.assertTrue(harness.traces(instance))
        # A live run is left alone.
        harness.remove_leftovers()
        self.assertTrue(harness.traces(instance))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        harness.remove_leftovers()
        self.assertEqual(harness.traces(instance), [])
        self.assertEqual(glob.glob(f"/*/beeline-test-{instance}-*"), [])

    def test_wait_for_tells_what_did_not_happen(self):
        begin = time.monotonic()
        with self.assertRaisesRegex(AssertionError, "the moon did not come true"):
            harness.wait_for(lambda: False, timeout=0.2, what="the moon")
        self.assertLess(time.monotonic() - begin, 2)


class WithAgent(harness.TestCase):
    def test_workloads_talk_and_are_seen(self):
        with harness.Node(outside=True) as node:
            node.run("web", *harness.serve("web", tcp=[80], udp=[53]), namespace="shop", labels={"app": "web"},
                     ports={"http": 80})
            node.run("client", namespace="shop", labels={"app": "client"})
            for family in (4, 6):
                answer = node.tcp("shop/client", node.address("shop/web", family), 80)
                self.assertEqual(answer["error"], "")
                self.assertIn(node.address("shop/client", family), answer["reply"])
            self.assertTrue(node.ping("shop/client", node.address("shop/web")))
            _, out, _ = node.exec("shop/client", "cat", "/proc/self/cgroup")
            self.assertIn(f"/beeline/{node.instance}/workloads/", out)
            flow = node.wait_flow(lambda f: f.get("destination", {}).get("port") == 80, protocol="TCP")
            self.assertEqual((flow["source"]["name"], flow["destination"]["name"]), ("client", "web"))
            node.restart_agent()
            self.assertEqual(node.tcp("shop/client", node.address("shop/web"), 80)["error"], "")
            node.workloads()
            node.kill_agent()
            self.assertEqual(node.tcp("shop/client", node.address("shop/web"), 80)["error"], "")
            node.start_agent()
            node.stop("shop/client")
        self.assertEqual(harness.traces(node.instance), [])


if __name__ == "__main__":
    harness.main()
