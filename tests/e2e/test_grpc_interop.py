"""gRPC's published interoperability cases (grpc/doc/interop-test-descriptions.md) with Debian's python3-grpcio, whose core is written in C++, over
clear text and TLS; and what the cases do not ask: bombs, floods, back-pressure, draining."""

import queue
import threading
import time

import pytest

grpc = pytest.importorskip("grpc", reason="python3-grpcio is not installed: tests/run.sh does it")
from grpc_server import Stub, load_messages, serving  # noqa: E402

PLAIN = {"compression_enabled_algorithms_bitset": 1}  # zeros that are compressed hold nothing up
SIZES_IN, SIZES_OUT = [27182, 8, 1828, 45904], [31415, 9, 2653, 58979]


@pytest.fixture(scope="module")
def types():
    return load_messages("grpc/testing/empty.proto", "grpc/testing/messages.proto")


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


@pytest.fixture(params=["h2c", "tls"])
def stub(request, server, types):
    with server.channel(request.param, max_receive_message_length=-1) as channel:
        yield Stub(channel, types)


def payload(types, size):
    return types["Payload"](body=b"\0" * size)


def order(types, *sizes, interval=0, size_in=0, status=None):
    request = types["StreamingOutputCallRequest"](payload=payload(types, size_in), response_status=status)
    for size in sizes:
        request.response_parameters.add(size=size, interval_us=interval)
    return request


def expect_status(code, call, *arguments, **options):
    with pytest.raises(grpc.RpcError) as raised:
        answer = call(*arguments, **options)
        for _ in answer if hasattr(answer, "__iter__") else ():
            pass
    assert raised.value.code() == code, raised.value
    return raised.value


class Feed:
    """Requests that a test hands over one by one."""

    def __init__(self):
        self.queue = queue.Queue()

    def __iter__(self):
        return iter(self.queue.get, None)

    def put(self, item):
        self.queue.put(item)

    def end(self):
        self.queue.put(None)


# ── the published cases ──


def test_empty_unary(stub, types):
    assert stub.empty(types["Empty"]()) == types["Empty"]()


def test_large_unary(stub, types):
    answer = stub.unary(types["SimpleRequest"](response_size=314159, payload=payload(types, 271828)))
    assert answer.payload.body == b"\0" * 314159


def test_client_streaming(stub, types):
    requests = [types["StreamingInputCallRequest"](payload=payload(types, size)) for size in SIZES_IN]
    assert stub.input(iter(requests)).aggregated_payload_size == 74922


def test_server_streaming(stub, types):
    assert [len(answer.payload.body) for answer in stub.output(order(types, *SIZES_OUT))] == SIZES_OUT


def test_ping_pong(stub, types):
    feed = Feed()
    answers = stub.duplex(iter(feed))
    for size_in, size_out in zip(SIZES_IN, SIZES_OUT):
        feed.put(order(types, size_out, size_in=size_in))
        assert len(next(answers).payload.body) == size_out
    feed.end()
    assert list(answers) == []
    assert answers.code() == grpc.StatusCode.OK


def test_empty_stream(stub):
    answers = stub.duplex(iter(()))
    assert list(answers) == []
    assert answers.code() == grpc.StatusCode.OK


def test_half_duplex(stub, types):
    requests = [order(types, 10), order(types, 20, 30)]
    assert [len(answer.payload.body) for answer in stub.half_duplex(iter(requests))] == [10, 20, 30]


def test_status_code_and_message(stub, types):
    status = types["EchoStatus"](code=2, message="test status message")
    error = expect_status(grpc.StatusCode.UNKNOWN, stub.unary, types["SimpleRequest"](response_status=status))
    assert error.details() == "test status message"
    error = expect_status(grpc.StatusCode.UNKNOWN, stub.duplex, iter([order(types, status=status)]))
    assert error.details() == "test status message"


def test_special_status_message(stub, types):
    text = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
    error = expect_status(grpc.StatusCode.UNKNOWN, stub.unary, types["SimpleRequest"](response_status=types["EchoStatus"](code=2, message=text)))
    assert error.details() == text


def test_unimplemented(stub, types):
    expect_status(grpc.StatusCode.UNIMPLEMENTED, stub.unimplemented, types["Empty"]())
    expect_status(grpc.StatusCode.UNIMPLEMENTED, stub.no_service, types["Empty"]())


def test_cancel_after_begin(stub, types):
    feed = Feed()
    call = stub.input.future(iter(feed))
    call.cancel()
    assert call.code() == grpc.StatusCode.CANCELLED
    feed.end()


