"""Packets between workloads, the host and the outside, and those that must not pass."""
import ipaddress
import json
import os
import struct

import harness
import scene
from scene import FAMILIES, policy, service

OUTSIDE = {4: harness.OUTSIDE_V4, 6: harness.OUTSIDE_V6}
HOST = {4: harness.NODE_V4, 6: harness.NODE_V6}
GATEWAY = {4: "10.88.0.1", 6: "fd00:88::1"}
VIP = {4: "10.96.0.10", 6: "fd00:96::10"}

SEND_FRAME = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
s.send(bytes.fromhex(sys.argv[2]))
"""

# Sends an SCTP packet with one chunk and waits for one; or answers the first that comes. Bad checksums are ignored, as a
# real receiver would.
SCTP = """
import json, socket, struct, sys
role, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
v6 = ":" in address
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, 132)
s.settimeout(float(sys.argv[4]))
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return struct.pack("<L", crc ^ 0xffffffff)
def send(to, sport, dport, text):
    data = struct.pack("!HHLL", sport, dport, 0, 0) + struct.pack("!BBH", 0, 0, 4 + len(text)) + text
    s.sendto(data[:8] + crc32c(data) + data[12:], (to, 0))
def receive(port):
    for _ in range(20):
        data, sender = s.recvfrom(2000)
        data = data if v6 else data[(data[0] & 15) * 4:]
        sport, dport = struct.unpack("!HH", data[:4])
        if dport == port and data[8:12] == crc32c(data[:8] + bytes(4) + data[12:]):
            return data[16:].decode(), sender[0], sport
answer = None
try:
    if role == "serve":
        print("ready", flush=True)
        text, sender, sport = receive(port)
        send(sender, port, sport, text.upper().encode())
    else:
        send(address, 40000, port, b"ping")
        answer = receive(40000)
except socket.timeout:
    pass
if role != "serve":
    print(json.dumps(answer))
