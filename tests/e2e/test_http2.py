"""HTTP/2 with clients that others wrote, beside HTTP/1.1 on the same port; deadlines, draining and age."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time

import pytest
from cdpd import ADMIN_TOKEN, CONFIG, WRITE_KEY, basic, running
from http2 import DATA, END_STREAM, HEADERS, PING, PREFACE, RST, SETTINGS, WINDOW, Raw, curl, frame, number, request

EVENT = json.dumps({"type": "track", "userId": "u", "event": "E"})
NOTICE = 0x7FFFFFFF


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A daemon with a TLS listener beside the plain one: (daemon, port of TLS)."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    config = CONFIG.replace('listen: {{http: "127.0.0.1:0"}}', f'listen: {{{{http: "127.0.0.1:0", https: "127.0.0.1:0"}}}}\ntls: {{{{certificate: {folder}/cert.pem, key: {folder}/key.pem}}}}')
    with running(config) as daemon:
        line = daemon.process.stdout.readline().decode()
        yield daemon, int(re.search(r"https://127\.0\.0\.1:(\d+)", line).group(1))


@pytest.mark.parametrize("version", ["--tlsv1.3", "--tls-max 1.2"])
def test_curl_over_tls(secure, version):
    url = f"https://127.0.0.1:{secure[1]}"
    out = curl("-k", "-i", "--http2", *version.split(), "-u", f"{WRITE_KEY}:", "-d", EVENT, f"{url}/v1/track").decode()
    assert out.startswith("HTTP/2 200") and '"accepted":1' in out
    # Alternately on one connection, and without HTTP/2.
    codes = curl("-k", "--http2", "-o", "/dev/null", "-o", "/dev/null", "-w", "%{http_version} %{http_code}\n", f"{url}/healthz", f"{url}/nowhere").decode()
    assert codes == "2 200\n2 404\n"
    assert curl("-k", "--http1.1", "-w", "%{http_version}", f"{url}/healthz").decode() == '{"ok":true}1.1'


def test_early_refusals_reach_curl(secure):
    """Answers that come while the body is still being sent, over TLS: each is read, none is an error of the transfer."""
    url = f"https://127.0.0.1:{secure[1]}/v1/track"
    for _ in range(20):
        out = curl("-k", "-i", "--http2", "-H", "Content-Encoding: br", "--data-binary", "@-", url, body=b"x" * 1_000_000)
        assert out.startswith(b"HTTP/2 415")
    out = curl("-k", "-i", "--http2", "--data-binary", "@-", url, body=b"x" * 8_000_000)
    assert out.startswith(b"HTTP/2 413")


def test_alpn(secure):
    def offer(*names):
        context = ssl._create_unverified_context()
        if names:
            context.set_alpn_protocols(list(names))
        with context.wrap_socket(socket.create_connection(("127.0.0.1", secure[1]), 30)) as tls:
            return tls.selected_alpn_protocol()

    assert offer("http/1.1", "h2") == "h2"
    assert offer("http/1.1") == "http/1.1"
    assert offer() is None
    with pytest.raises(ssl.SSLError):
        offer("h3")


def test_prior_knowledge_beside_http_1(shared):
    out = curl("-i", "--http2-prior-knowledge", "-u", f"{WRITE_KEY}:", "-d", EVENT, f"{shared.url}/v1/track").decode()
    assert out.startswith("HTTP/2 200") and '"accepted":1' in out
    assert shared.get("/healthz", token=None).status == 200
    # An upgrade is not offered: HTTP/1.1 answers as if it had not been asked for.
    assert curl("--http2", "-w", "%{http_version}", f"{shared.url}/healthz").decode() == '{"ok":true}1.1'


def test_nghttp(shared):
    run = subprocess.run(["nghttp", "-nv", "-m", "50", f"{shared.url}/healthz"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and run.stdout.count(":status: 200") == 50
    assert "PROTOCOL_ERROR" not in run.stdout
    run = subprocess.run(["nghttp", "-v", "-H:method: POST", "-d", "/dev/null", f"{shared.url}/v1/track"], capture_output=True, text=True, timeout=60)
    assert ":status: 4" in run.stdout


def test_h2load(shared, tmp_path):
    body = tmp_path / "event.json"
    body.write_text(EVENT)
    run = subprocess.run(["h2load", "-n", "5000", "-c", "4", "-m", "50", "-d", str(body), "-H", f"authorization: {basic(WRITE_KEY)}",
                          f"{shared.url}/v1/track"], capture_output=True, text=True, timeout=120)
    assert "5000 done, 5000 succeeded, 0 failed" in run.stdout, run.stdout
    assert "status codes: 5000 2xx" in run.stdout, run.stdout


def test_large_headers_and_paths(shared):
    code = ["-o", "/dev/null", "-w", "%{http_code}"]
    assert curl("--http2-prior-knowledge", *code, "-H", "X-Large: " + "x" * 20_000, f"{shared.url}/healthz") == b"431"
    assert curl("--http2-prior-knowledge", *code, f"{shared.url}/{'p' * 9000}") == b"414"


def test_many_streams_of_one_connection_wait_for_their_ack(shared):
    """Answers come in whatever order; each stream gets its own."""
    with Raw(shared) as raw:
        raw.sync()
        key = ("authorization", basic(WRITE_KEY))
        for i in range(100):
            body = json.dumps({"type": "track", "userId": f"u{i}", "event": "E", "messageId": f"many-{i}"}).encode()
            raw.send(request(2 * i + 1, "POST", "/v1/track", key, end=False) + frame(DATA, END_STREAM, 2 * i + 1, body))
        open_streams = {2 * i + 1 for i in range(100)}
        while open_streams:
            found = raw.next()
            assert found and found[0] != RST, found
            if found[0] == DATA and found[1] & END_STREAM:
                assert b'"accepted":1' in found[3]
                open_streams.remove(found[2])
    shared.settled()
    assert all(shared.profile(f"user_id:u{i}").status == 200 for i in range(100))


# ── deadlines ────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def hurried():
    with running(extra="limits: {{header_timeout: 300ms, body_timeout: 300ms, body_min_rate: 1MiB, keepalive: 300ms, write_timeout: 500ms}}\n") as daemon:
        yield daemon


@pytest.mark.parametrize("sent", [b"", b"P", PREFACE[:10], PREFACE[:23], PREFACE, PREFACE + frame(SETTINGS)[:5]], ids=["silence", "P", "10 bytes", "23 bytes", "preface", "half a frame"])
def test_half_a_preface_does_not_stay(hurried, sent):
    with socket.create_connection(hurried.address(), 60) as sock:
        sock.sendall(sent)
        while sock.recv(4096):
            pass


@pytest.mark.parametrize("line", [b"PRI * HTTP/2.0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n", b"PRI / HTTP/2.0\r\n\r\n"])
def test_what_only_resembles_the_preface(shared, line):
    with shared.socket(timeout=60) as sock:
        sock.sendall(line + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        data = b""
        while piece := sock.recv(4096):
            data += piece
    assert data.startswith(b"HTTP/1.1 400 ") and data.count(b"HTTP/1.1 ") == 1


def test_an_idle_connection_is_told_and_closed():
    with running(extra="limits: {{idle_timeout: 300ms}}\n") as daemon, Raw(daemon) as raw:
        raw.send(request(1))
        assert b'{"ok":true}' in raw.answer(1)
        raw.drain()
        assert raw.goaway == (0, 1)


def test_half_a_head_does_not_stay(hurried):
    with Raw(hurried) as raw:
        raw.send(request(1)[:30])
        raw.drain()
        assert raw.ended


def test_a_slow_body_is_answered_and_others_go_on(hurried):
    with Raw(hurried) as raw:
        raw.send(request(1, "POST", "/v1/track", end=False) + frame(DATA, 0, 1, b"{"))
        assert b"request_timeout" in raw.answer(1)
        assert raw.until(RST, 1)[3] == bytes(4)
        raw.send(request(3))
        assert b'{"ok":true}' in raw.answer(3)


def test_an_answer_that_is_not_taken_is_given_up(hurried):
    with Raw(hurried, first=frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0")) as raw:
        raw.send(request(1, "GET", "/openapi.yaml"))
        assert raw.until(RST, 1)[3] == b"\0\0\0\x08"


def test_a_dead_peer_is_found(hurried):
    """It has a stream open and answers no PING."""
    with Raw(hurried) as raw:
        raw.send(request(1, "GET", "/v1/changes", ("authorization", f"Bearer {ADMIN_TOKEN}"), ("accept", "text/event-stream")))
        assert not raw.until(PING)[1]
        raw.drain()
        assert raw.ended
    assert 'cdpd_http2_ended_total{reason="ping_timeout"} 0' not in hurried.get("/metrics").body.decode()


def test_a_living_peer_is_kept(hurried):
    with Raw(hurried) as raw:
        raw.send(request(1, "GET", "/v1/changes", ("authorization", f"Bearer {ADMIN_TOKEN}"), ("accept", "text/event-stream")))
        for _ in range(3):
            ping = raw.until(PING)
            raw.send(frame(PING, 1, 0, ping[3]))
        raw.send(request(3))
        assert b'{"ok":true}' in raw.answer(3)


# ── the end ──────────────────────────────────────────────────────────────────


def load_until_goaway(raw, at_request, act):
    """Requests without a pause; `act` after some. Returns the ids sent and those answered, once the connection has ended."""
    sent, answered, stream = [], set(), 1
    raw.send(number(WINDOW, 0, 1 << 30))
    while not raw.ended:
        if raw.goaway is None or raw.goaway[1] == NOTICE:
            for _ in range(10):
                raw.send(request(stream))
                sent.append(stream)
                stream += 2
        if len(sent) == at_request:
            act()
            at_request = None
        wanted = sent[-1]
        while found := raw.next():
            if found[0] == PING and not found[1]:
                raw.send(frame(PING, 1, 0, found[3]))
            if found[0] == DATA and found[1] & END_STREAM:
                answered.add(found[2])
                if found[2] == wanted:
                    break
            if raw.goaway and raw.goaway[1] != NOTICE and wanted > raw.goaway[1]:
                break
        else:
            break
    raw.drain()
    return sent, answered


def test_draining_loses_no_request():
    with running() as daemon:
        with Raw(daemon) as raw, Raw(daemon) as other:
            other.send(request(1, "GET", "/v1/changes", ("authorization", f"Bearer {ADMIN_TOKEN}"), ("accept", "text/event-stream")))
            other.until(HEADERS, 1)
            sent, answered = load_until_goaway(raw, 200, lambda: os.kill(daemon.pid(), signal.SIGTERM))
            assert raw.goaway and raw.goaway[0] == 0
            assert answered == {stream for stream in sent if stream <= raw.goaway[1]}
            assert len(sent) >= 200
            # The event stream ends as it should, not by a reset.
            other.until(DATA, 1, END_STREAM)
            other.drain()
            assert other.goaway == (0, 1)
        assert daemon.process.wait(60) == 0


@pytest.mark.parametrize("limits", ["connection_age: 300ms", "requests_per_connection: 100"])
def test_old_connections_end_without_losing_a_request(limits):
    with running(extra=f"limits: {{{{{limits}}}}}\n") as daemon:
        for _ in range(2):
            with Raw(daemon) as raw:
                sent, answered = load_until_goaway(raw, -1, lambda: None)
                assert raw.goaway and raw.goaway[0] == 0 and raw.goaway[1] != NOTICE
                assert answered == {stream for stream in sent if stream <= raw.goaway[1]} and len(answered) >= 50
        if "age" in limits:
            assert 'cdpd_http2_ended_total{reason="age"} 2' in daemon.get("/metrics").body.decode()
        # HTTP/1.1 says so in its own words.
        connection = daemon.connect()
        for _ in range(1_000_000):
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            answer.read()
            if answer.getheader("Connection") == "close":
                break
        else:
            raise AssertionError("the connection was never closed")


def test_reload_changes_what_new_connections_are_told(cdpd):
    with Raw(cdpd) as raw:
        assert b"\0\3\0\0\0\x64" in raw.until(SETTINGS)[3]
    cdpd.write_config(cdpd.config_file.read_text().replace("{", "{{").replace("}", "}}") + "limits: {{streams_per_connection: 7}}\n")
    cdpd.reload()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with Raw(cdpd) as raw:
            if b"\0\3\0\0\0\x07" in raw.until(SETTINGS)[3]:
                return
    raise AssertionError("never told")
