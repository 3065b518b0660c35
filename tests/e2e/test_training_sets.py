"""`cdpctl export training-set` against the real daemon: what a row says is what the daemon said at that moment, over gRPC and HTTP; nothing is left of an
export that is killed; rows know nothing of what came later."""

import csv
import json
import os
import signal
import subprocess
import time
import uuid

import pytest

from cdpd import ADMIN_TOKEN, CONFIG, ROOT, SERVER_KEY, Daemon
from rpc import client
from test_async import features as features_of
from test_async import wait_for, with_asker

FEATURES = """\
features:
  - {{name: events, type: count}}
  - {{name: orders, type: count, event: Order}}
  - {{name: revenue, type: sum, event: Order, field: properties.total}}
  - {{name: smallest, type: min, event: Order, field: properties.total}}
  - {{name: mean, type: mean, event: Order, field: properties.total}}
  - {{name: spread, type: variance, event: Order, field: properties.total}}
  - {{name: first_sku, type: first, event: Order, field: "properties.products[].sku"}}
  - {{name: last_currency, type: last, event: Order, field: properties.currency}}
  - {{name: skus, type: distinct, event: Order, field: "properties.products[].sku"}}
  - {{name: month, type: window, event: Order, field: properties.total, window: 3600d, bucket: 60d}}
  - {{name: warmth, type: decayed, event: [Order, Viewed], half_life: 3660d}}
  - {{name: euros, type: count, event: Order, where: [{{field: properties.currency, is: EUR}}]}}
  - {{name: rhythm, type: intervals, event: Order, n: 4}}
  - {{name: weekdays, type: histogram, event: Order, by: weekday}}
  - {{name: by_sku, type: sum, event: Order, key: "properties.products[].sku", field: "properties.products[].price"}}
  - {{name: favourites, type: top, event: Viewed, field: properties.category}}
"""
SHOP = CONFIG[: CONFIG.index("features:")] + FEATURES + CONFIG[CONFIG.index("enrichers:") :]
ONE_VALUE = ["events", "orders", "revenue", "smallest", "mean", "spread", "first_sku", "last_currency", "skus", "month", "warmth", "euros"]
SET = """\
training_set:
  name: buys_soon
  points: {event: Check}
  label: {event: Order, horizon: 1s}
"""


def write_set(daemon, text):
    path = daemon.folder / "set.yaml"
    path.write_text(text)
    return path


def until_over(daemon, seconds=1.2):
    """Something that arrives after the windows: time is in the journal."""
    time.sleep(seconds)
    daemon.profile("user_id:late", daemon.track("late", "Later"))


def rows(daemon, text, **options):
    out = daemon.folder / f"{uuid.uuid4()}.ndjson"
    daemon.ctl("export", "training-set", str(write_set(daemon, text)), "--out", str(out), **options)
    manifest = json.loads((daemon.folder / f"{out.name}.manifest.json").read_text())
    made = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(made) == manifest["rows"]
    return made, manifest


@pytest.fixture
def shop(tmp_path):
    daemon = Daemon(tmp_path, SHOP)
    yield daemon.start()
    if daemon.process.poll() is None:
        daemon.kill()


def send_orders(shop):
    for n in range(40):
        user, products = f"u{n % 4}", [{"sku": f"s{n % 3}", "price": n}, {"sku": "s9", "price": 0.1}]
        properties = {"total": n * 1.1, "currency": "EUR" if n % 2 else "CHF", "products": products, "category": f"c{n % 5}"}
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - (n * 7919) % 4000000))
        shop.track(user, "Order", properties=properties, timestamp=at)
        position = shop.track(user, "Viewed", properties=properties)
    return position


def assert_same(row, online):
    """Names and values; what fades while one waits is close."""
    for name in ONE_VALUE:
        if name == "warmth":
            assert row[name] == pytest.approx(online[name], rel=1e-4)
        else:
            assert row[name] == online[name], name


def test_a_row_says_what_lookup_said_at_that_position(shop):
    """Every person is looked up over gRPC, then a point is made of them: the row must say the same."""
    position = send_orders(shop)
    users = [f"u{n}" for n in range(4)]
    with client(shop) as rpc:
        found = rpc.LookupProfiles(refs=[f"user_id:{user}" for user in users], min_position=position)
    online = {row.profile.id: {feature.name: json.loads(feature.value) for feature in row.profile.features} for row in found.profiles}
    over_http = {user: shop.profile(f"user_id:{user}").json for user in users}
    for user in users:
        shop.track(user, "Check")
    until_over(shop)
    made, manifest = rows(shop, SET)
    assert len(made) == 4 and {row["profile_id"] for row in made} == set(online)
    for row in made:
        assert list(row["features"]) == ONE_VALUE == [feature["name"] for feature in manifest["features"]]
        assert_same(row["features"], online[row["profile_id"]])
        (same,) = [profile for profile in over_http.values() if profile["id"] == row["profile_id"]]
        assert_same(row["features"], same["features"])
    parts, _ = rows(shop, SET + "  features: [rhythm, by_sku.s9, by_sku.none, weekdays.2]\n")
    for row in parts:
        values = online[row["profile_id"]]
        expected = {f"rhythm.{part}": values["rhythm"][part] for part in ("events", "count", "mean", "variance", "min", "max")}
        expected |= {"by_sku.s9": values["by_sku"]["keys"].get("s9"), "by_sku.none": None, "weekdays.2": values["weekdays"][2]}
        assert row["features"] == expected


