"""ChangeService: the same streams, cursors and snapshots as over HTTP, with a real gRPC client."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import grpc
import pytest
from cdpd import READ_TOKEN, SERVER_KEY, WRITE_KEY, running
from copy_of import Copy
from rpc import M, bearer, client, details, enum, key
from test_changes import Stream
from test_snapshot import assert_is_the_store
from test_subscriptions import identify, show

KINDS = {name: enum("ChangeKind", "CHANGE_KIND_" + name.upper()) for name in ["profile", "trait", "feature", "identifier", "merged", "split", "segment", "consent", "erased"]}
NAMES = {number: name for name, number in KINDS.items()}


def kinds(*names):
    return [KINDS[name] for name in names]


class Subscription:
    """A stream of changes; the greeting is read at once, so that it stands when this is made."""

    def __init__(self, rpc, timeout=60, **request):
        self.call = rpc.Subscribe(M.SubscribeRequest(**request), timeout=timeout)
        greeting = next(self.call)
        assert greeting.kind == 0 and greeting.cursor
        self.cursor = greeting.cursor

    def next(self):
        """The next change as HTTP tells it, and its cursor."""
        while True:
            change = next(self.call)
            self.cursor = change.cursor
            if change.kind:
                told = {"kind": NAMES[change.kind], "profile": change.profile, "position": change.position, "at": change.at_us}
                return {**told, **json.loads(change.json)}

    def cancel(self):
        self.call.cancel()


def failure(call):
    """(status, code) of a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        for _ in call() if callable(call) else call:
            pass
    return caught.value.code(), details(caught.value)[0]


def test_it_says_what_http_says(cdpd):
    with client(cdpd) as rpc:
        http = Stream(cdpd)
        stream = Subscription(rpc)
        cdpd.post("/v1/identify", {"userId": "u1", "anonymousId": "a1", "traits": {"plan": "free", "näme": "\u0000ü"}})
        cdpd.post("/v1/page", {"anonymousId": "a2"})
        cdpd.settled()
        cdpd.post("/v1/identify", {"userId": "u1", "anonymousId": "a2", "traits": {"plan": "pro"}})
        cdpd.settled()
        for _ in range(8):
            cursor, kind, told = http.next()
            change = stream.next()
            assert {**change, "at": None} == {**told, "at": None} and stream.cursor == cursor
            assert change["kind"] == kind
        stream.cancel()


def test_filters_and_resume(cdpd):
    with client(cdpd) as rpc:
        start = Subscription(rpc, kinds=kinds("trait"), traits=["n"])
        for n in range(20):
            position = identify(cdpd, f"u{n}", n=n, other="x")
        cdpd.profile("user_id:u0", position)
        seen, cursors = [], []
        for _ in range(20):
            seen.append(start.next())
            cursors.append(start.cursor)
        assert [change["traits"]["n"]["value"] for change in seen] == list(range(20)) and all(list(change["traits"]) == ["n"] for change in seen)
        resumed = Subscription(rpc, cursor=cursors[7], kinds=kinds("trait"), traits=["n"])
        assert [resumed.next()["traits"]["n"]["value"] for _ in range(12)] == list(range(8, 20))
        oldest = Subscription(rpc, from_oldest=True, kinds=kinds("profile"))
        assert len({oldest.next()["profile"] for _ in range(20)}) == 20
        # Kinds and names together, several streams on one connection.
        both = Subscription(rpc, from_oldest=True, kinds=kinds("trait", "profile"), traits=["n"])
        assert [both.next()["kind"] for _ in range(40)].count("trait") == 20
        for stream in (start, resumed, oldest, both):
            stream.cancel()


def test_refusals(cdpd):
    with client(cdpd) as rpc, running() as other:
        identify(other, "u1", n=1)
        foreign = Stream(other, "?since=start").next()[0]
        position = identify(cdpd, "u1", n=1)
        invalid = grpc.StatusCode.INVALID_ARGUMENT

        def subscribe(**request):
            return rpc.Subscribe(M.SubscribeRequest(**request))

        assert failure(subscribe(cursor="garbage")) == (invalid, "invalid_parameter")
        assert failure(subscribe(cursor=position)) == (invalid, "invalid_parameter")
        assert failure(subscribe(cursor=foreign)) == (grpc.StatusCode.OUT_OF_RANGE, "gone")
        assert failure(subscribe(kinds=[99])) == (invalid, "invalid_parameter")
        assert failure(subscribe(traits=["x"] * 101)) == (invalid, "invalid_parameter")
        assert failure(subscribe(traits=[""])) == (invalid, "invalid_parameter")
        assert failure(subscribe(subscription="none")) == (grpc.StatusCode.NOT_FOUND, "not_found")
        assert failure(subscribe(subscription="a b")) == (invalid, "invalid_parameter")
        assert failure(subscribe(subscription="x", traits=["a"])) == (invalid, "invalid_parameter")
        assert failure(rpc.Subscribe(b"\xff\xff\xff"))[0] == invalid
        assert failure(rpc.Snapshot(M.SnapshotRequest(cursor="garbage"))) == (invalid, "invalid_parameter")
        for metadata, status in [(None, grpc.StatusCode.UNAUTHENTICATED), (key(WRITE_KEY), grpc.StatusCode.UNAUTHENTICATED), (bearer("nothing"), grpc.StatusCode.UNAUTHENTICATED)]:
            assert failure(rpc.Subscribe(M.SubscribeRequest(), metadata=metadata))[0] == status
            assert failure(rpc.Snapshot(M.SnapshotRequest(), metadata=metadata))[0] == status
            assert failure(lambda: rpc.CommitCursor(subscription="x", cursor="y", metadata=metadata))[0] == status
        assert failure(lambda: rpc.CommitCursor(subscription="x", cursor="y"))[1] == "invalid_parameter"
        stream = Subscription(rpc)
        assert failure(lambda: rpc.CommitCursor(subscription="none", cursor=stream.cursor)) == (grpc.StatusCode.NOT_FOUND, "not_found")
        stream.cancel()


