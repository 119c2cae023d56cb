"""Application protocols without proxies: what is read of chosen workloads, and that nothing is read of the others."""
import glob
import os
import pwd
import shutil
import ssl
import subprocess
import tempfile
import time

import harness
import scene
from scene import service

VIP = "10.96.0.10"
DNS_VIP = "10.96.0.53"

WEB = r"""
import http.server, socketserver, ssl, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path.startswith("/slow"):
            time.sleep(0.05)
        body = b"hello " * (10000 if self.path.startswith("/large") else 1)
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *arguments):
        pass

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64

server = Server(("0.0.0.0", int(sys.argv[1])), Handler)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""

# One connection, the requests one after another; a line on standard input lets the next begin.
CLIENT = r"""
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)
for line in sys.stdin:
    connection.request("GET", line.strip())
    answer = connection.getresponse()
    answer.read()
    print(answer.status, flush=True)
"""

NAMES = r"""
import socket, struct, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 53))
while True:
    query, sender = server.recvfrom(512)
    end = query.index(b"\0", 12) + 5
    known = b"web" in query[12:end] and query[end - 4:end - 2] == b"\0\1"
    head = query[:2] + (b"\x81\x80" if known else b"\x81\x83") + b"\0\1" + (b"\0\1" if known else b"\0\0") + b"\0\0\0\0"
    answer = b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 60, 4) + socket.inet_aton(sys.argv[1]) if known else b""
    server.sendto(head + query[12:end] + answer, sender)
"""

ASK = r"""
import os, socket, sys
name = b"".join(bytes([len(part)]) + part.encode() for part in sys.argv[2].split("."))
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(5)
asker.sendto(os.urandom(2) + b"\1\0\0\1\0\0\0\0\0\0" + name + b"\0\0\1\0\1", (sys.argv[1], 53))
print(len(asker.recv(512)))
"""


# A gRPC service of large answers: /bench.Large/Whole ends well, /bench.Large/Broken says NOT_FOUND behind a megabyte.
LARGE = r"""
import sys, time
from concurrent import futures
import grpc

BODY = b"x" * (1 << 20)
SIZES = [("grpc.max_receive_message_length", 1 << 24)]

def broken(request, context):
    yield BODY
    context.abort(grpc.StatusCode.NOT_FOUND, "no more of it")

if sys.argv[1] == "serve":
    handlers = grpc.method_handlers_generic_handler("bench.Large", {
        "Whole": grpc.unary_unary_rpc_method_handler(lambda request, context: BODY),
        "Broken": grpc.unary_stream_rpc_method_handler(broken)})
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[handlers])
    server.add_insecure_port("0.0.0.0:" + sys.argv[2])
    server.start()
    server.wait_for_termination()
channel = grpc.insecure_channel(sys.argv[2], options=SIZES)
print(len(channel.unary_unary("/bench.Large/Whole")(b"", timeout=10)))
try:
    for part in channel.unary_stream("/bench.Large/Broken")(b"", timeout=10):
        print(len(part))
except grpc.RpcError as error:
    print(error.code().name)
print(len(channel.unary_unary("/bench.Large/Whole")(b"", timeout=10)))
"""

# Commands of its own client, one connection.
REDIS = r"""
import socket, sys
connection = socket.create_connection((sys.argv[1], 6379), 5)
answers = connection.makefile("rb")
for words in (["SET", "cart:7", "secret"], ["GET", "cart:7"], ["LPUSH", "cart:7", "1"], ["INCR", "visits"]):
    connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
    answer = answers.readline()
    if answer.startswith(b"$"):
        answers.readline()
    print(answer.decode().strip())
