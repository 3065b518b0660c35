"""What the postgres exporter makes of people and changes, against a real server."""

import json
import time

import pytest

from exporter import EVENT, GONE, PROFILE, Exporter, change, erased, event, gone, person, profile, record, withdrawn
from postgres_server import PASSWORD, Postgres


@pytest.fixture(scope="module")
def server():
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def database(server):
    server.start()
    name = f"t{time.monotonic_ns()}"
    server.sql(f"CREATE DATABASE {name}")
    return name


def connect(server, database, **options):
    return Exporter("postgres", connection=server.connection(database), password=PASSWORD, **options)


def rows(server, database, table, key="id"):
    found = server.value(f"SELECT coalesce(json_agg(to_json(t)), '[]') FROM cdpd.{table} t", database)
    return {row[key]: row for row in json.loads(found)}


A, B, C = person(1), person(2), person(3)


def test_a_person_is_a_row_that_says_what_is_now(server, database):
    with connect(server, database) as tool:
        first = profile(A, email="a@x.org", traits={"plan": "free"}, eventCount=1)
        last = profile(A, email="a@x.org", traits={"plan": "pro", "n": 1.5}, features={"orders": 3}, segments=["buyers"], consents={"newsletter": "granted"}, eventCount=7)
        assert tool.verdicts(first, event(A), profile(B, email="b@x.org"), last) == ["ACK"] * 4
        found = rows(server, database, "profiles")
        assert sorted(found) == [A, B]
        row = found[A]
        assert row["identifiers"] == {"email": ["a@x.org"]} and row["traits"] == {"plan": "pro", "n": 1.5} and row["features"] == {"orders": 3}
        assert row["segments"] == ["buyers"] and row["consents"] == {"newsletter": "granted"} and row["event_count"] == 7
        assert row["first_seen"] == "2026-01-02T03:04:05+00:00" and row["last_seen"] == "2026-02-03T04:05:06.5+00:00"
        assert row["gone"] is None and row["merged_into"] is None and row["mapped"] is None and row["position"].startswith("p")
        assert server.value("SELECT count(*) FROM cdpd.events", database) == "1"
        assert tool.verdicts(profile(A, traits={"plan": "none"})) == ["ACK"]
        assert rows(server, database, "profiles")[A]["traits"] == {"plan": "none"}
        assert tool.counters()["postgres_profiles_total"] == 3  # of four records, two are of one person in one batch


@pytest.mark.parametrize("what", ["mark", "delete"])
def test_who_is_gone(server, database, what):
    with connect(server, database, gone=what) as tool:
        assert tool.verdicts(profile(A, email="a@x.org"), profile(B), profile(C)) == ["ACK"] * 3
        assert tool.verdicts(gone(A, "merged", into=B), gone(C, "split")) == ["ACK"] * 2
        found = rows(server, database, "profiles")
        if what == "delete":
            assert sorted(found) == [B]
        else:
            assert (found[A]["gone"], found[A]["merged_into"], found[A]["identifiers"], found[A]["event_count"]) == ("merged", B, None, None)
            assert found[C]["gone"] == "split" and found[B]["gone"] is None
        assert tool.verdicts(profile(A, email="back@x.org")) == ["ACK"]  # unmerged
        back = rows(server, database, "profiles")[A]
        assert (back["gone"], back["merged_into"], back["identifiers"]) == (None, None, {"email": ["back@x.org"]})


@pytest.mark.parametrize("on_erase", ["delete", "anonymise", "keep"])
def test_an_erased_person_leaves_every_table(server, database, on_erase):
    with connect(server, database, on_erase=on_erase) as tool:
        tool.settle(event(A, properties={"secret": "canary"}), profile(A, email="canary@x.org"), change(A, "trait", traits={"x": {"value": "canary"}}), withdrawn("ads", A, B),
                    event(B), profile(B), change(B, "profile"))
        tool.settle(erased(A), event(A, "later"), gone(A, "erased"), change(A, "erased", fragments=[A], remaining=None))
        kept = on_erase == "keep"
        for table in ("events", "profiles", "changes"):
            canaries = int(server.value(f"SELECT count(*) FROM cdpd.{table} t WHERE t::text LIKE '%canary%'", database))
            assert canaries == (1 if kept else 0), table
        people = rows(server, database, "profiles")
        assert (A in people) == (on_erase != "delete") and people[B]["gone"] is None
        if on_erase != "delete":
            assert people[A]["gone"] == "erased"
        assert server.value("SELECT count(*) FROM cdpd.events WHERE event = 'later'", database) == "1"
        assert server.value(f"SELECT count(*) FROM cdpd.withdrawals WHERE profile_id = '{A}'", database) == ("1" if kept else "0")
        assert server.value(f"SELECT count(*) FROM cdpd.changes WHERE kind = 'erased' AND profile_id = '{A}'", database) == "1"
        assert server.value(f"SELECT count(*) FROM cdpd.changes WHERE profile_id = '{B}'", database) == "1"


