"""The TestService of gRPC's interoperability tests (tests/tools/grpc_test_server.c) as a process, its messages, and ways to call it."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.request

import grpc
from cdpd import BUILD
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTO = "/usr/share/grpc-proto"
SERVICE = "/grpc.testing.TestService/"


def load_messages(*files, path=PROTO):
    """Message classes by name, of protocol files and what they import."""
    with tempfile.NamedTemporaryFile() as out:
        compiler = shutil.which("protoc-c") or "protoc"
        subprocess.run([compiler, f"--proto_path={path}", "--include_imports", f"--descriptor_set_out={out.name}", *files], check=True)
        descriptors = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(out.name).read_bytes())
    pool = descriptor_pool.DescriptorPool()
    found = {}
    for file in descriptors.file:
        pool.Add(file)
    for file in descriptors.file:
        for message in file.message_type:
            name = f"{file.package}.{message.name}"
            found[message.name] = message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName(name))
    return found


class Server:
    def __init__(self, folder, threads=2):
        self.folder = pathlib.Path(folder)
        self.certificate = self.folder / "certificate.pem"
        key = self.folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(self.certificate)], check=True, capture_output=True)  # fmt: skip
        command = [str(BUILD / "tests" / "grpc_test_server"), str(threads), str(self.certificate), str(key)]
        self.log = self.folder / "log"
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log.open("wb"), text=True,
                                        env={"ASAN_OPTIONS": "quarantine_size_mb=4", **os.environ})  # fmt: skip # memory is measured
        self.ports = [int(re.search(r":(\d+)$", self.process.stdout.readline()).group(1)) for _ in range(2)]
        self.closed = None

    def channel(self, kind="h2c", **options):
        options = [(f"grpc.{name}", value) for name, value in options.items()]
        options += [("grpc.use_local_subchannel_pool", 1)]  # or channels of other tests share their connections
        if kind == "h2c":
            return grpc.insecure_channel(f"127.0.0.1:{self.ports[0]}", options=options)
        credentials = grpc.ssl_channel_credentials(self.certificate.read_bytes())
        options += [("grpc.ssl_target_name_override", "localhost")]
        return grpc.secure_channel(f"127.0.0.1:{self.ports[1]}", credentials, options=options)

    def metric(self, name, **labels):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.ports[0]}/metrics").read().decode()
        wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
        found = re.search(rf"^{re.escape(f'{name}{{{wanted}}}' if wanted else name)} (\d+)$", text, re.M)
        return int(found.group(1)) if found else 0

    def memory(self):
        """Anonymous resident memory in bytes."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", text).group(1)) * 1024

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self):
        """Its exit code, 0 under the address sanitizer only without leaks."""
        output, _ = self.process.communicate(timeout=90)
        self.closed = int(re.search(r"methods closed: (\d+)", output).group(1))
        return self.process.returncode

    def stop(self):
        self.terminate()
        return self.wait()


@contextlib.contextmanager
def serving(threads=2):
    with tempfile.TemporaryDirectory(prefix="cdpd-grpc-") as folder:
        server = Server(folder, threads)
        try:
            yield server
            if server.process.poll() is None:
                assert server.stop() == 0, server.log.read_text()
        finally:
            if server.process.poll() is None:
                os.kill(server.process.pid, signal.SIGKILL)
                server.process.wait()


class Stub:
    """TestService over a channel."""

    def __init__(self, channel, types):
        def serializer(name):
            return types[name].SerializeToString

        def unary(method, request, response):
            return channel.unary_unary(SERVICE + method, serializer(request), types[response].FromString)

        self.empty = unary("EmptyCall", "Empty", "Empty")
        self.unary = unary("UnaryCall", "SimpleRequest", "SimpleResponse")
        self.unimplemented = unary("UnimplementedCall", "Empty", "Empty")
        self.no_service = channel.unary_unary("/grpc.testing.UnimplementedService/UnimplementedCall", serializer("Empty"), types["Empty"].FromString)
        self.output = channel.unary_stream(SERVICE + "StreamingOutputCall", serializer("StreamingOutputCallRequest"), types["StreamingOutputCallResponse"].FromString)
        self.input = channel.stream_unary(SERVICE + "StreamingInputCall", serializer("StreamingInputCallRequest"), types["StreamingInputCallResponse"].FromString)
        self.duplex = channel.stream_stream(SERVICE + "FullDuplexCall", serializer("StreamingOutputCallRequest"), types["StreamingOutputCallResponse"].FromString)
        self.half_duplex = channel.stream_stream(SERVICE + "HalfDuplexCall", serializer("StreamingOutputCallRequest"), types["StreamingOutputCallResponse"].FromString)
