"""`beeline run`, `ps`, `logs` and `stop` as a user types them, with the real agent."""
import json
import os
import signal
import subprocess
import time

import harness

BEELINE = os.path.join(harness.BIN, "beeline")
LOOP = "trap 'exit 3' TERM INT; echo ready; while :; do sleep 0.01; done"


def workload_interfaces(node):
    _, out, _ = node.host("ip", "-j", "link")
    return [link["ifname"] for link in json.loads(out)
            if link["ifname"].startswith("bl") and not link["ifname"].startswith("bl_")]


class RunTest(harness.TestCase):
    def assert_nothing_left(self, node):
        self.assertEqual(node.workloads(), [])
        self.assertEqual(workload_interfaces(node), [])
        self.assertEqual(os.listdir(f"/run/beeline/{node.instance}/netns"), [])
        self.assertFalse(os.path.exists(os.path.join(node.cgroup, "workloads")))

    def record(self, node, key):
        with open(f"/var/lib/beeline/{node.instance}/runs/{key}.json") as file:
            return json.load(file)


class Foreground(RunTest):
    def test_output_and_exit_code_pass_through(self):
        with harness.Node() as node:
            code, out, err = node.run("job", "sh", "-c", "echo said; echo warned >&2; exit 7", background=False)
            self.assertEqual((code, out, err), (7, "said\n", "warned\n"))
            self.assert_nothing_left(node)
            code, _, err = node.run("job", "/no/such/program", background=False)
            self.assertEqual(code, 127)
            self.assertIn("cannot execute /no/such/program", err)
            self.assertEqual(node.run("job", "sh", "-c", "kill -KILL $$", background=False)[0], 128 + 9)
            code, out, _ = node.cli("run", "--name", "cat", "--", "cat", input="typed")
            self.assertEqual((code, out), (0, "typed"))
            self.assert_nothing_left(node)

    def test_the_program_starts_with_its_network_ready(self):
        with harness.Node() as node:
            node.run("web", *harness.serve("web", tcp=[80]), labels={"app": "web"})
            code, out, err = node.run("look", "ip", "-j", "addr", background=False)
            self.assertEqual(code, 0, err)
            links = {link["ifname"]: link for link in json.loads(out)}
            self.assertIn("UP", links["lo"]["flags"])
            self.assertIn("UP", links["eth0"]["flags"])
            addresses = {a["family"]: a for a in links["eth0"]["addr_info"] if a["scope"] == "global"}
            self.assertEqual({family: a["prefixlen"] for family, a in addresses.items()}, {"inet": 32, "inet6": 128})
            self.assertFalse([a for a in addresses.values() if a.get("tentative")])
            for family in (4, 6):
                code, out, err = node.run(
                    "client", harness.BLTEST, "tcp", node.address("web", family), "80", background=False)
                self.assertEqual(code, 0, out + err)
                self.assertEqual(json.loads(out)["error"], "")

    def test_signals_reach_the_program(self):
        with harness.Node() as node:
            for number in (signal.SIGINT, signal.SIGTERM):
                child = node.background("host", BEELINE, "run", "--name", "loop", "--", "sh", "-c", LOOP)
                self.assertEqual(child.stdout.readline(), "ready\n")
                self.assertEqual(node.workload("loop")["source"], "run")
                child.send_signal(number)
                self.assertEqual(child.wait(20), 3)
            stubborn = node.background("host", BEELINE, "run", "--name", "loop", "--", "sh", "-c",
                                       "trap '' TERM; echo ready; while :; do sleep 0.01; done")
            self.assertEqual(stubborn.stdout.readline(), "ready\n")
            stubborn.terminate()
            time.sleep(0.2)
            self.assertIsNone(stubborn.poll())
            stubborn.terminate()
            self.assertEqual(stubborn.wait(20), 128 + 9)
            self.assert_nothing_left(node)

    def test_user_environment_and_volume(self):
        with harness.Node() as node:
            source = os.path.join(node.folder, "source")
            target = os.path.join(node.folder, "target")
            os.mkdir(source)
            os.mkdir(target)
            os.chmod(node.folder, 0o755)
            with open(os.path.join(source, "file"), "w") as file:
                file.write("content\n")
            flags = ["--user", "nobody", "--env", "COLOR=blue", "--hostname", "here", "--workdir", target,
                     "--volume", f"{source}:{target}:ro"]
            code, out, err = node.run(
                "job", "sh", "-c", "id -un; echo $COLOR; hostname; cat file; touch new 2>/dev/null || echo frozen; "
                "sed -n 's/^NoNewPrivs:.//p' /proc/self/status", flags=flags, background=False)
            self.assertEqual((code, out), (0, "nobody\nblue\nhere\ncontent\nfrozen\n1\n"), err)

    def test_memory_limit_is_in_force(self):
        with harness.Node() as node:
            hog = ["dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1"]
            code, _, err = node.run("hog", *hog, flags=["--memory", "32M"], background=False)
            if "cannot be applied" in err:
                self.skipTest(err)
            self.assertEqual(code, 128 + 9)
            self.assertIn("memory limit", err)
            self.assertEqual(node.run("hog", *hog, background=False)[0], 0)
            self.assert_nothing_left(node)

    def test_wrong_usage_changes_nothing(self):
        with harness.Node() as node:
            for flags, message in ((["--name", "A"], "--name"), (["--name", "a", "--memory", "x"], "--memory"),
                                   (["--name", "a", "--port", "x"], "--port"), (["--name", "a", "--user", "x-y"], "--user"),
                                   (["--name", "a", "--label", "x"], "--label"), (["--name", "a", "--volume", "x"], "--volume")):
                code, _, err = node.cli("run", *flags, "--", "true")
                self.assertEqual(code, 2, err)
                self.assertIn(message, err)
            self.assertEqual(node.cli("run", "--name", "a")[0], 2)
            self.assertEqual(node.cli("stop")[0], 2)
            self.assertEqual(node.workloads(), [])


