"""cdpd's gRPC services for end-to-end tests, with Debian's python3-grpcio: messages and methods are made from the
descriptors that the build wrote, so no generated code is needed."""

import base64
import contextlib

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from cdpd import ADMIN_TOKEN, BUILD, WRITE_KEY

_pool = descriptor_pool.DescriptorPool()
_set = descriptor_pb2.FileDescriptorSet.FromString((BUILD / "proto" / "cdpd.descriptors").read_bytes())
for _file in _set.file:
    _pool.Add(_file)


def message(name):
    descriptor = _pool.FindMessageTypeByName(f"cdpd.v1.{name}")
    maker = getattr(message_factory, "GetMessageClass", None)
    return maker(descriptor) if maker else message_factory.MessageFactory(_pool).GetPrototype(descriptor)


class Messages:
    """M.PublishRequest(events=[…])"""

    def __init__(self):
        self.classes = {}

    def __getattr__(self, name):
        return self.classes.setdefault(name, message(name))


M = Messages()


def enum(name, value):
    return _pool.FindEnumTypeByName(f"cdpd.v1.{name}").values_by_name[value].number


def services():
    return [service for file in _set.file for service in _pool.FindFileByName(file.name).services_by_name.values()]


class Client:
    """client.GetProfile(M.GetProfileRequest(ref="user_id:1")): with the admin token or the write key by default."""

    def __init__(self, daemon, **options):
        host, port = daemon.address()
        self.channel = grpc.insecure_channel(f"{host}:{port}", options=list({"grpc.enable_retries": 0, **options}.items()))
        for service in services():
            for method in service.methods:
                setattr(self, method.name, self.make(service, method))

    def make(self, service, method):
        proto = descriptor_pb2.MethodDescriptorProto()
        method.CopyToProto(proto)
        kind = ("stream" if proto.client_streaming else "unary") + "_" + ("stream" if proto.server_streaming else "unary")
        call = getattr(self.channel, kind)(
            f"/{service.full_name}/{method.name}",
            request_serializer=lambda request: request if isinstance(request, bytes) else request.SerializeToString(),
            response_deserializer=message(method.output_type.name).FromString,
        )
        default = key(WRITE_KEY) if service.name == "EventService" else bearer(ADMIN_TOKEN)
        if proto.client_streaming or proto.server_streaming:
            return lambda request, metadata=default, timeout=60: call(request, metadata=metadata, timeout=timeout)
        return lambda request=None, metadata=default, timeout=60, **fields: call(
            request if request is not None else message(method.input_type.name)(**fields), metadata=metadata, timeout=timeout
        )

    def close(self):
        self.channel.close()


@contextlib.contextmanager
def client(daemon, **options):
    made = Client(daemon, **options)
    try:
        yield made
    finally:
        made.close()


def bearer(token):
    return [("authorization", f"Bearer {token}")]


def key(write_key):
    return [("authorization", "Basic " + base64.b64encode(f"{write_key}:".encode()).decode())]


def details(error):
    """(code of the problem table, pointers) of a failed call."""
    code, pointers = None, []
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            code, pointers = read_details(value)
    return code, pointers


def fields(data):
    """The fields of a protobuf message, by the wire alone: (number, value)."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        else:
            assert tag & 7 == 2, tag
            length = varint()
            yield tag >> 3, data[at : at + length]
            at += length


def read_details(data):
    """google.rpc.Status with ErrorInfo and BadRequest inside."""
    code, pointers = None, []
    for number, value in fields(data):
        if number != 3:
            continue
        detail = dict(fields(value))
        kind = detail[1].decode().rsplit(".", 1)[-1]
        if kind == "ErrorInfo":
            code = dict(fields(detail[2]))[1].decode()
        elif kind == "BadRequest":
            pointers += [dict(fields(violation))[1].decode() for _, violation in fields(detail[2])]
    return code, pointers


def event(user, name, message_id="", **more):
    return M.Event(type=1, user_id=user, event=name, message_id=message_id, **more)
