"""The nats destination against a real server: every event is in the stream, once while the server knows it again, whoever dies."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from cdpd import CONFIG
from ledger import Ledger
from nats_server import Nats


@pytest.fixture
def server():
    server = Nats()
    yield server
    server.close()


def publish_to(daemon, url, **options):
    text = "destinations:\n  - name: stream\n    plugin: nats\n    options:\n" + f"      servers: [\"{url}\"]\n"
    text += "".join(f"      {name}: {value}\n" for name, value in options.items())
    daemon.write_config(CONFIG + text.replace("{", "{{").replace("}", "}}"))
    return daemon


def destination(daemon):
    return next(d for d in daemon.get("/v1/admin/destinations").json["destinations"] if d["name"] == "stream")


def until(ask, daemon, timeout=120):
    deadline = time.monotonic() + timeout
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"{destination(daemon)}\n{daemon.log_text()[-4000:]}"
        time.sleep(0.1)
    return answer


def until_failing(daemon, word):
    until(lambda: destination(daemon)["failing"] and word in daemon.log_text() + json.dumps(destination(daemon)), daemon)


def test_subjects_payloads_and_a_stream_of_its_own(stopped, server):
    publish_to(stopped, server.url, stream="EVENTS", create_stream="true").start()
    stopped.track("u1", "Order Completed", "m1", properties={"total": 3.5})
    stopped.track("u1", "a.b>*\tc$", "m2")
    stopped.track("u1", "Заказ", "m3")
    assert stopped.post("/v1/page", {"type": "page", "userId": "u1", "messageId": "m4", "name": "Home"}).status == 200
    assert stopped.post("/v1/identify", {"type": "identify", "userId": "u1", "messageId": "m5", "traits": {"a": 1}}).status == 200
    until(lambda: server.count("EVENTS") == 5, stopped)
    found = {body["messageId"]: (subject, headers, body) for subject, headers, body in server.messages("EVENTS")}
    assert [found[f"m{n}"][0] for n in range(1, 6)] == [
        "cdpd.events.track.Order_Completed", "cdpd.events.track.a_b___c_", "cdpd.events.track.Заказ", "cdpd.events.page.Home", "cdpd.events.identify._"]
    _, headers, body = found["m1"]
    assert headers["Nats-Msg-Id"] == body["deliveryId"] and headers["Nats-Expected-Stream"] == "EVENTS"
    assert body["properties"] == {"total": 3.5} and body["userId"] == "u1" and len(body["profileId"]) == 32 and body["position"]
    assert server.ask("$JS.API.STREAM.INFO.EVENTS")["config"]["subjects"] == ["cdpd.events.>"]
    stopped.ctl("erase", "user_id:u1", "--wait")
    until(lambda: server.count("EVENTS") == 6, stopped)
    subject, _, body = server.messages("EVENTS")[-1]
    assert subject == "cdpd.events.erased._" and body["type"] == "erased" and body["profileIds"]


def test_order_is_that_of_the_stream(stopped, server):
    server.make_stream("ALL", ["by.>"])
    publish_to(stopped, server.url, subject='"by.{source}.{profile}"').start()
    for n in range(200):
        stopped.track("u1", "A", f"m{n:03}")
    until(lambda: server.count("ALL") == 200, stopped)
    found = server.messages("ALL")
    assert [body["messageId"] for _, _, body in found] == [f"m{n:03}" for n in range(200)]
    assert {subject for subject, _, _ in found} == {f"by.web.{found[0][2]['profileId']}"}


def test_kill_9_of_either_side_leaves_each_event_exactly_once(stopped, server):
    publish_to(stopped, server.url, stream="EVENTS", create_stream="true", duplicate_window="1h")
    ledger = Ledger(users=4)
    for round_ in range(4):
        stopped.start()
        ledger.tag = f"r{round_}"
        ledger.load(stopped, clients=3, batch=5)
        time.sleep(0.4)
        if round_ % 2:
            server.kill()
            time.sleep(0.2)
            server.start()
            time.sleep(0.4)
        stopped.kill()
        ledger.join()
    stopped.start()
    stopped.settled()
    confirmed = set().union(*ledger.confirmed.values())
    assert len(confirmed) > 50
    until(lambda: destination(stopped)["lag"] == 0 and not destination(stopped)["failing"], stopped)
    rows = [body["messageId"] for _, _, body in server.messages("EVENTS")]
    assert confirmed <= set(rows) <= set().union(*ledger.sent.values())
    assert len(rows) == len(set(rows)), "a message came twice"


def test_a_frozen_server_holds_up_nobody_for_ever(stopped, server):
    publish_to(stopped, server.url, stream="EVENTS", create_stream="true", timeout="500ms", connect_timeout="1s").start()
    stopped.track("u1", "A", "m0")
    until(lambda: server.count("EVENTS") == 1, stopped)
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        for n in range(1, 30):
            position = stopped.track("u1", "A", f"m{n}")
        assert stopped.profile("user_id:u1", position).json["features"]["events"] == 30
        until(lambda: destination(stopped)["failing"], stopped)
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    until(lambda: destination(stopped)["lag"] == 0, stopped)
    rows = [body["messageId"] for _, _, body in server.messages("EVENTS")]
    assert sorted(rows) == sorted(f"m{n}" for n in range(30))


def test_what_the_stream_has_is_known_again(stopped, server):
    """Two destinations publish the same records with the same ids: that is what a second attempt after a lost ack is."""
    publish_to(stopped, server.url, stream="EVENTS", create_stream="true")
    text = stopped.config_file.read_text()
    stopped.config_file.write_text(text + text[text.index("  - name: stream"):].replace("name: stream", "name: again"))
    stopped.start()
    for n in range(10):
        stopped.track("u1", "A", f"m{n}")
    until(lambda: all(d["delivered"] >= 10 for d in stopped.get("/v1/admin/destinations").json["destinations"]), stopped)
    assert sorted(body["messageId"] for _, _, body in server.messages("EVENTS")) == [f"m{n}" for n in range(10)]
    assert sum(map(int, re.findall(r"nats_duplicates_total\{.*\} (\d+)", stopped.get("/metrics").body.decode()))) == 10


def test_no_stream_is_told_and_waits(stopped, server):
    publish_to(stopped, server.url).start()
    stopped.track("u1", "A", "m1")
    until_failing(stopped, "no stream takes the subject")
    server.make_stream("LATE", ["cdpd.events.>"])
    until(lambda: server.count("LATE") == 1, stopped)
    assert destination(stopped)["dropped"] == 0


def test_a_stream_that_is_not_there_or_not_the_one(stopped, server):
    server.make_stream("OTHER", ["cdpd.events.>"])
    publish_to(stopped, server.url, stream="MINE").start()
    stopped.track("u1", "A", "m1")
    until_failing(stopped, "stream MINE")
    server.make_stream("MINE", ["else.>"])
    until_failing(stopped, "another stream takes the subject")
    assert server.count("OTHER") == 0 and server.count("MINE") == 0
    server.ask("$JS.API.STREAM.DELETE.OTHER")
    server.ask("$JS.API.STREAM.DELETE.MINE")
    server.make_stream("MINE", ["cdpd.>"])
    until(lambda: server.count("MINE") == 1, stopped)


def test_a_message_that_is_too_large_goes_alone(stopped, server):
    server.make_stream("SMALL", ["cdpd.events.>"], max_msg_size=3000)
    publish_to(stopped, server.url).start()
    stopped.track("u1", "A", "m0")
    until(lambda: server.count("SMALL") == 1, stopped)
    server.kill()
    for n in range(1, 10):
        stopped.track("u1", "A", f"m{n}", properties={"x": "y" * (4000 if n == 5 else 10)})
    server.start()
    until(lambda: server.count("SMALL") == 9, stopped)
    until(lambda: destination(stopped)["dropped"] == 1, stopped)
    assert "m5" not in [body["messageId"] for _, _, body in server.messages("SMALL")]


def test_a_full_stream_drops_nothing(stopped, server):
    server.make_stream("FULL", ["cdpd.events.>"], max_msgs=2, discard="new")
    publish_to(stopped, server.url).start()
    for n in range(5):
        stopped.track("u1", "A", f"m{n}")
    until_failing(stopped, "maximum messages")
    assert server.count("FULL") == 2
    server.ask("$JS.API.STREAM.UPDATE.FULL", {**server.ask("$JS.API.STREAM.INFO.FULL")["config"], "max_msgs": -1})
    until(lambda: server.count("FULL") == 5, stopped)
    assert destination(stopped)["dropped"] == 0


@pytest.fixture
def certificate(tmp_path):
    """A CA and a certificate for localhost of it."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=tmp_path, timeout=60)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "other.key", "-out", "other.pem", "-days", "2", "-subj", "/CN=Other CA")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (tmp_path / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem", "-days", "2", "-extfile", "names")
    return tmp_path


