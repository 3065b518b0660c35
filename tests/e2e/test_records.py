"""Destinations that take profiles and changes: snapshots, coalescing, who is gone, who withdrew, over kills and gaps."""

import json
import os
import random
import subprocess
import time

import pytest
from cdpd import ADMIN_TOKEN, SERVER_KEY
from test_destinations import configure, post, status_of, wait_for
from test_erasure import call, erase_and_wait
from test_plugins import exported

HEAD = "  - {{name: crm, plugin: ndjson, options: {{directory: {folder}/out, rotate_bytes: 64KiB}}, "
PROFILES = HEAD + "records: [profiles]}}\n"
PURPOSES = "consent:\n  purposes:\n    - {{name: newsletter}}\n    - {{name: ads, default: granted, gates: [crm]}}\n"


def quiet(daemon, name="crm"):
    """All that was sent is folded and handed over."""
    daemon.settled()

    def is_quiet():
        row = status_of(daemon, name)
        return row["lag"] == 0 and row["snapshot"] is None

    wait_for(daemon, is_quiet)
    return status_of(daemon, name)


def profiles(daemon, id=None):
    return [row for row in exported(daemon) if row["type"] == "profile" and id in (None, row["id"])]


def table(rows):
    """What somebody keeps who upserts and deletes."""
    kept = {}
    for row in rows:
        if row["type"] == "profile" and "gone" in row:
            kept.pop(row["id"], None)
        elif row["type"] == "profile":
            kept[row["id"]] = row
        elif row["type"] == "erased" and row["scope"] == "profile":
            for id in row["profileIds"]:
                kept.pop(id, None)
    return kept


def people(daemon):
    """Everybody, as a snapshot of the API shows them."""
    lines = [json.loads(line) for line in daemon.get("/v1/snapshot").body.decode().splitlines()]
    return {line["profile"]["id"]: line["profile"] for line in lines if "profile" in line}


def essence(row):
    """What both forms say."""
    identifiers, traits = row["identifiers"], row["traits"]
    if isinstance(identifiers, list):
        identifiers = [f"{one['namespace']}:{one['value']}" for one in identifiers]
        traits = {name: trait["value"] for name, trait in traits.items() if "value" in trait}
    else:
        identifiers = [f"{namespace}:{value}" for namespace, values in identifiers.items() for value in values]
    return sorted(identifiers), traits, row["features"], sorted(row["segments"])


def assert_same(daemon, rows=None):
    kept, there = table(exported(daemon) if rows is None else rows), people(daemon)
    assert kept.keys() == there.keys()
    for id in there:
        assert essence(kept[id]) == essence(there[id]), id


def identify(daemon, user, **traits):
    answer = daemon.post("/v1/identify", {"userId": user, "traits": traits})
    assert answer.status == 200, answer
    return answer


def consent(daemon, user, purpose, state, **more):
    body = {"person": f"user_id:{user}", "purpose": purpose, "state": state, "proof": {"text": "said so"}, **more}
    answer = daemon.post("/v1/consents", body, key=SERVER_KEY)
    assert answer.status == 200, answer


def join(daemon, a, b, act="merge"):
    return post(daemon, f"/v1/profiles/{act}", {"a": a, "b": b, "reason": "a test"})


# ── profiles ──


def test_a_change_of_a_trait_is_a_profile(stopped):
    configure(stopped, PROFILES).start()
    identify(stopped, "ann", email="ann@example.com", plan="free")
    quiet(stopped)
    identify(stopped, "ann", plan="pro")
    row = quiet(stopped)
    last = profiles(stopped)[-1]
    assert last["traits"] == {"email": "ann@example.com", "plan": "pro"}
    assert last["identifiers"]["user_id"] == ["ann"]
    assert last["profileId"] == last["id"] and last["firstSeen"] and last["lastSeen"] and last["eventCount"] == 2
    assert row["records"] == ["profiles"] and row["delivered"] == len(exported(stopped))
    assert_same(stopped)


def test_a_new_destination_begins_with_everybody(stopped):
    configure(stopped, HEAD + "events: [Nothing]}}\n").start()
    for i in range(300):
        identify(stopped, f"u{i}", plan="free", number=i)
    stopped.track("u7", "Order Completed", properties={"total": 3})
    quiet(stopped)
    assert exported(stopped) == []
    configure(stopped, PROFILES)
    stopped.reload()
    wait_for(stopped, lambda: status_of(stopped, "crm")["records"] == ["profiles"])
    quiet(stopped)
    assert len(profiles(stopped)) == 300 and len({row["deliveryId"] for row in profiles(stopped)}) == 300
    assert_same(stopped)
    identify(stopped, "u5", plan="pro")
    quiet(stopped)
    assert len(profiles(stopped)) == 301 and profiles(stopped)[-1]["traits"]["plan"] == "pro"
    stopped.kill()
    stopped.start()
    quiet(stopped)
    assert len(profiles(stopped)) == 301, "a snapshot is taken once"


