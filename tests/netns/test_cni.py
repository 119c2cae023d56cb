"""The CNI plugin and the agent as container runtimes use them: every row of the specification's traps, end to end."""
import concurrent.futures
import ipaddress
import json
import os
import subprocess
import time

import harness

CNI_PLUGINS = "/usr/lib/cni"  # where Debian has the reference plugins
K8S_ARGS = ("IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID=0;K8S_POD_UID=u")


def inside(netns, *command):
    """(exit code, stdout) of a command in a network namespace."""
    done = subprocess.run(["nsenter", f"--net={netns}", *map(str, command)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    return done.returncode, done.stdout


def addresses_of(result):
    return [entry["address"].split("/")[0] for entry in result["ips"]]


class CniTestCase(harness.TestCase):
    """Assertions on calls of the plugin of self.node."""
    node = None

    def ok(self, verb, container=None, netns=None, **options):
        code, out, err = self.node.cni(verb, container, netns, **options)
        self.assertEqual(code, 0, f"{verb} {container}: {out} {err}")
        return out

    def refused(self, number, verb, container=None, netns=None, names="", **options):
        """The call fails with this error code and a message that has `names`; one JSON object on stdout."""
        code, out, err = self.node.cni(verb, container, netns, **options)
        self.assertEqual(code, 1, f"{verb}: {out} {err}")
        self.assertIsInstance(out, dict, f"{verb}: {out!r} {err}")
        self.assertEqual(out["code"], number, out)
        self.assertIn(names, out["msg"])
        return out

    def config(self, **members):
        return self.node.cni_config(**members)

    def add(self, name, netns=None, **options):
        """ADD of a container in a namespace of its own: (netns, result)."""
        netns = netns or self.node.make_netns(name)
        return netns, self.ok("ADD", name, netns, **options)

    def links(self, netns=None):
        code, out = inside(netns or self.node.netns_path, "ip", "-j", "link")
        self.assertEqual(code, 0, out)
        return {link["ifname"]: link for link in json.loads(out)}

    def workload_links(self):
        return {name for name in self.links() if len(name) == 14 and name.startswith("bl")}

    def containers(self):
        return {entry["container"] for entry in self.node.workloads()}

    def used(self):
        return self.node.api("GET", "/v1/status")["addresses"]["ipv4"]["used"]

    def expect_nothing_of(self, container, netns=None):
        self.assertNotIn(container, self.containers())
        if netns and os.path.exists(netns):
            self.assertNotIn("eth0", self.links(netns))

    def tcp(self, netns, address, port=80):
        code, out = inside(netns, harness.BLTEST, "tcp", address, port, "--timeout", 2000)
        return json.loads(out.splitlines()[-1])

    def serve(self, netns, name):
        child = subprocess.Popen(["nsenter", f"--net={netns}", *harness.serve(name, tcp=[80])], text=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        self.addCleanup(child.stdout.close)
        self.assertEqual(child.stdout.readline(), "ready\n")


class OneNode(CniTestCase):
    """Tests that share a node; each uses containers of its own names and removes them."""

    @classmethod
    def setUpClass(cls):
        cls.node = harness.Node()
        cls.node.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    def setUp(self):
        self.before = (self.used(), self.workload_links(), self.containers())

    def tearDown(self):
        for container in self.containers() - self.before[2]:
            self.ok("DEL", container, "")
        self.assertEqual((self.used(), self.workload_links(), self.containers()), self.before)

    def test_two_containers_talk_over_both_families(self):
        a, first = self.add("talk-a")
        b, second = self.add("talk-b")
        self.serve(b, "b")
        for address in addresses_of(second):
            answer = self.tcp(a, address)
            self.assertEqual(answer["error"], "", answer)
        self.assertEqual({ipaddress.ip_address(address).version for address in addresses_of(first)}, {4, 6})
        self.assertTrue(inside(a, "ping", "-n", "-c", "1", "-W", "2", first["ips"][0]["gateway"])[0] == 0)

    def test_del_before_add_and_twice(self):
        netns = self.node.make_netns("never")
        self.ok("DEL", "never", netns)
        netns, _ = self.add("twice")
        for _ in range(2):
            self.assertEqual(self.ok("DEL", "twice", netns), "")
            self.expect_nothing_of("twice", netns)

    def test_del_without_namespace(self):
        self.add("gone-1")
        self.ok("DEL", "gone-1", "")
        self.add("gone-2")
        self.ok("DEL", "gone-2")
        self.add("gone-3")
        self.ok("DEL", "gone-3", "/run/netns/there-is-no-such-namespace")
        netns, _ = self.add("gone-4")
        subprocess.run(["ip", "netns", "delete", os.path.basename(netns)], check=True)
        self.ok("DEL", "gone-4", netns)
        for container in ("gone-1", "gone-2", "gone-3", "gone-4"):
            self.expect_nothing_of(container)

    def test_late_del_on_a_recycled_path(self):
        netns, _ = self.add("recycled-old")
        subprocess.run(["ip", "netns", "delete", os.path.basename(netns)], check=True)
        subprocess.run(["ip", "netns", "add", os.path.basename(netns)], check=True)
        self.add("recycled-new", netns)
        self.ok("DEL", "recycled-old", netns)
        self.assertIn("eth0", self.links(netns))
        self.assertIn("recycled-new", self.containers())

    def test_add_where_the_interface_exists(self):
        netns = self.node.make_netns("exists")
        inside(netns, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
        self.refused(100, "ADD", "exists", netns, names="eth0")
        self.assertIn("eth0", self.links(netns))
        self.expect_nothing_of("exists")
        netns, _ = self.add("double")
        self.refused(100, "ADD", "double", netns, names="double")
        self.assertIn("eth0", self.links(netns))

    def test_a_failed_add_leaves_nothing(self):
        netns = self.node.make_netns("fails")
        # Somebody else routes the address.
        self.node.host("ip", "route", "add", "10.88.200.1/32", "dev", "lo")
        self.refused(100, "ADD", "fails", netns, args="IP=10.88.200.1", names="10.88.200.1")
        self.node.host("ip", "route", "del", "10.88.200.1/32", "dev", "lo")
        self.expect_nothing_of("fails", netns)
        for number, options in ((7, {"args": "IP=192.0.2.1"}), (4, {"args": "FOO=1"}),
                                (7, {"config": self.config(beeline={"mtu": 1})})):
            self.refused(number, "ADD", "fails", netns, **options)
            self.expect_nothing_of("fails", netns)
        # The same address and namespace work right after.
        self.add("fails", netns, args="IP=10.88.200.1")

    def test_a_hundred_at_once(self):
        names = [f"many-{i}" for i in range(100)]
        spaces = {name: self.node.make_netns(name) for name in names}
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            results = dict(zip(names, pool.map(lambda name: self.ok("ADD", name, spaces[name]), names)))
        found = [address for result in results.values() for address in addresses_of(result)]
        self.assertEqual(len(set(found)), 200)
        self.assertLessEqual(set(names), self.containers())
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda name: self.ok("DEL", name, spaces[name]), names))

    def test_add_and_del_interleaved(self):
        def life(i):
            name = f"mixed-{i}"
            netns = self.node.make_netns(name)
            for _ in range(3):
                result = self.ok("ADD", name, netns)
                self.assertEqual(len(result["ips"]), 2)
                self.ok("DEL", name, netns)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(life, range(8)))

    def test_unknown_keys(self):
        self.add("keys", config=self.config(unknown={"of": "others"}, ipMasq=True, ipam={}, dns={"nameservers": ["10.0.0.2"]},
                                            runtimeConfig={"io.kubernetes.cri.pod-annotations": {"a": "b"}}))
        netns = self.node.make_netns("keys-2")
        for number, names, members in (
                (7, "beeline.mut", {"beeline": {"mut": 1400}}),
                (7, "args.beeline.foo", {"args": {"beeline": {"foo": 1}}}),
                (2, "ipam.type", {"ipam": {"type": "host-local"}}),
                (2, "ipRanges", {"runtimeConfig": {"ipRanges": [[{"subnet": "10.0.0.0/24"}]]}}),
                (2, "deviceID", {"runtimeConfig": {"deviceID": "0000:3b:00.5"}})):
            self.refused(number, "ADD", "keys-2", netns, names=names, config=self.config(**members))

    def test_results_of_every_version(self):
        for version in ("0.3.1", "0.4.0", "1.0.0", "1.1.0"):
            name = f"version-{version}"
            config = self.config(cniVersion=version)
            netns, result = self.add(name, config=config)
            self.assertEqual(result["cniVersion"], version)
            host, pod = result["interfaces"]
            self.assertEqual(pod["name"], "eth0")
            self.assertEqual(pod["sandbox"], netns)
            self.assertEqual(pod["mac"], self.links(netns)["eth0"]["address"])
            self.assertEqual(host["mac"], self.links()[host["name"]]["address"])
            self.assertFalse(host.get("sandbox"))
            for entry, family in zip(result["ips"], "46"):
                self.assertEqual(entry["interface"], 1)
                self.assertIn("/", entry["address"])
                self.assertEqual(entry.get("version"), family if version < "1.0.0" else None)
            self.assertEqual([route["dst"] for route in result["routes"]], ["0.0.0.0/0", "::/0"])
            with_result = dict(config, prevResult=result)
            if version >= "0.4.0":
                self.assertEqual(self.ok("CHECK", name, netns, config=with_result), "")
            else:
                self.refused(1, "CHECK", name, netns, config=with_result)
            self.ok("DEL", name, netns, config=with_result)
        netns = self.node.make_netns("version-x")
        for version in ("0.2.0", "1.2.0", ""):
            self.refused(1, "ADD", "version-x", netns, config=self.config(cniVersion=version))

    def test_check_notices_a_missing_route(self):
        netns, result = self.add("check")
        config = self.config(prevResult=result)
        self.ok("CHECK", "check", netns, config=config)
        self.assertEqual(inside(netns, "ip", "route", "del", "default")[0], 0)
        self.refused(101, "CHECK", "check", netns, config=config, names="default route")
        self.refused(101, "CHECK", "not-there", netns, config=config)
        self.refused(7, "CHECK", "check", netns, names="prevResult")

    def test_names_and_labels(self):
        self.add("named", args=K8S_ARGS.format("shop", "web-1"),
                 config=self.config(args={"cni": {"labels": [{"key": "app", "value": "web"}]}}))
        entry = self.node.workload("shop/web-1")
        self.assertEqual(entry["labels"], {"app": "web"})
        self.assertEqual(entry["container"], "named")
        # Runtimes other than Kubernetes name nothing.
        self.add("nameless")
        self.assertEqual(self.node.workload("default/nameless")["container"], "nameless")
        self.add("half", args="IgnoreUnknown=1;K8S_POD_NAME=just-a-name")
        self.assertEqual(self.node.workload("default/just-a-name")["container"], "half")

    def test_args(self):
        netns = self.node.make_netns("args")
        for args, names in (("IgnoreUnknown=1;A=b=c", "A=b=c"), ("A=b", "'A'"), ("IgnoreUnknown=1;A", "'A'")):
            self.refused(4, "ADD", "args", netns, args=args, names=names)
        _, result = self.add("args", netns, args="IgnoreUnknown=true;NERDCTL_CNI_DHCP=x;IP=10.88.77.7;MAC=0a:00:00:00:77:07")
        self.assertEqual(result["ips"][0]["address"], "10.88.77.7/32")
        self.assertEqual(result["interfaces"][1]["mac"], "0a:00:00:00:77:07")
        self.refused(100, "ADD", "args-2", self.node.make_netns("args-2"), args="IP=10.88.77.7", names="10.88.77.7")

    def test_names_at_their_limits(self):
        netns = self.node.make_netns("limits")
        longest = "c" * 3000
        _, result = self.add(longest, netns, interface="fifteen-letters")
        self.assertEqual(result["interfaces"][1]["name"], "fifteen-letters")
        self.assertIn("fifteen-letters", self.links(netns))
        self.ok("DEL", longest, netns, interface="fifteen-letters")
        self.assertNotIn("fifteen-letters", self.links(netns))
        for interface in ("sixteen-letters-", ".", "..", "a/b", "a:b", "a b"):
            self.refused(4, "ADD", "limits", netns, interface=interface, names="CNI_IFNAME")
        for container in ("-a", "a/b", ".."):
            self.refused(4, "ADD", container, netns, names="CNI_CONTAINERID")

    def test_several_interfaces_of_a_container(self):
        netns, _ = self.add("multi")
        self.ok("ADD", "multi", netns, interface="net1")
        self.assertLessEqual({"eth0", "net1"}, set(self.links(netns)))
        self.ok("DEL", "multi", netns, interface="net1")
        self.assertIn("eth0", self.links(netns))

    def test_environment_and_input(self):
        netns = self.node.make_netns("input")
        for stdin in ("", "garbage", "[]", "{\"cniVersion\":", "[" * 100000):
            self.refused(6, "ADD", "input", netns, stdin=stdin)
        self.refused(6, "ADD", "input", netns, stdin="{\"a\": \"" + "x" * (2 << 20) + "\"}", names="larger")
        self.refused(7, "ADD", "input", netns, config={"cniVersion": "1.0.0"}, names="name")
        self.refused(4, "FROBNICATE", "input", netns, names="FROBNICATE")
        self.refused(4, "add", "input", netns)
        self.refused(4, "ADD", None, netns, names="CNI_CONTAINERID")
        self.refused(4, "ADD", "input", None, names="CNI_NETNS")
        self.refused(8, "ADD", "input", "/run/netns/none-of-this-name")
        self.refused(8, "ADD", "input", "/etc/passwd")
        self.refused(8, "ADD", "input", self.node.netns_path, names="own")

    def test_only_one_json_object_on_stdout(self):
        netns = self.node.make_netns("stdout")
        environment = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "stdout", "CNI_NETNS": netns, "CNI_IFNAME": "eth0",
                       "CNI_PATH": harness.BIN}
        plugin = os.path.join(harness.BIN, "beeline-cni")
        text = json.dumps(self.config())
        code, out, _ = self.node.host(plugin, input=text, env=environment)
        self.assertEqual(code, 0)
        self.assertEqual(out.count("\n"), 1)
        self.assertEqual(json.loads(out)["cniVersion"], "1.1.0")
        code, out, _ = self.node.host(plugin, input=text, env=dict(environment, CNI_COMMAND="DEL"))
        self.assertEqual((code, out), (0, ""))
        code, out, _ = self.node.host(plugin, input="{}", env={"CNI_COMMAND": "VERSION"})
        self.assertEqual(code, 0)
        self.assertEqual(json.loads(out)["supportedVersions"], ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
        code, out, err = self.node.host(plugin, input="", env={"CNI_COMMAND": ""})
        self.assertEqual((code, out), (0, ""))
        self.assertIn("1.1.0", err)

    def test_garbage_collection(self):
        for name in ("keep", "drop"):
            self.add(f"gc-{name}", config=self.config(name="gc-network"))
        self.add("gc-elsewhere")
        valid = [{"containerID": "gc-keep", "ifname": "eth0"}, {"containerID": "unknown", "ifname": "eth0"}]
        config = self.config(name="gc-network")
        self.refused(7, "GC", config=config)
        self.ok("GC", config={**config, "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid})
        self.assertIn("gc-keep", self.containers())
        self.assertNotIn("gc-drop", self.containers())
        self.ok("GC", config={**config, "cni.dev/valid-attachments": []})
        self.assertNotIn("gc-keep", self.containers())
        self.assertIn("gc-elsewhere", self.containers())
        self.refused(1, "GC", config={**config, "cniVersion": "1.0.0", "cni.dev/valid-attachments": []})

    def test_status(self):
        self.assertEqual(self.ok("STATUS"), "")
        self.refused(1, "STATUS", config=self.config(cniVersion="1.0.0"))

    def test_read_only_root(self):
        netns = self.node.make_netns("readonly")
        environment = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "readonly", "CNI_NETNS": netns, "CNI_IFNAME": "eth0",
                       "CNI_PATH": harness.BIN}
        command = ("unshare", "--mount", "sh", "-c",
                   "mount --bind / / && mount -o remount,bind,ro / && ! touch /read-only-test 2>/dev/null && exec \"$0\"",
                   os.path.join(harness.BIN, "beeline-cni"))
        code, out, err = self.node.host(*command, input=json.dumps(self.config()), env=environment)
        self.assertEqual(code, 0, out + err)

    def test_the_plugin_is_static(self):
        with open(os.path.join(harness.BIN, "beeline-cni"), "rb") as file:
            start = file.read(1 << 16)
        self.assertNotIn(b"/lib64/ld-linux", start)


class Chained(CniTestCase):
    def setUp(self):
        if not os.path.exists(os.path.join(CNI_PLUGINS, "bridge")):
            self.skipTest("the reference CNI plugins are not installed")
        self.node = self.enterContext(harness.Node())

    def plugin(self, name, verb, container, netns, config):
        """A reference plugin in the node's namespace: (exit code, decoded output)."""
        environment = {"CNI_COMMAND": verb, "CNI_CONTAINERID": container, "CNI_NETNS": netns, "CNI_IFNAME": "eth0",
                       "CNI_PATH": CNI_PLUGINS}
        code, out, err = self.node.host(os.path.join(CNI_PLUGINS, name), input=json.dumps(config), env=environment)
        return code, json.loads(out) if out.strip() else err

    def first(self, plugin, container, netns, **members):
        ipam = {"type": "host-local", "subnet": "10.66.0.0/24", "routes": [{"dst": "0.0.0.0/0"}],
                "dataDir": os.path.join(self.node.folder, "host-local")}
        config = {"cniVersion": "1.0.0", "name": "chain", "type": plugin, "ipam": ipam, **members}
        self.addCleanup(self.plugin, plugin, "DEL", container, netns, config)
        return self.plugin(plugin, "ADD", container, netns, config)

    def test_behind_plugins_that_make_veth_pairs(self):
        for plugin, members in (("bridge", {"bridge": "cni0", "isGateway": True}), ("ptp", {})):
            with self.subTest(plugin):
                container = f"after-{plugin}"
                netns = self.node.make_netns(container)
                code, previous = self.first(plugin, container, netns, **members)
                if code != 0:
                    self.skipTest(f"{plugin} does not work here: {previous}")
                config = self.config(cniVersion="1.0.0", name="chain", prevResult=previous)
                result = self.ok("ADD", container, netns, config=config, args=K8S_ARGS.format("shop", container))
                self.assertEqual(result, previous)
                entry = self.node.workload(f"shop/{container}")
                self.assertEqual(entry["addresses"], addresses_of(previous)[:1])
                self.assertIn(entry["host_interface"], self.links())
                self.ok("CHECK", container, netns, config=config)
                self.ok("DEL", container, netns, config=config)
                self.assertNotIn(container, self.containers())
                self.assertIn("eth0", self.links(netns))

    def test_behind_plugins_without_an_end_in_the_node(self):
        netns = self.node.make_netns("after-other")
        code, out = inside(netns, "ip", "link", "add", "eth0", "type", "bridge")
        self.assertEqual(code, 0, out)
        previous = {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": netns}],
                    "ips": [{"address": "10.66.0.9/24", "interface": 0}]}
        config = self.config(cniVersion="1.0.0", prevResult=previous)
        self.refused(2, "ADD", "after-other", netns, config=config, names="bridge")
        self.ok("DEL", "after-other", netns, config=config)
        self.assertIn("eth0", self.links(netns))

    def test_before_other_plugins(self):
        tails = {"portmap": {"runtimeConfig": {"portMappings": [{"hostPort": 8088, "containerPort": 80, "protocol": "tcp"}]},
                             "snat": False},
                 "bandwidth": {"ingressRate": 1_000_000, "ingressBurst": 1_000_000, "egressRate": 0, "egressBurst": 0},
                 "tuning": {"sysctl": {"net.ipv4.conf.eth0.arp_announce": "1"}}}
        worked = []
        for plugin, members in tails.items():
            container = f"before-{plugin}"
            netns, result = self.add(container, config=self.config(cniVersion="1.0.0"))
            config = {"cniVersion": "1.0.0", "name": "beeline", "type": plugin, "prevResult": result, **members}
            code, out = self.plugin(plugin, "ADD", container, netns, config)
            if code == 0:
                worked.append(plugin)
                self.assertEqual([entry["address"] for entry in out["ips"]], [entry["address"] for entry in result["ips"]])
                self.ok("CHECK", container, netns, config=self.config(cniVersion="1.0.0", prevResult=out))
            else:
                # The plugin must not have choked on our result; the kernel may lack what it needs.
                self.assertNotIn("prevResult", str(out), plugin)
                harness.log(f"{plugin} does not work here: {out}")
            self.plugin(plugin, "DEL", container, netns, config)
            self.ok("DEL", container, netns)
        self.assertIn("tuning", worked)


class AgentDown(CniTestCase):
    def test_every_verb(self):
        with harness.Node() as node:
            self.node = node
            netns, result = self.add("stays")
            doomed, _ = self.add("doomed")
            self.add("vanishes")
            node.stop_agent()
            fresh = node.make_netns("fresh")

            start = time.monotonic()
            self.refused(11, "ADD", "fresh", fresh, names="not running")
            self.assertLess(time.monotonic() - start, 2)
            self.assertNotIn("eth0", self.links(fresh))
            self.refused(11, "CHECK", "stays", netns, config=self.config(prevResult=result))
            self.refused(50, "STATUS")
            self.refused(50, "GC", config={**self.config(), "cni.dev/valid-attachments": []})
            self.ok("VERSION")
            self.assertEqual(self.ok("DEL", "doomed", doomed), "")
            self.assertNotIn("eth0", self.links(doomed))
            self.ok("DEL", "doomed", doomed)
            self.ok("DEL", "vanishes", "/run/netns/not-here-any-more")
            self.ok("DEL", "never", "")
            self.assertEqual(len(self.workload_links()), 1)
            notes = f"/run/beeline/{node.instance}/cni-deleted"
            self.assertEqual(len(os.listdir(notes)), 3)

            node.start_agent()
            self.assertEqual(self.containers(), {"stays"})
            self.assertEqual(self.used(), 1)
            self.ok("CHECK", "stays", netns, config=self.config(prevResult=result))
            harness.wait_for(lambda: not os.listdir(notes), 20, "the notes being carried out")
            # The same container may come again.
            self.add("doomed", doomed)

    def test_addresses_rest_across_a_restart(self):
        with harness.Node(config={"network": {"ipv4": "10.88.0.0/29", "ipv6": "fd00:88::/64"}}) as node:
            self.node = node
            taken = set()
            for i in range(3):
                _, result = self.add(f"rest-{i}")
                self.assertNotIn(addresses_of(result)[0], taken)
                taken.add(addresses_of(result)[0])
                self.ok("DEL", f"rest-{i}", "")
                node.restart_agent()

    def test_killed_in_the_middle_of_adds(self):
        with harness.Node() as node:
            self.node = node
            names = [f"crash-{i}" for i in range(24)]
            spaces = {name: node.make_netns(name) for name in names}
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                calls = {name: pool.submit(node.cni, "ADD", name, spaces[name]) for name in names}
                time.sleep(0.15)
                node.kill_agent()
                time.sleep(0.1)
                node.start_agent()
                outcomes = {name: call.result() for name, call in calls.items()}
            attached = {name for name, (code, _, _) in outcomes.items() if code == 0}
            for name, (code, out, err) in outcomes.items():
                if code != 0:
                    self.assertEqual(out["code"], 11, f"{name}: {out} {err}")
            # What succeeded is complete; what did not can be tried again after DEL.
            self.assertLessEqual(attached, self.containers())
            for name in names:
                if name in attached:
                    self.ok("CHECK", name, spaces[name], config=self.config(prevResult=outcomes[name][1]))
                else:
                    self.ok("DEL", name, spaces[name])
                    self.add(name, spaces[name])
            self.assertEqual(self.containers(), set(names))
            self.assertEqual(self.used(), len(names))
            for name in names:
                self.ok("DEL", name, spaces[name])
            self.assertEqual(self.used(), 0)
            self.assertEqual(self.workload_links(), set())


class Ranges(CniTestCase):
    def test_exhausted(self):
        with harness.Node(config={"network": {"ipv4": "10.88.0.0/29", "ipv6": "fd00:88::/64"}}) as node:
            self.node = node
            for i in range(5):
                self.ok("STATUS")
                self.add(f"full-{i}")
            self.refused(50, "STATUS", names="10.88.0.0/29")
            self.refused(11, "ADD", "one-more", node.make_netns("one-more"), names="10.88.0.0/29")
            self.expect_nothing_of("one-more")

    def test_ipv6_only(self):
        with harness.Node(config={"network": {"ipv4": "none", "ipv6": "fd00:88::/64"}}) as node:
            self.node = node
            a, _ = self.add("a")
            b, result = self.add("b")
            self.assertEqual([route["dst"] for route in result["routes"]], ["::/0"])
            self.serve(b, "b")
            self.assertEqual(self.tcp(a, addresses_of(result)[0])["error"], "")

    def test_ipv4_only(self):
        with harness.Node(config={"network": {"ipv4": "10.88.0.0/16", "ipv6": "none"}}) as node:
            self.node = node
            a, _ = self.add("a")
            b, result = self.add("b")
            self.assertEqual(len(result["ips"]), 1)
            self.serve(b, "b")
            self.assertEqual(self.tcp(a, addresses_of(result)[0])["error"], "")


if __name__ == "__main__":
    harness.main()
