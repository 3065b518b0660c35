"""The postgres destination against a real server: what is in the table, exactly once, whoever dies."""

import json
import re
import threading
import time

import pytest

from cdpd import CONFIG
from ledger import Ledger
from postgres_server import PASSWORD, Postgres

EXPORT = """\
destinations:
  - name: warehouse
    plugin: postgres
    options:
      connection: "{connection}"
      password: env:TEST_PG_PASSWORD
"""


@pytest.fixture(scope="module")
def server():
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def database(server):
    """A fresh database for one test."""
    server.thaw()
    server.start()
    name = f"t{time.monotonic_ns()}"
    server.sql(f"CREATE DATABASE {name}")
    return name


def export_to(daemon, connection, **options):
    text = EXPORT.replace("{connection}", connection)
    text += "".join(f"      {name}: {value}\n" for name, value in options.items())
    daemon.env["TEST_PG_PASSWORD"] = PASSWORD
    daemon.write_config(CONFIG + text)
    return daemon


def warehouse(daemon):
    return next(d for d in daemon.get("/v1/admin/destinations").json["destinations"] if d["name"] == "warehouse")


def until(ask, daemon=None, timeout=120):
    deadline = time.monotonic() + timeout
    while not (answer := ask()):
        assert time.monotonic() < deadline, daemon and f"{warehouse(daemon)}\n{daemon.log_text()[-4000:]}"
        time.sleep(0.1)
    return answer


def until_rows(daemon, server, database, count):
    def there():
        run = server.try_sql("SELECT count(*) FROM cdpd.events", database)
        return run.returncode == 0 and int(run.stdout) >= count
    until(there, daemon)


def until_failing(daemon, *words):
    until(lambda: warehouse(daemon)["failing"] and all(word in daemon.log_text() + json.dumps(warehouse(daemon)) for word in words), daemon)
    assert PASSWORD not in daemon.log_text() + json.dumps(warehouse(daemon))


def test_what_a_row_holds(stopped, server, database):
    export_to(stopped, server.connection(database)).start()
    stopped.track("u1", "Order Completed", "m1", properties={"total": 12.5, "tags": ["a", "b"]}, context={"locale": "de"}, timestamp="2020-01-02T03:04:05.678901Z")
    assert stopped.post("/v1/identify", {"type": "identify", "userId": "u1", "anonymousId": "a1", "messageId": "m2", "traits": {"email": "a@example.org"}}).status == 200
    assert stopped.post("/v1/page", {"type": "page", "anonymousId": "a1", "messageId": "m3", "name": "Home", "context": {"page": {"url": "http://x/?utm_source=mail"}}}).status == 200
    stopped.track("u1", "Order Completed", "m1")  # a duplicate
    until_rows(stopped, server, database, 3)
    stopped.settled()
    rows = {row["message_id"]: row for row in json.loads(server.value("SELECT json_agg(to_json(e)) FROM cdpd.events e", database))}
    assert sorted(rows) == ["m1", "m2", "m3"]
    one = rows["m1"]
    assert (one["type"], one["event"], one["user_id"], one["source_id"]) == ("track", "Order Completed", "u1", "web")
    assert one["properties"] == {"total": 12.5, "tags": ["a", "b"]} and one["context"] == {"locale": "de"} and one["traits"] is None
    assert one["event_time"] == "2020-01-02T03:04:05.678901+00:00" and one["received_at"] > "2021"
    assert one["raw"]["messageId"] == "m1" and one["delivery_id"] and one["position"] and len(one["profile_id"]) == 32
    assert rows["m2"]["traits"] == {"email": "a@example.org"} and rows["m2"]["anonymous_id"] == "a1"
    assert rows["m3"]["event"] == "Home" and rows["m3"]["type"] == "page" and rows["m3"]["profile_id"] == one["profile_id"]
    assert server.value("SELECT sum((properties->>'total')::numeric) FROM cdpd.events WHERE type = 'track'", database) == "12.5"


def test_characters_that_jsonb_refuses_are_replaced(stopped, server, database):
    export_to(stopped, server.connection(database), keep_raw="false").start()
    body = b'{"type":"track","userId":"u1","event":"Odd","messageId":"odd","properties":{"nul":"a\\u0000b","half":"\\ud83d!","pair":"\\ud83d\\ude00","path":"c:\\\\u0000","k\\u0000":1}}'
    assert stopped.post("/v1/track", body).status == 200
    stopped.track("u1", "Even", "even")
    until_rows(stopped, server, database, 1)
    until_rows(stopped, server, database, 2)
    found = json.loads(server.value("SELECT properties FROM cdpd.events WHERE message_id = 'odd'", database))
    assert found["nul"] == "a\ufffdb" and found["pair"] == "\U0001f600" and found["path"] == "c:\\u0000" and found["k\ufffd"] == 1
    assert server.value("SELECT count(*) FROM cdpd.events WHERE raw IS NOT NULL", database) == "0"
    assert warehouse(stopped)["dropped"] == 0