class Detached(RunTest):
    def test_life_of_a_workload(self):
        with harness.Node() as node:
            entry = node.run("web", "sh", "-c", "echo hello; echo trouble >&2; exec sleep 1000", namespace="shop",
                             labels={"app": "web"}, ports={"http": 8080})
            self.assertEqual(entry["labels"]["app"], "web")
            self.assertEqual(entry["ports"], [{"name": "http", "protocol": "TCP", "port": 8080}])
            self.assertEqual(entry["source"], "run")
            self.assertEqual(entry["cgroup"].strip("/"), f"beeline/{node.instance}/workloads/shop_web")
            with open(f"/proc/{entry['pid']}/cmdline") as file:
                self.assertEqual(file.read(), "sleep\0" + "1000\0")
            with open(f"/proc/{entry['pid']}/cgroup") as file:
                self.assertIn(f"0::/beeline/{node.instance}/workloads/shop_web\n", file.read())

            row, = node.cli_json("ps", "-n", "shop")
            self.assertEqual((row["name"], row["status"], row["pid"]), ("web", "running", entry["pid"]))
            self.assertEqual(row["addresses"], entry["addresses"])
            self.assertEqual(row["command"][0], "sh")
            self.assertGreater(row["memory_bytes"], 0)

            node.wait_for(lambda: "trouble" in node.cli("logs", "web", "-n", "shop")[2], what="the log")
            _, out, err = node.cli("logs", "web", "-n", "shop")
            self.assertEqual((out, err), ("hello\n", "trouble\n"))
            follower = node.background("host", BEELINE, "logs", "web", "-n", "shop", "-f")
            self.assertEqual(follower.stdout.readline(), "hello\n")

            code, _, err = node.run("web", "true", namespace="shop", background=False)
            self.assertEqual(code, 1)
            self.assertIn("shop/web is running already", err)
            node.run("web", namespace="other")

            node.stop("shop/web")
            self.assertEqual(follower.wait(10), 0)
            row, = node.cli_json("ps", "-a", "-n", "shop")
            self.assertEqual((row["status"], row["exit_code"]), ("exited", 128 + 15))
            self.assertEqual([w["namespace"] for w in node.workloads()], ["other"])
            node.cli_ok("stop", "--all", "--rm")
            self.assertEqual(node.cli_json("ps", "-a"), [])
            self.assert_nothing_left(node)

    def test_exec_failure_is_reported_by_the_command(self):
        with harness.Node() as node:
            code, _, err = node.cli("run", "--name", "a", "-d", "--", "no-such-program")
            self.assertEqual(code, 127)
            self.assertIn("cannot execute", err)
            self.assertEqual(node.cli_json("ps", "-a"), [])
            self.assert_nothing_left(node)

    def test_a_name_can_be_used_again(self):
        with harness.Node() as node:
            for code in (4, 5):
                node.cli_ok("run", "--name", "job", "-d", "--", "sh", "-c", f"exit {code}")
                node.wait_for(lambda: self.record(node, "default_job")["status"] == "exited", what="its end")
                self.assertEqual(self.record(node, "default_job")["exit_code"], code)
            self.assert_nothing_left(node)

    def test_stop_kills_what_does_not_listen(self):
        with harness.Node() as node:
            node.run("deaf", "sh", "-c", "trap '' TERM; while :; do sleep 0.01; done")
            begin = time.monotonic()
            node.cli_ok("stop", "deaf", "--timeout", "1")
            self.assertLess(time.monotonic() - begin, 8)
            self.assertEqual(self.record(node, "default_deaf")["exit_code"], 128 + 9)
            self.assert_nothing_left(node)


