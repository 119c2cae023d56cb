#!/usr/bin/env python3
"""The etcd source against a real etcd: killed and restarted, frozen, compacted; leases that end; TLS and users."""
import os
import subprocess
import sys
import unittest

import harness

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
PROGRAM = os.path.join(harness.BIN, "source_etcd_test")


class RealEtcd(unittest.TestCase):
    def test_source(self):
        done = subprocess.run([PROGRAM, "--gtest_brief=1", "--gtest_filter=RealEtcd.*"],
                              env={**os.environ, "BEELINE_TEST_REAL_ETCD": "1"}, capture_output=True, text=True, timeout=240)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("SKIPPED", done.stdout)


def main():
    if not os.access(PROGRAM, os.X_OK):
        print(f"SKIP: {PROGRAM} is not built")
        sys.exit(77)
    if subprocess.run([os.path.join(ROOT, "tools", "fetch-etcd")], stdout=subprocess.DEVNULL).returncode != 0:
        print("SKIP: etcd cannot be had on this machine")
        sys.exit(77)
    unittest.main()


if __name__ == "__main__":
    main()
