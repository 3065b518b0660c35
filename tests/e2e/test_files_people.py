"""Files of people, of their features and of changes: exact contents, whatever is killed when."""

import csv
import io
import json
import random
import time

import pytest

from exporter import Exporter, change, erased, event, gone, person, profile, record, withdrawn

A, B = person(1), person(2)
WORDS = {"events": "events", "profiles": "profiles", "features": "features", "changes": "changes"}


def rows_of(path):
    text = path.read_bytes().decode()
    if ".csv" in path.name:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    return [json.loads(line) for line in text.splitlines()]


def written(folder, kind, only_sealed=False):
    """Of each file, in the order in which they were begun."""
    paths = [path for path in folder.glob(f"{WORDS[kind]}-2*") if not (only_sealed and path.suffix == ".part")]
    def order(path):
        stamp, number = path.name[len(WORDS[kind]) + 1:].split(".")[0].split("-")
        return stamp, int(number)
    return {path.name: rows_of(path) for path in sorted(paths, key=order)}


def rows(folder, kind):
    return [row for rows in written(folder, kind).values() for row in rows]


def test_each_kind_has_files_of_its_own(tmp_path):
    with Exporter("files", directory=tmp_path / "out", profiles_as="both") as tool:
        assert tool.verdicts(
            event(A), profile(A, email="a@x.org", features={"orders": 3, "last": "o-1", "x \"y\"": {"a": [1, 2]}}), change(A, "trait", traits={"plan": {"value": "pro"}}),
            gone(B, "merged", into=A), erased(B), withdrawn("ads", A)) == ["ACK"] * 6
    out = tmp_path / "out"
    assert [row["type"] for row in rows(out, "events")] == ["track", "erased", "withdrawn"]
    one, other = rows(out, "profiles")
    assert one["id"] == A and one["identifiers"] == {"email": ["a@x.org"]} and one["position"].startswith("c") and one["deliveryId"]
    assert (other["id"], other["gone"], other["mergedInto"]) == (B, "merged", A)
    found = rows(out, "features")
    assert [(row["profileId"], row["feature"], row["value"]) for row in found] == [(A, "orders", 3), (A, "last", "o-1"), (A, "x \"y\"", {"a": [1, 2]})]
    assert found[0]["at"] == "2023-11-14T22:13:20.000000Z" and found[0]["deliveryId"] == one["deliveryId"]
    assert [(row["kind"], row["profile"], row["traits"]) for row in rows(out, "changes")] == [("trait", A, {"plan": {"value": "pro"}})]


def test_csv_columns_that_options_name(tmp_path):
    options = {"format": "csv", "profiles_as": "both", "profile_columns": "profileId,plan=traits.plan,orders=features.orders:long,score=features.score:double,vip=traits.vip:boolean,seen=lastSeen:timestamp,gone,segments:json"}
    with Exporter("files", directory=tmp_path / "out", **options) as tool:
        tool.settle(profile(A, traits={"plan": "a,\"b\"", "vip": True}, features={"orders": 3, "score": 0.25}, segments=["x"]),
                    profile(B, traits={"plan": 7, "vip": "maybe"}, features={"orders": "many", "score": "1e3"}), gone(A, "split"))
        counters = tool.counters()
    found = rows(tmp_path / "out", "profiles")
    assert found[0] == {"profileId": A, "plan": "a,\"b\"", "orders": "3", "score": "0.25", "vip": "true", "seen": "2026-02-03T04:05:06.5Z", "gone": "", "segments": '["x"]'}
    assert found[1] == {"profileId": B, "plan": "7", "orders": "", "score": "1e3", "vip": "", "seen": "2026-02-03T04:05:06.5Z", "gone": "", "segments": "[]"}
    assert found[2]["gone"] == "split" and found[2]["seen"] == ""
    assert counters["files_mismatched_values_total"] == 2
    features = rows(tmp_path / "out", "features")
    assert [(row["feature"], row["value"], row["number"]) for row in features] == [("orders", "3", "3"), ("score", "0.25", "0.25"), ("orders", '"many"', ""), ("score", '"1e3"', "")]