"""


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def udp_frame(from_mac, to_mac, source, destination, port):
    """An Ethernet frame with a UDP datagram, as hex digits."""
    source, destination = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    payload = b"frame\n"
    size = 8 + len(payload)
    if source.version == 4:
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + size, 1, 0, 64, 17, 0, source.packed, destination.packed)
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    else:
        header = struct.pack("!LHBB16s16s", 6 << 28, size, 17, 64, source.packed, destination.packed)
    udp = struct.pack("!HHHH", 1111, port, size, 0) + payload
    pseudo = source.packed + destination.packed + struct.pack("!LL", size, 17)
    udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp)) + udp[8:]
    macs = bytes.fromhex((to_mac + from_mac).replace(":", ""))
    return (macs + struct.pack("!H", 0x0800 if source.version == 4 else 0x86dd) + header + udp).hex()


def outside_sees(answer):
    """The address of the client as the server saw it."""
    return answer["reply"].split("peer=")[1].split(" ")[0].rsplit(":", 1)[0].strip("[]")


class Datapath(scene.SharedNode):
    options = {"outside": True}

    @classmethod
    def prepare(cls):
        node = cls.node
        node.run("web", *harness.serve("web", tcp=[80], udp=[53]), namespace="shop", labels={"app": "web"})
        node.run("client", *harness.serve("client", tcp=[80], udp=[53]), namespace="shop", labels={"app": "client"})
        node.serve("outside", "world", tcp=[80], udp=[53])
        node.serve("host", "host", tcp=[80], udp=[53])

    def talks(self, source, address, name):
        """Every protocol, small and large."""
        with self.subTest(ends=(source, name), address=address):
            answer = self.node.tcp(source, address, 80, timeout_ms=5000)
            self.assertEqual((answer["error"], answer["reply"].split(" ")[0]), ("", name))
            self.assertEqual(self.node.tcp(source, address, 80, bulk=3000000, timeout_ms=15000)["received"], 3000000)
            answer = self.node.tcp(source, address, 80, size=1000000, timeout_ms=15000)
            self.assertEqual((answer["error"], answer["reply"].split("len=")[-1]), ("", "1000000"))
            for connected in (False, True):
                answer = self.node.udp(source, address, 53, connected=connected, timeout_ms=5000)
                self.assertEqual((answer["error"], answer["reply"].split(" ")[0]), ("", name))
            self.assertTrue(self.node.ping(source, address, 1, 5))

    def test_workload_and_workload(self):
        for family in FAMILIES:
            self.talks("shop/client", self.node.address("shop/web", family), "web")
            self.talks("shop/web", self.node.address("shop/client", family), "client")

    def test_workload_and_host(self):
        for family in FAMILIES:
            self.talks("host", self.node.address("shop/web", family), "web")
            self.talks("shop/client", HOST[family], "host")
            self.talks("shop/client", GATEWAY[family], "host")
            self.assertEqual(outside_sees(self.node.tcp("shop/client", HOST[family], 80)),
                             self.node.address("shop/client", family))

    def test_workload_and_outside(self):
        for family in FAMILIES:
            self.talks("shop/client", OUTSIDE[family], "world")
            self.talks("outside", self.node.address("shop/web", family), "web")
            with self.subTest("masqueraded", family=family):
                self.assertEqual(outside_sees(self.node.tcp("shop/client", OUTSIDE[family], 80)), HOST[family])
                self.assertEqual(outside_sees(self.node.udp("shop/client", OUTSIDE[family], 53)), HOST[family])
                self.assertEqual(outside_sees(self.node.tcp("outside", self.node.address("shop/web", family), 80)),
                                 OUTSIDE[family])

    def test_addresses_that_nobody_has(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                nobody = {4: "10.88.77.77", 6: "fd00:88::7777"}[family]
                self.assertNotEqual(self.node.tcp("shop/client", nobody, 80, timeout_ms=300)["error"], "")
                self.assertNotEqual(self.node.tcp("outside", nobody, 80, timeout_ms=300)["error"], "")

    # --- errors of the network ----------------------------------------------------------------------------------------

    def test_port_unreachable_reaches_the_client(self):
        for family in FAMILIES:
            for source, address in (("shop/client", self.node.address("shop/web", family)), ("shop/client", HOST[family]),
                                    ("shop/client", OUTSIDE[family]), ("host", self.node.address("shop/web", family)),
                                    ("outside", self.node.address("shop/web", family))):
                with self.subTest(source=source, address=address):
                    answer = self.node.udp(source, address, 9999, connected=True, timeout_ms=5000)
                    self.assertEqual(answer["error"], "ECONNREFUSED")
                    self.assertEqual(self.node.tcp(source, address, 9999, timeout_ms=5000)["error"], "ECONNREFUSED")

    def test_fragments(self):
        for family in FAMILIES:
            for source, address in (("shop/client", self.node.address("shop/web", family)), ("shop/client", HOST[family]),
                                    ("host", self.node.address("shop/web", family)), ("shop/client", OUTSIDE[family]),
                                    ("outside", self.node.address("shop/web", family))):
                for size in (4000, 20000):
                    with self.subTest(source=source, address=address, size=size):
                        answer = self.node.udp(source, address, 53, size=size, timeout_ms=5000)
                        self.assertEqual((answer["error"], answer["reply"].split("len=")[-1]), ("", str(size)))
            self.assertTrue(self.node.ping("shop/client", self.node.address("shop/web", family), 1, 5, "-s", "5000"))

    def test_fragments_through_a_service(self):
        self.node.apply([service("web", [VIP[4], VIP[6]], [("dns", "UDP", 5300, 53)], selector={"app": "web"})])
        for path in scene.paths(self.node):
            for family in FAMILIES:
                with self.subTest(path=path.name, family=family):
                    answer = path.request("shop/client", "udp", VIP[family], 5300, size=4000, timeout_ms=5000)
                    self.assertEqual((answer["error"], answer["reply"].split("len=")[-1]), ("", "4000"))

    def test_fragments_of_a_denied_datagram(self):
        self.node.apply([policy("deny", {"app": "web"}, types=["Ingress"])])
        for family in FAMILIES:
            with self.subTest(family=family):
                address = self.node.address("shop/web", family)
                self.assertEqual(self.node.udp("shop/client", address, 53, size=4000, timeout_ms=300)["error"], "TIMEOUT")
        self.node.delete("networkpolicy", "deny", "shop")

    # --- who a workload may be ----------------------------------------------------------------------------------------

    def drops(self, reason):
        return sum(one["count"] for one in self.node.api("GET", "/v1/status")["drops"] if one["reason"] == reason)

    def test_spoofed_sources_are_dropped(self):
        client = self.node.workload("shop/client")
        host_mac = json.loads(self.node._ip("-j", "link", "show", client["host_interface"]).stdout)[0]["address"]
        for family in FAMILIES:
            own, web = self.node.address("shop/client", family), self.node.address("shop/web", family)
            cases = (("nothing spoofed", client["mac"], own, None),
                     ("address of nobody", client["mac"], {4: "10.88.9.9", 6: "fd00:88::99"}[family], "INVALID_SOURCE_IP"),
                     ("address of another workload", client["mac"], web, "INVALID_SOURCE_IP"),
                     ("address of the host", client["mac"], HOST[family], "INVALID_SOURCE_IP"),
                     ("address of the outside", client["mac"], OUTSIDE[family], "INVALID_SOURCE_IP"),
                     ("own address, other mac", "02:00:00:00:00:01", own, "INVALID_SOURCE_MAC"))
            for number, (what, mac, source, reason) in enumerate(cases):
                with self.subTest(what, family=family):
                    port = 700 + number
                    before = scene.last_number(self.node)
                    count = self.drops(reason)
                    frame = udp_frame(mac, host_mac, source, web, port)
                    scene.python(self.node, "shop/client", SEND_FRAME, "eth0", frame)
                    flow = self.node.wait_flow(lambda f: f.get("number", 0) > before and f["destination"]["address"] == web,
                                               protocol="UDP", port=port)
                    if reason is None:
                        self.assertEqual(flow["verdict"], "FORWARDED")
                    else:
                        self.assertEqual((flow["verdict"], flow["drop_reason"]["name"]), ("DROPPED", reason))
                        self.assertEqual(flow["interface"], client["host_interface"])
                        self.assertEqual(self.drops(reason), count + 1)

    def test_outside_cannot_speak_for_a_workload(self):
        macs = {}
        for netns, device in ((self.node.netns, "up0"), (self.node.outside_netns, "eth0")):
            macs[device] = json.loads(harness._run("ip", "-n", netns, "-j", "link", "show", device).stdout)[0]["address"]
        for family in FAMILIES:
            with self.subTest(family=family):
                client, web = self.node.address("shop/client", family), self.node.address("shop/web", family)
                before = scene.last_number(self.node)
                frame = udp_frame(macs["eth0"], macs["up0"], client, web, 720)
                scene.python(self.node, "outside", SEND_FRAME, "eth0", frame)
                flow = self.node.wait_flow(lambda f: f.get("number", 0) > before and f["destination"]["address"] == web,
                                           protocol="UDP", port=720)
                self.assertEqual(flow["drop_reason"]["name"], "INVALID_SOURCE_IP")

    # --- SCTP ---------------------------------------------------------------------------------------------------------

    def sctp(self, family, port, timeout, ask=None):
        address = self.node.address("shop/web", family)
        server = self.node.background("shop/web", "/usr/bin/python3", "-c", SCTP, "serve", address, port, timeout + 10)
        self.assertEqual(server.stdout.readline(), "ready\n")
        answer = scene.python(self.node, "shop/client", SCTP, "ask", ask or address, port, timeout)
        server.kill()
        return answer

    def test_sctp_service(self):
        self.node.apply([service("assoc", [VIP[4], VIP[6]], [("s", "SCTP", 7100, 7100)], selector={"app": "web"})])
        for family in FAMILIES:
            with self.subTest(family=family):
                self.assertEqual(self.sctp(family, 7100, 10, VIP[family]), ["PING", VIP[family], 7100])
                flow = self.node.wait_flow(lambda f: f["kind"] == "replied" and f["destination"]["address"] ==
                                           self.node.address("shop/web", family), protocol="SCTP", port=7100)
                self.assertEqual((flow["service"]["name"], flow["destination"]["port"]), ("shop/assoc", 7100))

    def test_sctp_passes_through(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                self.assertEqual(self.sctp(family, 7000, 10), ["PING", self.node.address("shop/web", family), 7000])
                flow = self.node.wait_flow(lambda f: f["kind"] == "replied" and f["destination"]["address"] ==
                                           self.node.address("shop/web", family), protocol="SCTP", port=7000)
                self.assertEqual(flow["source"]["name"], "client")
        self.node.apply([policy("web", {"app": "web"}, ingress=[{"ports": [{"protocol": "SCTP", "port": 7001}]}])])
        for family in FAMILIES:
            with self.subTest("policy", family=family):
                self.assertIsNotNone(self.sctp(family, 7001, 10))
                self.assertIsNone(self.sctp(family, 7002, 0.3))


class Routed(scene.SharedNode):
    options = {"outside": True, "config": {"network": {"masquerade": False, "mtu": 1400}}}

    @classmethod
    def prepare(cls):
        cls.node.run("web", *harness.serve("web", tcp=[80], udp=[53]), namespace="shop")
        cls.node.run("client", namespace="shop")
        cls.node.serve("outside", "world", tcp=[80], udp=[53])

    def test_outside_sees_the_workload(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                own = self.node.address("shop/client", family)
                self.assertEqual(outside_sees(self.node.tcp("shop/client", OUTSIDE[family], 80)), own)
                self.assertEqual(outside_sees(self.node.udp("shop/client", OUTSIDE[family], 53)), own)
                self.assertTrue(self.node.ping("shop/client", OUTSIDE[family]))

    def test_mtu_of_workloads(self):
        _, out, _ = self.node.exec("shop/client", "ip", "-j", "link", "show", "eth0")
        self.assertEqual(json.loads(out)[0]["mtu"], 1400)
        for family in FAMILIES:
            for size in (1390, 4000, 20000):
                with self.subTest(family=family, size=size):
                    answer = self.node.udp("shop/client", self.node.address("shop/web", family), 53, size=size, timeout_ms=5000)
                    self.assertEqual(answer["reply"].split("len=")[-1], str(size))


class PathMtu(scene.SharedNode):
    """The way outside is narrower than the workloads' interfaces: only ICMP can tell them."""

    options = {"outside": True}

    @classmethod
    def prepare(cls):
        # The outside keeps 1500 and announces segments of that size, so that the handshake hides nothing.
        cls.node._ip("link", "set", "up0", "mtu", "1300")
        cls.node.run("web", *harness.serve("web", tcp=[80], udp=[53]), namespace="shop")
        cls.node.run("client", namespace="shop")
        cls.node.serve("outside", "world", tcp=[80], udp=[53])

    def test_bulk_through_a_narrow_way(self):
        for family in FAMILIES:
            with self.subTest("connects outward", family=family):
                answer = self.node.tcp("shop/client", OUTSIDE[family], 80, size=300000, timeout_ms=15000)
                self.assertEqual((answer["error"], answer["reply"].split("len=")[-1]), ("", "300000"))
            with self.subTest("datagrams outward", family=family):
                # Too large a datagram is refused by the way, the next one is cut to its size.
                answers = self.node.requests("shop/client", "udp", OUTSIDE[family], 53, 4, size=1390, timeout_ms=700)
                self.assertIn("", [a["error"] for a in answers])
                _, out, _ = self.node.exec("shop/client", "ip", "-6" if family == 6 else "-4", "route", "get", OUTSIDE[family])
                self.assertIn("mtu 1300", out)
            with self.subTest("connected from outside", family=family):
                answer = self.node.tcp("outside", self.node.address("shop/web", family), 80, bulk=300000, timeout_ms=15000)
                self.assertEqual(answer["received"], 300000)


