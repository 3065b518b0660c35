"""gRPC frame by frame: what well-behaved clients never send. Each case says its grpc-status, and that the connection's other streams live on."""

import gzip

import pytest
from http2 import DATA, END_STREAM, HEADERS, RST, WINDOW, Raw, frame, number, request

pytest.importorskip("grpc", reason="python3-grpcio is not installed: tests/run.sh does it")
hpack = pytest.importorskip("hpack", reason="python3-hpack is not installed: tests/run.sh does it")
from grpc_server import SERVICE, serving  # noqa: E402

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        running.address = lambda: ("127.0.0.1", running.ports[0])
        yield running


class Client(Raw):
    """Reads gRPC answers: {stream: (fields, bytes)}."""

    def __init__(self, server):
        super().__init__(server)
        self.decoder = hpack.Decoder()
        self.fields, self.bodies, self.over, self.last = {}, {}, set(), -1

    def call(self, method, *more, end=False, path=SERVICE):
        self.last += 2
        self.send(request(self.last, "POST", path + method, ("te", "trailers"), ("content-type", "application/grpc"), *more, end=end))
        return self.last

    def put(self, stream, data, end=False, step=16384):
        """DATA frames, with regard to nothing but the frame size; at least one."""
        for at in range(0, max(len(data), 1), step):
            piece = data[at : at + step]
            self.send(frame(DATA, END_STREAM if end and at + step >= len(data) else 0, stream, piece))

    def read(self):
        found = self.next()
        assert found, f"the connection ended, GOAWAY {self.goaway}"
        kind, flags, stream, payload = found
        if kind == HEADERS:
            self.fields.setdefault(stream, {}).update(self.decoder.decode(payload))
        elif kind == DATA:
            self.bodies[stream] = self.bodies.get(stream, b"") + payload
            if payload:
                self.send(number(WINDOW, 0, len(payload)) + (b"" if flags & END_STREAM else number(WINDOW, stream, len(payload))))
        if (kind in (HEADERS, DATA) and flags & END_STREAM) or kind == RST:
            self.over.add(stream)

    def status(self, stream):
        while stream not in self.over:
            self.read()
        return int(self.fields[stream]["grpc-status"])

    def ok(self):
        """Another call on the same connection goes well."""
        stream = self.call("EmptyCall")
        self.put(stream, message(b""), end=True)
        assert self.status(stream) == 0


@pytest.fixture
def client(server):
    with Client(server) as client:
        yield client


def message(data, compressed=False):
    return bytes([compressed]) + len(data).to_bytes(4, "big") + data


def sized(size):
    """A SimpleRequest with a payload of so many bytes."""
    inner = b"\x12" + varint(size) + bytes(size)
    return b"\x1a" + varint(len(inner)) + inner


def upload(size):
    """A StreamingInputCallRequest."""
    inner = b"\x12" + varint(size) + bytes(size)
    return b"\x0a" + varint(len(inner)) + inner


def squeeze(data):
    return gzip.compress(data, mtime=0)  # the same bytes each time


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7])
def test_any_split(client, step):
    stream = client.call("StreamingInputCall")
    client.put(stream, message(upload(30)) + message(b"") + message(upload(3)), end=True, step=step)
    assert client.status(stream) == 0
    assert client.bodies[stream] == message(b"\x08\x21")


def test_end_on_an_empty_frame(client):
    stream = client.call("EmptyCall")
    client.put(stream, message(b""))
    client.send(frame(DATA, END_STREAM, stream))
    assert client.status(stream) == 0


def test_end_on_the_head(client):
    assert client.status(client.call("EmptyCall", end=True)) == 12
    stream = client.call("StreamingInputCall", end=True)
    assert client.status(stream) == 0
    assert client.bodies[stream] == message(b"")


BROKEN = [
    ("EmptyCall", message(b"") * 2, 12),
    ("EmptyCall", message(b"") + b"\0\0", 13),
    ("EmptyCall", b"\0\0\0", 13),
    ("EmptyCall", message(b"abc")[:-1], 13),
    ("StreamingInputCall", message(upload(10)) + b"\0", 13),
    ("EmptyCall", b"\2\0\0\0\0", 13),
    ("EmptyCall", b"\xff\0\0\0\0", 13),
    ("EmptyCall", message(b"abc", compressed=True), 13),
    ("EmptyCall", b"\0\xff\xff\xff\xff", 8),
    ("EmptyCall", b"\0" + (MIB + 1).to_bytes(4, "big"), 8),
    ("UnaryCall", message(b"\x1a\xff\xff\xff\xff\x0f"), 3),
]


