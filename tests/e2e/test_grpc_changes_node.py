"""ChangeService with @grpc/grpc-js: a named subscription without a gap while the daemon is killed, and a snapshot."""

import json
import shutil
import subprocess

import pytest
from cdpd import ADMIN_TOKEN, ROOT, SERVER_KEY

CLIENTS = ROOT / "tests" / "clients"
pytestmark = pytest.mark.skipif(
    not (CLIENTS / "node_modules" / "@grpc").exists() or not shutil.which("node"), reason="npm packages are not installed: tests/run.sh does it"
)


def test_node_follows_through_kills(cdpd):
    host, port = cdpd.address()
    cdpd.write_config(cdpd.config_file.read_text().replace("{", "{{").replace("}", "}}").replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    total = 150
    command = ["node", "grpc-changes.mjs", f"{host}:{port}", str(ROOT / "proto"), ADMIN_TOKEN, str(total - 1)]
    run = subprocess.Popen(command, cwd=CLIENTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    sent = kills = 0
    while sent < total:
        answer = cdpd.post("/v1/identify", {"userId": f"u{sent}", "traits": {"n": sent}}, key=SERVER_KEY)
        assert answer.status == 200, answer
        sent += 1
        # Each time it has come to what was sent so far.
        if sent % 50 == 0:
            while True:
                line = run.stdout.readline()
                assert line, run.stderr.read()
                if line == f"at {sent - 1}\n":
                    break
            if sent < total:
                cdpd.kill()
                cdpd.start()
                kills += 1
    output, errors = run.communicate(timeout=60)
    report = json.loads(output.strip().splitlines()[-1])
    assert run.returncode == 0 and kills == 2, errors
    assert report["seen"] == total and report["gaps"] == 0 and report["attempts"] >= 3 and report["rows"] == total
    assert set(report["codes"]) <= {"UNAVAILABLE", "CANCELLED"}, report
