#!/usr/bin/env python3
"""A fleet on a real etcd: two agents that enforce each other's workloads; etcd killed; leases that end; TLS and users."""
import json
import os
import subprocess
import sys
import unittest

import harness
from cluster import Cluster, ranges, underlay
from scene import policy as shop_policy

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
PROGRAM = os.path.join(harness.BIN, "source_etcd_test")
ADDRESS = "192.0.2.250"  # etcd's, in the namespace that joins the nodes
URL = f"http://{ADDRESS}:2379"
LEASE = 5  # seconds, the least that is allowed


def policy(name, selector, **rules):
    return shop_policy(name, selector, "default", **rules)


def etcd_folder():
    """Where tools/fetch-etcd has it, or None on a machine that cannot have it."""
    done = subprocess.run([os.path.join(ROOT, "tools", "fetch-etcd")], stdout=subprocess.PIPE, text=True)
    return os.path.join(done.stdout.strip(), "usr", "bin") if done.returncode == 0 else None


class RealEtcd(unittest.TestCase):
    """The source alone: frozen servers, compaction, TLS, users."""

    def test_source(self):
        if not os.access(PROGRAM, os.X_OK):
            self.skipTest(f"{PROGRAM} is not built")
        done = subprocess.run([PROGRAM, "--gtest_brief=1", "--gtest_filter=RealEtcd.*"],
                              env={**os.environ, "BEELINE_TEST_REAL_ETCD": "1"}, capture_output=True, text=True, timeout=240)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("SKIPPED", done.stdout)


