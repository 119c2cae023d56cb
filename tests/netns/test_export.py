"""What other systems get by themselves: files in Hubble's JSON, OpenTelemetry over HTTP, a real Kafka broker."""
import gzip
import http.server
import importlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import harness
from scene import policy

PROTO = os.path.join(harness.ROOT, "src", "api", "proto")


def run_pods(node):
    node.run("web", *harness.serve("web", tcp=[80]), namespace="shop", labels={"app": "web"})
    node.run("client", namespace="shop", labels={"app": "client"})


def make_flows(node, count=3):
    for _ in range(count):
        answer = node.tcp("shop/client", node.address("shop/web"), 80)
        if answer["error"]:
            raise AssertionError(answer)


def lines_of(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt") as file:
        return [json.loads(line) for line in file]


def export_status(node, name):
    return node.api("GET", "/v1/status")["export"][name]


class Files(harness.TestCase):
    def test_hubbles_json_filters_fields_and_rotation(self):
        with tempfile.TemporaryDirectory(prefix="beeline-export-") as folder:
            every, denied, turning = (os.path.join(folder, name) for name in ("every.log", "denied.log", "turning.log"))
            files = [
                {"path": every, "name": "every"},
                {"path": denied, "name": "denied", "allow": ['{"verdict": ["DROPPED"], "source_pod": ["shop/client"]}'],
                 "deny": ['{"destination_port": ["81"]}'], "fields": ["time", "verdict", "source.pod_name", "drop_reason_desc"]},
                {"path": turning, "name": "turning", "maxBytes": 8192, "keep": 2, "compress": True},
            ]
            with harness.Node(config={"export": {"files": files}}) as node:
                run_pods(node)
                make_flows(node)
                node.apply([policy("none", {"app": "web"}, ingress=[])])
                for port in (80, 81):
                    self.assertNotEqual(node.tcp("shop/client", node.address("shop/web"), port, timeout=500)["error"], "")
                node.wait_for(lambda: [e for e in lines_of(every) if e.get("flow", {}).get("verdict") == "DROPPED"])
                flow = next(e for e in lines_of(every) if e["flow"].get("l4", {}).get("TCP", {}).get("destination_port") == 80
                            and e["flow"]["verdict"] == "FORWARDED" and not e["flow"]["is_reply"])
                self.assertEqual(flow["node_name"], "node-under-test")
                self.assertRegex(flow["time"], r"^20\d\d-\d\d-\d\dT.*Z$")
                self.assertEqual(flow["flow"]["source"]["pod_name"], "client")
                self.assertEqual(flow["flow"]["destination"]["namespace"], "shop")
                self.assertIn("Type", flow["flow"])
                self.assertEqual(flow["flow"]["IP"]["ipVersion"], "IPv4")
                self.assertNotIn("extensions", flow["flow"])

                node.delete("NetworkPolicy", "none", "shop")
                drops = node.wait_for(lambda: lines_of(denied))
                for event in drops:
                    self.assertEqual(set(event["flow"]), {"time", "verdict", "source", "drop_reason_desc"})
                    self.assertEqual(event["flow"]["source"], {"pod_name": "client"})
                self.assertEqual(stat.S_IMODE(os.stat(every).st_mode), 0o600)

                def turned():
                    make_flows(node, 5)
                    return os.path.exists(turning + ".2.gz")
                node.wait_for(turned, timeout=30)
                for path in (turning + ".1.gz", turning + ".2.gz"):
                    self.assertTrue(lines_of(path))
                self.assertFalse(os.path.exists(turning + ".3.gz") or os.path.exists(turning + ".1"))
                self.assertLessEqual(os.path.getsize(turning), 8192)
                status = export_status(node, "every")
                self.assertEqual((status["kind"], status["failed"], status["lost"]), ("file", 0, 0))
                self.assertGreater(status["sent"], 0)
                node.stop_agent()
            # The last flows of a clean end are there.
            self.assertGreaterEqual(len(lines_of(every)), status["sent"])

    def test_mistakes_are_named(self):
        for export, words in (({"files": [{"path": "/x", "allow": ['{"verdict": ["NEVER"]}']}]}, "allow[0]"),
                              ({"files": [{"path": "/x", "allow": ['{"source_ip": ["nonsense"]}']}]}, "nonsense"),
                              ({"files": [{"path": "/x", "fields": ["colour"]}]}, "colour"),
                              ({"files": [{"path": "x"}]}, "absolute path"),
                              ({"otlp": [{"endpoint": "http://127.0.0.1/?token=secret"}]}, "plain URL"),
                              ({"kafka": [{"topic": "x"}]}, "brokers")):
            with self.subTest(words), harness.Node(agent=False, config={"export": export}) as node:
                code, _, err = node.host(os.path.join(harness.BIN, "beelined"), "--check", "--config", node.config_file)
                self.assertEqual(code, 1)
                self.assertIn(words, err)


class Receiver:
    """A server of the OpenTelemetry protocol that decodes what comes, in the network namespace of a node."""

    def __init__(self, node, folder, fail_first=0):
        # The classes are generated from the project's own .proto files by protoc, and decoded by Python's library.
        protos = [os.path.join(path, name) for path, _, names in os.walk(os.path.join(PROTO, "opentelemetry"))
                  for name in names]
        subprocess.run(["protoc", f"-I{PROTO}", f"--python_out={folder}", *protos], check=True)
        sys.path.insert(0, folder)
        self.types = {}
        for kind, message in (("logs", "ExportLogsServiceRequest"), ("metrics", "ExportMetricsServiceRequest"),
                              ("trace", "ExportTraceServiceRequest")):
            module = importlib.import_module(f"opentelemetry.proto.collector.{kind}.v1.{kind}_service_pb2")
            self.types["/v1/" + ("traces" if kind == "trace" else kind)] = getattr(module, message)
        sys.path.remove(folder)
        self.requests = []
        self.headers = []
        self.left_to_fail = fail_first
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.left_to_fail > 0:
                    receiver.left_to_fail -= 1
                    self.send_response(503)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                request = receiver.types[self.path]()
                request.ParseFromString(body)
                receiver.headers.append(dict(self.headers))
                receiver.requests.append(request)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        def listen():
            # Sockets belong to the namespace of the thread that makes them.
            import ctypes
            libc = ctypes.CDLL(None, use_errno=True)
            with open(node.netns_path) as netns:
                if libc.setns(netns.fileno(), 0x40000000) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 4318), Handler)
            started.set()
            self.server.serve_forever()

        started = threading.Event()
        self.thread = threading.Thread(target=listen, daemon=True)
        self.thread.start()
        if not started.wait(10):
            raise AssertionError("the receiver did not start")

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def logs(self):
        return [record for request in list(self.requests) if hasattr(request, "resource_logs")
                for resource in request.resource_logs for scope in resource.scope_logs for record in scope.log_records]

    def metrics(self):
        return {metric.name: metric for request in list(self.requests) if hasattr(request, "resource_metrics")
                for resource in request.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics}