def test_a_notice_spares_somebody_new_of_another_stream(server, database):
    """Streams of one destination overtake each other: who came after the erasure is not deleted by it."""
    with connect(server, database) as tool:
        tool.settle(profile(A, time_us=1_800_000_000_000_001), profile(B, time_us=1_799_999_999_999_999))
        tool.settle(erased(A, B, time_us=1_800_000_000_000_000))
        assert sorted(rows(server, database, "profiles")) == [A]


@pytest.mark.parametrize("notice", ["erased", "withdrawn"])
def test_a_notice_that_is_told_again_spares_what_came_since(server, database, notice):
    """Who missed something is told old notices anew: the same id may be somebody's again, or she allows it again."""
    at = 1_800_000_000_000_000
    with connect(server, database, on_withdraw="delete") as tool:
        old = {"type": "track", "event": "old", "receivedAt": "2027-01-15T07:59:59Z"}
        new = {"type": "track", "event": "new", "receivedAt": "2027-01-15T08:00:01Z"}
        tool.settle(record(EVENT, A, old, time_us=at + 60_000_000), record(EVENT, A, new, time_us=at + 1_000_000),
                    record(EVENT, A, {"mapped": "old"}, time_us=at + 60_000_000), record(EVENT, A, {"mapped": "new"}, time_us=at + 3_600_000_000))
        tool.settle(erased(A, time_us=at) if notice == "erased" else withdrawn("ads", A, time_us=at))
        assert server.sql("SELECT coalesce(event, raw->>'mapped') FROM cdpd.events", database) == [["new"], ["new"]]


def test_withdrawals_are_noted(server, database):
    with connect(server, database) as tool:
        notice = withdrawn("newsletter", A, B)
        assert tool.verdicts(event(A), notice, notice, event(A)) == ["ACK"] * 4
        assert server.sql("SELECT profile_id, purpose, state, withdrawn_at = '2026-11-22T09:00:00Z' FROM cdpd.withdrawals ORDER BY 1", database) == [[A, "newsletter", "withdrawn", "t"], [B, "newsletter", "withdrawn", "t"]]
        assert server.value("SELECT count(*) FROM cdpd.events", database) == "2"
    with connect(server, database, on_withdraw="delete") as tool:
        assert tool.verdicts(event(B), withdrawn("newsletter", A), event(A, "later")) == ["ACK"] * 3
        assert server.sql("SELECT profile_id, event FROM cdpd.events ORDER BY 1", database) == [[A, "later"], [B, "A"]]
        assert server.value("SELECT count(*) FROM cdpd.withdrawals", database) == "3"


def test_changes_are_appended_once(server, database):
    with connect(server, database) as tool:
        one = change(A, "trait", traits={"plan": {"value": "pro", "provenance": "observed"}})
        two = change(A, "merged", **{"from": B, "into": A})
        assert tool.verdicts(one, two, one) == ["ACK"] * 3
        assert tool.verdicts(two, one) == ["ACK"] * 2
        found = rows(server, database, "changes", "delivery_id")
        assert sorted(found) == sorted([one[0], two[0]])
        row = found[one[0]]
        assert (row["profile_id"], row["kind"], row["changed_at"], row["caused_by"]) == (A, "trait", "2026-11-21T08:30:00+00:00", "AtQ1")
        assert row["details"] == {"traits": {"plan": {"value": "pro", "provenance": "observed"}}}
        assert found[two[0]]["details"] == {"from": B, "into": A}
        assert tool.counters()["postgres_duplicates_total"] == 3


def test_what_a_mapping_made_is_kept_whole(server, database):
    with connect(server, database) as tool:
        assert tool.verdicts(record(PROFILE, A, {"email": "a@x.org", "firstSeen": "long ago"}), record(3, A, {"what": 1})) == ["ACK"] * 2
        assert rows(server, database, "profiles")[A]["mapped"] == {"email": "a@x.org", "firstSeen": "long ago"}
        assert [row["details"] for row in rows(server, database, "changes", "delivery_id").values()] == [{"what": 1}]


def test_a_row_that_the_server_refuses_goes_alone(server, database):
    with connect(server, database) as tool:
        tool.settle(profile(A), change(A, "profile"))
        server.sql("ALTER TABLE cdpd.profiles ADD CONSTRAINT no_poison CHECK (NOT traits ? 'poison')", database)
        people = [profile(person(n), traits={"poison": 1} if n in (10, 31, 49) else {"fine": "\u0000 and \ud83d"} if n == 20 else {}) for n in range(10, 50)]
        answer = tool.hand_over(*people)
        assert [verdict for verdict, _ in answer] == ["DROP" if n in (10, 31, 49) else "ACK" for n in range(10, 50)]
        assert "no_poison" in answer[0][1]
        assert len(rows(server, database, "profiles")) == 38
        assert rows(server, database, "profiles")[person(20)]["traits"] == {"fine": "\ufffd and \ufffd"}
        # a poisonous last word does not take the one before it along
        assert tool.verdicts(profile(B, traits={"n": 1}), profile(B, traits={"poison": 1})) == ["ACK", "DROP"]
        assert rows(server, database, "profiles")[B]["traits"] == {"n": 1}
        assert tool.verdicts(record(PROFILE, C, {"type": "profile", "id": C, "firstSeen": "no time"}), profile(A, traits={"x": 1})) == ["DROP", "ACK"]


