"""What the fakes of CRMs have in common: an HTTP server of a state, and a script of what goes wrong. Answers are those of the public documentation."""

import collections
import http.server
import json
import socket
import struct
import threading
import time
import urllib.parse


class Answer(Exception):
    """Raised by a fake's methods: the answer, from wherever one is."""

    def __init__(self, status, body=None, **headers):
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self, answer):
        body = b"" if answer.body is None else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name.replace("_", "-"), value)
        if answer.body is not None:
            self.send_header("Content-Type", "application/json")
        if answer.status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reset(self):
        """As a server that dies: no answer, a RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def serve(self):
        fake = self.server.fake
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urllib.parse.urlsplit(self.path)
        with fake.lock:
            request = Request(self.command, parts.path, urllib.parse.parse_qs(parts.query), json.loads(body) if body else None, self.headers)
            fake.requests.append(request)
            trouble = fake.next_trouble(request)
            if trouble == "reset":
                return self.reset()
            if isinstance(trouble, Answer):
                return self.answer(trouble)
            try:
                answer = fake.handle(request)
            except Answer as raised:
                answer = raised
        if trouble == "lose":
            return self.reset()
        while trouble == "hang" and not fake.is_closing:
            time.sleep(0.05)
        self.answer(answer)

    do_GET = do_POST = do_PATCH = do_DELETE = serve

    def log_message(self, *arguments):
        pass


Request = collections.namedtuple("Request", "method path query body headers")


class Crm:
    """Subclasses say what a request does: handle(request) -> Answer."""

    def __init__(self):
        self.lock = threading.RLock()
        self.requests, self.troubles, self.is_closing = [], [], False
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.fake = self
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        self.is_closing = True
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def trouble(self, what, on="", times=1):
        """The next requests whose path (or a command of whose batch) holds `on` meet it: an Answer; "reset": before anything is done; "lose": after it
        was done; "hang"."""
        with self.lock:
            self.troubles += [(on, what)] * times

    def next_trouble(self, request):
        for i, (on, what) in enumerate(self.troubles):
            if on in request.path or on in json.dumps(request.body or ""):
                del self.troubles[i]
                return what
        return None

    def made(self, method, path):
        return [request for request in self.requests if request.method == method and path in request.path]


class Clock:
    """Counts requests as a rate limit does: at most `most` in any `seconds`."""

    def __init__(self, most, seconds):
        self.most, self.seconds, self.times, self.refused = most, seconds, collections.deque(), 0

    def lets(self):
        now = time.monotonic()
        while self.times and self.times[0] <= now - self.seconds:
            self.times.popleft()
        if len(self.times) >= self.most:
            self.refused += 1
            return False
        self.times.append(now)
        return True