def attributes(record):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in record.attributes}


@unittest.skipUnless(shutil.which("protoc"), "protoc is not installed")
class OpenTelemetry(harness.TestCase):
    def test_logs_and_metrics_arrive_and_failures_are_tried_again(self):
        endpoint = "http://127.0.0.1:4318"
        otlp = {"endpoint": endpoint, "headers": {"Authorization": "Bearer very-secret"}, "intervalSeconds": 1,
                "delayMs": 100, "allow": ['{"destination_pod": ["shop/web"]}']}
        with tempfile.TemporaryDirectory(prefix="beeline-export-") as folder, \
                harness.Node(agent=False, config={"export": {"otlp": [otlp]}}) as node:
            receiver = Receiver(node, folder, fail_first=2)
            try:
                node.start_agent()
                run_pods(node)
                make_flows(node)
                records = node.wait_for(lambda: [r for r in receiver.logs() if attributes(r).get("verdict") == "FORWARDED"],
                                        timeout=30)
                found = attributes(records[0])
                self.assertEqual(found["source.k8s.pod.name"], "client")
                self.assertEqual(found["destination.k8s.namespace.name"], "shop")
                self.assertEqual(found["destination.port"], 80)
                self.assertEqual(found["network.transport"], "TCP")
                body = json.loads(records[0].body.string_value)
                self.assertEqual(body["flow"]["destination"]["pod_name"], "web")
                self.assertLess(abs(records[0].time_unix_nano / 1e9 - time.time()), 120)
                self.assertTrue(all(attributes(r)["destination.k8s.pod.name"] == "web" for r in receiver.logs()))

                metrics = node.wait_for(lambda: "hubble_flows_processed_total" in receiver.metrics() and receiver.metrics(),
                                        timeout=30)
                flows = metrics["hubble_flows_processed_total"].sum
                self.assertTrue(flows.is_monotonic)
                self.assertEqual(flows.aggregation_temporality, 2)
                self.assertGreater(sum(point.as_double for point in flows.data_points), 0)
                delay = metrics["cilium_policy_implementation_delay"].histogram.data_points[0]
                self.assertEqual(sum(delay.bucket_counts), delay.count)
                self.assertEqual(len(delay.bucket_counts), len(delay.explicit_bounds) + 1)
                self.assertEqual(metrics["cilium_endpoint"].gauge.data_points[0].as_double, 2)

                request = next(r for r in receiver.requests if hasattr(r, "resource_logs"))
                resource = attributes(request.resource_logs[0].resource)
                self.assertEqual((resource["service.name"], resource["host.name"]), ("beeline", "node-under-test"))
                self.assertEqual(receiver.headers[0]["Authorization"], "Bearer very-secret")
                self.assertEqual(receiver.headers[0]["Content-Encoding"], "gzip")
                status = export_status(node, endpoint)
                self.assertGreaterEqual(status["retries"], 1)
                self.assertEqual((status["failed"], status["lost"]), (0, 0))
                # Headers may be secrets.
                self.assertNotIn("very-secret", json.dumps(node.api("GET", "/v1/status")))
            finally:
                receiver.close()

    def test_a_server_that_is_away_costs_counted_losses_and_no_time_at_the_end(self):
        endpoint = "http://127.0.0.1:4319"
        otlp = {"endpoint": endpoint, "metrics": False, "delayMs": 10, "batch": 1, "queue": 2, "retrySeconds": 3600}
        with harness.Node(config={"export": {"otlp": [otlp]}}) as node:
            run_pods(node)
            make_flows(node, 5)
            node.wait_for(lambda: export_status(node, endpoint)["lost"] > 0)
            status = export_status(node, endpoint)
            self.assertLessEqual(status["waiting"], 4)
            self.assertIn("last_error", status)
            node.stop_agent()


