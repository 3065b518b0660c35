"""Plugins in the real daemon: the exporter loses nothing, a crashing one is contained, a bad one is refused."""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import time

from cdpd import BUILD, CONFIG
from ledger import Ledger

EXPORT = "destinations:\n  - {{name: files, plugin: ndjson, options: {{directory: {folder}/out, rotate_bytes: {rotate}}}}}\n"
TEST_PLUGINS = BUILD / "tests" / "plugins" / "so"


def exported(daemon):
    """What the files hold, whole lines only. The exporter may give a file its final name between listing and opening."""
    while True:
        rows = []
        try:
            for path in sorted((daemon.folder / "out").glob("*")):
                rows += [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            return rows
        except FileNotFoundError:
            continue


def with_export(daemon, rotate="64KiB"):
    daemon.write_config(CONFIG + EXPORT.replace("{rotate}", rotate))
    return daemon


def wait_exported(daemon, count, timeout=20):
    deadline = time.monotonic() + timeout
    while len({row["messageId"] for row in exported(daemon)}) < count:
        assert time.monotonic() < deadline, f"{len(exported(daemon))} of {count}\n{daemon.log_text()}"
        time.sleep(0.05)
    return exported(daemon)


def test_applied_events_reach_the_file_once(stopped):
    with_export(stopped).start()
    for n in range(20):
        stopped.track("u1", "A", f"m{n}")
    stopped.track("u1", "A", "m0")  # a duplicate: applied once, exported once
    rows = wait_exported(stopped, 20)
    stopped.settled()
    time.sleep(0.3)
    rows = exported(stopped)
    assert sorted(row["messageId"] for row in rows) == sorted(f"m{n}" for n in range(20))
    assert all(row["position"] for row in rows)


def test_kill_9_repeats_at_most_and_never_skips(stopped):
    with_export(stopped)
    ledger = Ledger(users=3)
    for round_ in range(4):
        stopped.start()
        ledger.tag = f"e{round_}"
        ledger.load(stopped, clients=3)
        time.sleep(0.4)
        stopped.kill()
        ledger.join()
    stopped.start()
    stopped.settled()
    confirmed = set().union(*ledger.confirmed.values())
    rows = wait_exported(stopped, len(confirmed))
    assert confirmed <= {row["messageId"] for row in rows}
    assert len(list((stopped.folder / "out").glob("*.ndjson"))) > 1, "no file was rotated"


def test_a_broken_destination_delays_nobody(stopped):
    with_export(stopped).start()
    out = stopped.folder / "out"
    wait_exported(stopped, 0)
    shutil.rmtree(out, ignore_errors=True)
    out.write_text("in the way")
    for n in range(5):
        position = stopped.track("u1", "A", f"m{n}")
    assert stopped.profile("user_id:u1", position).json["features"]["events"] == 5
    deadline = time.monotonic() + 20
    while not any(d["failing"] for d in stopped.get("/v1/admin/destinations").json["destinations"]):
        assert time.monotonic() < deadline, stopped.get("/v1/admin/destinations")
        time.sleep(0.1)
    out.unlink()
    wait_exported(stopped, 5, timeout=60)


def test_a_feature_that_crashes_costs_one_event_not_the_daemon(stopped):
    """The fold dies twice on the poisoned record, then leaves it out, visibly; its neighbours count."""
    folder = stopped.folder / "plugins"
    folder.mkdir(mode=0o755)
    for path in [*(BUILD / "plugins").glob("*.so"), TEST_PLUGINS / "crasher.so"]:
        shutil.copy(path, folder)
    os.chmod(folder / "crasher.so", 0o755)
    text = CONFIG.replace("plugins: {{path: {build}/plugins}}", "plugins: {{path: {folder}/plugins}}")
    stopped.write_config(text.replace("features:\n", "features:\n  - {{name: boom, type: crasher, field: properties.value}}\n"))
    stopped.start()
    stopped.track("u1", "A", "before", properties={"value": "fine"})
    stopped.settled()
    with contextlib.suppress(OSError, http.client.HTTPException):  # the crash may overtake the answer
        stopped.track("u1", "A", "poison", properties={"value": "crash-now"})
    deaths = 0
    while deaths < 2:  # the second may come before it says where it listens
        stopped.process.wait(20)
        deaths += 1
        stopped.process.stdout.close()
        stopped.spawn()
    stopped.kill()
    stopped.start()
    position = stopped.track("u1", "A", "after", properties={"value": "fine"})
    profile = stopped.profile("user_id:u1", position)
    assert profile.status == 200 and profile.json["features"]["events"] == 2
    status = stopped.settled()
    assert status["events"]["quarantined"] == 1 and status["balanced"]
    assert "quarantined" in stopped.ctl("trace", "poison").stdout


def test_inspection_names_options():
    run = subprocess.run([str(BUILD / "cdpd"), "plugins", str(BUILD / "plugins" / "ndjson.so"), str(BUILD / "plugins" / "campaign.so")], capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, run.stderr
    assert "directory" in run.stdout and "campaign" in run.stdout and "export" in run.stdout


def test_a_bad_file_is_refused_with_its_path(tmp_path):
    junk = tmp_path / "junk.so"
    junk.write_bytes(b"not an ELF file")
    run = subprocess.run([str(BUILD / "cdpd"), "plugins", str(junk)], capture_output=True, text=True, timeout=30)
    assert run.returncode != 0 and str(junk) in run.stdout + run.stderr


def test_a_world_writable_plugin_is_refused(stopped):
    folder = stopped.folder / "plugins"
    folder.mkdir()
    shutil.copy(BUILD / "plugins" / "campaign.so", folder)
    os.chmod(folder / "campaign.so", 0o777)
    stopped.write_config(CONFIG.replace("{build}/plugins", "{folder}/plugins"))
    run = subprocess.run(stopped.command("-n"), capture_output=True, text=True, timeout=30, cwd=stopped.folder)
    assert run.returncode == 1 and "campaign.so" in run.stderr and "writable" in run.stderr
