"""What a Prometheus server reads from the agent: metrics of flows, of the agent, their options, and losses."""
import os
import re
import shutil
import subprocess
import unittest

import harness
import scene
from scene import policy

PORT = 9965
SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')


def parse(text):
    """[(name, labels, value)] of a scrape; anything that is no comment and no sample is an error."""
    out = []
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        match = SAMPLE.match(line)
        assert match, line
        labels, rest = {}, match.group(2) or ""
        while rest:
            label = LABEL.match(rest)
            assert label, line
            assert label.group(1) not in labels, line
            labels[label.group(1)] = label.group(2)
            rest = rest[label.end():]
        out.append((match.group(1), labels, float(match.group(3))))
    return out


class Scraped:
    def __init__(self, text):
        self.text = text
        self.samples = parse(text)

    def total(self, name, **labels):
        """The sum of the series that have these labels; 0 when there is none."""
        return sum(value for found, own, value in self.samples
                   if found == name and all(own.get(key) == value for key, value in labels.items()))

    def labels_of(self, name):
        return {frozenset(labels) for found, labels, _ in self.samples if found == name}

    def families(self):
        return set(re.findall(r"^# TYPE (\S+) ", self.text, re.M))


def scrape(node, port=PORT, address="127.0.0.1"):
    code, out, err = node.host("curl", "-sSf", "--max-time", "10", f"http://{address}:{port}/metrics")
    if code != 0:
        raise AssertionError(f"scrape: {err}")
    return Scraped(out)


class Metrics(scene.SharedNode):
    # ":PORT" serves on every address of both families.
    options = {"outside": True, "config": {"metrics": {"listen": f":{PORT}", "programStats": True}}}

    @classmethod
    def prepare(cls):
        cls.node.run("web", *harness.serve("web", tcp=[80], udp=[53]), namespace="shop", labels={"app": "web"})
        cls.node.run("client", namespace="shop", labels={"app": "client"})
        cls.node.serve("outside", "world", tcp=[80])

    def wait_total(self, least, name, **labels):
        return self.node.wait_for(lambda: scrape(self.node).total(name, **labels) >= least,
                                  what=f"{name}{labels} >= {least}")

    def test_flows_become_counters(self):
        node = self.node
        node.apply([policy("web", {"app": "web"}, ingress=scene.from_pods(app="client"))])
        for _ in range(3):
            self.assertEqual(node.tcp("shop/client", node.address("shop/web"), 80)["error"], "")
        node.ping("shop/client", node.address("shop/web"))
        pods = {"source": "shop/client", "destination": "shop/web", "source_namespace": "shop"}
        back = {"source": "shop/web", "destination": "shop/client"}
        self.wait_total(3, "hubble_flows_processed_total", type="PolicyVerdict", protocol="TCP", verdict="FORWARDED", **pods)
        self.wait_total(3, "hubble_flows_processed_total", type="Trace", subtype="to-endpoint", **pods)
        self.wait_total(3, "hubble_tcp_flags_total", flag="SYN", family="IPv4", **pods)
        self.wait_total(3, "hubble_tcp_flags_total", flag="SYN-ACK", **back)
        self.wait_total(1, "hubble_tcp_flags_total", flag="FIN")
        self.wait_total(1, "hubble_icmp_total", family="IPv4", type="EchoRequest", **pods)
        self.wait_total(3, "hubble_port_distribution_total", protocol="TCP", port="80", **pods)
        self.wait_total(3, "hubble_policy_verdicts_total", direction="ingress", match="l3-l4", action="forwarded",
                        source="client", destination="web")
        self.wait_total(1, "cilium_forward_count_total", direction="INGRESS")

    def test_drops_by_reason_and_to_the_world(self):
        node = self.node
        node.apply([policy("client", {"app": "client"}, types=["Egress"], egress=[])])
        self.assertNotEqual(node.tcp("shop/client", harness.OUTSIDE_V4, 80, timeout=1000)["error"], "")
        self.wait_total(1, "hubble_drop_total", reason="POLICY_DENIED", protocol="TCP", source="shop/client")
        self.wait_total(1, "hubble_policy_verdicts_total", direction="egress", action="dropped", source="client",
                        destination="reserved:world")
        self.wait_total(1, "cilium_drop_count_total", reason="Policy denied")

    def test_the_agents_own(self):
        self.node.tcp("shop/client", self.node.address("shop/web"), 80)
        found = scrape(self.node)
        status = self.node.api("GET", "/v1/status")
        self.assertEqual(found.total("cilium_version", version=status["version"]), 1)
        self.assertEqual(found.total("cilium_endpoint"), 2)
        self.assertEqual(found.total("cilium_endpoint_state", endpoint_state="ready"), 2)
        self.assertGreater(found.total("cilium_bpf_map_pressure", map_name="bl_ct"), 0)
        self.assertLess(found.total("cilium_bpf_map_pressure", map_name="bl_ct"), 1)
        self.assertGreater(found.total("cilium_policy_implementation_delay_count"), 0)
        self.assertGreater(found.total("cilium_datapath_conntrack_gc_runs_total", status="completed"), 0)
        self.assertGreater(found.total("cilium_process_resident_memory_bytes"), 1e6)
        self.assertGreater(found.total("beeline_bpf_program_runs_total", program="bl_from_pod"), 0)
        self.assertGreater(found.total("beeline_bpf_program_run_seconds_total", program="bl_from_pod"), 0)
        for source in ("perf_event_ring_buffer", "observer_events_queue", "hubble_ring_buffer"):
            self.assertIn(("hubble_lost_events_total", {"source": source}, 0.0), found.samples)
        self.assertEqual(found.total("beeline_datapath_events_total", event="flow_lost"), status["metrics"]["flow_lost"])
        self.assertGreater(found.total("beeline_datapath_events_total", event="ct_created"), 0)
        again = scrape(self.node)
        self.assertGreaterEqual(again.total("hubble_metrics_http_handler_requests_total", code="200"), 1)
        self.assertEqual(status["prometheus"]["lost"], 0)
        self.assertIn("flow", status["prometheus"]["enabled"])

    def test_every_series_of_a_metric_has_the_same_labels(self):
        self.node.tcp("shop/client", self.node.address("shop/web"), 80)
        found = scrape(self.node)
        for name in {name for name, _, _ in found.samples}:
            self.assertEqual(len(found.labels_of(name)), 1, name)

    def test_services_events(self):
        before = scrape(self.node).total("cilium_services_events_total", action="add")
        self.node.apply([scene.service("web", "10.96.0.10", [("http", "TCP", 80, 80)], {"app": "web"})])
        self.wait_total(before + 1, "cilium_services_events_total", action="add")

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")
    def test_promtool_has_nothing_to_say(self):
        self.node.tcp("shop/client", self.node.address("shop/web"), 80)
        text = scrape(self.node).text
        done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, timeout=60)
        # Names that dashboards ask for are as they are, even where the linter would have chosen others.
        given = ("cilium_", "hubble_")
        said = [line for line in (done.stdout + done.stderr).splitlines() if line and not line.startswith(given)]
        self.assertEqual(said, [])
        self.assertNotIn("error", done.stderr.split("\n")[0].lower().replace("cilium_errors_warnings_total", ""))

    def test_the_page_lists_every_metric(self):
        with open(os.path.join(harness.ROOT, "docs", "metrics.md")) as file:
            page = set(re.findall(r"`((?:hubble|cilium|beeline)_[a-z0-9_]+)`", file.read()))
        self.node.tcp("shop/client", self.node.address("shop/web"), 80)
        self.assertEqual(scrape(self.node).families() - page, set())

    def test_only_get_of_its_page(self):
        for method, path, status in (("GET", "/", 404), ("POST", "/metrics", 405), ("GET", "/v1/status", 404)):
            _, out, _ = self.node.host("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", method,
                                  f"localhost:{PORT}{path}")
            self.assertEqual(out, str(status), (method, path))


