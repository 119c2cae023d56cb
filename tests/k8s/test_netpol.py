"""The table tests/data/netpol/cases.yaml, each case by real `kubectl apply` and by packets between all nine pods."""
import itertools
import json
import os
import re
import sys

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cluster  # noqa: E402
import harness  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SPACES, PODS = "xyz", "abc"
PORTS = [(80, "TCP"), (81, "TCP"), (80, "UDP"), (81, "UDP")]
ALL = [f"{space}/{pod}" for space in SPACES for pod in PODS]


def matches(pattern, value):
    return all(p in ("*", v) for p, v in zip(pattern.split("/"), value.split("/")))


class NetworkPolicies(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = harness.Node(agent=False)
        cls.addClassCleanup(cls.node.__exit__, None, None, None)
        cls.node.__enter__()
        cls.kubernetes = cluster.Cluster(cls.node)
        cls.kubernetes.__enter__()
        cls.addClassCleanup(cls.kubernetes.__exit__, None, None, None)
        cls.kubernetes.apply(*itertools.chain(*(cluster.namespace(s, ns=s) for s in SPACES)))
        ports = [(f"p{port}-{protocol.lower()}", protocol, port) for port, protocol in PORTS]
        cls.kubernetes.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(
            [cluster.pod(p, s, {"pod": p}, ports=ports) for s in SPACES for p in PODS]))
        cluster.use(cls.node, cls.kubernetes)
        cls.node.start_agent()
        cluster.wait_synced(cls.node)
        cls.addresses, cls.probers = {}, {}
        for name in ALL:
            space, pod = name.split("/")
            addresses = cluster.attach_pod(cls.node, cls.kubernetes, pod, space, [80, 81], [80, 81])
            cls.addresses[name] = next(a for a in addresses if ":" not in a)
        for name in ALL:
            cls.probers[name] = cls.node.background(name, "/usr/bin/python3", os.path.join(HERE, "prober.py"),
                                                    stdin=-1)

    def matrix(self):
        """(from, to, port, protocol) -> reachable."""
        asked = {}
        for name, prober in self.probers.items():
            keys = [(name, other, port, protocol) for other in ALL if other != name for port, protocol in PORTS]
            asked[name] = keys
            prober.stdin.write(json.dumps([[k[3], self.addresses[k[1]], k[2]] for k in keys]) + "\n")
            prober.stdin.flush()
        return {key: answer for name, keys in asked.items()
                for key, answer in zip(keys, json.loads(self.probers[name].stdout.readline()))}

    def expected(self, statements):
        out = {}
        for source, target in itertools.permutations(ALL, 2):
            for port, protocol in PORTS:
                allowed = True
                for from_, to, ports, value in statements:
                    if matches(from_, source) and matches(to, target) and \
                            (ports == "*" or matches(ports, f"{port}/{protocol}")):
                        allowed = value
                out[source, target, port, protocol] = allowed
        return out

    def policies(self, case):
        text = json.dumps(case["policies"])
        text = re.sub(r"\{ip:(\w/\w)\}", lambda m: self.addresses[m.group(1)], text)
        text = re.sub(r"\{space:(\w)\}", r"\1", text)
        return [{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                 "metadata": {"name": f"p{number}", "namespace": space}, "spec": spec}
                for space, specs in json.loads(text).items() for number, spec in enumerate(specs)]

    def label(self, case, add):
        for kind, objects in case.get("label", {}).items():
            for name, labels in objects.items():
                space, _, short = name.rpartition("/")
                words = [f"{key}={value}" if add else f"{key}-" for key, value in labels.items()]
                self.kubernetes.kubectl("label", kind, short, *(["--namespace", space] if space else []), *words)

    def wait_matrix(self, wanted, what):
        different = {}

        def equal():
            seen = self.matrix()
            different.clear()
            different.update({key: seen[key] for key in wanted if seen[key] != wanted[key]})
            return not different
        try:
            harness.wait_for(equal, 8, what)
        except AssertionError:
            self.fail(f"{what}: {len(different)} of {len(wanted)} differ, among them {dict(list(different.items())[:5])}")

    def test_cases(self):
        with open(os.path.join(harness.ROOT, "tests", "data", "netpol", "cases.yaml")) as file:
            cases = yaml.safe_load(file)
        self.assertGreaterEqual(len(cases), 40)
        self.wait_matrix(self.expected([]), "no policy")
        for case in cases:
            with self.subTest(case["name"]):
                policies = yaml.safe_dump_all(self.policies(case))
                try:
                    self.kubernetes.kubectl("apply", "-f", "-", input=policies)
                    self.label(case, True)
                    self.wait_matrix(self.expected(case["expect"]), case["name"])
                finally:
                    self.label(case, False)
                    self.kubernetes.kubectl("delete", "--wait=false", "-f", "-", input=policies)


if __name__ == "__main__":
    cluster.programs()
    harness.main()
