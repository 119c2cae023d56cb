"""Containers of Kubernetes: a real containerd that is driven through its CRI socket as the kubelet drives it.

All its files are in the node's folder, it runs in the node's network namespace, its pods are below the node's cgroup and get
their network from beeline-cni. Rules must know names, image, digest, labels and pod of what runs there.
"""
import importlib
import os
import subprocess
import sys
import unittest

import yaml

import harness
import test_containers
from test_containers import write

PAUSE = "localhost/beeline-pause:1"
RULE = """
- rule: Probe ran
  desc: The test's program.
  condition: evt.type in (execve, execveat) and proc.name = probe
  output: >
    probe ran (id=%container.full_id name=%container.name image=%container.image repository=%container.image.repository
    tag=%container.image.tag digest=%container.image.digest image_id=%container.image.id type=%container.type
    tier=%container.label[tier] pod=%k8s.pod.name namespace=%k8s.ns.name uid=%k8s.pod.uid sandbox=%k8s.pod.sandbox_id
    address=%k8s.pod.ip app=%k8s.pod.label[app] mounts=%container.mounts)
  priority: NOTICE
"""


def messages(folder):
    """The module that protoc makes of kubelet.proto."""
    source = os.path.dirname(os.path.realpath(__file__))
    subprocess.run(["protoc", "-I", source, f"--python_out={folder}", "kubelet.proto"], check=True)
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("kubelet_pb2")
    finally:
        sys.path.remove(folder)


class Kubelet:
    """The calls that the kubelet makes, by their names."""

    def __init__(self, grpc, kubelet, socket):
        self.messages = kubelet
        self.channel = grpc.insecure_channel(f"unix:{socket}", options=[("grpc.enable_http_proxy", 0)])

    def call(self, name, service="RuntimeService", **fields):
        ask = self.channel.unary_unary(
            f"/runtime.v1.{service}/{name}", request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(self.messages, f"{name}Response").FromString)
        return ask(getattr(self.messages, f"{name}Request")(**fields), timeout=60)


class CriEngine(test_containers.Containers):
    """containerd on a node, with the images that the tests need."""

    @classmethod
    def setUpClass(cls):
        test_containers.needs("containerd", "ctr", "runc", "busybox", "protoc")
        try:
            cls.grpc = importlib.import_module("grpc")
            importlib.import_module("google.protobuf")
        except ImportError as error:
            raise unittest.SkipTest(f"python3-grpcio or python3-protobuf is not installed: {error}") from None

    def setUp(self):
        super().setUp()
        self.base = os.path.join(self.folder, "containerd")
        self.socket = os.path.join(self.base, "c.sock")
        write(os.path.join(self.folder, "networks", "05-beeline.conflist"), self.list)
        write(os.path.join(self.base, "config.toml"), f"""
version = 2
root = "{self.base}/root"
state = "{self.base}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
                    "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper",
                    "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{self.socket}"
[ttrpc]
  address = "{self.socket}.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{self.plugins}"
    conf_dir = "{self.folder}/networks"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
""")
        log = open(os.path.join(self.base, "log"), "w")
        self.addCleanup(log.close)
        self.daemon = self.node.background("host", "containerd", "--config", os.path.join(self.base, "config.toml"),
                                           stdout=log, stderr=subprocess.STDOUT)
        self.pods = []
        self.kubelet = Kubelet(self.grpc, messages(self.base), self.socket)
        self.addCleanup(self.kubelet.channel.close)
        self.addCleanup(self.stop)
        harness.wait_for(self.answers, 30, "containerd answering")
        rootfs = test_containers.make_rootfs(self.folder)
        for name, entrypoint in ((test_containers.IMAGE, ()), (PAUSE, ("/bin/busybox", "sleep", "1000000"))):
            archive = os.path.join(self.folder, f"{len(entrypoint)}.tar")
            test_containers.make_image(rootfs, archive, name, entrypoint)
            self.ctr("images", "import", "--snapshotter", "native", archive)
        harness.wait_for(lambda: self.image().id, 20, "the runtime having the image")

    def answers(self):
        try:
            return self.kubelet.call("Version", version="v1").runtime_name == "containerd"
        except self.grpc.RpcError:
            return False

    def image(self):
        return self.kubelet.call("ImageStatus", "ImageService", image={"image": test_containers.IMAGE}).image

    def ctr(self, *words):
        return self.engine("ctr", "--address", self.socket, "--namespace", "k8s.io", *words)

    def stop(self):
        for pod in self.pods:
            self.kubelet.call("StopPodSandbox", pod_sandbox_id=pod)
            self.kubelet.call("RemovePodSandbox", pod_sandbox_id=pod)
        self.daemon.terminate()
        self.daemon.wait(20)

    def run_pod(self, name, command=("/bin/busybox", "sleep", "1000000"), labels=None, ports=(), annotations=None):
        """(sandbox, container): a pod of one container, in the cgroups that the kubelet would give it."""
        uid = f"uid-of-{name}"
        config = {"metadata": {"name": name, "uid": uid, "namespace": "prod"}, "hostname": name, "labels": labels or {},
                  "port_mappings": list(ports), "annotations": annotations or {},
                  "linux": {"cgroup_parent": f"/{self.cgroups}/kubepods/besteffort/pod{uid}"}}
        pod = self.kubelet.call("RunPodSandbox", config=config).pod_sandbox_id
        self.pods.append(pod)
        container = self.kubelet.call(
            "CreateContainer", pod_sandbox_id=pod, sandbox_config=config,
            config={"metadata": {"name": "app"}, "image": {"image": test_containers.IMAGE},
                    "command": [str(word) for word in command], "labels": {"tier": "web"},
                    "mounts": [{"host_path": "/etc", "container_path": "/host-etc", "readonly": True}]}).container_id
        self.kubelet.call("StartContainer", container_id=container)
        return pod, container

    def remove_pod(self, pod):
        self.pods.remove(pod)
        self.kubelet.call("StopPodSandbox", pod_sandbox_id=pod)
        self.kubelet.call("RemovePodSandbox", pod_sandbox_id=pod)