class Crashes(RunTest):
    def test_without_an_agent_nothing_starts(self):
        with harness.Node(agent=False) as node:
            code, out, err = node.run("job", "echo", "ran", background=False)
            self.assertEqual((code, out), (1, ""))
            self.assertIn("beelined is not running", err)
            self.assertEqual(os.listdir(f"/run/beeline/{node.instance}/netns"), [])

    def test_workloads_live_and_end_without_the_agent(self):
        with harness.Node() as node:
            entry = node.run("web", *harness.serve("web", tcp=[80]))
            node.run("client")
            node.kill_agent()
            time.sleep(0.3)
            self.assertTrue(os.path.exists(f"/proc/{entry['pid']}"))
            node.cli_ok("stop", "web")
            self.assertFalse(os.path.exists(f"/proc/{entry['pid']}"))
            notes = os.listdir(f"/run/beeline/{node.instance}/cni-deleted")
            self.assertEqual(notes, [f"{entry['container']}-eth0.json"])
            row, = node.cli_json("ps")
            self.assertEqual(row["name"], "client")
            node.start_agent()
            node.wait_for(lambda: [w["name"] for w in node.workloads()] == ["client"], what="the note taken")
            node.wait_for(lambda: not os.listdir(f"/run/beeline/{node.instance}/cni-deleted"), what="the note removed")
            node.cli_ok("stop", "--all")
            self.assert_nothing_left(node)

    def test_a_killed_supervisor_is_cleaned_up_by_ps(self):
        with harness.Node() as node:
            entry = node.run("web", "sh", "-c", "sleep 1000 & exec sleep 1000")
            os.kill(self.record(node, "default_web")["supervisor"], signal.SIGKILL)
            node.wait_for(lambda: not os.path.exists(f"/proc/{entry['pid']}"), what="its end")
            code, out, err = node.cli("ps", "-a", "-o", "json")
            self.assertEqual(code, 0, err)
            self.assertIn("default/web: cleaned up", err)
            row, = json.loads(out)
            self.assertEqual((row["status"], row["exit_code"]), ("exited", 128 + 9))
            self.assertIn("supervisor was killed", row["note"])
            self.assert_nothing_left(node)

    def test_a_killed_foreground_run_is_cleaned_up_by_the_next(self):
        with harness.Node() as node:
            child = node.background("host", BEELINE, "run", "--name", "loop", "--", "sh", "-c", LOOP)
            self.assertEqual(child.stdout.readline(), "ready\n")
            child.send_signal(signal.SIGKILL)
            child.wait()
            self.assertEqual(node.run("loop", "sh", "-c", "exit 5", background=False)[0], 5)
            self.assert_nothing_left(node)

    def test_many_at_once(self):
        with harness.Node() as node:
            children = [node.background("host", BEELINE, "run", "--name", f"job-{i}", "--", "sh", "-c", f"exit {i}",
                                        stderr=subprocess.PIPE) for i in range(20)]
            self.assertEqual([child.wait(60) for child in children], list(range(20)))
            self.assert_nothing_left(node)


if __name__ == "__main__":
    harness.main()
