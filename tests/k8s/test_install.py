"""`beeline install` and `uninstall` against a real API server, the chart, the files that its pods run."""
import contextlib
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cluster  # noqa: E402
import harness  # noqa: E402
import yaml  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
CHART = os.path.join(cluster.ROOT, "deploy", "helm", "beeline")
IMAGE = os.path.join(cluster.ROOT, "deploy", "image")
TITLES = ["ServiceAccount kube-system/beeline", "ClusterRole beeline", "ClusterRoleBinding beeline",
          "ConfigMap kube-system/beeline", "DaemonSet kube-system/beeline"]
BEELINE = os.path.join(harness.BIN, "beeline")


def rendered(*arguments):
    out = subprocess.run([BEELINE, "install", "-o", "yaml", *arguments], check=True, stdout=subprocess.PIPE).stdout
    return list(yaml.safe_load_all(out))


class Chart(unittest.TestCase):
    def test_the_manifests_are_the_chart(self):
        with open(os.path.join(cluster.ROOT, "deploy", "kubernetes", "beeline.yaml")) as file:
            self.assertEqual(list(yaml.safe_load_all(file)), rendered())

    def test_its_version_is_the_programs(self):
        version = subprocess.run([BEELINE, "version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]
        with open(os.path.join(CHART, "Chart.yaml")) as file:
            chart = yaml.safe_load(file)
        with open(os.path.join(CHART, "values.yaml")) as file:
            values = yaml.safe_load(file)
        self.assertEqual([chart["version"], chart["appVersion"], values["image"]["tag"]], [version] * 3)

    def test_the_rights_are_those_of_the_documentation(self):
        documented = {o["kind"]: o for o in yaml.safe_load_all(cluster.agent_rights())}
        made = {o["kind"]: o for o in rendered()}
        self.assertEqual(made["ClusterRole"]["rules"], documented["ClusterRole"]["rules"])
        for field in ("roleRef", "subjects"):
            self.assertEqual(made["ClusterRoleBinding"][field], documented["ClusterRoleBinding"][field])

    @unittest.skipUnless(shutil.which("go") or os.path.exists("/usr/local/go/bin/go"), "no Go to render with")
    def test_gos_templates_render_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "render")
            go = shutil.which("go") or "/usr/local/go/bin/go"
            subprocess.run([go, "build", "-o", program, os.path.join(HERE, "render.go")], check=True, cwd=folder,
                           env=dict(os.environ, GO111MODULE="off", GOTOOLCHAIN="local"))
            with open(os.path.join(CHART, "values.yaml")) as file:
                values = yaml.safe_load(file)
            values["config"]["security"]["staticFields"] = {"odd": "a: \"b\" <c> & 'd' \\"}
            overlay = os.path.join(folder, "values.yaml")
            with open(overlay, "w") as file:
                yaml.safe_dump(values, file)
            theirs = []
            for name in sorted(glob.glob(os.path.join(CHART, "templates", "*.yaml"))):
                out = subprocess.run([program, "net", name], check=True, stdout=subprocess.PIPE,
                                     input=json.dumps(values).encode()).stdout
                theirs.append(yaml.safe_load(out))
            ours = rendered("--namespace", "net", "-f", overlay)
            for one in (*theirs, *ours):  # texts that hold documents
                if one["kind"] == "ConfigMap":
                    one["data"]["beeline.yaml"] = yaml.safe_load(one["data"]["beeline.yaml"])
                if one["kind"] == "DaemonSet":
                    annotations = one["spec"]["template"]["metadata"]["annotations"]
                    annotations["beeline.io/config"] = json.loads(annotations["beeline.io/config"])
            self.assertEqual(ours, theirs)


class Files(unittest.TestCase):
    def test_the_plugin_is_put_into_place_before_its_configuration(self):
        with tempfile.TemporaryDirectory() as folder:
            bin, conf = os.path.join(folder, "bin"), os.path.join(folder, "net.d")
            os.mkdir(bin)
            environment = dict(os.environ, BEELINE_CNI=os.path.join(harness.BIN, "beeline-cni"),
                               BEELINE_CONFLIST=os.path.join(cluster.ROOT, "deploy/conf/05-beeline.conflist"))
            command = [os.path.join(IMAGE, "plugin"), bin, conf]
            # The second folder is missing: no configuration without a plugin, and an error.
            self.assertNotEqual(subprocess.run(command, env=environment, stderr=subprocess.DEVNULL).returncode, 0)
            self.assertEqual(os.listdir(bin), ["beeline-cni"])
            os.mkdir(conf)
            for _ in range(2):
                subprocess.run(command, env=environment, check=True)
                self.assertEqual((os.listdir(bin), os.listdir(conf)), (["beeline-cni"], ["05-beeline.conflist"]))
            self.assertEqual(os.stat(os.path.join(bin, "beeline-cni")).st_mode & 0o777, 0o755)


    def test_file_systems_are_mounted_on_the_node_where_they_are_missing(self):
        node = subprocess.Popen(["unshare", "--mount", "sh", "-c", "umount -l /sys/fs/bpf; echo ready; exec sleep 60"],
                                stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
        try:
            self.assertEqual(node.stdout.readline(), "ready\n")

            def mounted():
                with open(f"/proc/{node.pid}/mountinfo") as file:
                    return [line.split()[4] for line in file if " - bpf " in line and line.split()[4] == "/sys/fs/bpf"]
            before = len(mounted())
            for _ in range(2):
                subprocess.run([os.path.join(IMAGE, "mounts")], check=True,
                               env=dict(os.environ, BEELINE_NODE_PROCESS=str(node.pid)))
                self.assertEqual(len(mounted()), max(before, 1))
        finally:
            node.kill()
            node.wait()
            node.stdout.close()


@unittest.skipUnless(shutil.which("podman"), "no podman to make the container with")
class Pod(harness.TestCase):
    """The agent's container as the DaemonSet describes it, by podman on this machine's own files: not privileged."""

    def command(self, node):
        pod = next(o for o in rendered() if o["kind"] == "DaemonSet")["spec"]["template"]["spec"]
        container = next(c for c in pod["containers"] if c["name"] == "beelined")
        words = ["podman", "run", "--rm", "--network", "host", "--pid", "host", "--log-driver", "none",
                 "--name", f"beeline-{node.instance}", "--cgroup-parent", f"/beeline/{node.instance}/pod",
                 "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
                 "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", "--cap-drop", "all"]
        for capability in container["securityContext"]["capabilities"]["add"]:
            words += ["--cap-add", capability]
        volumes = {v["name"]: v.get("hostPath") for v in pod["volumes"]}
        for mount in container["volumeMounts"]:
            if volumes[mount["name"]] is None:
                continue
            path = volumes[mount["name"]]["path"]
            options = (["rslave"] if "mountPropagation" in mount else []) + (["ro"] if mount.get("readOnly") else [])
            if os.path.isdir(path):
                words += ["--volume", ":".join([path, mount["mountPath"], *[",".join(options)][:len(options)]])]
        # In place of the image. The node's namespaces are those of this process: in a test that runs in a container, process 1
        # may be none that it can look into.
        words += ["--volume", f"{harness.BIN}:/opt/beeline:ro", "--volume", f"{IMAGE}:/usr/lib/beeline:ro",
                  "--volume", f"{node.folder}:{node.folder}", "--env", "PATH=/opt/beeline:/usr/sbin:/usr/bin:/sbin:/bin",
                  "--env", f"BEELINE_NODE_PROCESS={os.getpid()}"]
        return [*words, "--rootfs", "/:O", *container["command"][:1], "--config", node.config_file, "--instance",
                node.instance]

    def test_its_capabilities_and_mounts_suffice(self):
        rules = """
- rule: Marked program
  desc: d
  condition: evt.type in (execve, execveat) and proc.cmdline contains bl-marked
  output: marked %proc.cmdline
  priority: NOTICE
"""
        with harness.Node(agent=False, config={"security": {"scope": "machine", "outputs": {"stdout": False}}}) as node:
            with open(node.config_file) as file:
                config = yaml.safe_load(file)
            config["security"]["rules"] = [os.path.join(node.folder, "rules.yaml")]
            with open(config["security"]["rules"][0], "w") as file:
                file.write(rules)
            with open(node.config_file, "w") as file:
                yaml.safe_dump(config, file)
            # So that it is a mount whose new mounts are seen in the container, as on a node with systemd all are.
            first = node.make_netns("first")
            with open(node.log_file, "a") as log:
                node.agent = node._start(self.command(node), node.netns_path, node.host_cgroup, stdout=log,
                                         stderr=subprocess.STDOUT)
            node.cli_ok("status", "--wait", "--timeout", "30")
            status = node.api("GET", "/v1/status")
            self.assertEqual(status["security"]["rules"], 1)
            with open(f"/proc/{status['pid']}/status") as file:
                effective = next(line for line in file if line.startswith("CapEff")).split()[1]
            self.assertFalse(int(effective, 16) & 1 << 24, "SYS_RESOURCE: the container is privileged")
            addresses = {}
            for name, netns in (("first", first), ("second", node.make_netns("second"))):
                code, result, err = node.cni("ADD", f"{name}-id", netns, args=f"K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name}")
                self.assertEqual(code, 0, f"{result} {err}")
                addresses[name] = [entry["address"].split("/")[0] for entry in result["ips"]]
            node.serve("shop/first", "first", tcp=[80])
            for address in addresses["first"]:
                self.assertTrue(node.tcp("shop/second", address, 80)["ok"], address)
            node.wait_flow(lambda f: f["source"].get("name") == "second" and f["destination"].get("name") == "first")
            node.host("sh", "-c", ": bl-marked; true")
            harness.wait_for(lambda: [a for a in node.stream("/v1/alerts") if "bl-marked" in json.dumps(a)], 10,
                             "the alert")


class Install(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.node = stack.enter_context(harness.Node(agent=False))
        cls.kubernetes = stack.enter_context(cluster.Cluster(cls.node))

    def beeline(self, verb, *arguments, code=0):
        done = self.node.cli(verb, "--kubeconfig", self.kubernetes.kubeconfig, *arguments)
        self.assertEqual(done[0], code, done[1] + done[2])
        return done[1].splitlines() if code == 0 else done[2]

    def versions(self):
        found = self.kubernetes.get("serviceaccount,configmap,daemonset", "--namespace", "kube-system")["items"]
        found += self.kubernetes.get("clusterrole,clusterrolebinding")["items"]
        return {f"{o['kind']} {o['metadata']['name']}": o["metadata"]["resourceVersion"] for o in found
                if o["metadata"]["name"].startswith("beeline")}

    def daemon_set(self):
        return self.kubernetes.get("daemonset", "beeline", "--namespace", "kube-system")

    def test_a_dry_run_changes_nothing(self):
        self.assertEqual(self.beeline("install", "--dry-run"), [f"{title} created (dry run)" for title in TITLES])
        self.assertEqual(self.versions(), {})
        self.assertIn("no context 'none'", self.beeline("install", "--context", "none", code=1))

    def test_b_install(self):
        self.assertEqual(self.beeline("install", "--image", "images.example.org/beeline:7"),
                         [f"{title} created" for title in TITLES])
        self.assertEqual(len(self.versions()), 5)
        pod = self.daemon_set()["spec"]["template"]["spec"]
        self.assertEqual({c["image"] for c in pod["containers"] + pod["initContainers"]},
                         {"images.example.org/beeline:7"})
        for container in pod["containers"] + pod["initContainers"]:
            self.assertNotIn("privileged", container["securityContext"])
            self.assertEqual(container["securityContext"]["capabilities"]["drop"], ["ALL"])

    def test_c_again_changes_nothing(self):
        before = self.versions()
        self.assertEqual(self.beeline("install", "--image", "images.example.org/beeline:7"),
                         [f"{title} unchanged" for title in TITLES])
        self.assertEqual(self.versions(), before)

    def test_d_a_value_changes_what_it_is_in(self):
        before = self.daemon_set()["metadata"]["generation"]
        arguments = ("--image", "images.example.org/beeline:7", "--set", "config.network.mode=direct")
        wanted = [f"{title} unchanged" for title in TITLES[:3]] + [f"{title} changed" for title in TITLES[3:]]
        self.assertEqual(self.beeline("install", *arguments, "--dry-run"), [f"{line} (dry run)" for line in wanted])
        self.assertEqual(self.daemon_set()["metadata"]["generation"], before)
        self.assertEqual(self.beeline("install", *arguments), wanted)
        self.assertEqual(self.daemon_set()["metadata"]["generation"], before + 1)
        self.assertIn("no value 'config2'", self.beeline("install", "--set", "config2.x=1", code=1))

    def test_e_fields_of_others_are_not_taken_unasked(self):
        self.kubernetes.kubectl("patch", "daemonset", "beeline", "--namespace", "kube-system", "--field-manager", "other",
                                "--type", "merge", "--patch",
                                '{"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 3}}}}')
        self.assertIn("--force", self.beeline("install", code=1))
        self.beeline("install", "--force")
        self.assertEqual(self.daemon_set()["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], 1)

    def test_f_wait(self):
        self.assertIn("the cluster's controller has not seen the DaemonSet yet",
                      self.beeline("install", "--wait", "--timeout", "1", code=1))
        generation = self.daemon_set()["metadata"]["generation"]
        for ready, code in ((1, 1), (2, 0)):
            status = {"observedGeneration": generation, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
                      "updatedNumberScheduled": 2, "numberReady": ready, "numberMisscheduled": 0}
            self.kubernetes.kubectl("patch", "daemonset", "beeline", "--namespace", "kube-system", "--subresource", "status",
                                    "--type", "merge", "--patch", json.dumps({"status": status}))
            said = self.beeline("install", "--wait", "--timeout", "1", code=code)
            if code != 0:
                self.assertIn("2 of 2 nodes have this version, 1 are ready", said)

    def test_g_the_agent_runs_with_the_installed_rights_and_configuration(self):
        node, kubernetes = self.node, self.kubernetes
        kubernetes.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-under-test"},
                          "spec": {"podCIDRs": ["10.77.0.0/24"], "podCIDR": "10.77.0.0/24"}})
        account = "--as=system:serviceaccount:kube-system:beeline"
        for verb, what, allowed in (("list", "pods", "yes"), ("patch", "nodes/status", "yes"), ("create", "events", "yes"),
                                    ("get", "secrets", "no"), ("delete", "pods", "no"), ("create", "pods", "no")):
            self.assertEqual(kubernetes.kubectl("auth", "can-i", verb, what, account, "-A", check=False).strip(), allowed,
                             f"{verb} {what}")
        token = kubernetes.kubectl("create", "token", "beeline", "--namespace", "kube-system").strip()
        config = yaml.safe_load(kubernetes.get("configmap", "beeline", "--namespace", "kube-system")["data"]["beeline.yaml"])
        # What would be the machine's, not the test's.
        config["node"] = "node-under-test"
        config["source"]["kubernetes"] = {"kubeconfig": kubernetes._write_kubeconfig(
            "beeline", os.path.join(kubernetes.folder, "installed"), token)}
        config["security"] = {"enabled": False}
        with open(node.config_file, "w") as file:
            yaml.safe_dump(config, file)
        code, _, said = node.cli("status", "--wait", "--timeout", "1")
        self.assertEqual(code, 1)
        self.assertIn("waiting for the agent to answer", said)
        node.start_agent(wait=False)
        node.cli_ok("status", "--wait", "--timeout", "30")
        self.assertEqual(node.api("GET", "/v1/status")["source"]["objects"]["Node"], 1)
        kubernetes.stop()
        harness.wait_for(lambda: not node.api("GET", "/v1/status")["source"]["connected"], 30, "the loss to be seen")
        code, _, said = node.cli("status", "--wait", "--timeout", "1")
        self.assertEqual(code, 1)
        self.assertIn("waiting for the connection to kubernetes", said)
        kubernetes.start()
        node.cli_ok("status", "--wait", "--timeout", "60")
        node.stop_agent()

    def test_h_uninstall(self):
        backwards = TITLES[::-1]
        self.assertEqual(self.beeline("uninstall", "--dry-run"), [f"{title} removed (dry run)" for title in backwards])
        self.assertEqual(len(self.versions()), 5)
        self.assertEqual(self.beeline("uninstall"), [f"{title} removed" for title in backwards])
        self.assertEqual(self.versions(), {})
        self.assertEqual(self.beeline("uninstall"), [f"{title} was not there" for title in backwards])

    def test_i_a_namespace_of_its_own_is_made(self):
        self.assertEqual(self.beeline("install", "--namespace", "beeline-system")[0], "Namespace beeline-system created")
        self.kubernetes.get("daemonset", "beeline", "--namespace", "beeline-system")
        self.beeline("uninstall", "--namespace", "beeline-system")


if __name__ == "__main__":
    harness.main()
