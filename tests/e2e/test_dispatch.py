"""The dispatcher in the real daemon: one person's refused records hold up nobody, whatever is killed; the other side is down and comes back."""

import re
import subprocess

from test_destinations import FLAKY, FILES, configure, letters, post, status_of, taken, wait_for


def tell(daemon, suffix, text=""):
    path = daemon.folder / f"crm.txt{suffix}"
    if text is None:
        path.unlink()
        return
    new = daemon.folder / "told.new"
    new.write_text(text)
    new.rename(path)


def send(daemon, first, count, users=4):
    for n in range(first, first + count):
        daemon.track(f"u{n % users}", "A", f"m{n}")


def last_places(daemon):
    return {message: place for place, message in enumerate(taken(daemon))}


def assert_in_order(daemon, count, users=4):
    places = last_places(daemon)
    for n in range(count):
        assert f"m{n}" in places, n
        assert n < users or places[f"m{n}"] > places[f"m{n - users}"], n


def test_a_refused_person_holds_up_nobody_and_outlives_kills(stopped):
    configure(stopped, FLAKY + "}}\n")
    tell(stopped, ".later", "m1\n")
    stopped.start()
    send(stopped, 0, 8)
    wait_for(stopped, lambda: status_of(stopped, "crm")["parked"] == 2 and status_of(stopped, "crm")["lag"] == 0)
    for round in range(3):
        stopped.kill()
        stopped.start()
        send(stopped, 8 + 4 * round, 4)
        wait_for(stopped, lambda: {f"m{8 + 4 * round + n}" for n in (0, 2, 3)} <= set(taken(stopped)))
        assert "m1" not in taken(stopped)
    row = status_of(stopped, "crm")
    assert row["parked"] == 5 and row["state"] == "ok" and not row["failing"], row
    assert 'cdpd_destination_parked{destination="crm"} 5' in stopped.get("/metrics").body.decode()
    assert re.search(r"crm\s+flaky\s+ok", stopped.ctl("destinations").stdout)
    tell(stopped, ".later", None)
    wait_for(stopped, lambda: status_of(stopped, "crm")["parked"] == 0)
    assert_in_order(stopped, 20)


def test_the_other_side_is_down_and_back_whoever_is_killed(stopped):
    configure(stopped, FLAKY + "}}\n" + FILES + "}}\n")
    tell(stopped, ".down")
    stopped.start()
    send(stopped, 0, 20)
    wait_for(stopped, lambda: status_of(stopped, "files")["lag"] == 0)
    row = {}

    def waits():
        row.update(status_of(stopped, "crm"))
        return row["state"] == "waiting"

    wait_for(stopped, waits)
    assert row["failing"] and row["parked"] == 0 and row["lastError"] == "the other side is down", row
    assert row["stateSince"] and row["nextAttemptAt"] >= row["stateSince"], row
    assert 'cdpd_destination_failing{destination="crm"} 1' in stopped.get("/metrics").body.decode()
    stopped.kill()
    stopped.start()
    wait_for(stopped, lambda: status_of(stopped, "crm")["failing"])
    answer = stopped.ctl("destinations", "test", "crm", check=False)
    assert answer.returncode != 0 and "retry" in answer.stdout and "the other side is down" in answer.stdout, answer
    tell(stopped, ".down", None)
    answer = stopped.ctl("destinations", "test", "crm")
    assert "crm: ack" in answer.stdout and '"test":true' in answer.stdout.replace(" ", ""), answer
    wait_for(stopped, lambda: status_of(stopped, "crm")["lag"] == 0)
    row = status_of(stopped, "crm")
    assert row["state"] == "ok" and row["nextAttemptAt"] is None and row["delivered"] == 20, row
    assert_in_order(stopped, 20)


def test_a_destination_removed_with_parked_records_and_added_back(stopped):
    configure(stopped, FLAKY + "}}\n" + FILES + "}}\n")
    tell(stopped, ".later", "m1\n")
    stopped.start()
    send(stopped, 0, 8)
    wait_for(stopped, lambda: status_of(stopped, "crm")["parked"] == 2)
    configure(stopped, FILES + "}}\n").reload()
    wait_for(stopped, lambda: [row["name"] for row in stopped.get("/v1/admin/destinations").json["destinations"]] == ["files"])
    send(stopped, 8, 8)
    tell(stopped, ".later", None)
    configure(stopped, FLAKY + "}}\n" + FILES + "}}\n").reload()
    wait_for(stopped, lambda: "m15" in taken(stopped) and status_of(stopped, "crm")["parked"] == 0)
    assert_in_order(stopped, 16)
    assert taken(stopped).count("m1") == 1


def test_attempts_that_are_used_up_make_a_dead_letter(stopped):
    configure(stopped, FLAKY + ", max_attempts: 2}}\n")
    tell(stopped, ".later", "m1\n")
    stopped.start()
    send(stopped, 0, 8)
    wait_for(stopped, lambda: len(letters(stopped, "crm")) == 1)
    (letter,) = letters(stopped, "crm")
    assert letter["cause"] == "given_up" and letter["attempts"] == 2 and letter["event"]["messageId"] == "m1", letter
    wait_for(stopped, lambda: status_of(stopped, "crm")["parked"] == 0)
    assert "m5" in taken(stopped) and "m1" not in taken(stopped)


def test_what_is_wrong_is_refused_at_load(stopped):
    configure(stopped, FLAKY + ", batch: {{records: 5001}}, concurrency: 0, max_hold: soon, bach: {{age: 1s}}}}\n")
    text = subprocess.run(stopped.command("-n"), capture_output=True, text=True, timeout=60).stderr
    for word in ("batch.records", "concurrency", "max_hold", "did you mean 'batch'"):
        assert word in text, text


def test_a_test_needs_a_destination_and_a_right(stopped):
    configure(stopped, FLAKY + "}}\n").start()
    assert post(stopped, "/v1/admin/destinations/nobody/test").status == 404
    assert stopped.request("POST", "/v1/admin/destinations/crm/test", b"{}", {"Content-Type": "application/json"}).status == 401
    answer = post(stopped, "/v1/admin/destinations/crm/test")
    assert answer.status == 200 and answer.json["verdict"] == "ack", answer
    assert answer.json["record"]["event"] == "cdpd test" and answer.json["record"]["messageId"].startswith("cdpd-test-")
