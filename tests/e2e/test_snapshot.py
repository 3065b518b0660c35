"""GET /v1/snapshot: snapshot and changes since are the store, whatever happens meanwhile; it goes on after an interruption; it holds nothing up."""

import json
import random
import threading
import time
import urllib.parse

from cdpd import ADMIN_TOKEN, CONFIG, SERVER_KEY, running
from copy_of import Copy, as_copied, read_lines, snapshot_lines
from test_changes import Stream

SEGMENTS = """\
segments:
  - {{name: payers, when: {{feature: orders, at_least: 1}}}}
"""


def follow(daemon, copy, since):
    """Applies every change from `since` up to the newest."""
    stream = Stream(daemon, "?since=" + urllib.parse.quote(since))
    marker = daemon.post("/v1/identify", {"userId": "the-end", "traits": {"done": random.random()}}, key=SERVER_KEY)
    daemon.profile("user_id:the-end", marker.headers["x-cdpd-position"])
    end = daemon.profile("user_id:the-end").json["id"]
    while True:
        _, kind, change = stream.next()
        copy.apply(change)
        if kind == "trait" and change["profile"] == end and "done" in change["traits"]:
            # Of one transaction features are told after the traits of the same person.
            break
    stream.close()
    copy.people.pop(end)


def assert_is_the_store(daemon, copy, users):
    seen = {}
    for ref in users:
        answer = daemon.profile(ref)
        if answer.status == 404:
            continue
        seen[answer.json["id"]] = as_copied(answer.json)
    # A feature nobody fed is in every profile as read and in no change.
    for profile in (*seen.values(), *copy.people.values()):
        profile["features"] = {name: value for name, value in profile["features"].items() if value not in (0, None)}
    wrong = [(ref, part, person[part], copy.people.get(ref, {}).get(part, "nobody")) for ref, person in seen.items()
             for part in person if copy.people.get(ref, {}).get(part) != person[part]]
    extra = [(ref, person) for ref, person in copy.people.items() if ref not in seen]
    assert not wrong and not extra, (len(wrong), wrong[:4], len(extra), extra[:2])


def identify(daemon, user, **traits):
    return daemon.post("/v1/identify", {"userId": user, "traits": traits}, key=SERVER_KEY).headers["x-cdpd-position"]


def test_everybody_once_and_what_it_says(cdpd):
    for n in range(30):
        position = cdpd.post("/v1/identify", {"userId": f"u{n}", "anonymousId": f"a{n}", "traits": {"n": n}}).headers["x-cdpd-position"]
    cdpd.profile("user_id:u0", position)
    copy = Copy()
    connection, response = snapshot_lines(cdpd)
    lines = list(read_lines(response))
    assert list(lines[0]) == ["since"] and sorted(lines[-1]) == ["profiles", "until"] and lines[-1]["profiles"] == 30
    for line in lines:
        copy.take(line)
    assert copy.rows == len(copy.people) == 30
    row = lines[1]
    shown = cdpd.profile("id:" + row["profile"]["id"]).json
    assert {**shown, "position": None} == {**row["profile"], "position": None}
    assert_is_the_store(cdpd, copy, [f"user_id:u{n}" for n in range(30)])
    assert Stream(cdpd, "?since=" + row["asOf"]).response.status == 200
    connection.close()


def test_an_interrupted_snapshot_goes_on(cdpd):
    position = [identify(cdpd, f"u{n}", n=n) for n in range(50)][-1]
    cdpd.profile("user_id:u0", position)
    copy, pieces = Copy(), 0
    while copy.until is None:
        connection, response = snapshot_lines(cdpd, copy.last_row)
        for n, line in enumerate(read_lines(response)):
            if not copy.take(line) or n == 12:
                break
        connection.close()
        pieces += 1
        identify(cdpd, f"late{pieces}", n=pieces)
        if pieces == 2:
            cdpd.kill()
            cdpd.start()
    assert pieces > 3
    follow(cdpd, copy, copy.since)
    assert_is_the_store(cdpd, copy, [f"user_id:u{n}" for n in range(50)] + [f"user_id:late{n}" for n in range(1, pieces + 1)])


def test_cursors_of_others_are_refused(cdpd):
    assert cdpd.get("/v1/snapshot?cursor=garbage").json["code"] == "invalid_parameter"
    position = identify(cdpd, "u1", n=1)
    cdpd.profile("user_id:u1", position)
    connection, response = snapshot_lines(cdpd)
    row = [line for line in read_lines(response) if "profile" in line][0]
    connection.close()
    assert cdpd.get("/v1/snapshot?cursor=" + row["asOf"]).status == 400
    assert cdpd.get("/v1/changes?since=" + row["cursor"]).status == 400
    with running() as other:
        answer = other.get("/v1/snapshot?cursor=" + row["cursor"])
        assert answer.status == 410 and answer.json["code"] == "gone"


