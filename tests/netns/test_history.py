"""The flow history: flows and edges outlive the agent, damage and a full disk are said and do no harm."""
import glob
import os
import subprocess

import harness


class History(harness.TestCase):
    def database(self, node):
        return node.api("GET", "/v1/status")["history"]["path"]

    def connect(self, node, count=1):
        address = node.address("shop/web")
        for _ in range(count):
            self.assertEqual(node.tcp("shop/client", address, 80)["error"], "")

    def pods(self, node):
        node.run("web", *harness.serve("web", tcp=[80]), namespace="shop", labels={"app": "web"})
        node.run("client", namespace="shop", labels={"app": "client"})

    def written(self, node):
        def done():
            history = node.api("GET", "/v1/status")["history"]
            assert history["behind"] == 0, history
            return history
        return harness.wait_for(done, 20, "the history to be written")

    def test_flows_outlive_the_agent(self):
        with harness.Node() as node:
            self.pods(node)
            self.connect(node, 3)
            node.wait_flow(lambda f: f["kind"] == "closed")
            self.written(node)
            before = node.api("GET", "/v1/flows")
            self.assertGreaterEqual(len(before), 6)
            for restart in (node.restart_agent, lambda: (node.kill_agent(), node.start_agent())):
                restart()
                after = node.api("GET", "/v1/flows?since=1h")
                self.assertEqual(after[:len(before)], before)
                numbers = [f["number"] for f in after]
                self.assertEqual(numbers, sorted(set(numbers)))
                self.assertEqual(node.api("GET", "/v1/flows?first=2"), before[:2])
                until = before[2]["time"]
                self.assertEqual(node.api("GET", f"/v1/flows?until={until}"), before[:3])
                self.connect(node)  # numbers go on
                new = node.wait_flow(lambda f: f["number"] > numbers[-1])
                self.assertGreater(new["time"], before[-1]["time"])
                self.written(node)
            out = node.cli_ok("flows", "--since", "1h", "--first", "1")
            self.assertIn("shop/client", out)
            self.assertIn("history", node.cli_ok("status"))
            edges = node.api("GET", "/v1/edges?pod=shop/client")
            self.assertEqual(edges["lost"], 0)
            found = [e for e in edges["edges"] if e.get("port") == 80]
            self.assertTrue(found, edges)
            self.assertEqual(sum(e["connections"] for e in found), 5)
            self.assertEqual(found[0]["source"], {"kind": "workload", "namespace": "shop", "name": "client"})
            self.assertEqual(node.api("GET", "/v1/edges?pod=shop/nobody")["edges"], [])
            for bad in ("/v1/flows?follow=1&until=1m", "/v1/flows?first=1&last=1", "/v1/edges?limit=0", "/v1/edges?since=x"):
                with self.assertRaises(harness.ApiError) as refused:
                    node.api("GET", bad)
                self.assertEqual(refused.exception.status, 400)
            self.assertEqual(os.stat(self.database(node)).st_mode & 0o777, 0o600)

    def test_a_damaged_file_is_set_aside(self):
        with harness.Node() as node:
            self.pods(node)
            self.connect(node)
            self.written(node)
            path = self.database(node)
            node.stop_agent()
            with open(path, "r+b") as file:
                file.write(b"no database at all" * 1000)
            node.start_agent()
            status = node.api("GET", "/v1/status")
            self.assertIn(".damaged", status["history"]["damage"])
            self.assertNotIn("error", status["history"])
            self.assertTrue(os.path.exists(path + ".damaged"))
            self.assertIn(".damaged", node.cli_ok("status"))
            with open(node.log_file) as file:
                self.assertIn("it was renamed to", file.read())
            self.connect(node)
            node.wait_flow(lambda f: f["kind"] == "opened", port=80)
            self.written(node)

    def test_a_full_disk_is_said_and_the_agent_goes_on(self):
        folder = harness.tempfile.mkdtemp(prefix="beeline-test-full-")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=True)
        try:
            with harness.Node(config={"history": {"path": f"{folder}/history.db"}, "flows": {"memory": 1024}}) as node:
                self.pods(node)
                self.connect(node)
                self.written(node)
                room = os.statvfs(folder)
                with open(f"{folder}/other", "wb") as file:
                    file.write(b"x" * (room.f_bavail * room.f_frsize))
                address = node.address("shop/web")

                def full():
                    node.requests("shop/client", "tcp", address, 80, 500)
                    history = node.api("GET", "/v1/status")["history"]
                    assert history.get("error") and history["lost"] > 0, history
                    return history
                error = harness.wait_for(full, 60, "the history to be full")["error"]
                self.assertIn("full", error)
                self.assertIn("cannot be written", node.cli_ok("status"))
                self.connect(node)  # the network does not care
                node.wait_flow(lambda f: f["kind"] == "opened", last=50)
                os.unlink(f"{folder}/other")
                lost = self.written(node)["lost"]
                self.assertNotIn("error", node.api("GET", "/v1/status")["history"])
                holes = [f for f in node.api("GET", "/v1/flows") if f.get("lost", {}).get("where") == "history"]
                self.assertEqual(sum(f["lost"]["count"] for f in holes), lost)
                self.assertEqual(node.api("GET", "/v1/status")["losses"]["history"], lost)
        finally:
            subprocess.run(["umount", folder], check=False)
            os.rmdir(folder)

    def test_switched_off(self):
        with harness.Node(config={"history": {"enabled": False}}) as node:
            self.pods(node)
            self.connect(node)
            node.wait_flow(lambda f: f["kind"] == "opened", port=80)
            self.assertEqual(node.api("GET", "/v1/status")["history"], {"enabled": False})
            with self.assertRaises(harness.ApiError) as refused:
                node.api("GET", "/v1/edges")
            self.assertEqual(refused.exception.status, 503)
            self.assertEqual(glob.glob(f"/var/lib/beeline/{node.instance}/history.db"), [])


if __name__ == "__main__":
    harness.main()
