"""The table of malformed HTTP requests against the real binary: refused with the right status, the connection closed,
and what was smuggled behind is never executed."""

import socket

import pytest
from smuggling_cases import CASES


def exchange(daemon, raw):
    """What came back, and whether the server closed within a second of silence."""
    with daemon.socket(timeout=3) as sock:
        sock.sendall(raw)
        data = b""
        while True:
            try:
                piece = sock.recv(65536)
            except (socket.timeout, TimeoutError):
                return data, False
            except ConnectionResetError:
                return data, True
            if not piece:
                return data, True
            data += piece


@pytest.mark.parametrize("name,raw,status,must_close", CASES, ids=[case[0] for case in CASES])
def test_case(shared, name, raw, status, must_close):
    data, closed = exchange(shared, raw if status else raw.replace(b"keep-alive", b"close"))
    line = data.split(b"\r\n", 1)[0]
    if status:
        assert line.startswith(b"HTTP/1.1 %d " % status), (line, data[:300])
        assert data.count(b"HTTP/1.1 ") == 1, "something behind the refused request was answered"
    else:
        assert line.startswith(b"HTTP/1.1 "), data[:300]
        assert not line.startswith((b"HTTP/1.1 400", b"HTTP/1.1 5")), line
    if must_close:
        assert closed


def test_the_daemon_is_well_afterwards(shared):
    assert shared.get("/healthz", token=None).status == 200
