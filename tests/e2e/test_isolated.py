"""Isolated enrichers in the real daemon: what asynchronous ones promise holds in a process of their own too, and whatever that process does, events are
acknowledged, counted, and enriched by all others."""

import os
import pathlib
import shutil
import signal
import time

import pytest

import test_async
from cdpd import BUILD
from test_async import (  # noqa: F401 (run here once more, isolated)
    TEST_PLUGINS,
    events,
    features,
    metric,
    provider,
    test_a_changed_enricher_is_asked_what_the_old_one_left,
    test_a_kill_between_answer_and_fold_counts_once,
    test_a_provider_answers,
    test_a_provider_that_breaks_off_or_talks_nonsense,
    test_a_provider_that_fails_is_not_remembered,
    test_a_provider_that_has_enough,
    test_a_rebuild_asks_nobody,
    test_a_redirect_is_judged_like_a_request,
    test_an_answer_reaches_the_event_and_the_features_that_read_it,
    test_an_answer_that_is_too_large,
    test_fail_closed_is_bounded,
    test_fail_closed_waits_and_asks_again,
    test_one_request_for_all_and_after_a_restart_none,
    test_one_that_answers_100_megabytes,
    test_one_that_answers_from_other_threads_and_after_its_end,
    test_one_that_answers_twice,
    test_one_that_asks_for_a_pause_loses_nothing,
    test_one_that_fails_in_a_row_is_paused,
    test_one_that_keeps_its_questions_begins_anew,
    test_one_that_never_answers,
    test_only_events_that_are_asked_for,
    test_private_addresses_are_refused,
    test_removing_an_enricher_releases_what_waits_for_it,
    test_the_daemon_stops_and_starts_with_questions_open,
    test_two_instances_of_one_plugin,
    wait_for,
    with_asker,
)

SANITIZED = "asan" in str(BUILD) or "tsan" in str(BUILD)


@pytest.fixture(autouse=True)
def isolated(monkeypatch):
    monkeypatch.setattr(test_async, "ISOLATED", ", isolated: true")


FEATURES = """\
features:
  - {{name: fine, type: count, where: [{{field: enrichment.villain.fine, in: ["true"]}}]}}
  - {{name: poor, type: count, where: [{{field: enrichment.villain.fine, exists: false}}]}}
"""


def with_villain(daemon, mode, instance="", file=""):
    with_asker(daemon, names=(), features=FEATURES)
    shutil.copy(TEST_PLUGINS / "villain.so", daemon.folder / "plugins")
    os.chmod(daemon.folder / "plugins" / "villain.so", 0o755)
    text = daemon.config_file.read_text().replace("{", "{{").replace("}", "}}")
    options = f"mode: {mode}" + (f", file: {file}" if file else "")
    daemon.write_config(text + f"  - {{{{plugin: villain, options: {{{{{options}}}}}, isolated: true{instance}}}}}\n")
    return daemon


def process_of(daemon):
    """Of the admin's list: how the villain's process lives."""
    plugins = daemon.get("/v1/admin/plugins").json["plugins"]
    return next(p["process"] for p in plugins if p["name"] == "villain")


def children(daemon):
    return [int(pid) for pid in pathlib.Path(f"/proc/{daemon.pid()}/task").glob("*/children") for pid in pid.read_text().split()]


def test_a_synchronous_enricher_runs_after_the_ack(stopped):
    with_villain(stopped, "crash").start()
    for n in range(200):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: features(stopped).get("fine") == 200)
    assert features(stopped)["poor"] == 0 and process_of(stopped) == {"up": True, "starts": 1, "deaths": 0}
    assert metric(stopped, "cdpd_isolated_up", '="villain"') == 1
    wait_for(stopped, lambda: metric(stopped, "cdpd_plugin_seen_total", '="villain"') == 200)
    assert stopped.settled()["balanced"]


def test_nothing_of_the_daemon_is_in_the_process(stopped):
    stopped.env["CDPD_CANARY"] = "canary-of-the-environment"
    with_villain(stopped, "crash").start()
    stopped.track("u1", "A", "m1")
    wait_for(stopped, lambda: features(stopped).get("fine") == 1)
    (child,) = children(stopped)
    proc = pathlib.Path(f"/proc/{child}")
    assert proc.joinpath("environ").read_bytes() == b""
    targets = sorted(os.readlink(fd) for fd in proc.joinpath("fd").iterdir())
    assert [t.split(":")[0] for t in targets] == ["/dev/null"] * 3 + ["anon_inode", "socket"], targets
    status = proc.joinpath("status").read_text()
    assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status
    maps = pathlib.Path(f"/proc/{stopped.pid()}/maps").read_text()
    assert "villain.so" not in maps, "the daemon never loads it"
    assert "villain.so" in proc.joinpath("maps").read_text()


@pytest.mark.parametrize("mode,cause", [("crash", "signal 11"), ("abort", "signal 6"), ("exit", "exit 7"), ("scribble", "signal 11"),
                                        ("hang", "a call did not return in time"), ("spin", "a call did not return in time"),
                                        ("garbage", "no frame of ours"), ("huge", "no frame of ours"), ("close", "closed its socket"),
                                        ("leak", "out of memory")])
