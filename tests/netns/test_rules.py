"""Runtime security end to end: the official rule files, unchanged, and for each rule a real action that fires it."""
import json
import os
import sys
import threading

import yaml

import harness
import scene
import test_containers
from rule_actions import ACTIONS, CONTAINER, EVASIONS, PODMAN, QUIET, UNREACHABLE

RULES = os.path.join(harness.ROOT, "tests", "data", "rules", "falco")
OFFICIAL = [os.path.join(RULES, f"{name}.yaml") for name in ("falco_rules", "falco-incubating_rules", "falco-sandbox_rules")]
SANDBOX = os.path.join(os.path.dirname(os.path.realpath(__file__)), "sandbox.py")
CONTAINER_ID = "3d5c1ea4b7f8" + "0123456789abcdef" * 3 + "0123"  # 64 digits


def alerts(node, after=0, **filters):
    return [a for a in node.stream("/v1/alerts", **filters) if a["beeline"]["number"] > after]


class Rules(scene.SharedNode):
    options = {
        "outside": True,
        "config": {"security": {"scope": "instance", "rules": OFFICIAL, "ruleMatching": "all",
                                "select": [{"enable": {"rule": "*"}}],
                                "outputs": {"stdout": False}}},
        # Names that rules mention and that only a cluster or the internet could resolve.
        "hosts": {"198.51.100.2": ["kubernetes.default.svc.cluster.local", "ca.minexmr.com"]},
    }

    @classmethod
    def prepare(cls):
        node = cls.node
        node.serve("outside", "world", tcp=[443, 7000])
        node._ip("addr", "add", "169.254.169.254/32", "dev", "lo")
        cls.container_cgroup = os.path.join(node.cgroup, f"docker-{CONTAINER_ID}.scope")
        os.makedirs(cls.container_cgroup, exist_ok=True)

    def act(self, action):
        environment = {"SANDBOX_CODE": action.code}
        for option in ("uid", "pidns", "tty", "parent"):
            if option in action.options:
                value = action.options[option]
                environment[f"SANDBOX_{option.upper()}"] = "1" if value is True else str(value)
        cgroup = self.container_cgroup if action.where == CONTAINER else self.node.host_cgroup
        code, out, err = self.node._finish(["/usr/bin/python3", SANDBOX, action.name], self.node.netns_path, cgroup,
                                           env=environment)
        return code, out + err

    def last_number(self):
        newest = list(self.node.stream("/v1/alerts", last=1))
        return newest[-1]["beeline"]["number"] if newest else 0

    def fires(self, action):
        mark = self.last_number()
        code, output = self.act(action)

        def found():
            return [a for a in alerts(self.node, mark, rule=action.rule)
                    if all(a["output_fields"].get(name) == value for name, value in action.fields.items())]
        try:
            return harness.wait_for(found, 4, f"an alert of '{action.rule}' with {action.fields}")
        except AssertionError as error:
            near = [(a["rule"], {n: a["output_fields"].get(n) for n in action.fields}) for a in alerts(self.node, mark)]
            raise AssertionError(f"{error}\n  instead: {near}\n  exit code {code}: {output[-1500:]}") from None

    def test_every_official_rule_is_loaded(self):
        rules = self.node.api("GET", "/v1/rules")
        self.assertEqual(len(rules["rules"]), 93)
        self.assertTrue(all(rule["enabled"] for rule in rules["rules"]))
        self.assertTrue(all(result["successful"] for result in rules["load"]["falco_load_results"]))

    def test_actions(self):
        covered = {action.rule for action in ACTIONS}
        slow = [action for action in ACTIONS if "sleep(5" in action.code]  # beside the others
        errors = []

        def run(action):
            try:
                found = self.fires(action)
                if action.where == CONTAINER:
                    self.assertEqual(found[0]["output_fields"].get("container.id"), CONTAINER_ID[:12])
                ancestors = found[0]["beeline"]["ancestors"]
                self.assertGreater(len(ancestors), 1)
            except AssertionError as error:
                errors.append(f"{action.rule}: {error}")
        threads = [threading.Thread(target=run, args=(action,)) for action in slow]
        for thread in threads:
            thread.start()
        # The agent looks up names when it can: what needs them comes last.
        for action in sorted(ACTIONS, key=lambda action: "late" in action.options):
            if action not in slow:
                run(action)
        for thread in threads:
            thread.join()
        failed = {error.split(":")[0] for error in errors}
        print(f"{len(covered) - len(failed)} of {len(covered)} rules fired", file=sys.stderr)
        self.assertEqual([], errors, "\n".join(errors))

    def test_evasions_do_not_help(self):
        for action in EVASIONS:
            with self.subTest(rule=action.rule, code=action.code):
                self.fires(action)

    def test_benign_twins_are_quiet(self):
        for action in QUIET:
            with self.subTest(rule=action.rule, code=action.code):
                mark = self.last_number()
                code, output = self.act(action)
                self.assertEqual(code, 0, output)
                # A later action that fires proves that the earlier events were judged.
                self.fires(next(a for a in ACTIONS if a.rule == "Known Cryptominer Process Executed"))
                self.assertEqual([], alerts(self.node, mark, rule=action.rule))

    def test_alert_has_its_flows_and_ancestors(self):
        action = next(a for a in ACTIONS if a.rule == "System procs network activity")
        alert = self.fires(action)[-1]
        own = alert["beeline"]
        self.assertEqual(own["ancestors"][0]["name"], "bash")
        self.assertIn("python3", [ancestor["name"] for ancestor in own["ancestors"]])
        self.assertEqual(alert["source"], "syscall")
        self.assertEqual(alert["priority"], "Notice")
        self.assertIn("Notice", alert["output"])


