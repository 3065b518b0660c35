"""No client out there breaks: whatever of proto/ was frozen is still there, number by number (tests/proto/freeze.py)."""

import importlib.util

import pytest
from cdpd import BUILD, ROOT

descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
_spec = importlib.util.spec_from_file_location("freeze", ROOT / "tests" / "proto" / "freeze.py")
freeze = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(freeze)


def test_nothing_frozen_is_broken():
    broken = freeze.read_frozen() - freeze.read_build(BUILD)
    assert not broken, "the wire broke; give the old field its number and type back, and take a new number for what you need"


def test_everything_is_frozen():
    new = freeze.read_build(BUILD) - freeze.read_frozen()
    assert not new, "new on the wire: run tests/proto/freeze.py BUILD when it is as you want it for ever"


@pytest.mark.parametrize(
    "change",
    [
        lambda f: setattr(f.message_type[0].field[0], "number", 99),
        lambda f: setattr(f.message_type[0].field[0], "type", freeze.Field.TYPE_BOOL),
        lambda f: setattr(f.message_type[0].field[0], "label", freeze.Field.LABEL_REPEATED),
        lambda f: setattr(f.message_type[0].field[0], "name", "renamed"),
        lambda f: f.message_type[0].field.pop(),
        lambda f: f.message_type.pop(),
        lambda f: setattr(f.enum_type[0].value[1], "number", 77),
        lambda f: setattr(f.service[0].method[0], "server_streaming", True),
        lambda f: setattr(f.service[0].method[0], "output_type", ".cdpd.v1.Other"),
    ],
)
def test_a_break_is_seen(change):
    file = descriptor_pb2.FileDescriptorProto(package="cdpd.v1")
    message = file.message_type.add(name="M")
    message.field.add(name="a", number=1, type=freeze.Field.TYPE_STRING, label=freeze.Field.LABEL_OPTIONAL)
    file.enum_type.add(name="E").value.add(name="Z", number=0)
    file.enum_type[0].value.add(name="Y", number=1)
    file.service.add(name="S").method.add(name="Do", input_type=".cdpd.v1.M", output_type=".cdpd.v1.M")
    before = set(freeze.lines_of(descriptor_pb2.FileDescriptorSet(file=[file])))
    changed = descriptor_pb2.FileDescriptorProto()
    changed.CopyFrom(file)
    change(changed)
    assert before - set(freeze.lines_of(descriptor_pb2.FileDescriptorSet(file=[changed])))
