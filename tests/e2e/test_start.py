"""What is refused at start, with a text, before any data is touched; and reload."""

import hashlib
import os
import pathlib
import signal
import subprocess
import time

from cdpd import CONFIG, ROOT, Daemon


def check(daemon, *arguments):
    return subprocess.run(daemon.command("-n", *arguments), capture_output=True, text=True, cwd=daemon.folder, timeout=30)


def fingerprint(folder):
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(pathlib.Path(folder).rglob("*")) if p.is_file() and p.name != "lock.mdb"}


def fails_to_start(daemon, code=3):
    daemon.spawn()
    assert daemon.process.wait(30) == code, daemon.log_text()
    daemon.process.stdout.close()
    return daemon.log_text()


def test_a_good_file_is_ok(stopped):
    run = check(stopped)
    assert run.returncode == 0 and run.stdout == "configuration OK\n", run.stderr


def test_shipped_files_are_ok():
    for name in ("cdpd.yaml", "quickstart.yaml"):
        run = subprocess.run([str(Daemon.__init__.__globals__["BUILD"] / "cdpd"), "-n", "-c", f"conf/{name}"], capture_output=True, text=True, cwd=ROOT, timeout=30)
        assert run.returncode == 0, run.stderr


def test_every_complaint_has_file_line_and_a_suggestion(stopped):
    stopped.write_config(CONFIG + "\nlimts: {{connections: 5}}\nlimits: {{conections: many}}\n")
    run = check(stopped)
    assert run.returncode == 1
    lines = CONFIG.format(data="", folder="", build="", write_key="", server_key="").count("\n")
    assert f"cdpd.yaml:{lines + 2}: " in run.stderr and "did you mean 'limits'" in run.stderr
    assert f"cdpd.yaml:{lines + 3}: " in run.stderr and "did you mean 'connections'" in run.stderr


def test_a_wrong_plugin_option_is_a_complaint_with_a_line(stopped):
    stopped.write_config(CONFIG + "destinations:\n  - {{name: f, plugin: ndjson, options: {{directoy: /tmp/x}}}}\n")
    run = check(stopped)
    assert run.returncode == 1 and "directoy" in run.stderr and "directory" in run.stderr and "cdpd.yaml:" in run.stderr


def test_set_overrides_any_key(stopped):
    assert check(stopped, "--set", "limits.connections=5").returncode == 0
    run = check(stopped, "--set", "limits.connections=-5")
    assert run.returncode == 1 and "limits.connections" in run.stderr


def test_usage_errors():
    binary = str(Daemon.__init__.__globals__["BUILD"] / "cdpd")
    for arguments in ([], ["-c"], ["-x"], ["-c", "f", "extra"], ["-c", "f", "--set", "nothing"]):
        assert subprocess.run([binary, *arguments], capture_output=True, timeout=30).returncode == 2, arguments


def test_a_bad_config_never_touches_the_data(stopped):
    stopped.start()
    stopped.track("u", "A")
    stopped.settled()
    stopped.stop()
    before = fingerprint(stopped.data)
    stopped.write_config(CONFIG + "nonsense: 1\n")
    fails_to_start(stopped, code=1)
    assert fingerprint(stopped.data) == before


def test_two_daemons_on_one_directory(cdpd, tmp_path):
    other = Daemon(tmp_path)
    other.data = cdpd.data
    other.write_config(CONFIG)
    assert "another cdpd" in fails_to_start(other)
    assert cdpd.get("/healthz", token=None).status == 200


def test_demo_credentials_stay_on_loopback(stopped):
    stopped.write_config(CONFIG.replace("127.0.0.1:0", "0.0.0.0:0").replace("write_keys: [{write_key}]", "write_keys: [demo-key]"))
    run = check(stopped)
    assert run.returncode == 1 and "demo-" in run.stderr


def test_a_journal_from_the_future_is_refused(stopped):
    bump_format(stopped, "journal")


