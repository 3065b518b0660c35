"""Features over HTTP: events in by the public routes, late and out of order, and what GET /v1/profiles/{ref} reads afterwards."""

import contextlib
import json
import pathlib
import random
import shutil
import tempfile
import time
from datetime import datetime, timedelta, timezone

from cdpd import BUILD, CONFIG, ROOT, SERVER_KEY, Daemon

NOW = datetime.now(timezone.utc).replace(microsecond=0)

FEATURES = """
features:
  - {name: largest, type: max, event: Order, field: properties.total}
  - {name: mean, type: mean, event: Order, field: properties.total}
  - {name: variance, type: variance, event: Order, field: properties.total}
  - {name: skus, type: distinct, event: Order, field: "properties.products[].sku"}
  - {name: hours, type: histogram, event: Order, by: hour}
  - {name: rhythm, type: intervals, event: Order, n: 3}
  - {name: by_sku, type: sum, event: Order, key: "properties.products[].sku", field: "properties.products[].price", max_keys: 2}
  - {name: month, type: window, event: Order, field: properties.total, window: 30d, bucket: 1d}
  - {name: warmth, type: decayed, event: [Order, Viewed], half_life: 1d}
  - {name: favourites, type: top, event: Viewed, field: properties.category, n: 2}
  - {name: euros, type: count, event: Order, where: [{field: properties.currency, is: EUR}]}
"""

BASE = CONFIG.replace("features:", "features_file: features.yaml\nfeatures:")


def orders():
    """Four orders, 1, 3, 3 and 40 days ago at 12:00 UTC."""
    noon = NOW.replace(hour=12, minute=0, second=0)
    for index, (days, total, currency, skus) in enumerate([(1, 10, "EUR", "ab"), (3, 20.5, "USD", "b"), (3, 30, "EUR", "ca"), (40, 99, "CHF", "d")]):
        yield {
            "type": "track",
            "userId": "u",
            "event": "Order",
            "messageId": f"order-{index}",
            "timestamp": (noon - timedelta(days=days)).isoformat(),
            "properties": {"total": total, "currency": currency, "products": [{"sku": sku, "price": 1 + i} for i, sku in enumerate(skus)]},
        }


def features(daemon):
    answer = daemon.get("/v1/profiles/user_id:u")
    assert answer.status == 200, answer
    return answer.json["features"]


def stable(values):
    """Those that do not depend on the moment of reading."""
    return {name: value for name, value in values.items() if name not in ("warmth", "month")}


@contextlib.contextmanager
def started(text=FEATURES, config=BASE):
    """A daemon whose features_file lies beside its configuration."""
    with tempfile.TemporaryDirectory(prefix="cdpd-test-") as folder:
        (pathlib.Path(folder) / "features.yaml").write_text(text)
        daemon = Daemon(folder, config)
        try:
            yield daemon.start()
        finally:
            if daemon.process and daemon.process.poll() is None:
                daemon.kill()


def test_every_type_reads_what_was_sent():
    views = [{"type": "track", "userId": "u", "event": "Viewed", "messageId": f"v{i}", "properties": {"category": c}} for i, c in enumerate(["hats", "shoes", "hats"])]
    readings = []
    for seed in range(3):
        messages = list(orders()) + views
        random.Random(seed).shuffle(messages)
        if seed:  # duplicates have no effect
            messages += messages[:3]
        with started() as daemon:
            for message in messages:
                assert daemon.post("/v1/track", message, key=SERVER_KEY).status == 200
            daemon.settled()
            readings.append(features(daemon))
    assert stable(readings[0]) == stable(readings[1]) == stable(readings[2])
    got = readings[0]
    assert got["largest"] == 99 and got["mean"] == 39.875 and got["skus"] == 4 and got["euros"] == 2
    totals = [10, 20.5, 30, 99]
    assert abs(got["variance"] - sum((t - 39.875) ** 2 for t in totals) / 4) < 1e-6
    assert got["hours"] == [4 if hour == 12 else 0 for hour in range(24)]
    rhythm = got["rhythm"]
    assert (rhythm["events"], rhythm["count"], rhythm["min"], rhythm["max"], rhythm["mean"]) == (4, 2, 0, 172800, 86400)
    assert len(rhythm["last"]) == 3 and rhythm["last"] == sorted(rhythm["last"], reverse=True)
    # Two of four keys are kept, whole; what fell out is counted.
    whole = {"a": 3, "b": 3, "c": 1, "d": 1}
    kept = got["by_sku"]["keys"]
    assert len(kept) == 2 and all(whole[sku] == value for sku, value in kept.items())
    assert got["by_sku"]["over"] == 6 - sum({"a": 2, "b": 2, "c": 1, "d": 1}[sku] for sku in kept)
    assert got["month"] == 60.5
    assert 3 < got["warmth"] < 4.1
    assert got["favourites"] == {"events": 3, "values": [{"value": "hats", "count": 2, "error": 0}, {"value": "shoes", "count": 1, "error": 0}]}


