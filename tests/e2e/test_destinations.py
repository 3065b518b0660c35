"""Destinations in the real daemon: what they are handed and as what, dead letters, and what operators tell them."""

import json
import pathlib
import re
import shutil
import subprocess
import time

import pytest
from cdpd import ADMIN_TOKEN, BUILD, CONFIG
from test_erasure import erase_and_wait, where
from test_plugins import exported

PLUGINS = [BUILD / "plugins" / "ndjson.so", BUILD / "plugins" / "campaign.so", BUILD / "tests" / "plugins" / "so" / "flaky.so"]
FILES = "  - {{name: files, plugin: ndjson, options: {{directory: {folder}/out}}"
FLAKY = "  - {{name: crm, plugin: flaky, options: {{file: {folder}/crm.txt, mode: ack}}"
CANARY = "canary-51d2e8"


def configure(daemon, destinations, extra=""):
    folder = daemon.folder / "plugins"
    if not folder.exists():
        folder.mkdir()
    for plugin in [] if (folder / "ndjson.so").exists() else PLUGINS:  # never over one that is loaded
        shutil.copy(plugin, folder / plugin.name)
        (folder / plugin.name).chmod(0o755)
    base = CONFIG.replace("plugins: {{path: {build}/plugins}}", "plugins: {{path: {folder}/plugins}}")
    assert base != CONFIG
    daemon.write_config(base + extra + "destinations:\n" + destinations)
    return daemon


