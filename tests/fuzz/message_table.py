"""message_table.py OUT FILE.proto…: a C table of the descriptors of all top-level messages in the files."""

import pathlib
import re
import sys


def c_name(name):
    """As protoc-c names it: PublishRequest is publish_request."""
    return re.sub(r"(?<=[^A-Z])([A-Z])", r"_\1", name).lower()


headers, names = [], []
for path in sys.argv[2:]:
    text = pathlib.Path(path).read_text()
    package = re.search(r"^package ([\w.]+);", text, re.M).group(1).replace(".", "__")
    found = re.findall(r"^message (\w+)", text, re.M)
    names += [f"{package}__{c_name(name)}__descriptor" for name in found]
    if found:
        headers.append(re.sub(r".*/(cdpd/v1|grpc/testing|tests/proto)/", lambda m: "" if m.group(1) == "tests/proto" else m.group(1) + "/", path).replace(".proto", ".pb-c.h"))

lines = [f"#include <{header}>" for header in headers]
lines += ["static const ProtobufCMessageDescriptor *const messages[] = {", *(f"    &{name}," for name in names), "};"]
pathlib.Path(sys.argv[1]).write_text("\n".join(lines) + "\n")