def test_cancel_after_first_response(stub, server, types):
    before = server.metric("cdpd_grpc_calls_total", method="grpc.testing.TestService/FullDuplexCall", status="CANCELLED")
    feed = Feed()
    answers = stub.duplex(iter(feed))
    feed.put(order(types, 31415, size_in=27182))
    assert len(next(answers).payload.body) == 31415
    answers.cancel()
    with pytest.raises(grpc.RpcError):
        next(answers)
    assert answers.code() == grpc.StatusCode.CANCELLED
    feed.end()
    wait_for(lambda: server.metric("cdpd_grpc_calls_total", method="grpc.testing.TestService/FullDuplexCall", status="CANCELLED") > before)


def test_timeout_on_sleeping_server(stub, types):
    expect_status(grpc.StatusCode.DEADLINE_EXCEEDED, stub.duplex, iter([order(types, 1, interval=60_000_000)]), timeout=0.2)
    expect_status(grpc.StatusCode.DEADLINE_EXCEEDED, stub.unary, types["SimpleRequest"](), timeout=0.2, metadata=[("x-test-delay-ms", "60000")])
    expect_status(grpc.StatusCode.DEADLINE_EXCEEDED, stub.duplex, iter([order(types, 1)]), timeout=0.0)


def test_custom_metadata(stub, types):
    binary = b"\xab\xab\xab\x00\xff"
    metadata = [("x-grpc-test-echo-initial", "test_initial_metadata_value"), ("x-grpc-test-echo-trailing-bin", binary)]
    answer, call = stub.unary.with_call(types["SimpleRequest"](response_size=314159, payload=payload(types, 271828)), metadata=metadata)
    assert len(answer.payload.body) == 314159
    assert ("x-grpc-test-echo-initial", "test_initial_metadata_value") in call.initial_metadata()
    assert ("x-grpc-test-echo-trailing-bin", binary) in call.trailing_metadata()
    answers = stub.duplex(iter([order(types, 314159)]), metadata=metadata)
    assert [len(a.payload.body) for a in answers] == [314159]
    assert ("x-grpc-test-echo-initial", "test_initial_metadata_value") in answers.initial_metadata()
    assert ("x-grpc-test-echo-trailing-bin", binary) in answers.trailing_metadata()
    # Without any message, initial metadata stays initial.
    answers = stub.duplex(iter(()), metadata=metadata)
    assert list(answers) == []
    assert ("x-grpc-test-echo-initial", "test_initial_metadata_value") in answers.initial_metadata()


def test_compression(stub, types):
    yes, no = types["BoolValue"](value=True), types["BoolValue"](value=False)
    gzip = grpc.Compression.Gzip
    request = types["SimpleRequest"](expect_compressed=yes, response_size=314159, payload=payload(types, 271828))
    expect_status(grpc.StatusCode.INVALID_ARGUMENT, stub.unary, request)  # the probe: it is not compressed
    assert len(stub.unary(request, compression=gzip).payload.body) == 314159
    request = types["SimpleRequest"](expect_compressed=no, response_size=314159, payload=payload(types, 271828))
    assert len(stub.unary(request).payload.body) == 314159
    requests = [types["StreamingInputCallRequest"](expect_compressed=yes, payload=payload(types, size)) for size in SIZES_IN if size > 1000]
    assert stub.input(iter(requests), compression=gzip).aggregated_payload_size == 74914
    assert [len(a.payload.body) for a in stub.output(order(types, *SIZES_OUT), compression=gzip)] == SIZES_OUT


def test_deflate_is_refused(stub, types):
    error = expect_status(grpc.StatusCode.UNIMPLEMENTED, stub.unary, types["SimpleRequest"](payload=payload(types, 2000)), compression=grpc.Compression.Deflate)
    assert "gzip" in error.details()


# ── sizes ──


def test_five_megabytes(stub, types):
    size = 5 * 1024 * 1024
    answer = stub.unary(types["SimpleRequest"](response_size=size, payload=payload(types, size)))
    assert len(answer.payload.body) == size


def test_too_large(stub, types):
    size = 9 * 1024 * 1024
    expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, stub.unary, types["SimpleRequest"](payload=payload(types, size)))
    requests = [types["StreamingInputCallRequest"](payload=payload(types, 2 * 1024 * 1024))]
    expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, stub.input, iter(requests))
    assert stub.empty(types["Empty"]()) == types["Empty"]()  # the connection lives


def test_bomb(stub, server, types):
    """Sixty-four megabytes in as many kilobytes: refused, and never held."""
    request = types["StreamingInputCallRequest"](payload=payload(types, 64 * 1024 * 1024))
    stub.empty(types["Empty"]())
    before = server.memory()
    expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, stub.input, iter([request]), compression=grpc.Compression.Gzip)
    assert server.memory() < before + 16 * 1024 * 1024