class RuntimeContainers(test_containers.PodmanEngine):
    """Rules that need what a container runtime knows: real podman containers."""

    options = {"config": {"security": {"scope": "instance", "rules": OFFICIAL, "ruleMatching": "all",
                                       "outputs": {"stdout": False}}}}

    def setUp(self):
        super().setUp()
        self.node.stop_agent()
        with open(self.node.config_file) as file:
            config = yaml.safe_load(file)
        config["security"]["containerStorages"] = [os.path.join(self.folder, "podman", "root")]
        with open(self.node.config_file, "w") as file:
            yaml.safe_dump(config, file)
        self.node.start_agent()

    def found(self, rule):
        return harness.wait_for(lambda: alerts(self.node, rule=rule), 10, f"an alert of '{rule}'")[-1]

    def test_privileged_containers(self):
        self.podman("run", "--network", "none", "--cgroup-parent", f"/{self.cgroups}/podman", "-d", "--name", "box",
                    "--privileged", "-v", "/etc:/mnt:ro", test_containers.IMAGE, "/bin/busybox", "sleep", "600")
        shown = json.loads(self.podman("inspect", "box"))[0]
        self.podman("exec", "box", "/bin/sh", "-c", "cp /bin/busybox /tmp/debugfs; /tmp/debugfs", ok=False)
        self.podman("exec", "box", "/bin/sh", "-c", "cp /bin/busybox /tmp/mount; /tmp/mount -t proc a /b", ok=False)
        for rule, container in PODMAN.items():
            fields = self.found(rule)["output_fields"]
            for name, value in container.fields.items():
                self.assertEqual(fields[name], value, rule)
        self.assertEqual(self.found("Launch Privileged Container")["output_fields"]["container.id"], shown["Id"][:12])
        self.assertIn("/etc:/mnt", self.found("Launch Sensitive Mount Container")["output_fields"]["container.mounts"])

    def test_plain_containers_are_not_privileged(self):
        self.podman("run", "--network", "none", "--cgroup-parent", f"/{self.cgroups}/podman", "-d", "--name", "plain",
                    test_containers.IMAGE, "/bin/busybox", "sleep", "600")
        self.podman("exec", "plain", "/bin/sh", "-c", "cp /bin/busybox /tmp/xmrig; /tmp/xmrig", ok=False)
        alert = self.found("Known Cryptominer Process Executed")
        self.assertEqual(alert["output_fields"]["container.name"], "plain")
        for rule in PODMAN:
            self.assertEqual([], alerts(self.node, rule=rule), rule)


class Table(harness.TestCase):
    def test_every_rule_has_an_action_or_a_reason(self):
        names = set()
        for path in OFFICIAL:
            with open(path) as file:
                names.update(item["rule"] for item in yaml.safe_load(file) if "rule" in item)
        covered = {action.rule for action in ACTIONS} | set(PODMAN) | set(UNREACHABLE)
        self.assertEqual(names, covered)


if __name__ == "__main__":
    harness.main()
