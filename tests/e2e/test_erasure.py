"""A person is taken out of everything, to the last byte on disk, and nobody else is touched. docs/erasure.md."""

import contextlib
import json
import pathlib
import shutil
import subprocess
import time
import urllib.parse

import pytest
from cdpd import ADMIN_TOKEN, CONFIG, READ_TOKEN, SERVER_KEY, Daemon

CANARY = "canary-7f3a9c"


def call(daemon, method, path, token=ADMIN_TOKEN):
    return daemon.request(method, path, headers={"Authorization": f"Bearer {token}"})


def erase(daemon, ref, **query):
    return call(daemon, "DELETE", f"/v1/profiles/{urllib.parse.quote(ref, safe=':')}?{urllib.parse.urlencode(query)}")


def wait_done(daemon, receipt, timeout=120):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        answer = daemon.get(f"/v1/erasures/{receipt}")
        assert answer.status == 200, answer
        if answer.json["state"] == "done":
            return answer.json
        time.sleep(0.05)
    raise AssertionError(f"never done: {answer.json}\n{daemon.log_text()}")


def erase_and_wait(daemon, ref, **query):
    answer = erase(daemon, ref, **query)
    assert answer.status == 202, answer
    return wait_done(daemon, answer.json["id"])


def where(folder, needle=CANARY):
    """Files under the folder whose raw bytes hold the needle."""
    return [str(path) for path in pathlib.Path(folder).rglob("*") if path.is_file() and needle.encode() in path.read_bytes()]


def plant(daemon, user="alice", canary=CANARY):
    """A person whose every part holds the canary: events, traits, identifiers, a duplicate and a reject."""
    anonymous = f"{canary}-device"
    message = {"type": "track", "userId": user, "event": "Order Completed", "messageId": f"{canary}-m1", "properties": {"note": canary, "total": 10}}
    daemon.post("/v1/track", {"anonymousId": anonymous, "event": "Seen", "properties": {"note": canary}, "messageId": f"{canary}-m0"})
    daemon.post("/v1/identify", {"userId": user, "anonymousId": anonymous, "traits": {"email": f"{canary}@example.com", "name": f"Alice {canary}"}})
    daemon.post("/v1/track", message)
    daemon.post("/v1/track", message)
    daemon.post("/v1/track", {**message, "properties": {"note": "another content " + canary}})
    daemon.post("/v1/track", {"userId": user, "event": "Large", "properties": {"note": canary * 300}})
    assert daemon.post("/v1/batch", {"batch": [{"type": "nonsense", "userId": user, "note": canary}]}).json["rejected"]


def people(daemon, refs):
    found = {}
    for ref in refs:
        answer = daemon.profile(ref)
        found[ref] = answer.status
        if answer.status == 200:
            body = answer.json
            body.pop("position")
            found[ref] = body
            found[ref + " history"] = [{k: v for k, v in row.items() if k not in ("position", "at")} for row in daemon.get(f"/v1/profiles/{ref}/history").json["links"]]
            found[ref + " events"] = [(event["messageId"], event["outcome"]["verdict"]) for event in daemon.events(ref)]
    return found


def test_an_erased_person_is_nowhere_in_the_raw_files(cdpd):
    plant(cdpd)
    for n in range(50):
        cdpd.track("bob", "Order Completed", properties={"total": n})
    cdpd.settled()
    assert len(where(cdpd.data)) >= 2, "the canary was not planted"
    before = people(cdpd, ["user_id:bob"])
    done = erase_and_wait(cdpd, "user_id:alice", reason="asked to")
    assert where(cdpd.data) == []
    assert done["counts"]["events"] == 6 and done["counts"]["rejects"] == 1 and done["counts"]["segmentsRewritten"] == 1
    assert done["reason"] == "asked to" and done["actor"] == "admin" and len(done["fragments"]) == 3
    for ref in ["user_id:alice", f"email:{CANARY}@example.com", f"anonymous_id:{CANARY}-device"]:
        assert cdpd.profile(ref).status == 404
    assert people(cdpd, ["user_id:bob"]) == before
    status = cdpd.settled()
    assert status["balanced"] and status["events"]["erased"] == 6, status["events"]
    cdpd.stop()
    assert where(cdpd.data) == []


