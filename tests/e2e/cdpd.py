"""The real daemon for end-to-end tests: started on a free port of 127.0.0.1 with its own temporary data directory,
spoken to over HTTP, stopped by pid."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CDPD_BUILD", ROOT / "build" / "release"))
WRITE_KEY, SERVER_KEY, READ_TOKEN, ADMIN_TOKEN = "test-key", "test-server-key", "test-read-token", "test-admin-token"

CONFIG = """\
store: {{path: {data}}}
listen: {{http: "127.0.0.1:0"}}
tokens_file: {folder}/tokens.yaml
io_threads: 2
plugins: {{path: {build}/plugins}}
journal: {{disk_free_min: 1MiB, ballast: 1MiB}}
sources:
  - {{id: web, kind: browser, write_keys: [{write_key}], may: [alias]}}
  - {{id: backend, kind: server, write_keys: [{server_key}]}}
features:
  - {{name: events, type: count}}
  - {{name: orders, type: count, event: Order Completed}}
  - {{name: revenue, type: sum, event: Order Completed, field: properties.total}}
  - {{name: first_page, type: first, event: page, field: properties.path}}
  - {{name: last_page, type: last, event: page, field: properties.path}}
enrichers:
  - {{plugin: campaign}}
"""

TOKENS = f"""\
tokens:
  - {{name: reader, token: {READ_TOKEN}, scopes: ["profiles:read", "changes:read"]}}
  - {{name: admin, token: {ADMIN_TOKEN}, scopes: ["profiles:read", "changes:read", "traits:write", merge, export, erase, links, admin]}}
"""


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Daemon:
    def __init__(self, folder, config=None, extra="", wrapper=(), build=BUILD, env=None):
        self.folder = pathlib.Path(folder)
        self.data = self.folder / "data"
        self.build = build
        self.wrapper = list(wrapper)
        self.env = {"ASAN_OPTIONS": "quarantine_size_mb=16", **os.environ, **(env or {})}  # memory is measured
        self.config_file = self.folder / "cdpd.yaml"
        tokens = self.folder / "tokens.yaml"
        tokens.write_text(TOKENS)
        tokens.chmod(0o600)
        self.write_config((config or CONFIG) + extra)
        self.process = None
        self.log = self.folder / "cdpd.log"
        self.url = None

    def write_config(self, text):
        self.config_file.write_text(text.format(data=self.data, folder=self.folder, build=self.build, write_key=WRITE_KEY, server_key=SERVER_KEY))

    def command(self, *arguments):
        return [*self.wrapper, str(self.build / "cdpd"), "-c", str(self.config_file), *arguments]

    def spawn(self, *arguments):
        self.process = subprocess.Popen(self.command(*arguments), stdout=subprocess.PIPE, stderr=self.log.open("ab"), env=self.env, cwd=self.folder)
        return self.process

    def start(self, *arguments, timeout=30, ready=True):
        self.spawn(*arguments)
        line = self.process.stdout.readline().decode()
        match = re.search(r"http://\S+", line)
        assert match, f"cdpd did not start: {line!r}\n{self.log_text()}"
        self.url = match.group(0)
        if ready:
            self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=30):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/readyz", token=None).status == 200:
                    return
            time.sleep(0.02)
        raise AssertionError("cdpd is not ready\n" + self.log_text())

    def pid(self):
        """Of cdpd itself, also below a wrapper such as strace."""
        if not self.wrapper:
            return self.process.pid
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def as_quickstart(self):
        """Its folder looks to conf/quickstart.yaml as the tree's root does: a copy of conf/, and what the build made."""
        shutil.copytree(ROOT / "conf", self.folder / "conf")
        (self.folder / "conf" / "quickstart-tokens.yaml").chmod(0o600)
        (self.folder / "build").symlink_to(self.build)
        self.config_file = self.folder / "conf" / "quickstart.yaml"
        return self

    def kill(self):
        with contextlib.suppress(ProcessLookupError, IndexError, FileNotFoundError):
            os.kill(self.pid(), signal.SIGKILL)
        self.process.wait(30)
        self.process.stdout.close()

    def stop(self, timeout=60):
        if self.process.poll() is None:
            os.kill(self.pid(), signal.SIGTERM)
        code = self.process.wait(timeout)
        self.process.stdout.close()
        return code

    def reload(self):
        os.kill(self.pid(), signal.SIGHUP)

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def address(self):
        parts = urllib.parse.urlsplit(self.url)
        return parts.hostname, parts.port

    def socket(self, timeout=10):
        return socket.create_connection(self.address(), timeout=timeout)

    def connect(self, timeout=30):
        return http.client.HTTPConnection(*self.address(), timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=30):
        connection = self.connect(timeout)
        try:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, token=ADMIN_TOKEN, **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return self.request("GET", path, headers=headers)

    def post(self, path, body, key=WRITE_KEY, **headers):
        if key:
            headers["Authorization"] = basic(key)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, data, headers)

    def track(self, user, event, message_id=None, key=WRITE_KEY, **fields):
        message = {"type": "track", "userId": user, "event": event, "messageId": message_id or str(uuid.uuid4()), **fields}
        answer = self.post("/v1/track", message, key=key)
        assert answer.status == 200, answer
        return answer.headers["x-cdpd-position"]

    def profile(self, ref, position=None):
        query = f"?min_position={position}" if position else ""
        return self.get(f"/v1/profiles/{urllib.parse.quote(ref, safe=':')}{query}")

    def events(self, ref, **query):
        """Every event of a person, newest first, all pages."""
        found, cursor = [], None
        while True:
            parameters = {"limit": 100, **query, **({"cursor": cursor} if cursor else {})}
            answer = self.get(f"/v1/profiles/{urllib.parse.quote(ref, safe=':')}/events?{urllib.parse.urlencode(parameters)}")
            assert answer.status == 200, answer
            found += answer.json["events"]
            cursor = answer.json.get("next")
            if not cursor:
                return found

    def status(self):
        return self.get("/v1/admin/status").json

    def settled(self, timeout=60):
        """Waits until everything received is accounted for, and returns the status."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            status = self.status()
            if status["events"]["pending"] == 0:
                return status
            time.sleep(0.02)
        raise AssertionError(f"still pending: {self.status()['events']}\n{self.log_text()}")

    def ctl(self, *arguments, check=True):
        run = subprocess.run([str(self.build / "cdpctl"), "--url", self.url, "--token", ADMIN_TOKEN, *arguments], capture_output=True, text=True, timeout=60)
        assert not check or run.returncode == 0, run.stderr
        return run

    def memory(self):
        """Anonymous resident memory in bytes."""
        text = pathlib.Path(f"/proc/{self.pid()}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", text).group(1)) * 1024


def basic(key):
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


@contextlib.contextmanager
def running(config=None, extra="", **options):
    with tempfile.TemporaryDirectory(prefix="cdpd-test-") as folder:
        daemon = Daemon(folder, config, extra, **options)
        try:
            yield daemon.start()
        finally:
            if daemon.process and daemon.process.poll() is None:
                daemon.kill()
