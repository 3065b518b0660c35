"""Events of some types are kept for less: their bytes go from the raw files, what they did to people stays. docs/privacy.md."""

import shutil
import subprocess
import time

from cdpd import CONFIG, Daemon
from test_async import features, with_asker
from test_erasure import erase_and_wait, where
from test_segments import wait_for

CANARY = "canary-51d0e2"


def with_journal(text):
    old = "journal: {{disk_free_min: 1MiB, ballast: 1MiB}}\n"
    assert old in CONFIG
    return CONFIG.replace(old, "journal:\n  disk_free_min: 1MiB\n  ballast: 1MiB\n" + text)


AGED = "  segment_age: 1s\n"
RULES = AGED + "  event_retention:\n    - {{event: [page, Secret Seen], keep: 2s}}\n"


def plant(daemon, user="alice", n=3):
    for i in range(n):
        daemon.post("/v1/page", {"userId": user, "anonymousId": f"{user}-device", "name": "Home", "messageId": f"{user}-p{i}", "properties": {"path": f"/{i}", "note": CANARY}})
        daemon.track(user, "Secret Seen", f"{user}-s{i}", properties={"note": CANARY})
        daemon.track(user, "Order Completed", f"{user}-o{i}", properties={"total": 10})
    # A duplicate and a conflict of such an event lie in the journal, too.
    daemon.track(user, "Secret Seen", f"{user}-s0", properties={"note": CANARY})
    daemon.track(user, "Secret Seen", f"{user}-s1", properties={"note": CANARY + " again"})


def person(daemon, ref="user_id:alice"):
    answer = daemon.profile(ref)
    assert answer.status == 200, answer
    body = answer.json
    body.pop("position")
    return body


def gone(daemon):
    wait_for(lambda: not where(daemon.data, CANARY), timeout=90)


def test_bytes_go_and_people_stay(tmp_path):
    daemon = Daemon(tmp_path, with_journal(RULES)).start()
    try:
        plant(daemon)
        before, status = (daemon.settled(), person(daemon))[1], daemon.status()
        listed = [event["messageId"] for event in daemon.events("user_id:alice")]
        assert len(listed) == 9 and before["features"]["events"] == 9
        gone(daemon)
        assert person(daemon) == before
        assert [event["messageId"] for event in daemon.events("user_id:alice")] == [name for name in listed if "-o" in name]
        after = daemon.status()
        assert after["balanced"] and {k: v for k, v in after["events"].items()} == status["events"]
        assert after["events"]["duplicate"] == 1
        wait_for(lambda: "cdpd_expired_events_total 8" in daemon.get("/metrics").body.decode())  # counted when the sweep is through
        # The person's export and a trace say nothing of them, and do not stumble.
        assert CANARY not in daemon.get("/v1/profiles/user_id:alice/export").body.decode()
        # A feature that is defined now counts what is left.
        daemon.write_config(with_journal(RULES).replace("\nfeatures:", "\nfeatures:\n  - {{name: late, type: count}}", 1))
        daemon.reload()
        wait_for(lambda: person(daemon)["features"].get("late") == 3 and daemon.get("/v1/profiles/user_id:alice/features").json["counting"] == [])
        assert person(daemon)["features"]["events"] == 9
        # An erasure afterwards takes the rest, and only now are they erased events.
        erase_and_wait(daemon, "user_id:alice")
        after = daemon.settled()
        assert after["balanced"] and after["events"]["erased"] == 9, after["events"]
        assert daemon.profile("user_id:alice").status == 404
        assert where(daemon.data, "alice-o1") == []
    finally:
        daemon.stop()


