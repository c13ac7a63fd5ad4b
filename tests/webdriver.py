"""A headless Chromium for tests, driven by chromedriver over its HTTP interface (W3C WebDriver)."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--hide-scrollbars"]
PATIENCE_S = 60


def missing():
    """Why no browser can be started here; empty when one can."""
    lacking = [p for p in ("chromium", "chromedriver") if not shutil.which(p)]
    return f"no {' and no '.join(lacking)}: `scripts/setup ci` installs them" if lacking else ""


class Browser:
    """One window. Its log has what pages wrote to the console, and every request they made."""

    def __init__(self, width=1400, height=1000):
        self.home = tempfile.mkdtemp()
        self.log = open(os.path.join(self.home, "log"), "w+", encoding="utf-8")
        # A port that is free: chromedriver takes one and says which.
        self.server = subprocess.Popen(["chromedriver", "--port=0"], stdout=self.log,
                                       stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            self.url = f"http://127.0.0.1:{self._port()}"
            options = {"binary": shutil.which("chromium"), "args": [
                *FLAGS, f"--user-data-dir={self.home}/profile", f"--window-size={width},{height}"]}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options,
                      "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
            session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self.url += f"/session/{session['sessionId']}"
        except BaseException:
            self.close()
            raise

    def _port(self):
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end and self.server.poll() is None:
            with open(self.log.name, encoding="utf-8") as file:
                for line in file:
                    if "started successfully on port" in line:
                        return int(line.rstrip(". \n").rpartition(" ")[2])
            time.sleep(0.02)
        raise RuntimeError("chromedriver does not start")

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method,
                                         headers={"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def open(self, path):
        self._call("POST", "/url", {"url": "file://" + os.path.abspath(path)})

    def run(self, script, *args):
        """What a piece of script returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def keys(self, text):
        """Types into what has the focus."""
        element = self._call("GET", "/element/active")
        self._call("POST", f"/element/{next(iter(element.values()))}/value", {"text": text})

    def mouse(self, *steps):
        """steps: ("move", x, y), ("down",), ("up",) in pixels of the window."""
        kinds = {"move": "pointerMove", "down": "pointerDown", "up": "pointerUp"}
        actions = [{"type": kinds[kind], **({"x": at[0], "y": at[1], "duration": 0} if at else
                                            {"button": 0})} for kind, *at in steps]
        self._call("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse",
                                                     "parameters": {"pointerType": "mouse"},
                                                     "actions": actions}]})

    def console(self):
        """Texts of warnings and errors on the console since the last call."""
        entries = self._call("POST", "/se/log", {"type": "browser"})
        return [e["message"] for e in entries if e["level"] in ("SEVERE", "WARNING")]

    def requests(self):
        """Addresses asked for since the last call."""
        entries = self._call("POST", "/se/log", {"type": "performance"})
        events = [json.loads(e["message"])["message"] for e in entries]
        return [e["params"]["request"]["url"] for e in events
                if e["method"] == "Network.requestWillBeSent"]

    def resize(self, width, height):
        self._call("POST", "/goog/cdp/execute", {
            "cmd": "Emulation.setDeviceMetricsOverride", "params": {
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}})

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self._call("GET", "/screenshot")))

    def close(self):
        if "/session/" in getattr(self, "url", ""):
            try:
                self._call("DELETE", "")
            except (OSError, RuntimeError):
                pass
        self.server.terminate()
        self.server.wait()
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)