def test_prefixes(tmp_path):
    for prefix, other in (("shop", "shop-changes"), ("shop-events", "shop-changes"), ("myevents", "myevents-changes")):
        folder = tmp_path / prefix
        with Exporter("files", directory=folder, prefix=prefix) as tool:
            tool.settle(event(A), change(A, "profile"))
        assert len(list(folder.glob(f"{prefix}-2*"))) == 1 and len(list(folder.glob(f"{other}-2*"))) == 1


def test_a_kind_of_tomorrow_and_two_lines_are_dropped_alone(tmp_path):
    with Exporter("files", directory=tmp_path / "out") as tool:
        assert tool.verdicts(event(A), record(9, A, {"type": "tomorrow"}), record(1, A, "no object"), event(B)) == ["ACK", "DROP", "DROP", "ACK"]
    assert len(rows(tmp_path / "out", "events")) == 2


def test_what_was_open_is_sealed_by_time_after_a_restart(tmp_path):
    with Exporter("files", directory=tmp_path / "out", rotate_seconds=1) as tool:
        tool.settle(profile(A))
    time.sleep(1.5)
    with Exporter("files", directory=tmp_path / "out", rotate_seconds=1):
        pass
    line = json.loads((tmp_path / "out" / "profiles-manifest.ndjson").read_text())
    assert line["rows"] == 1 and line["firstPosition"] == line["lastPosition"] and line["file"].startswith("profiles-2")


def batch_of(round_, sizes):
    batch = []
    for n in range(sizes.randrange(1, 40)):
        who = person(n % 7)
        batch += [event(who, delivery=f"e{round_}-{n}"), profile(who, features={"a": n, "b": round_}, delivery=f"p{round_}-{n}"), change(who, "trait", delivery=f"c{round_}-{n}")]
    return batch


@pytest.mark.parametrize("format", ["ndjson", "csv"])
def test_kill_9_leaves_each_row_once(tmp_path, format):
    """A kill may fall between the files of two kinds: what came into one of them only is not written there again."""
    options = {"directory": tmp_path / "out", "format": format, "profiles_as": "both", "rotate_bytes": "6000"}
    dice = random.Random(7)
    tool, wanted = Exporter("files", **options), {"e": [], "p": [], "c": []}
    for round_ in range(30):
        batch = batch_of(round_, dice)
        for delivery, _ in batch:
            wanted[delivery[0]].append(delivery)
        if round_ % 2:
            tool.say(batch)
            time.sleep(dice.random() * 0.02)
            tool.kill()
            tool = Exporter("files", **options)
        assert set(tool.verdicts(*batch)) == {"ACK"}
    tool.close()
    out = tmp_path / "out"
    assert [row["deliveryId"] for row in rows(out, "events")] == wanted["e"]
    assert [row["deliveryId"] for row in rows(out, "profiles")] == wanted["p"]
    assert [row["deliveryId"] for row in rows(out, "changes")] == wanted["c"]
    features = rows(out, "features")
    assert [(row["deliveryId"], row["feature"]) for row in features] == [(id_, name) for id_ in wanted["p"] for name in "ab"]
    for kind in WORDS.values():
        lines = [json.loads(line) for line in (out / f"{kind}-manifest.ndjson").read_text().splitlines()]
        sealed = written(out, kind, only_sealed=True)
        sealed = {name: rows for name, rows in sealed.items() if not name.endswith(".part")}
        assert [line["file"] for line in lines] == list(sealed)
        assert [line["rows"] for line in lines] == [len(rows) for rows in sealed.values()]
        assert all(line["firstPosition"] and line["lastPosition"] for line in lines)
        assert len(lines) > 2, "nothing was rotated"


def test_a_full_folder_of_one_kind_holds_up_the_batch(tmp_path):
    out = tmp_path / "out"
    with Exporter("files", directory=out) as tool:
        tool.settle(event(A), change(A, "profile"))
        (out / "profiles-manifest.ndjson").mkdir()
        (out / ".profiles.state").mkdir()
        batch = [event(B), profile(B), change(B, "profile")]
        answer = tool.hand_over(*batch)
        assert {verdict for verdict, _ in answer} == {"RETRY"} and "directory cannot be used" in answer[0][1]
        (out / ".profiles.state").rmdir()
        (out / "profiles-manifest.ndjson").rmdir()
        assert set(tool.verdicts(*batch)) == {"ACK"}
    assert [len(rows(out, kind)) for kind in ("events", "profiles", "changes")] == [2, 1, 2]
