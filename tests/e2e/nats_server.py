"""A NATS server of a test's own with JetStream, on a free port of 127.0.0.1, killed by its pid; and as much of a client as it takes to read a stream."""

import base64
import contextlib
import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import time


class Nats:
    def __init__(self, *arguments, tls=None, user=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cdpd-nats-"))
        self.arguments = list(arguments)
        self.tls, self.user = tls, user
        self.log = self.folder / "server.log"
        self.port = None
        self.process = None
        self.start()

    def spawn(self):
        command = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port or -1), "-js", "-sd", self.folder / "js", "--ports_file_dir", self.folder, *self.arguments]
        self.process = subprocess.Popen(command, stdout=self.log.open("ab"), stderr=subprocess.STDOUT, cwd=self.folder)

    def start(self, timeout=120):
        if self.process and self.process.poll() is None:
            return self
        self.spawn()
        ports = self.folder / f"nats-server_{self.process.pid}.ports"
        deadline = time.monotonic() + timeout
        while True:
            assert time.monotonic() < deadline and self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(OSError, ValueError, KeyError, AssertionError):
                self.port = int(json.loads(ports.read_text())["nats"][0].rsplit(":", 1)[1])
                if "error" not in self.ask("$JS.API.INFO"):
                    return self
            time.sleep(0.05)

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, subject, request=None):
        with Client(self) as client:
            return client.ask(subject, request)

    def make_stream(self, name, subjects, **options):
        answer = self.ask(f"$JS.API.STREAM.CREATE.{name}", {"name": name, "subjects": subjects, "storage": "file", "retention": "limits", "discard": "old", "num_replicas": 1, "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msg_size": -1, "duplicate_window": 120 * 10**9, **options})
        assert "error" not in answer, answer

    def count(self, stream):
        answer = self.ask(f"$JS.API.STREAM.INFO.{stream}")
        return answer["state"]["messages"] if "state" in answer else 0

    def messages(self, stream):
        """(subject, headers, object) of each, in order."""
        found = []
        with Client(self) as client:
            state = client.ask(f"$JS.API.STREAM.INFO.{stream}")["state"]
            for seq in range(state["first_seq"], state["last_seq"] + 1):
                answer = client.ask(f"$JS.API.STREAM.MSG.GET.{stream}", {"seq": seq})
                if "message" in answer:
                    message = answer["message"]
                    lines = base64.b64decode(message.get("hdrs", "")).decode().split("\r\n")[1:]
                    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
                    found.append((message["subject"], headers, json.loads(base64.b64decode(message["data"]))))
        return found


class Client:
    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        self.file = self.socket.makefile("rb")
        assert self.file.readline().startswith(b"INFO")
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "tls_required": bool(server.tls)}
        if server.tls:
            self.socket = ssl.create_default_context(cafile=server.tls).wrap_socket(self.socket, server_hostname="localhost")
            self.file = self.socket.makefile("rb")
        if server.user:
            options["user"], options["pass"] = server.user
        self.socket.sendall(b"CONNECT " + json.dumps(options).encode() + b"\r\nSUB answers.* 1\r\n")
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def ask(self, subject, request=None):
        self.number += 1
        body = json.dumps(request).encode() if request is not None else b""
        self.socket.sendall(f"PUB {subject} answers.{self.number} {len(body)}\r\n".encode() + body + b"\r\n")
        while True:
            line = self.file.readline()
            assert line, "the server has hung up"
            if line.startswith(b"PING"):
                self.socket.sendall(b"PONG\r\n")
            assert not line.startswith(b"-ERR"), line
            if line.startswith((b"MSG", b"HMSG")):
                parts = line.split()
                data = self.file.read(int(parts[-1]) + 2)[:-2]
                assert parts[0] == b"MSG", data  # HMSG: nobody answers
                if parts[1] == f"answers.{self.number}".encode():
                    return json.loads(data)