def test_late_events_and_a_restart_change_nothing():
    messages = list(orders())
    with started() as daemon:
        for message in messages[:2]:
            assert daemon.post("/v1/track", message, key=SERVER_KEY).status == 200
        daemon.settled()
        assert daemon.stop() == 0
        daemon.start()
        for message in reversed(messages[2:]):
            assert daemon.post("/v1/track", message, key=SERVER_KEY).status == 200
        daemon.settled()
        interrupted = features(daemon)
    with started() as daemon:
        for message in sorted(messages, key=lambda m: m["timestamp"]):
            assert daemon.post("/v1/track", message, key=SERVER_KEY).status == 200
        daemon.settled()
        assert stable(features(daemon)) == stable(interrupted)
        assert abs(features(daemon)["warmth"] - interrupted["warmth"]) < 0.01


def test_a_joined_person_has_one_history():
    with started() as daemon:
        for index, message in enumerate(orders()):
            if index % 2:
                del message["userId"]
            message["anonymousId"] = "a" if index % 2 else f"other-{index}"
            assert daemon.post("/v1/track", message, key=SERVER_KEY).status == 200
        daemon.settled()
        assert features(daemon)["rhythm"]["events"] == 2
        daemon.post("/v1/identify", {"userId": "u", "anonymousId": "a", "traits": {}}, key=SERVER_KEY)
        daemon.settled()
        got = features(daemon)
        assert got["rhythm"]["events"] == 4 and got["largest"] == 99 and got["euros"] == 2 and got["skus"] == 4


def test_the_hour_is_that_of_the_events_place():
    with started() as daemon:
        message = next(orders())
        message["timestamp"] = (NOW - timedelta(days=2)).strftime("%Y-%m-%dT23:30:00+05:30")
        assert daemon.post("/v1/track", message, key=SERVER_KEY).status == 200
        daemon.settled()
        assert features(daemon)["hours"][23] == 1


def test_reload_reads_the_file_again():
    with started() as daemon:
        messages = list(orders())
        assert daemon.post("/v1/track", messages[0], key=SERVER_KEY).status == 200
        daemon.settled()
        path = daemon.folder / "features.yaml"
        path.write_text(FEATURES.replace("n: 3", "n: 300"))
        daemon.reload()
        wait_for(lambda: "reload refused" in daemon.log_text())
        assert f"{path}:8: feature 'rhythm': n: '300' must be 2 to 32" in daemon.log_text()
        assert features(daemon)["rhythm"]["events"] == 1
        path.write_text(FEATURES.replace("n: 3", "n: 4"))
        daemon.reload()
        wait_for(lambda: "configuration reloaded" in daemon.log_text())
        assert daemon.post("/v1/track", messages[1], key=SERVER_KEY).status == 200
        daemon.settled()
        # A changed option is a new feature, which counts what was there before it; the others went on.
        wait_for(lambda: features(daemon)["rhythm"]["events"] == 2)
        assert features(daemon)["largest"] == 20.5


def test_plugins_with_options_and_of_1_0(tmp_path):
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    for name in ("threshold", "feature_1_0"):
        shutil.copy(BUILD / "tests" / "plugins" / "so" / f"{name}.so", plugins)
    shutil.copy(BUILD / "plugins" / "campaign.so", plugins)
    config = BASE.replace("{build}/plugins", str(plugins))
    text = """
features:
  - {name: many, type: threshold, event: Order, field: properties.total, least: 20.5, as_text: true}
  - {name: many_by_currency, type: threshold, event: Order, field: properties.total, key: properties.currency}
  - {name: ever, type: feature_1_0, event: Order}
"""
    with started(text, config) as daemon:
        for message in orders():
            assert daemon.post("/v1/track", message, key=SERVER_KEY).status == 200
        daemon.settled()
        got = features(daemon)
        assert got["many"] == "3" and got["ever"] is True
        assert got["many_by_currency"] == {"keys": {"CHF": 1, "EUR": 2, "USD": 1}, "over": 0}


def test_the_shipped_example_runs():
    text = (ROOT / "conf" / "features.yaml").read_text()
    config = "".join(line for line in BASE.splitlines(keepends=True) if not line.startswith(("features:", "  - {{name: ")))
    with started(text, config) as daemon:
        message = {
            "type": "track",
            "userId": "u",
            "event": "Order Completed",
            "properties": {"total": 250, "currency": "EUR", "products": [{"product_id": "p1", "category": "shoes", "price": 200}, {"product_id": 2, "category": "hats", "price": 50}]},
        }
        assert daemon.post("/v1/track", message, key=SERVER_KEY).status == 200
        daemon.settled()
        got = features(daemon)
        assert got["orders"] == 1 and got["big_orders"] == 1 and got["spent_on_shoes"] == 200 and got["spending_30d"] == 250
        assert got["spent_by_category"] == {"keys": {"hats": 50, "shoes": 200}, "over": 0}
        assert list(got["product_rhythm"]["keys"]) == ["2", "p1"]
        assert json.dumps(got)


def wait_for(condition, timeout=60):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
