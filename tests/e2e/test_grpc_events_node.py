"""EventService and ProfileService with @grpc/grpc-js, while the daemon is killed under its stream."""

import json
import shutil
import subprocess

import pytest
from cdpd import ADMIN_TOKEN, ROOT, WRITE_KEY

CLIENTS = ROOT / "tests" / "clients"
pytestmark = pytest.mark.skipif(
    not (CLIENTS / "node_modules" / "@grpc").exists() or not shutil.which("node"), reason="npm packages are not installed: tests/run.sh does it"
)


def start(daemon, count):
    host, port = daemon.address()
    command = ["node", "grpc-events.mjs", f"{host}:{port}", str(ROOT / "proto"), WRITE_KEY, ADMIN_TOKEN, str(count)]
    return subprocess.Popen(command, cwd=CLIENTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_node_publishes_reads_and_streams(cdpd):
    run = start(cdpd, 20000)
    output, errors = run.communicate(timeout=120)
    report = json.loads(output.strip().splitlines()[-1])
    assert report == {"done": 20000, "attempts": 1, "errors": []}, errors
    cdpd.settled()
    assert cdpd.profile("user_id:stream").json["features"]["events"] == 20000


def test_node_resumes_after_a_kill(cdpd):
    host, port = cdpd.address()
    cdpd.write_config(cdpd.config_file.read_text().replace("{", "{{").replace("}", "}}").replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    run = start(cdpd, 30000)
    kills = 0
    for line in run.stdout:
        if line.startswith("settled") and kills < 2 and int(line.split()[1]) > (kills + 1) * 8000:
            kills += 1
            cdpd.kill()
            cdpd.start()
        last = line
    report = json.loads(last)
    assert run.wait(60) == 0 and kills == 2
    assert report["done"] == 30000 and report["attempts"] >= 3 and report["errors"] == []
    cdpd.settled()
    assert cdpd.profile("user_id:stream").json["features"]["events"] == 30000