def test_kills_and_a_rebuild(tmp_path):
    """What is left decides the same identities; what was counted stays where it was counted."""
    daemon = Daemon(tmp_path, with_journal(RULES)).start()
    try:
        for user in range(30):
            plant(daemon, f"u{user}", n=2)
        daemon.settled()
        before = {user: person(daemon, f"user_id:u{user}") for user in range(30)}
        for _ in range(6):
            time.sleep(0.5)
            daemon.kill()
            daemon.start()
        gone(daemon)
        status = daemon.settled()
        assert status["balanced"]
        assert {user: person(daemon, f"user_id:u{user}") for user in range(30)} == before
        # Added later, a feature counts what is left; a retry is still a duplicate.
        daemon.track("u1", "Secret Seen", "u1-s0", properties={"note": "other"})
        assert daemon.settled()["events"]["duplicate"] + daemon.status()["events"]["rejected"] == status["events"]["duplicate"] + status["events"]["rejected"] + 1
        daemon.stop()
        shutil.rmtree(daemon.data / "profiles")
        daemon.start()
        status = daemon.settled()
        assert status["balanced"], status["events"]
        for user in range(30):
            rebuilt = person(daemon, f"user_id:u{user}")
            assert rebuilt["id"] == before[user]["id"]
            assert rebuilt["identifiers"].keys() == before[user]["identifiers"].keys() if isinstance(rebuilt["identifiers"], dict) else len(rebuilt["identifiers"]) == len(before[user]["identifiers"]) == 2
            assert rebuilt["features"]["orders"] == before[user]["features"]["orders"] == 2
    finally:
        daemon.stop()


def test_a_reload_brings_and_takes_rules(tmp_path):
    daemon = Daemon(tmp_path, with_journal(AGED)).start()
    try:
        plant(daemon)
        daemon.settled()
        time.sleep(3)
        assert where(daemon.data, CANARY)
        daemon.write_config(with_journal(RULES))
        daemon.reload()
        gone(daemon)
        daemon.write_config(with_journal(AGED))
        daemon.reload()
        wait_for(lambda: daemon.log_text().count("configuration reloaded") == 2)
        plant(daemon, "bob")
        daemon.settled()
        time.sleep(4)
        assert where(daemon.data, CANARY)
    finally:
        daemon.stop()


def test_answers_go_with_their_events(tmp_path):
    """An event that waits for an asynchronous enricher stays until it is counted with its answer; then both go."""
    daemon, config = Daemon(tmp_path), with_journal(RULES)
    with_asker(daemon, "mode: never", ", deadline: 10m, events: [Secret Seen]", config=config).start()
    try:
        for n in range(3):
            daemon.track("u1", "Secret Seen", f"s{n}", properties={"note": CANARY})
        daemon.settled()
        daemon.track("u1", "Order Completed", "o1")
        time.sleep(5)  # long enough for all of it to be old
        daemon.track("u1", "Order Completed", "o2")
        assert where(daemon.data / "journal", CANARY) and b"cdpd_expired_events_total 0" in daemon.get("/metrics").body
        assert daemon.stop() == 0
        with_asker(daemon, "say: answer-" + CANARY, ", events: [Secret Seen]", config=config).start()
        wait_for(lambda: features(daemon).get("events") == 5 and b"cdpd_awaits 0" in daemon.get("/metrics").body)
        gone(daemon)
        found = features(daemon)
        assert found["events"] == 5 and found["unheard"] == 2 and daemon.settled()["balanced"]
        listed = daemon.events("user_id:u1")
        assert [event["messageId"] for event in listed] == ["o2", "o1"]
    finally:
        daemon.stop()


def refused(tmp_path, rules):
    daemon = Daemon(tmp_path, with_journal("  retention: 30d\n  event_retention:\n" + rules))
    run = subprocess.run(daemon.command("-n"), capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    return run.stderr + run.stdout


def test_wrong_rules_are_refused(tmp_path):
    assert "event_retention[0]: keep must be shorter than journal.retention" in refused(tmp_path, "    - {{event: page, keep: 30d}}\n")
    assert "'page' has a rule already" in refused(tmp_path, "    - {{event: page, keep: 1d}}\n    - {{event: [Seen, page], keep: 2d}}\n")
    assert "did you mean 'keep'" in refused(tmp_path, "    - {{event: page, keeps: 1d}}\n")
    assert "must be the name of an event" in refused(tmp_path, "    - {{event: '', keep: 1d}}\n")
    text = refused(tmp_path, "    - {{event: page, keep: 100ms}}\n")
    assert "cdpd.yaml:" in text and "1s" in text, text