def test_csv_says_what_ndjson_says(shop):
    send_orders(shop)
    shop.track("u1", "Check")
    shop.track("u2", "Check")
    shop.track("u2", "Order", properties={"total": 1})
    shop.track("nobody yet", "Check")
    until_over(shop)
    made, _ = rows(shop, SET)
    out = shop.folder / "rows.csv"
    shop.ctl("export", "training-set", str(write_set(shop, SET)), "--out", str(out))
    with out.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["profile_id", "point_time", "label", *ONE_VALUE]
    for row, line in zip(made, table, strict=True):
        assert (row["profile_id"], row["point_time"], row["label"]) == (line["profile_id"], line["point_time"], int(line["label"]))
        for name, value in row["features"].items():
            assert line[name] == ("" if value is None else value if isinstance(value, str) else json.dumps(value)) or float(line[name]) == value
    assert (made[0]["label"], made[2]["label"]) == (0, 0)
    assert made[2]["features"]["orders"] == 0 and made[2]["features"]["mean"] is None
    to_stdout = shop.ctl("export", "training-set", str(write_set(shop, SET)))
    assert to_stdout.stdout == out.read_text()
    assert out.stat().st_mode & 0o777 == 0o600, "features of people are not for everybody"


def test_the_example_fits_the_features_that_we_ship(tmp_path):
    head = CONFIG[: CONFIG.index("features:")]
    daemon = Daemon(tmp_path, head + f"features_file: {ROOT}/conf/features.yaml\n" + CONFIG[CONFIG.index("enrichers:") :])
    try:
        daemon.start()
        daemon.profile("user_id:u", daemon.track("u", "Product Viewed"))
        run = daemon.ctl("export", "training-set", str(ROOT / "conf" / "training" / "buys.yaml"))
        assert run.stdout == "profile_id,point_time,label,orders,revenue,spending_30d,warmth\n"
    finally:
        if daemon.process and daemon.process.poll() is None:
            daemon.kill()


