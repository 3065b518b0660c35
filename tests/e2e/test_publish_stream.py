"""PublishStream: what is acknowledged is durable, in order, and told once; kills, cancels, slow readers and rejected events in between."""

import collections
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from cdpd import ROOT, SERVER_KEY, WRITE_KEY, running

grpc = pytest.importorskip("grpc", reason="python3-grpcio is not installed: tests/run.sh does it")
from rpc import Client, M, client, details, event, key  # noqa: E402


def requests(count, user="u", start=1, prefix="s"):
    for number in range(start, count + 1):
        yield M.PublishRequest(events=[event(user, "Streamed", f"{prefix}-{number}")])


class Feed:
    """Requests one by one, as the test gives them."""

    def __init__(self):
        self.queue = queue.Queue()

    def put(self, *made):
        for one in made:
            self.queue.put(one)

    def close(self):
        self.queue.put(None)

    def __iter__(self):
        return iter(self.queue.get, None)


def settled(acks):
    """Checks the order of acknowledgements and returns the last number and the rejections."""
    last, rejected = 0, []
    for ack in acks:
        assert ack.settled_through >= last
        assert ack.settled_through > last or ack.rejected, "an empty word"
        last = ack.settled_through
        rejected += ack.rejected
    return last, rejected


def test_twenty_thousand(cdpd):
    with client(cdpd) as rpc:
        acks = list(rpc.PublishStream(requests(20000, user="many")))
        assert settled(acks) == (20000, [])
        assert len(acks) < 20000, "never coalesced"
        profile = rpc.GetProfile(ref="user_id:many", min_position=acks[-1].position).profile
        assert profile.identifiers[0].events == 20000


def test_an_empty_stream_and_empty_requests(cdpd):
    with client(cdpd) as rpc:
        assert list(rpc.PublishStream(iter(()))) == []
        made = [M.PublishRequest(), M.PublishRequest(events=[event("u", "A")]), M.PublishRequest()]
        assert settled(rpc.PublishStream(iter(made * 50)))[0] == 150


def test_acknowledged_while_the_stream_goes_on(cdpd):
    with client(cdpd) as rpc:
        feed = Feed()
        stream = rpc.PublishStream(iter(feed))
        for number in range(1, 6):
            feed.put(M.PublishRequest(events=[event("u", "A", f"m-{number}")]))
            ack = next(stream)
            assert ack.settled_through == number
            assert rpc.GetProfile(ref="user_id:u", min_position=ack.position).profile.identifiers[0].events == number
        feed.close()
        assert list(stream) == []


def test_rejected_ones_are_told_once_with_their_request(cdpd):
    def made():
        for number in range(1, 501):
            if number % 50 == 0:
                yield M.PublishRequest(events=[event("u", "A", f"a-{number}"), event("", "B", f"b-{number}"), event("u", "C", f"c-{number}")])
            elif number % 77 == 0:
                yield b"\x0a\x7fabc"
            else:
                yield M.PublishRequest(events=[event("u", "A", f"a-{number}")])

    with client(cdpd) as rpc:
        seen, told = {}, 0
        for ack in rpc.PublishStream(made()):
            for one in ack.rejected:
                assert told < one.request <= ack.settled_through
                seen.setdefault(one.request, []).append(one)
            told = ack.settled_through
        assert told == 500
        assert sorted(seen) == sorted({n for n in range(1, 501) if n % 50 == 0} | {n for n in range(1, 501) if n % 77 == 0})
        for number, (one,) in seen.items():
            if number % 50 == 0:
                assert (one.whole, one.rejection.index, one.rejection.message_id, one.rejection.code) == (False, 1, f"b-{number}", "missing_identity")
            else:
                assert (one.whole, one.rejection.code) == (True, "invalid_body")
    status = cdpd.settled()["events"]
    assert status["applied"] == 500 - 6 + 10 and status["rejected"] == 10 + 6


def test_very_many_rejections(cdpd):
    """One message would be too large for a client; none may be lost."""
    with client(cdpd) as rpc:
        bad = M.PublishRequest(events=[event("", "B" * 100, "x" * 90) for _ in range(2500)])
        acks = list(rpc.PublishStream(iter([bad] * 40)))
        last, rejected = settled(acks)
        assert last == 40
        assert collections.Counter(one.request for one in rejected) == {number: 2500 for number in range(1, 41)}
        assert [one.rejection.index for one in rejected if one.request == 7] == list(range(2500))