def test_deadline_and_cancel(cdpd):
    with client(cdpd) as rpc:
        assert failure(rpc.Subscribe(M.SubscribeRequest(), timeout=0.3))[0] == grpc.StatusCode.DEADLINE_EXCEEDED
        for _ in range(50):
            Subscription(rpc).cancel()
        stream = Subscription(rpc)
        identify(cdpd, "u1", n=1)
        assert stream.next()["kind"] == "profile"
        stream.cancel()


def test_named_cursors_move_by_commit_and_are_one_consumers(cdpd):
    with client(cdpd) as rpc:
        first = Subscription(rpc, subscription="crm", put=True, kinds=kinds("trait"), traits=["n"])
        assert show(cdpd, "crm")["traits"] == ["n"]
        for n in range(6):
            identify(cdpd, f"u{n}", n=n, other=1)
        cursors = []
        for n in range(6):
            assert first.next()["traits"] == {"n": {"value": n, "provenance": "observed"}}
            cursors.append(first.cursor)
        answer = rpc.CommitCursor(subscription="crm", cursor=cursors[2])
        assert answer.moved and answer.cursor == cursors[2]
        answer = rpc.CommitCursor(subscription="crm", cursor=cursors[0])
        assert not answer.moved and answer.cursor == cursors[2]
        second = Subscription(rpc, subscription="crm")
        assert failure(first.call) == (grpc.StatusCode.ABORTED, "taken_over")
        assert [second.next()["traits"]["n"]["value"] for _ in range(3)] == [3, 4, 5]
        # Over HTTP it is the same subscription.
        http = Stream(cdpd, "?subscription=crm")
        assert failure(second.call) == (grpc.StatusCode.ABORTED, "taken_over")
        assert http.next()[0] == cursors[3]
        third = Subscription(rpc, subscription="crm", put=True, kinds=kinds("trait"), traits=["n"])
        assert http.until(lambda kind, data: kind == "error")[-1][2]["code"] == "taken_over"
        assert rpc.CommitCursor(subscription="crm", cursor=cursors[0], reset=True).moved
        assert failure(third.call) == (grpc.StatusCode.ABORTED, "subscription_changed")
        fourth = Subscription(rpc, subscription="crm")
        assert [fourth.next()["traits"]["n"]["value"] for _ in range(5)] == [1, 2, 3, 4, 5]
        fourth.cancel()


CONSUMER = """
import json, sys
sys.path.insert(0, sys.argv[1])
import grpc
from rpc import M, client
class At:
    def address(self): return "127.0.0.1", int(sys.argv[2])
with client(At()) as rpc:
    for count, change in enumerate(rpc.Subscribe(M.SubscribeRequest(subscription="crm"), timeout=None)):
        if not change.kind: continue
        print(json.loads(change.json)["traits"]["n"]["value"], flush=True)
        if count % 5 == 0:
            rpc.CommitCursor(subscription="crm", cursor=change.cursor)
            print("committed", flush=True)
"""