@pytest.mark.parametrize("start, expected", [("now", []), ("oldest", ["u1", "u2"]), ("snapshot", ["u1", "u2"])])
def test_where_it_begins(stopped, start, expected):
    configure(stopped, "  []\n").start()
    identify(stopped, "u1", plan="free")
    identify(stopped, "u2", plan="free")
    stopped.settled()
    configure(stopped, HEAD + f"records: [profiles], start: {start}}}}}\n")
    stopped.reload()
    wait_for(stopped, lambda: stopped.get("/v1/admin/destinations").json["destinations"])
    quiet(stopped)
    assert sorted({row["identifiers"]["user_id"][0] for row in profiles(stopped)}) == expected
    identify(stopped, "u3", plan="free")
    quiet(stopped)
    assert sorted({row["identifiers"]["user_id"][0] for row in profiles(stopped)}) == [*expected, "u3"]


def test_merged_split_and_erased(stopped):
    configure(stopped, PROFILES).start()
    identify(stopped, "ann", plan="pro")
    stopped.post("/v1/track", {"anonymousId": "phone", "event": "Seen"})
    quiet(stopped)
    phone = stopped.profile("anonymous_id:phone").json["id"]
    ann = stopped.profile("user_id:ann").json["id"]
    assert join(stopped, "user_id:ann", "anonymous_id:phone").status == 200
    quiet(stopped)
    gone = [row for row in profiles(stopped, phone) if "gone" in row]
    assert [(row["gone"], row["mergedInto"], row["profileId"]) for row in gone] == [("merged", ann, phone)]
    rows = exported(stopped)
    after = rows[rows.index(gone[0]) :]
    assert any(row["id"] == ann and row["identifiers"] == {"user_id": ["ann"], "anonymous_id": ["phone"]} for row in after if "gone" not in row)
    assert_same(stopped)

    assert join(stopped, "user_id:ann", "anonymous_id:phone", act="unmerge").status == 200
    quiet(stopped)
    assert "gone" not in profiles(stopped, phone)[-1] and "anonymous_id" not in profiles(stopped, ann)[-1]["identifiers"]
    assert_same(stopped)

    erase_and_wait(stopped, "user_id:ann")
    quiet(stopped)
    notices = [row for row in exported(stopped) if row["type"] == "erased"]
    assert len(notices) == 1 and notices[0]["profileIds"] == [ann] and notices[0]["scope"] == "profile"
    assert profiles(stopped, ann)[-1]["gone"] == "erased" and "mergedInto" not in profiles(stopped, ann)[-1]
    assert_same(stopped)


def test_events_and_profiles_tell_of_an_erasure_once(stopped):
    configure(stopped, HEAD + "records: [events, profiles, changes]}}\n").start()
    identify(stopped, "ann", plan="pro")
    quiet(stopped)
    erase_and_wait(stopped, "user_id:ann")
    quiet(stopped)
    assert len([row for row in exported(stopped) if row["type"] == "erased"]) == 1
    assert {row["type"] for row in exported(stopped)} == {"identify", "profile", "change", "erased"}


def lines(daemon):
    """Of the plugin flaky: what it was handed, as the other exporter writes it."""
    rows = []
    for line in (daemon.folder / "crm.txt").read_text().splitlines():
        kind, flags, profile, other, record = line.split(" ", 4)
        row = json.loads(record)
        assert kind == {"profile": "2", "change": "3"}.get(row["type"], "1") and (flags == "1") == ("gone" in row), line
        assert other == row.get("mergedInto", "-"), line
        if row["type"] == "profile":
            assert profile == row["id"], line
        rows.append(row)
    return rows


