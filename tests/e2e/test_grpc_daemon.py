"""What the daemon itself serves of gRPC on its one port: health, reflection, and how it refuses what it does not speak."""

import json
import signal
import subprocess
import time

import pytest

grpc = pytest.importorskip("grpc", reason="python3-grpcio is not installed: tests/run.sh does it")
from grpc_server import PROTO, load_messages  # noqa: E402

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


@pytest.fixture(scope="module")
def types():
    return load_messages("grpc/health/v1/health.proto", "grpc/reflection/v1/reflection.proto", path=PROTO)


def channel_to(daemon):
    return grpc.insecure_channel("{}:{}".format(*daemon.address()), options=[("grpc.use_local_subchannel_pool", 1)])


@pytest.fixture
def channel(shared):
    with channel_to(shared) as channel:
        yield channel


def unary(channel, method, types, request, response):
    return channel.unary_unary(method, types[request].SerializeToString, types[response].FromString)


def test_health(channel, types):
    check = unary(channel, CHECK, types, "HealthCheckRequest", "HealthCheckResponse")
    assert check(types["HealthCheckRequest"]()).status == SERVING
    assert check(types["HealthCheckRequest"](service="grpc.health.v1.Health")).status == SERVING
    with pytest.raises(grpc.RpcError) as raised:
        check(types["HealthCheckRequest"](service="no.Such"))
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_watch_tells_of_draining(cdpd, types):
    with channel_to(cdpd) as channel:
        watch = channel.unary_stream(WATCH, types["HealthCheckRequest"].SerializeToString, types["HealthCheckResponse"].FromString)
        known, unknown = watch(types["HealthCheckRequest"]()), watch(types["HealthCheckRequest"](service="no.Such"))
        assert next(known).status == SERVING
        assert next(unknown).status == SERVICE_UNKNOWN
        cdpd.process.send_signal(signal.SIGTERM)
        assert next(known).status == NOT_SERVING
        for call in (known, unknown):
            with pytest.raises(grpc.RpcError) as raised:
                next(call)
            assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
            details = dict(raised.value.trailing_metadata())
            assert b"shutting_down" in details["grpc-status-details-bin"]
            assert details["grpc-retry-pushback-ms"] == "1000"
        assert cdpd.process.wait(60) == 0


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection(channel, types, version):
    from google.protobuf import descriptor_pb2

    info = channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo", types["ServerReflectionRequest"].SerializeToString, types["ServerReflectionResponse"].FromString)

    def ask(**request):
        return list(info(iter([types["ServerReflectionRequest"](**request)])))[0]

    services = [service.name for service in ask(list_services="*").list_services_response.service]
    assert "grpc.health.v1.Health" in services
    for service in services:
        files = [descriptor_pb2.FileDescriptorProto.FromString(file) for file in ask(file_containing_symbol=service).file_descriptor_response.file_descriptor_proto]
        package, _, name = service.rpartition(".")
        assert files[0].package == package and name in [s.name for s in files[0].service]
        known = {file.name for file in files}
        assert all(set(file.dependency) <= known for file in files)
    events = ask(file_by_filename="cdpd/v1/event.proto").file_descriptor_response.file_descriptor_proto
    assert descriptor_pb2.FileDescriptorProto.FromString(events[0]).package == "cdpd.v1"
    assert ask(file_by_filename="cdpd/v1/store.proto").error_response.error_code == 5
    assert ask(file_containing_symbol="no.Such").error_response.error_code == 5


def test_reflection_can_be_switched_off(cdpd):
    from cdpd import CONFIG

    with channel_to(cdpd) as channel:
        info = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        assert len(list(info(iter([b"\x3a\x01*"])))) == 1
        cdpd.write_config(CONFIG + "grpc: {{reflection: false}}\n")
        cdpd.reload()
        deadline = time.monotonic() + 60
        while True:
            try:
                list(info(iter([b"\x3a\x01*"])))
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNIMPLEMENTED
                break
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_unknown_methods(channel):
    for path in ("/no.Such/Method", "/grpc.health.v1.Health/No", "/v1/profiles/user_id:1", "/x"):
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(path)(b"")
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED, path


def curl(daemon, path, *arguments):
    out = subprocess.run(["curl", "-s", "--http2-prior-knowledge", "-w", "\n%{http_code}", *arguments, daemon.url + path], capture_output=True, text=True, timeout=30)
    body, _, status = out.stdout.rpartition("\n")
    return int(status), body


@pytest.mark.parametrize("content_type", ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"])
def test_grpc_web_is_refused(shared, content_type):
    status, body = curl(shared, CHECK, "-H", f"Content-Type: {content_type}", "--data-binary", "x")
    assert status == 415
    assert json.loads(body)["code"] == "unsupported_media_type" and "docs/grpc-api.md" in json.loads(body)["message"]


def test_other_content_types(shared):
    status, body = curl(shared, CHECK, "-H", "Content-Type: application/json", "-d", "{}")
    assert status == 415 and json.loads(body)["code"] == "unsupported_media_type"
    status, body = curl(shared, "/no.Such/Method", "-H", "Content-Type: application/json", "-d", "{}")
    assert status == 404 and json.loads(body)["code"] == "not_found"
    status, body = curl(shared, CHECK)
    assert status == 405


def test_http1(shared):
    answer = shared.request("POST", CHECK, b"\0\0\0\0\0", {"Content-Type": "application/grpc", "TE": "trailers"})
    assert answer.json["code"] == "http2_required"
    # Where nothing is, HTTP/1.1 hears what it always did.
    assert shared.request("POST", "/no.Such/Method", b"", {"Content-Type": "application/grpc"}).status == 404


def grpc_head(daemon, *headers):
    """The answer's head to a call without a message: curl takes it badly when a stream is stopped amid its body."""
    arguments = [part for header in ("Content-Type: application/grpc", *headers) for part in ("-H", header)]
    out = subprocess.run(["curl", "-sSi", "-X", "POST", "--http2-prior-knowledge", *arguments, daemon.url + CHECK], capture_output=True, text=True, timeout=30)
    assert out.returncode == 0, out.stderr
    return out.stdout.lower().splitlines()


def test_trailers_only(shared):
    """Refusals before any message are one head with the status, as curl can see."""
    head = grpc_head(shared, "TE: trailers", "grpc-timeout: 5")
    assert head[0].startswith("http/2 200")
    assert "content-type: application/grpc" in head and "grpc-status: 13" in head
    assert "grpc-message: grpc-timeout is malformed" in head
    assert "grpc-status: 13" in grpc_head(shared)  # no te
    head = grpc_head(shared, "TE: trailers", "grpc-encoding: deflate")
    assert "grpc-status: 12" in head and "grpc-accept-encoding: identity,gzip" in head
    assert "grpc-status: 12" in grpc_head(shared, "TE: trailers")  # one message is expected


def test_metrics(shared, channel, types):
    def value(line):
        return sum(int(text.rpartition(" ")[2]) for text in shared.get("/metrics").body.decode().splitlines() if text.startswith(line))

    calls, messages = 'cdpd_grpc_calls_total{method="grpc.health.v1.Health/Check",status="OK"}', 'cdpd_grpc_messages_sent_total{method="grpc.health.v1.Health/Check"}'
    before = value(calls), value(messages)
    unary(channel, CHECK, types, "HealthCheckRequest", "HealthCheckResponse")(types["HealthCheckRequest"]())
    assert (value(calls), value(messages)) == (before[0] + 1, before[1] + 1)