def test_who_may_not_is_told_at_once(cdpd):
    with client(cdpd) as rpc:
        with pytest.raises(grpc.RpcError) as caught:
            list(rpc.PublishStream(requests(5), metadata=key("wrong")))
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED and details(caught.value)[0] == "unknown_key"
        # A request of a stream may name another key; what came before is acknowledged.
        feed = Feed()
        feed.put(M.PublishRequest(events=[event("u", "A")], write_key=WRITE_KEY), M.PublishRequest(events=[event("u", "B")], write_key=SERVER_KEY))
        feed.put(M.PublishRequest(events=[event("u", "C")], write_key="wrong"), M.PublishRequest(events=[event("u", "D")], write_key=WRITE_KEY))
        stream = rpc.PublishStream(iter(feed), metadata=[])
        acks = []
        with pytest.raises(grpc.RpcError) as caught:
            for ack in stream:
                acks.append(ack)
        assert settled(acks)[0] == 2 and details(caught.value)[0] == "unknown_key"
        feed.close()


def test_a_rate_limit_slows_down_and_loses_nothing():
    with running(extra="limits: {{events_per_second_per_ip: 400}}\n") as cdpd, client(cdpd) as rpc:
        assert settled(rpc.PublishStream(requests(1000)))[0] == 1000
        assert cdpd.settled()["events"]["applied"] == 1000


def test_requests_that_go_as_one_are_under_no_limit_of_one_request():
    with running(extra="limits: {{batch_events: 3}}\n") as cdpd, client(cdpd) as rpc:
        assert settled(rpc.PublishStream(requests(1000))) == (1000, [])
        assert cdpd.settled()["events"]["applied"] == 1000


def test_a_reader_that_sleeps_costs_no_memory(cdpd):
    with client(cdpd) as rpc:
        before = cdpd.memory()
        stream = rpc.PublishStream(requests(20000, user="sleepy"))
        deadline = time.monotonic() + 60
        while cdpd.status()["events"]["received"] < 20000 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert cdpd.memory() - before < 64 << 20
        assert settled(stream)[0] == 20000


def test_cancel_leaves_the_others_alone(cdpd):
    with client(cdpd) as rpc:
        other_feed = Feed()
        other = rpc.PublishStream(iter(other_feed))
        for _ in range(5):
            feed = Feed()
            stream = rpc.PublishStream(iter(feed))
            feed.put(*requests(200, user="cancelled"))
            first = next(stream)
            assert first.settled_through >= 1
            stream.cancel()
            feed.close()
            with pytest.raises(grpc.RpcError) as caught:
                list(stream)
            assert caught.value.code() == grpc.StatusCode.CANCELLED
        other_feed.put(M.PublishRequest(events=[event("other", "A")]))
        assert next(other).settled_through == 1
        other_feed.close()
        assert list(other) == []
    assert cdpd.settled()["events"]["pending"] == 0


def publish_all(daemon_url, total, on_ack, user, per_request=1):
    """A client as docs/grpc-api.md describes one: after a broken stream it sends again whatever was not settled."""
    done, attempts = 0, 0
    while done < total and attempts < 500:
        attempts += 1
        base = done
        channel = daemon_url()
        try:
            stream = channel.PublishStream(requests(total, user=user, start=base + 1), timeout=30)
            for ack in stream:
                done = base + ack.settled_through
                on_ack(done)
        except grpc.RpcError:
            time.sleep(0.05)
        finally:
            channel.close()
    return done, attempts


def test_killed_in_the_middle_nothing_acknowledged_is_lost(cdpd):
    total, killed = 20000, []

    def connect():
        while True:
            try:
                return Client(cdpd)
            except Exception:
                time.sleep(0.05)

    def on_ack(done):
        if len(killed) < 3 and done > (len(killed) + 1) * total // 4:
            killed.append(done)
            cdpd.kill()
            cdpd.start()

    done, attempts = publish_all(connect, total, on_ack, "phoenix")
    assert done == total and len(killed) == 3 and attempts >= 4
    status = cdpd.settled()
    profile = cdpd.profile("user_id:phoenix").json
    assert profile["identifiers"][0]["events"] == total, "lost, or counted twice"
    assert status["events"]["applied"] == total