class Load(threading.Thread):
    """Events, orders, merges and erasures until told to stop."""

    def __init__(self, daemon, people):
        super().__init__()
        self.daemon_under_test, self.people = daemon, people
        self.random = random.Random(7)
        self.stopping = threading.Event()
        self.refs, self.pairs, self.parted = set(), [], 0
        self.error = None
        self.batches = 0

    def run(self):
        try:
            while not self.stopping.is_set():
                self.step()
        except Exception as error:  # shown by the test
            self.error = error

    def step(self):
        daemon, pick = self.daemon_under_test, self.random
        batch = []
        for _ in range(100):
            user = f"u{pick.randrange(self.people)}"
            self.refs.add("user_id:" + user)
            kind = pick.randrange(10)
            if kind < 5:
                batch.append({"type": "identify", "userId": user, "traits": {"plan": pick.choice(["free", "pro", "max"]), "n": pick.randrange(1000)}})
            elif kind < 8:
                batch.append({"type": "track", "userId": user, "event": "Order Completed", "properties": {"total": pick.randrange(100)}})
            else:
                device = f"d{pick.randrange(self.people)}"
                self.refs.add("anonymous_id:" + device)
                batch.append({"type": "page", "anonymousId": device, "properties": {"path": "/" + device}})
                if kind == 9:
                    batch.append({"type": "identify", "userId": user, "anonymousId": device, "traits": {}})
                    self.pairs.append((user, device))
        assert daemon.post("/v1/batch", {"batch": batch}, key=SERVER_KEY).status == 200
        self.batches += 1
        if self.batches % 10 == 0:
            user = f"u{pick.randrange(self.people)}"
            answer = daemon.request("DELETE", f"/v1/profiles/user_id:{user}?scope=profile", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
            assert answer.status in (202, 404), answer
        if self.batches % 5 == 0 and self.pairs:
            user, device = pick.choice(self.pairs[-500:])
            body = json.dumps({"a": f"user_id:{user}", "b": f"anonymous_id:{device}", "reason": "load"})
            answer = daemon.request("POST", "/v1/profiles/unmerge", body, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
            assert answer.status in (200, 202, 404, 409), answer
            self.parted += answer.status in (200, 202)


def profiles_bytes(daemon):
    return (daemon.data / "profiles" / "data.mdb").stat().st_size


def test_snapshot_and_changes_are_the_store_under_load_read_slowly():
    with running(CONFIG + SEGMENTS) as daemon:
        people = 1500
        for start in range(0, people, 500):
            batch = [{"type": "identify", "userId": f"u{n}", "traits": {"text": "x" * 300, "n": n}} for n in range(start, start + 500)]
            assert daemon.post("/v1/batch", {"batch": batch}, key=SERVER_KEY).status == 200
        daemon.settled()
        load = Load(daemon, people)
        load.refs |= {f"user_id:u{n}" for n in range(people)}
        # How the file grows by this load when nobody reads: outcomes, dedup ids and changes are kept.
        for _ in range(50):
            load.step()
        daemon.settled()
        start, alone = profiles_bytes(daemon), 300
        for _ in range(alone):
            load.step()
        daemon.settled()
        before, load.batches = profiles_bytes(daemon), 0
        load.start()
        copy = Copy()
        connection, response = snapshot_lines(daemon)
        took, began = 0, time.monotonic()
        for line in read_lines(response):
            took += len(str(line))
            # 100 KB a second, also where sockets hold much.
            while took / 100_000 > time.monotonic() - began and time.monotonic() - began < 12:
                time.sleep(0.02)
            copy.take(line)
        connection.close()
        load.stopping.set()
        load.join()
        assert load.error is None, load.error
        assert copy.until is not None and load.parted > 0
        daemon.settled()
        # A read transaction held open all the while would have made it grow by every page written, dozens of times as much.
        usual = (before - start) * load.batches / alone
        assert profiles_bytes(daemon) - before < usual * 1.5 + 10_000_000, (start, before, profiles_bytes(daemon), load.batches)
        follow(daemon, copy, copy.since)
        assert_is_the_store(daemon, copy, load.refs)


def test_a_client_that_never_reads_costs_little_and_delays_nobody():
    with running() as daemon:
        for part in range(20):
            batch = [{"type": "identify", "userId": f"p{part}-{k}", "traits": {"text": "x" * 2000}} for k in range(200)]
            assert daemon.post("/v1/batch", {"batch": batch}, key=SERVER_KEY).status == 200
        daemon.settled()
        before = daemon.memory()
        lazy = [snapshot_lines(daemon) for _ in range(10)]
        for n in range(20):
            daemon.profile("user_id:p0-0", daemon.track("p0-0", "A"))
        assert daemon.memory() - before < 30_000_000
        for connection, _ in lazy:
            connection.close()
        copy = Copy()
        connection, response = snapshot_lines(daemon)
        for line in read_lines(response):
            copy.take(line)
        assert copy.rows == 4000
        connection.close()


def test_too_many_at_once_are_refused(cdpd):
    for part in range(20):
        batch = [{"type": "identify", "userId": f"p{part}-{k}", "traits": {"text": "x" * 2000}} for k in range(200)]
        assert cdpd.post("/v1/batch", {"batch": batch}, key=SERVER_KEY).status == 200
    cdpd.settled()
    lazy = [snapshot_lines(cdpd) for _ in range(16)]
    answer = cdpd.get("/v1/snapshot")
    assert answer.status == 429 and answer.json["code"] == "overloaded", answer
    for connection, _ in lazy:
        connection.close()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if cdpd.get("/v1/snapshot").status == 200:
            return
    raise AssertionError("leases are not given back")