def everything(daemon, rng, steps):
    """Some random life of a few people."""
    users = [f"user_id:u{i}" for i in range(8)]
    devices = [f"anonymous_id:d{i}" for i in range(8)]
    for _ in range(steps):
        user, device, roll = rng.choice(users)[8:], rng.choice(devices)[13:], rng.random()
        if roll < 0.3:
            identify(daemon, user, plan=rng.choice(["free", "pro"]), score=rng.randrange(100))
        elif roll < 0.5:
            daemon.track(user, "Order Completed", properties={"total": rng.randrange(1, 50)})
        elif roll < 0.65:
            daemon.post("/v1/track", {"anonymousId": device, "event": "Seen"})
        elif roll < 0.75:
            daemon.post("/v1/identify", {"userId": user, "anonymousId": device, "traits": {"email": f"{user}@example.com"}})
        elif roll < 0.84:
            join(daemon, rng.choice(users), rng.choice(devices))
        elif roll < 0.93:
            join(daemon, rng.choice(users + devices), rng.choice(devices), act="unmerge")
        else:
            call(daemon, "DELETE", f"/v1/profiles/{rng.choice(users + devices)}")


SEGMENTS = "segments:\n  - {{name: buyers, when: {{feature: orders, at_least: 1}}}}\n"


@pytest.mark.parametrize("seed", range(int(os.environ.get("CDPD_SEEDS", "4"))))
def test_a_table_of_upserts_and_deletes_is_the_store(stopped, seed):
    """Whatever happens to people, killed at whatever moment, destinations added or not: at rest the copy is the store."""
    rng = random.Random(seed)
    configure(stopped, PROFILES if seed % 2 else HEAD + "events: [Nothing]}}\n", SEGMENTS).start()
    for part in range(4):
        everything(stopped, rng, 60)
        if rng.random() < 0.6:
            stopped.kill()
            stopped.start()
        if part == 1:
            configure(stopped, PROFILES, SEGMENTS)
            stopped.reload()
    wait_for(stopped, lambda: status_of(stopped, "crm")["records"] == ["profiles"])
    wait_for(stopped, lambda: not [one for one in stopped.get("/v1/erasures").json["erasures"] if one["state"] != "done"])
    quiet(stopped)
    assert_same(stopped)


@pytest.mark.parametrize("seed", range(int(os.environ.get("CDPD_SEEDS", "3"))))
def test_the_same_when_the_other_side_says_later(stopped, seed):
    """Every third record is to come again, several batches are on their way at a time, the daemon is killed: nothing overtakes."""
    rng = random.Random(1000 + seed)
    configure(stopped, "  - {{name: crm, plugin: flaky, options: {{file: {folder}/crm.txt, mode: records}}, records: [profiles], concurrency: 4, batch: {{records: 5}}}}\n", SEGMENTS).start()
    for _ in range(4):
        everything(stopped, rng, 60)
        if rng.random() < 0.5:
            stopped.kill()
            stopped.start()
    wait_for(stopped, lambda: not [one for one in stopped.get("/v1/erasures").json["erasures"] if one["state"] != "done"])
    quiet(stopped)
    wait_for(stopped, lambda: status_of(stopped, "crm")["parked"] == 0)
    assert_same(stopped, lines(stopped))


def test_kill_9_in_the_middle_of_a_snapshot(stopped):
    """It goes on where it was: nobody is left out, a row that comes again has the same delivery id, changes come behind it."""
    slow = "  - {{name: crm, plugin: flaky, options: {{file: {folder}/crm.txt, mode: retry_first}}, records: [profiles]}}\n"
    configure(stopped, "  []\n").start()
    for i in range(0, 4000, 100):
        batch = [{"type": "identify", "userId": f"u{k}", "traits": {"number": k}} for k in range(i, i + 100)]
        assert stopped.post("/v1/batch", {"batch": batch}).status == 200
    stopped.settled()
    configure(stopped, slow)
    stopped.reload()
    seen_running = 0
    for _ in range(30):
        wait_for(stopped, lambda: stopped.get("/v1/admin/destinations").json["destinations"])
        before = lines_of(stopped)
        wait_for(stopped, lambda: lines_of(stopped) > before or status_of(stopped, "crm")["snapshot"] is None)
        seen_running += status_of(stopped, "crm")["snapshot"] is not None
        identify(stopped, "u17", number=1000 + seen_running)
        stopped.kill()
        stopped.start()
        if status_of(stopped, "crm")["snapshot"] is None:
            break
    quiet(stopped)
    rows = [line.split() for line in (stopped.folder / "crm.txt").read_text().splitlines()]
    assert seen_running, "it was never caught in the act"
    shots = {id for id, *_ in rows if "-" in id[28:]}
    assert len(shots) == 4000, len(shots)
    assert len({id for id, *_ in rows}) < len(shots) + 2 * seen_running + 3