def test_killed_before_the_rest_is_settled(cdpd):
    """Whatever was acknowledged when the process died is there afterwards."""
    rpc = Client(cdpd)
    told = 0
    stream = rpc.PublishStream(requests(200000, user="cut"))
    with pytest.raises(grpc.RpcError):
        for ack in stream:
            told = ack.settled_through
            if told > 2000 and cdpd.process.poll() is None:
                os.kill(cdpd.pid(), signal.SIGKILL)
    rpc.close()
    cdpd.kill()
    cdpd.start()
    cdpd.settled()
    present = {row["messageId"] for row in cdpd.events("user_id:cut")}
    assert told > 2000 and {f"s-{number}" for number in range(1, told + 1)} <= present


CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
from rpc import Client
from test_publish_stream import requests

class Address:
    address = staticmethod(lambda: (sys.argv[2], int(sys.argv[3])))

for ack in Client(Address).PublishStream(requests(1000000, user="orphan")):
    print(ack.settled_through, flush=True)
"""


def test_a_client_that_is_killed_costs_nothing_and_another_goes_on(cdpd):
    host, port = cdpd.address()
    run = subprocess.Popen([sys.executable, "-c", CLIENT, os.path.dirname(__file__), host, str(port)], stdout=subprocess.PIPE, text=True)
    try:
        told = next(number for number in map(int, run.stdout) if number > 2000)
    finally:
        run.kill()
        run.communicate()
    # What had come when it died may be stored, beyond what it was told; nothing of it is under way for ever.
    deadline = time.monotonic() + 60
    while "cdpd_http2_connections 0\n" not in cdpd.get("/metrics").body.decode():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stored = cdpd.settled()["events"]["applied"]
    assert told <= stored
    total = stored + 1000
    with client(cdpd) as rpc:
        made = [M.PublishRequest(events=[event("orphan", "Streamed", f"s-{number}")]) for number in range(told + 1, total + 1)]
        assert settled(rpc.PublishStream(iter(made))) == (total - told, [])
    assert cdpd.settled()["events"]["applied"] == total
    assert cdpd.profile("user_id:orphan").json["identifiers"][0]["events"] == total


def test_the_documentation_s_loop(cdpd):
    text = (ROOT / "docs" / "grpc-api.md").read_text()
    code = next(block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "def publish_all" in block)
    names = {"grpc": grpc, "time": time}
    exec(code, names)
    killed = []

    class Stub:
        def PublishStream(self, made, metadata):
            channel = Client(cdpd)
            for ack in channel.PublishStream(made, metadata=metadata):
                yield ack
                if ack.settled_through > 1500 and not killed:
                    killed.append(ack.settled_through)
                    cdpd.kill()
                    cdpd.start()

    names["publish_all"](Stub(), list(requests(5000, user="documented")), key(WRITE_KEY))
    assert killed
    cdpd.settled()
    assert cdpd.profile("user_id:documented").json["identifiers"][0]["events"] == 5000


def test_shutdown_settles_what_was_taken(cdpd):
    with client(cdpd) as rpc:
        feed = Feed()
        stream = rpc.PublishStream(iter(feed))
        feed.put(*requests(300, user="late"))
        told, stopping = 0, None
        with pytest.raises(grpc.RpcError) as caught:
            for ack in stream:
                told = ack.settled_through
                if told == 300 and not stopping:
                    stopping = threading.Thread(target=cdpd.stop)
                    stopping.start()
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE and details(caught.value)[0] == "shutting_down"
        assert told == 300
        feed.close()
        stopping.join()
    cdpd.start()
    cdpd.settled()
    assert len(cdpd.events("user_id:late")) == 300


def test_shutdown_in_full_flight(cdpd):
    """UNAVAILABLE comes soon, not after the drain timeout, and everything told before is there."""
    with client(cdpd) as rpc:
        told, stopping = 0, None
        with pytest.raises(grpc.RpcError) as caught:
            for ack in rpc.PublishStream(requests(10**9, user="flight")):
                told = ack.settled_through
                if told > 1000 and not stopping:
                    stopping = threading.Thread(target=cdpd.stop)
                    stopping.start()
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE and details(caught.value)[0] == "shutting_down"
        stopping.join()
    assert cdpd.process.returncode == 0
    cdpd.start()
    cdpd.settled()
    present = {row["messageId"] for row in cdpd.events("user_id:flight")}
    assert {f"s-{number}" for number in range(1, told + 1)} <= present
    assert len(present) == told, "taken, and not settled"