class Classic(scene.SharedNode):
    """Kernels before 6.6: programs attached by clsact."""

    options = {"outside": True, "config": {"datapath": {"attach": "clsact"}}}

    @classmethod
    def prepare(cls):
        cls.node.run("web", *harness.serve("web", tcp=[80], udp=[53]), namespace="shop", labels={"app": "web"})
        cls.node.run("client", namespace="shop", labels={"app": "client"})
        cls.node.serve("outside", "world", tcp=[80])

    def check(self):
        for family in FAMILIES:
            with self.subTest(family=family):
                web = self.node.address("shop/web", family)
                self.assertEqual(self.node.tcp("shop/client", web, 80, bulk=1000000, timeout_ms=15000)["received"], 1000000)
                self.assertEqual(self.node.udp("shop/client", web, 53, size=4000)["error"], "")
                self.assertEqual(self.node.tcp("host", web, 80)["error"], "")
                self.assertEqual(self.node.tcp("outside", web, 80)["error"], "")
                self.assertEqual(self.node.tcp("shop/client", OUTSIDE[family], 80)["error"], "")

    def test_everything_works(self):
        links = os.listdir(f"/sys/fs/bpf/beeline/{self.node.instance}/links")
        self.assertEqual([link for link in links if "_pod" in link], [])
        self.check()
        self.node.apply([service("web", VIP[4], [("http", "TCP", 80, 80)], selector={"app": "web"})])
        for path in scene.paths(self.node):
            self.assertEqual(path.request("shop/client", "tcp", VIP[4], 80)["error"], "")
        self.node.restart_agent()
        self.check()
        self.node.apply([policy("deny", {"app": "web"}, types=["Ingress"])])
        for family in FAMILIES:
            web = self.node.address("shop/web", family)
            self.assertEqual(self.node.tcp("shop/client", web, 80, timeout_ms=250)["error"], "TIMEOUT")
            self.assertEqual(self.node.tcp("outside", web, 80, timeout_ms=250)["error"], "TIMEOUT")


