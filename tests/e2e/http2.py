"""HTTP/2 two ways: single frames on a socket, to break any rule, and curl, so that tests written for HTTP/1.1 run over HTTP/2."""

import json
import select
import socket
import subprocess

from cdpd import ADMIN_TOKEN, Answer, Daemon

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
ENHANCE_YOUR_CALM = 11


def frame(kind, flags=0, stream=0, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def number(kind, stream, value):
    """WINDOW_UPDATE, RST_STREAM."""
    return frame(kind, 0, stream, value.to_bytes(4, "big"))


def hpack_text(text):
    text = text.encode() if isinstance(text, str) else text
    if len(text) < 127:
        return bytes([len(text)]) + text
    rest, out = len(text) - 127, bytes([127])
    while rest >= 128:
        out += bytes([rest % 128 + 128])
        rest >>= 7
    return out + bytes([rest]) + text


def block(fields):
    """Plain literals, never indexed."""
    return b"".join(b"\0" + hpack_text(name) + hpack_text(value) for name, value in fields)


def fields(method="GET", path="/healthz", *more):
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a"), *more]


def request(stream, method="GET", path="/healthz", *more, end=True):
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block(fields(method, path, *more)))


class Raw:
    """One connection. `goaway`: the last one's (error, last stream); `ended`: the server closed."""

    def __init__(self, daemon, first=frame(SETTINGS), small_buffers=False):
        self.socket = socket.socket()
        if small_buffers:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(60)
        self.socket.connect(daemon.address())
        self.data, self.goaway, self.ended, self.acknowledges = b"", None, False, True
        self.send(PREFACE + first)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.ended = True

    def take(self):
        """The next whole frame that has been read, or None."""
        if len(self.data) < 9:
            return None
        size = int.from_bytes(self.data[:3], "big")
        if len(self.data) < 9 + size:
            return None
        kind, flags, stream = self.data[3], self.data[4], int.from_bytes(self.data[5:9], "big")
        payload, self.data = self.data[9:9 + size], self.data[9 + size:]
        if kind == SETTINGS and not flags & ACK and self.acknowledges:
            self.send(frame(SETTINGS, ACK))
        if kind == GOAWAY:
            self.goaway = (int.from_bytes(payload[4:8], "big"), int.from_bytes(payload[:4], "big"))
        return kind, flags, stream, payload

    def more(self):
        try:
            piece = self.socket.recv(1 << 16)
        except ConnectionResetError:
            piece = b""
        self.ended = self.ended or not piece
        self.data += piece

    def next(self):
        """Waits for the next frame; None when the connection has ended."""
        while not (found := self.take()):
            if self.ended:
                return None
            self.more()
        return found

    def until(self, kind, stream=None, flags=0):
        """The frame of that kind (and stream, and with these flags); what comes before it is passed over."""
        while found := self.next():
            if found[0] == kind and (stream is None or found[2] == stream) and found[1] & flags == flags:
                return found
        raise AssertionError(f"the connection ended, GOAWAY {self.goaway}")

    def answer(self, stream):
        """Payloads of the answer's frames, joined: status texts that are not in HPACK's table are plain in there."""
        out = b""
        while found := self.next():
            if found[2] != stream or found[0] == WINDOW:
                continue
            assert found[0] != RST, found
            out += found[3]
            if found[1] & END_STREAM:
                return out
        raise AssertionError(f"the connection ended, GOAWAY {self.goaway}")

    def sync(self):
        self.send(frame(PING, 0, 0, b"in sync?"))
        self.until(PING, flags=ACK)

    def drain(self):
        while self.next():
            pass

    def flood(self, unit, count, reads=True):
        """Sends unit(i) for i < count, reading meanwhile, until the server has had enough. The number of units sent."""
        pending, i = b"", 0
        self.acknowledges = False  # it would come amid another frame
        self.socket.setblocking(False)
        while not self.ended and (pending or i < count):
            while len(pending) < 1 << 16 and i < count:
                pending += unit(i)
                i += 1
            readable, writable, _ = select.select([self.socket] if reads else [], [self.socket], [], 60)
            assert readable or writable, "the server neither reads nor closes"
            try:
                if writable:
                    pending = pending[self.socket.send(pending):]
            except (BrokenPipeError, ConnectionResetError):
                self.ended = True
            if readable:
                try:
                    self.more()
                except BlockingIOError:
                    continue
                while self.take():
                    if self.goaway and self.goaway[0]:
                        pending, count = b"", i
        self.socket.setblocking(True)
        self.socket.settimeout(60)
        return i


class CurlAnswer:
    def __init__(self, head, body):
        lines = head.decode().split("\r\n")
        assert lines[0].startswith("HTTP/2 "), lines[0]
        self.status, self.fields, self.body = int(lines[0].split()[1]), lines[1:], body

    def getheaders(self):
        return [tuple(line.split(": ", 1)) for line in self.fields if line]

    def read(self):
        return self.body


def curl(*arguments, body=None, timeout=60):
    run = subprocess.run(["curl", "-sS", *arguments], input=body, capture_output=True, timeout=timeout)
    assert run.returncode == 0, run.stderr
    return run.stdout


class Http2Daemon(Daemon):
    """Speaks HTTP/2 by prior knowledge wherever the tests use request, get, post."""

    def request(self, method, path, body=None, headers=None, timeout=30):
        arguments = ["-i", "--http2-prior-knowledge", "--path-as-is", "-g", "-X", method]
        if method == "HEAD":
            arguments.append("-I")
        for name, value in {"Content-Type": "", "Accept": "", **(headers or {})}.items():
            arguments += ["-H", f"{name}: {value}" if value else f"{name};" if headers and name in headers else f"{name}:"]
        if body is not None:
            body = body.encode() if isinstance(body, str) else body
            arguments += ["--data-binary", "@-"]
        out = curl(*arguments, self.url + path, body=body, timeout=timeout)
        return Answer(CurlAnswer(*out.split(b"\r\n\r\n", 1)))


class Http2Stream:
    """test_changes.Stream over HTTP/2."""

    def __init__(self, daemon, query="", last_id=None, token=ADMIN_TOKEN, path="/v1/changes"):
        arguments = ["-H", f"Authorization: Bearer {token}", "-H", "Accept: text/event-stream"]
        if last_id:
            arguments += ["-H", f"Last-Event-ID: {last_id}"]
        self.process = subprocess.Popen(["curl", "-sSN", "-i", "--http2-prior-knowledge", *arguments, daemon.url + path + query], stdout=subprocess.PIPE)
        assert self.process.stdout.readline().startswith(b"HTTP/2 ")
        while self.process.stdout.readline().strip():
            pass

    def next(self):
        found = {}
        while True:
            line = self.process.stdout.readline().decode()
            assert line, "the stream ended"
            name, _, value = line.rstrip("\r\n").partition(":")
            if not name and "data" in found:
                return found.get("id"), found.get("event"), json.loads(found["data"])
            if name:
                found[name] = value.removeprefix(" ")
            elif not line.startswith(":"):
                found = {}

    def until(self, wanted):
        found = []
        while True:
            event = self.next()
            found.append(event)
            if wanted(event[1], event[2]):
                return found

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
