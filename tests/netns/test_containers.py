"""Real container engines on a node: podman through its CNI backend, and containerd through ctr.

Both keep all their files in the node's folder and run in the node's network namespace. Images are made of busybox and the
test server; no registry is involved. The agent must see the namespaces that the engines make, so podman runs in the
machine's mount namespace, where it needs storage without mounts (vfs).
"""
import contextlib
import glob
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import unittest

import harness

IMAGE = "localhost/beeline-test:1"


def needs(*programs):
    for program in programs:
        if shutil.which(program) is None:
            raise unittest.SkipTest(f"{program} is not installed")


def make_rootfs(folder):
    """A tar file with busybox and bltest."""
    root = os.path.join(folder, "rootfs")
    for path in ("bin", "etc", "proc", "sys", "dev", "tmp", "run"):
        os.makedirs(os.path.join(root, path))
    shutil.copy("/bin/busybox", os.path.join(root, "bin", "busybox"))
    shutil.copy(harness.BLTEST, os.path.join(root, "bin", "bltest"))
    os.symlink("busybox", os.path.join(root, "bin", "sh"))
    with open(os.path.join(root, "etc", "passwd"), "w") as file:
        file.write("root:x:0:0:root:/:/bin/sh\n")
    tar = os.path.join(folder, "rootfs.tar")
    subprocess.run(["tar", "-C", root, "-cf", tar, "."], check=True)
    return tar


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text if isinstance(text, str) else json.dumps(text))


def remove_cgroups(name):
    """The engines use every cgroup hierarchy of a hybrid host; the node's own one ends with the node."""
    for path in glob.glob(f"/sys/fs/cgroup/*/{name}"):
        for folder, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        if not path.startswith(harness.cgroup_root()):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(path))


class Containers(harness.TestCase):
    options = {}  # of the Node

    def setUp(self):
        self.node = harness.Node(**self.options)
        self.node.__enter__()
        self.addCleanup(self.node.close)
        self.folder = self.node.folder
        self.cgroups = f"beeline/{self.node.instance}"
        self.addCleanup(remove_cgroups, self.cgroups)
        with open(os.path.join(harness.ROOT, "deploy", "conf", "05-beeline.conflist")) as file:
            self.list = json.load(file)
        self.list["plugins"][0]["instance"] = self.node.instance
        self.plugins = os.path.join(self.folder, "cni-bin")
        os.mkdir(self.plugins)
        for path in [os.path.join(harness.BIN, "beeline-cni"), *glob.glob("/usr/lib/cni/*")]:
            shutil.copy(path, self.plugins)

    def engine(self, *command, ok=True, timeout=120, **environment):
        code, out, err = self.node.host(*command, env=environment, timeout=timeout)
        if ok:
            self.assertEqual(code, 0, f"{' '.join(map(str, command))}:\n{out}\n{err}")
        return out.strip() if ok else (code, out, err)

    def answer(self, out):
        return json.loads(out.splitlines()[-1])


class PodmanEngine(Containers):
    @classmethod
    def setUpClass(cls):
        needs("podman", "runc", "conmon", "busybox")

    def setUp(self):
        super().setUp()
        networks = os.path.join(self.folder, "networks")
        write(os.path.join(networks, "05-beeline.conflist"), self.list)
        self.conf = os.path.join(self.folder, "containers.conf")
        write(self.conf, f"""
[network]
network_backend = "cni"
cni_plugin_dirs = ["{self.plugins}"]
network_config_dir = "{networks}"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
""")
        self.addCleanup(self.podman, "rm", "--all", "--force", "--time", "0", ok=False)
        self.podman("import", make_rootfs(self.folder), IMAGE)

    def podman(self, *words, **options):
        storage = os.path.join(self.folder, "podman")
        return self.engine("podman", "--root", f"{storage}/root", "--runroot", f"{storage}/run", "--tmpdir", f"{storage}/tmp",
                           "--storage-driver", "vfs", *words, CONTAINERS_CONF=self.conf, **options)

    def run_container(self, *words, **options):
        return self.podman("run", "--network", "beeline", "--cgroup-parent", f"/{self.cgroups}/podman", *words, **options)


