"""`beeline top`: workloads by what they do, live on a terminal and as JSON for scripts."""
import json
import os
import pty
import select
import signal
import termios
import time

import harness
import scene
from scene import policy


class Top(scene.SharedNode):
    @classmethod
    def prepare(cls):
        node = cls.node
        node.run("web", *harness.serve("web", tcp=[80]), namespace="shop", labels={"app": "web"})
        node.run("client", namespace="shop", labels={"app": "client"})
        node.run("idle", namespace="shop")

    def rows(self, window="1h"):
        return {f"{one['namespace']}/{one['name']}": one for one in
                self.node.api("GET", f"/v1/top?window={window}")["workloads"]}

    def test_counts(self):
        before = self.rows()
        self.node.requests("shop/client", "tcp", self.node.address("shop/web"), 80, 5)
        self.node.apply([policy("deny", {"app": "web"}, types=["Ingress"])])
        self.node.tcp("shop/client", self.node.address("shop/web"), 80, timeout_ms=200)

        def counted():
            now = self.rows()
            grown = {name: {key: value - before[name].get(key, 0) for key, value in row.items() if isinstance(value, int)}
                     for name, row in now.items()}
            return grown if grown["shop/web"]["dropped"] and grown["shop/web"]["sent_bytes"] else None
        grown = harness.wait_for(counted, 10, "the flows counted")
        for name in ("shop/web", "shop/client"):
            self.assertEqual(grown[name]["connections"], 5)
            self.assertGreaterEqual(grown[name]["dropped"], 1)
        self.assertEqual(grown["shop/web"]["sent_bytes"], grown["shop/client"]["received_bytes"])
        self.assertEqual((grown["shop/idle"]["connections"], grown["shop/idle"]["dropped"]), (0, 0))
        self.assertGreater(self.rows()["shop/web"]["cpu_usec"], 0)

    def test_once(self):
        self.node.requests("shop/client", "tcp", self.node.address("shop/web"), 80, 3)
        out = self.node.cli_ok("top", "--once", "--interval", "0.5", "--sort", "name").splitlines()
        self.assertEqual(out[0].split()[:2], ["WORKLOAD", "RATE/S"])
        self.assertEqual([line.split()[0] for line in out[1:]], ["shop/client", "shop/idle", "shop/web"])
        # Requests all the time.
        client = self.node.background("shop/client", harness.BLTEST, "tcp", self.node.address("shop/web"), "80", "--count",
                                      "100000", "--interval", "10", stdout=harness.subprocess.DEVNULL)
        found = json.loads(self.node.cli_ok("top", "--once", "--interval", "2", "-o", "json"))
        client.kill()
        client.wait()
        web = next(one for one in found if one["workload"] == "shop/web")
        self.assertGreater(web["rate"], 0)
        self.assertIn("cpu", web)
        self.assertGreaterEqual(web["cpu_us_per_request"], 0)
        lines = self.node.cli_ok("top", "--once", "--interval", "0.2", "-o", "jsonl", "-n", "2").splitlines()
        self.assertEqual(len([json.loads(line) for line in lines]), 2)
        for words, part in ((["--sort", "size"], "'size' is not one of"), (["-o", "json"], "add --once"),
                            (["--interval", "0"], "--interval")):
            code, _, err = self.node.cli("top", *words)
            self.assertEqual(code, 2)
            self.assertIn(part, err)

    def terminal(self, *words):
        """`beeline top` on a terminal of its own: (child, the terminal's other side, its mode before)."""
        controller, terminal = pty.openpty()
        mode = termios.tcgetattr(terminal)
        child = self.node._start([os.path.join(harness.BIN, "beeline"), "top", "--interval", "0.3", *words],
                                 self.node.netns_path, stdin=terminal, stdout=terminal, stderr=terminal,
                                 start_new_session=True)
        self.node._children.append(child)
        self.addCleanup(os.close, controller)
        self.addCleanup(os.close, terminal)
        return child, controller, terminal, mode

    def read_until(self, controller, wanted, timeout=15):
        seen = b""
        deadline = time.monotonic() + timeout
        while wanted not in seen:
            self.assertLess(time.monotonic(), deadline, f"{wanted} not in {seen[-2000:]}")
            if select.select([controller], [], [], 0.2)[0]:
                seen += os.read(controller, 65536)
        return seen

    def test_live(self):
        for end in ("key", "signal"):
            with self.subTest(end=end):
                child, controller, terminal, mode = self.terminal()
                seen = self.read_until(controller, b"shop/web")
                self.assertIn(b"\033[?1049h", seen)
                self.assertNotEqual(termios.tcgetattr(terminal)[3], mode[3])
                os.write(controller, b"n")  # sorted by name
                self.read_until(controller, b"shop/client")
                if end == "key":
                    os.write(controller, b"q")
                else:
                    child.send_signal(signal.SIGINT)
                self.read_until(controller, b"\033[?1049l")
                self.assertEqual(child.wait(10), 0)
                self.assertEqual(termios.tcgetattr(terminal), mode)


if __name__ == "__main__":
    harness.main()
