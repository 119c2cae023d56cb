"""Hubble's gRPC API on TCP with TLS, and the relay over two instances."""
import ctypes
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import grpc

import harness
from hubble_client import Client, Follower, details_of, flow, nanoseconds, observer, relay, timestamp, unix

PORT = 4244


def certificates(folder):
    """ca.pem, server.pem/.key, client.pem/.key, other.pem/.key (of an authority nobody trusts)."""
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    for authority in ("ca", "otherca"):
        openssl("req", "-x509", *new, "-keyout", f"{authority}.key", "-out", f"{authority}.pem", "-subj", f"/CN={authority}")
    for name, authority, alt in (("server", "ca", "DNS:*.default.hubble-grpc.cilium.io,DNS:localhost,IP:127.0.0.1"),
                                 ("client", "ca", "DNS:client"), ("other", "otherca", "DNS:client")):
        openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        with open(os.path.join(folder, f"{name}.ext"), "w") as file:
            file.write(f"subjectAltName={alt}\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial",
                "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")


def read(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read()


class Bridge:
    """A unix socket here whose connections end at a TCP port inside a network namespace: gRPC makes its sockets on threads
    of its own, which are in the test's namespace."""

    def __init__(self, netns, address, port):
        self.target = (netns, address, port)
        self.folder = tempfile.mkdtemp(prefix="beeline-test-bridge-")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"{self.folder}/sock")
        self.listener.listen(16)
        self.name = f"unix://{self.folder}/sock"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near):
        netns, address, port = self.target
        with open(f"/run/netns/{netns}") as file:
            ctypes.CDLL(None).setns(file.fileno(), 0x40000000)  # this thread only
        try:
            far = socket.create_connection((address, port), 10)
        except OSError:
            near.close()
            return
        threading.Thread(target=self._pump, args=(far, near), daemon=True).start()
        self._pump(near, far)

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def close(self):
        self.listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Tls(harness.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="beeline-test-tls-")
        self.addCleanup(lambda: subprocess.run(["rm", "-rf", self.folder], check=False))
        certificates(self.folder)

    def tls(self, **more):
        return {"cert": f"{self.folder}/server.pem", "key": f"{self.folder}/server.key", **more}

    def credentials(self, client=None):
        return grpc.ssl_channel_credentials(read(self.folder, "ca.pem"), read(self.folder, f"{client}.key") if client else None,
                                            read(self.folder, f"{client}.pem") if client else None)

    def fails(self, client):
        with self.assertRaises(grpc.RpcError) as caught:
            client.unary("/observer.Observer/ServerStatus", observer.ServerStatusRequest(), observer.ServerStatusResponse, 5)
        self.assertIn(caught.exception.code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED))

    def client(self, node, credentials=None, name="localhost", address="127.0.0.1"):
        bridge = Bridge(node.netns, address, PORT)
        self.addCleanup(bridge.close)
        options = [("grpc.ssl_target_name_override", name)] if credentials else []
        client = Client(bridge.name, credentials, options)
        self.addCleanup(client.close)
        return client

    def test_tls(self):
        with harness.Node(config={"hubble": {"listen": ":4244", "tls": self.tls()}}) as node:
            client = self.client(node, self.credentials())
            self.assertGreater(client.status().max_flows, 0)
            one = next(iter(client.notify()))
            self.assertEqual(one.tls.server_name, "node-under-test.default.hubble-grpc.cilium.io")
            self.assertTrue(one.address.endswith(":4244"))
            named = self.client(node, self.credentials(), one.tls.server_name)
            self.assertEqual(named.nodes()[0].tls.server_name, one.tls.server_name)
            self.fails(self.client(node))
            self.fails(self.client(node, self.credentials(), "node.other.hubble-grpc.cilium.io"))
            for version, good in ((ssl.TLSVersion.TLSv1_2, False), (ssl.TLSVersion.TLSv1_3, True)):
                context = ssl.create_default_context(cafile=f"{self.folder}/ca.pem")
                context.minimum_version = context.maximum_version = version
                context.set_alpn_protocols(["h2"])
                bridge = Bridge(node.netns, "127.0.0.1", PORT)
                self.addCleanup(bridge.close)
                with socket.socket(socket.AF_UNIX) as raw:
                    raw.settimeout(10)
                    raw.connect(bridge.name.removeprefix("unix://"))
                    if good:
                        with context.wrap_socket(raw, server_hostname="localhost") as wrapped:
                            self.assertEqual(wrapped.version(), "TLSv1.3")
                    else:
                        with self.assertRaises((ssl.SSLError, ConnectionError)):
                            context.wrap_socket(raw, server_hostname="localhost")

    def test_mutual_tls(self):
        config = {"hubble": {"listen": ":4244", "tls": self.tls(clientCa=f"{self.folder}/ca.pem")}}
        with harness.Node(config=config) as node:
            self.assertGreater(self.client(node, self.credentials("client")).status().max_flows, 0)
            self.fails(self.client(node, self.credentials()))
            self.fails(self.client(node, self.credentials("other")))

    def test_plain_text_only_where_it_is_wanted(self):
        with harness.Node(agent=False, config={"hubble": {"listen": ":4244"}}) as node:
            code, _, err = node.host(os.path.join(harness.BIN, "beelined"), "--config", node.config_file, "--check")
            self.assertEqual(code, 1)
            self.assertIn("hubble.listen", err)
            self.assertIn("allowPlain", err)
        for hubble in ({"listen": "127.0.0.1"}, {"listen": "[::1]:4244"}, {"listen": ":4244", "allowPlain": True}):
            with self.subTest(**hubble), harness.Node(config={"hubble": hubble}) as node:
                address = "::1" if hubble["listen"].startswith("[") else "127.0.0.1"
                self.assertGreater(self.client(node, address=address).status().max_flows, 0)

    def test_relay_over_tls(self):
        config = {"hubble": {"listen": ":4244", "tls": self.tls(clientCa=f"{self.folder}/ca.pem")}}
        with harness.Node(config=config) as node:
            with open(f"{self.folder}/relay.yaml", "w") as file:
                harness.yaml.safe_dump({"hubble": {"relay": {
                    "listen": ":4245", "tls": self.tls(clientCa=f"{self.folder}/ca.pem"), "peers": ["localhost"],
                    "peerTls": {"ca": f"{self.folder}/ca.pem", "cert": f"{self.folder}/client.pem",
                                "key": f"{self.folder}/client.key"}}}}, file)
            node.background("host", os.path.join(harness.BIN, "beelined"), "--relay", "--config", f"{self.folder}/relay.yaml")
            bridge = Bridge(node.netns, "127.0.0.1", 4245)
            self.addCleanup(bridge.close)
            client = Client(bridge.name, self.credentials("client"), [("grpc.ssl_target_name_override", "localhost")])
            self.addCleanup(client.close)

            def connected():
                try:
                    return client.status().num_connected_nodes.value == 1
                except grpc.RpcError:
                    return False
            harness.wait_for(connected, 20, "the relay's peer")
            self.assertEqual(client.nodes()[0].name, "node-under-test")
            self.assertTrue(client.nodes()[0].tls.enabled)

    def test_a_taken_port_is_told(self):
        with harness.Node(agent=False, config={"hubble": {"listen": "127.0.0.1:4244"}}) as node:
            holder = node.background("host", "/usr/bin/python3", "-c", "import socket,time; s=socket.socket(); "
                                     "s.bind(('127.0.0.1',4244)); s.listen(); print('ok',flush=True); time.sleep(100)",
                                     stdout=subprocess.PIPE)
            holder.stdout.readline()
            node.start_agent()
            self.assertIn("4244", node.api("GET", "/v1/status")["hubble"]["error"])
            self.assertIn("could not start", node.cli_ok("status"))