EVERYTHING = """
consent:
  purposes:
    - {{name: newsletter, channels: [email]}}
forms:
  - {{name: fit, version: 1, questions: [{{id: why, type: text, text: Why?, max_length: 200}}]}}
segments:
  - {{name: buyers, when: {{feature: orders, at_least: 1}}}}
  - {{name: mailable, when: {{consent: newsletter/email, is: granted}}}}
"""


def test_consents_answers_segments_and_merges_of_the_erased_go_too(tmp_path):
    """The other person of a merge stays, with what is hers."""
    daemon = Daemon(tmp_path, extra=EVERYTHING).start()
    try:
        plant(daemon)
        for user in ("alice", "bob"):
            daemon.post("/v1/consents", {"person": f"user_id:{user}", "purpose": "newsletter", "channel": "email", "state": "granted",
                                         "proof": {"text": f"yes, {CANARY}" if user == "alice" else "yes"}}, key=SERVER_KEY)
        answer = daemon.post("/v1/forms/fit/responses", {"userId": "alice", "answers": {"why": f"because {CANARY}"}}, key=SERVER_KEY)
        assert answer.status == 200, answer
        daemon.track("bob", "Order Completed", properties={"total": 3})
        daemon.post("/v1/track", {"anonymousId": "old-phone", "event": "Seen", "messageId": "p1"})
        daemon.settled()
        body = json.dumps({"a": "user_id:alice", "b": "anonymous_id:old-phone", "reason": f"a call from {CANARY}"}).encode()
        assert daemon.request("POST", "/v1/profiles/merge", body, {"Authorization": f"Bearer {ADMIN_TOKEN}"}).status == 200
        alice = daemon.profile("user_id:alice").json
        assert set(alice["segments"]) == {"buyers", "mailable"} and alice["traits"]["fit.why"]["provenance"] == "declared"
        assert daemon.get("/v1/segments/buyers").json["members"] == 2
        before = people(daemon, ["user_id:bob"])

        erase_and_wait(daemon, "user_id:alice")
        assert where(daemon.data) == []
        for ref in ("user_id:alice", "anonymous_id:old-phone"):
            assert daemon.profile(ref).status == 404
        assert people(daemon, ["user_id:bob"]) == before
        for name in ("buyers", "mailable"):
            assert daemon.get(f"/v1/segments/{name}").json["members"] == 1
            assert len(daemon.get(f"/v1/segments/{name}/members").json["members"]) == 1
        assert daemon.get("/v1/admin/consents/verify").json["intact"] is True
        assert daemon.get("/v1/consents/check?person=user_id:alice&purpose=newsletter&channel=email").json["allowed"] is False
        daemon.stop()
        daemon.start()  # and what is left is sound
        assert people(daemon, ["user_id:bob"]) == before and where(daemon.data) == []
    finally:
        daemon.stop()


