"""`beeline connectivity test`: a healthy node passes whole; what is broken fails where it should, and says why."""
import json
import os
import signal
import xml.etree.ElementTree as ElementTree

import harness
import scene

BEELINE = os.path.join(harness.BIN, "beeline")
SPACE, OTHER_SPACE = "beeline-test", "beeline-test-b"
WORLD = ["--world", f"{harness.OUTSIDE_V4}:80", "--world", f"[{harness.OUTSIDE_V6}]:80"]


def run(node, *words, timeout=200):
    """(exit code, {case: result}, summary)"""
    code, out, err = node.cli("connectivity", "test", "-o", "json", *words, timeout=timeout)
    if code not in (0, 1) or not out:
        raise AssertionError(f"{words}: exit code {code}: {err}")
    report = json.loads(out)
    return code, {one["name"]: one for one in report["cases"]}, report


class Connectivity(scene.SharedNode):
    options = {"outside": True}

    @classmethod
    def prepare(cls):
        cls.node.serve("outside", "world", tcp=[80])

    def nothing_left(self):
        node = self.node
        self.assertEqual(node.workloads(), [])
        self.assertEqual(node.api("GET", "/v1/objects")["objects"], [])
        self.assertEqual(node.cli_json("ps", "-a"), [])

    def test_healthy(self):
        code, cases, report = run(self.node, *WORLD)
        bad = {name: one for name, one in cases.items() if one["result"] != "passed"}
        self.assertEqual(bad, {})
        self.assertEqual(code, 0)
        self.assertGreaterEqual(len(cases), 2 * 60)
        self.assertEqual(report["passed"], len(cases))
        self.assertEqual(report["failed"] + report["skipped"], 0)
        self.nothing_left()

    def test_what_is_not_there_is_skipped(self):
        code, cases, _ = run(self.node, "--case", "pod-to-world/*")
        self.assertEqual(code, 0)
        self.assertEqual(cases["pod-to-world/gateway/v4"]["result"], "passed")
        self.assertEqual(cases["pod-to-world/tcp/v6"]["result"], "skipped")
        self.assertIn("--world", cases["pod-to-world/tcp/v6"]["reason"])

    def test_a_policy_too_many(self):
        node = self.node
        # Not one of the test's own: it is left alone, and it breaks what it selects.
        node.apply([scene.policy("sabotage", {"app": "web"}, namespace=SPACE, types=["Ingress"])])
        code, cases, _ = run(node, "--case", "pod-to-pod/*", "--case", "host-to-pod/tcp/*", "--case", "dns/udp/v4")
        self.assertEqual(code, 1)
        failed = {name for name, one in cases.items() if one["result"] == "failed"}
        to_web = {f"pod-to-pod/{what}/{family}" for family in ("v4", "v6") for what in (
            "tcp", "udp", "ping", "bulk", "mtu-udp", "mtu-ping", "fragments", "many", "closed-port", "closed-udp-port")}
        self.assertEqual(failed, to_web)
        one = cases["pod-to-pod/tcp/v4"]
        self.assertIn("no answer in", one["reason"])
        found = "\n".join(one["found"])
        self.assertIn(f"{SPACE}/client", found)
        self.assertIn("denied: ", found)
        self.assertIn(f"isolated by NetworkPolicy {SPACE}/sabotage", found)
        self.assertIn("POLICY_DENIED", found)
        self.assertTrue(one["look_at"])
        self.assertEqual(one["why"]["verdict"], "denied")
        left = [(one["namespace"], one["name"]) for one in node.api("GET", "/v1/objects")["objects"]]
        self.assertEqual(left, [(SPACE, "sabotage")])
        # The same for people, and for machines that know JUnit.
        code, out, _ = node.cli("connectivity", "test", "--case", "pod-to-pod/tcp/v4")
        self.assertEqual(code, 1)
        self.assertIn("FAILED  pod-to-pod/tcp/v4", out)
        self.assertIn(f"{SPACE}/sabotage", out)
        code, out, _ = node.cli("connectivity", "test", "--case", "pod-to-pod/tcp/*", "--case", "dns/udp/v4", "-o", "junit")
        self.assertEqual(code, 1)
        suites = ElementTree.fromstring(out)
        self.assertEqual((suites.get("tests"), suites.get("failures")), ("3", "2"))
        self.assertIn("sabotage", suites.find("testsuite/testcase/failure").text)

    def test_a_backend_that_stopped(self):
        node = self.node
        code, _, _ = run(node, "--keep", "--case", "pod-to-service/every-backend/*", "--case", "pod-to-service/affinity/*")
        self.assertEqual(code, 0)
        self.assertTrue(node.workload(f"{SPACE}/web-b"))
        node.stop(f"{SPACE}/web-b")
        code, cases, _ = run(node, "--reuse", "--case", "pod-to-service/every-backend/*", "--case", "pod-to-service/affinity/*")
        self.assertEqual(code, 1)
        for family in ("v4", "v6"):
            self.assertEqual(cases[f"pod-to-service/affinity/{family}"]["result"], "passed")
            one = cases[f"pod-to-service/every-backend/{family}"]
            self.assertEqual(one["result"], "failed")
            self.assertIn("web-b never answered, only web-a", one["reason"])
            found = "\n".join(one["found"])
            self.assertIn(f"service {SPACE}/web: backends {SPACE}/web-a", found)
            self.assertNotIn("web-b", found)
        self.nothing_left()

    def test_nobody_is_denied_any_more(self):
        """A case that expects a drop fails when the policy does not come into force: here a Pod takes the label away."""
        node = self.node
        node.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "t-deny", "namespace": SPACE,
                                                                     "labels": {"target": "elsewhere"}},
                     "spec": {"containers": [{"name": "main", "image": "none"}]}}])
        code, cases, _ = run(node, "--case", "policy-ingress/deny-tcp/v4", "--case", "policy-ingress/deny-host/v4")
        self.assertEqual(code, 1)
        one = cases["policy-ingress/deny-tcp/v4"]
        self.assertEqual(one["reason"], "answered, though a policy should have denied it")
        self.assertTrue(any("allowed: " in line for line in one["found"]), one["found"])
        self.assertEqual(cases["policy-ingress/deny-host/v4"]["result"], "passed")

    def test_interrupted_and_killed(self):
        node = self.node
        words = [BEELINE, "connectivity", "test", "--case", "policy-*"]
        child = node.background("host", *words)
        node.wait_for(lambda: len(node.workloads()) > 3, what="workloads of the test")
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.wait(60), 1)
        self.nothing_left()
        child = node.background("host", *words)
        node.wait_for(lambda: len(node.workloads()) > 3, what="workloads of the test")
        code, _, err = node.cli("connectivity", "test", "--case", "dns/udp/v4")
        self.assertEqual(code, 1)
        self.assertIn("another connectivity test runs", err)
        child.kill()
        child.wait()
        self.assertNotEqual(node.workloads(), [])
        node.wait_for(lambda: node.cli("connectivity", "test", "--clean")[0] == 0, what="the lock")
        self.nothing_left()

    def test_words(self):
        node = self.node
        self.assertIn("policy-ingress/deny-tcp/v4", node.cli_ok("connectivity", "test", "--list", "--case", "policy-*"))
        code, _, err = node.cli("connectivity", "test", "--case", "nothing")
        self.assertEqual(code, 2)
        self.assertIn("--list", err)
        self.assertEqual(node.cli("connectivity", "test", "--world", "here")[0], 2)
        self.assertEqual(node.cli("connectivity", "test", "-o", "yaml")[0], 2)


if __name__ == "__main__":
    harness.main()