def lines_of(daemon):
    path = daemon.folder / "crm.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


# ── changes ──


def test_changes_as_the_feed_tells_them(stopped):
    configure(stopped, HEAD + "records: [changes], changes: [merged, 'trait:plan', 'feature:orders']}}\n").start()
    identify(stopped, "ann", plan="free", email="ann@example.com")
    stopped.settled()
    identify(stopped, "ann", plan="pro", city="Berlin")
    stopped.settled()
    stopped.track("ann", "Order Completed", properties={"total": 3})
    stopped.post("/v1/track", {"anonymousId": "phone", "event": "Seen"})
    stopped.settled()
    join(stopped, "user_id:ann", "anonymous_id:phone")
    row = quiet(stopped)
    rows = exported(stopped)
    assert {line["type"] for line in rows} == {"change"}
    assert [line["traits"] for line in rows if line["kind"] == "trait"] == [
        {"plan": {"value": "free", "provenance": "observed"}}, {"plan": {"value": "pro", "provenance": "observed"}}]
    assert {"orders": 1} in [line["features"] for line in rows if line["kind"] == "feature"]
    assert not [line for line in rows if line["kind"] in ("profile", "identifier")]
    ann = stopped.profile("user_id:ann").json["id"]
    merged = [line for line in rows if line["kind"] == "merged"]
    assert merged and merged[0]["into"] == ann and merged[0]["profile"] == ann
    assert len({line["deliveryId"] for line in rows}) == len(rows)
    assert row["filtered"] > 0


MAPPED = HEAD + """records: [events, profiles, changes], changes: [trait], events: [identify],
     where: {{field: profile.traits.plan, is: pro}},
     mapping: {{kind: $type, what: $change.kind, mail: $profile.traits.email, value: $change.traits.plan.value}}}}
"""


def test_a_mapping_sees_the_person_in_each_kind(stopped):
    configure(stopped, MAPPED).start()
    identify(stopped, "bob", plan="free", email="bob@example.com")
    identify(stopped, "ann", plan="pro", email="ann@example.com")
    quiet(stopped)
    rows = [{key: row[key] for key in ("kind", "what", "mail", "value") if key in row} for row in exported(stopped)]
    assert {"kind": "identify", "mail": "ann@example.com"} in rows
    assert {"kind": "profile", "mail": "ann@example.com"} in rows
    assert {"kind": "change", "what": "trait", "mail": "ann@example.com", "value": "pro"} in rows
    assert not [row for row in rows if row["mail"] == "bob@example.com"]


def test_preview_of_a_person(stopped):
    configure(stopped, HEAD + """records: [profiles], where: {{field: profile.traits.plan, is: pro}},
     mapping: {{mail: {{from: profile.traits.email, required: true}}, seen: $lastSeen}}}}\n""").start()
    identify(stopped, "ann", plan="pro", email="ann@example.com")
    identify(stopped, "bob", plan="free", email="bob@example.com")
    identify(stopped, "cid", plan="pro")
    before = quiet(stopped)

    def preview(*arguments, check=True):
        return json.loads(stopped.ctl("--json", "destinations", "preview", "crm", *arguments, check=check).stdout)

    good = preview("--profile", "user_id:ann")
    assert good["verdict"] == "handed_over" and good["record"]["mail"] == "ann@example.com" and good["record"]["seen"].startswith("20")
    assert good["profileId"] == stopped.profile("user_id:ann").json["id"]
    assert preview("--profile", "user_id:bob")["reason"] == "a condition of `where` does not hold"
    assert preview("--profile", "user_id:cid")["verdict"] == "dead_letter"
    assert stopped.ctl("destinations", "preview", "crm", "--profile", "user_id:nobody", check=False).returncode == 1
    assert stopped.ctl("destinations", "preview", "crm", check=False).returncode != 0
    event = stopped.folder / "event.json"
    event.write_text('{"type": "identify"}')
    assert preview("--file", str(event), "--profile", "user_id:ann")["reason"] == "`records` has no events"
    assert quiet(stopped)["delivered"] == before["delivered"]
    path = "/v1/admin/destinations/crm"
    assert post(stopped, f"{path}/preview", {}).status == 400
    assert post(stopped, f"{path}/replay", {"since": "2026-01-01T00:00:00Z"}).status == 400


# ── consent ──

PURPOSES = "consent:\n  purposes:\n    - {{name: newsletter}}\n    - {{name: ads, default: granted, gates: [crm]}}\n"


