#!/usr/bin/env python3
"""freeze.py BUILD: adds what is new in proto/ to the frozen descriptors, after checking that nothing of what was frozen broke.

tests/proto/frozen.txt has a line for each field, enum value and method that a client out there may use. A line never changes and never goes: a
field that is no longer wanted keeps its number and type for ever. tests/e2e/test_wire.py checks it."""

import pathlib
import sys

from google.protobuf import descriptor_pb2

FROZEN = pathlib.Path(__file__).parent / "frozen.txt"
Field = descriptor_pb2.FieldDescriptorProto


def message_lines(prefix, message):
    name = f"{prefix}.{message.name}"
    for field in message.field:
        kind = Field.Type.Name(field.type).removeprefix("TYPE_").lower()
        label = "repeated " if field.label == Field.LABEL_REPEATED else ""
        yield f"field {name} {field.number} {label}{field.type_name or kind} {field.name}"
    for nested in message.nested_type:
        yield from message_lines(name, nested)
    for enum in message.enum_type:
        yield from enum_lines(name, enum)


def enum_lines(prefix, enum):
    for value in enum.value:
        yield f"enum {prefix}.{enum.name} {value.number} {value.name}"


def service_lines(prefix, service):
    for method in service.method:
        sides = [("stream " if streams else "") + kind for kind, streams in ((method.input_type, method.client_streaming), (method.output_type, method.server_streaming))]
        yield f"method {prefix}.{service.name}/{method.name} ({sides[0]}) ({sides[1]})"


def lines_of(descriptors):
    for file in descriptors.file:
        for message in file.message_type:
            yield from message_lines(file.package, message)
        for enum in file.enum_type:
            yield from enum_lines(file.package, enum)
        for service in file.service:
            yield from service_lines(file.package, service)


def read_build(build):
    return set(lines_of(descriptor_pb2.FileDescriptorSet.FromString((pathlib.Path(build) / "proto" / "cdpd.descriptors").read_bytes())))


def read_frozen():
    return set(FROZEN.read_text().splitlines()) if FROZEN.exists() else set()


def order(line):
    words = line.split()
    return words[0], words[1], int(words[2]) if words[2].isdigit() else 0, line


if __name__ == "__main__":
    now, frozen = read_build(sys.argv[1]), read_frozen()
    broken = frozen - now
    if broken:
        sys.exit("the wire broke; old clients would fail:\n" + "\n".join(sorted(broken)))
    FROZEN.write_text("".join(line + "\n" for line in sorted(now, key=order)))
    print(f"{len(now - frozen)} added, {len(now)} in all")