def test_a_process_that_dies_takes_one_event_with_it(stopped, mode, cause):
    if SANITIZED and mode in ("leak", "crash", "scribble"):
        pytest.skip("the sanitizer ends it otherwise")
    with_villain(stopped, mode, ", deadline: 4s, memory: 32MiB").start()
    for n in range(100):
        stopped.track("u1", "Bad" if n == 50 else "A", f"m{n}")
    position = stopped.track("u1", "A", "m100")
    assert stopped.profile("user_id:u1", position).json["features"]["events"] == 101, "nobody waits for it"
    wait_for(stopped, lambda: features(stopped).get("fine", 0) + features(stopped).get("poor", 0) == 101, 120)
    assert features(stopped) == {**features(stopped), "fine": 100, "poor": 1}
    process = process_of(stopped)
    assert process["deaths"] >= 1 and cause in process["lastDeath"], process
    assert metric(stopped, "cdpd_isolated_deaths_total", '="villain"') == process["deaths"]
    wait_for(stopped, lambda: process_of(stopped)["up"])
    assert "now I" in stopped.log_text() and len(children(stopped)) == 1
    assert stopped.settled()["balanced"] and stopped.stop() == 0


@pytest.mark.parametrize("mode", ["socket", "fork", "kill", "signal"])
def test_what_is_refused_is_told(stopped, mode):
    with_villain(stopped, mode).start()
    stopped.track("u1", "Bad", "m1")
    wait_for(stopped, lambda: "villain" in (events(stopped) or [{}])[0].get("enrichment", {}))
    assert events(stopped)[0]["enrichment"]["villain"] == {"error": 1, "result": -1}
    if mode != "signal":  # libraries ask fcntl much; that one is refused quietly
        wait_for(stopped, lambda: "refused: system call" in stopped.log_text())
    assert process_of(stopped)["deaths"] == 0


def test_files_are_closed_to_it_but_those_it_is_given(stopped):
    with_villain(stopped, "file", file=stopped.config_file).start()  # named by an option
    stopped.track("u1", "Bad", "m1")
    wait_for(stopped, lambda: "villain" in (events(stopped) or [{}])[0].get("enrichment", {}))
    assert events(stopped)[0]["enrichment"]["villain"]["result"] == 64
    # What no option and no `read` names: the text has no slash, and the process stands in the daemon's folder.
    with_villain(stopped, "file", file="tokens.yaml")
    stopped.reload()
    wait_for(stopped, lambda: stopped.track("u1", "Bad") and events(stopped)[0].get("enrichment", {}).get("villain", {}).get("error") == 13)


def test_the_process_ends_with_the_daemon(stopped):
    with_villain(stopped, "crash").start()
    stopped.track("u1", "A", "m1")
    wait_for(stopped, lambda: features(stopped).get("fine") == 1)
    (child,) = children(stopped)
    stopped.kill()
    deadline = time.monotonic() + 60
    while pathlib.Path(f"/proc/{child}/stat").exists() and ") Z " not in pathlib.Path(f"/proc/{child}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_that_somebody_kills_is_begun_anew(stopped):
    with_villain(stopped, "crash").start()
    stopped.track("u1", "A", "m1")
    wait_for(stopped, lambda: features(stopped).get("fine") == 1)
    (child,) = children(stopped)
    os.kill(child, signal.SIGKILL)
    wait_for(stopped, lambda: process_of(stopped)["deaths"] == 1 and process_of(stopped)["up"])
    stopped.track("u1", "A", "m2")
    wait_for(stopped, lambda: features(stopped).get("fine") == 2)
    assert "signal 9" in process_of(stopped)["lastDeath"]
    assert children(stopped) != [child]


def test_one_that_never_comes_up_delays_nobody(stopped):
    with_villain(stopped, "create").start()
    position = stopped.track("u1", "A", "m1")
    assert stopped.profile("user_id:u1", position).json["features"]["events"] == 1
    wait_for(stopped, lambda: process_of(stopped)["deaths"] >= 3)
    assert "I do not want to" in stopped.log_text() and process_of(stopped)["lastDeath"] == "create failed"
    with_villain(stopped, "crash")
    stopped.reload()
    wait_for(stopped, lambda: features(stopped).get("fine") == 1)


def test_one_that_answers_late(stopped):
    """Its process is not told; nobody listens."""
    with_asker(stopped, "mode: later, delay: 300ms", ", deadline: 10ms").start()
    stopped.track("u1", "A", "m1")
    wait_for(stopped, lambda: features(stopped).get("unheard") == 1)
    wait_for(stopped, lambda: metric(stopped, "cdpd_plugin_answered_total") >= 1)
    assert "asker" not in events(stopped)[0].get("enrichment", {}) and features(stopped)["heard"] == 0


def test_a_flood_of_lines_is_cut(stopped):
    with_villain(stopped, "chatter").start()
    stopped.track("u1", "Bad", "m1")
    stopped.track("u1", "A", "m2")
    wait_for(stopped, lambda: features(stopped).get("fine") == 1)
    assert 1 <= stopped.log_text().count("msg=\"line ") < 2000


def test_ctl_shows_the_process(stopped):
    with_villain(stopped, "crash").start()
    stopped.track("u1", "Bad", "m1")
    wait_for(stopped, lambda: process_of(stopped)["deaths"] >= 1)
    shown = stopped.ctl("plugins").stdout
    assert "villain" in shown and ("signal" in shown or "exit" in shown), shown