def test_hostile_messages(server):
    cases = [b"\x0a\x05abc", b"\x1a\x02\x0a\x09", b"\x3a\x04\x08\x02\x12\xff", b"\x3a\x05\x12\x03a\0b", b"\x3a\x03\x12\x01\xff", b"\x0b\x0c", b"\x1a\x00" * 50000]
    with server.channel() as channel:
        call = channel.unary_unary("/grpc.testing.TestService/UnaryCall")
        for case in cases:
            assert expect_status(grpc.StatusCode.INVALID_ARGUMENT, call, case).details()
        assert call(b"") == b"\x0a\x00"


def test_large_answers_that_nobody_reads(server, types):
    """The server waits with what it has, and holds no more than a few messages a call."""
    with server.channel(max_receive_message_length=-1, **PLAIN) as channel:
        stub = Stub(channel, types)
        before = server.memory()
        calls = [stub.output(order(types, *[1_000_000] * 1000)) for _ in range(10)]
        first = [next(call) for call in calls]
        assert len(first) == 10
        assert stub.empty(types["Empty"]()) == types["Empty"]()
        assert server.memory() < before + 60 * 1024 * 1024
        for call in calls:
            call.cancel()


# ── many at once ──


def test_many_parallel(stub, types):
    """Five times as many as a connection may have at once: the client queues."""
    calls = [stub.unary.future(types["SimpleRequest"](response_size=size, payload=payload(types, 100))) for size in range(500)]
    assert [len(call.result(timeout=120).payload.body) for call in calls] == list(range(500))


def test_many_messages(stub, types):
    requests = (types["StreamingInputCallRequest"](payload=payload(types, 100)) for _ in range(20000))
    assert stub.input(requests).aggregated_payload_size == 2_000_000
    assert sum(len(a.payload.body) for a in stub.output(order(types, *[100] * 5000))) == 500_000


@pytest.mark.parametrize("kind", ["h2c", "tls"])
def test_back_pressure_of_duplex(server, types, kind):
    """The server does not read on while its answers wait."""
    requests = [order(types, 100_000) for _ in range(200)]
    with server.channel(kind, **PLAIN) as channel:
        assert sum(len(a.payload.body) for a in Stub(channel, types).duplex(iter(requests))) == 20_000_000


def test_other_protocols_on_the_port(server):
    import urllib.error
    import urllib.request

    base = f"http://127.0.0.1:{server.ports[0]}"
    assert urllib.request.urlopen(base + "/hello").read() == b"hello"
    request = urllib.request.Request(base + "/grpc.testing.TestService/EmptyCall", b"\0\0\0\0\0", {"Content-Type": "application/grpc"})
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request)
    assert b"http2_required" in raised.value.read()


# ── the end ──


def wait_for(condition, timeout=60):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


@pytest.mark.parametrize("kind", ["h2c", "tls"])
def test_drain_under_load(types, kind):
    """Calls in progress end well, later ones hear UNAVAILABLE, and nothing is lost in between."""
    with serving() as server, server.channel(kind) as channel:
        stub = Stub(channel, types)
        stub.empty(types["Empty"]())
        slow = [stub.unary.future(types["SimpleRequest"](response_size=n), metadata=[("x-test-delay-ms", "1000")]) for n in range(50)]
        answers, codes = stub.output(order(types, *[1000] * 100, interval=10_000)), set()
        next(answers)
        wait_for(lambda: server.metric("cdpd_http2_requests_total") >= 52)
        stop = threading.Event()

        def load():
            while not stop.is_set():
                try:
                    stub.empty(types["Empty"]())
                except grpc.RpcError as error:
                    codes.add(error.code())
                    return

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        server.terminate()
        assert [len(call.result(timeout=60).payload.body) for call in slow] == list(range(50))
        assert sum(1 for _ in answers) == 99
        for thread in threads:
            thread.join(60)
        stop.set()
        assert codes == {grpc.StatusCode.UNAVAILABLE}
        assert server.wait() == 0, server.log.read_text()


def test_streams_are_told_to_end(types):
    with serving() as server, server.channel() as channel:
        feed = Feed()
        answers = Stub(channel, types).duplex(iter(feed))
        feed.put(order(types, 10))
        next(answers)
        server.terminate()
        with pytest.raises(grpc.RpcError) as raised:
            next(answers)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        assert raised.value.details() == "the server stops"
        feed.end()
        assert server.wait() == 0, server.log.read_text()


def test_client_dies(types):
    """A client that is gone without a word: its calls are told, and nothing of them stays."""
    with serving() as server:
        for _ in range(5):
            channel = server.channel(**PLAIN)
            stub = Stub(channel, types)
            feeds = [Feed() for _ in range(5)]
            calls = [stub.output(order(types, *[100_000] * 100)) for _ in range(20)] + [stub.duplex(iter(feed)) for feed in feeds]
            for feed in feeds:
                feed.put(order(types, 10))
            for call in calls:
                next(call)
            channel.close()
            for feed in feeds:
                feed.end()
        assert server.stop() == 0, server.log.read_text()
        assert server.closed == 5 * 25