def test_tls_and_passwords(stopped, certificate):
    server = Nats("--tls", "--tlscert", certificate / "server.pem", "--tlskey", certificate / "server.key", "--user", "me", "--pass", "s3cret", tls=certificate / "ca.pem", user=("me", "s3cret"))
    try:
        stopped.env["TEST_NATS_PASSWORD"] = "wr0ng"
        url = f"tls://localhost:{server.port}"
        rest = {"stream": "EVENTS", "create_stream": "true", "user": "me", "password": "env:TEST_NATS_PASSWORD"}
        publish_to(stopped, url, ca_file=certificate / "other.pem", **rest).start()
        stopped.track("u1", "A", "m1")
        until_failing(stopped, "SSL handshake error")
        stopped.stop()
        stopped.log.unlink()
        publish_to(stopped, f"tls://127.0.0.1:{server.port}", ca_file=certificate / "ca.pem", **rest).start()
        until_failing(stopped, "SSL handshake error")  # it is not for 127.0.0.1
        stopped.stop()
        publish_to(stopped, url, ca_file=certificate / "ca.pem", **rest).start()
        until_failing(stopped, "Authorization")
        stopped.stop()
        assert "wr0ng" not in stopped.log_text()
        assert server.count("EVENTS") == 0
        stopped.env["TEST_NATS_PASSWORD"] = "s3cret"
        publish_to(stopped, f"tls://127.0.0.1:{server.port}", ca_file=certificate / "ca.pem", tls_host="localhost", **rest).start()
        until(lambda: server.count("EVENTS") == 1, stopped)
        assert "s3cret" not in stopped.log_text()
    finally:
        server.close()


def test_the_second_server_of_the_list(stopped, server):
    publish_to(stopped, 'nats://127.0.0.1:1", "' + server.url, stream="EVENTS", create_stream="true").start()
    stopped.track("u1", "A", "m1")
    until(lambda: server.count("EVENTS") == 1, stopped)