class Options(harness.TestCase):
    def test_chosen_metrics_bounded_and_gone_with_their_pod(self):
        config = {"metrics": {"hubble": ["flow:sourceContext=pod port-distribution"], "series": 5}}
        with harness.Node(config=config) as node:
            node.run("web", *harness.serve("web", tcp=list(range(80, 90))), labels={"app": "web"})
            node.run("client", labels={"app": "client"})
            for port in range(80, 90):
                self.assertEqual(node.tcp("client", node.address("web"), port)["error"], "")
            node.wait_for(lambda: scrape(node).total("beeline_metrics_overflow_total",
                                                     metric="hubble_port_distribution_total") > 0)
            found = scrape(node)
            ports = [labels for name, labels, _ in found.samples if name == "hubble_port_distribution_total"]
            self.assertEqual(len(ports), 5)
            self.assertGreater(found.total("hubble_flows_processed_total", source="default/client"), 0)
            self.assertEqual(found.total("hubble_tcp_flags_total"), 0)

    def test_nothing_is_served_when_switched_off(self):
        with harness.Node(config={"metrics": {"listen": "none"}}) as node:
            self.assertEqual(node.api("GET", "/v1/status")["prometheus"]["listen"], "")
            self.assertEqual(node.host("ss", "-Hltn")[1].count(f":{PORT}"), 0)

    def test_a_taken_port_is_told_and_the_agent_works(self):
        with harness.Node(agent=False) as node:
            node.serve("host", "other", tcp=[PORT])
            node.start_agent()
            self.assertIn(str(PORT), node.api("GET", "/v1/status")["prometheus"]["error"])

    def test_mistakes_in_the_configuration_are_named(self):
        for options, words in (({"hubble": ["flows"]}, 'unknown metric "flows"'),
                               ({"hubble": ["drop:sourceContext=pods"]}, '"pods"'),
                               ({"listen": "localhost:1"}, "expected ADDRESS:PORT")):
            with harness.Node(agent=False, config={"metrics": options}) as node:
                code, _, err = node.host(os.path.join(harness.BIN, "beelined"), "--check", "--config", node.config_file)
                self.assertEqual(code, 1)
                self.assertIn(words, err)


if __name__ == "__main__":
    harness.main()