def test_kill_9_of_either_side_leaves_each_event_exactly_once(stopped, server, database):
    export_to(stopped, server.connection(database))
    ledger = Ledger(users=4)
    for round_ in range(4):
        stopped.start()
        ledger.tag = f"r{round_}"
        ledger.load(stopped, clients=3, batch=5)
        if round_ % 2:
            time.sleep(0.3)
            server.kill()
            time.sleep(0.2)
            restart = threading.Thread(target=server.start)
            restart.start()
            restart.join()
        time.sleep(0.5)
        stopped.kill()
        ledger.join()
    stopped.start()
    stopped.settled()
    confirmed = set().union(*ledger.confirmed.values())
    assert len(confirmed) > 50
    def found():
        return [row[0] for row in server.sql("SELECT message_id FROM cdpd.events", database)]
    until(lambda: warehouse(stopped)["lag"] == 0 and not warehouse(stopped)["failing"], stopped)
    rows = found()
    assert confirmed <= set(rows)
    assert len(rows) == len(set(rows)), "a row came twice"
    assert len(rows) == int(server.value("SELECT count(DISTINCT delivery_id) FROM cdpd.events", database))
    assert set(rows) <= set().union(*ledger.sent.values())


def test_a_batch_that_is_handed_over_again_changes_nothing(stopped, server, database):
    """The daemon dies while the server commits: the commit happens, nobody notes it."""
    export_to(stopped, server.connection(database)).start()
    stopped.track("u1", "A", "m1")
    until_rows(stopped, server, database, 1)
    server.sql("CREATE TABLE public.slow (n int)", database)
    server.sql("""CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT count(*) FROM public.slow) > 0 THEN PERFORM pg_sleep(2); END IF; RETURN NULL; END $$""", database)
    server.sql("CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON cdpd.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.wait()", database)
    server.sql("INSERT INTO public.slow VALUES (1)", database)
    for n in range(2, 6):
        stopped.track("u1", "A", f"m{n}")
    until(lambda: server.try_sql("SELECT pid FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'", database).stdout.strip(), stopped)
    stopped.kill()
    server.sql("DELETE FROM public.slow", database)
    stopped.start()
    until_rows(stopped, server, database, 5)
    until(lambda: warehouse(stopped)["lag"] == 0, stopped)
    assert [row[0] for row in server.sql("SELECT message_id FROM cdpd.events ORDER BY 1", database)] == ["m1", "m2", "m3", "m4", "m5"]
    metrics = stopped.get("/metrics").body.decode()
    assert int(re.search(r"postgres_duplicates_total\{.*\} (\d+)", metrics).group(1)) > 0, "the fault did not fire"


def test_a_record_that_the_server_refuses_goes_alone(stopped, server, database):
    export_to(stopped, server.connection(database)).start()
    stopped.track("u1", "A", "before")
    until_rows(stopped, server, database, 1)
    server.sql("ALTER TABLE cdpd.events ADD CONSTRAINT no_poison CHECK (message_id NOT LIKE 'poison%')", database)
    server.kill()  # what comes now comes in one batch
    for n in range(40):
        stopped.track("u1", "A", f"poison{n}" if n in (0, 17, 39) else f"m{n:02}")
    server.start()
    until_rows(stopped, server, database, 38)
    until(lambda: warehouse(stopped)["dropped"] == 3, stopped)
    assert server.value("SELECT count(*) FROM cdpd.events WHERE message_id LIKE 'm%'", database) == "37"
    assert "no_poison" in stopped.log_text() + json.dumps(warehouse(stopped))


@pytest.mark.parametrize("on_erase", ["delete", "anonymise", "keep"])
def test_erasure(stopped, server, database, on_erase):
    export_to(stopped, server.connection(database), on_erase=on_erase).start()
    for n in range(3):
        stopped.track("gone", "A", f"g{n}", properties={"secret": "canary"})
    stopped.track("stays", "A", "s0")
    until_rows(stopped, server, database, 4)
    stopped.ctl("erase", "user_id:gone", "--wait")
    stopped.track("gone", "B", "later")  # somebody new
    stopped.track("stays", "A", "s1")
    until(lambda: server.value("SELECT count(*) FROM cdpd.events WHERE message_id IN ('later', 's1')", database) == "2", stopped)
    ids = [row[0] for row in server.sql("SELECT message_id FROM cdpd.events WHERE message_id IS NOT NULL ORDER BY 1", database)]
    total = int(server.value("SELECT count(*) FROM cdpd.events", database))
    canary = int(server.value("SELECT count(*) FROM cdpd.events e WHERE e::text LIKE '%canary%'", database))
    if on_erase == "keep":
        assert (len(ids), total, canary) == (6, 6, 3)
    else:
        assert ids == ["later", "s0", "s1"] and canary == 0
        assert total == (3 if on_erase == "delete" else 6)
    if on_erase == "anonymise":
        assert server.value("SELECT count(*) FROM cdpd.events WHERE profile_id IS NULL AND user_id IS NULL AND event = 'A' AND event_time IS NOT NULL", database) == "3"


