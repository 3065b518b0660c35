#!/usr/bin/env python3
"""tests/crash/power_cut.py [ROUNDS [SEED]]: cdpd on a file system of its own (ext4 in a loop-mounted image) loses it under load, again and again.

The cut is ext4's shutdown ioctl without a flush of its log: what the kernel had not yet written by then never reaches the image, as when the power
goes, except for a disk's own cache. After each cut the image is mounted anew and every event that was acknowledged in any round must be there exactly
once. kill -9 cannot show this: then the kernel still writes everything. Needs root; not part of CI."""

import contextlib
import errno
import fcntl
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from cdpd import CONFIG, Daemon  # noqa: E402
from ledger import Ledger  # noqa: E402

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
GOING_FLAGS_NOLOGFLUSH = 2
SMALL_SEGMENTS = CONFIG.replace("ballast: 1MiB", "ballast: 1MiB, segment_bytes: 1MiB")


def run(*command):
    subprocess.run([str(word) for word in command], check=True)


class Disk:
    def __init__(self, folder):
        self.image, self.mount_point = folder / "image", folder / "disk"
        self.mount_point.mkdir()
        with self.image.open("wb") as file:
            file.truncate(1 << 30)
        run("mkfs.ext4", "-q", "-F", self.image)
        self.mount()

    def mount(self):
        run("mount", "-o", "loop", self.image, self.mount_point)

    def unmount(self):
        run("umount", self.mount_point)

    def cut_power(self):
        fd = os.open(self.mount_point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", GOING_FLAGS_NOLOGFLUSH))
        finally:
            os.close(fd)

    def assert_cut(self):
        try:
            (self.mount_point / "probe").write_text("x")
        except OSError as error:
            assert error.errno in (errno.EIO, errno.EROFS), error
            return
        raise AssertionError("the fault did not fire")


def end(daemon):
    """Without its disk it ends by itself; if it hangs on, it is killed."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        daemon.process.wait(5)
    daemon.kill()


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print(f"{rounds} rounds, seed {seed}", flush=True)
    rng = random.Random(seed)
    ledger = Ledger()
    with tempfile.TemporaryDirectory(prefix="cdpd-power-") as name:
        folder = pathlib.Path(name)
        disk = Disk(folder)
        daemon = Daemon(folder)
        daemon.data = disk.mount_point / "data"
        daemon.write_config(SMALL_SEGMENTS)
        try:
            for round_ in range(rounds):
                before = ledger.total_confirmed()
                ledger.tag = f"p{round_}"
                daemon.start()
                ledger.load(daemon)
                time.sleep(rng.uniform(0.02, 0.8))
                disk.cut_power()
                disk.assert_cut()
                end(daemon)
                ledger.join()
                disk.unmount()
                disk.mount()
                daemon.start()
                ledger.check(daemon)
                assert daemon.status()["balanced"] is True
                daemon.kill()
                print(f"round {round_ + 1}: {ledger.total_confirmed() - before} acknowledged, {ledger.total_confirmed()} in all are there once", flush=True)
        except AssertionError:
            print(daemon.log_text()[-4000:], file=sys.stderr)
            raise
        finally:
            if daemon.process and daemon.process.poll() is None:
                daemon.kill()
            disk.unmount()
    assert ledger.total_confirmed() > 0
    print("ok")


if __name__ == "__main__":
    main()
