"""Several nodes, joined by a switch namespace: each a harness.Node with an agent of its own.

    with cluster.Cluster(2, mode="vxlan") as c:
        c.run(0, "client")
        c.run(1, "web", *harness.serve("web", tcp=[80]))
        answer = c[0].tcp("client", c[1].address("web"), 80)

Every node has the same Node and Pod manifests, as a source for a cluster would give them.
"""
import contextlib

import harness
from harness import _run

FAMILIES = (4, 6)


def underlay(number, family):
    return f"192.0.2.{number + 1}" if family == 4 else f"2001:db8:2::{number + 1}"


def ranges(number):
    return [f"10.{110 + number}.0.0/24", f"fd00:{110 + number}::/64"]


class Cluster:
    """mode: vxlan or direct. outer: families of the nodes' own addresses. config: members for every agent."""

    def __init__(self, count=2, mode="vxlan", outer=FAMILIES, config=None, mtu=1500, agent=True):
        self.mode, self.outer, self.mtu, self._with_agent = mode, tuple(outer), mtu, agent
        self.config = config or {}
        self.nodes = []
        self.count = count
        self.switch = None

    def __enter__(self):
        try:
            for number in range(self.count):
                self._add(number)
            if self._with_agent:
                for node in self.nodes:
                    node.start_agent(wait=False)
                for node in self.nodes:
                    node.wait_ready()
                self.apply([self.node_object(number) for number in range(self.count)])
        except BaseException:
            self.close(failed=True)
            raise
        return self

    def __exit__(self, kind, *_):
        self.close(failed=kind is not None)

    def __getitem__(self, number):
        return self.nodes[number]

    def __len__(self):
        return len(self.nodes)

    def close(self, failed=False):
        for node in self.nodes:
            with contextlib.suppress(Exception):
                node.close(failed=failed)
        if self.switch:
            _run("ip", "netns", "del", self.switch, check=False)

    # --- the machines ---------------------------------------------------------------------------

    def _add(self, number):
        own = ranges(number)
        network = {"ipv4": own[0], "ipv6": own[1], "mode": self.mode, "addressRestSeconds": 0}
        network.update(self.config.get("network", {}))
        node = harness.Node(agent=False, config={**self.config, "node": f"node-{number}", "network": network})
        self.nodes.append(node)
        node.__enter__()
        if self.switch is None:
            self.switch = f"bl-{node.instance}-switch"
            _run("ip", "netns", "add", self.switch)
            _run("ip", "-n", self.switch, "link", "add", "sw", "type", "bridge", "mcast_snooping", "0")
            _run("ip", "-n", self.switch, "link", "set", "sw", "mtu", str(self.mtu), "up")
        port = f"p{number}"
        _run("ip", "link", "add", "up0", "mtu", str(self.mtu), "netns", node.netns, "type", "veth", "peer", "name", port, "mtu",
             str(self.mtu), "netns", self.switch)
        _run("ip", "-n", self.switch, "link", "set", port, "master", "sw", "up")
        _run("nsenter", f"--net={node.netns_path}", "sysctl", "-qw", "net.ipv6.conf.up0.accept_dad=0",
             "net.ipv6.conf.up0.accept_ra=0")
        for family in self.outer:
            node._ip("addr", "add", f"{underlay(number, family)}/{24 if family == 4 else 64}", "dev", "up0",
                     *(["nodad"] if family == 6 else []))
        node._ip("link", "set", "up0", "up")

    def node_object(self, number, ready=True):
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{number}"},
                "spec": {"podCIDR": ranges(number)[0], "podCIDRs": ranges(number)},
                "status": {"addresses": [{"type": "InternalIP", "address": underlay(number, f)} for f in self.outer],
                           "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}}

    # --- objects --------------------------------------------------------------------------------

    def apply(self, documents, nodes=None):
        """On every node, enforced when this returns."""
        if isinstance(documents, dict):
            documents = [documents]
        for node in self.nodes if nodes is None else nodes:
            node.apply(documents)

    def delete(self, kind, name, namespace="default", nodes=None):
        for node in self.nodes if nodes is None else nodes:
            node.delete(kind, name, namespace)

    def pod_object(self, number, name, addresses, namespace="default", labels=None):
        return {"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
                "spec": {"nodeName": f"node-{number}", "containers": []},
                "status": {"phase": "Running", "podIPs": [{"ip": address} for address in addresses],
                           "conditions": [{"type": "Ready", "status": "True"}]}}

    def run(self, number, name, *command, namespace="default", labels=None, **options):
        """A workload on a node, known to all the others when this returns."""
        entry = self.nodes[number].run(name, *command, namespace=namespace, labels=labels, **options)
        self.apply(self.pod_object(number, name, entry["addresses"], namespace, labels))
        return entry

    def stop(self, number, name, namespace="default"):
        self.nodes[number].stop(f"{namespace}/{name}")
        self.delete("Pod", name, namespace)