class History(harness.TestCase):
    def test_flows_of_an_earlier_run(self):
        with harness.Node() as node:
            node.run("web", *harness.serve("web", tcp=[80]), namespace="shop")
            node.run("client", namespace="shop")
            before = time.time_ns()
            node.tcp("shop/client", node.address("shop/web"), 80)
            node.wait_flow(lambda f: f["kind"] == "closed")
            client = Client(unix(node))
            old = [f.uuid for f in client.flows()]
            client.close()
            node.restart_agent()
            client = Client(unix(node))
            self.addCleanup(client.close)
            self.assertEqual([f.uuid for f in client.flows() if f.uuid in old], [])
            node.tcp("shop/client", node.address("shop/web"), 80)
            node.wait_for(lambda: any(details_of(f).kind == "closed" for f in client.flows()))
            new = [f.uuid for f in client.flows()]
            # Memory is asked without a number; the history as soon as more is wanted.
            self.assertTrue(new)
            self.assertEqual(set(new) & set(old), set())
            for fields in ({"since": timestamp(before)}, {"number": 2**64 - 1}, {"first": True}, {"number": 1000}):
                self.assertEqual([f.uuid for f in client.flows(**fields)][:len(old) + 1], old + new[:1])
            one = [f.uuid for f in client.flows(number=len(new) + 1)]
            self.assertEqual(one, old[-1:] + new)
            self.assertEqual([f.uuid for f in client.flows(whitelist=[flow.FlowFilter(uuid=[old[0]])], first=True)], old[:1])


