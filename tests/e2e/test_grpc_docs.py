"""The first calls of docs/grpc-api.md, word by word but for the address and the key."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from cdpd import ROOT, WRITE_KEY

grpc = pytest.importorskip("grpc", reason="python3-grpcio is not installed: tests/run.sh does it")

CLIENTS = ROOT / "tests" / "clients"
TEXT = (ROOT / "docs" / "grpc-api.md").read_text()
pytestmark = pytest.mark.skipif(not (ROOT / "proto/cdpd/v1/event_service.proto").exists(), reason="this build has no EventService")


def blocks(heading):
    """[(language, code)] of a section."""
    section = TEXT.split(f"\n### {heading}\n", 1)[1].split("\n### ", 1)[0].split("\n## ", 1)[0]
    return re.findall(r"```(\w+)\n(.*?)```", section, re.S)


def example(heading, language, daemon):
    code = next(code for found, code in blocks(heading) if found == language)
    assert "127.0.0.1:8080" in code and "demo-write-key" in code
    return code.replace("127.0.0.1:8080", "{}:{}".format(*daemon.address())).replace("demo-write-key", WRITE_KEY)


def expect_stored(daemon, message_id):
    daemon.settled()
    assert message_id in {event["messageId"] for event in daemon.events("user_id:42")}


@pytest.mark.skipif(not shutil.which("protoc"), reason="protobuf-compiler is not installed: tests/run.sh does it")
def test_python(shared, tmp_path):
    (tmp_path / "proto").symlink_to(ROOT / "proto")
    command = next(code for language, code in blocks("Python") if language == "sh")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    (tmp_path / "first.py").write_text(example("Python", "python", shared))
    done = subprocess.run([sys.executable, "first.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "accepted: 1\n", done.stderr
    expect_stored(shared, "order-1001")


@pytest.mark.skipif(not (CLIENTS / "node_modules" / "@grpc").exists() or not shutil.which("node"), reason="npm packages are not installed: tests/run.sh does it")
def test_node(shared, tmp_path):
    (tmp_path / "proto").symlink_to(ROOT / "proto")
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    (tmp_path / "first.mjs").write_text(example("Node", "js", shared))
    done = subprocess.run(["node", "--preserve-symlinks", "first.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60, env=os.environ)
    assert done.stdout == "accepted: 1\n", done.stderr
    expect_stored(shared, "order-1002")


def test_grpcurl_s_bytes():
    """There is no grpcurl in Debian: what its example sends is at least what it says."""
    import base64
    import json

    code = next(code for language, code in blocks("grpcurl") if language == "sh")
    request = json.loads(re.search(r"-d '(.*?)'", code).group(1))
    assert json.loads(base64.b64decode(request["events"][0]["properties"])) == {"total": 27.5}
