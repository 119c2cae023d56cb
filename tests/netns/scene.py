"""What several end-to-end tests share: a node for all tests of a class, and short ways to write objects and probes."""
import json
import subprocess

import harness

FAMILIES = (4, 6)


class SharedNode(harness.TestCase):
    """One node for the tests of a class. Objects that a test applies are deleted after it; those of prepare() stay.

    options: arguments of harness.Node. prepare(): starts workloads.
    """

    options = {}

    @classmethod
    def setUpClass(cls):
        cls.node = harness.Node(**cls.options)
        cls.node.__enter__()
        cls.addClassCleanup(cls.node.close)
        try:
            cls.prepare()
        except BaseException:
            cls.node.print_logs()
            raise
        cls._kept = set(objects_of(cls.node))

    @classmethod
    def prepare(cls):
        pass

    def tearDown(self):
        if self.node.agent is not None:
            remove_objects(self.node, self._kept)

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            self.node.print_logs()
        return result


def objects_of(node):
    return [(one["kind"], one["namespace"], one["name"]) for one in node.api("GET", "/v1/objects")["objects"]]


def remove_objects(node, kept=()):
    for kind, namespace, name in objects_of(node):
        if (kind, namespace, name) not in kept:
            node.api("DELETE", f"/v1/objects/{kind}/{namespace or '-'}/{name}")


# --- objects ----------------------------------------------------------------------------------------------------------

def policy(name, selector=None, namespace="shop", ingress=None, egress=None, types=None):
    """A NetworkPolicy. ingress, egress: lists of rules; None leaves the field out."""
    spec = {"podSelector": {"matchLabels": selector} if selector else {}}
    if types is not None:
        spec["policyTypes"] = types
    if ingress is not None:
        spec["ingress"] = ingress
    if egress is not None:
        spec["egress"] = egress
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def from_pods(**labels):
    """Ingress rules that allow the pods of the policy's namespace with these labels."""
    return [{"from": [{"podSelector": {"matchLabels": labels}}]}]


def service(name, addresses, ports, selector=None, namespace="shop", **spec):
    """A Service. addresses: one, several or "None"; ports: [(name, protocol, port, target)]."""
    addresses = [addresses] if isinstance(addresses, str) else list(addresses)
    spec.update(clusterIP=addresses[0], clusterIPs=addresses, ports=[
        {"name": port_name, "protocol": protocol, "port": port, "targetPort": target}
        for port_name, protocol, port, target in ports])
    if selector:
        spec["selector"] = selector
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def slice_of(service_name, addresses, ports, namespace="shop", family=4, ready=True):
    """An EndpointSlice written by hand. ports: [(name, protocol, port)]."""
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": f"{service_name}-v{family}", "namespace": namespace,
                         "labels": {"kubernetes.io/service-name": service_name}},
            "addressType": f"IPv{family}",
            "ports": [{"name": name, "protocol": protocol, "port": port} for name, protocol, port in ports],
            "endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses]}


def namespace(name, **labels):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


# --- probes -----------------------------------------------------------------------------------------------------------

def python(node, where, script, *arguments, join_cgroup=True, timeout=30):
    """Runs a python script in a workload's network namespace ("host" and "outside" work too): its printed JSON."""
    command = ["/usr/bin/python3", "-c", script, *map(str, arguments)]
    if where == "host":
        code, out, err = node.host(*command, timeout=timeout)
    elif where == "outside":
        code, out, err = node.outside(*command, timeout=timeout)
    elif join_cgroup:
        code, out, err = node.exec(where, *command, timeout=timeout)
    else:
        code, out, err = node._finish(command, node.workload(where)["netns"], timeout=timeout)
    if code != 0:
        raise AssertionError(f"script in {where}: exit code {code}\n{out}\n{err}")
    return json.loads(out) if out.strip() else None


class Sockets:
    """Clients of a workload whose services are translated at the socket."""

    name = "socket"

    def __init__(self, node):
        self.node = node

    def requests(self, where, protocol, address, port, count=1, **options):
        return self.node.requests(where, protocol, address, port, count, **options)

    def request(self, where, protocol, address, port, **options):
        return self.requests(where, protocol, address, port, **options)[-1]

    def hold(self, where, count, address, port, **options):
        return self.node.hold(where, count, address, port, **options)


class Packets(Sockets):
    """Clients in a workload's network namespace but outside of the instance's cgroups: no socket hook sees them."""

    name = "packet"

    def requests(self, where, protocol, address, port, count=1, **options):
        command = [harness.BLTEST, protocol, address, port, "--count", count, *harness._flags(options)]
        _, out, err = self.node._finish(command, self.node.workload(where)["netns"])
        answers = [harness.Answer(json.loads(line)) for line in out.splitlines()]
        if not answers:
            raise AssertionError(f"{command}: no answer: {err}")
        return answers

    def hold(self, where, count, address, port, **options):
        command = [harness.BLTEST, "hold", count, address, port, *harness._flags(options)]
        child = self.node._start(command, self.node.workload(where)["netns"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
        self.node._children.append(child)
        return harness.Hold(child)


def paths(node):
    """Both ways in which a service is translated."""
    return Sockets(node), Packets(node)


def last_number(node):
    flows = node.flows(last=1)
    return flows[-1].get("number", 0) if flows else 0


def explain(node, source, destination, port=None, protocol="TCP"):
    query = f"/v1/policy/explain?source={source}&destination={destination}&protocol={protocol.upper()}"
    return node.api("GET", query + (f"&port={port}" if port is not None else ""))


def dump(node, name):
    """A map's entries as {key: value}, both as JSON texts."""
    entries = node.api("GET", f"/v1/maps/{name}?limit=100000")["entries"]
    return {json.dumps(one["key"], sort_keys=True): json.dumps(one["value"], sort_keys=True) for one in entries}
