#!/usr/bin/env python3
"""`beeline sysdump`: one archive that has what a helper from afar needs, and none of the secrets that the agent was given."""
import json
import os
import tarfile

import harness
import scene

# Not words, so that finding one in the archive can only mean that it leaked.
SECRETS = {name: f"zq7{name}Yk4w" for name in (
    "saslpass", "saslfile", "keypass", "otlpbearer", "otlpheader", "alertbearer", "alertheader", "alertuserinfo",
    "workloadflag", "workloadword", "programflag")}


class Sysdump(scene.SharedNode):
    @classmethod
    def setUpClass(cls):
        secret = SECRETS.get
        nobody = "127.0.0.1:1"
        cls.options = {"config": {
            "metrics": {"listen": "127.0.0.1:9965"},
            "export": {
                "kafka": [{"brokers": [nobody], "topic": "flows",
                           "sasl": {"mechanism": "PLAIN", "username": "ops", "password": secret("saslpass")}},
                          {"brokers": [nobody], "topic": "flows",
                           "sasl": {"mechanism": "PLAIN", "username": "ops", "passwordFile": cls.password_file()},
                           "properties": {"ssl.key.password": secret("keypass")}}],
                "otlp": [{"endpoint": f"http://{nobody}", "metrics": True, "logs": True, "intervalSeconds": 1, "headers": {
                              "Authorization": f"Bearer {secret('otlpbearer')}", "X-Scope": secret("otlpheader")}}]},
            "security": {"outputs": {"program": {"command": ["/bin/cat", "--api-token", secret("programflag")]}, "http": {
                "url": f"http://u:{secret('alertuserinfo')}@{nobody}/alerts",
                "headers": {"Authorization": f"Bearer {secret('alertbearer')}", "X-Team": secret("alertheader")}}}}}}
        super().setUpClass()

    @classmethod
    def password_file(cls):
        path = f"/tmp/beeline-test-t{os.getpid()}-sysdump"  # removed with what a crashed run leaves
        os.makedirs(path, exist_ok=True)
        cls.addClassCleanup(lambda: (os.remove(f"{path}/password"), os.rmdir(path)))
        with open(f"{path}/password", "w") as file:
            file.write(SECRETS["saslfile"] + "\n")
        return f"{path}/password"

    @classmethod
    def prepare(cls):
        node = cls.node
        node.run("web", *harness.serve("web", tcp=[80]), labels={"app": "web"})
        node.run("client", "sh", "-c", "sleep 3600", "sh", f"--password={SECRETS['workloadflag']}", "--token", SECRETS["workloadword"])
        node.apply([scene.policy("web", {"app": "web"}, "default", ingress=[{"ports": [{"protocol": "TCP", "port": 80}]}])])
        node.tcp("client", node.address("web"), 80)
        node.tcp("client", node.address("web"), 81, timeout_ms=200)
        node.wait_flow(verdict="dropped")
        cls.file = os.path.join(node.folder, "node.tar.gz")
        cls.said = node.cli_ok("sysdump", "-f", cls.file)
        with tarfile.open(cls.file) as archive:
            cls.members = archive.getmembers()
            cls.parts = {one.name.partition("/")[2]: archive.extractfile(one).read() for one in cls.members}

    def document(self, name):
        return json.loads(self.parts[name])

    def lines(self, name):
        return [json.loads(line) for line in self.parts[name].splitlines()]

    def test_archive(self):
        self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o600)
        self.assertEqual(len({one.name.partition("/")[0] for one in self.members}), 1, "one folder")
        for one in self.members:
            self.assertTrue(one.isfile() and not one.name.startswith("/") and ".." not in one.name, one.name)
        contents = self.document("sysdump.json")
        self.assertEqual({one["file"] for one in contents["files"]} | {"sysdump.json"}, set(self.parts))
        for one in contents["files"]:
            self.assertEqual(len(self.parts[one["file"]]), one["bytes"], one["file"])
        self.assertIn(f"{len(contents['files'])} files", self.said)
        # A machine need not have every tool; what the agent knows must be there.
        for one in contents["missing"]:
            self.assertTrue(one["file"].startswith(("tools/", "machine/")), one)
        self.assertEqual(contents["node"], "node-under-test")

    def test_parts(self):
        self.assertEqual(self.document("agent/status.json")["node"], "node-under-test")
        self.assertEqual(self.document("agent/config.json")["node"], "node-under-test")
        self.assertEqual({one["name"] for one in self.document("workloads.json")["workloads"]}, {"web", "client"})
        self.assertEqual([one["name"] for one in self.document("objects.json")["objects"]], ["web"])
        self.assertIn("FORWARDED", {one["verdict"] for one in self.lines("flows.jsonl")})
        self.assertEqual({one["verdict"] for one in self.lines("drops.jsonl")}, {"DROPPED"})
        names = {one["name"] for one in self.document("maps.json")["maps"]}
        self.assertIn("bl_ct", names)
        self.assertEqual({f"maps/{name}.json" for name in names}, {part for part in self.parts if part.startswith("maps/")})
        programs = self.document("programs.json")
        self.assertGreater(len(programs), 5)
        self.assertIn("last_second", programs[0])
        self.assertTrue(self.document("kernel-maps.json"))
        self.assertTrue(self.document("network.json")["links"])
        self.assertIn(b"beeline_", self.parts["agent/metrics.txt"])
        self.assertTrue(self.parts["agent/log.txt"])
        self.assertEqual(self.document("versions.json")["kernel"], os.uname().release)

    def test_no_secret(self):
        with open(f"/var/lib/beeline/{self.node.instance}/web.token") as file:
            token = file.read().strip()
        self.assertGreater(len(token), 16)
        for what, secret in {**SECRETS, "web token": token}.items():
            with self.subTest(what):
                self.assertEqual([name for name, content in self.parts.items() if secret.encode() in content], [])
        config = self.document("agent/config.json")
        self.assertEqual(config["export"]["kafka"][0]["sasl"]["password"], "<redacted>")
        # Its name helps, and is none.
        self.assertTrue(config["export"]["kafka"][1]["sasl"]["passwordFile"].endswith("/password"))
        self.assertEqual(config["security"]["outputs"]["http"]["url"], "http://<redacted>@127.0.0.1:1/alerts")

    def test_refusals(self):
        code, _, err = self.node.cli("sysdump", "-f", self.file)
        self.assertNotEqual(code, 0, "an archive is never written over")
        self.assertIn(self.file, err)


if __name__ == "__main__":
    harness.main()