def test_profiles_from_the_future_are_refused(stopped):
    bump_format(stopped, "profiles")


def bump_format(daemon, part):
    daemon.start()
    daemon.track("u", "A")
    daemon.settled()
    daemon.stop()
    tool = daemon.build / "tests" / "store_format"
    for data in sorted((daemon.data / part).rglob("data.mdb")):
        subprocess.run([str(tool), str(data.parent), "+1"], check=True, timeout=30)
    before = fingerprint(daemon.data / part)
    text = fails_to_start(daemon)
    assert "newer" in text or "future" in text, text
    assert fingerprint(daemon.data / part) == before


def test_a_checkpoint_ahead_of_the_journal_is_refused(stopped):
    """As after a restore of the wrong journal: folding on would skip events silently."""
    stopped.start()
    for n in range(5):
        stopped.track("u", "A", f"m{n}")
    stopped.settled()
    stopped.stop()
    saved = stopped.folder / "journal-empty"
    (stopped.data / "journal").rename(saved)
    text = fails_to_start(stopped)
    assert "journal" in text and ("epoch" in text or "ahead" in text), text
    (stopped.folder / "j").mkdir()
    for child in (stopped.data / "journal").iterdir() if (stopped.data / "journal").exists() else []:
        child.rename(stopped.folder / "j" / child.name)
    (stopped.data / "journal").exists() and (stopped.data / "journal").rmdir()
    saved.rename(stopped.data / "journal")
    stopped.start()
    assert stopped.profile("user_id:u").json["features"]["events"] == 5


def wait_log(daemon, text, timeout=10):
    deadline = time.monotonic() + timeout
    while text not in daemon.log_text():
        assert time.monotonic() < deadline, f"{text!r} never logged:\n{daemon.log_text()}"
        time.sleep(0.02)


def test_reload_takes_a_good_file(cdpd):
    cdpd.write_config(CONFIG.replace("write_keys: [{write_key}]", "write_keys: [{write_key}, second-key]"))
    assert cdpd.post("/v1/track", {"userId": "u", "event": "A"}, key="second-key").status == 401
    cdpd.reload()
    wait_log(cdpd, "configuration reloaded")
    assert cdpd.post("/v1/track", {"userId": "u", "event": "A"}, key="second-key").status == 200


def test_reload_refuses_a_bad_file_and_runs_on(cdpd):
    cdpd.write_config(CONFIG + "nonsense: 1\n")
    cdpd.reload()
    wait_log(cdpd, "reload refused")
    assert "nonsense" in cdpd.log_text()
    position = cdpd.track("u", "A")
    assert cdpd.profile("user_id:u", position).status == 200


def test_reload_says_what_needs_a_restart(cdpd):
    cdpd.write_config(CONFIG.replace("io_threads: 2", "io_threads: 1"))
    cdpd.reload()
    wait_log(cdpd, "io_threads")


def test_reload_adds_a_feature_that_counts_what_was_there(cdpd):
    cdpd.profile("user_id:u", cdpd.track("u", "Ping"))
    cdpd.write_config(CONFIG.replace("features:\n", "features:\n  - {{name: pings, type: count, event: Ping}}\n"))
    cdpd.reload()
    wait_log(cdpd, "configuration reloaded")
    profile = cdpd.profile("user_id:u", cdpd.track("u", "Ping")).json
    assert profile["features"]["pings"] in (1, 2) and profile["features"]["events"] == 2
    deadline = time.monotonic() + 60
    while cdpd.profile("user_id:u").json["features"]["pings"] != 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert cdpd.profile("user_id:u").json["features"]["pings"] == 2


def test_a_second_signal_stops_at_once(cdpd):
    connection = cdpd.socket()
    connection.sendall(b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    time.sleep(0.2)
    os.kill(cdpd.pid(), signal.SIGTERM)
    time.sleep(0.2)
    os.kill(cdpd.pid(), signal.SIGTERM)
    assert cdpd.process.wait(5) == 0