def run_consumer(daemon, until):
    """A consumer of its own process, killed with -9 when it has seen `until` numbers; what it saw, and how many of them are committed."""
    folder = str(pathlib.Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", CONSUMER, folder, str(daemon.address()[1])], stdout=subprocess.PIPE, env={**os.environ, "CDPD_BUILD": str(daemon.build)})
    seen, settled = [], 0
    for line in process.stdout:
        if line.strip() == b"committed":
            settled = len(seen)
        else:
            seen.append(int(line))
        if until(seen):
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return seen, settled


def test_kill_9_of_the_consumer_and_of_cdpd_leave_no_gap(cdpd):
    with client(cdpd) as rpc:
        Subscription(rpc, subscription="crm", put=True, traits=["n"]).cancel()
    total, expected, got = 90, 0, []
    stop = threading.Event()
    sent = []

    def write():
        while len(sent) < total and not stop.is_set():
            try:
                answer = cdpd.post("/v1/identify", {"userId": f"u{len(sent)}", "traits": {"n": len(sent)}}, key=SERVER_KEY)
            except OSError:
                time.sleep(0.01)
                continue
            if answer.status == 200:
                sent.append(1)

    for turn in range(3):
        writer = threading.Thread(target=write)
        writer.start()
        seen, settled = run_consumer(cdpd, lambda seen: len(seen) >= 22)
        stop.set()
        writer.join()
        stop.clear()
        # A commit the consumer died in may or may not have been made.
        assert seen == list(range(seen[0], seen[0] + len(seen))) and seen[0] <= expected + 5 and seen[0] >= expected, (turn, expected, seen)
        expected = seen[0] + settled
        got += seen
        cdpd.kill()
        cdpd.start()
    write()
    seen, _ = run_consumer(cdpd, lambda seen: seen and seen[-1] == total - 1)
    assert seen[0] >= expected and seen == list(range(seen[0], total))
    assert set(got + seen) == set(range(total))


def test_a_stream_lives_through_restarts_by_its_cursor(cdpd):
    with client(cdpd) as rpc:
        cursor, seen = Subscription(rpc).cursor, []
    for turn in range(3):
        with client(cdpd) as rpc:
            stream = Subscription(rpc, cursor=cursor, traits=["n"])
            for n in range(10):
                identify(cdpd, f"u{turn}-{n}", n=turn * 10 + n)
            for _ in range(7):
                seen.append(stream.next()["traits"]["n"]["value"])
                cursor = stream.cursor
            cdpd.kill()
            cdpd.start()
            assert failure(stream.call)[0] == grpc.StatusCode.UNAVAILABLE
    assert seen == list(range(21))


def test_who_does_not_read_costs_little_and_delays_nobody(cdpd):
    with client(cdpd) as rpc, client(cdpd) as other:
        lazy = [rpc.Subscribe(M.SubscribeRequest()) for _ in range(20)]
        for call in lazy:
            next(call)
        busy = Subscription(other, kinds=kinds("profile"))
        before = cdpd.memory()
        for n in range(40):
            batch = [{"type": "identify", "userId": f"p{n}-{k}", "traits": {"text": "x" * 2000}} for k in range(100)]
            assert cdpd.post("/v1/batch", {"batch": batch}, key=SERVER_KEY).status == 200
        assert len({busy.next()["profile"] for _ in range(4000)}) == 4000
        assert cdpd.memory() - before < 80_000_000
        for call in lazy:
            call.cancel()
        busy.cancel()


def test_a_snapshot_and_the_changes_since_are_the_store(cdpd):
    with client(cdpd) as rpc:
        users = [f"user_id:u{n}" for n in range(60)]
        for n in range(60):
            position = cdpd.post("/v1/identify", {"userId": f"u{n}", "anonymousId": f"a{n}", "traits": {"n": n}}).headers["x-cdpd-position"]
        cdpd.profile("user_id:u0", position)
        copy, cursor, since, pieces = Copy(), "", None, 0
        while copy.until is None:
            rows = rpc.Snapshot(M.SnapshotRequest(cursor=cursor))
            for count, row in enumerate(rows):
                if row.since:
                    assert since in (None, row.since)
                    since = row.since
                elif row.until:
                    copy.until = row.until
                else:
                    profile = row.profile
                    assert row.cursor and row.as_of
                    copy.people[profile.id] = {
                        "identifiers": sorted(f"{i.namespace}:{i.value}" for i in profile.identifiers),
                        "traits": {t.name: {"value": json.loads(t.winner.value), "provenance": "observed"} for t in profile.traits},
                        "features": {f.name: json.loads(f.value) for f in profile.features},
                        "segments": sorted(profile.segments),
                    }
                    cursor = row.cursor
                if count == 20:
                    rows.cancel()
                    break
            pieces += 1
            identify(cdpd, f"u{pieces}", n=1000 + pieces)
        assert pieces >= 3
        stream = Subscription(rpc, cursor=since)
        cdpd.profile("user_id:u0", identify(cdpd, "the-end", done=1))
        end = cdpd.profile("user_id:the-end").json["id"]
        while True:
            change = stream.next()
            copy.apply(change)
            if change["kind"] == "trait" and change["profile"] == end:
                break
        copy.people.pop(end)
        stream.cancel()
        assert_is_the_store(cdpd, copy, users)


def test_streams_end_when_the_daemon_does(cdpd):
    with client(cdpd) as rpc:
        put = Subscription(rpc, subscription="crm", put=True)
        plain = Subscription(rpc)
        http = Stream(cdpd, "?subscription=crm")
        assert failure(put.call)[1] == "taken_over"
        assert cdpd.stop() == 0
        assert failure(plain.call)[0] == grpc.StatusCode.UNAVAILABLE
        http.close()


def test_reading_needs_the_scope(cdpd):
    with client(cdpd) as rpc:
        stream = rpc.Subscribe(M.SubscribeRequest(), metadata=bearer(READ_TOKEN))
        assert next(stream).cursor
        stream.cancel()