def post(daemon, path, body=None):
    data = json.dumps(body if body is not None else {}).encode()
    return daemon.request("POST", path, data, {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"})


def status_of(daemon, name):
    return next(row for row in daemon.get("/v1/admin/destinations").json["destinations"] if row["name"] == name)


def wait_for(daemon, condition, timeout=60):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, daemon.get("/v1/admin/destinations").body.decode() + "\n" + daemon.log_text()
        time.sleep(0.03)


def wait_caught_up(daemon, name, letters=0):
    daemon.settled()
    wait_for(daemon, lambda: status_of(daemon, name)["lag"] == 0 and status_of(daemon, name)["deadLetters"] >= letters)
    return status_of(daemon, name)


def letters(daemon, name=""):
    return daemon.get(f"/v1/admin/deadletters?destination={name}").json["deadLetters"]


def taken(daemon, name="crm"):
    path = daemon.folder / f"{name}.txt"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


# ── what they are handed, and as what ──


MAPPED = FILES + """,
     events: [Order Completed, identify], where: {{field: properties.total, min: 10}},
     mapping: {{email: {{from: profile.traits.email, apply: lower, required: true}}, amount: $properties.total, orders: $profile.features.orders,
               user: "$profile.identifiers.user_id[0]"}}}}
"""


def test_filter_and_mapping(stopped):
    configure(stopped, MAPPED).start()
    stopped.post("/v1/identify", {"userId": "ann", "traits": {"email": "Ann@Example.COM"}, "messageId": "i1"})
    stopped.track("ann", "Order Completed", "o1", properties={"total": 12.50})
    stopped.track("ann", "Order Completed", "o2", properties={"total": 9})
    stopped.track("ann", "Seen", "s1", properties={"total": 100})
    stopped.track("bob", "Order Completed", "o3", properties={"total": 20})
    row = wait_caught_up(stopped, "files", letters=1)
    (line,) = exported(stopped)
    assert {key: line[key] for key in ("email", "amount", "user")} == {"email": "ann@example.com", "amount": 12.5, "user": "ann"}
    assert line["orders"] in (1, 2)
    assert "properties" not in line and "profile" not in line
    assert (row["delivered"], row["filtered"], row["unmapped"], row["deadLetters"]) == (1, 3, 1, 1), row
    (letter,) = letters(stopped, "files")
    assert letter["cause"] == "unmapped" and letter["reason"] == "profile.traits.email is required"
    assert letter["event"]["messageId"] == "o3" and not letter["queued"]

    # What was missing comes; the letter is handed over with the profile as it is now.
    stopped.post("/v1/identify", {"userId": "bob", "traits": {"email": "bob@example.com"}, "messageId": "i2"})
    wait_caught_up(stopped, "files")
    answer = post(stopped, "/v1/admin/deadletters/redrive", {"destination": "files", "position": letter["position"]})
    assert answer.status == 200 and answer.json["queued"] == 1, answer
    wait_for(stopped, lambda: letters(stopped) == [])
    assert sorted(line["email"] for line in exported(stopped)) == ["ann@example.com", "bob@example.com"]
    metrics = stopped.get("/metrics").body.decode()
    assert 'cdpd_destination_unmapped_total{destination="files"} 1' in metrics
    assert 'cdpd_destination_dead_letters{destination="files"} 0' in metrics


def test_counts_survive_a_kill(stopped):
    configure(stopped, MAPPED).start()
    stopped.track("bob", "Order Completed", "o1", properties={"total": 20})
    stopped.track("bob", "Seen", "s1")
    before = wait_caught_up(stopped, "files", letters=1)
    assert (before["filtered"], before["unmapped"], before["deadLetters"]) == (1, 1, 1)
    stopped.kill()
    stopped.start()
    after = wait_caught_up(stopped, "files")
    assert after["unmapped"] == 1 and after["deadLetters"] == 1 and after["filtered"] == 1
    assert letters(stopped)[0]["reason"] == "profile.traits.email is required"


def test_only_people_of_a_segment(stopped):
    segments = "segments:\n  - {{name: buyers, when: {{feature: orders, at_least: 1}}}}\n"
    configure(stopped, FILES + ", segments: [buyers]}}\n", segments).start()
    stopped.track("ann", "Order Completed", "a1")
    stopped.track("bob", "Seen", "b1")
    stopped.track("ann", "Seen", "a2")
    row = wait_caught_up(stopped, "files")
    assert sorted(line["messageId"] for line in exported(stopped)) == ["a1", "a2"]
    assert row["filtered"] == 1


def test_whatever_the_filter_the_erased_are_told(stopped):
    """Whoever had a person must hear that she is gone, mapping or not."""
    configure(stopped, FILES + ", events: [Order Completed], mapping: {{total: {{from: properties.total, required: true}}}}}}\n").start()
    stopped.track("ann", "Order Completed", "a1", properties={"total": 5})
    wait_caught_up(stopped, "files")
    erase_and_wait(stopped, "user_id:ann")
    wait_for(stopped, lambda: any(line.get("type") == "erased" for line in exported(stopped)))
    notice = next(line for line in exported(stopped) if line.get("type") == "erased")
    assert len(notice["profileIds"]) == 1


@pytest.mark.parametrize("keys, complaint", [
    ("mapping: {{a: {{frm: x, from: y}}}}", "mapping.a: unknown key 'frm'"),
    ("mapping: {{a: {{from: x, cast: intger}}}}", "did you mean 'integer'"),
    ("where: {{field: a, exsts: true}}", "did you mean 'exists'"),
    ("segments: [buyer]", "unknown segment 'buyer', did you mean 'buyers'"),
])
def test_bad_definitions_are_refused(stopped, keys, complaint):
    segments = "segments:\n  - {{name: buyers, when: {{feature: orders, at_least: 1}}}}\n"
    configure(stopped, FILES + ", " + keys + "}}\n", segments)
    run = subprocess.run(stopped.command("-n"), capture_output=True, text=True, timeout=60)
    assert run.returncode != 0 and complaint in run.stderr + run.stdout, run
    last = len(stopped.config_file.read_text().splitlines())
    assert f"cdpd.yaml:{last}:" in run.stderr + run.stdout


def test_a_reload_takes_a_new_mapping(stopped):
    configure(stopped, FILES + ", mapping: {{old: $messageId}}}}\n").start()
    stopped.track("ann", "A", "m1")
    wait_caught_up(stopped, "files")
    configure(stopped, FILES + ", mapping: {{new: $messageId}}}}\n")
    stopped.reload()
    deadline = time.monotonic() + 60
    n = 2
    while not any("new" in line for line in exported(stopped)):
        assert time.monotonic() < deadline, stopped.log_text()
        stopped.track("ann", "A", f"m{n}")
        n += 1
        time.sleep(0.1)
    assert [line["old"] for line in exported(stopped) if "old" in line][0] == "m1"


# ── preview ──


def test_preview_says_what_and_why_not(stopped, tmp_path):
    configure(stopped, MAPPED).start()
    stopped.post("/v1/identify", {"userId": "ann", "traits": {"email": "ann@example.com"}, "messageId": "i1"})
    stopped.track("ann", "Order Completed", "o1", properties={"total": 12})
    stopped.track("ann", "Order Completed", "o2", properties={"total": 1})
    stopped.track("ann", "Seen", "s1")
    stopped.track("bob", "Order Completed", "o3", properties={"total": 20})
    before = wait_caught_up(stopped, "files", letters=1)

    def preview(*arguments, check=True):
        return json.loads(stopped.ctl("--json", "destinations", "preview", "files", *arguments, check=check).stdout)

    good = preview("--message-id", "o1")
    assert good["verdict"] == "handed_over" and good["record"]["email"] == "ann@example.com" and good["record"]["amount"] == 12
    assert preview("--message-id", "o2")["reason"] == "a condition of `where` does not hold"
    assert preview("--message-id", "s1")["reason"] == "its event is none of `events`"
    assert preview("--message-id", "o3") == {"destination": "files", "verdict": "dead_letter", "reason": "profile.traits.email is required"}
    assert stopped.ctl("destinations", "preview", "files", "--message-id", "nothing", check=False).returncode == 1

    event = tmp_path / "event.json"
    event.write_text(json.dumps({"type": "track", "event": "Order Completed", "properties": {"total": 77}}))
    assert preview("--file", str(event), "--profile", "user_id:ann")["record"]["amount"] == 77
    assert preview("--file", str(event))["verdict"] == "dead_letter"
    assert "handed_over" in stopped.ctl("destinations", "preview", "files", "--file", str(event), "--profile", "user_id:ann").stdout
    after = status_of(stopped, "files")
    assert {k: after[k] for k in ("delivered", "filtered", "unmapped", "deadLetters")} == {k: before[k] for k in ("delivered", "filtered", "unmapped", "deadLetters")}
    assert len(exported(stopped)) == before["delivered"]


def test_orders_are_checked(stopped):
    configure(stopped, FILES + "}}\n").start()
    position = stopped.track("ann", "A", "m1")
    path = "/v1/admin/destinations"
    for body in [{}, {"position": "x"}, {"position": position, "event": {"type": "track"}}, {"event": {"type": "nonsense"}}, {"event": []}]:
        assert post(stopped, f"{path}/files/preview", body).status == 400, body
    assert post(stopped, f"{path}/nobody/preview", {"position": position}).status == 404
    for body in [{}, {"since": "yesterday"}, {"position": position, "since": "2026-01-01T00:00:00Z"}]:
        assert post(stopped, f"{path}/files/replay", body).status == 400, body
    for deed in ["pause", "resume"]:
        assert post(stopped, f"{path}/nobody/{deed}").status == 404
    assert post(stopped, "/v1/admin/deadletters/redrive", {}).status == 400
    assert post(stopped, "/v1/admin/deadletters/redrive", {"destination": "nobody"}).status == 404
    assert post(stopped, "/v1/admin/deadletters/redrive", {"destination": "files", "position": position}).status == 404
    assert post(stopped, "/v1/admin/deadletters/redrive", {"destination": "files"}).json["queued"] == 0
    assert stopped.request("POST", f"{path}/files/pause", b"{}").status == 401


# ── dead letters ──


def refuse(daemon, is_on):
    path = daemon.folder / "crm.txt.refuse"
    if is_on:
        path.write_text("")
    else:
        path.unlink()


def test_dead_letters_are_kept_listed_and_handed_over_again(stopped):
    configure(stopped, FLAKY + "}}\n").start()
    refuse(stopped, True)
    for n in range(30):
        stopped.track(f"u{n % 3}", "A", f"m{n}")
    row = wait_caught_up(stopped, "crm", letters=30)
    assert row["dropped"] == 30 and row["deadLetters"] == 30 and taken(stopped) == []
    stopped.kill()
    stopped.start()
    found = letters(stopped, "crm")
    assert sorted(letter["event"]["messageId"] for letter in found) == sorted(f"m{n}" for n in range(30))
    assert all(letter["reason"] == "refused " + letter["event"]["messageId"] and letter["attempts"] >= 1 for letter in found)

    # In pages.
    seen, cursor = [], ""
    while True:
        page = stopped.get(f"/v1/admin/deadletters?limit=7{cursor}").json
        seen += [letter["event"]["messageId"] for letter in page["deadLetters"]]
        if not page["next"]:
            break
        cursor = "&cursor=" + page["next"]
    assert len(seen) == len(set(seen)) == 30

    # Still refused: they stay, and are not queued any more.
    assert post(stopped, "/v1/admin/deadletters/redrive", {"destination": "crm"}).json["queued"] == 30
    wait_for(stopped, lambda: not any(letter["queued"] for letter in letters(stopped)))
    assert len(letters(stopped)) == 30 and taken(stopped) == []

    refuse(stopped, False)
    stopped.track("u0", "A", "new")
    wait_caught_up(stopped, "crm")
    assert taken(stopped) == ["new"]  # by themselves they do not come back
    table = stopped.ctl("deadletters", "crm").stdout
    assert "refused m0" in table
    first = next(letter for letter in letters(stopped) if letter["event"]["messageId"] == "m0")
    assert "1 discarded" in stopped.ctl("deadletters", "discard", "crm", first["position"]).stdout
    assert "29 will be handed over again" in stopped.ctl("deadletters", "redrive", "crm").stdout
    wait_for(stopped, lambda: letters(stopped) == [])
    assert sorted(taken(stopped)) == sorted(["new"] + [f"m{n}" for n in range(1, 30)])
    assert status_of(stopped, "crm")["delivered"] == 30


def test_a_redrive_survives_a_kill(stopped):
    configure(stopped, FLAKY + "}}\n").start()
    refuse(stopped, True)
    for n in range(20):
        stopped.track("u", "A", f"m{n}")
    wait_caught_up(stopped, "crm", letters=20)
    (stopped.folder / "crm.txt.down").write_text("")
    refuse(stopped, False)
    assert post(stopped, "/v1/admin/deadletters/redrive", {"destination": "crm"}).json["queued"] == 20
    wait_for(stopped, lambda: status_of(stopped, "crm")["failing"])
    assert len(letters(stopped)) == 20
    stopped.kill()
    stopped.start()
    (stopped.folder / "crm.txt.down").unlink()
    wait_for(stopped, lambda: letters(stopped) == [])
    assert set(taken(stopped)) == {f"m{n}" for n in range(20)}


def test_an_erased_person_leaves_no_dead_letter(stopped):
    configure(stopped, FLAKY + "}}\n").start()
    refuse(stopped, True)
    stopped.track(f"{CANARY}-user", "A", f"{CANARY}-m1", properties={"note": CANARY})
    stopped.track("bob", "A", "b1")
    row = wait_caught_up(stopped, "crm", letters=2)
    assert row["deadLetters"] == 2
    assert any("delivery" in path for path in where(stopped.data, CANARY)), "the canary was not planted"
    dry = stopped.request("DELETE", f"/v1/profiles/user_id:{CANARY}-user?dry_run=1", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert dry.json["counts"]["deadLetters"] == 1, dry
    refuse(stopped, False)  # the notice of the erasure is taken
    erase_and_wait(stopped, f"user_id:{CANARY}-user")
    assert where(stopped.data, CANARY) == []
    assert [letter["event"]["messageId"] for letter in letters(stopped)] == ["b1"]
    stopped.track("bob", "A", "b2")  # it goes on after the environment was written anew
    wait_caught_up(stopped, "crm")
    assert "b2" in taken(stopped)
    assert post(stopped, "/v1/admin/deadletters/redrive", {"destination": "crm"}).json["queued"] == 1
    wait_for(stopped, lambda: letters(stopped) == [])
    assert taken(stopped).count("b1") == 1
    stopped.stop()
    assert where(stopped.data, CANARY) == []


# ── pause, resume, replay ──


def test_a_pause_outlives_a_kill(stopped):
    configure(stopped, FLAKY + "}}\n" + FILES + "}}\n").start()
    stopped.track("u", "A", "m0")
    wait_caught_up(stopped, "crm")
    assert "paused" in stopped.ctl("destinations", "pause", "crm").stdout
    for n in range(1, 6):
        stopped.track("u", "A", f"m{n}")
    wait_caught_up(stopped, "files")  # nobody else is held up
    row = status_of(stopped, "crm")
    assert row["paused"] and row["lag"] >= 5 and not row["failing"]
    stopped.kill()
    stopped.start()
    stopped.track("u", "A", "m6")
    wait_caught_up(stopped, "files")
    wait_for(stopped, lambda: status_of(stopped, "crm")["lagSeconds"] > 0)
    assert taken(stopped) == ["m0"] and status_of(stopped, "crm")["paused"]
    assert 'cdpd_destination_paused{destination="crm"} 1' in stopped.get("/metrics").body.decode()
    stopped.ctl("destinations", "resume", "crm")
    wait_caught_up(stopped, "crm")
    assert taken(stopped) == [f"m{n}" for n in range(7)]
    assert status_of(stopped, "crm")["lagSeconds"] == 0


def test_a_replay_begins_where_it_is_told(stopped):
    configure(stopped, FLAKY + "}}\n").start()
    for n in range(4):
        position = stopped.track("u", "A", f"m{n}")
        if n == 2:
            second = position
    wait_caught_up(stopped, "crm")
    stopped.ctl("destinations", "replay", "crm", "--from", second)
    wait_for(stopped, lambda: len(taken(stopped)) >= 6)
    wait_caught_up(stopped, "crm")
    assert taken(stopped) == ["m0", "m1", "m2", "m3", "m2", "m3"]
    answer = post(stopped, "/v1/admin/destinations/crm/replay", {"since": "2020-01-01T00:00:00Z"})
    assert answer.status == 200 and answer.json["complete"], answer
    wait_for(stopped, lambda: len(taken(stopped)) >= 10)
    assert taken(stopped)[6:] == ["m0", "m1", "m2", "m3"]
    post(stopped, "/v1/admin/destinations/crm/replay", {"since": "2199-01-01T00:00:00Z"})  # nothing is that new
    stopped.track("u", "A", "m4")
    wait_caught_up(stopped, "crm")
    assert taken(stopped)[10:] == ["m4"]


def test_a_replay_of_a_paused_destination_waits_and_outlives_a_kill(stopped):
    configure(stopped, FLAKY + "}}\n").start()
    first = stopped.track("u", "A", "m0")
    stopped.track("u", "A", "m1")
    wait_caught_up(stopped, "crm")
    post(stopped, "/v1/admin/destinations/crm/pause")
    assert post(stopped, "/v1/admin/destinations/crm/replay", {"position": first}).status == 200
    stopped.kill()
    stopped.start()
    wait_for(stopped, lambda: status_of(stopped, "crm")["lag"] > 0)
    assert taken(stopped) == ["m0", "m1"]
    post(stopped, "/v1/admin/destinations/crm/resume")
    wait_caught_up(stopped, "crm")
    assert taken(stopped) == ["m0", "m1", "m0", "m1"]


def test_a_failing_destination_obeys_at_once(stopped):
    """Its retries may be a minute apart; a word of the operator is not."""
    configure(stopped, FLAKY + "}}\n").start()
    (stopped.folder / "crm.txt.down").write_text("")
    stopped.track("u", "A", "m0")
    wait_for(stopped, lambda: status_of(stopped, "crm")["retries"] >= 3)
    post(stopped, "/v1/admin/destinations/crm/pause")
    retries = -1
    while retries != (retries := status_of(stopped, "crm")["retries"]):
        time.sleep(0.3)
    (stopped.folder / "crm.txt.down").unlink()
    assert taken(stopped) == []
    post(stopped, "/v1/admin/destinations/crm/resume")
    wait_caught_up(stopped, "crm")
    assert taken(stopped) == ["m0"]


# ── kill -9 ──


def test_every_event_is_taken_or_a_dead_letter_whenever_it_is_killed(stopped):
    """Some of each batch are refused for ever, others filtered; the daemon is killed in the middle, again and again."""
    configure(stopped, FLAKY.replace("mode: ack", "mode: drop_odd") + ", events: [A]}}\n")
    sent = set()
    for round_ in range(5):
        stopped.start()
        for n in range(60):
            stopped.track(f"u{n % 4}", "A" if n % 3 else "Other", f"m{round_}-{n}")
            if n % 3:
                sent.add(f"m{round_}-{n}")
        stopped.kill()
    stopped.start()
    wait_caught_up(stopped, "crm")

    def refused():
        found, cursor = set(), ""
        while True:
            page = stopped.get(f"/v1/admin/deadletters?limit=500{cursor}").json
            found |= {letter["event"]["messageId"] for letter in page["deadLetters"]}
            if not page["next"]:
                return found
            cursor = "&cursor=" + page["next"]

    wait_for(stopped, lambda: set(taken(stopped)) | refused() == sent)
    assert refused(), "nothing was refused: the test shows nothing"


def test_the_page_about_destinations_is_right(stopped):
    text = (pathlib.Path(__file__).parents[2] / "docs" / "destinations.md").read_text()
    block = re.search(r"```yaml\n(.*?)```", text, re.S).group(1).replace("{", "{{").replace("}", "}}")
    known = "consent: {{purposes: [{{name: newsletter}}]}}\nsegments:\n  - {{name: buyers, when: {{feature: orders, at_least: 1}}}}\n"
    stopped.write_config(CONFIG + known + block)
    run = subprocess.run(stopped.command("-n"), capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
