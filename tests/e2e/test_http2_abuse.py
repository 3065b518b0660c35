"""What a client can do to a server with frames that are cheap to send: the server ends it, its memory stays flat, and nobody else notices."""

import time

import pytest
from cdpd import ADMIN_TOKEN, running
from http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    PING,
    PRIORITY,
    RST,
    SETTINGS,
    WINDOW,
    Raw,
    block,
    fields,
    frame,
    hpack_text,
    number,
    request,
)

MANY = 100_000
CALM = {ENHANCE_YOUR_CALM}


@pytest.fixture(scope="module")
def guarded():
    """A daemon with a client that has nothing to do with it: a connection with a stream that stays open."""
    with running() as daemon, Raw(daemon) as witness:
        witness.send(request(1, "GET", "/v1/changes", ("authorization", f"Bearer {ADMIN_TOKEN}"), ("accept", "text/event-stream")))
        witness.until(HEADERS, 1)
        witness.count = 3
        yield daemon, witness


@pytest.fixture
def attacked(guarded):
    """After each attack: the witness is served as ever, its stream is open, and nothing is kept of the attack."""
    daemon, witness = guarded
    before = daemon.memory()
    yield daemon
    witness.send(request(witness.count))
    assert b'{"ok":true}' in witness.answer(witness.count)
    witness.count += 2
    witness.sync()
    assert witness.goaway is None and not witness.ended
    assert daemon.get("/healthz", token=None).status == 200
    assert daemon.memory() - before < 12_000_000


def odd(i):
    return 2 * i + 1


def post(i, *more):
    return request(odd(i), "POST", "/v1/track", *more, end=False)


FLOODS = [
    # name, what is sent the i-th time, the error codes that may come
    ("reset at once", lambda i: request(odd(i)) + number(RST, odd(i), 8), {2, 11}),
    ("window overflow", lambda i: post(i) + number(WINDOW, odd(i), 0x7FFFFFFF), CALM),
    ("headers twice", lambda i: post(i) + frame(HEADERS, END_HEADERS, odd(i), block([("a", "b")])), CALM),
    ("bad field name", lambda i: request(odd(i), "GET", "/healthz", ("A B", "c")), CALM),
    ("no path", lambda i: frame(HEADERS, END_HEADERS | END_STREAM, odd(i), block([(":method", "GET"), (":scheme", "http"), (":authority", "a")])), CALM),
    ("lying length", lambda i: post(i, ("content-length", "1")) + frame(DATA, END_STREAM, odd(i), b"abc"), CALM),
    ("too many streams", lambda i: post(i), CALM),
    ("PING", lambda i: frame(PING, 0, 0, b"12345678"), CALM),
    ("SETTINGS", lambda i: frame(SETTINGS, 0, 0, b"\0\3\0\0\0\x64"), CALM),
    ("PRIORITY", lambda i: frame(PRIORITY, 0, odd(i), b"\0\0\0\0\x10"), CALM),
    ("WINDOW_UPDATE by 1", lambda i: number(WINDOW, 0, 1), CALM),
    ("empty DATA", lambda i: (post(0) if i == 0 else b"") + frame(DATA, 0, 1), CALM),
    ("unknown frames", lambda i: frame(0xFA, 0, 0, b"?"), CALM),
    ("unknown frames of streams", lambda i: frame(0xFB, 0xFF, odd(i), b""), CALM),
]


@pytest.mark.parametrize("name,unit,errors", FLOODS, ids=[row[0] for row in FLOODS])
def test_flood(attacked, name, unit, errors):
    with Raw(attacked) as raw:
        sent = raw.flood(unit, MANY)
        raw.drain()
        assert raw.goaway and raw.goaway[0] in errors, raw.goaway
        assert sent < MANY, "all of it was read"


@pytest.mark.parametrize("name,unit", [
    ("PING", lambda i: frame(PING, 0, 0, b"12345678")),
    ("SETTINGS", lambda i: frame(SETTINGS, 0, 0, b"\0\3\0\0\0\x64")),
    ("bad field name", lambda i: request(odd(i), "GET", "/healthz", ("A B", "c"))),
    ("requests", lambda i: request(odd(i)) + number(RST, odd(i), 8)),
], ids=["PING", "SETTINGS", "resets", "requests"])
def test_flood_by_a_client_that_never_reads(attacked, name, unit):
    with Raw(attacked, small_buffers=True) as raw:
        raw.flood(unit, MANY, reads=False)
        raw.drain()
        assert raw.ended