def test_a_merge_after_the_point_changes_no_row(shop):
    for n in range(3):
        shop.post("/v1/track", {"type": "track", "anonymousId": "visitor", "event": "Order", "properties": {"total": 5}})
    shop.track("buyer", "Order", properties={"total": 1})
    shop.track("buyer", "Check")
    until_over(shop)
    before, _ = rows(shop, SET)
    merged = shop.request("POST", "/v1/profiles/merge", json.dumps({"a": "user_id:buyer", "b": "anonymous_id:visitor"}).encode(), {"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert merged.status == 200, merged
    assert shop.profile("user_id:buyer", merged.json.get("position")).json["features"]["orders"] == 4
    after, _ = rows(shop, SET)
    assert after == before and after[0]["features"]["orders"] == 1
    shop.track("buyer", "Check")
    until_over(shop)
    (first, second), _ = rows(shop, SET)
    assert [first] == before and second["features"]["orders"] == 4


def test_nobody_who_was_erased_is_in_it(shop):
    for user in ("stays", "goes"):
        shop.track(user, "Order", properties={"total": 5})
        shop.track(user, "Check")
    until_over(shop)
    assert len(rows(shop, SET)[0]) == 2
    gone = shop.profile("user_id:goes").json["id"]
    shop.ctl("erase", "user_id:goes", "--wait")
    made, manifest = rows(shop, SET)
    assert len(made) == 1 and made[0]["profile_id"] != gone
    assert manifest["leftOut"]["erased"] == 0, "they are no points at all any more"
    assert gone not in json.dumps(made)


def test_answers_count_from_when_they_came(tmp_path):
    daemon = Daemon(tmp_path)
    words = 'features:\n  - {{name: heard, type: count, where: [{{field: enrichment.asker.said, in: [hello]}}]}}\n  - {{name: unheard, type: count, where: [{{field: enrichment.asker.said, exists: false}}]}}\n'
    try:
        with_asker(daemon, features=words).start()
        for n in range(5):
            daemon.track("u1", "A")
        wait_for(daemon, lambda: features_of(daemon).get("heard") == 5)
        daemon.track("u1", "Check")
        wait_for(daemon, lambda: features_of(daemon).get("heard") == 6)
        assert daemon.stop() == 0
        with_asker(daemon, "mode: never", ", deadline: 1m", features=words).start()
        daemon.track("u1", "A")  # nobody answers
        position = daemon.track("u1", "Check")
        online = daemon.profile("user_id:u1", position).json["features"]
        assert (online["heard"], online["unheard"]) == (6, 0)
        until_over(daemon)
        made, _ = rows(daemon, SET.replace("Order", "A") + "  features: [heard, unheard, events]\n")
        assert [row["features"] for row in made] == [{"heard": 5, "unheard": 0, "events": 5}, {"heard": 6, "unheard": 0, "events": 7}]
        whole, _ = rows(daemon, SET.replace("Order", "A") + "  time: event\n  features: [heard, unheard, events]\n")
        assert whole[0]["features"]["heard"] == 5
    finally:
        if daemon.process and daemon.process.poll() is None:
            daemon.kill()


LONG = """\
training_set:
  name: very_long
  time: event
  points: {every: 1m}
  label: {event: Order, horizon: 1s}
"""


def start_long(shop):
    """Five million points: nobody waits for the end."""
    shop.track("u", "Viewed", key=SERVER_KEY, timestamp="2016-01-01T00:00:00Z")
    shop.profile("user_id:u", shop.track("u", "Order"))
    command = [str(shop.build / "cdpctl"), "--url", shop.url, "--token", ADMIN_TOKEN, "export", "training-set", str(write_set(shop, LONG)), "--out", str(shop.folder / "out" / "rows.csv")]
    (shop.folder / "out").mkdir(exist_ok=True)
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(shop, (shop.data / "training" / "rows").exists)
    return run


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_of_an_export_that_is_killed(shop, number):
    (shop.folder / "out").mkdir()
    (shop.folder / "out" / "rows.csv").write_text("as it was\n")
    run = start_long(shop)
    time.sleep(0.3)
    run.send_signal(number)
    run.communicate(timeout=60)
    assert [path.name for path in (shop.folder / "out").iterdir()] == ["rows.csv"]
    assert (shop.folder / "out" / "rows.csv").read_text() == "as it was\n"
    if number == signal.SIGTERM:  # it says goodbye: there is room for the next
        until_over(shop)
        assert rows(shop, SET)[0] == []


def test_a_killed_daemon_leaves_nothing_behind_at_the_next_start(shop):
    run = start_long(shop)
    shop.kill()
    assert run.wait(60) != 0
    assert os.listdir(shop.folder / "out") == []
    shop.start()
    assert not (shop.data / "training").exists()
    until_over(shop)
    assert rows(shop, SET)[0] == []


def test_the_daemon_goes_on_while_a_set_is_made(shop):
    run = start_long(shop)
    for n in range(200):
        position = shop.track(f"v{n}", "Order", properties={"total": n})
    assert shop.profile("user_id:v199", position).json["features"]["orders"] == 1
    busy = shop.ctl("export", "training-set", str(write_set(shop, SET)), check=False)
    assert busy.returncode == 5 and "another training set is being made" in busy.stderr
    assert run.poll() is None
    run.terminate()
    run.communicate(timeout=60)
    assert shop.stop() == 0


def test_a_set_stops_long_before_the_disk_is_full(tmp_path):
    found = os.statvfs(tmp_path)
    most = found.f_bavail * found.f_frsize * 6 // 10  # less than twice of it is free, for as long as nobody frees a fifth of the disk
    daemon = Daemon(tmp_path, SHOP.replace("disk_free_min: 1MiB", f"disk_free_min: {most}"))
    try:
        daemon.start()
        daemon.track("u", "Check")
        until_over(daemon)
        run = daemon.ctl("export", "training-set", str(write_set(daemon, SET)), check=False)
        assert run.returncode == 5 and "there is not enough room on the disk" in run.stderr and run.stdout == ""
        daemon.track("u", "Check")  # which the daemon itself still has
    finally:
        if daemon.process and daemon.process.poll() is None:
            daemon.kill()


def test_a_stop_does_not_wait_for_a_set(shop):
    run = start_long(shop)
    assert shop.stop(timeout=60) == 0
    assert run.wait(60) != 0
    assert not (shop.data / "training").exists()


def test_mistakes_are_told_with_their_lines(shop):
    path = write_set(shop, SET.replace("horizon: 1s", "horizn: 1s") + "  features: [ordrs]\n  purpos: x\n")
    run = shop.ctl("export", "training-set", str(path), check=False)
    assert run.returncode == 5
    assert f"{path}:4: unknown key 'horizn' in training_set.label, did you mean 'horizon'?" in run.stderr
    assert f"{path}:6: unknown key 'purpos' in training_set, did you mean 'purpose'?" in run.stderr
    run = shop.ctl("export", "training-set", str(write_set(shop, SET + "  features: [ordrs]\n")), check=False)
    assert f"{path}:5: training_set.features: there is no feature 'ordrs', did you mean 'orders'?" in run.stderr
    assert shop.ctl("export", "training-set", str(shop.folder / "none.yaml"), check=False).returncode == 2
    assert shop.ctl("export", check=False).returncode == 2
    answer = shop.request("POST", "/v1/admin/training-sets", b"\x00: [", {"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert answer.status == 400 and answer.json["code"] == "schema_violation"
    assert shop.get("/v1/admin/training-sets/0000").status == 404
    assert shop.get("/v1/admin/training-sets/0000/rows").status == 404
    assert shop.get("/v1/admin/training-sets/0000/rows?format=xml").status == 400
