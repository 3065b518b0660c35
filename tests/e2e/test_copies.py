"""Everybody, everywhere: one daemon keeps copies of its people in PostgreSQL, in NATS, in Kafka and in files, while people come, change, join, part and go, and
while it and the others are killed. In the end each copy is what the daemon says."""

import csv
import io
import json
import os
import random

import pytest
from cdpd import CONFIG
from kafka import Mock
from nats_server import Nats
from postgres_server import PASSWORD, Postgres
from test_destinations import status_of, wait_for
from test_erasure import erase_and_wait
from test_records import PURPOSES, consent, essence, identify, join, people

DESTINATIONS = """\
destinations:
  - name: postgres
    plugin: postgres
    records: [events, profiles, changes]
    options: {{connection: "POSTGRES", password: env:TEST_PG_PASSWORD}}
  - name: nats
    plugin: nats
    records: [profiles]
    options: {{servers: ["NATS"], stream: PEOPLE, create_stream: true, timeout: 3s}}
  - name: kafka
    plugin: kafka
    records: [profiles]
    options: {{brokers: ["KAFKA"], gone: tombstone, timeout: 5s, settings: ["linger.ms=1", "reconnect.backoff.max.ms=500"]}}
  - name: files
    plugin: files
    records: [events, profiles, changes]
    options: {{directory: {folder}/out, format: csv, profiles_as: both, rotate_bytes: 64KiB}}
"""
NAMES = ["postgres", "nats", "kafka", "files"]


@pytest.fixture
def servers():
    found = {"postgres": Postgres(), "nats": Nats(), "kafka": Mock()}
    yield found
    for server in found.values():
        server.close()


def configure(daemon, servers, more=""):
    text = DESTINATIONS.replace("POSTGRES", servers["postgres"].connection()).replace("NATS", servers["nats"].url).replace("KAFKA", servers["kafka"].brokers)
    daemon.env["TEST_PG_PASSWORD"] = PASSWORD
    daemon.write_config(CONFIG + more + text)
    return daemon


def quiet(daemon):
    daemon.settled()
    for name in NAMES:
        wait_for(daemon, lambda: status_of(daemon, name)["lag"] == 0 and status_of(daemon, name)["snapshot"] is None, timeout=120)
        assert status_of(daemon, name)["dropped"] == 0, status_of(daemon, name)


def in_postgres(servers):
    rows = json.loads(servers["postgres"].value("SELECT coalesce(json_agg(to_json(p)), '[]') FROM cdpd.profiles p WHERE gone IS NULL"))
    return {row["id"]: row for row in rows}


def latest(rows):
    """(id, record or None) in their order: what is left of them."""
    kept = {}
    for id_, row in rows:
        kept.pop(id_, None)
        if row and "gone" not in row:
            kept[id_] = row
    return kept


def in_nats(servers):
    return latest((body["id"], body) for subject, _, body in servers["nats"].messages("PEOPLE") if subject.startswith("cdpd.profiles."))


def in_kafka(servers):
    return latest((key, json.loads(value) if value else None) for _, _, key, _, _, value in servers["kafka"].peek("cdpd.profiles"))


def csv_rows(daemon, kind):
    paths = [path for path in (daemon.folder / "out").glob(f"{kind}-2*")]
    paths.sort(key=lambda path: (path.name.split("-")[1], int(path.name.split("-")[2].split(".")[0])))
    return [row for path in paths for row in csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""))]


def in_files(daemon):
    def whole(row):
        if row["gone"]:
            return {"gone": row["gone"]}
        return {name: json.loads(row[name]) for name in ("identifiers", "traits", "features", "segments")}
    return latest((row["profileId"], whole(row)) for row in csv_rows(daemon, "profiles"))


def check(daemon, servers):
    there = people(daemon)
    for name, kept in (("postgres", in_postgres(servers)), ("nats", in_nats(servers)), ("kafka", in_kafka(servers)), ("files", in_files(daemon))):
        assert kept.keys() == there.keys(), name
        for id_ in there:
            assert essence(kept[id_]) == essence(there[id_]), f"{name}: {id_}"


def test_people_come_change_join_part_and_go(stopped, servers):
    configure(stopped, servers).start()
    dice, erased = random.Random(int(os.environ.get("CDPD_SEED", 11))), []
    for round_ in range(5):
        for n in range(30):
            identify(stopped, f"u{dice.randrange(25)}", n=round_ * 100 + n, plan=dice.choice(["free", "pro"]))
            stopped.track(f"u{dice.randrange(25)}", "Order Completed", f"m{round_}-{n}", properties={"total": n})
        stopped.settled()
        a, b = dice.sample(range(25), 2)
        join(stopped, f"user_id:u{a}", f"anonymous_id:a{b}")
        if round_ == 3:
            join(stopped, f"user_id:u{a}", f"anonymous_id:a{b}", act="unmerge")
        if round_ == 2:
            servers["postgres"].kill()
            servers["nats"].kill()
            servers["kafka"].say("down")
        if round_ == 3:
            servers["postgres"].start()
            servers["nats"].start()
            servers["kafka"].say("up")
        if round_ in (1, 2, 4):
            stopped.kill()
            stopped.start()
        if round_ in (0, 3):
            stopped.settled()
            erased.append(stopped.get(f"/v1/profiles/user_id:u{a}").json["id"])
            erase_and_wait(stopped, f"user_id:u{a}")
    quiet(stopped)
    check(stopped, servers)
    # exactly once where it is promised: each event and each change in a row, in a line
    ids = [row["deliveryId"] for row in csv_rows(stopped, "events")]
    assert len(ids) == len(set(ids)) and set(ids) >= {row[0] for row in servers["postgres"].sql("SELECT delivery_id FROM cdpd.events")}
    changes = [row["deliveryId"] for row in csv_rows(stopped, "changes")]
    kept = {row[0] for row in servers["postgres"].sql("SELECT delivery_id FROM cdpd.changes")}
    assert len(changes) == len(set(changes)) and kept <= set(changes)
    features = csv_rows(stopped, "features")
    assert {row["profileId"] for row in features} >= set(people(stopped)) and {row["feature"] for row in features} >= {"events"}


def test_who_withdraws_is_told(stopped, servers):
    purposes = PURPOSES.replace("[crm]", "[postgres, nats, kafka, files]").replace("default: granted", "default: granted")
    configure(stopped, servers, purposes).start()
    identify(stopped, "ann", plan="pro")
    identify(stopped, "bob", plan="pro")
    quiet(stopped)
    id_ = stopped.get("/v1/profiles/user_id:ann").json["id"]
    consent(stopped, "ann", "ads", "withdrawn")
    quiet(stopped)
    wait_for(stopped, lambda: servers["postgres"].try_sql("SELECT count(*) FROM cdpd.withdrawals").stdout.strip() == "1", timeout=60)
    assert servers["postgres"].sql("SELECT profile_id, purpose, state FROM cdpd.withdrawals") == [[id_, "ads", "withdrawn"]]
    notices = [(subject, body) for subject, _, body in servers["nats"].messages("PEOPLE") if body["type"] == "withdrawn"]
    assert [(subject, body["purpose"], body["profileIds"]) for subject, body in notices] == [("cdpd.events.withdrawn._", "ads", [id_])]
    assert [json.loads(row[5])["profileIds"] for row in servers["kafka"].peek("cdpd.events")] == [[id_]]
    assert [row["type"] for row in csv_rows(stopped, "events")][-1] == "withdrawn"
