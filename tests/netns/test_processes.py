"""Who stands behind a flow: binary, user, ancestors and container, with runtime security and without it."""
import os

import harness

RULE = """
- rule: Something is executed
  desc: switches the sensors of processes on
  condition: evt.type = execve and proc.name = no-such-program
  output: executed %proc.name
  priority: DEBUG
"""
CURL = os.path.realpath("/usr/bin/curl")
# The shell stays the parent: it has something to do afterwards.
SHELL = "/usr/bin/curl -s -m 5 http://{}/ >/dev/null; true"


class Processes(harness.TestCase):
    def start(self, rules):
        node = harness.Node(agent=False)
        node.__enter__()
        self.addCleanup(node.close)
        folder = os.path.join(node.folder, "rules")
        os.mkdir(folder)
        if rules:
            with open(os.path.join(folder, "rules.yaml"), "w") as file:
                file.write(RULE)
        with open(node.config_file) as file:
            config = harness.yaml.safe_load(file)
        config["security"] = {"scope": "instance", "rules": [folder], "outputs": {"stdout": False}}
        with open(node.config_file, "w") as file:
            harness.yaml.safe_dump(config, file)
        node.start_agent()
        node.run("web", *harness.serve("web", tcp=[80]), namespace="shop")
        node.run("client", namespace="shop")
        self.node = node
        return node

    def process(self, comm, kind="closed", predicate=lambda process: True):
        def found():
            flows = self.node.flows(pod="shop/client", port=80)
            for flow in flows:
                process = flow["source"].get("process", {})
                if flow["kind"] == kind and process.get("comm") == comm and predicate(process):
                    return process
            return None
        return harness.wait_for(found, 10, f"a flow of {comm}")

    def curl_in_shell(self):
        self.node.exec("shop/client", "/bin/sh", "-c", SHELL.format(self.node.address("shop/web")))

    def test_ended_process_is_known_when_rules_are_loaded(self):
        node = self.start(rules=True)
        shell = os.path.realpath("/bin/sh")
        for _ in range(5):  # each ends long before its flow is read
            self.curl_in_shell()
        process = self.process("curl", predicate=lambda p: p.get("binary"))
        self.assertEqual(os.path.realpath(process["binary"]), CURL)
        self.assertEqual((process["user"], process["uid"]), ("root", 0))
        self.assertEqual(os.path.realpath(process["ancestry"][0]), shell)

        def of_curl():
            flows = [f for f in node.flows(pod="shop/client") if f["source"]["process"]["comm"] == "curl"]
            return flows if sum(f["kind"] == "closed" for f in flows) == 5 else None
        told = [f["source"]["process"] for f in harness.wait_for(of_curl, 10, "all flows")]
        for one in told:
            self.assertEqual(os.path.realpath(one["binary"]), CURL)
            self.assertEqual(os.path.realpath(one["ancestry"][0]), shell)
        self.assertEqual(node.api("GET", "/v1/status")["security"]["unidentified"], 0)
        # The server: its workload is its container.
        flow = node.wait_flow(lambda f: f["kind"] == "closed" and "process" in f["destination"], to_pod="shop/web")
        self.assertEqual(os.path.realpath(flow["destination"]["process"]["binary"]), os.path.realpath(harness.BLTEST))
        wide = node.cli_ok("flows", "--pod", "shop/client", "-o", "wide")
        self.assertIn(f"{process['binary']}[{process['pid']},root", wide)
        self.assertIn(f" by {process['ancestry'][0]}<", wide)

    def test_without_rules_the_living_are_known(self):
        self.start(rules=False)
        hold = self.node.background("shop/client", "/bin/sh", "-c",
                                    f"{harness.BLTEST} hold 1 {self.node.address('shop/web')} 80; true",
                                    stdin=harness.subprocess.PIPE)
        process = self.process("bltest", "opened")
        self.assertEqual(os.path.realpath(process["binary"]), os.path.realpath(harness.BLTEST))
        self.assertEqual(process["user"], "root")
        self.assertEqual(os.path.realpath(process["ancestry"][0]), os.path.realpath("/bin/sh"))
        hold.stdin.close()
        hold.wait(10)


if __name__ == "__main__":
    harness.main()
