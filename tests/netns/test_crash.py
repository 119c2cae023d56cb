"""kill -9 at 50 random moments while objects and workloads change: the next start finds no half state."""
import contextlib
import json
import os
import random
import threading
import time

import harness
import scene
from scene import policy, service

ROUNDS = 50
VIP = "10.96.0.10"


class Crash(harness.TestCase):
    def changer(self, node, random_, stop, name):
        """Changes something until `stop`; what fails because the agent is gone is of no interest."""
        count = 0

        def objects():
            choice = random_.randrange(4)
            with contextlib.suppress(OSError, harness.ApiError, harness.http.client.HTTPException):
                if choice == 0:
                    number = random_.randrange(6)
                    peers = [{"podSelector": {"matchLabels": {"app": random_.choice(["client", "web"])}}}]
                    text = json.dumps(policy(f"p{number}", {"app": f"pod{number}"}, ingress=[{"from": peers}]))
                    node.api("POST", "/v1/objects", text, timeout=5)
                elif choice == 1:
                    number = random_.randrange(6)
                    text = json.dumps(service(f"s{number}", f"10.96.1.{number + 1}", [("http", "TCP", 80, 80)],
                                              selector={"app": random_.choice(["web", "client", "nobody"])}))
                    node.api("POST", "/v1/objects", text, timeout=5)
                elif choice == 2:
                    node.api("DELETE", f"/v1/objects/networkpolicy/shop/p{random_.randrange(6)}", timeout=5)
                else:
                    node.api("DELETE", f"/v1/objects/service/shop/s{random_.randrange(6)}", timeout=5)

        def cni():
            nonlocal count
            container = f"{name}{random_.randrange(3)}"
            path = self.paths[container]
            if random_.random() < 0.6:
                node.cni("ADD", container, path, args=f"K8S_POD_NAMESPACE=shop;K8S_POD_NAME={container}")
            else:
                node.cni("DEL", container, path)
            count += 1

        def run():
            nonlocal count
            count += 1
            run_name = f"{name}{count % 2}"
            node.cli("run", "-d", "--name", run_name, "--namespace", "shop", "--label", f"app=pod{count % 6}", "--",
                     "sleep", "600")
            if random_.random() < 0.7:
                node.cli("stop", run_name, "--namespace", "shop")

        step = {"o": objects, "c": cni, "r": run}[name[0]]
        while not stop.is_set():
            try:
                step()
            except Exception as error:  # told at the end of the round: an exception of a thread would be lost
                self.surprises.append(f"{name}: {error!r}")
                return

    def check(self, node):
        workloads = node.workloads()
        addresses = {address: one for one in workloads for address in one["addresses"]}
        endpoints = node.api("GET", "/v1/maps/bl_endpoint?limit=100000")["entries"]
        known = {one["key"]["address"]: one["value"] for one in endpoints if "host" not in one["value"]["flags"]}
        self.assertEqual(set(known), set(addresses), "endpoints without workload, or the reverse")
        for address, value in known.items():
            self.assertEqual((value["interface"], value["mac"]),
                             (addresses[address]["ifindex"], addresses[address]["mac"]))
        status = node.api("GET", "/v1/status")
        for family in ("ipv4", "ipv6"):
            self.assertEqual(status["addresses"][family]["used"], len(workloads), f"leases {family}")
        self.assertEqual(status["source"]["errors"], [])

        links = {link["ifname"]: link["ifindex"] for link in json.loads(node._ip("-j", "link").stdout)
                 if link["ifname"].startswith("bl") and not link["ifname"].startswith("bl_host")}
        self.assertEqual(links, {one["host_interface"]: one["ifindex"] for one in workloads})

        identities = {str(one["identity"]) for one in workloads}
        subjects = {one["key"]["subject"].split()[0] for one in node.api("GET", "/v1/maps/bl_policy?limit=100000")["entries"]}
        self.assertLessEqual(subjects, identities, "policy entries of nobody")

        wanted = set()
        for one in node.api("GET", "/v1/objects?kind=Service")["objects"]:
            spec = harness.yaml.safe_load(one["yaml"])["spec"]
            wanted |= {(address, port["port"], port["protocol"]) for address in spec["clusterIPs"] for port in spec["ports"]}
        found = {(one["key"]["address"], one["key"]["port"], one["key"]["protocol"])
                 for one in node.api("GET", "/v1/maps/bl_svc?limit=100000")["entries"]}
        self.assertEqual(found, wanted)
        services = {one["value"]["id"] for one in node.api("GET", "/v1/maps/bl_svc?limit=100000")["entries"]}
        backends = {one["key"]["backend"]: one["value"] for one in node.api("GET", "/v1/maps/bl_backend?limit=100000")["entries"]}
        slots = node.api("GET", "/v1/maps/bl_slot?limit=100000")["entries"]
        self.assertLessEqual({one["key"]["service"] for one in slots}, services, "slots of no service")
        self.assertLessEqual({one["value"]["backend"] for one in slots}, set(backends), "slots of no backend")

        for source in ("shop/client", "shop/intruder"):
            for one in workloads:
                explained = scene.explain(node, source, f"shop/{one['name']}", 80)
                self.assertEqual(explained["kernel"]["allowed"], explained["allowed"], explained)

    def test_no_half_state(self):
        seed = int(os.environ.get("BEELINE_TEST_SEED", random.randrange(1 << 30)))
        harness.log(f"BEELINE_TEST_SEED={seed}")
        random_ = random.Random(seed)
        self.surprises = []
        with harness.Node() as node:
            node.run("web", *harness.serve("web", tcp=[80]), namespace="shop", labels={"app": "web"})
            node.run("client", namespace="shop", labels={"app": "client"})
            node.run("intruder", namespace="shop", labels={"app": "intruder"})
            node.apply([policy("web", {"app": "web"}, ingress=scene.from_pods(app="client")),
                        service("web", VIP, [("http", "TCP", 80, 80)], selector={"app": "web"})])
            self.paths = {f"c{i}": node.make_netns(f"c{i}") for i in range(3)}
            hold = node.hold("shop/client", 10, VIP, 80)
            denied = node.background("shop/intruder", harness.BLTEST, "tcp", node.address("shop/web"), 80, "--count", 600,
                                     "--timeout", 200)
            for number in range(ROUNDS):
                harness.log(f"round {number}")
                stop = threading.Event()
                threads = [threading.Thread(target=self.changer, args=(node, random.Random(random_.random()), stop, name))
                           for name in ("o", "c", "r")]
                for thread in threads:
                    thread.start()
                time.sleep(random_.random() * 0.3)
                node.kill_agent()
                if random_.random() < 0.3:  # in the middle of a start, too
                    node.start_agent(wait=False)
                    time.sleep(random_.random() * 0.4)
                    node.kill_agent()
                stop.set()
                node.start_agent()
                for thread in threads:
                    thread.join()
                self.assertEqual(self.surprises, [])
                self.check(node)
                self.assertEqual(hold.ping()["replied"], 10)
            # The intruder has tried all the time.
            denied.terminate()
            answers = [json.loads(line) for line in denied.stdout.read().splitlines()]
            self.assertGreater(len(answers), 10)
            self.assertEqual({answer["error"] for answer in answers}, {"TIMEOUT"})
            hold.close()


if __name__ == "__main__":
    harness.main()