def withdrawn(daemon):
    return [row for row in exported(daemon) if row.get("type") == "withdrawn"]


def wait_purposes(daemon):
    wait_for(daemon, lambda: daemon.get("/v1/consents/check?person=user_id:x&purpose=ads").status == 200)


@pytest.mark.parametrize("records", ["profiles", "changes", "events"])
def test_who_withdraws_is_told_and_then_withheld(stopped, records):
    configure(stopped, HEAD + f"records: [{records}], mapping: {{{{who: $profile.id, n: $profile.traits.n}}}}}}}}\n", PURPOSES).start()
    wait_purposes(stopped)
    identify(stopped, "ann", n=1)
    identify(stopped, "bob", n=1)
    quiet(stopped)
    ann, bob = (stopped.profile(f"user_id:{user}").json["id"] for user in ("ann", "bob"))
    assert {row["who"] for row in exported_mapped(stopped)} == {ann, bob}
    consent(stopped, "ann", "ads", "withdrawn")
    identify(stopped, "ann", n=2)
    quiet(stopped)
    (notice,) = withdrawn(stopped)
    assert (notice["purpose"], notice["profileIds"], notice["state"]) == ("ads", [ann], "withdrawn") and notice["at"]
    assert [row for row in exported_mapped(stopped) if row["who"] == ann and row.get("n") == 2] == []
    consent(stopped, "ann", "ads", "withdrawn", proof={"text": "again"})
    consent(stopped, "bob", "newsletter", "granted")
    consent(stopped, "bob", "newsletter", "withdrawn")  # gates nothing here
    consent(stopped, "ann", "ads", "granted")
    identify(stopped, "ann", n=3)
    quiet(stopped)
    assert len(withdrawn(stopped)) == 1
    rows = exported(stopped)
    after = rows[rows.index(notice) :]
    assert [row for row in after if row.get("who") == ann and row.get("n") == 3]
    stopped.kill()
    stopped.start()
    quiet(stopped)
    assert len(withdrawn(stopped)) == 1


def exported_mapped(daemon):
    return [row for row in exported(daemon) if "who" in row]


def test_a_consent_that_expires_is_told(stopped):
    purposes = PURPOSES.replace("default: granted, ", "")
    configure(stopped, PROFILES, purposes).start()
    wait_purposes(stopped)
    identify(stopped, "ann", n=1)
    identify(stopped, "bob", n=1)
    quiet(stopped)
    assert exported(stopped) == [], "nobody has allowed it"
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5))
    consent(stopped, "ann", "ads", "granted", expires_at=soon)
    ann = stopped.profile("user_id:ann").json["id"]
    wait_for(stopped, lambda: withdrawn(stopped))
    assert [(row["state"], row["profileIds"]) for row in withdrawn(stopped)] == [("expired", [ann])]
    assert "gone" not in profiles(stopped, ann)[-1]
    quiet(stopped)
    consent(stopped, "bob", "ads", "denied")  # he never allowed it: nothing to take back
    quiet(stopped)
    assert len(withdrawn(stopped)) == 1 and {row["id"] for row in profiles(stopped)} == {ann}


# ── configuration ──


@pytest.mark.parametrize("keys, complaint", [
    ("records: [profile]", "records: 'profile' is not one of: events, profiles, changes, did you mean 'profiles'?"),
    ("records: [changes], changes: [traits]", "changes: unknown kind 'traits', did you mean 'trait'?"),
    ("records: [changes], changes: ['feature:order']", "changes: unknown feature 'order', did you mean 'orders'?"),
    ("records: [changes], changes: ['segment:x']", "changes: unknown segment 'x'"),
    ("records: [changes], changes: ['merged:x']", "changes: only trait, feature and segment go with a name ('merged:…')"),
    ("records: [profiles], changes: [trait]", "changes needs 'changes' in 'records'"),
    ("records: [profiles], events: [identify]", "events needs 'events' in 'records'"),
    ("start: snapshot", "start needs 'profiles' in 'records'"),
    ("records: [profiles], start: newest", "start: 'newest' is not one of: auto, oldest, now, snapshot"),
])
def test_what_makes_no_sense_is_refused_with_its_line(stopped, keys, complaint):
    configure(stopped, HEAD + keys + "}}\n")
    run = subprocess.run(stopped.command("-n"), capture_output=True, text=True, timeout=60)
    last = len(stopped.config_file.read_text().splitlines())
    assert run.returncode != 0 and f"cdpd.yaml:{last}: destinations[0].{complaint}" in run.stderr + run.stdout, run