class Podman(PodmanEngine):
    def serve(self, name, *flags):
        self.run_container("-d", "--name", name, *flags, IMAGE, "/bin/bltest", "serve", "--name", name, "--tcp", 80)
        harness.wait_for(lambda: "ready" in self.podman("logs", name), 20, f"{name} listening")
        return self.node.workload(f"default/{name}")

    def ask(self, address, *flags):
        code, out, err = self.run_container("--rm", *flags, IMAGE, "/bin/bltest", "tcp", address, 80, "--timeout", 2000,
                                            ok=False)
        self.assertTrue(out.strip(), f"exit code {code}: {err}")
        return self.answer(out)

    def test_containers_are_workloads(self):
        entry = self.serve("web")
        self.assertEqual(len(entry["addresses"]), 2)
        self.assertEqual(entry["interface"], "eth0")
        shown = json.loads(self.podman("inspect", "web"))[0]["NetworkSettings"]["Networks"]["beeline"]
        self.assertEqual([shown["IPAddress"], shown["GlobalIPv6Address"]], entry["addresses"])
        self.assertEqual(shown["MacAddress"], entry["mac"])
        for address in entry["addresses"]:
            answer = self.ask(address)
            self.assertEqual(answer["error"], "", answer)
            self.assertTrue(answer["reply"].startswith("web "), answer)
            self.assertEqual(self.node.tcp("host", address, 80)["error"], "")
        # The short-lived ones have left nothing.
        self.assertEqual([w["name"] for w in self.node.workloads()], ["web"])

        self.podman("rm", "--force", "--time", "0", "web")
        self.assertEqual(self.node.workloads(), [])
        self.assertEqual(self.node.api("GET", "/v1/status")["addresses"]["ipv4"]["used"], 0)

    def test_fixed_addresses_survive_a_restart_of_the_container(self):
        entry = self.serve("fixed", "--ip", "10.88.9.9", "--mac-address", "0a:00:00:00:09:09")
        self.assertEqual(entry["addresses"][0], "10.88.9.9")
        self.assertEqual(entry["mac"], "0a:00:00:00:09:09")
        self.podman("restart", "--time", "0", "fixed")
        harness.wait_for(lambda: self.podman("logs", "fixed").count("ready") == 2, 20, "fixed listening again")
        self.assertEqual(self.node.workload("default/fixed")["addresses"][0], "10.88.9.9")
        self.assertEqual(self.ask("10.88.9.9")["error"], "")
        code, _, err = self.run_container("--rm", "--ip", "10.88.9.9", IMAGE, "/bin/sh", "-c", "exit 0", ok=False)
        self.assertNotEqual(code, 0)
        self.assertIn("10.88.9.9", err)

    def test_policies_guard_containers(self):
        entry = self.serve("guarded")
        address = entry["addresses"][0]
        self.assertEqual(self.ask(address)["error"], "")
        self.node.apply([{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                          "metadata": {"name": "closed", "namespace": "default"},
                          "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}])
        self.assertEqual(self.ask(address)["error"], "TIMEOUT")
        self.node.delete("networkpolicy", "closed")
        self.assertEqual(self.ask(address)["error"], "")

    def test_removed_while_the_agent_is_down(self):
        self.serve("doomed")
        self.node.stop_agent()
        self.podman("rm", "--force", "--time", "0", "doomed")
        self.node.start_agent()
        self.assertEqual(self.node.workloads(), [])


class Containerd(Containers):
    """ctr reads /etc/cni/net.d and /opt/cni/bin: it gets a mount namespace with its own."""

    @classmethod
    def setUpClass(cls):
        needs("containerd", "ctr", "runc", "busybox", "unshare")

    def setUp(self):
        super().setUp()
        base = os.path.join(self.folder, "containerd")
        self.socket = os.path.join(base, "c.sock")
        write(os.path.join(base, "config.toml"), f"""
version = 2
root = "{base}/root"
state = "{base}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
                    "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper",
                    "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{self.socket}"
[ttrpc]
  address = "{self.socket}.ttrpc"
""")
        self.base = base
        log = open(os.path.join(base, "log"), "w")
        self.addCleanup(log.close)
        self.daemon = self.node.background("host", "containerd", "--config", os.path.join(base, "config.toml"), stdout=log,
                                           stderr=subprocess.STDOUT)
        self.addCleanup(self.stop)
        harness.wait_for(lambda: self.ctr("version", ok=False)[0] == 0, 30, "containerd answering")
        layout = os.path.join(self.folder, "image.tar")
        make_image(make_rootfs(self.folder), layout)
        self.ctr("images", "import", "--snapshotter", "native", layout)

    def stop(self):
        for container in self.ctr("containers", "list", "-q", ok=False)[1].split():
            self.ctr("tasks", "kill", "-s", "KILL", container, ok=False)
            self.ctr("tasks", "delete", "-f", container, ok=False)
            self.ctr("containers", "delete", container, ok=False)
        self.daemon.terminate()
        self.daemon.wait(20)

    def ctr(self, *words, **options):
        # An overlay over /etc and /opt that only this call sees.
        layers = os.path.join(self.folder, "layers")
        write(os.path.join(layers, "etc", "cni", "net.d", "05-beeline.conflist"), self.list)
        os.makedirs(os.path.join(layers, "opt", "cni"), exist_ok=True)
        if not os.path.exists(os.path.join(layers, "opt", "cni", "bin")):
            shutil.copytree(self.plugins, os.path.join(layers, "opt", "cni", "bin"))
        script = "set -e; for d in etc opt; do mount -t overlay none -o lowerdir=\"$0/$d:/$d\" \"/$d\"; done; exec \"$@\""
        return self.engine("unshare", "--mount", "sh", "-c", script, layers, "ctr", "--address", self.socket, *words,
                           **options)

    def run_task(self, name, *words, flags=(), **options):
        return self.ctr("run", "--snapshotter", "native", "--cni", "--cgroup", f"/{self.cgroups}/ctr/{name}", *flags, IMAGE,
                        name, *words, **options)

    def test_containers_are_workloads(self):
        self.run_task("web", "/bin/bltest", "serve", "--name", "web", "--tcp", 80, flags=("-d", "--null-io"))
        # ctr names the attachment NAMESPACE-CONTAINER and gives no pod.
        entry = self.node.workload("default/default-web")
        self.assertEqual(len(entry["addresses"]), 2)

        def served():
            return self.node.tcp("host", entry["addresses"][0], 80)["error"] == ""
        harness.wait_for(served, 10, "the server answering")
        for address in entry["addresses"]:
            out = self.run_task("client", "/bin/bltest", "tcp", address, 80, "--timeout", 2000, flags=("--rm",))
            answer = self.answer(out)
            self.assertEqual(answer["error"], "", answer)
            self.assertTrue(answer["reply"].startswith("web "), answer)
        self.assertEqual([w["name"] for w in self.node.workloads()], ["default-web"])
        # ctr leaves DEL to whoever stops a detached container.
        self.ok_del("default-web")
        self.assertEqual(self.node.workloads(), [])

    def ok_del(self, container):
        code, out, err = self.node.cni("DEL", container, "", config={**self.list["plugins"][0], "cniVersion": "1.0.0",
                                                                     "name": "beeline"})
        self.assertEqual(code, 0, f"{out} {err}")


def make_image(rootfs, target, tag=IMAGE, entrypoint=()):
    """A docker-archive of one layer, as `podman save` writes it, without needing podman."""
    with open(rootfs, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    folder = target + ".image"
    os.mkdir(folder)
    shutil.copy(rootfs, os.path.join(folder, "layer.tar"))
    write(os.path.join(folder, "config.json"), {"architecture": "amd64", "os": "linux",
                                                "config": {"Entrypoint": list(entrypoint)} if entrypoint else {},
                                                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}})
    write(os.path.join(folder, "manifest.json"), [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}])
    with tarfile.open(target, "w") as tar:
        for name in ("config.json", "manifest.json", "layer.tar"):
            tar.add(os.path.join(folder, name), name)


if __name__ == "__main__":
    harness.main()
