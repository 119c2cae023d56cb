"""A headless Chromium, driven over the DevTools protocol on a pair of pipes: no driver, no port, no network.

    with Browser(netns="/run/netns/x") as browser:
        page = browser.page()
        page.open("http://127.0.0.1:12000/")
        page.wait("document.querySelectorAll('tr').length > 3")
"""
import base64
import fcntl
import itertools
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time

PROGRAM = "chromium-headless-shell"
SIZE = (1440, 900)


class Broken(AssertionError):
    """A script in the page threw, or the browser refused a call."""


class Browser:
    """netns: path of the network namespace that the browser lives in. names: {host name: address} that only it knows."""

    def __init__(self, netns=None, names=None):
        self._netns = netns
        self._names = names or {}
        self._numbers = itertools.count(1)
        self._answers = {}
        self._pages = {}
        self._lock = threading.Lock()

    @staticmethod
    def available():
        return shutil.which(PROGRAM) is not None

    def __enter__(self):
        self._folder = tempfile.mkdtemp(prefix="beeline-browser-")
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # The browser reads descriptor 3 and writes descriptor 4.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (to_browser, from_browser)]

        def connect():
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)
        rules = ",".join(f"MAP {name} {address}" for name, address in self._names.items())
        command = [PROGRAM, "--no-sandbox", "--remote-debugging-pipe", f"--user-data-dir={self._folder}", "--no-first-run",
                   "--disable-dev-shm-usage", "--disable-background-networking", "--disable-extensions", "--disable-crash-reporter",
                   "--disable-gpu",
                   "--force-device-scale-factor=1", f"--window-size={SIZE[0]},{SIZE[1]}"]
        if rules:
            command.append(f"--host-resolver-rules={rules}")
        command.append("about:blank")
        if self._netns:
            command = ["nsenter", f"--net={self._netns}", *command]
        self._log = open(os.path.join(self._folder, "log"), "w+")
        self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, preexec_fn=connect,
                                       pass_fds=(3, 4), start_new_session=True, env=dict(os.environ, HOME=self._folder))
        for fd in (to_browser, from_browser, *high):
            os.close(fd)
        self._reader = threading.Thread(target=self._receive, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_):
        try:
            self.call("Browser.close", timeout=5)
        except Exception:  # it may be gone already
            pass
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
        os.close(self._write)
        self._reader.join(5)
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _receive(self):
        rest = b""
        while True:
            try:
                data = os.read(self._read, 1 << 20)
            except OSError:
                data = b""
            if not data:
                break
            rest += data
            *messages, rest = rest.split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    with self._lock:
                        waiting = self._answers.pop(message["id"], None)
                    if waiting:
                        waiting.put(message)
                elif page := self._pages.get(message.get("sessionId")):
                    page.on_event(message["method"], message["params"])
        os.close(self._read)
        with self._lock:
            for waiting in self._answers.values():
                waiting.put({"error": {"message": "the browser is gone"}})

    def call(self, method, session=None, timeout=30, **params):
        number = next(self._numbers)
        answer = queue.Queue()
        with self._lock:
            self._answers[number] = answer
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        try:
            reply = answer.get(timeout=timeout)
        except queue.Empty:
            self._log.flush()
            self._log.seek(0)
            raise Broken(f"{method}: no answer within {timeout} s\n{self._log.read()[-2000:]}") from None
        if "error" in reply:
            raise Broken(f"{method}: {reply['error']['message']}")
        return reply["result"]

    def page(self, **media):
        """A new page of a profile of its own. media: what CSS media features it reports, with _ for -."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context, width=SIZE[0], height=SIZE[1])["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        self._pages[session] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        if media:
            page.call("Emulation.setEmulatedMedia", features=[{"name": name.replace("_", "-"), "value": value} for name, value in media.items()])
        return page


KEYS = {"Enter": (13, "\r"), "Escape": (27, None), "Tab": (9, None), "ArrowLeft": (37, None), "ArrowUp": (38, None),
        "ArrowRight": (39, None), "ArrowDown": (40, None)}


class Page:
    def __init__(self, browser, session):
        self._browser = browser
        self._session = session
        self.problems = []  # errors of scripts and of the console, and refused loads
        self.requests = []  # addresses that were asked for

    def call(self, method, **params):
        return self._browser.call(method, session=self._session, **params)

    def on_event(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(" ".join(str(one.get("value", one.get("description"))) for one in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def before_load(self, script):
        """A script that every document of this page runs first."""
        self.call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def run(self, expression):
        """The value of an expression; promises are waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise Broken(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def wait(self, expression, timeout=20):
        """Until the expression is true; returns its value."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                if value := self.run(expression):
                    return value
            except Broken as error:
                if "context" not in str(error) and time.monotonic() > deadline:  # the document is being replaced
                    raise
            if time.monotonic() > deadline:
                raise AssertionError(f"not true within {timeout} s: {expression}\npage: {self.run('document.body.innerText')[:1500]}")
            time.sleep(0.05)

    def text(self, selector="body"):
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def click(self, selector):
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def key(self, name, text=None):
        code, typed = KEYS.get(name, (ord(name.upper()[0]), name))
        typed = text or typed
        params = {"key": name, "windowsVirtualKeyCode": code, **({"text": typed} if typed else {})}
        self.call("Input.dispatchKeyEvent", type="keyDown", **params)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name, windowsVirtualKeyCode=code)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def screenshot(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        with open(path, "wb") as file:
            file.write(data)
        return data