def test_who_an_erased_identifier_had_joined_stays_one_person(cdpd):
    """Also when something else is unmerged later, which decides every link again."""
    for n, fields in enumerate([{"userId": "carol", "anonymousId": "c-phone"}, {"userId": "carol", "anonymousId": "c-laptop"},
                                {"userId": "carol", "anonymousId": "c-tablet"}]):
        cdpd.post("/v1/track", {"event": "Seen", "messageId": f"c{n}", **fields})
    cdpd.settled()
    erase_and_wait(cdpd, "user_id:carol", scope="identifier")
    left = {"c-phone", "c-laptop", "c-tablet"}
    assert {i["value"] for i in cdpd.profile("anonymous_id:c-phone").json["identifiers"]} == left
    body = json.dumps({"a": "anonymous_id:c-phone", "b": "anonymous_id:c-tablet", "reason": "sold"}).encode()
    answer = cdpd.request("POST", "/v1/profiles/unmerge", body, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert answer.status == 200, answer
    groups = {frozenset(i["value"] for i in cdpd.profile(f"anonymous_id:{value}").json["identifiers"]) for value in left}
    assert len(groups) == 2 and sum(map(len, groups)) == 3


def test_asking_twice_gives_the_same_receipt(cdpd):
    plant(cdpd)
    cdpd.settled()
    first = erase(cdpd, "user_id:alice").json
    assert erase(cdpd, "user_id:alice").json["id"] == first["id"]
    wait_done(cdpd, first["id"])
    assert erase(cdpd, f"email:{CANARY}@example.com").json["id"] == first["id"]
    assert [row["id"] for row in cdpd.get("/v1/erasures").json["erasures"]] == [first["id"]]
    assert erase(cdpd, "user_id:nobody").status == 404
    assert erase(cdpd, "user_id:alice", scope="all").status == 400
    assert cdpd.get("/v1/erasures/0123").status == 404


def test_a_dry_run_changes_nothing(cdpd):
    plant(cdpd)
    cdpd.settled()
    before = people(cdpd, ["user_id:alice"])
    answer = erase(cdpd, "user_id:alice", dry_run=1)
    assert answer.status == 200
    counts = answer.json["counts"]
    assert counts["fragments"] == 3 and counts["events"] == 4 and counts["segments"] == 1 and counts["links"] >= 2 and counts["changes"] >= 3
    assert counts["deadLetters"] == 0 and answer.json["complete"] is True
    one = erase(cdpd, f"anonymous_id:{CANARY}-device", scope="identifier", dry_run=1).json
    assert one["counts"]["fragments"] == 1 and one["counts"]["remaining"] == 2 and one["counts"]["events"] == 1
    assert one["identifiers"] == [f"anonymous_id:{CANARY}-device"]
    assert people(cdpd, ["user_id:alice"]) == before
    assert cdpd.get("/v1/erasures").json["erasures"] == []


def test_a_shared_device_spares_its_other_person(cdpd):
    device = "shared-tablet"
    cdpd.post("/v1/identify", {"userId": "alice", "anonymousId": device, "traits": {"name": CANARY}})
    cdpd.post("/v1/identify", {"userId": "bob", "anonymousId": device, "traits": {"name": "Bob"}})
    position = cdpd.track("bob", "Order Completed", anonymousId=device, properties={"total": 5})
    before = cdpd.profile("user_id:bob", position).json
    erase_and_wait(cdpd, "user_id:alice")
    after = cdpd.profile("user_id:bob").json
    assert before["traits"]["name"]["value"] == after["traits"]["name"]["value"] == "Bob"
    assert after["features"] == before["features"] and after["identifiers"] == before["identifiers"]
    assert where(cdpd.data) == []
    # The identity decision stands: the device was alice's when bob used it, and is not his now.
    history = cdpd.get("/v1/profiles/user_id:bob/history").json["links"]
    assert [row["linked"] for row in history] == [False]
    # A new visitor on it is somebody new.
    assert cdpd.profile(f"anonymous_id:{device}").status == 404
    cdpd.post("/v1/track", {"anonymousId": device, "event": "Back"})
    cdpd.settled()
    assert cdpd.profile(f"anonymous_id:{device}").json["features"]["events"] == 1


def test_one_identifier_goes_and_the_person_stays(cdpd):
    cdpd.post("/v1/track", {"anonymousId": "phone", "event": "Order Completed", "properties": {"total": 3, "note": CANARY}})
    cdpd.post("/v1/identify", {"userId": "alice", "anonymousId": "phone", "traits": {"name": "Alice"}})
    cdpd.post("/v1/track", {"userId": "alice", "event": "Order Completed", "properties": {"total": 4}})
    cdpd.settled()
    assert cdpd.profile("user_id:alice").json["features"]["revenue"] == 7
    done = erase_and_wait(cdpd, "anonymous_id:phone", scope="identifier")
    assert done["scope"] == "identifier" and done["counts"]["events"] == 1
    alice = cdpd.profile("user_id:alice").json
    assert alice["features"]["revenue"] == 4 and alice["fragments"] == 1 and alice["traits"]["name"]["value"] == "Alice"
    assert where(cdpd.data) == []


def test_older_events_that_come_late_are_blocked_and_newer_ones_are_not(cdpd):
    plant(cdpd)
    cdpd.settled()
    erase_and_wait(cdpd, "user_id:alice")
    late = {"userId": "alice", "event": "Late", "timestamp": "2020-01-01T00:00:00Z", "messageId": "late-1", "properties": {"note": CANARY}}
    cdpd.post("/v1/track", late)
    cdpd.settled()
    assert cdpd.profile("user_id:alice").status == 404
    outcome = cdpd.get("/v1/admin/trace?message_id=late-1").json["events"][0]["outcome"]
    assert outcome["verdict"] == "erased" and outcome["reason"] == "older_than_erasure"
    time.sleep(0.01)
    cdpd.post("/v1/track", {"userId": "alice", "event": "New"})
    status = cdpd.settled()
    assert cdpd.profile("user_id:alice").json["features"]["events"] == 1
    assert status["balanced"] and status["events"]["erased"] == 7
    # The next sweep takes the late one's content out too.
    erase_and_wait(cdpd, "user_id:alice")
    assert where(cdpd.data) == []


def test_a_rebuild_from_the_rewritten_journal_gives_the_same_people(cdpd):
    device = "tablet"
    plant(cdpd)
    for user in ["bob", "carol"]:
        cdpd.post("/v1/identify", {"userId": user, "anonymousId": f"{CANARY}-device", "traits": {"name": user}})
        cdpd.post("/v1/identify", {"userId": user, "anonymousId": device, "traits": {"email": f"{user}@example.com"}})
        cdpd.track(user, "Order Completed", properties={"total": 5})
    cdpd.post("/v1/track", {"anonymousId": device, "event": "Seen"})
    cdpd.settled()
    erase_and_wait(cdpd, "user_id:alice")
    erase_and_wait(cdpd, f"anonymous_id:{device}", scope="identifier")
    cdpd.track("bob", "After")
    cdpd.settled()
    refs = ["user_id:alice", "user_id:bob", "user_id:carol", f"anonymous_id:{device}", f"anonymous_id:{CANARY}-device", "email:bob@example.com"]
    live, counts = people(cdpd, refs), cdpd.status()["events"]
    cdpd.stop()
    shutil.rmtree(cdpd.data / "profiles")
    cdpd.start()
    rebuilt = cdpd.settled()
    assert people(cdpd, refs) == live
    assert rebuilt["balanced"] and rebuilt["events"] == counts
    late = {"userId": "alice", "event": "Late", "timestamp": "2020-01-01T00:00:00Z"}
    cdpd.post("/v1/track", late)
    cdpd.settled()
    assert cdpd.profile("user_id:alice").status == 404, "a rebuild forgets whom to block"


def test_an_older_copy_put_back_does_not_bring_anybody_back(cdpd):
    plant(cdpd)
    cdpd.track("bob", "Order Completed", properties={"total": 5})
    cdpd.settled()
    assert cdpd.stop() == 0
    backup = cdpd.folder / "backup"
    shutil.copytree(cdpd.data, backup)
    cdpd.start()
    receipt = erase_and_wait(cdpd, "user_id:alice")["id"]
    assert cdpd.stop() == 0
    for part in ["journal", "profiles", "delivery"]:
        shutil.rmtree(cdpd.data / part)
        shutil.copytree(backup / part, cdpd.data / part)
    assert where(cdpd.data), "the copy does not hold the person"
    cdpd.start()
    assert cdpd.profile("user_id:alice").status == 404, "seen again before it was erased again"
    again = wait_done(cdpd, receipt)
    assert again["repeats"] == 1
    assert where(cdpd.data) == []
    assert cdpd.profile("user_id:bob").json["features"]["revenue"] == 5
    assert cdpd.settled()["balanced"]


@pytest.mark.parametrize("syscall", ["rename", "fdatasync", "pwrite64", "unlinkat"])
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_kill_9_at_any_step_of_the_rewriting(tmp_path, syscall):
    """strace kills cdpd on entry to the k-th such call after the erasure was asked for; the next start goes on, until it is done."""
    daemon = Daemon(tmp_path, CONFIG.replace("ballast: 1MiB", "ballast: 1MiB, segment_bytes: 1MiB"))
    daemon.start()
    plant(daemon)
    for n in range(0, 4000, 500):
        batch = [{"type": "track", "userId": f"user-{i % 7}", "event": "Order Completed", "messageId": f"{n}-{i}", "properties": {"total": 1, "pad": "x" * 300}} for i in range(500)]
        assert daemon.post("/v1/batch", {"batch": batch}).status == 200
    daemon.post("/v1/track", {"userId": "alice", "event": "Last", "properties": {"note": CANARY}})
    daemon.settled()
    refs = [f"user_id:user-{i}" for i in range(7)]
    before = {ref: daemon.profile(ref).json["features"] for ref in refs}
    receipt = erase(daemon, "user_id:alice").json["id"]
    daemon.kill()
    fired = 0
    for k in [1, 2, 3, 4, 5, 6, 8, 11, 15]:
        trace = tmp_path / "trace"
        daemon.wrapper = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={syscall}", "-e", f"inject={syscall}:signal=SIGKILL:when={k}"]
        with contextlib.suppress(AssertionError, OSError):  # it may die before it listens
            daemon.start(ready=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.process.wait(3)
            fired += 1
        if daemon.process.poll() is None:
            daemon.kill()
    assert fired >= 1, "the fault did not fire"
    daemon.wrapper = []
    daemon.start()
    wait_done(daemon, receipt)
    assert where(daemon.data) == []
    assert daemon.profile("user_id:alice").status == 404
    assert {ref: daemon.profile(ref).json["features"] for ref in refs} == before
    assert daemon.settled()["balanced"]
    left = {path.name for path in (daemon.data / "journal").iterdir()}
    assert all(name.isdigit() for name in left), left
    assert not (daemon.data / "profiles.compact").exists()
    daemon.kill()


def test_acknowledgements_and_reads_go_on_while_a_person_is_erased(stopped):
    stopped.write_config(CONFIG.replace("ballast: 1MiB", "ballast: 1MiB, segment_bytes: 1MiB"))
    stopped.start()
    plant(stopped)
    receipt = None
    for n in range(40):
        batch = [{"type": "track", "userId": f"user-{i % 5}", "event": "Order Completed", "messageId": f"{n}-{i}", "properties": {"total": 1, "pad": "x" * 200}} for i in range(200)]
        assert stopped.post("/v1/batch", {"batch": batch}).status == 200
        if n == 10:
            stopped.settled()
            receipt = erase(stopped, "user_id:alice").json["id"]
        if n > 10:
            assert stopped.profile("user_id:user-0").status == 200
    wait_done(stopped, receipt)
    assert stopped.settled()["balanced"]
    assert where(stopped.data) == []
    assert sum(stopped.profile(f"user_id:user-{i}").json["features"]["orders"] for i in range(5)) == 8000


def test_the_change_feed_tells_of_it_and_forgets_the_values(cdpd):
    plant(cdpd)
    cdpd.settled()
    profile = cdpd.profile("user_id:alice").json["id"]
    erase_and_wait(cdpd, "user_id:alice")
    connection = cdpd.connect()
    connection.request("GET", "/v1/changes?since=start", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    response = connection.getresponse()
    text = b""
    while b"event: erased" not in text or not text.endswith(b"\n\n"):
        text += response.read1(65536)
    connection.close()
    assert CANARY.encode() not in text
    data = [json.loads(line[6:]) for line in text.decode().splitlines() if line.startswith("data: ")]
    erased = [row for row in data if row["kind"] == "erased"]
    assert len(erased) == 1 and erased[0]["profile"] == profile and len(erased[0]["fragments"]) == 3 and erased[0]["remaining"] is None


def test_destinations_are_told(tmp_path):
    daemon = Daemon(tmp_path, extra="destinations:\n  - {{name: file, plugin: ndjson, options: {{directory: \"{folder}/out\"}}}}\n")
    daemon.start()
    plant(daemon)
    daemon.settled()
    receipt = erase_and_wait(daemon, "user_id:alice")
    deadline = time.monotonic() + 60
    lines = []
    while not any(line.get("type") == "erased" for line in lines):
        assert time.monotonic() < deadline, lines
        time.sleep(0.05)
        lines = [json.loads(line) for path in (tmp_path / "out").glob("*.ndjson*") for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    told = next(line for line in lines if line.get("type") == "erased")
    assert told["messageId"] == receipt["id"] and told["scope"] == "profile" and sorted(told["profileIds"]) == sorted(receipt["fragments"])
    assert told["profileId"] in receipt["fragments"]
    daemon.kill()


# ── suppression ──────────────────────────────────────────────────────────────


def test_a_suppressed_person_gets_no_more_events_until_it_is_lifted(cdpd):
    cdpd.post("/v1/identify", {"userId": "alice", "anonymousId": "phone", "traits": {"name": "A"}})
    cdpd.settled()
    answer = call(cdpd, "PUT", "/v1/suppressions/user_id:alice?reason=asked")
    assert answer.status == 200 and answer.json["suppressed"] is True
    before = cdpd.profile("user_id:alice", answer.json["position"]).json
    cdpd.track("alice", "Order Completed", message_id="s1", properties={"total": 1})
    cdpd.post("/v1/track", {"anonymousId": "phone", "event": "Seen"})
    cdpd.post("/v1/track", {"userId": "bob", "anonymousId": "phone", "event": "Seen"})  # somebody else on the same device
    cdpd.track("bob", "Order Completed")
    status = cdpd.settled()
    assert cdpd.profile("user_id:alice").json["features"] == before["features"]
    assert cdpd.profile("user_id:bob").json["features"]["events"] == 2
    assert status["balanced"]
    assert cdpd.get("/v1/admin/trace?message_id=s1").json["events"][0]["outcome"]["verdict"] == "suppressed"
    assert [event["messageId"] for event in cdpd.events("user_id:alice") if event["messageId"] == "s1"] == []
    listed = cdpd.get("/v1/suppressions").json["suppressions"]
    assert len(listed) == 1 and listed[0]["fragments"] == 2 and listed[0]["reason"] == "asked" and listed[0]["actor"] == "admin"
    assert cdpd.get("/v1/suppressions/user_id:alice").json["id"] == listed[0]["id"]
    assert call(cdpd, "PUT", "/v1/suppressions/user_id:alice").status == 200
    lifted = call(cdpd, "DELETE", "/v1/suppressions/user_id:alice")
    assert lifted.status == 200
    cdpd.track("alice", "Order Completed")
    cdpd.settled()
    assert cdpd.profile("user_id:alice").json["features"]["events"] == before["features"]["events"] + 1
    assert cdpd.get("/v1/suppressions").json["suppressions"] == []
    assert cdpd.get("/v1/suppressions/user_id:alice").status == 404
    assert call(cdpd, "DELETE", "/v1/suppressions/user_id:alice").status == 200, "lifting twice is fine"


def test_a_suppression_is_the_same_after_a_rebuild_and_of_people_not_known_yet(cdpd):
    call(cdpd, "PUT", "/v1/suppressions/user_id:stranger")
    cdpd.track("stranger", "Hello")
    cdpd.track("bob", "Hello")
    counts = cdpd.settled()["events"]
    assert cdpd.profile("user_id:stranger").status == 404
    cdpd.stop()
    shutil.rmtree(cdpd.data / "profiles")
    cdpd.start()
    assert cdpd.settled()["events"] == counts
    assert cdpd.profile("user_id:stranger").status == 404 and cdpd.profile("user_id:bob").status == 200


# ── export ───────────────────────────────────────────────────────────────────


def test_an_export_holds_everything(cdpd):
    plant(cdpd)
    cdpd.post("/v1/identify", {"userId": "alice", "traits": {"name": "Alice now"}})
    for n in range(700):  # more than one piece
        if n % 100 == 0:
            batch = [{"type": "track", "userId": "alice", "event": "Many", "messageId": f"many-{n + i}", "properties": {"pad": "y" * 300}} for i in range(100)]
            cdpd.post("/v1/batch", {"batch": batch})
    cdpd.settled()
    document = cdpd.get("/v1/profiles/user_id:alice/export").json
    assert document["complete"] is True
    assert {f"{row['namespace']}:{row['value']}" for row in document["profile"]["identifiers"]} == {"user_id:alice", f"email:{CANARY}@example.com", f"anonymous_id:{CANARY}-device"}
    assert document["profile"]["traits"]["name"]["value"] == "Alice now"
    assert document["profile"]["features"]["orders"] == 1
    ids = [event["messageId"] for event in document["events"]]
    assert len(ids) == len(set(ids)) == 705 and f"{CANARY}-m1" in ids
    assert all(event["outcome"]["verdict"] == "applied" for event in document["events"])
    assert len(document["links"]) >= 2 and len(document["rejects"]) == 1
    assert cdpd.get("/v1/profiles/user_id:nobody/export").status == 404
    assert json.loads(cdpd.ctl("export", "user_id:alice").stdout)["complete"] is True


def test_a_client_that_leaves_an_export_harms_nobody(cdpd):
    for n in range(10):
        batch = [{"type": "track", "userId": "alice", "event": "Many", "properties": {"pad": "y" * 2000}} for _ in range(200)]
        cdpd.post("/v1/batch", {"batch": batch})
    cdpd.settled()
    for _ in range(5):
        with cdpd.socket() as client:
            client.sendall(f"GET /v1/profiles/user_id:alice/export HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode())
            assert client.recv(1000)
    assert len(cdpd.get("/v1/profiles/user_id:alice/export").json["events"]) == 2000


# ── who may, and cdpctl ──────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "method,path",
    [
        ("GET", "/v1/profiles/user_id:a/export"),
        ("DELETE", "/v1/profiles/user_id:a"),
        ("GET", "/v1/erasures"),
        ("GET", "/v1/erasures/00"),
        ("PUT", "/v1/suppressions/user_id:a"),
        ("DELETE", "/v1/suppressions/user_id:a"),
        ("GET", "/v1/suppressions"),
        ("GET", "/v1/suppressions/user_id:a"),
    ],
)
def test_each_route_needs_its_scope(cdpd, method, path):
    assert call(cdpd, method, path, READ_TOKEN).status == 403
    assert cdpd.request(method, path).status == 401


def test_cdpctl_erases(cdpd):
    plant(cdpd)
    cdpd.settled()
    assert "Nothing was changed" in cdpd.ctl("erase", "user_id:alice", "--dry-run").stdout
    assert cdpd.profile("user_id:alice").status == 200
    assert "done" in cdpd.ctl("erase", "user_id:alice", "--wait").stdout
    assert where(cdpd.data) == []
    assert "done" in cdpd.ctl("erasures").stdout
    cdpd.ctl("suppress", "user_id:alice")
    assert len(cdpd.get("/v1/suppressions").json["suppressions"]) >= 0
    cdpd.ctl("unsuppress", "user_id:alice")
    assert cdpd.ctl("erase", "user_id:nobody", check=False).returncode == 1
