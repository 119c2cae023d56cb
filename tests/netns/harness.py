"""One Beeline node in a network namespace and a sub-cgroup of its own, for end-to-end tests.

    import harness

    class Policy(harness.TestCase):
        def test_deny(self):
            with harness.Node() as node:
                node.run("web", *harness.serve("web", tcp=[80]), labels={"app": "web"})
                node.run("client", "sleep", "600")
                answer = node.tcp("client", node.address("web"), 80)
                self.assertEqual(answer["error"], "")

    if __name__ == "__main__":
        harness.main()

Nothing outside of what a Node makes is touched. What a crashed run left behind (instances named after a process that is
gone) is removed when the next test starts. Processes are started with nsenter: `ip netns exec` would hide cgroups and bpffs.
"""
import contextlib
import glob
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

import yaml

# gRPC's own handlers of fork() can wait for its threads forever; nothing here uses gRPC after a fork.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.environ.get("BEELINE_BIN", os.path.join(ROOT, "build", "dev", "bin"))
BLTEST = os.path.join(BIN, "bltest")
SKIP = 77  # exit code that ctest shows as skipped

# The network outside of a node with outside=True.
OUTSIDE_V4, OUTSIDE_V6 = "198.51.100.2", "2001:db8:51::2"
NODE_V4, NODE_V6 = "198.51.100.1", "2001:db8:51::1"

_numbers = itertools.count(1)


def log(text):
    print(f"[harness {time.monotonic():.2f}] {text}", file=sys.stderr, flush=True)


def serve(name, tcp=(), udp=()):
    """The command of a test server that answers with `name` and the address of the client it saw."""
    ports = [word for port in tcp for word in ("--tcp", str(port))]
    ports += [word for port in udp for word in ("--udp", str(port))]
    return [BLTEST, "serve", "--name", name, *ports]


def wait_for(predicate, timeout=10, what="the condition", interval=0.05):
    """Calls `predicate` until it returns something true, and returns that. Exceptions other than AssertionError pass."""
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = predicate()
            if value:
                return value
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s" + (f": {last}" if last else ""))
        time.sleep(interval)


def _run(*command, check=True, **options):
    """A command that sets up or removes something; its output only matters when it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stdout.strip()}")
    return done


def cgroup_root():
    """Where cgroup2 is mounted, on pure and on hybrid hosts."""
    with open("/proc/self/mountinfo") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            if right.split()[0] == "cgroup2":
                return left.split()[4]
    raise RuntimeError("cgroup2 is not mounted")


def cgroup_folders(instance):
    """The instance's cgroup in cgroup2 and, on hybrid hosts, in each version 1 hierarchy."""
    with open("/proc/self/mountinfo") as file:
        rows = [line.partition(" - ") for line in file]
    mounts = [left.split()[4] for left, _, right in rows if right.split()[0] in ("cgroup", "cgroup2")]
    return [os.path.join(mount, "beeline", instance) for mount in mounts]


def cgroup_pids(folder):
    """Every process in a cgroup and the cgroups below it."""
    pids = set()
    for path, _, files in os.walk(folder):
        if "cgroup.procs" in files:
            with contextlib.suppress(OSError), open(os.path.join(path, "cgroup.procs")) as file:
                pids.update(int(line) for line in file if line.strip() not in ("", "0"))
    return pids


def kill_cgroup(folder):
    """Ends every process below a cgroup that a test made, then removes the cgroup."""
    for _ in range(100):
        pids = cgroup_pids(folder)
        if not pids:
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(path)


def folders_of(instance):
    return [f"/run/beeline/{instance}", f"/var/lib/beeline/{instance}", f"/etc/beeline/{instance}",
            f"/sys/fs/bpf/beeline/{instance}"]


def namespaces_of(instance):
    return glob.glob(f"/run/netns/bl-{instance}") + glob.glob(f"/run/netns/bl-{instance}-*")


def traces(instance):
    """Everything of an instance that is there."""
    return namespaces_of(instance) + [f for f in folders_of(instance) + cgroup_folders(instance) if os.path.exists(f)]


