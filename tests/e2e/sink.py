"""An HTTP endpoint on loopback that a test scripts: what it received, and how it answers, down to the connection."""

import gzip
import http.server
import json
import socket
import ssl
import struct
import threading


class Request:
    def __init__(self, handler, body):
        self.method, self.path = handler.command, handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.raw = body
        self.body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
        self.peer = handler.connection.getpeercert() if isinstance(handler.connection, ssl.SSLSocket) else None
        self.status = None  # what it was answered; None: nothing

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def records(self):
        """Of any format: the records in their order."""
        if "ndjson" in self.headers["content-type"]:
            return [json.loads(line) for line in self.body.splitlines()]
        value = self.json
        if isinstance(value, dict) and "records" in value:
            return [item["record"] for item in value["records"]]
        return value if isinstance(value, list) else [value]

    def common_name(self):
        return dict(pair[0] for pair in self.peer["subject"])["commonName"]


class Reset:
    """The connection is reset: after so many bytes of a good answer."""

    def __init__(self, after=0):
        self.after = after


class Hang:
    """No answer until the sink is released."""


class SlowRead:
    """Reads some of the body and then nothing until the sink is released."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        sink = self.server.sink
        length = int(self.headers.get("Content-Length", 0))
        if sink.before_body(self):
            self.rfile.read(min(length, 10))
            sink.released.wait()
            self.close_connection = True
            return
        request = Request(self, self.rfile.read(length))
        answer = sink.take(request)
        if isinstance(answer, Hang):
            sink.released.wait()
            self.close_connection = True
        elif isinstance(answer, Reset):
            self.reset(answer.after)
        else:
            request.status = answer[0]
            self.answer(*answer)

    do_POST = do_PUT = do_PATCH = do_GET = serve

    def answer(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reset(self, after):
        self.wfile.flush()
        self.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[:after])
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):
            pass  # reset by us, or by the other side

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments):
        self.open = set()
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        self.open.add(request)
        super().process_request(request, client_address)

    def hang_up(self):
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request, client_address):
        pass

    def shutdown_request(self, request):
        self.open.discard(request)
        try:
            super().shutdown_request(request)
        except OSError:
            pass


class Sink:
    """answer(request) gives (status[, body[, headers]]), or one of the classes above. `script`: what comes first, one for each request."""

    def __init__(self, answer=None, tls=None, port=0):
        self.lock, self.released = threading.Lock(), threading.Event()
        self.requests, self.script, self.slow = [], [], 0
        self.answer = answer or (lambda request: (204,))
        self.tls, self.port, self.server = tls, port, None
        self.start()

    def start(self):
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.sink = self
        if self.tls:  # the handshake on the connection's own thread
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()
        return self

    def stop(self):
        if self.server:
            self.released.set()
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()
            self.server.hang_up()
            self.server = None
        self.released.clear()

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/in"

    def before_body(self, handler):
        with self.lock:
            if not self.slow:
                return False
            self.slow -= 1
            return True

    def take(self, request):
        with self.lock:
            self.requests.append(request)
            answer = self.script.pop(0) if self.script else self.answer
        return answer(request) if callable(answer) else answer

    def taken(self):
        """The requests that were answered well, in their order."""
        with self.lock:
            return [request for request in self.requests if request.status and 200 <= request.status < 300]

    def records(self):
        return [record for request in self.taken() for record in request.records]

    def ids(self):
        return [record["messageId"] for record in self.records() if "messageId" in record]