class Fleet(harness.TestCase):
    """Nobody gives the agents anything but the URL: nodes, workloads and policies all go through etcd."""

    @classmethod
    def setUpClass(cls):
        cls.bin = etcd_folder()
        cls.etcd = None
        source = {"kind": "etcd", "etcd": {"endpoints": [URL], "leaseSeconds": LEASE}}
        cls.c = Cluster(2, config={"source": source}, agent=False)
        cls.addClassCleanup(cls.c.close)
        cls.c.__enter__()
        for words in (["link", "set", "lo", "up"], ["addr", "add", f"{ADDRESS}/24", "dev", "sw"]):
            subprocess.run(["ip", "-n", cls.c.switch, *words], check=True)
        cls.addClassCleanup(cls.stop_etcd)
        cls.start_etcd()
        for node in cls.c:
            node.start_agent(wait=False)
        for node in cls.c:
            node.wait_ready()
        cls.c[1].run("web", *harness.serve("web", tcp=[80, 81]), labels={"app": "web"})
        cls.c[0].run("near", *harness.serve("near", tcp=[80]), labels={"app": "near"})
        cls.c[0].run("client", labels={"app": "client"})
        cls.c[0].run("other", labels={"app": "other"})
        cls.c[1].run("local", labels={"app": "client"})

    # --- etcd -----------------------------------------------------------------------------------

    @classmethod
    def start_etcd(cls):
        folder = cls.c[0].folder
        peer = "http://127.0.0.1:2380"
        with open(os.path.join(folder, "etcd.log"), "a") as log:
            cls.etcd = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{cls.c.switch}", f"{cls.bin}/etcd", "--name", "one", "--data-dir",
                 f"{folder}/etcd", "--listen-client-urls", URL, "--advertise-client-urls", URL, "--listen-peer-urls", peer,
                 "--initial-advertise-peer-urls", peer, "--initial-cluster", f"one={peer}", "--unsafe-no-fsync"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        harness.wait_for(lambda: cls.c[0].cli("get", "nodes", "--etcd", URL)[0] == 0, 30, "etcd")

    @classmethod
    def stop_etcd(cls):
        if cls.etcd is not None:
            cls.etcd.kill()
            cls.etcd.wait()

    def stored(self, kind, *words):
        """{name: file} of what is in etcd, asked from a node's own network but not through its agent."""
        objects = self.c[0].cli_json("get", kind, *words, "--etcd", URL)
        return {one["name"]: one["file"] for one in objects}

    def apply(self, *documents):
        return self.c[0].cli_ok("apply", "-f", "-", "--etcd", URL, input=json.dumps(
            {"apiVersion": "v1", "kind": "List", "items": list(documents)}))

    def delete(self, kind, name):
        return self.c[0].cli_ok("delete", kind, name, "-n", "default", "--etcd", URL)

    # --- what is seen ---------------------------------------------------------------------------

    def reaches(self, number, client, target, port=80):
        """Over both families, which must agree."""
        to, name = target
        answers = {self.c[number].tcp(client, self.c[to].address(name, family), port, timeout_ms=400)["error"] == ""
                   for family in (4, 6)}
        return answers.pop() if len(answers) == 1 else None

    def becomes(self, wanted, *arguments, **options):
        harness.wait_for(lambda: self.reaches(*arguments, **options) is wanted, 10, f"{arguments} to be {wanted}")

    def status(self, number):
        return self.c[number].api("GET", "/v1/status")

    def registered(self):
        return harness.wait_for(
            lambda: all(self.status(n)["etcd"]["registration"]["state"] == "registered" for n in (0, 1)), 20,
            "both nodes to be registered")

    def setUp(self):
        self.registered()
        self.becomes(True, 0, "client", (1, "web"))

    # --- tests ----------------------------------------------------------------------------------

    def test_nodes_and_workloads_are_registered(self):
        self.assertEqual(self.stored("nodes"), {f"node-{n}": f"/beeline/nodes/node-{n}" for n in (0, 1)})
        pods = {name: file.split("/")[3] for name, file in self.stored("pods").items()}
        self.assertEqual(pods, {"web": "node-1", "local": "node-1", "near": "node-0", "client": "node-0", "other": "node-0"})
        text = self.c[0].cli_ok("get", "node", "node-1", "-o", "yaml", "--etcd", URL)
        for word in (underlay(1, 4), underlay(1, 6), *ranges(1)):
            self.assertIn(word, text)
        for number in (0, 1):
            with self.subTest(number=number):
                status = self.status(number)
                self.assertTrue(status["source"]["connected"] and status["source"]["synced"], status["source"])
                self.assertEqual([n["name"] for n in status["nodes"]["others"]], [f"node-{1 - number}"])

    def test_one_policy_holds_on_every_node(self):
        rule = {"ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}],
                             "ports": [{"protocol": "TCP", "port": 80}]}]}
        both = [policy("web", {"app": "web"}, **rule), policy("near", {"app": "near"}, **rule)]
        self.apply(*both)
        try:
            for target, across, beside in (((1, "web"), 0, 1), ((0, "near"), 1, 0)):
                with self.subTest(target=target):
                    client = {0: "client", 1: "local"}
                    self.becomes(True, across, client[across], target)
                    self.becomes(True, beside, client[beside], target)
            self.becomes(False, 0, "other", (1, "web"))  # of another node
            self.becomes(False, 0, "other", (0, "near"))  # of the same one
            self.becomes(False, 0, "client", (1, "web"), port=81)
            self.becomes(False, 1, "web", (0, "near"))
            self.assertEqual(set(self.stored("networkpolicies", "-n", "default")), {"web", "near"})
            self.assertIn("unchanged", self.apply(*both))
            self.delete("networkpolicy", "web")
            self.assertEqual(set(self.stored("networkpolicies")), {"near"})
            self.becomes(True, 0, "other", (1, "web"))
            self.becomes(False, 0, "other", (0, "near"))
        finally:
            for name in self.stored("networkpolicies"):
                self.delete("networkpolicy", name)
        self.becomes(True, 0, "other", (0, "near"))
        code, _, err = self.c[0].cli("delete", "networkpolicy", "web", "-n", "default", "--etcd", URL)
        self.assertNotEqual(code, 0)
        self.assertIn("does not exist", err)

    def test_a_wrong_object_is_not_written(self):
        wrong = policy("wrong", {"app": "web"}, ingress=[{"ports": [{"protocol": "TCP", "port": 70000}]}])
        code, _, err = self.c[0].cli("apply", "-f", "-", "--etcd", URL, input=json.dumps(wrong))
        self.assertNotEqual(code, 0)
        self.assertIn("70000", err)
        self.assertEqual(self.stored("networkpolicies"), {})

    def test_killed_etcd(self):
        self.apply(policy("web", {"app": "web"}, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]))
        try:
            self.becomes(False, 0, "other", (1, "web"))
            before = {kind: self.stored(kind) for kind in ("nodes", "pods", "networkpolicies")}
            self.stop_etcd()
            harness.wait_for(lambda: not any(self.status(n)["source"]["connected"] for n in (0, 1)), 15,
                             "the agents to see that etcd is away")
            # What was known stays in force.
            self.assertIs(self.reaches(0, "client", (1, "web")), True)
            self.assertIs(self.reaches(0, "other", (1, "web")), False)
            self.assertNotEqual(self.c[0].cli("get", "nodes", "--etcd", URL)[0], 0)
            self.start_etcd()
            harness.wait_for(lambda: all(self.status(n)["source"]["connected"] for n in (0, 1)), 20, "the agents to be back")
            self.registered()
            self.assertEqual({kind: self.stored(kind) for kind in before}, before)
            self.assertIs(self.reaches(0, "other", (1, "web")), False)
            self.c[1].run("late", labels={"app": "late"})
            harness.wait_for(lambda: "late" in self.stored("pods"), 10, "a new workload to be registered")
            self.c[1].stop("late")
            harness.wait_for(lambda: "late" not in self.stored("pods"), 10, "an ended workload to be gone")
        finally:
            self.delete("networkpolicy", "web")

    def test_dead_agent(self):
        """Its keys end with the lease, and come back with it. A clean restart within the lease changes nothing."""
        before = self.stored("pods")
        self.c[1].restart_agent()
        self.registered()
        self.assertEqual(self.stored("pods"), before)
        self.c[1].kill_agent()
        try:
            harness.wait_for(lambda: set(self.stored("nodes")) == {"node-0"}, LEASE * 4, "the lease to end")
            self.assertEqual({file.split("/")[3] for file in self.stored("pods").values()}, {"node-0"})
            harness.wait_for(lambda: self.status(0)["nodes"]["others"] == [], 10, "node-0 to forget node-1")
        finally:
            self.c[1].start_agent()
        self.registered()
        harness.wait_for(lambda: self.stored("pods") == before, 10, "the workloads to be registered again")


def main():
    if etcd_folder() is None:
        print("SKIP: etcd cannot be had on this machine")
        sys.exit(harness.SKIP)
    harness.main()


if __name__ == "__main__":
    main()
