"""What users do with runtime security: rules that change, outputs, recordings, flows in rules, workloads, bad files."""
import json
import os
import signal
import time

import harness
import scene
from test_rules import OFFICIAL, alerts

SHADOW = """
- rule: Reads {name}
  desc: a test
  condition: evt.type in (open, openat) and evt.is_open_read = true and fd.name = {path}
  output: read %fd.name by %proc.name
  priority: WARNING
  tags: [test]
"""
DENIED = """
- rule: Shell was denied
  desc: a program below a shell may not connect
  condition: evt.type = flow and flow.verdict = DROPPED and proc.aname in (sh, dash, bash)
  output: denied (to=%flow.dst.ip port=%flow.dst.port by=%flow.denied_by from=%flow.src.workload)
  priority: ERROR
"""
# Writes the body of each POST to its standard output, one a line.
RECEIVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers['Content-Length'])).decode(), flush=True)
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
print('ready', flush=True)
http.server.HTTPServer(('127.0.0.1', 2801), Handler).serve_forever()
"""


class Security(harness.TestCase):
    def start(self, security=None, **options):
        """A node whose rules lie in a folder of their own."""
        config = {"scope": "instance", "outputs": {"stdout": False}, **(security or {})}
        node = harness.Node(config={"security": config}, agent=False, **options)
        node.__enter__()
        self.addCleanup(node.close)
        self.rules = os.path.join(node.folder, "rules")
        os.mkdir(self.rules)
        config.setdefault("rules", [self.rules])
        with open(node.config_file) as file:
            whole = harness.yaml.safe_load(file)
        whole["security"] = config
        with open(node.config_file, "w") as file:
            harness.yaml.safe_dump(whole, file)
        self.node = node
        return node

    def write(self, text, name="rules.yaml"):
        path = os.path.join(self.rules, name + ".new")
        with open(path, "w") as file:
            file.write(text)
        os.rename(path, os.path.join(self.rules, name))

    def target(self, name):
        path = os.path.join(self.node.folder, name)
        with open(path, "w") as file:
            file.write("x")
        return path

    def read(self, path, where="host"):
        command = ["cat", path]
        return self.node.host(*command) if where == "host" else self.node.exec(where, *command)

    def names(self):
        return [rule["name"] for rule in self.node.api("GET", "/v1/rules")["rules"]]

    def wait_alert(self, rule, after=0, **filters):
        return harness.wait_for(lambda: alerts(self.node, after, rule=rule, **filters), 10, f"an alert of '{rule}'")[-1]

    # --- rules that change ------------------------------------------------------------------------------------------------

    def test_files_are_watched_and_faulty_ones_change_nothing(self):
        node = self.start()
        one, two = self.target("one"), self.target("two")
        node.start_agent()
        self.assertEqual(self.names(), [])
        self.assertEqual(node.api("GET", "/v1/status")["security"]["attached"], [])
        self.write(SHADOW.format(name="one", path=one))
        harness.wait_for(lambda: self.names() == ["Reads one"], 10, "the first rule")
        self.read(one)
        alert = self.wait_alert("Reads one")
        self.assertEqual(alert["output_fields"]["fd.name"], one)
        self.assertIn(f"Warning read {one} by cat", alert["output"])
        self.assertEqual(alert["tags"], ["test"])

        # A faulty file next to it: the rule in force stays and the error names the place.
        self.write("- rule: Broken\n  desc: d\n  condition: evt.typo = open\n  output: x\n  priority: WARNING\n", "z.yaml")
        harness.wait_for(lambda: node.api("GET", "/v1/status")["security"]["rules_faulty"], 10, "the error shown")
        code, out, err = node.cli("rules", "reload")
        self.assertEqual(code, 1)
        for text in ("z.yaml", "LOAD_ERR_COMPILE_CONDITION", "evt.typo", "^", "stay"):
            self.assertIn(text, err)
        self.assertIn("older rules are in force", node.cli_ok("status"))
        self.read(one)
        harness.wait_for(lambda: len(alerts(node, rule="Reads one")) == 2, 10, "the old rule working")

        # Mended: both rules, live.
        self.write(SHADOW.format(name="two", path=two), "z.yaml")
        harness.wait_for(lambda: self.names() == ["Reads one", "Reads two"], 10, "both rules")
        self.read(two)
        self.wait_alert("Reads two")
        listed = node.cli_json("rules", "list")
        self.assertEqual([rule["matches"] for rule in listed], [0, 1])  # counts begin with the rule set
        self.assertIn("success", listed[0]["pushed_down"] + " success")
        os.unlink(os.path.join(self.rules, "rules.yaml"))
        os.unlink(os.path.join(self.rules, "z.yaml"))
        harness.wait_for(lambda: node.api("GET", "/v1/status")["security"]["attached"] == [], 10, "no sensor attached")

    def test_what_no_rule_wants_stays_in_the_kernel(self):
        node = self.start()
        wanted, other = self.target("wanted"), self.target("other")
        self.write(SHADOW.format(name="it", path=wanted))
        node.start_agent()
        before = node.api("GET", "/v1/status")["security"]["sensors"]["events"]
        for _ in range(20):
            self.read(other)
        self.read(wanted)
        self.wait_alert("Reads it")
        sensors = node.api("GET", "/v1/status")["security"]["sensors"]
        self.assertLess(sensors["events"] - before, 20)
        self.assertGreater(sensors["not_path"], 20)

    # --- outputs ----------------------------------------------------------------------------------------------------------

    def test_outputs(self):
        node = self.start({"outputs": {"format": "json", "stdout": True, "perSecond": 1, "burst": 3}})
        log, copied = os.path.join(node.folder, "alerts.log"), os.path.join(node.folder, "copied")
        with open(node.config_file) as file:
            config = harness.yaml.safe_load(file)
        config["security"]["outputs"].update(
            file={"path": log}, program={"command": ["dd", "status=none", "of=" + copied]},
            http={"url": "http://127.0.0.1:2801/x", "retries": 2})
        with open(node.config_file, "w") as file:
            harness.yaml.safe_dump(config, file)
        receiver = node.background("host", "/usr/bin/python3", "-c", RECEIVER)
        self.assertEqual(receiver.stdout.readline(), "ready\n")
        path = self.target("it")
        self.write(SHADOW.format(name="it", path=path))
        node.start_agent()
        for _ in range(5):
            self.read(path)
        outputs = harness.wait_for(lambda: (lambda s: s if all(o["sent"] == 3 for o in s["outputs"]) else None)(
            node.api("GET", "/v1/status")["security"]), 15, "three alerts everywhere")
        self.assertEqual({o["name"] for o in outputs["outputs"]}, {"stdout", "file", "program", "http"})
        self.assertEqual(outputs["alerts"]["limited"], 2)
        posted = [json.loads(receiver.stdout.readline()) for _ in range(3)]
        with open(log) as file:
            written = [json.loads(line) for line in file]
        self.assertEqual(posted, written)
        for alert in written:
            self.assertEqual({"hostname", "output", "output_fields", "priority", "rule", "source", "tags", "time", "beeline"},
                             set(alert))
            self.assertEqual(alert["hostname"], "node-under-test")
        self.assertEqual(node.cli_json("rules", "list")[0]["limited"], 2)
        node.stop_agent()
        with open(copied) as file:
            self.assertEqual([json.loads(line) for line in file], written)
        with open(node.log_file) as file:
            self.assertEqual([json.loads(line) for line in file if line.startswith("{")], written)

    # --- recordings -------------------------------------------------------------------------------------------------------

    def test_a_recording_gives_the_same_matches_every_time(self):
        node = self.start()
        path = self.target("it")
        self.write(SHADOW.format(name="it", path=path))
        node.start_agent()
        recording = os.path.join(node.folder, "day.blrec")
        child = node.background("host", os.path.join(harness.BIN, "beeline"), "record", "-o", recording, "--all")
        harness.wait_for(lambda: os.path.exists(recording) and os.path.getsize(recording) > 5000, 10, "the recording begun")
        for _ in range(3):
            self.read(path)
        node.host("sh", "-c", "ln -s /etc/shadow \"$0\"; exec true", os.path.join(node.folder, "link"))
        harness.wait_for(lambda: len(alerts(node, rule="Reads it")) == 3, 10, "the alerts")
        time.sleep(0.5)  # what is recorded is what the guard has handed on
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.wait(10), 0)
        rules = os.path.join(self.rules, "rules.yaml")
        outcomes = [node.cli_ok("rules", "test", rules, *OFFICIAL, "--on", recording, "-o", "jsonl") for _ in range(2)]
        self.assertEqual(outcomes[0], outcomes[1])
        found = [json.loads(line) for line in outcomes[0].splitlines()]
        self.assertEqual(len([a for a in found if a["rule"] == "Reads it"]), 3)
        self.assertTrue(any(a["rule"] == "Create Symlink Over Sensitive Files" for a in found))
        table = node.cli_ok("rules", "test", rules, "--on", recording)
        self.assertRegex(table, r"Reads it +\d+ +3 ")
        # A damaged file: what can be read is judged, and the damage is told.
        with open(recording, "r+b") as file:
            file.seek(os.path.getsize(recording) // 2)
            file.write(b"\xff" * 64)
        code, out, err = node.cli("rules", "test", rules, "--on", recording)
        self.assertEqual(code, 0)
        self.assertIn("day.blrec" if "day.blrec" in err else "offset", err)
        code, _, err = node.cli("rules", "test", rules, "--on", rules)
        self.assertEqual(code, 1)
        self.assertIn("rules.yaml", err)

    # --- what no other tool can ask ---------------------------------------------------------------------------------------

    def test_a_rule_about_denied_flows_knows_the_shell_behind_them(self):
        node = self.start()
        self.write(DENIED)
        node.start_agent()
        node.run("web", *harness.serve("web", tcp=[80]), namespace="shop", labels={"app": "web"})
        node.run("client", namespace="shop")
        node.apply([scene.policy("closed", {"app": "web"}, ingress=[])])
        address = node.address("shop/web")
        connect = f"{harness.BLTEST} tcp {address} 80 --timeout 300; true"
        node.exec("shop/client", "/bin/sh", "-c", connect)
        alert = self.wait_alert("Shell was denied")
        fields = alert["output_fields"]
        self.assertEqual(fields["flow.dst.ip"], address)
        self.assertEqual(fields["flow.dst.port"], 80)
        self.assertEqual(fields["flow.src.workload"], "shop/client")
        own = alert["beeline"]
        self.assertEqual(own["workload"], "shop/client")
        self.assertEqual(own["ancestors"][0]["name"], "bltest")
        self.assertIn(own["ancestors"][1]["name"], ("sh", "dash"))
        self.assertTrue(any(flow["verdict"] == "DROPPED" for flow in own["flows"]))
        # The same without a shell is no match.
        count = len(alerts(node, rule="Shell was denied"))
        node.exec("shop/client", harness.BLTEST, "tcp", address, "80", "--timeout", "300")
        node.wait_flow(lambda f: f["kind"] == "dropped" and f["number"] > 0, pod="shop/client")
        self.assertEqual(len(alerts(node, rule="Shell was denied")), count)

    def test_workloads_are_containers(self):
        node = self.start()
        path = self.target("it")
        self.write(SHADOW.format(name="it", path=path).replace("fd.name =", "container.id != host and fd.name ="))
        node.start_agent()
        entry = node.run("web", "sleep", "600", namespace="shop")
        self.read(path)
        self.read(path, where="shop/web")
        alert = self.wait_alert("Reads it")
        self.assertEqual(alert["beeline"]["workload"], "shop/web")
        self.assertEqual(alert["output_fields"]["container.id"], entry["container"][:12] if "container" in entry
                         else alert["output_fields"]["container.id"])
        self.assertEqual(len(alerts(node, rule="Reads it")), 1)
        self.assertEqual(len(alerts(node, pod="shop/web")), 1)
        self.assertEqual(alerts(node, pod="shop/other"), [])
        shown = node.cli_ok("alerts", "--rule", "reads*", "--pod", "shop/")
        self.assertIn("Reads it  shop/web", shown)

    def test_links_do_not_hide_a_file(self):
        node = self.start()
        path = self.target("secret")
        self.write(SHADOW.format(name="it", path=path))
        node.start_agent()
        link = os.path.join(node.folder, "innocent")
        os.symlink(path, link)
        self.read(link)
        self.wait_alert("Reads it")
        mark = alerts(node)[-1]["beeline"]["number"]
        self.read(f"/proc/self/root{path}")
        self.wait_alert("Reads it", after=mark)

    # --- the live stream, and what is off ---------------------------------------------------------------------------------

    def test_events(self):
        node = self.start()
        self.write(SHADOW.format(name="it", path="/nowhere"))
        node.start_agent()
        seen = os.path.join(node.folder, "events")
        with open(seen, "w") as file:
            node.background("host", os.path.join(harness.BIN, "beeline"), "events", "--kind", "execve", "-o", "jsonl",
                            stdout=file)

        def marked():
            node.host("true", "--marker")
            with open(seen) as file:
                whole = file.read().rpartition("\n")[0]  # the last line may be half there
            events = [json.loads(one) for one in whole.splitlines()]
            return next((one for one in events if one["process"]["cmdline"] == "true --marker"), None)
        line = harness.wait_for(marked, 10, "the event", interval=0.1)
        self.assertIsNotNone(line)
        self.assertEqual(line["type"], "execve")
        self.assertEqual(line["process"]["parent"]["pid"], os.getpid())
        code, _, err = node.cli("events", "--kind", "nonsense")
        self.assertEqual(code, 2)
        self.assertIn("nonsense", err)

    def test_switched_off(self):
        node = self.start({"enabled": False})
        node.start_agent()
        code, _, err = node.cli("alerts")
        self.assertEqual(code, 1)
        self.assertIn("security.enabled", err)
        self.assertNotIn("security", node.api("GET", "/v1/status"))

    def test_bad_configuration(self):
        node = self.start({"outputs": {"file": {"path": "relative"}}})
        code, _, err = node.host(os.path.join(harness.BIN, "beelined"), "--config", node.config_file, "--check")
        self.assertEqual(code, 1)
        self.assertRegex(err, r"beeline.yaml:\d+:\d+: security.outputs.file.path: expected an absolute path")


if __name__ == "__main__":
    harness.main()
