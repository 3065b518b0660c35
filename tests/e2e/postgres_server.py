"""A PostgreSQL server of a test's own: a cluster in a temporary folder, on a Unix socket, killed by its pid. As root it runs as the package's user."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

PASSWORD = "t0p-secret"


def binaries():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1]


class Postgres:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cdpd-pg-"))
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.as_user = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self.as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            self.folder.chmod(0o755)
        self.process = None
        (self.folder / "password").write_text(PASSWORD + "\n")
        (self.folder / "password").chmod(0o644)
        run = subprocess.run([binaries() / "initdb", "-D", self.data, "-U", "cdpd", "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", "--pwfile", self.folder / "password", "--no-sync"], capture_output=True, text=True, timeout=300, cwd=self.folder, **self.as_user)
        assert run.returncode == 0, run.stderr
        self.start()

    def connection(self, database="postgres"):
        return f"host={self.folder} user=cdpd dbname={database}"

    def start(self):
        """Until it answers: after a kill -9 it waits for its orphans and recovers first."""
        deadline = time.monotonic() + 300
        while True:
            if not self.process or self.process.poll() is not None:
                assert time.monotonic() < deadline, self.log.read_text()
                self.process = subprocess.Popen(
                    [binaries() / "postgres", "-D", self.data, "-k", self.folder, "-c", "listen_addresses=", "-c", "max_connections=20", "-c", "shared_buffers=16MB"],
                    stdout=self.log.open("ab"), stderr=subprocess.STDOUT, cwd=self.folder, **self.as_user)
            if self.try_sql("SELECT 1").returncode == 0:
                return self
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def try_sql(self, sql, database="postgres"):
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        return subprocess.run([binaries() / "psql", "-X", "-q", "-A", "-t", "-F", "|", "-v", "ON_ERROR_STOP=1", "-d", self.connection(database), "-c", sql], capture_output=True, text=True, timeout=300, env=environment)

    def sql(self, sql, database="postgres"):
        run = self.try_sql(sql, database)
        assert run.returncode == 0, run.stderr
        return [line.split("|") for line in run.stdout.splitlines()]

    def value(self, sql, database="postgres"):
        return self.sql(sql, database)[0][0]

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)

    def freeze(self):
        """All of it: the postmaster and its children."""
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def pids(self):
        pid = self.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def close(self):
        if self.process and self.process.poll() is None:
            self.thaw()
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
