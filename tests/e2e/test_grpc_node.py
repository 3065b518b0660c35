"""The second implementation: @grpc/grpc-js from npm, against the same TestService and the real daemon."""

import json
import shutil
import subprocess

import pytest
from cdpd import ROOT

pytest.importorskip("grpc", reason="python3-grpcio is not installed: tests/run.sh does it")
from grpc_server import PROTO, serving  # noqa: E402

CLIENTS = ROOT / "tests" / "clients"
pytestmark = pytest.mark.skipif(not (CLIENTS / "node_modules" / "@grpc").exists() or not shutil.which("node"), reason="npm packages are not installed: tests/run.sh does it")

CASES = {"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream", "status_code_and_message", "special_status_message",
         "unimplemented", "cancel_after_begin", "cancel_after_first_response", "timeout_on_sleeping_server", "custom_metadata", "compression", "bomb",
         "five_megabytes", "parallel", "many_messages", "paused_reader", "health"}  # fmt: skip


def node(script, *arguments):
    return ["node", script, *map(str, arguments)]


@pytest.mark.parametrize("kind", ["h2c", "tls"])
def test_interop(kind):
    with serving() as server:
        arguments = [f"127.0.0.1:{server.ports[0]}", PROTO]
        if kind == "tls":
            arguments = [f"127.0.0.1:{server.ports[1]}", PROTO, server.certificate]
        done = subprocess.run(node("grpc-interop.mjs", *arguments), cwd=CLIENTS, capture_output=True, text=True, timeout=240)
        report = json.loads(done.stdout.strip().splitlines()[-1])
        assert report["errors"] == [] and done.returncode == 0
        assert set(report["passed"]) == CASES


def test_drain_under_load():
    with serving() as server:
        client = subprocess.Popen(node("grpc-drain.mjs", f"127.0.0.1:{server.ports[0]}", PROTO), cwd=CLIENTS, stdout=subprocess.PIPE, text=True)
        assert client.stdout.readline() == "ready\n"
        server.terminate()
        report = json.loads(client.communicate(timeout=90)[0].strip().splitlines()[-1])
        assert report["slow"] == 50
        assert report["code"] == 14  # UNAVAILABLE
        assert server.wait() == 0, server.log.read_text()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_of_the_daemon(shared, version):
    address = "{}:{}".format(*shared.address())
    done = subprocess.run(node("grpc-reflection.mjs", address, version, "grpc.health.v1.Health"), cwd=CLIENTS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.strip().splitlines()[-1])
    assert {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"} <= set(report["services"])
    assert set(report["methods"]) == {"Check", "Watch"}
    assert report["health"] == "SERVING"
    assert report["unknown"]