class Relay(harness.TestCase):
    """Two instances and a relay, all over unix sockets."""

    def setUp(self):
        self.nodes = []
        for name in ("node-a", "node-b"):
            node = harness.Node(config={"node": name, "hubble": {"cluster": "default"}})
            node.__enter__()
            self.addCleanup(node.close)
            self.nodes.append(node)
            node.run("web", *harness.serve("web", tcp=[80]), namespace=f"space-{name[-1]}", labels={"app": "web"})
            node.run("client", namespace="shop", labels={"app": "client"})
        self.folder = tempfile.mkdtemp(prefix="beeline-test-relay-")
        self.addCleanup(lambda: subprocess.run(["rm", "-rf", self.folder], check=False))

    def start_relay(self, *arguments, wait=2):
        sock = f"{self.folder}/relay.sock"
        log = open(f"{self.folder}/log", "a")
        self.addCleanup(log.close)
        child = subprocess.Popen([os.path.join(harness.BIN, "beelined"), "--relay", "--relay-listen", "none", "--relay-socket", sock,
                                  *arguments], stdout=log, stderr=log)

        def stop():
            child.terminate()
            child.wait(20)
        self.addCleanup(stop)
        harness.wait_for(lambda: os.path.exists(sock), 20, "the relay's socket")
        client = Client(f"unix://{sock}")
        self.addCleanup(client.close)
        harness.wait_for(lambda: sum(n.state == relay.NODE_CONNECTED and n.name.startswith("node-") for n in client.nodes()) == wait,
                         20, "the relay's peers")
        return client

    def connect(self, index, count=1):
        node, space = self.nodes[index], f"space-{'ab'[index]}"
        for _ in range(count):
            node.tcp("shop/client", node.address(f"{space}/web"), 80)

    def targets(self):
        return ",".join(unix(node) for node in self.nodes)

    def test_merged(self):
        for _ in range(4):
            self.connect(0)
            self.connect(1)
        client = self.start_relay("--peers", self.targets())
        responses = list(client.responses())
        status = [r.node_status for r in responses if r.HasField("node_status")]
        self.assertEqual((status[0].state_change, sorted(status[0].node_names)), (relay.NODE_CONNECTED, ["node-a", "node-b"]))
        self.assertTrue(responses[0].HasField("node_status"))
        flows = [r.flow for r in responses if r.HasField("flow")]
        times = [nanoseconds(f.time) for f in flows]
        self.assertEqual(times, sorted(times))
        names = [f.node_name for f in flows]
        self.assertEqual(set(names), {"node-a", "node-b"})
        self.assertGreater(sum(a != b for a, b in zip(names, names[1:])), 3)
        for index, name in enumerate(("node-a", "node-b")):
            own = Client(unix(self.nodes[index]))
            self.assertEqual([f.uuid for f in own.flows()], [f.uuid for f in flows if f.node_name == name])
            own.close()
        # number counts for each node.
        self.assertEqual(sorted(f.node_name for f in client.flows(number=2)), ["node-a"] * 2 + ["node-b"] * 2)
        self.assertEqual({f.node_name for f in client.where(node_name=["node-b"])}, {"node-b"})
        from google.protobuf.field_mask_pb2 import FieldMask
        masked = [r for r in client.responses(field_mask=FieldMask(paths=["uuid"])) if r.HasField("flow")]
        self.assertEqual([r.flow.uuid for r in masked], [f.uuid for f in flows])
        self.assertFalse(masked[0].flow.HasField("time"))

    def test_other_calls(self):
        self.connect(0)
        client = self.start_relay("--peers", f"{self.targets()},unix:///nowhere.sock")
        nodes = {n.name: n for n in client.nodes()}
        self.assertEqual(nodes["unix:///nowhere.sock"].state, relay.NODE_UNAVAILABLE)
        own = [Client(unix(node)) for node in self.nodes]
        sums = [one.status() for one in own]
        status = client.status()
        self.assertEqual((status.num_connected_nodes.value, status.num_unavailable_nodes.value, list(status.unavailable_nodes)),
                         (2, 1, ["unix:///nowhere.sock"]))
        self.assertGreaterEqual(status.seen_flows, sum(one.seen_flows for one in sums))
        self.assertEqual(status.max_flows, sum(one.max_flows for one in sums))
        self.assertGreaterEqual(status.uptime_ns, max(one.uptime_ns for one in sums))
        self.assertIn(("default", "space-a"), [(n.cluster, n.namespace) for n in client.namespaces()])
        told = [r.node_status for r in client.responses(number=1) if r.HasField("node_status")]
        self.assertEqual([(s.state_change, list(s.node_names)) for s in told],
                         [(relay.NODE_CONNECTED, ["node-a", "node-b"]), (relay.NODE_UNAVAILABLE, ["unix:///nowhere.sock"])])
        for call in (client.agent_events(), client.debug_events(), client.notify()):
            with self.assertRaises(grpc.RpcError) as caught:
                list(call)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
        with self.assertRaises(grpc.RpcError) as caught:
            client.flows(first=True, follow=True)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(client.health("hubble.server.Observer"), 1)
        _, call = client.channel.unary_unary("/observer.Observer/ServerStatus").with_call(b"", timeout=20)
        self.assertIn("hubble-relay-version", dict(call.initial_metadata()))
        for one in own:
            one.close()

    def test_follows_and_tells_of_a_lost_peer(self):
        client = self.start_relay("--peers", self.targets())
        with Follower(client.responses(follow=True, timeout=120)) as live:
            live.wait(lambda r: r.HasField("node_status"))
            time.sleep(0.5)
            self.connect(0)
            live.wait(lambda r: r.flow.node_name == "node-a")
            self.connect(1)
            live.wait(lambda r: r.flow.node_name == "node-b")
            self.nodes[1].stop_agent()
            lost = live.wait(lambda r: r.node_status.state_change in (relay.NODE_ERROR, relay.NODE_UNAVAILABLE))
            self.assertEqual(list(lost.node_status.node_names), ["node-b"])
            self.connect(0)
            self.nodes[1].start_agent()
            live.wait(lambda r: r.node_status.state_change == relay.NODE_CONNECTED and list(r.node_status.node_names) == ["node-b"], 60)
            seen = len(live.seen)
            self.connect(1)
            harness.wait_for(lambda: any(r.flow.node_name == "node-b" for r in live.seen[seen:]), 20, "flows after the return")

    def test_peers_by_notify(self):
        self.nodes[0].stop_agent()
        with open(self.nodes[0].config_file) as file:
            config = harness.yaml.safe_load(file)
        config["hubble"]["peers"] = [{"name": "node-b", "address": unix(self.nodes[1])}]
        with open(self.nodes[0].config_file, "w") as file:
            harness.yaml.safe_dump(config, file)
        self.nodes[0].start_agent()
        self.connect(0)
        self.connect(1)
        client = self.start_relay("--notifier", unix(self.nodes[0]))
        self.assertEqual({f.node_name for f in client.flows()}, {"node-a", "node-b"})


if __name__ == "__main__":
    harness.main()