class Containerd(CriEngine):
    options = {"config": {"security": {"scope": "instance", "outputs": {"stdout": False}}}}

    def setUp(self):
        super().setUp()
        # A pull from a registry would leave the digest too.
        self.digest = self.ctr("images", "list", f"name=={test_containers.IMAGE}").splitlines()[1].split()[2]
        self.ctr("images", "tag", test_containers.IMAGE, f"localhost/beeline-test@{self.digest}")
        harness.wait_for(self.known, 20, "the runtime knowing the image")

        self.node.stop_agent()
        with open(self.node.config_file) as file:
            config = yaml.safe_load(file)
        config["security"]["rules"] = [os.path.join(self.folder, "probe.yaml")]
        config["security"]["criSockets"] = [self.socket]
        write(config["security"]["rules"][0], RULE)
        with open(self.node.config_file, "w") as file:
            yaml.safe_dump(config, file)
        self.node.start_agent()

    def known(self):
        image = self.image()
        self.image_id = image.id.removeprefix("sha256:")
        return image.repo_digests

    def probe(self, container, name):
        """The fields of the alert that a program of the container makes."""
        mark = len(list(self.node.stream("/v1/alerts")))
        done = self.kubelet.call("ExecSync", container_id=container, timeout=20,
                                 cmd=["/bin/sh", "-c", "cp /bin/busybox /tmp/probe; /tmp/probe true"])
        self.assertEqual(done.exit_code, 127, done)  # busybox knows no such applet
        found = harness.wait_for(lambda: list(self.node.stream("/v1/alerts"))[mark:], 10, f"an alert of {name}")
        return found[-1]["output_fields"]

    def test_rules_know_the_pod(self):
        pod, container = self.run_pod("cart-0", labels={"app": "cart"})
        address = self.node.workload("prod/cart-0")["addresses"][0]
        fields = {}

        def complete():
            fields.update(self.probe(container, "cart-0"))
            return fields["container.image.digest"]
        harness.wait_for(complete, 20, "what the runtime says of the container")
        mounts = fields.pop("container.mounts")
        self.assertIn("/etc:/host-etc", mounts)
        del fields["evt.time"]
        self.assertEqual(fields, {
            "container.full_id": container, "container.id": container[:12], "container.name": "app", "container.type": "containerd",
            "container.image": test_containers.IMAGE, "container.image.repository": "localhost/beeline-test",
            "container.image.tag": "1", "container.image.digest": self.digest, "container.image.id": self.image_id,
            "container.label[tier]": "web", "k8s.pod.name": "cart-0", "k8s.ns.name": "prod",
            "k8s.pod.uid": "uid-of-cart-0", "k8s.pod.sandbox_id": pod, "k8s.pod.ip": address, "k8s.pod.label[app]": "cart"})
        [runtime] = self.node.api("GET", "/v1/status")["security"]["container_runtimes"]
        self.assertEqual(runtime["socket"], self.socket)
        self.assertGreaterEqual(runtime["answers"], 1)
        self.assertEqual(runtime["failures"], 0, runtime)

    def test_containers_that_were_there_before_the_agent(self):
        _, container = self.run_pod("early", labels={"app": "old"})
        self.node.stop_agent()
        self.node.start_agent()
        harness.wait_for(lambda: self.probe(container, "early")["container.image.digest"] == self.digest, 20, "the digest")

    def test_a_runtime_that_stops_does_no_harm(self):
        _, container = self.run_pod("lonely", labels={"app": "x"})
        self.assertEqual(self.probe(container, "lonely")["container.full_id"], container)
        os.kill(self.daemon.pid, 19)  # SIGSTOP
        try:
            folder = os.path.join(self.node.cgroup, "kubepods", "besteffort", "podnew", "ab" * 32)
            os.makedirs(folder)
            self.addCleanup(os.rmdir, os.path.dirname(folder))
            self.addCleanup(os.rmdir, folder)
            mark = len(list(self.node.stream("/v1/alerts")))
            code, _, err = self.node._finish(["/bin/sh", "-c", "cp /bin/busybox $0/probe; $0/probe true", self.folder],
                                             self.node.netns_path, folder)
            self.assertEqual(code, 127, err)
            [alert] = harness.wait_for(lambda: list(self.node.stream("/v1/alerts"))[mark:], 10, "an alert meanwhile")
            self.assertEqual(alert["output_fields"]["container.full_id"], "ab" * 32)
        finally:
            os.kill(self.daemon.pid, 18)  # SIGCONT


if __name__ == "__main__":
    harness.main()