def test_a_kind_of_tomorrow_is_dropped_alone(server, database):
    with connect(server, database) as tool:
        assert tool.verdicts(event(A), record(9, A, {"type": "tomorrow"}), event(A)) == ["ACK", "DROP", "ACK"]


def test_a_database_of_the_first_version_gets_the_tables(server, database):
    """As the first version of the plugin left it: a table of events, and its row in cdpd_schema."""
    server.sql("""CREATE SCHEMA cdpd;
        CREATE TABLE cdpd.cdpd_schema (table_name text PRIMARY KEY, version int NOT NULL, changed_at timestamptz NOT NULL DEFAULT now());
        CREATE TABLE cdpd.events (delivery_id text PRIMARY KEY, position text, profile_id text, message_id text, type text, event text, user_id text, anonymous_id text, source_id text,
            event_time timestamptz, received_at timestamptz, properties jsonb, traits jsonb, context jsonb, enrichment jsonb, raw jsonb);
        CREATE INDEX events_profile ON cdpd.events (profile_id, event_time);
        CREATE INDEX events_time ON cdpd.events USING brin (received_at);
        INSERT INTO cdpd.cdpd_schema VALUES ('events', 3);
        INSERT INTO cdpd.events (delivery_id, profile_id) VALUES ('old', 'x')""", database)
    with connect(server, database) as tool:
        assert tool.verdicts(event(A), profile(A), change(A, "profile"), withdrawn("ads", A)) == ["ACK"] * 4
    assert server.sql("SELECT table_name, version FROM cdpd.cdpd_schema ORDER BY 1", database) == [["changes", "2"], ["events", "3"], ["profiles", "1"], ["withdrawals", "2"]]
    assert server.value("SELECT count(*) FROM cdpd.events", database) == "2"


def test_somebody_elses_profiles_are_left_alone(server, database):
    with connect(server, database) as tool:
        assert tool.verdicts(event(A)) == ["ACK"]
        server.sql("CREATE TABLE cdpd.profiles (mine text)", database)
        answer = tool.hand_over(profile(A), event(A))
        assert answer[0][0] == "RETRY" and "not made by cdpd" in answer[0][1]
        server.sql("DROP TABLE cdpd.profiles", database)
        assert tool.verdicts(profile(A), event(A)) == ["ACK"] * 2
    with connect(server, database, migrate="false", profile_table="others") as tool:
        answer = tool.hand_over(profile(A))
        assert answer[0][0] == "RETRY" and "`migrate` is false" in answer[0][1]


def test_kills_of_the_server_and_of_the_tool(server, database):
    """Each record is handed over until it is taken; the last word of each person wins, each change is there once."""
    last, changes = {}, []
    tool = connect(server, database)
    for round_ in range(6):
        batch = []
        for n in range(60):
            who = person(100 + n % 17)
            last[who] = round_ * 1000 + n
            batch.append(profile(who, traits={"n": last[who]}))
            batch.append(change(who, "trait", traits={"n": {"value": last[who]}}))
            changes.append(batch[-1][0])
        if round_ in (1, 4):
            server.kill()
            assert set(tool.verdicts(*batch)) <= {"RETRY", "ACK"}  # the postmaster is dead; its child may still serve us
            server.start()
        if round_ in (2, 5):
            tool.say(batch)
            tool.kill()
            tool = connect(server, database)
        assert set(tool.settle(*batch).values()) == {"ACK"}
    tool.close()
    found = rows(server, database, "profiles")
    assert {who: found[who]["traits"]["n"] for who in last} == last
    assert sorted(rows(server, database, "changes", "delivery_id")) == sorted(changes)


def test_a_big_batch(server, database):
    with connect(server, database) as tool:
        batch = [profile(person(1000 + n % 2500), traits={"n": n}) for n in range(5000)]
        assert set(tool.verdicts(*batch)) == {"ACK"}
        assert server.sql("SELECT count(*), min((traits->>'n')::int) FROM cdpd.profiles", database) == [["2500", "2500"]]


def test_a_gone_flag_without_a_reason(server, database):
    with connect(server, database) as tool:
        assert tool.verdicts(record(PROFILE, A, {"x": 1}, flags=GONE, other=B)) == ["ACK"]
        assert (rows(server, database, "profiles")[A]["gone"], rows(server, database, "profiles")[A]["merged_into"]) == ("gone", B)