BROKEN = [
    # name, frames; each ends the connection
    ("window update by 0", post(0) + number(WINDOW, 0, 0)),
    ("PRIORITY of the wrong length", frame(PRIORITY, 0, 1, b"1234")),
    ("a frame that is too large", frame(DATA, 0, 1, b"x" * 20_000)),
    ("CONTINUATION without HEADERS", frame(CONTINUATION, END_HEADERS, 1)),
    ("DATA amid a header block", frame(HEADERS, 0, 1, block(fields()[:2])) + frame(DATA, 0, 1, b"x")),
    ("HPACK: an index that is not there", frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\x80\x80\x01")),
    ("HPACK: a table that is too large", frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f\xe1\xff\x03" + block(fields()))),
    ("stream 0 with HEADERS", frame(HEADERS, END_HEADERS, 0, block(fields()))),
    ("an even stream id", request(2)),
    ("too many settings", frame(SETTINGS, 0, 0, b"\0\3\0\0\0\x64" * 100)),
]


@pytest.mark.parametrize("name,frames", BROKEN, ids=[row[0] for row in BROKEN])
def test_broken_frames_end_the_connection(attacked, name, frames):
    with Raw(attacked) as raw:
        raw.send(frames)
        raw.drain()
        assert raw.ended
        assert raw.goaway is None or raw.goaway[0] != 0, raw.goaway


@pytest.mark.parametrize("name,frames", [
    ("window update by 0", post(0) + number(WINDOW, 1, 0)),
    ("PRIORITY on itself", request(1) + frame(PRIORITY, 0, 3, b"\0\0\0\3\x10")),
    ("DATA after the end", request(1, "POST", "/v1/track") + frame(DATA, END_STREAM, 1, b"x")),
], ids=["window update by 0", "PRIORITY on itself", "DATA after the end"])
def test_what_may_end_stream_or_connection(attacked, name, frames):
    with Raw(attacked) as raw:
        raw.send(frames)
        found = raw.next()
        while found and found[0] != RST:
            found = raw.next()
        assert found or (raw.goaway and raw.goaway[0]), "neither RST_STREAM nor GOAWAY"


@pytest.mark.parametrize("piece", [b"", b"\0\1a\1b", b"\0" + hpack_text("x" * 1000) + hpack_text("y" * 15_000)], ids=["empty", "small", "large"])
def test_endless_continuation(attacked, piece):
    with Raw(attacked) as raw:
        raw.send(frame(HEADERS, 0, 1, block(fields())))
        raw.flood(lambda i: frame(CONTINUATION, 0, 1, piece), 20_000)
        raw.drain()
        assert raw.ended


def test_a_head_in_parts_however_it_arrives(attacked):
    """Nine frames, a byte at a time: how the bytes are cut must not count as more frames."""
    whole = block(fields())
    size = len(whole) // 8
    parts = [whole[k * size : (k + 1) * size if k < 7 else None] for k in range(8)]
    frames = frame(HEADERS, END_STREAM, 1) + b"".join(frame(CONTINUATION, END_HEADERS if k == 7 else 0, 1, part) for k, part in enumerate(parts))
    with Raw(attacked) as raw:
        for i in range(len(frames)):
            raw.send(frames[i : i + 1])
            time.sleep(0.001)  # so that most bytes are read one at a time; when they are not, the answer is the same
        assert b'{"ok":true}' in raw.answer(1)


def test_hpack_bomb(attacked):
    """One field of 4,000 bytes, then 130,000 references to it of one byte each: not even read to the end."""
    with Raw(attacked) as raw:
        store = b"\x40" + hpack_text("x") + hpack_text("y" * 3900)
        for i in range(30):
            stream = odd(i)
            raw.send(frame(HEADERS, END_STREAM, stream, block(fields()) + (store if i == 0 else b"")))
            for k in range(8):
                raw.send(frame(CONTINUATION, END_HEADERS if k == 7 else 0, stream, b"\xbe" * 16_384))
            assert raw.until(RST, stream)[3] == b"\0\0\0\2"
        raw.send(request(odd(30)))
        assert b'{"ok":true}' in raw.answer(odd(30)), "the connection lives on"


@pytest.mark.parametrize("size", [70, 5000], ids=["many fields", "large fields"])
def test_header_lists_past_the_cap(attacked, size):
    with Raw(attacked) as raw:
        many = [("x", "y" * (size // 10))] * (70 if size < 100 else 40)
        whole = block(fields() + many)
        raw.send(frame(HEADERS, END_STREAM, 1, whole[:16_000]) + frame(CONTINUATION, END_HEADERS, 1, whole[16_000:32_000]))
        assert b"headers_too_large" in raw.answer(1)
        raw.send(request(3))
        assert b'{"ok":true}' in raw.answer(3)


def test_bodies_that_are_not_ended_hold_little(attacked):
    """A hundred streams of one connection that each send some of a body and stop."""
    with Raw(attacked) as raw:
        raw.sync()
        for i in range(100):
            raw.send(post(i) + frame(DATA, 0, odd(i), b"x" * 16_000))
        raw.sync()
        assert attacked.get("/healthz", token=None).status == 200


def test_answers_that_are_not_taken_hold_little(attacked):
    """No window at all: a hundred answers wait."""
    with Raw(attacked, first=frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0")) as raw:
        raw.sync()
        raw.send(b"".join(request(odd(i), "GET", "/openapi.yaml") for i in range(100)))
        raw.sync()
        assert attacked.get("/healthz", token=None).status == 200


def test_counters_tell(guarded):
    daemon, _ = guarded
    for unit in (lambda i: frame(PING, 0, 0, b"12345678"), lambda i: request(odd(i), "GET", "/healthz", ("A B", "c")), lambda i: frame(DATA, 0, 1, b"x" * 20_000)):
        with Raw(daemon) as raw:
            raw.flood(unit, 5000)
            raw.drain()
    metrics = daemon.get("/metrics").body.decode()
    for reason in ("control_frames", "resets", "protocol_error"):
        line = next(line for line in metrics.splitlines() if line.startswith(f'cdpd_http2_ended_total{{reason="{reason}"}}'))
        assert int(line.split()[1]) > 0, line
    assert 'cdpd_http2_resets_total{by="client"}' in metrics
