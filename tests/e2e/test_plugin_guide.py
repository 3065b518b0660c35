"""docs/plugin-guide.md, word by word: its shell blocks run in order in a scratch home."""

import os
import re
import socket
import subprocess

from cdpd import BUILD, ROOT


def test_the_guide_as_it_stands(tmp_path):
    text = (ROOT / "docs" / "plugin-guide.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "build").symlink_to(BUILD)
    script = "set -em\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n" + "".join(blocks).replace("8080", str(port))
    env = {name: value for name, value in os.environ.items() if not name.startswith("CDPD_") and name != "MAKEFLAGS"}
    ran = subprocess.run(["bash", "-c", script], cwd=tmp_path, env={**env, "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    shown = re.findall(r"```\n(weekend 1.*?)```", text, re.S)[0].splitlines()
    for line in shown:
        if not line.startswith(("enrich: ", "memory: ")):  # figures and sanitized builds differ
            assert line in ran.stdout.splitlines(), f"the guide shows {line!r}\n{ran.stdout}"
    assert re.search(r'"weekend_orders":\s*(\{"value":\s*)?2', ran.stdout), ran.stdout
