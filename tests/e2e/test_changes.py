"""The change feed as Server-Sent Events: order, filters, resume without a gap, slow readers harm nobody."""

import json
import time
import urllib.parse

from cdpd import ADMIN_TOKEN, SERVER_KEY, running


class Stream:
    def __init__(self, daemon, query="", last_id=None, token=ADMIN_TOKEN, path="/v1/changes"):
        self.connection = daemon.connect(timeout=10)
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        self.connection.request("GET", path + query, headers=headers)
        self.response = self.connection.getresponse()

    def next(self):
        """The next event as (id, kind, data); comments are passed over."""
        fields = {}
        while True:
            line = self.response.readline()
            assert line, "the stream ended"
            line = line.decode().rstrip("\n").rstrip("\r")
            if not line:
                if "data" in fields:
                    return fields.get("id"), fields.get("event"), json.loads(fields["data"])
                fields = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")

    def until(self, wanted):
        """Events up to the first for which wanted(kind, data) holds."""
        found = []
        while True:
            event = self.next()
            found.append(event)
            if wanted(event[1], event[2]):
                return found

    def close(self):
        self.connection.close()


def test_a_person_appears_and_changes(cdpd):
    stream = Stream(cdpd)
    assert stream.response.status == 200 and stream.response.getheader("Content-Type").startswith("text/event-stream")
    cdpd.post("/v1/identify", {"userId": "u1", "anonymousId": "a1", "traits": {"plan": "free"}})
    seen = stream.until(lambda kind, data: kind == "trait")
    kinds = [kind for _, kind, _ in seen]
    assert "profile" in kinds
    trait = seen[-1][2]
    assert trait["traits"]["plan"]["value"] == "free"
    assert trait["profile"] == cdpd.profile("user_id:u1").json["id"]
    stream.close()


def test_resume_shows_no_gap_and_no_repeat(cdpd):
    for n in range(30):
        position = cdpd.track(f"user{n}", "A")
    cdpd.profile("user_id:user0", position)
    first = Stream(cdpd, "?since=start") if Stream(cdpd, "?since=start").response.status == 200 else None
    all_ids = [first.next()[0] for _ in range(40)] if first else []
    assert len(set(all_ids)) == 40
    resumed = Stream(cdpd, last_id=all_ids[14])
    assert [resumed.next()[0] for _ in range(25)] == all_ids[15:]
    by_query = Stream(cdpd, "?since=" + urllib.parse.quote(all_ids[14]))
    assert [by_query.next()[0] for _ in range(25)] == all_ids[15:]


def test_resume_across_a_kill(cdpd):
    stream = Stream(cdpd)
    cdpd.profile("user_id:u1", cdpd.track("u1", "A"))
    last = stream.next()[0]
    cdpd.kill()
    cdpd.start()
    cdpd.track("u2", "A")
    resumed = Stream(cdpd, last_id=last)
    people = set()
    resumed.until(lambda kind, data: people.add(data["profile"]) or data["profile"] == cdpd.profile("user_id:u2").json.get("id"))


def test_filters(cdpd):
    stream = Stream(cdpd, "?kind=trait&trait=plan")
    cdpd.post("/v1/identify", {"userId": "u1", "traits": {"city": "Riga"}})
    cdpd.post("/v1/identify", {"userId": "u1", "traits": {"plan": "free"}})
    _, kind, data = stream.next()
    assert kind == "trait" and list(data["traits"]) == ["plan"]


def test_merges_are_never_coalesced(cdpd):
    stream = Stream(cdpd, "?kind=merged")
    cdpd.track("u1", "A")
    cdpd.post("/v1/page", {"anonymousId": "a1"})
    cdpd.settled()
    anonymous = cdpd.profile("anonymous_id:a1").json["id"]
    cdpd.post("/v1/identify", {"userId": "u1", "anonymousId": "a1", "traits": {}})
    _, kind, data = stream.next()
    assert kind == "merged" and data["from"] == anonymous and data["into"] == cdpd.profile("user_id:u1").json["id"]


def test_a_position_of_the_journal_is_refused(cdpd):
    position = cdpd.track("u1", "A")
    answer = cdpd.get("/v1/changes?since=" + position)
    assert answer.status in (400, 410), answer


def test_cursors_of_another_store_are_gone(cdpd):
    with running() as other:
        other.track("u1", "A")
        stream = Stream(other, "?since=start")
        foreign = stream.next()[0]
    answer = cdpd.get("/v1/changes?since=" + foreign)
    assert answer.status == 410 and answer.json["code"] == "gone"


def test_a_reader_that_never_reads_costs_little(cdpd):
    cdpd.track("u0", "A")
    lazy = [Stream(cdpd) for _ in range(20)]
    before = cdpd.memory()
    for n in range(40):
        batch = [{"type": "identify", "userId": f"p{n}-{k}", "traits": {"text": "x" * 500}} for k in range(100)]
        assert cdpd.post("/v1/batch", {"batch": batch}).status == 200
    cdpd.settled()
    assert cdpd.memory() - before < 60_000_000
    for stream in lazy:
        stream.close()
    time.sleep(0.1)
    assert cdpd.get("/healthz", token=None).status == 200


def test_tail_shows_events_as_they_are_applied(cdpd):
    stream = Stream(cdpd, path="/v1/admin/tail")
    cdpd.track("u1", "Live", "live-1")
    while True:
        _, _, data = stream.next()
        if data.get("messageId") == "live-1":
            break
    assert data["outcome"]["verdict"] == "applied"


def test_what_runs_out_is_told_when_it_does():
    purposes = "consent:\n  purposes:\n    - {{name: newsletter, channels: [email]}}\n"
    with running(extra=purposes) as daemon:
        stream = Stream(daemon, "?kind=consent")
        until = time.time() + 3
        said = {"person": "user_id:u1", "purpose": "newsletter", "state": "granted", "expires_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))}
        while True:  # the purposes are in force once the fold has come to their definition
            answer = daemon.post("/v1/consents", said, key=SERVER_KEY)
            if answer.status == 200:
                break
        _, _, granted = stream.next()
        _, _, expired = stream.next()
        assert granted["state"] == "granted" and (expired["state"], expired["previous"], expired["cause"]) == ("expired", "granted", "time")
        assert expired["expiresAt"].startswith(said["expires_at"][:-1])
        # Nobody wrote anything meanwhile: the journal's own tick brought it, and not before its time.
        assert time.time() >= int(until)
        stream.close()