"""


def pod(name, l7=None, namespace="shop"):
    metadata = {"name": name, "namespace": namespace}
    if l7 is not None:
        metadata["annotations"] = {"beeline.io/l7": l7}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


class L7(scene.SharedNode):
    options = {"outside": True}

    @classmethod
    def prepare(cls):
        cls.node.run("web", "/usr/bin/python3", "-c", WEB, "80", namespace="shop", labels={"app": "web"}, ports={"http": 80})
        cls.node.run("client", namespace="shop", labels={"app": "client"})
        cls.node.apply([pod("web", "true")])
        cls.node._wait_listening("shop/web", ["--tcp", "80"])

    def setUp(self):
        self.mark = scene.last_number(self.node)

    def new(self, kind="l7"):
        return [f for f in self.node.flows(last=1000) if f.get("number", 0) > self.mark and f["kind"] == kind]

    def wait_l7(self, count, predicate=lambda f: True, timeout=10):
        """The first `count` messages since the test began that match, oldest first."""
        def enough():
            found = sorted((f for f in self.new() if predicate(f)), key=lambda f: f["number"])
            return found if len(found) >= count else None
        try:
            return harness.wait_for(enough, timeout, f"{count} messages")
        except AssertionError as error:
            raise AssertionError(f"{error}; status: {self.status()}") from None

    def curl(self, *arguments, where="shop/client"):
        code, out, err = self.node.exec(where, "curl", "-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}\n", *arguments)
        self.assertEqual(code, 0, err)
        return out.split()

    def python(self, script, *arguments):
        code, out, err = self.node.exec("shop/client", "/usr/bin/python3", "-c", script, *arguments, timeout=40)
        self.assertEqual(code, 0, err)
        return out

    def address(self, family=4):
        return self.node.address("shop/web", family)

    def status(self):
        return self.node.api("GET", "/v1/status")["l7"]

    def captured(self):
        """Pieces of payload that the kernel copied since it was booted."""
        return self.node.api("GET", "/v1/status")["metrics"]["l7_chunks"]

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    def test_http_request_and_answer(self):
        self.assertEqual(self.curl(f"http://{self.address()}/cart?token=secret"), ["200"])
        request, answer = self.wait_l7(2)
        for flow in (request, answer):
            l7 = flow["l7"]
            self.assertEqual((l7["protocol"], l7["method"], l7["resource"], l7["version"]), ("http", "GET", "/cart", "HTTP/1.1"))
            self.assertNotIn("secret", str(flow))
            self.assertEqual((flow["source"]["name"], flow["destination"]["name"]), ("client", "web"))
            self.assertEqual(flow["destination"]["port"], 80)
            self.assertEqual(flow["verdict"], "FORWARDED")
            self.assertEqual(flow["source"]["process"]["comm"], "curl")
        self.assertEqual((request["l7"]["type"], answer["l7"]["type"]), ("request", "response"))
        self.assertEqual((answer["l7"]["code"], answer["l7"]["status"]), (200, "ok"))
        self.assertGreater(answer["l7"]["latency_ns"], 0)
        self.assertEqual(answer["destination"]["process"]["pid"], self.node.workload("shop/web")["pid"])

    def test_keep_alive_large_answers_and_errors(self):
        url = f"http://{self.address()}"
        codes = self.curl(f"{url}/large/1", "-o", "/dev/null", f"{url}/missing", "-o", "/dev/null", f"{url}/slow")
        self.assertEqual(codes, ["200", "404", "200"])
        answers = self.wait_l7(3, lambda f: f["l7"]["type"] == "response")
        self.assertEqual([(f["l7"]["resource"], f["l7"]["code"], f["l7"]["status"]) for f in answers],
                         [("/large/1", 200, "ok"), ("/missing", 404, "error"), ("/slow", 200, "ok")])
        self.assertEqual(len({f["source"]["port"] for f in answers}), 1, "one connection")
        self.assertGreater(answers[2]["l7"]["latency_ns"], 40_000_000)

    def test_bodies_of_requests(self):
        self.curl("-d", "x" * 100_000, "-H", "Expect:", f"http://{self.address()}/upload")
        answer = self.wait_l7(1, lambda f: f["l7"]["type"] == "response")[0]
        self.assertEqual((answer["l7"]["method"], answer["l7"]["code"]), ("POST", 201))

    def test_through_a_service(self):
        self.node.apply([service("web", VIP, [("http", "TCP", 8000, 80)], {"app": "web"})])
        for where in ("socket", "packet"):
            with self.subTest(where=where):
                self.mark = scene.last_number(self.node)
                if where == "socket":
                    self.curl(f"http://{VIP}:8000/by/{where}")
                else:
                    command = ["curl", "-sS", "-m", "10", "-o", "/dev/null", f"http://{VIP}:8000/by/{where}"]
                    code, _, err = self.node._finish(command, self.node.workload("shop/client")["netns"])
                    self.assertEqual(code, 0, err)
                answer = self.wait_l7(1, lambda f: f["l7"]["type"] == "response")[0]
                self.assertEqual((answer["l7"]["resource"], answer["l7"]["code"]), (f"/by/{where}", 200))
                self.assertEqual((answer["service"]["name"], answer["destination"]["name"]), ("shop/web", "web"))

    def test_from_outside(self):
        code, _, err = self.node.host("curl", "-sS", "-m", "10", "-o", "/dev/null", f"http://{self.address()}/from/host")
        self.assertEqual(code, 0, err)
        answer = self.wait_l7(1, lambda f: f["l7"]["type"] == "response")[0]
        self.assertEqual((answer["l7"]["resource"], answer["source"]["kind"]), ("/from/host", "host"))

    # --- switching ----------------------------------------------------------------------------------------------------

    def test_switched_while_a_connection_lives(self):
        self.node.apply([pod("web", "false")])
        client = self.node.background("shop/client", "/usr/bin/python3", "-c", CLIENT, self.address(), "80",
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def get(path):
            client.stdin.write(path + "\n")
            client.stdin.flush()
            self.assertEqual(client.stdout.readline().strip(), "200")
        before = self.captured()
        get("/off")
        get("/off")
        time.sleep(0.3)
        self.assertEqual(self.new(), [])
        self.assertEqual(self.captured(), before)
        self.node.apply([pod("web", "true")])
        get("/on")
        get("/on")
        answers = self.wait_l7(1, lambda f: f["l7"]["type"] == "response")
        self.assertEqual({f["l7"]["resource"] for f in answers}, {"/on"})
        self.node.apply([pod("web", "false")])
        time.sleep(0.3)
        self.mark = scene.last_number(self.node)
        get("/off/again")
        time.sleep(0.3)
        self.assertEqual(self.new(), [])
        self.node.apply([pod("web", "true")])
        client.stdin.close()
        self.assertEqual(client.wait(10), 0)

    def test_only_the_protocols_that_were_asked_for(self):
        self.node.apply([pod("web", "dns")])
        before = self.captured()
        self.curl(f"http://{self.address()}/unread")
        time.sleep(0.3)
        self.assertEqual(self.new(), [])
        self.assertEqual(self.captured(), before)
        self.node.apply([pod("web", "redis")])
        self.curl(f"http://{self.address()}/unread")
        harness.wait_for(lambda: self.captured() > before, what="payload")
        time.sleep(0.3)
        self.assertEqual(self.new(), [])
        self.node.apply([pod("web", "true")])

    def test_a_wrong_annotation_is_an_error(self):
        with self.assertRaises(AssertionError) as raised:
            self.node.apply([pod("web", "htttp")])
        self.assertIn("htttp", str(raised.exception))

    def test_agent_restart(self):
        client = self.node.background("shop/client", "/usr/bin/python3", "-c", CLIENT, self.address(), "80",
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def get(path):
            client.stdin.write(path + "\n")
            client.stdin.flush()
            self.assertEqual(client.stdout.readline().strip(), "200")
        get("/before")
        self.wait_l7(2)
        self.node.restart_agent()
        self.mark = 0
        get("/after/1")
        get("/after/2")
        answers = self.wait_l7(1, lambda f: f["l7"]["type"] == "response")
        self.assertEqual(answers[-1]["source"]["name"], "client")
        self.assertEqual(answers[-1]["source"]["process"]["comm"], "python3")
        client.stdin.close()
        client.wait(10)

    # --- DNS ----------------------------------------------------------------------------------------------------------

    def test_dns_and_the_names_that_it_teaches(self):
        self.node.run("names", "/usr/bin/python3", "-c", NAMES, self.address(), namespace="shop", labels={"app": "names"},
                      ports=[("dns", "udp", 53)])
        self.addCleanup(self.node.stop, "shop/names")
        self.node._wait_listening("shop/names", ["--udp", "53"])
        self.node.apply([pod("client", "dns"), service("dns", DNS_VIP, [("dns", "UDP", 53, 53)], {"app": "names"})])
        self.mark = scene.last_number(self.node)
        for name in ("web.shop.example", "nothing.example"):
            scene.python(self.node, "shop/client", ASK, DNS_VIP, name)
        answers = self.wait_l7(2, lambda f: f["l7"]["type"] == "response")
        self.assertEqual([(f["l7"]["protocol"], f["l7"]["resource"], f["l7"].get("code", 0)) for f in answers],
                         [("dns", "web.shop.example", 0), ("dns", "nothing.example", 3)])
        self.assertEqual(answers[0]["l7"]["addresses"], [self.address()])
        self.assertEqual(answers[0]["l7"]["ttl_s"], 60)
        self.assertEqual((answers[0]["service"]["name"], answers[0]["destination"]["name"]), ("shop/dns", "names"))
        self.assertIn("python3", answers[0]["destination"]["process"]["comm"])

        def named():
            self.curl(f"http://{self.address()}/named")
            return [f for f in self.new("opened") if f["destination"].get("names") == ["web.shop.example"]]
        flow = harness.wait_for(named, what="a flow with the name")[0]
        self.assertEqual(flow["destination"]["name"], "web")

    # --- others -------------------------------------------------------------------------------------------------------

    def test_http2(self):
        harness.require("nghttpd", "h2load")
        self.node.run("h2", "nghttpd", "--no-tls", "-d", "/etc", "8080", namespace="shop", labels={"app": "h2"})
        self.addCleanup(self.node.stop, "shop/h2")
        self.node._wait_listening("shop/h2", ["--tcp", "8080"])
        self.node.apply([pod("h2", "http")])
        self.mark = scene.last_number(self.node)
        self.curl("--http2-prior-knowledge", f"http://{self.node.address('shop/h2')}:8080/hostname")
        answer = self.wait_l7(1, lambda f: f["l7"]["type"] == "response")[0]
        self.assertEqual((answer["l7"]["protocol"], answer["l7"]["resource"], answer["l7"]["code"]), ("http2", "/hostname", 200))
        self.mark = scene.last_number(self.node)
        code, out, err = self.node.exec("shop/client", "h2load", "-n", "200", "-c", "2", "-m", "10",
                                        f"http://{self.node.address('shop/h2')}:8080/hostname")
        self.assertEqual(code, 0, err + out)
        self.wait_l7(200, lambda f: f["l7"]["type"] == "response")

    def test_large_answers_of_http2(self):
        harness.require("nghttpd")
        folder = os.path.join(self.node.folder, "files")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "large"), "wb") as file:
            file.write(os.urandom(1 << 20))
        self.node.run("h2", "nghttpd", "--no-tls", "-d", folder, "8080", namespace="shop", labels={"app": "h2"})
        self.addCleanup(self.node.stop, "shop/h2")
        self.node._wait_listening("shop/h2", ["--tcp", "8080"])
        self.node.apply([pod("h2", "http")])
        self.mark = scene.last_number(self.node)
        url = f"http://{self.node.address('shop/h2')}:8080"
        for path in ("/large", "/missing", "/large"):
            self.curl("--http2-prior-knowledge", url + path)
        answers = self.wait_l7(3, lambda f: f["l7"]["type"] == "response")
        self.assertEqual([(f["l7"]["resource"], f["l7"]["code"]) for f in answers],
                         [("/large", 200), ("/missing", 404), ("/large", 200)])
        self.assertEqual(answers[0]["l7"]["response_bytes"], 1 << 20)

    def test_trailers_behind_a_megabyte(self):
        self.node.run("large", "/usr/bin/python3", "-c", LARGE, "serve", "50051", namespace="shop", labels={"app": "large"})
        self.addCleanup(self.node.stop, "shop/large")
        self.node._wait_listening("shop/large", ["--tcp", "50051"])
        self.node.apply([pod("large", "http")])
        self.mark = scene.last_number(self.node)
        out = self.python(LARGE, "call", f"{self.node.address('shop/large')}:50051")
        self.assertEqual(out.split(), ["1048576", "1048576", "NOT_FOUND", "1048576"])
        answers = self.wait_l7(3, lambda f: f["l7"]["type"] == "response")
        self.assertEqual([(f["l7"]["protocol"], f["l7"]["resource"], f["l7"].get("code", 0)) for f in answers],
                         [("grpc", "/bench.Large/Whole", 0), ("grpc", "/bench.Large/Broken", 5), ("grpc", "/bench.Large/Whole", 0)])
        self.assertIn("NOT_FOUND", answers[1]["l7"]["error"])
        self.assertGreater(answers[0]["l7"]["response_bytes"], 1 << 20)

    # --- databases ----------------------------------------------------------------------------------------------------

    def test_redis(self):
        harness.require("redis-server")
        self.node.run("redis", "redis-server", "--protected-mode", "no", "--save", "", "--dir", self.node.folder,
                      namespace="shop", labels={"app": "redis"})
        self.addCleanup(self.node.stop, "shop/redis")
        self.node._wait_listening("shop/redis", ["--tcp", "6379"])
        self.node.apply([pod("redis", "redis")])
        self.mark = scene.last_number(self.node)
        out = self.python(REDIS, self.node.address("shop/redis"))
        self.assertEqual(out.split()[0], "+OK")
        answers = self.wait_l7(4, lambda f: f["l7"]["type"] == "response")
        self.assertEqual([(f["l7"]["protocol"], f["l7"]["method"], f["l7"]["resource"], f["l7"]["status"]) for f in answers],
                         [("redis", "SET", "cart:7", "ok"), ("redis", "GET", "cart:7", "ok"),
                          ("redis", "LPUSH", "cart:7", "error"), ("redis", "INCR", "visits", "ok")])
        self.assertIn("WRONGTYPE", answers[2]["l7"]["error"])
        self.assertNotIn("secret", str(answers))

    def test_postgresql(self):
        harness.require("psql", "setpriv")
        places = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not places:
            self.skipTest("no PostgreSQL server")
        programs = places[-1]
        # It does not run as root.
        account = pwd.getpwnam("nobody")
        data = tempfile.mkdtemp(prefix="bl-postgresql-")
        self.addCleanup(shutil.rmtree, data, ignore_errors=True)
        os.chown(data, account.pw_uid, account.pw_gid)
        as_nobody = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--"]
        subprocess.run([*as_nobody, f"{programs}/initdb", "-D", data, "-U", "shop", "-A", "trust", "--no-sync", "-E", "UTF8",
                        "--locale=C"], check=True, stdout=subprocess.DEVNULL, cwd=data)
        with open(os.path.join(data, "pg_hba.conf"), "a") as file:
            file.write("host all all 0.0.0.0/0 trust\n")
        self.node.run("sql", *as_nobody, f"{programs}/postgres", "-D", data, "-c", "listen_addresses=*", "-c", "fsync=off", "-c",
                      "unix_socket_directories=", namespace="shop", labels={"app": "sql"})
        self.addCleanup(self.node.stop, "shop/sql")
        ask = ["psql", "-h", self.node.address("shop/sql"), "-U", "shop", "-d", "postgres"]
        harness.wait_for(lambda: self.node.exec("shop/client", *ask, "-c", "SELECT 1")[0] == 0, 60, "PostgreSQL to answer")
        self.node.apply([pod("sql", "postgresql")])
        self.mark = scene.last_number(self.node)
        code, _, err = self.node.exec("shop/client", *ask, "-c",
                                      "CREATE TABLE carts (id int)", "-c", "INSERT INTO carts VALUES (4711)", "-c",
                                      "SELECT id FROM carts WHERE id = 4711", "-c", "SELECT nothing FROM carts")
        self.assertEqual(code, 1, err)
        answers = self.wait_l7(5, lambda f: f["l7"]["type"] == "response")
        self.assertEqual([(f["l7"]["protocol"], f["l7"]["method"], f["l7"].get("resource", ""), f["l7"]["status"])
                          for f in answers][1:],
                         [("postgresql", "CREATE", "carts", "ok"), ("postgresql", "INSERT", "carts", "ok"),
                          ("postgresql", "SELECT", "carts", "ok"), ("postgresql", "SELECT", "carts", "error")])
        self.assertIn("42703", str(answers[4]["l7"]))
        self.assertNotIn("4711", str(answers))

    # --- TLS ----------------------------------------------------------------------------------------------------------

    def secure(self, name, *command, port=443):
        """A workload that serves TLS, with a certificate of its own; nothing is chosen yet."""
        entry = self.node.run(name, *command, namespace="shop", labels={"app": name})
        self.addCleanup(self.node.stop, f"shop/{name}")
        self.node._wait_listening(f"shop/{name}", ["--tcp", str(port)])
        return entry["addresses"][0]

    def certificate(self):
        key, certificate = (os.path.join(self.node.folder, name) for name in ("key.pem", "cert.pem"))
        if not os.path.exists(certificate):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                            "-subj", "/CN=web", "-days", "2", "-keyout", key, "-out", certificate], check=True,
                           stderr=subprocess.DEVNULL)
        return certificate, key

    def probed(self):
        return harness.wait_for(lambda: self.status()["tls"]["files"] > 0, what="probes in a library")

    def check_tls(self, path, client="client", server="tls", proto="http", code=200):
        answer = self.wait_l7(1, lambda f: f["l7"]["type"] == "response" and f["l7"]["resource"] == path)[0]
        self.assertEqual((answer["l7"]["tls"], answer["l7"]["code"], answer["l7"]["protocol"]), (1, code, proto))
        self.assertEqual((answer["source"]["name"], answer["destination"]["name"]), (client, server))
        time.sleep(0.3)
        again = [f for f in self.new() if f["l7"]["resource"] == path and f["l7"]["type"] == "response"]
        self.assertEqual(len(again), 1, "one end's view is enough")
        return answer

    def test_tls_of_the_server(self):
        certificate, key = self.certificate()
        address = self.secure("tls", "/usr/bin/python3", "-c", WEB, "443", certificate, key)
        self.node.apply([pod("tls", "true")])
        self.probed()
        self.mark = scene.last_number(self.node)
        self.curl("-k", f"https://{address}/secret/1", "-o", "/dev/null", f"https://{address}/secret/2")
        for path in ("/secret/1", "/secret/2"):
            answer = self.check_tls(path)
        self.assertEqual(answer["source"]["process"]["comm"], "curl")

    def test_tls_of_both_ends_through_a_service(self):
        certificate, key = self.certificate()
        self.secure("tls", "/usr/bin/python3", "-c", WEB, "443", certificate, key)
        self.node.apply([pod("tls", "true"), pod("client", "true"),
                         service("tls", "10.96.0.44", [("https", "TCP", 8443, 443)], {"app": "tls"})])
        self.probed()
        self.mark = scene.last_number(self.node)
        self.curl("-k", "https://10.96.0.44:8443/both/1")
        self.assertEqual(self.check_tls("/both/1")["service"]["name"], "shop/tls")
        command = ["curl", "-sS", "-k", "-m", "10", "-o", "/dev/null", "https://10.96.0.44:8443/both/2"]
        code, _, err = self.node._finish(command, self.node.workload("shop/client")["netns"])
        self.assertEqual(code, 0, err)
        self.check_tls("/both/2")

    def test_tls_of_the_client(self):
        certificate, key = self.certificate()
        address = self.secure("tls", "/usr/bin/python3", "-c", WEB, "443", certificate, key)
        self.node.apply([pod("client", "true")])
        self.probed()
        self.mark = scene.last_number(self.node)
        # curl's sessions do not lead to its sockets: the first makes the agent look at what sockets do.
        self.curl("-k", f"https://{address}/first")
        time.sleep(1.5)
        self.curl("-k", f"https://{address}/by/curl")
        self.check_tls("/by/curl")

    def test_tls_of_nginx(self):
        harness.require("nginx")
        certificate, key = self.certificate()
        config = os.path.join(self.node.folder, "nginx.conf")
        paths = "".join(f"{kind}_temp_path {self.node.folder}; " for kind in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(config, "w") as file:
            file.write(f"daemon off; error_log /dev/null; pid {self.node.folder}/nginx.pid; events {{}} http {{ access_log off; "
                       f"{paths} server {{ listen 443 ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key}; "
                       "location / { return 200 hello; } } }")
        address = self.secure("tls", "nginx", "-c", config)
        self.node.apply([pod("tls", "true")])
        self.probed()
        self.mark = scene.last_number(self.node)
        self.curl("--http1.1", "-k", f"https://{address}/nginx/1")
        self.check_tls("/nginx/1")
        self.curl("--http2", "-k", f"https://{address}/nginx/2")
        self.check_tls("/nginx/2", proto="http2")

    def test_large_answers_of_http2_in_tls(self):
        harness.require("nghttpd")
        folder = os.path.join(self.node.folder, "files")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "large"), "wb") as file:
            file.write(os.urandom(1 << 20))
        certificate, key = self.certificate()
        address = self.secure("tls", "nghttpd", "-d", folder, "443", key, certificate)
        self.node.apply([pod("tls", "true")])
        self.probed()
        self.mark = scene.last_number(self.node)
        url = f"https://{address}"
        self.curl("--http2", "-k", f"{url}/large", "-o", "/dev/null", f"{url}/missing")
        self.check_tls("/missing", proto="http2", code=404)
        self.check_tls("/large", proto="http2")

    def test_tls_of_gnutls(self):
        harness.require("gnutls-serv", "gnutls-cli")
        certificate, key = self.certificate()
        address = self.secure("tls", "gnutls-serv", "--http", "-q", "-p", "443", "--x509certfile", certificate, "--x509keyfile", key)
        self.node.apply([pod("tls", "true")])
        self.probed()

        def ask(path):
            code, _, err = self.node.exec("shop/client", "curl", "-sS", "-k", "-m", "10", "-o", "/dev/null", f"https://{address}{path}")
            self.assertEqual(code, 0, err)
        self.mark = scene.last_number(self.node)
        # GnuTLS does not say which socket a session has: the first call makes the agent look at what sockets do.
        ask("/gnutls/0")
        time.sleep(1.5)
        ask("/gnutls/1")
        self.check_tls("/gnutls/1")

    def test_tls_of_go(self):
        go = "/usr/local/go/bin/go"
        harness.require(go)
        source = os.path.join(self.node.folder, "main.go")
        binary = os.path.join(self.node.folder, "gotls")
        with open(source, "w") as file:
            file.write("""package main
import ("net/http"; "os")
func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hello")) })
	panic((&http.Server{Addr: ":443", TLSNextProto: nil}).ListenAndServeTLS(os.Args[1], os.Args[2]))
}
""")
        build = subprocess.run([go, "build", "-o", binary, source], cwd=self.node.folder, text=True, capture_output=True,
                               env={**os.environ, "HOME": self.node.folder, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"})
        if build.returncode != 0:
            self.skipTest(f"go cannot build: {build.stderr[-200:]}")
        certificate, key = self.certificate()
        address = self.secure("tls", binary, certificate, key)
        self.node.apply([pod("tls", "true")])
        self.probed()
        time.sleep(1.5)  # the library of the others is found first
        self.mark = scene.last_number(self.node)
        self.curl("--http1.1", "-k", f"https://{address}/go/1")
        self.check_tls("/go/1")


if __name__ == "__main__":
    harness.main()
