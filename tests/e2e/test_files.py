"""The files destination in the real daemon: exact contents, whatever is killed when."""

import csv
import io
import json
import time

from cdpd import CONFIG
from ledger import Ledger

DESTINATION = "destinations:\n  - {{name: warehouse, plugin: files, options: {{directory: {folder}/out, OPTIONS}}}}\n"


def configure(daemon, options):
    daemon.write_config(CONFIG + DESTINATION.replace("OPTIONS", options))
    return daemon


def rows_of(path, is_csv):
    text = path.read_bytes().decode()
    if is_csv:
        return [row for row in csv.DictReader(io.StringIO(text, newline=""))]
    return [json.loads(line) for line in text.splitlines()]


def written(daemon, is_csv=False):
    """Of a daemon that does not run: whole files, and of the open one what stands in it."""
    return {path.name: rows_of(path, is_csv) for path in sorted((daemon.folder / "out").glob("events-2*"))}


def wait_settled(daemon, timeout=60):
    daemon.settled()
    deadline = time.monotonic() + timeout
    while any(d["lag"] for d in daemon.get("/v1/admin/destinations").json["destinations"]):
        assert time.monotonic() < deadline, daemon.log_text()
        time.sleep(0.05)


def check_manifest(daemon, files):
    lines = [json.loads(line) for line in (daemon.folder / "out" / "events-manifest.ndjson").read_text().splitlines()]
    sealed = {name: rows for name, rows in files.items() if not name.endswith(".part")}
    assert sorted(line["file"] for line in lines) == sorted(sealed)
    for line in lines:
        rows = sealed[line["file"]]
        assert line["rows"] == len(rows) and line["bytes"] == (daemon.folder / "out" / line["file"]).stat().st_size
        assert line["firstPosition"] == rows[0]["position"] and line["lastPosition"] == rows[-1]["position"]


def test_kill_9_leaves_each_event_once(stopped):
    configure(stopped, "rotate_bytes: 64KiB")
    ledger = Ledger(users=3)
    for round_ in range(5):
        stopped.start()
        ledger.tag = f"f{round_}"
        ledger.load(stopped, clients=3)
        time.sleep(0.4)
        stopped.kill()
        ledger.join()
    stopped.start()
    wait_settled(stopped)
    stopped.stop()
    files = written(stopped)
    ids = [row["messageId"] for rows in files.values() for row in rows]
    assert len(ids) == len(set(ids)), "an event is there twice"
    assert set().union(*ledger.confirmed.values()) <= set(ids)
    assert len(files) > 2, "no file was rotated"
    check_manifest(stopped, files)


def test_csv_as_others_read_it(stopped):
    configure(stopped, 'format: csv, rotate_seconds: 2, columns: [messageId, event, city=properties.city, total=properties.total, profileId, position]').start()
    odd = 'Ärger, "quoted"\r\nand 😀'
    stopped.track("u1", "A", "m1", properties={"city": odd, "total": 12.5})
    stopped.track("u1", "B", "m2", properties={"city": None})
    deadline = time.monotonic() + 60
    while not list((stopped.folder / "out").glob("*.csv")):
        assert time.monotonic() < deadline, stopped.log_text()
        time.sleep(0.1)
    wait_settled(stopped)
    stopped.stop()
    files = written(stopped, is_csv=True)
    rows = [row for name in files for row in files[name]]
    person = rows[0]["profileId"]
    assert [(row["messageId"], row["event"], row["city"], row["total"], row["profileId"]) for row in rows] == [("m1", "A", odd, "12.5", person), ("m2", "B", "", "", person)]
    check_manifest(stopped, files)
