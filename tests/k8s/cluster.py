"""A real kube-apiserver and etcd in a network namespace, on its loopback device or an address of it, with a throw-away authority.

    with harness.Node(agent=False) as node, cluster.Cluster(node) as kubernetes:
        kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})

Programs come from tools/fetch-kubernetes; a machine that cannot have them skips, loudly. There is no kubelet and no
controller: tests write the status of pods and the EndpointSlices themselves.
"""
import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import yaml

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "netns"))

import harness  # noqa: E402

PORT, ETCD, ETCD_PEER = 16443, 16444, 16445


def programs():
    """The folder of kube-apiserver, etcd and kubectl. Does not build for minutes unless CI or BEELINE_FETCH says so."""
    fetch = os.path.join(ROOT, "tools", "fetch-kubernetes")
    folder = os.path.join(os.environ.get("BEELINE_KUBERNETES", "/var/cache/beeline/kubernetes"), "1.34.4")
    if not os.path.exists(os.path.join(folder, "kube-apiserver")) and not os.environ.get("BEELINE_FETCH"):
        print(f"SKIP: no kube-apiserver in {folder}: run tools/fetch-kubernetes (4 to 7 minutes of two cores)")
        sys.exit(harness.SKIP)
    done = subprocess.run([fetch], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        print(f"SKIP: the API server cannot be had: {done.stderr.strip()[-500:]}")
        sys.exit(harness.SKIP)
    return done.stdout.split()[-1]


class Cluster:
    def __init__(self, node, place=None, address="127.0.0.1"):
        """`place`: the network namespace (a path) that the server lives in; the node's own without. `address`: its own there."""
        self.node = node
        self.address = address
        self.netns = place or node.netns_path
        self.folder = None
        self.etcd = self.server = None

    def __enter__(self):
        self.bin = programs()
        self.folder = tempfile.mkdtemp(prefix=f"beeline-test-{self.node.instance}-k8s-")
        self.pki = os.path.join(self.folder, "pki")
        os.mkdir(self.pki)
        try:
            self._make_keys()
            self.start_etcd()
            self.start()
            self._write_kubeconfig("admin", os.path.join(self.folder, "kubeconfig"))
        except BaseException:
            self.print_logs()
            self.close()
            raise
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.print_logs()
        self.close()

    def close(self):
        for process in (self.server, self.etcd):
            if process is not None:
                process.kill()
                process.wait()
        self.server = self.etcd = None
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def print_logs(self):
        for name in ("etcd", "apiserver"):
            with contextlib.suppress(OSError), open(os.path.join(self.folder, name + ".log"), errors="replace") as file:
                print(f"--- {name} ---\n{''.join(file.readlines()[-15:])}---", file=sys.stderr)

    def _openssl(self, *words):
        subprocess.run(["openssl", *words], check=True, cwd=self.pki, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _make_keys(self):
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
        self._openssl("req", "-x509", "-new", "-key", "ca.key", "-days", "3", "-subj", "/CN=test-ca", "-out", "ca.crt")
        self._sign("server", "/CN=kube-apiserver", f"DNS:localhost,DNS:kubernetes,IP:127.0.0.1,IP:{self.address}")
        self._sign("admin", "/O=system:masters/CN=admin")
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key")

    def _sign(self, name, subject, names=None):
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
        self._openssl("req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
        with open(os.path.join(self.pki, f"{name}.ext"), "w") as file:
            file.write("keyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n")
            if names:
                file.write(f"subjectAltName={names}\n")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                      "-days", "3", "-out", f"{name}.crt", "-extfile", f"{name}.ext")

    def _spawn(self, log, command):
        with open(os.path.join(self.folder, log + ".log"), "a") as file:
            return subprocess.Popen(["nsenter", f"--net={self.netns}", *command], stdin=subprocess.DEVNULL, stdout=file,
                                    stderr=subprocess.STDOUT, cwd=self.pki)

    def start_etcd(self):
        client, peer = f"http://127.0.0.1:{ETCD}", f"http://127.0.0.1:{ETCD_PEER}"
        self.etcd = self._spawn("etcd", [
            f"{self.bin}/etcd", "--name", "one", "--data-dir", f"{self.folder}/etcd", "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"one={peer}", "--unsafe-no-fsync"])

    def start(self):
        self.server = self._spawn("apiserver", [
            f"{self.bin}/kube-apiserver", f"--etcd-servers=http://127.0.0.1:{ETCD}", f"--secure-port={PORT}",
            f"--bind-address={self.address}", f"--advertise-address={self.address}", "--tls-cert-file=server.crt",
            "--tls-private-key-file=server.key", "--client-ca-file=ca.crt", "--service-account-key-file=sa.key",
            "--service-account-signing-key-file=sa.key", "--service-account-issuer=https://localhost",
            "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=Node,RBAC",
            "--endpoint-reconciler-type=none", "--allow-privileged=true", "--profiling=false"])
        harness.wait_for(self._ready, 120, "the API server", 0.2)

    def _ready(self):
        if self.server.poll() is not None:
            raise RuntimeError(f"kube-apiserver ended with {self.server.returncode}")
        done = subprocess.run(
            ["nsenter", f"--net={self.netns}", "curl", "-sf", "--cacert", "ca.crt", "--cert", "admin.crt", "--key",
             "admin.key", f"https://{self.address}:{PORT}/readyz"], cwd=self.pki, stdout=subprocess.DEVNULL)
        return done.returncode == 0

    def stop(self):
        self.server.kill()
        self.server.wait()

    def _write_kubeconfig(self, name, path, token=None):
        def text(file):
            with open(os.path.join(self.pki, file), "rb") as opened:
                return base64.b64encode(opened.read()).decode()
        user = {"token": token} if token else {"client-certificate-data": text(f"{name}.crt"),
                                              "client-key-data": text(f"{name}.key")}
        with open(path, "w") as file:
            yaml.safe_dump({
                "apiVersion": "v1", "kind": "Config", "current-context": "test",
                "clusters": [{"name": "test", "cluster": {"server": f"https://{self.address}:{PORT}",
                                                          "certificate-authority-data": text("ca.crt")}}],
                "users": [{"name": name, "user": user}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}]}, file)
        return path

    @property
    def kubeconfig(self):
        return os.path.join(self.folder, "kubeconfig")

    def agent_kubeconfig(self):
        """One of a service account that is bound to exactly the rights of docs/kubernetes.md."""
        self.apply(*yaml.safe_load_all(agent_rights()))
        token = self.kubectl("create", "token", "beeline", "--namespace", "kube-system").strip()
        return self._write_kubeconfig("beeline", os.path.join(self.folder, "agent-kubeconfig"), token)

    def kubectl(self, *words, input=None, check=True):
        done = subprocess.run(
            ["nsenter", f"--net={self.netns}", f"{self.bin}/kubectl", "--kubeconfig", self.kubeconfig, *words],
            input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
            env=dict(os.environ, HOME=self.folder))
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *objects):
        """Real `kubectl apply` of all of them; then the status that they have is written too, as a kubelet would."""
        self.kubectl("apply", "-f", "-", input=listed(objects))
        for one in objects:
            if "status" in one:
                metadata = one["metadata"]
                space = ["--namespace", metadata["namespace"]] if "namespace" in metadata else []
                self.kubectl("patch", one["kind"].lower(), metadata["name"], *space, "--subresource", "status", "--type",
                             "merge", "--patch", json.dumps({"status": one["status"]}))

    def get(self, *words):
        return json.loads(self.kubectl("get", *words, "-o", "json"))


def listed(objects):
    """One JSON text: in YAML the namespace y would be a boolean."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def agent_rights():
    """The rights that docs/kubernetes.md lists, which is where an administrator takes them from."""
    with open(os.path.join(ROOT, "docs", "kubernetes.md")) as file:
        text = file.read()
    return text.split("```yaml rights\n", 1)[1].split("```", 1)[0]


def pod(name, namespace="default", labels=None, node="node-under-test", ports=(), addresses=(), **spec):
    """A Pod on a node; with addresses one that runs and is ready."""
    one = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
           "spec": {"nodeName": node, "automountServiceAccountToken": False, "serviceAccountName": "default",
                    "containers": [{"name": "c", "image": "localhost/none",
                                    "ports": [dict(zip(("name", "protocol", "containerPort"), p)) for p in ports]}],
                    **spec}}
    if addresses:
        one["status"] = {"phase": "Running", "podIP": addresses[0], "podIPs": [{"ip": a} for a in addresses],
                         "conditions": [{"type": "Ready", "status": "True"}]}
    return one


def namespace(name, **labels):
    # No controller makes the account that every pod has.
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}]


def agent_config(kubernetes, **members):
    return {"kind": "kubernetes", "kubernetes": {"kubeconfig": kubernetes.agent_kubeconfig(), **members}}


def use(node, kubernetes, ranges=True):
    """Makes the node's agent, which is not started yet, one of the cluster."""
    with open(node.config_file) as file:
        config = yaml.safe_load(file)
    config["source"] = agent_config(kubernetes)
    if not ranges:
        for family in ("ipv4", "ipv6"):
            config["network"].pop(family, None)
    with open(node.config_file, "w") as file:
        yaml.safe_dump(config, file)


def wait_synced(node, timeout=20):
    return harness.wait_for(lambda: (lambda s: s if s["synced"] and s["connected"] else None)(
        node.api("GET", "/v1/status")["source"]), timeout, "the source to be synced")


def add_pod(node, kubernetes, name, space="default", labels=None, ports=(), tcp=(), udp=(), on="node-under-test"):
    """What the scheduler, containerd and the kubelet do: the object, CNI ADD, servers, the status."""
    kubernetes.apply(pod(name, space, labels, on, ports))
    return attach_pod(node, kubernetes, name, space, tcp, udp)


def attach_pod(node, kubernetes, name, space, tcp=(), udp=()):
    netns = node.make_netns(f"{space}-{name}")
    code, result, err = node.cni("ADD", f"{space}-{name}-id", netns,
                                 args=f"IgnoreUnknown=1;K8S_POD_NAMESPACE={space};K8S_POD_NAME={name};"
                                      f"K8S_POD_UID=u-{name};K8S_POD_INFRA_CONTAINER_ID={space}-{name}-id")
    if code != 0:
        raise AssertionError(f"CNI ADD of {space}/{name}: {result} {err}")
    if tcp or udp:
        node.serve(f"{space}/{name}", f"{space}/{name}", tcp, udp)
    addresses = [entry["address"].split("/")[0] for entry in result["ips"]]
    status = {"status": {"phase": "Running", "podIP": addresses[0], "podIPs": [{"ip": a} for a in addresses],
                         "conditions": [{"type": "Ready", "status": "True"}]}}
    kubernetes.kubectl("patch", "pod", name, "--namespace", space, "--subresource", "status", "--type", "merge",
                       "--patch", json.dumps(status))
    return addresses