class OneFamily(harness.TestCase):
    def test_nodes_of_one_family(self):
        for family, other in ((4, "ipv6"), (6, "ipv4")):
            with self.subTest(family=family), harness.Node(outside=True, config={"network": {other: "none"}}) as node:
                node.run("web", *harness.serve("web", tcp=[80]))
                node.run("client")
                node.serve("outside", "world", tcp=[80])
                self.assertEqual(len(node.workload("web")["addresses"]), 1)
                self.assertEqual(node.tcp("client", node.address("web", family), 80)["error"], "")
                self.assertEqual(node.tcp("client", OUTSIDE[family], 80)["error"], "")
                self.assertEqual(node.tcp("host", node.address("web", family), 80)["error"], "")


class FullTable(harness.TestCase):
    def test_full_connection_table(self):
        config = {"conntrack": {"maxEntries": 128, "sweepSeconds": 1,
                                "timeoutSeconds": {"closing": 1, "unreplied": 2, "replied": 2, "synSent": 2}}}
        with harness.Node(config=config) as node:
            node.run("web", *harness.serve("web", tcp=[80], udp=[53]))
            node.run("client")
            address = node.address("web")
            hold = node.hold("client", 30, address, 80)
            self.assertEqual(hold.ping()["replied"], 30)
            flood = node.hold("client", 300, address, 53, udp=True, timeout_ms=500)
            flood.ping()
            status = node.api("GET", "/v1/status")
            self.assertGreater(status["metrics"]["ct_full"], 0)
            drops = {one["reason"]: one["count"] for one in status["drops"]}
            self.assertGreater(drops["CT_MAP_INSERTION_FAILED"], 0)
            flow = node.wait_flow(lambda f: f.get("drop_reason", {}).get("name") == "CT_MAP_INSERTION_FAILED", verdict="dropped")
            self.assertEqual(flow["source"]["name"], "client")
            self.assertEqual(hold.ping()["replied"], 30)
            flood.close()
            node.wait_for(lambda: node.tcp("client", address, 80, timeout_ms=300)["error"] == "", 15, "new connections")
            self.assertEqual(hold.ping()["replied"], 30)
            hold.close()

    def test_idle_connections_are_swept(self):
        config = {"conntrack": {"sweepSeconds": 1, "timeoutSeconds": {"replied": 1, "unreplied": 1, "icmp": 1, "closing": 1}}}
        with harness.Node(config=config) as node:
            node.run("web", *harness.serve("web", tcp=[80], udp=[53]))
            node.run("client")
            hold = node.hold("client", 2, node.address("web"), 80)
            for family in FAMILIES:
                self.assertEqual(node.udp("client", node.address("web", family), 53)["error"], "")
                self.assertEqual(node.tcp("client", node.address("web", family), 80)["error"], "")
                self.assertTrue(node.ping("client", node.address("web", family)))

            def states():
                return [one["value"]["state"] for one in node.api("GET", "/v1/maps/bl_ct?limit=1000")["entries"]]
            node.wait_for(lambda: states() == ["established"] * 2, 15, "only the live connections to be left")
            self.assertEqual(hold.ping()["replied"], 2)
            closed = node.wait_flow(lambda f: f["kind"] == "closed", protocol="UDP", port=53)
            self.assertEqual((closed["packets"]["source"], closed["packets"]["destination"]), (1, 1))
            hold.close()


if __name__ == "__main__":
    harness.main()
