"""Isolated sources and exporters in the real daemon: what sources promise holds in a process of their own too, and whatever that process does, requests are answered,
events are kept and everybody else is served."""

import os
import shutil
import subprocess
import time

import pytest

import test_async
import test_sources
from cdpd import BUILD
from test_async import (  # noqa: F401
    provider,
    test_a_stop_does_not_wait_for_a_service_that_hangs,
    test_an_exporter_cannot_reach_private_addresses,
    test_an_exporter_posts_and_waits_for_the_answer,
)
from test_sources import (  # noqa: F401 (run here once more, isolated)
    ask,
    hooked,
    metric,
    requests,
    test_a_batch_with_its_own_shape,
    test_a_delivery_that_comes_again_counts_once,
    test_a_handshake,
    test_a_kill_after_the_answer_loses_nothing,
    test_a_reload_begins_anew_what_changed,
    test_a_signed_post_becomes_an_event,
    test_a_wrong_signature_is_refused,
    test_bad_json_is_refused_and_kept,
    test_clients_that_leave_harm_nobody,
    test_limits_hold_for_a_source,
    test_old_deliveries_are_refused,
    test_the_answer_is_exactly_what_was_said,
    test_too_many_at_once_are_told_to_wait,
    test_what_fails_is_counted_and_makes_nothing,
    test_what_it_keeps_survives,
    wait_for,
    with_source,
)

TEST_PLUGINS = BUILD / "tests" / "plugins" / "so"
EVENT = '{"type":"track","event":"A","userId":"u1"}'


@pytest.fixture(autouse=True)
def isolated(monkeypatch):
    monkeypatch.setattr(test_sources, "ISOLATED", ", isolated: true")
    monkeypatch.setattr(test_async, "ISOLATED", ", isolated: true")


def add_rogue(daemon):
    folder = daemon.folder / "plugins"
    folder.mkdir(mode=0o755, exist_ok=True)
    shutil.copy(TEST_PLUGINS / "rogue.so", folder)
    os.chmod(folder / "rogue.so", 0o755)


def rogue(keys=""):
    return f"{{{{id: hook, kind: webhook, plugin: rogue, isolated: true{keys}}}}}"


def process_of(daemon, name="source:hook"):
    plugins = daemon.get("/v1/admin/plugins").json["plugins"]
    return next(p["process"] for p in plugins if p["name"] == name)


# ── sources ──


SANITIZED = "asan" in str(BUILD) or "tsan" in str(BUILD)


@pytest.mark.parametrize("mode, cause", [("crash", "signal 11"), ("exit", "exit 7"), ("spin", "a call did not return in time"), ("shout", "no frame of ours")])
def test_a_request_that_ends_the_process_costs_that_request(stopped, mode, cause):
    if SANITIZED and mode == "crash":
        pytest.skip("the sanitizer ends it otherwise")
    add_rogue(stopped)
    with_source(stopped, rogue(", deadline: 3s"), hooked(name="other")).start()
    assert wait_for(lambda: ask(stopped, EVENT)).status == 200
    assert ask(stopped, f"rogue {mode}").status in (500, 503)
    assert ask(stopped, EVENT, source="other").status == 200
    wait_for(lambda: ask(stopped, EVENT).status == 200)
    process = wait_for(lambda: process_of(stopped)["up"] and process_of(stopped))
    assert process["deaths"] == 1 and cause in process["lastDeath"], process
    assert metric(stopped, 'cdpd_isolated_deaths_total{source="hook"}') == 1
    assert stopped.settled()["balanced"] and stopped.stop() == 0


def test_the_source_is_another_process_that_reaches_nothing(stopped):
    add_rogue(stopped)
    with_source(stopped, rogue()).start()
    assert int(ask(stopped, "pid").body) != stopped.pid()
    assert ask(stopped, "rogue socket").body.startswith(b"-1 Operation not permitted")
    wait_for(lambda: "refused: system call" in stopped.log_text())
    answer = ask(stopped, "rogue busy")
    assert answer.status == 503 and answer.json["code"] == "source_unavailable" and answer.headers["retry-after"]
    assert process_of(stopped)["deaths"] == 0


def test_a_hung_process_is_ended_at_the_deadline(stopped):
    with_source(stopped, hooked(", deadline: 300ms"), hooked(name="other")).start()
    wait_for(lambda: ask(stopped, "many 1").status == 200)
    assert ask(stopped, "hang 100000").status == 503
    assert ask(stopped, "many 1", source="other").status == 200
    wait_for(lambda: ask(stopped, "many 1").status == 200)
    assert process_of(stopped)["deaths"] >= 1 and "did not return in time" in process_of(stopped)["lastDeath"]
    assert stopped.stop() == 0


