"""What the benchmarks share: nodes, pinned processes, alternation and the result line.

A result is one JSON object a line on stdout:
  bench, case, unit, value, baseline, ratio, ratio_min, ratio_max, runs
value and baseline are medians over the runs; ratio is the median of the ratios within each run.
"""
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
os.environ.setdefault("BEELINE_BIN", os.path.join(ROOT, "build", "release", "bin"))
sys.path.insert(0, os.path.join(ROOT, "tests", "netns"))
import harness  # noqa: E402  (needs the path above)

BLBENCH = os.path.join(harness.BIN, "blbench")
# Client and server share one CPU: waking a sleeping one costs more than what is measured.
CPU = os.cpu_count() - 1
RUNS = int(os.environ.get("BENCH_RUNS", "7"))
SECONDS = os.environ.get("BENCH_SECONDS", "1")


def say(text):
    print(text, file=sys.stderr, flush=True)


def result(bench, case, unit, value, baseline=None, ratios=None, **more):
    line = {"bench": bench, "case": case, "unit": unit, "value": round(value, 3)}
    if baseline is not None:
        line["baseline"] = round(baseline, 3)
    if ratios:
        line.update(ratio=round(statistics.median(ratios), 3), ratio_min=round(min(ratios), 3),
                    ratio_max=round(max(ratios), 3), runs=len(ratios))
    line.update(more)
    print(json.dumps(line), flush=True)


def alternate(cases, runs=RUNS):
    """{name: function -> number}, called in turn `runs` times, after one round that does not count. -> {name: [numbers]}"""
    numbers = {name: [] for name in cases}
    for run in range(runs + 1):
        for name, measure in cases.items():
            value = measure()
            if run:
                numbers[name].append(value)
    return numbers


def compare(bench, case, unit, numbers, name, baseline, **more):
    values, base = numbers[name], numbers[baseline]
    result(bench, case, unit, statistics.median(values), statistics.median(base),
           [a / b for a, b in zip(values, base)], against=baseline, **more)


def pinned(command):
    return ["taskset", "-c", str(CPU), *map(str, command)]


class Place:
    """Where a process runs: a network namespace (a path) and a cgroup (a folder, or None)."""

    def __init__(self, netns, cgroup=None):
        self.netns, self.cgroup = netns, cgroup

    def start(self, *command, **options):
        return self.start_free(*pinned(command), **options)

    def start_free(self, *command, **options):
        """On any CPU."""
        def join():
            if self.cgroup:
                with open(os.path.join(self.cgroup, "cgroup.procs"), "w") as file:
                    file.write("0")
        return subprocess.Popen(["nsenter", f"--net={self.netns}", *map(str, command)], preexec_fn=join,
                                stdout=subprocess.PIPE, text=True, **options)

    def number(self, *command):
        child = self.start(*command)
        out, _ = child.communicate(timeout=120)
        if child.returncode != 0:
            raise SystemExit(f"{command}: exit {child.returncode}")
        return float(out)

    def serve(self):
        """The blbench server; terminate() it in the end."""
        # A SYN on a tuple that is in TIME_WAIT takes detours that are not the path's.
        self.start("sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=0").wait()
        child = self.start(BLBENCH, "server", "7001", "7002", "7003")
        child.stdout.readline()
        return child


def pod(node, name, **options):
    """A workload that only sleeps -> its Place and addresses."""
    node.run(name, "sleep", "3600", **options)
    entry = node.workload(name)
    return Place(entry["netns"], node._cgroup_of(entry)), entry["addresses"]


class Namespaces:
    """Plain network namespaces for the baselines. Their processes run in cgroups as deep as those of workloads, where no
    hook is attached: the accounting of the cgroups itself costs 3 % of all round trips."""

    def __init__(self, *names):
        self.names = [f"bl-bench{os.getpid()}-{name}" for name in names]
        self.cgroups = os.path.join(harness.cgroup_root(), f"bl-bench{os.getpid()}", "plain", "workloads")

    def __enter__(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "add", name], check=True)
            self.ip(name, "link", "set", "lo", "up")
            os.makedirs(os.path.join(self.cgroups, name))
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False)
            harness.kill_cgroup(os.path.join(self.cgroups, name))
        os.removedirs(self.cgroups)

    def ip(self, name, *words):
        subprocess.run(["ip", "-n", name, *words], check=True)

    def veth(self, a, device_a, address_a, b, device_b, address_b):
        subprocess.run(["ip", "link", "add", device_a, "netns", a, "type", "veth", "peer", "name", device_b, "netns", b],
                       check=True)
        for name, device, address in ((a, device_a, address_a), (b, device_b, address_b)):
            self.ip(name, "addr", "add", address, "dev", device)
            self.ip(name, "link", "set", device, "up")

    def place(self, name):
        return Place(f"/run/netns/{name}", os.path.join(self.cgroups, name))

    def sysctl(self, name, setting):
        subprocess.run(["nsenter", f"--net=/run/netns/{name}", "sysctl", "-qw", setting], check=True)


def wait_until(predicate, timeout, what):
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not happen within {timeout} s")
        time.sleep(0.02)


class Fleet:
    """Many workloads without processes: a network namespace each, attached through the API as the CNI plugin does."""

    def __init__(self, node, count, label="app"):
        self.node, self.count, self.label = node, count, label
        self.names = [f"bl-bench{os.getpid()}-w{i}" for i in range(count)]

    def __enter__(self):
        batch = "".join(f"netns add {name}\n" for name in self.names)
        subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
        started = time.monotonic()
        for i, name in enumerate(self.names):
            self.node.api("POST", "/v1/cni/add", json.dumps({
                "container": f"c{i}", "netns": f"/run/netns/{name}", "interface": "eth0",
                "args": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=fleet;K8S_POD_NAME=w{i}", "path": "",
                "config": self.node.cni_config(args={"cni": {"labels": [{"key": self.label, "value": f"w{i}"}]}})}))
            if i % 200 == 199:
                say(f"  {i + 1} workloads attached")
        self.attach_ms = (time.monotonic() - started) * 1000 / self.count
        return self

    def __exit__(self, *_):
        subprocess.run(["ip", "-batch", "-"], input="".join(f"netns del {name}\n" for name in self.names), text=True,
                       check=False)


def rss_mb(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Rss:")) / 1024


def cpu_seconds(pid):
    """User and system time of all threads so far."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pin_threads(pid, cpu):
    """The mask of a process is that of each of its threads."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), {cpu})


def agent_pid(node):
    return node.api("GET", "/v1/status")["pid"]


def map_memory_mb(pins):
    """Kernel memory of an instance's maps, as the kernel accounts it."""
    total = 0
    for name in os.listdir(pins):
        out = subprocess.check_output([BPFTOOL, "-j", "map", "show", "pinned", os.path.join(pins, name)], text=True)
        total += int(json.loads(out).get("bytes_memlock", 0))
    return total / 1048576


BPFTOOL = os.path.join(os.environ.get("BEELINE_DEPS", "/var/cache/beeline/deps"), "root/usr/sbin/bpftool")