@pytest.mark.parametrize(("method", "data", "status"), BROKEN)
def test_broken_messages(client, method, data, status):
    stream = client.call(method)
    client.put(stream, data, end=True)
    assert client.status(stream) == status
    assert client.fields[stream]["grpc-message"]
    client.ok()


@pytest.mark.parametrize("status_and_head", [(12, ("grpc-encoding", "snappy")), (13, ("grpc-timeout", "1")), (13, ("grpc-timeout", "-1S")), (13, ("grpc-timeout", "123456789S"))])
def test_broken_heads(client, status_and_head):
    status, head = status_and_head
    stream = client.call("EmptyCall", head)
    assert client.status(stream) == status  # the client has not sent its message yet
    client.put(stream, message(b""), end=True)
    client.ok()


def test_refused_amid_the_message(client):
    """The answer comes before the client has sent all; what it still sends is thrown away."""
    stream = client.call("StreamingInputCall")
    client.put(stream, message(upload(10)) + b"\0\x7f\xff\xff\xff")
    assert client.status(stream) == 8
    client.put(stream, bytes(30000))
    client.ok()


def test_bombs(client, server):
    bombs = squeeze(bytes(64 * MIB)), squeeze(bytes(2 * MIB))
    client.ok()
    before = server.memory()
    for data in bombs:
        stream = client.call("StreamingInputCall", ("grpc-encoding", "gzip"))
        client.put(stream, message(data, compressed=True))
        assert client.status(stream) == 8
    assert server.memory() < before + 16 * MIB
    client.ok()


@pytest.mark.parametrize("data", [b"", b"not gzip", squeeze(b"abc")[:-1], squeeze(b"abc") + b"x", squeeze(b"\xff")])
def test_broken_gzip(client, data):
    stream = client.call("StreamingInputCall", ("grpc-encoding", "gzip"))
    client.put(stream, message(data, compressed=True))
    assert client.status(stream) == (3 if data == squeeze(b"\xff") else 13)
    client.ok()


def test_lengths_without_bytes(server):
    """Thousands of calls announce large messages and send nothing more: no memory is kept for what has not come."""
    clients = [Client(server) for _ in range(30)]
    clients[0].ok()
    before = server.memory()
    for client in clients:
        for _ in range(100):
            stream = client.call("UnaryCall")
            client.put(stream, b"\0" + (8 * MIB - 1).to_bytes(4, "big") + b"x")
        client.sync()
    with Client(server) as other:
        other.ok()
    assert server.memory() < before + 30 * 100 * 50_000
    for client in clients:
        client.socket.close()


def test_reset_and_forgotten(client, server):
    """Calls that their client resets, at every moment of theirs."""
    labels = {"method": "grpc.testing.TestService/FullDuplexCall", "status": "CANCELLED"}
    before = server.metric("cdpd_grpc_calls_total", **labels)
    for data in (b"", b"\0", message(b"")[:4], message(upload(100))[:50], message(b"\x12\x02\x08\x0a")):
        stream = client.call("FullDuplexCall")
        if data:
            client.put(stream, data)
        client.send(number(RST, stream, 8))
    client.ok()
    assert server.metric("cdpd_grpc_calls_total", **labels) == before + 5


def test_others_go_on_while_one_is_not_read(server):
    """A call whose window is shut holds up nobody on the same connection."""
    with Client(server) as client:
        client.send(frame(4, 0, 0, (4).to_bytes(2, "big") + (10).to_bytes(4, "big")))  # INITIAL_WINDOW_SIZE 10
        shut = client.call("StreamingOutputCall")
        client.put(shut, message(b"\x12\x04\x08\x80\x89\x7a" * 20), end=True)  # twenty times two million bytes
        for _ in range(20):
            stream = client.call("EmptyCall")
            client.put(stream, message(b""), end=True)
            assert client.status(stream) == 0
        assert shut not in client.over
