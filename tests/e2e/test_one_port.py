"""The quickstart daemon and its one port: gRPC clients in Python and Node publish, read and subscribe while curl and a browser's SDK use it too."""

import concurrent.futures
import json
import shutil
import subprocess
import tempfile
import time

import pytest
from cdpd import ROOT, Daemon

grpc = pytest.importorskip("grpc", reason="python3-grpcio is not installed: tests/run.sh does it")
from rpc import M, bearer, client, enum, event, key  # noqa: E402

CLIENTS = ROOT / "tests" / "clients"
KEY, TOKEN = "demo-write-key", "demo-admin-token"
COUNT, CURLS = 200, 25
pytestmark = pytest.mark.skipif(
    not (CLIENTS / "node_modules" / "@grpc").exists() or not shutil.which("node") or not shutil.which("chromium"),
    reason="npm packages or chromium are not installed: tests/run.sh does it",
)


@pytest.fixture
def quickstart():
    """conf/quickstart.yaml as it is, started as packaging/quickstart.sh does, but for its port."""
    with tempfile.TemporaryDirectory(prefix="cdpd-test-") as folder:
        daemon = Daemon(folder).as_quickstart()
        try:
            yield daemon.start("--set", "listen.http=127.0.0.1:0")
        finally:
            daemon.kill()


def node(daemon):
    host, port = daemon.address()
    command = ["node", "grpc-beside.mjs", f"{host}:{port}", str(ROOT / "proto"), KEY, TOKEN, "node", str(COUNT)]
    done = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def python(daemon):
    """Subscribes, streams, reads, and waits to be told."""
    with client(daemon) as rpc:
        changes = rpc.Subscribe(M.SubscribeRequest(traits=["came_by"]), metadata=bearer(TOKEN), timeout=120)
        next(changes)  # the cursor: the subscription has begun
        made = [M.PublishRequest(events=[event("python", "Seen", f"python-{i}")]) for i in range(COUNT)]
        made.append(M.PublishRequest(events=[M.Event(type=enum("EventType", "EVENT_TYPE_IDENTIFY"), user_id="python", message_id="python-who", traits=b'{"came_by":"python"}')]))
        *_, last = rpc.PublishStream(iter(made), metadata=key(KEY))
        profile = rpc.GetProfile(ref="user_id:python", min_position=last.position, metadata=bearer(TOKEN)).profile
        for change in changes:
            if change.profile == profile.id and change.kind == enum("ChangeKind", "CHANGE_KIND_TRAIT"):
                told = json.loads(change.json)["traits"]["came_by"]["value"]
                break
        changes.cancel()
        return {"accepted": last.settled_through, "events": profile.identifiers[0].events, "told": told}


def browser(daemon):
    done = subprocess.run(["node", "segment-browser.mjs", daemon.url, KEY, "shopper", "single"], cwd=CLIENTS, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def curl(daemon, version):
    """Each a process: Debian's curl cannot use a connection with prior knowledge twice, with any server."""
    answers = []
    for i in range(CURLS):
        body = json.dumps({"type": "track", "userId": "curl", "event": "Seen", "messageId": f"curl{version}-{i}"})
        command = ["curl", version, "-sS", "-u", f"{KEY}:", "-d", body, "-o", "/dev/null", "-w", "%{http_code} %{http_version}", f"{daemon.url}/v1/track"]
        answers.append(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)
    return answers


def test_everybody_at_once(quickstart):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = {
            "node": pool.submit(node, quickstart),
            "python": pool.submit(python, quickstart),
            "browser": pool.submit(browser, quickstart),
            "curl 1": pool.submit(curl, quickstart, "--http1.1"),
            "curl 2": pool.submit(curl, quickstart, "--http2-prior-knowledge"),
        }
        got = {name: one.result() for name, one in running.items()}
    assert got["node"] == {"accepted": COUNT + 1, "events": COUNT + 1, "told": "node"}
    assert got["python"] == {"accepted": COUNT + 1, "events": COUNT + 1, "told": "python"}
    assert got["curl 1"] == ["200 1.1"] * CURLS and got["curl 2"] == ["200 2"] * CURLS
    assert got["browser"]["errors"] == [] and got["browser"]["escaped"] == [] and len(got["browser"]["confirmed"]) == 7
    # Each is seen by the others' protocol.
    with client(quickstart) as rpc:
        while quickstart.get("/v1/admin/status", token=TOKEN).json["events"]["pending"]:
            time.sleep(0.02)
        assert rpc.GetProfile(ref="user_id:curl", metadata=bearer(TOKEN)).profile.identifiers[0].events == 2 * CURLS
        mails = [trait.winner.value for trait in rpc.GetProfile(ref="user_id:shopper", metadata=bearer(TOKEN)).profile.traits if trait.name == "email"]
        assert mails == [b'"shopper@example.com"']
    for user in ("node", "python"):
        profile = quickstart.get(f"/v1/profiles/user_id:{user}", token=TOKEN).json
        assert profile["features"]["events"] == COUNT + 1 and profile["traits"]["came_by"]["value"] == user
