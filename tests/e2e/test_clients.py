"""Real SDKs from npm against the real daemon: no error reported, and every event they were told is stored is in the profile."""

import json
import shutil
import subprocess
import time

import pytest
from cdpd import ROOT, WRITE_KEY

CLIENTS = ROOT / "tests" / "clients"
pytestmark = pytest.mark.skipif(not (CLIENTS / "node_modules").exists() or not shutil.which("node"), reason="npm packages are not installed: tests/run.sh does it")
needs_chromium = pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")


def run(script, *arguments, timeout=90):
    done = subprocess.run(["node", script, *map(str, arguments)], cwd=CLIENTS, capture_output=True, text=True, timeout=timeout)
    lines = done.stdout.strip().splitlines()
    assert lines, done.stderr
    report = json.loads(lines[-1])
    assert done.returncode == 0, report["errors"]
    return report


def stored(daemon, user):
    daemon.settled()
    return {event["messageId"] for event in daemon.events(f"user_id:{user}")}


@pytest.mark.parametrize("extra", [0, 300])
def test_segment_node(cdpd, extra):
    report = run("segment-node.mjs", cdpd.url, WRITE_KEY, "peter", extra)
    assert set(report["confirmed"]) == stored(cdpd, "peter")
    profile = cdpd.profile("user_id:peter").json
    assert profile["traits"]["plan"]["value"] == "premium"
    assert profile["traits"]["address"]["value"] == {"city": "Москва"}
    assert profile["features"]["revenue"] == 27.5 and profile["features"]["events"] == 6 + extra


def test_segment_node_while_the_daemon_restarts(cdpd):
    """The SDK retries; each event is stored once."""
    host, port = cdpd.address()
    node = subprocess.Popen(["node", "segment-node.mjs", cdpd.url, WRITE_KEY, "peter", "1500"], cwd=CLIENTS, stdout=subprocess.PIPE, text=True)
    time.sleep(1.0)
    cdpd.kill()
    cdpd.start("--set", f"listen.http={host}:{port}")
    output, _ = node.communicate(timeout=90)
    report = json.loads(output.strip().splitlines()[-1])
    assert report["errors"] == []
    assert set(report["confirmed"]) == stored(cdpd, "peter")
    assert cdpd.profile("user_id:peter").json["features"]["events"] == 1506


@needs_chromium
@pytest.mark.parametrize("mode", ["single", "batch"])
def test_segment_browser(cdpd, mode):
    report = run("segment-browser.mjs", cdpd.url, WRITE_KEY, "peter", mode)
    assert report["escaped"] == []
    assert set(report["confirmed"]) <= stored(cdpd, "peter")
    profile = cdpd.profile("user_id:peter").json
    assert profile["features"]["revenue"] == 27.5
    assert profile["traits"]["email"]["value"] == "peter@example.com"
    assert any(e.get("enrichment", {}).get("campaign", {}).get("source") == "newsletter" for e in cdpd.events("user_id:peter"))
