"""docs/destinations.md, "Try it", word by word: four destinations beside the quickstart's, all of their servers killed, everything arrives."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import pytest
from cdpd import BUILD, ROOT
from test_plugin_guide import free_port

# What packaging/quickstart.sh does beyond building.
QUICKSTART = """mkdir -p data
build/cdpd -c conf/quickstart.yaml --set listen.http=127.0.0.1:8080 >data/cdpd.log 2>&1 &
echo $! >data/cdpd.pid
until curl -fsS -o /dev/null http://127.0.0.1:8080/readyz 2>/dev/null; do kill -0 $!; sleep 0.05; done
python3 packaging/quickstart_day.py http://127.0.0.1:8080
"""
PORTS = ["8080", "55432", "54222", "58090", "58222"]


@pytest.fixture
def home():
    """A copy of what the page's commands use, where PostgreSQL's own user may go."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cdpd-tour-"))
    folder.chmod(0o755)
    for part in ("conf", "packaging"):
        shutil.copytree(ROOT / part, folder / part)
    (folder / "build").symlink_to(BUILD)
    yield folder
    for pid in [*folder.glob("data/*.pid"), *folder.glob("data/tour/*.pid")]:
        try:
            os.kill(int(pid.read_text()), signal.SIGKILL)
        except (ProcessLookupError, ValueError):
            pass
    shutil.rmtree(folder, ignore_errors=True)


def with_ports(text, ports):
    for old, new in ports.items():
        text = text.replace(old, new)
    return text


def test_the_tour_as_it_stands(home):
    page = (ROOT / "docs" / "destinations.md").read_text().split("## Try it\n")[1].split("\n## ")[0]
    nats = free_port()
    ports = {**{port: str(free_port()) for port in PORTS}, "54222": str(nats), "58222": str(nats + 4000)}
    blocks = "".join(re.findall(r"```sh\n(.*?)```", page, re.S)).replace("packaging/quickstart.sh\n", QUICKSTART)
    tour = home / "packaging" / "tour-destinations.yaml"
    tour.write_text(with_ports(tour.read_text(), ports))
    env = {name: value for name, value in os.environ.items() if not name.startswith("CDPD_")}
    env |= {"CDPD_URL": f"http://127.0.0.1:{ports['8080']}", "CDPD_TOUR_POSTGRES": ports["55432"], "CDPD_TOUR_NATS": str(nats), "CDPD_TOUR_WEBHOOK": ports["58090"]}
    with open(home / "out", "wb") as out:
        ran = subprocess.run(["bash", "-ec", with_ports(blocks, ports)], cwd=home, env=env, stdout=out, stderr=subprocess.STDOUT, timeout=300)
    text = (home / "out").read_text()
    assert ran.returncode == 0, text + (home / "data" / "cdpd.log").read_text()[-4000:]
    assert re.search(r" gold +\| ", text), text
    webhooks = [json.loads(line) for line in (home / "data" / "tour" / "webhook.ndjson").read_text().splitlines()]
    assert webhooks and all(change["kind"] == "segment" for change in webhooks), webhooks
    assert re.search(r'"profileId": ', text), text