def remove_instance(instance, binary=None):
    """Removes whatever an instance consists of, in any state of completeness. Never raises for what is already gone."""
    for cgroup in cgroup_folders(instance):
        kill_cgroup(cgroup)
    netns = f"/run/netns/bl-{instance}"
    beelined = os.path.join(binary or BIN, "beelined")
    if os.path.exists(beelined) and any(os.path.exists(folder) for folder in folders_of(instance)):
        inside = ["nsenter", f"--net={netns}"] if os.path.exists(netns) else []
        if inside:
            with contextlib.suppress(subprocess.TimeoutExpired):
                _run(*inside, beelined, "--cleanup", "--instance", instance, check=False)
    for path in namespaces_of(instance):
        _run("ip", "netns", "delete", os.path.basename(path), check=False)
    with open("/proc/self/mountinfo") as file:
        mounts = [line.split()[4] for line in file]
    for folder in folders_of(instance):
        for mount in sorted((m for m in mounts if m.startswith(folder + "/")), reverse=True):
            _run("umount", "-l", mount, check=False)
        shutil.rmtree(folder, ignore_errors=True)
    # A workload's own cgroup may have been in use a moment ago.
    for cgroup in cgroup_folders(instance):
        kill_cgroup(cgroup)


def _is_alive(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"python" in file.read()
    except OSError:
        return False


def remove_leftovers():
    """Instances are named t<pid>-<number>: those of a process that is gone were left by a crash."""
    found = set()
    places = ["/run/netns/bl-t*", *cgroup_folders("t*"), *folders_of("t*")]
    for place in places:
        for path in glob.glob(place):
            match = re.match(r"(?:bl-)?(t(\d+)-\d+)", os.path.basename(path))
            if match and not _is_alive(int(match.group(2))):
                found.add(match.group(1))
    for instance in sorted(found):
        log(f"removing what an earlier run left: {instance}")
        remove_instance(instance)
    for path in glob.glob(os.path.join(tempfile.gettempdir(), "beeline-test-t*")):
        match = re.match(r"beeline-test-t(\d+)-", os.path.basename(path))
        if match and not _is_alive(int(match.group(1))):
            shutil.rmtree(path, ignore_errors=True)


class Answer(dict):
    """One JSON line of bltest; missing members read as empty."""

    def __missing__(self, key):
        return ""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class ApiError(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class Node:
    """A node: `with Node() as node`. The agent runs unless agent=False.

    outside=True adds a second namespace, reached over a veth pair, that plays the world: 198.51.100.2 and 2001:db8:51::2,
    with routes back to everything.
    config: members merged into the agent's configuration file.
    hosts: {address: [name]} that the agent alone finds in /etc/hosts.
    """

    def __init__(self, outside=False, config=None, agent=True, hosts=None):
        self.instance = f"t{os.getpid()}-{next(_numbers)}"
        self.netns = f"bl-{self.instance}"
        self.outside_netns = f"bl-{self.instance}-out" if outside else None
        self.folder = None
        self.manifests = None
        self.agent = None
        self._children = []
        self._workloads = []
        self._with_agent = agent
        self._config = config or {}
        self._hosts = hosts

    # --- life -------------------------------------------------------------------------------------

    def __enter__(self):
        remove_leftovers()
        try:
            self._make()
            if self._with_agent:
                self.start_agent()
        except BaseException:
            self.close(failed=True)
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.close(failed=kind is not None)

    def _make(self):
        self.folder = tempfile.mkdtemp(prefix=f"beeline-test-{self.instance}-")
        self.manifests = os.path.join(self.folder, "manifests")
        os.mkdir(self.manifests)
        self.cgroup = os.path.join(cgroup_root(), "beeline", self.instance)
        os.makedirs(os.path.join(self.cgroup, "host"), exist_ok=True)
        _run("ip", "netns", "add", self.netns)
        self._ip("link", "set", "lo", "up")
        if self.outside_netns:
            self._make_outside()
        config = {"node": "node-under-test", "source": {"manifests": self.manifests},
                  "network": {"ipv4": "10.88.0.0/16", "ipv6": "fd00:88::/64"}, "log": {"level": "debug"}}
        for section, members in self._config.items():
            if isinstance(members, dict):
                config.setdefault(section, {}).update(members)
            else:
                config[section] = members
        self.config_file = os.path.join(self.folder, "beeline.yaml")
        with open(self.config_file, "w") as file:
            yaml.safe_dump(config, file)
        self.log_file = os.path.join(self.folder, "beelined.log")

    def _make_outside(self):
        _run("ip", "netns", "add", self.outside_netns)
        _run("ip", "link", "add", "up0", "netns", self.netns, "type", "veth", "peer", "name", "eth0", "netns",
             self.outside_netns)
        for netns, device, v4, v6 in ((self.netns, "up0", NODE_V4, NODE_V6),
                                      (self.outside_netns, "eth0", OUTSIDE_V4, OUTSIDE_V6)):
            inside = ("ip", "-n", netns)
            _run("nsenter", f"--net=/run/netns/{netns}", "sysctl", "-qw", f"net.ipv6.conf.{device}.accept_dad=0",
                 f"net.ipv6.conf.{device}.accept_ra=0")
            _run(*inside, "link", "set", "lo", "up")
            _run(*inside, "addr", "add", f"{v4}/24", "dev", device)
            _run(*inside, "addr", "add", f"{v6}/64", "dev", device, "nodad")
            _run(*inside, "link", "set", device, "up")
        for netns, v4, v6 in ((self.netns, OUTSIDE_V4, OUTSIDE_V6), (self.outside_netns, NODE_V4, NODE_V6)):
            _run("ip", "-n", netns, "route", "add", "default", "via", v4)
            _run("ip", "-n", netns, "-6", "route", "add", "default", "via", v6)

    def close(self, failed=False):
        if failed:
            self.print_logs()
        for child in self._children:
            if child.poll() is None:
                child.kill()
                child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        if self.agent is not None:
            with contextlib.suppress(Exception):
                self.stop_agent()
        remove_instance(self.instance)
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def print_logs(self, lines=60):
        log_file = getattr(self, "log_file", None)
        if log_file and os.path.exists(log_file):
            with open(log_file, errors="replace") as file:
                tail = file.readlines()[-lines:]
            print(f"--- last {len(tail)} lines of the agent ---\n{''.join(tail)}---", file=sys.stderr, flush=True)

    # --- processes of the node --------------------------------------------------------------------

    def _ip(self, *words):
        return _run("ip", "-n", self.netns, *words)

    def _start(self, command, netns, cgroup=None, **options):
        """Popen inside a network namespace (a path) and a cgroup (a folder)."""
        def join_cgroup():
            if cgroup:
                with open(os.path.join(cgroup, "cgroup.procs"), "w") as file:
                    file.write("0")
        environment = dict(os.environ, BEELINE_INSTANCE=self.instance, **options.pop("env", {}))
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(["nsenter", f"--net={netns}", *map(str, command)], preexec_fn=join_cgroup,
                                env=environment, **options)

    def _finish(self, command, netns, cgroup=None, timeout=60, input=None, env=None):
        child = self._start(command, netns, cgroup, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL, env=env or {})
        try:
            out, err = child.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            raise AssertionError(f"{command}: still running after {timeout} s\n{out}\n{err}") from None
        return child.returncode, out, err

    @property
    def netns_path(self):
        return f"/run/netns/{self.netns}"

    @property
    def socket_path(self):
        return f"/run/beeline/{self.instance}/beeline.sock"

    @property
    def host_cgroup(self):
        return os.path.join(self.cgroup, "host")

    def host(self, *command, **options):
        """(exit code, stdout, stderr) of a command of the node itself (identity host)."""
        return self._finish(command, self.netns_path, self.host_cgroup, **options)

    def outside(self, *command, **options):
        """The same in the outside world."""
        return self._finish(command, f"/run/netns/{self.outside_netns}", **options)

    def exec(self, workload, *command, **options):
        """The same inside a workload: its network namespace and its cgroup."""
        entry = self.workload(workload)
        return self._finish(command, entry["netns"], self._cgroup_of(entry), **options)

    def background(self, where, *command, **options):
        """Starts a command that ends with the node. `where`: "host", "outside" or a workload. Returns the Popen."""
        if where == "host":
            place = (self.netns_path, self.host_cgroup)
        elif where == "outside":
            place = (f"/run/netns/{self.outside_netns}", None)
        else:
            entry = self.workload(where)
            place = (entry["netns"], self._cgroup_of(entry))
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("text", True)
        child = self._start(command, *place, **options)
        self._children.append(child)
        return child

    def serve(self, where, name, tcp=(), udp=()):
        """A test server on the host, outside or in a workload, listening when this returns."""
        child = self.background(where, *serve(name, tcp, udp))
        line = child.stdout.readline()
        if line != "ready\n":
            raise AssertionError(f"test server {name} did not start: {line!r}")
        return child

    def _client(self, where, words, timeout):
        command = [BLTEST, *map(str, words)]
        if where == "host":
            done = self.host(*command, timeout=timeout)
        elif where == "outside":
            done = self.outside(*command, timeout=timeout)
        else:
            done = self.exec(where, *command, timeout=timeout)
        answers = [Answer(json.loads(line)) for line in done[1].splitlines()]
        if not answers:
            raise AssertionError(f"{words}: no answer, exit code {done[0]}: {done[2]}")
        return answers

    def tcp(self, where, address, port, **options):
        """One TCP request: the Answer {ok, error, reply, received, peername, local}. options: timeout_ms, size, ..."""
        return self._client(where, ["tcp", address, port, *_flags(options)], 60)[-1]

    def udp(self, where, address, port, **options):
        """One datagram or several (count=N): the last Answer {ok, error, reply, from, peername, local}."""
        return self._client(where, ["udp", address, port, *_flags(options)], 60)[-1]

    def requests(self, where, protocol, address, port, count, **options):
        """Several requests: all Answers."""
        return self._client(where, [protocol, address, port, "--count", count, *_flags(options)], 120)

    def hold(self, where, count, address, port, **options):
        return Hold(self.background(where, BLTEST, "hold", count, address, port, *_flags(options),
                                    stdin=subprocess.PIPE))

    def ping(self, where, address, count=1, timeout=2, *flags):
        """Does every ICMP echo get an answer?"""
        command = ("ping", "-n", "-c", count, "-i", "0.2", "-W", timeout, *flags, address)
        done = {"host": self.host, "outside": self.outside}.get(where, lambda *c: self.exec(where, *c))(*command)
        return done[0] == 0

    # --- the agent --------------------------------------------------------------------------------

    def start_agent(self, wait=True, arguments=()):
        # The log is opened for appending: it tells of every start of the agent.
        inside = []
        if self._hosts:
            hosts = os.path.join(self.folder, "hosts")
            with open(hosts, "w") as file:
                file.writelines(f"{address} {' '.join(names)}\n" for address, names in self._hosts.items())
            inside = ["unshare", "--mount", "--propagation", "slave", "sh", "-c",
                      'mount --bind "$0" /etc/hosts && exec "$@"', hosts]
        with open(self.log_file, "a") as log_file:
            self.agent = self._start(
                [*inside, os.path.join(BIN, "beelined"), "--config", self.config_file, "--instance", self.instance, *arguments],
                self.netns_path, self.host_cgroup, stdout=log_file, stderr=subprocess.STDOUT)
        if wait:
            self.wait_ready()
        return self.agent

    def wait_ready(self, timeout=30):
        def ready():
            if self.agent.poll() is not None:
                raise RuntimeError(f"beelined ended with {self.agent.returncode}")
            try:
                return self.api("GET", "/v1/status", timeout=5)
            except (OSError, http.client.HTTPException, ApiError) as error:
                raise AssertionError(str(error)) from None
        return wait_for(ready, timeout, "the agent's API")

    def stop_agent(self, timeout=20):
        """SIGTERM: the datapath stays. Returns the exit code."""
        agent, self.agent = self.agent, None
        if agent is None:
            return None
        if agent.poll() is None:
            agent.terminate()
            try:
                agent.wait(timeout)
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.wait()
                raise AssertionError(f"beelined did not stop within {timeout} s of SIGTERM") from None
        return agent.returncode

    def kill_agent(self):
        agent, self.agent = self.agent, None
        agent.kill()
        agent.wait()

    def restart_agent(self):
        self.stop_agent()
        self.start_agent()

    def cleanup(self):
        """`beelined --cleanup` for a stopped agent: (exit code, stdout, stderr)."""
        return self.host(os.path.join(BIN, "beelined"), "--config", self.config_file, "--instance", self.instance,
                         "--cleanup")

    def api(self, method, path, body=None, timeout=30):
        """A call of the local API: the decoded JSON, a list for JSON lines, text for YAML. ApiError if refused."""
        connection = _UnixConnection(self.socket_path, timeout)
        try:
            connection.request(method, path, body=body)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        kind = response.getheader("Content-Type", "")
        if response.status >= 300:
            raise ApiError(response.status, text)
        if "yaml" in kind:
            return text
        if "jsonl" in kind:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        return json.loads(text) if text.strip() else None

    # --- the command line -------------------------------------------------------------------------

    def cli(self, *arguments, **options):
        """(exit code, stdout, stderr) of `beeline ARGUMENTS`."""
        return self.host(os.path.join(BIN, "beeline"), *arguments, **options)

    def cli_ok(self, *arguments, **options):
        """Its stdout; fails the test when it fails."""
        code, out, err = self.cli(*arguments, **options)
        if code != 0:
            raise AssertionError(f"beeline {' '.join(map(str, arguments))}: exit code {code}\n{out}\n{err}")
        return out

    def cli_json(self, *arguments, **options):
        return json.loads(self.cli_ok(*arguments, "-o", "json", **options))

    def apply(self, text):
        """Applies YAML text (or objects), enforced when this returns."""
        if not isinstance(text, str):
            text = yaml.safe_dump_all(text)
        return self.cli_ok("apply", "-f", "-", input=text)

    def delete(self, kind, name, namespace="default"):
        return self.cli_ok("delete", kind, name, "--namespace", namespace)

    def run(self, name, *command, namespace="default", labels=None, ports=(), flags=(), background=True, timeout=60):
        """Starts a workload. ports: {"name": port} or [(name, protocol, port)]. With background=False: its (code, out, err).

        A command made by serve() is listening when this returns.
        """
        words = ["run", "--name", name, "--namespace", namespace]
        for key, value in (labels or {}).items():
            words += ["--label", f"{key}={value}"]
        for entry in ports.items() if isinstance(ports, dict) else ports:
            port_name, protocol, port = entry if len(entry) == 3 else (entry[0], "tcp", entry[1])
            words += ["--port", f"name={port_name},protocol={protocol},port={port}"]
        words += list(flags)
        command = [str(word) for word in (command or ("sleep", "3600"))]
        if not background:
            return self.cli(*words, "--", *command, timeout=timeout)
        self.cli_ok(*words, "-d", "--", *command, timeout=timeout)
        if command[0] == BLTEST:
            self._wait_listening(f"{namespace}/{name}", command)
        return self.workload(f"{namespace}/{name}")

    def _wait_listening(self, workload, command):
        wanted = {(word[2:], int(command[i + 1])) for i, word in enumerate(command) if word in ("--tcp", "--udp")}

        def listening():
            _, out, _ = self.exec(workload, "ss", "-Hlntu")
            found = {(row[0], int(row[4].rsplit(":", 1)[1])) for row in map(str.split, out.splitlines())}
            return wanted <= found
        wait_for(listening, 15, f"{workload} listening on {sorted(wanted)}")

    def stop(self, workload):
        namespace, name = _split(workload)
        return self.cli_ok("stop", name, "--namespace", namespace)

    def workloads(self):
        """What the agent says; while it is stopped or killed, what it said last."""
        if self.agent is not None:
            self._workloads = self.api("GET", "/v1/workloads")["workloads"]
        return self._workloads

    def workload(self, workload):
        """The entry of NAME or NAMESPACE/NAME."""
        namespace, name = _split(workload)
        for entry in self.workloads():
            if (entry["namespace"], entry["name"]) == (namespace, name):
                return entry
        raise AssertionError(f"no workload {namespace}/{name}")

    def address(self, workload, family=4):
        for address in self.workload(workload)["addresses"]:
            if (":" in address) == (family == 6):
                return address
        raise AssertionError(f"{workload} has no IPv{family} address")

    def _cgroup_of(self, entry):
        path = entry.get("cgroup")
        if not path:
            return None
        return path if path.startswith(cgroup_root()) else os.path.join(cgroup_root(), path.lstrip("/"))

    def flows(self, **filters):
        """Stored flows, oldest first. filters: those of GET /v1/flows (pod, to_pod, verdict, protocol, port, last, since)."""
        return self.stream("/v1/flows", **filters)

    def stream(self, path, **filters):
        """The lines that a stream has now."""
        return self.api("GET", path + "?" + urllib.parse.urlencode(filters, doseq=True, quote_via=urllib.parse.quote))

    def wait_flow(self, predicate=lambda flow: True, timeout=10, **filters):
        """The first stored flow for which `predicate` holds."""
        return wait_for(lambda: next((f for f in self.flows(**filters) if predicate(f)), None), timeout,
                        f"a flow {filters}")

    def wait_for(self, predicate, timeout=10, what="the condition"):
        return wait_for(predicate, timeout, what)

    # --- CNI --------------------------------------------------------------------------------------

    def cni_config(self, **members):
        return {"cniVersion": "1.1.0", "name": "beeline", "type": "beeline-cni", "instance": self.instance, **members}

    def cni(self, verb, container=None, netns=None, interface="eth0", args=None, config=None, timeout=30, stdin=None):
        """(exit code, decoded stdout or text, stderr) of one call of the CNI plugin, as a container runtime makes it."""
        environment = {"CNI_COMMAND": verb, "CNI_PATH": BIN}
        for key, value in (("CNI_CONTAINERID", container), ("CNI_NETNS", netns), ("CNI_IFNAME", interface),
                           ("CNI_ARGS", args)):
            if value is not None:
                environment[key] = value
        text = stdin if stdin is not None else json.dumps(config or self.cni_config())
        code, out, err = self.host(os.path.join(BIN, "beeline-cni"), input=text, env=environment, timeout=timeout)
        with contextlib.suppress(ValueError):
            out = json.loads(out)
        return code, out, err

    def make_netns(self, name):
        """An empty network namespace that ends with the node, as a runtime would make for a container; its path."""
        full = f"bl-{self.instance}-{name}"
        _run("ip", "netns", "add", full)
        return f"/run/netns/{full}"


class Hold:
    """Connections that are kept open: see `bltest hold`."""

    def __init__(self, child):
        self.child = child
        self.connected = json.loads(child.stdout.readline())

    def ping(self):
        """One request over each: {"open", "replied", "servers": {name: n}, "errors": {name: n}}."""
        self.child.stdin.write("ping\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.write("quit\n")
            self.child.stdin.close()
        self.child.wait(10)


def _split(workload):
    namespace, _, name = workload.rpartition("/")
    return namespace or "default", name


def _flags(options):
    names = {"timeout_ms": "timeout", "interval_ms": "interval"}
    words = []
    for key, value in options.items():
        flag = "--" + names.get(key, key).replace("_", "-")
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            words += [flag, value]
    return words


class TestCase(unittest.TestCase):
    maxDiff = None
    longMessage = True


def require(*programs):
    """Ends the test script as skipped when a program is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            print(f"SKIP: {program} is not installed")
            sys.exit(SKIP)


def main():
    if os.geteuid() != 0:
        print("SKIP: needs root, for network namespaces, cgroups and BPF")
        sys.exit(SKIP)
    # SIGTERM still runs the teardown; after a SIGKILL (ctest's time-out) the next test cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    unittest.main(verbosity=2)
