"""Nothing acknowledged is lost, nothing has its effect twice, wherever the process dies. Quick tiers; the long ones are
tests/crash/torture.sh."""

import contextlib
import os
import pathlib
import random
import shutil
import subprocess
import time

import pytest
from cdpd import CONFIG, Daemon
from ledger import Ledger

ROUNDS = int(os.environ.get("CDPD_KILL_ROUNDS", "6"))
SYSCALL_POINTS = [int(k) for k in os.environ.get("CDPD_KILL_POINTS", "1 2 3 4 6 9 13 20 31 50").split()]
SMALL_SEGMENTS = CONFIG.replace("ballast: 1MiB", "ballast: 1MiB, segment_bytes: 1MiB")


def test_kill_9_at_random_moments(stopped):
    stopped.write_config(SMALL_SEGMENTS)
    ledger = Ledger()
    rng = random.Random(7)
    for round_ in range(ROUNDS):
        stopped.start()
        ledger.tag = f"r{round_}"
        ledger.load(stopped)
        time.sleep(rng.uniform(0.05, 0.6))
        stopped.kill()
        ledger.join()
    assert ledger.total_confirmed() > 0
    stopped.start()
    ledger.check(stopped)
    assert stopped.status()["balanced"] is True


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("syscall", ["pwrite64", "fdatasync"])
def test_kill_9_at_each_storage_syscall(tmp_path, syscall):
    """strace kills the process on entry to the k-th call of a thread: mid-commit, in segment creation, in start-up."""
    fired = 0
    daemon = Daemon(tmp_path)
    ledger = Ledger()
    for k in SYSCALL_POINTS:
        ledger.tag = f"k{k}"
        daemon.wrapper = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", f"trace={syscall}", "-e", f"inject={syscall}:signal=SIGKILL:when={k}"]
        with contextlib.suppress(AssertionError):  # it may die before it listens
            daemon.start(ready=False)
            ledger.load(daemon, clients=2, limit=400, batch=2)
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.process.wait(8)
            fired += 1
        if daemon.process.poll() is None:
            daemon.kill()
        ledger.join()
    assert fired >= len(SYSCALL_POINTS) // 2, "the fault hardly fired"
    daemon.wrapper = []
    daemon.start()
    ledger.check(daemon)
    daemon.kill()


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_a_failed_fsync_stops_the_acks_and_the_process(tmp_path):
    daemon = Daemon(tmp_path)
    ledger = Ledger()
    daemon.wrapper = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=60+"]
    daemon.start(ready=False)
    ledger.load(daemon, clients=2, limit=2000, batch=1)
    code = daemon.process.wait(30)
    ledger.join()
    assert "EIO" in (tmp_path / "trace").read_text(), "the fault did not fire"
    assert code == 4, daemon.log_text()
    assert "durability" in daemon.log_text()
    daemon.wrapper = []
    daemon.start()
    ledger.check(daemon)
    daemon.kill()


def test_a_clean_stop_under_load_loses_nothing(stopped):
    ledger = Ledger()
    stopped.start()
    ledger.load(stopped)
    time.sleep(0.5)
    assert stopped.stop() == 0
    ledger.join()
    stopped.start()
    ledger.check(stopped)


def test_a_lost_answer_and_ten_retries_count_once(cdpd):
    message = {"type": "track", "userId": "u", "event": "Paid", "messageId": "retry", "properties": {"n": 1}}
    for attempt in range(10):  # SDKs refresh sentAt on each retry
        answer = cdpd.post("/v1/batch", {"batch": [message], "sentAt": f"2026-11-21T10:00:{attempt:02}Z"})
        assert answer.status == 200
    assert cdpd.profile("user_id:u", answer.headers["x-cdpd-position"]).json["features"]["events"] == 1


@contextlib.contextmanager
def small_disk(folder, size):
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_refuses_writes_keeps_reading_and_recovers(tmp_path):
    disk = tmp_path / "disk"
    with small_disk(disk, "64m"):
        daemon = Daemon(disk)
        daemon.write_config(CONFIG.replace("disk_free_min: 1MiB", "disk_free_min: 8MiB"))
        daemon.start()
        ledger = Ledger(users=2)
        ledger.load(daemon, clients=1, limit=20, batch=5)
        ledger.join()
        filler = disk / "filler"
        free = shutil.disk_usage(disk).free
        with filler.open("wb") as file:
            file.write(b"x" * (free - 6 * 1024 * 1024))
        deadline = time.monotonic() + 10
        while (answer := daemon.post("/v1/track", {"userId": "x", "event": "Full"})).status == 200:
            assert time.monotonic() < deadline, "the full disk was never noticed"
        assert answer.status == 503 and answer.json["code"] == "not_durable"
        assert int(answer.headers["retry-after"]) > 0
        assert daemon.request("GET", "/readyz").status == 503
        assert daemon.profile(f"user_id:{ledger.users[0]}").status == 200, "reads go on"
        filler.unlink()
        deadline = time.monotonic() + 10
        while (answer := daemon.post("/v1/track", {"userId": "x", "event": "Again"})).status != 200:
            assert time.monotonic() < deadline, f"writes did not resume: {answer}"
            time.sleep(0.1)
        ledger.check(daemon)
        daemon.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_fills_under_load_loses_nothing_acknowledged(tmp_path):
    disk = tmp_path / "disk"
    with small_disk(disk, "40m"):
        daemon = Daemon(disk)
        daemon.start()
        ledger = Ledger(users=20, padding=2000)
        ledger.load(daemon, clients=4, limit=3000, batch=20)
        deadline = time.monotonic() + 60
        while 503 not in ledger.refused and time.monotonic() < deadline and any(t.is_alive() for t in ledger.threads):
            time.sleep(0.05)
        ledger.stop()
        assert ledger.refused.get(503), f"the disk never filled: {ledger.refused}, {shutil.disk_usage(disk)}"
        daemon.kill()
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        daemon.start()
        ledger.check(daemon)
        daemon.kill()


def test_the_journal_queue_is_bounded_and_says_when_to_come_back(stopped):
    """With a slow disk the queue fills: 429 and Retry-After, memory flat, and what was confirmed is there."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    stopped.write_config(CONFIG.replace("ballast: 1MiB", "ballast: 1MiB, queue_bytes: 1MiB"))
    stopped.wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=300000"]
    stopped.start(ready=False)
    ledger = Ledger(users=5)
    ledger.load(stopped, clients=40, limit=12, batch=200)
    ledger.join(120)
    assert ledger.refused.get(429), f"never refused: {ledger.refused}"
    assert set(ledger.refused) == {429}
    ledger.check(stopped)
    stopped.kill()


def test_data_directory_is_private(cdpd):
    assert pathlib.Path(cdpd.data).stat().st_mode & 0o077 == 0