def test_an_erasure_in_the_batch_of_its_events(stopped, server, database):
    export_to(stopped, server.connection(database)).start()
    stopped.track("other", "A", "o0")
    until_rows(stopped, server, database, 1)
    server.kill()
    for n in range(5):
        stopped.track("gone", "A", f"g{n}", properties={"secret": "canary"})
    until(lambda: warehouse(stopped)["failing"], stopped)
    stopped.ctl("erase", "user_id:gone", "--wait")
    stopped.track("gone", "B", "later")
    server.start()
    until(lambda: server.value("SELECT count(*) FROM cdpd.events WHERE message_id = 'later'", database) == "1", stopped)
    assert [row[0] for row in server.sql("SELECT message_id FROM cdpd.events ORDER BY 1", database)] == ["later", "o0"]


def test_a_frozen_server_holds_up_nobody_for_ever(stopped, server, database):
    export_to(stopped, server.connection(database), statement_timeout="500ms", connect_timeout="2s").start()
    stopped.track("u1", "A", "m0")
    until_rows(stopped, server, database, 1)
    server.freeze()
    try:
        for n in range(1, 20):
            position = stopped.track("u1", "A", f"m{n}")
        assert stopped.profile("user_id:u1", position).json["features"]["events"] == 20
        until_failing(stopped)
    finally:
        server.thaw()
    until_rows(stopped, server, database, 20)
    until(lambda: warehouse(stopped)["lag"] == 0, stopped)
    assert server.value("SELECT count(*) FROM cdpd.events", database) == "20"


def test_a_full_disk_drops_nothing(stopped, server, database):
    export_to(stopped, server.connection(database)).start()
    stopped.track("u1", "A", "m0")
    until_rows(stopped, server, database, 1)
    server.sql("CREATE FUNCTION public.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$", database)
    server.sql("CREATE TRIGGER full_disk BEFORE INSERT ON cdpd.events FOR EACH ROW EXECUTE FUNCTION public.full()", database)
    for n in range(1, 5):
        stopped.track("u1", "A", f"m{n}")
    until_failing(stopped, "53100", "could not extend file")
    server.sql("DROP TRIGGER full_disk ON cdpd.events", database)
    until_rows(stopped, server, database, 5)
    assert warehouse(stopped)["dropped"] == 0


def test_a_table_of_somebody_else_is_left_alone(stopped, server, database):
    server.sql("CREATE SCHEMA cdpd; CREATE TABLE cdpd.events (mine text)", database)
    export_to(stopped, server.connection(database)).start()
    stopped.track("u1", "A", "m0")
    until_failing(stopped, "not made by cdpd")
    server.sql("DROP TABLE cdpd.events", database)
    until_rows(stopped, server, database, 1)


def test_versions_of_the_schema(stopped, server, database):
    export_to(stopped, server.connection(database)).start()
    stopped.track("u1", "A", "m0")
    until_rows(stopped, server, database, 1)
    stopped.stop()
    newest = server.value("SELECT version FROM cdpd.cdpd_schema WHERE table_name = 'events'", database)
    server.sql("DROP INDEX cdpd.events_profile; DROP INDEX cdpd.events_time; UPDATE cdpd.cdpd_schema SET version = 1", database)  # as version 1 left it
    stopped.start()
    stopped.track("u1", "A", "m1")
    until_rows(stopped, server, database, 2)
    assert server.value("SELECT version FROM cdpd.cdpd_schema", database) == newest
    assert server.value("SELECT count(*) FROM pg_indexes WHERE indexname IN ('events_profile', 'events_time')", database) == "2"
    stopped.stop()
    server.sql("UPDATE cdpd.cdpd_schema SET version = 1000", database)
    stopped.start()
    stopped.track("u1", "A", "m2")
    until_failing(stopped, "newer version")
    assert server.value("SELECT count(*) FROM cdpd.events", database) == "2"


def test_without_the_right_to_migrate(stopped, server, database):
    export_to(stopped, server.connection(database), migrate="false", table="other_events").start()
    stopped.track("u1", "A", "m0")
    until_failing(stopped, "`migrate` is false")
    assert server.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'cdpd'", database) == "0"


def test_wrong_password_and_wrong_encoding_say_so(stopped, server, database):
    export_to(stopped, server.connection(database))
    stopped.env["TEST_PG_PASSWORD"] = "wr0ng-secret"
    stopped.start()
    stopped.track("u1", "A", "m0")
    until_failing(stopped, "password authentication failed")
    assert "wr0ng-secret" not in stopped.log_text()
    stopped.stop()
    server.sql(f"CREATE DATABASE {database}_latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    export_to(stopped, server.connection(f"{database}_latin")).start()
    until_failing(stopped, "LATIN1", "UTF8")
