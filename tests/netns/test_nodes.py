#!/usr/bin/env python3
"""Workloads on different nodes: VXLAN and direct routes, policy on both sides, services, life and death of nodes."""
import json
import os
import subprocess
import time

import cluster
import harness
from cluster import FAMILIES, Cluster, underlay
from scene import policy


def sees(answer):
    """The address that a test server says it was asked from."""
    return answer["reply"].split("peer=")[1].split()[0].rpartition(":")[0].strip("[]")


class Shared(harness.TestCase):
    """One cluster for a class: a web server on node 1, clients on both."""
    mode, outer, config = "vxlan", FAMILIES, None

    @classmethod
    def setUpClass(cls):
        cls.c = Cluster(2, cls.mode, cls.outer, cls.config)
        cls.addClassCleanup(cls.c.close)
        cls.c.__enter__()
        cls.c.run(1, "web", *harness.serve("web", tcp=[80, 81], udp=[53]), labels={"app": "web"})
        cls.c.run(0, "client", labels={"app": "client"})
        cls.c.run(1, "local", labels={"app": "client"})

    def web(self, family):
        return self.c[1].address("web", family)


class _Paths:
    families = FAMILIES

    def test_requests(self):
        for family in self.families:
            own = self.c[0].address("client", family)
            with self.subTest("tcp", family=family):
                answer = self.c[0].tcp("client", self.web(family), 80)
                self.assertEqual((answer["error"], sees(answer)), ("", own))
            with self.subTest("udp", family=family):
                answer = self.c[0].udp("client", self.web(family), 53)
                self.assertEqual((answer["error"], sees(answer)), ("", own))
            with self.subTest("ping", family=family):
                self.assertTrue(self.c[0].ping("client", self.web(family), 2))
            with self.subTest("back", family=family):
                self.assertTrue(self.c[1].ping("web", own, 1))

    def test_large(self):
        for family in self.families:
            with self.subTest("bulk", family=family):
                answer = self.c[0].tcp("client", self.web(family), 80, bulk=3_000_000, timeout_ms=20000)
                self.assertEqual(answer["received"], 3_000_000)
                answer = self.c[0].tcp("client", self.web(family), 80, size=1_000_000, timeout_ms=20000)
                self.assertEqual(answer["reply"].split("len=")[-1], "1000000")
            for size in (1380, 4000, 20000):
                with self.subTest("datagram", family=family, size=size):
                    answer = self.c[0].udp("client", self.web(family), 53, size=size, timeout_ms=5000)
                    self.assertEqual(answer["reply"].split("len=")[-1], str(size))
            with self.subTest("ping in fragments", family=family):
                self.assertTrue(self.c[0].ping("client", self.web(family), 1, 2, "-s", "5000"))

    def test_host(self):
        for family in self.families:
            with self.subTest("host to a workload elsewhere", family=family):
                answer = self.c[0].tcp("host", self.web(family), 80)
                self.assertEqual(answer["error"], "")
                self.assertTrue(self.c[0].ping("host", self.web(family), 1))
                answer = self.c[0].udp("host", self.web(family), 53, size=8000, timeout_ms=5000)
                self.assertEqual(answer["reply"].split("len=")[-1], "8000")
            if family in self.c.outer:
                with self.subTest("workload to the other node", family=family):
                    self.assertTrue(self.c[0].ping("client", underlay(1, family), 1))
                    self.assertTrue(self.c[1].ping("local", underlay(0, family), 1))

    def test_no_answer_from_nobody(self):
        for family in self.families:
            nobody = {4: "10.111.0.200", 6: "fd00:111::dead"}[family]
            self.assertFalse(self.c[0].ping("client", nobody, 1, 1))

    def test_closed_port(self):
        for family in self.families:
            self.assertEqual(self.c[0].tcp("client", self.web(family), 9)["error"], "ECONNREFUSED")
            self.assertEqual(self.c[0].udp("client", self.web(family), 9, connected=True)["error"], "ECONNREFUSED")


class VxlanDual(_Paths, Shared):
    def test_mtu(self):
        _, out, _ = self.c[0].exec("client", "ip", "-j", "link", "show", "eth0")
        self.assertEqual(json.loads(out)[0]["mtu"], 1450)


class VxlanOverV6(_Paths, Shared):
    outer = (6,)

    def test_mtu(self):
        _, out, _ = self.c[0].exec("client", "ip", "-j", "link", "show", "eth0")
        self.assertEqual(json.loads(out)[0]["mtu"], 1430)


class VxlanOverV4(_Paths, Shared):
    outer = (4,)


class DirectDual(_Paths, Shared):
    mode = "direct"

    def test_mtu(self):
        _, out, _ = self.c[0].exec("client", "ip", "-j", "link", "show", "eth0")
        self.assertEqual(json.loads(out)[0]["mtu"], 1500)


class DirectV4(_Paths, Shared):
    mode, outer, families = "direct", (4,), (4,)


class VxlanClsact(_Paths, Shared):
    config = {"datapath": {"attach": "clsact"}}


if __name__ == "__main__":
    harness.main()