def test_a_request_has_a_bound(stopped):
    with_source(stopped, hooked())
    text = stopped.config_file.read_text().replace("{", "{{").replace("}", "}}")
    stopped.write_config(text + "limits: {{body_bytes: 32MiB}}\n")
    stopped.start()
    wait_for(lambda: ask(stopped, "many 1").status == 200)
    answer = ask(stopped, "x" * (9 << 20))
    assert answer.status == 413 and answer.json["code"] == "too_large", answer
    assert ask(stopped, "many 1").status == 200 and process_of(stopped)["deaths"] == 0


# ── exporters ──


def with_rogue(daemon, keys=", isolated: true"):
    with_source(daemon)
    add_rogue(daemon)
    text = daemon.config_file.read_text().replace("{", "{{").replace("}", "}}")
    daemon.write_config(text + f"destinations:\n  - {{{{plugin: rogue{keys}}}}}\n")
    return daemon


def taken(daemon):
    return metric(daemon, 'cdpd_plugin_taken_total{instance="rogue"}')


def destination(daemon, what):
    return metric(daemon, f'cdpd_destination_{what}_total{{destination="rogue"}}')


def test_an_exporter_in_a_process_of_its_own(stopped):
    with_rogue(stopped).start()
    for n in range(50):
        stopped.track("u1", "rogue drop" if n % 10 == 0 else "A", f"m{n}")
    wait_for(lambda: destination(stopped, "delivered") == 45 and destination(stopped, "dropped") == 5)
    wait_for(lambda: taken(stopped) >= 45)
    assert process_of(stopped, "rogue") == {"up": True, "starts": 1, "deaths": 0}
    assert metric(stopped, 'cdpd_isolated_up{destination="rogue"}') == 1
    letters = stopped.get("/v1/admin/deadletters?destination=rogue").json
    assert "it said so" in str(letters)


@pytest.mark.parametrize("mode, cause", [("crash", "signal 11"), ("exit", "exit 7"), ("shout", "no frame of ours")])
def test_a_record_that_ends_the_process_becomes_a_dead_letter(stopped, mode, cause):
    if SANITIZED and mode == "crash":
        pytest.skip("the sanitizer ends it otherwise")
    with_rogue(stopped).start()
    for n in range(20):
        stopped.track("u1", f"rogue {mode}" if n == 10 else "A", f"m{n}")
    wait_for(lambda: destination(stopped, "delivered") == 19 and destination(stopped, "dropped") == 1, 120)
    assert process_of(stopped, "rogue")["deaths"] >= 2 and cause in process_of(stopped, "rogue")["lastDeath"]
    letters = stopped.get("/v1/admin/deadletters?destination=rogue").json
    assert "its process ended over it" in str(letters) and cause in str(letters), letters
    stopped.track("u1", "A", "last")
    wait_for(lambda: destination(stopped, "delivered") == 20)
    assert stopped.stop() == 0


def test_a_process_that_is_killed_between_batches_loses_nothing(stopped):
    with_rogue(stopped).start()
    stopped.track("u1", "A", "m1")
    wait_for(lambda: destination(stopped, "delivered") == 1)
    for pid in subprocess.run(["pgrep", "-P", str(stopped.pid())], capture_output=True, text=True).stdout.split():
        os.kill(int(pid), 9)
    for n in range(2, 20):
        stopped.track("u1", "A", f"m{n}")
    wait_for(lambda: destination(stopped, "delivered") == 19, 120)
    assert destination(stopped, "dropped") == 0 and process_of(stopped, "rogue")["deaths"] == 1


def test_a_feature_cannot_be_isolated(stopped):
    with_source(stopped)
    shutil.copy(TEST_PLUGINS / "threshold.so", stopped.folder / "plugins")
    os.chmod(stopped.folder / "plugins" / "threshold.so", 0o755)
    stopped.config_file.write_text(stopped.config_file.read_text() + "  - {plugin: threshold, isolated: true}\n")
    run = subprocess.run(stopped.command("-n"), capture_output=True, text=True, timeout=60)
    assert run.returncode != 0 and "it is a feature" in run.stderr, run.stderr


def test_one_with_sockets_or_files_of_its_own_cannot_be_isolated(stopped):
    stopped.config_file.write_text(stopped.config_file.read_text() + "destinations:\n  - {name: out, plugin: ndjson, isolated: true, options: {directory: /tmp}}\n")
    run = subprocess.run(stopped.command("-n"), capture_output=True, text=True, timeout=60)
    assert run.returncode != 0 and "ndjson opens sockets or files of its own and cannot be isolated" in run.stderr, run.stderr


def test_read_is_for_isolated_ones(stopped):
    with_source(stopped, "{{id: hook, kind: webhook, plugin: hooked, read: [/etc]}}")
    run = subprocess.run(stopped.command("-n"), capture_output=True, text=True, timeout=60)
    assert run.returncode != 0 and "'read' is for isolated plugins" in run.stderr, run.stderr
