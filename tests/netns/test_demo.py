"""`make run`: real workloads, one refused by a policy, live; then the machine is as it was, also after a crash."""
import os
import re
import signal
import subprocess
import time

import harness

DEMO = os.path.join(harness.ROOT, "tools", "demo")


def start(instance, seconds, output):
    environment = dict(os.environ, BEELINE_BIN=harness.BIN, DEMO_INSTANCE=instance, DEMO_SECONDS=str(seconds))
    return subprocess.Popen([DEMO], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                            text=True, start_new_session=True)


class Demo(harness.TestCase):
    def setUp(self):
        harness.remove_leftovers()
        # Tests beside this one use these too: the demo must find them, or it would take them away at its end.
        for folder in ("/run/beeline", "/var/lib/beeline", "/etc/beeline", harness.cgroup_root() + "/beeline"):
            os.makedirs(folder, exist_ok=True)
        self.instance = f"t{os.getpid()}-{next(harness._numbers)}"
        self.addCleanup(harness.remove_instance, self.instance)

    def test_flows_show_the_allowed_and_the_refused(self):
        links = subprocess.run(["ip", "-br", "link"], stdout=subprocess.PIPE, text=True, check=True).stdout
        done = start(self.instance, 15, subprocess.PIPE)
        output, _ = done.communicate(timeout=120)
        self.assertEqual(done.returncode, 0, output)
        forwarded = [line for line in output.splitlines() if "FORWARDED" in line]
        dropped = [line for line in output.splitlines() if "DROPPED" in line]
        self.assertTrue(any(re.search(r"shop/client.*shop/web-[12]", line) for line in forwarded), output)
        self.assertTrue(any("shop/intruder" in line and "NetworkPolicy" in line for line in dropped), output)
        self.assertFalse([line for line in forwarded if "shop/intruder" in line and "shop/web" in line], output)
        self.assertFalse([line for line in dropped if "shop/client" in line], output)
        self.assertRegex(output, r"Warning +Connection refused by policy  shop/intruder")
        self.assertRegex(output, r"process: demo-workload\[\d+\] < ")
        self.assertEqual(harness.traces(self.instance), [])
        after = subprocess.run(["ip", "-br", "link"], stdout=subprocess.PIPE, text=True, check=True).stdout
        self.assertEqual(after, links)

    def test_a_killed_demo_is_no_obstacle(self):
        first = start(self.instance, 600, subprocess.DEVNULL)
        socket = f"/run/beeline/{self.instance}/beeline.sock"
        harness.wait_for(lambda: os.path.exists(socket), 60, "the demo's agent")
        time.sleep(1)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        self.assertTrue(harness.traces(self.instance))
        second = start(self.instance, 3, subprocess.PIPE)
        output, _ = second.communicate(timeout=120)
        self.assertEqual(second.returncode, 0, output)
        self.assertIn("removing what an earlier demo left", output)
        self.assertEqual(harness.traces(self.instance), [])

    def test_terminating_it_removes_everything(self):
        demo = start(self.instance, 600, subprocess.PIPE)
        socket = f"/run/beeline/{self.instance}/beeline.sock"
        harness.wait_for(lambda: os.path.exists(socket), 60, "the demo's agent")
        demo.terminate()
        output, _ = demo.communicate(timeout=60)
        self.assertEqual(demo.returncode, 0, output)
        self.assertEqual(harness.traces(self.instance), [])


if __name__ == "__main__":
    harness.main()