@unittest.skipUnless(shutil.which("javac") and shutil.which("mvn"), "a JDK and maven are not installed")
class Kafka(harness.TestCase):
    BROKER = "127.0.0.1:9092"

    @classmethod
    def setUpClass(cls):
        done = subprocess.run([os.path.join(harness.ROOT, "tools", "fetch-kafka")], stdout=subprocess.PIPE, text=True, timeout=240)
        if done.returncode != 0:
            raise unittest.SkipTest("Kafka's artefacts are not to be had")
        cls.jars = os.path.join(done.stdout.strip(), "*")

    def java(self, *words):
        return ["java", "-Xmx256m", "-cp", self.jars, *words]

    def start_broker(self, node, folder):
        properties = os.path.join(folder, "server.properties")
        with open(properties, "w") as file:
            file.write("\n".join([
                "process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@127.0.0.1:9093",
                f"listeners=PLAINTEXT://{self.BROKER},CONTROLLER://127.0.0.1:9093", "controller.listener.names=CONTROLLER",
                f"log.dirs={folder}/data", "offsets.topic.replication.factor=1", "num.partitions=1",
                "transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1", ""]))
        code, out, err = node.host(*self.java("kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c",
                                              properties), timeout=120)
        self.assertEqual(code, 0, out + err)
        log = open(os.path.join(folder, "broker.log"), "w")
        self.addCleanup(log.close)
        broker = node.background("host", *self.java("kafka.Kafka", properties), stdout=log, stderr=log)
        node.wait_for(lambda: ":9092" in node.host("ss", "-Hltn")[1], timeout=90, what="the broker listens")
        return broker

    def read(self, node, topic, count):
        code, out, err = node.host(*self.java(os.path.join(harness.ROOT, "tests", "netns", "KafkaRead.java"), self.BROKER, topic,
                                              str(count), "40"), timeout=120)
        self.assertEqual(code, 0, err)
        return [(key, json.loads(value)) for key, _, value in (line.partition("\t") for line in out.splitlines())]

    def test_a_real_broker_gets_flows_and_back_pressure_is_counted(self):
        exports = {"kafka": [
            {"brokers": [self.BROKER], "topic": "flows", "compression": "gzip",
             "allow": ['{"source_pod": ["shop/client"]}']},
            {"brokers": ["127.0.0.1:9099"], "topic": "nowhere", "queue": 2, "properties": {"message.timeout.ms": "2000"}},
        ]}
        with tempfile.TemporaryDirectory(prefix="beeline-export-") as folder, \
                harness.Node(agent=False, config={"export": exports}) as node:
            self.start_broker(node, folder)
            node.start_agent()
            run_pods(node)
            make_flows(node, 10)
            node.wait_for(lambda: export_status(node, "flows")["sent"] >= 20, timeout=60)
            status = export_status(node, "flows")
            self.assertEqual((status["failed"], status["lost"]), (0, 0))
            messages = self.read(node, "flows", 20)
            self.assertGreaterEqual(len(messages), 20)
            self.assertEqual({key for key, _ in messages}, {"shop/client"})
            for _, event in messages:
                self.assertEqual(event["node_name"], "node-under-test")
                self.assertEqual(event["flow"]["source"]["pod_name"], "client")
            # The other one has nobody to talk to: what it gives up is counted, and nobody else waits for it.
            node.wait_for(lambda: export_status(node, "nowhere")["lost"] > 0, timeout=30)
            self.assertGreater(export_status(node, "nowhere")["retries"], 0)
            self.assertIn("last_error", export_status(node, "nowhere"))


if __name__ == "__main__":
    harness.main()
