"""The checks of tools/ find what they are there to find."""
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
HOST = "http://debian.example.org/debian"


def load(name):
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), os.path.join(ROOT, "tools", name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class Docs(unittest.TestCase):
    docs = load("check-docs")

    def references(self, text):
        return list(self.docs.check_references("page.md", text))

    def test_functions_and_files(self):
        self.assertEqual(self.references("`bpf/lib/conntrack.h:ct_lookup` and `bpf/lib/conntrack.h`"), [])
        self.assertEqual(len(self.references("`bpf/lib/conntrack.h:ct_never_was`")), 1)
        self.assertEqual(len(self.references("`bpf/lib/no_such_file.h:ct_lookup`")), 1)
        self.assertEqual(len(self.references("`src/{base,no_such_folder}`")), 1)

    def test_links(self):
        self.assertEqual(list(self.docs.check_links("docs/a.md", "[x](maps.md) [y](adr/README.md#z)")), [])
        self.assertEqual(len(list(self.docs.check_links("docs/a.md", "[x](gone.md)"))), 1)

    def test_steps(self):
        head = "| step | file:function | maps | event |\n|---|---|---|---|\n"
        good = head + "| 1 | `bpf/lib/conntrack.h:ct_lookup` | `bl_ct` | |\n"
        self.assertEqual(list(self.docs.check_life("p", good, {"bl_ct"})), [])
        self.assertEqual(len(list(self.docs.check_life("p", good, {"bl_other"}))), 1)
        self.assertEqual(len(list(self.docs.check_life("p", head + "| 1 | nowhere | | |\n", set()))), 1)
        self.assertEqual(len(list(self.docs.check_life("p", "text", set()))), 1)

    def test_generated(self):
        self.assertEqual(list(self.docs.check_generated("docs/rules-tested.md", "tools/gen-rule-table")), [])
        self.assertEqual(len(list(self.docs.check_generated("docs/maps.md", "tools/gen-rule-table"))), 1)
        self.assertEqual(len(list(self.docs.check_generated("docs/none.md", "tools/gen-rule-table"))), 1)
        self.assertEqual(len(list(self.docs.check_generated("docs/rules-tested.md", "tools/gen-rule-table", "x"))), 1)

    def test_maps(self):
        head = "| map | type | key | value | entries | written by | read by |\n|---|---|---|---|---|---|---|\n"
        row = "| `bl_ct` | hash | `k` (4) | `v` (8) | 16 | `bpf/lib/conntrack.h` | `bpf/lib/conntrack.h` |\n"
        truth = {"bl_ct": {"type": "hash", "key": "`k` (4)", "value": "`v` (8)", "entries": "16"}}
        self.assertEqual(list(self.docs.check_maps("p", head + row, truth)), [])
        self.assertEqual(len(list(self.docs.check_maps("p", head + row.replace("(8)", "(16)"), truth))), 1)
        self.assertEqual(len(list(self.docs.check_maps("p", head, truth))), 1)
        self.assertEqual(len(list(self.docs.check_maps("p", head + row, {}))), 1)
        wrong = row.replace("| `bpf/lib/conntrack.h` |\n", "| `bpf/lib/emit.h` |\n")
        self.assertEqual(len(list(self.docs.check_maps("p", head + wrong, truth))), 1)


class Style(unittest.TestCase):
    style = load("check-style")

    def test_hosts(self):
        for host in ("localhost", "127.0.0.1", "10.0.0.7", "www.apache.org", "debian.example.org", "[fd00::1]"):
            match = self.style.URL.search(f"see http://{host}/x")
            self.assertTrue(self.style.ALLOWED_HOSTS.fullmatch(match.group(1)), host)
        for host in ("some.host.io", "203.0.114.9"):
            match = self.style.URL.search(f"see https://{host}/x")
            self.assertFalse(self.style.ALLOWED_HOSTS.fullmatch(match.group(1)), host)
        self.assertTrue(self.style.REGISTRY.search("from " + "registry" + ".somewhere.io/image"))
        self.assertFalse(self.style.REGISTRY.search("the static.cpp file"))


class Backports(unittest.TestCase):
    def derive(self, **files):
        with tempfile.TemporaryDirectory() as folder:
            etc, out = os.path.join(folder, "apt"), os.path.join(folder, "out")
            os.makedirs(os.path.join(etc, "sources.list.d"))
            os.mkdir(out)
            for name, text in files.items():
                name = name.replace("__", "/").replace("_", ".")
                with open(os.path.join(etc, name), "w") as file:
                    file.write(text)
            done = subprocess.run([os.path.join(ROOT, "tools", "backports-source"), "bookworm", out, etc],
                                  stderr=subprocess.PIPE, text=True)
            texts = [pathlib.Path(out, name).read_text() for name in sorted(os.listdir(out))]
            return done.returncode, "".join(texts)

    def test_one_line(self):
        for options in ("", "[signed-by=/usr/share/keyrings/x.gpg arch=amd64] "):
            code, text = self.derive(sources_list=f"# deb {HOST} old main\ndeb-src {HOST} bookworm main\n"
                                                  "deb cdrom:[Debian]/ bookworm main\n"
                                                  f"deb {options}{HOST} bookworm main contrib\n")
            self.assertEqual((code, text), (0, f"deb {options}{HOST} bookworm-backports main\n"))

    def test_deb822(self):
        stanza = (f"# comment\nTypes: deb\nURIs: {HOST}\nSuites: bookworm bookworm-updates\nComponents: main\n"
                  "Signed-By:\n -----BEGIN KEY-----\n .\n -----END KEY-----\n")
        code, text = self.derive(sources_list="", **{"sources_list_d__debian_sources":
                                 f"Types: deb\nEnabled: no\nURIs: {HOST}/off\nSuites: bookworm\n\n"
                                 f"Types: deb\nURIs: {HOST}/sec\nSuites: bookworm-security\n\n{stanza}"})
        self.assertEqual(code, 0)
        self.assertIn(f"uris: {HOST}\nsuites: bookworm-backports\n", text)
        self.assertIn("signed-by: \n -----BEGIN KEY-----\n .\n -----END KEY-----\n", text)

    def test_none(self):
        self.assertEqual(self.derive(sources_list=f"deb {HOST} trixie main\n"), (1, ""))


class Includes(unittest.TestCase):
    includes = load("check-includes")

    def test_layers_are_those_of_the_page(self):
        with open(os.path.join(ROOT, "docs", "architecture.md")) as file:
            page = file.read()
        rows = re.split(r"^ {4}(?=\d  )", page, flags=re.M)[1:]
        self.assertEqual(len(rows), len(self.includes.LAYERS))
        for row, folders in enumerate(self.includes.LAYERS):
            text = next(text for text in rows if text.startswith(f"{row}  {folders[0]}")).split("\n\n")[0]
            for folder in folders:
                self.assertIn(folder, text)


if __name__ == "__main__":
    unittest.main()
