"""The tracking plan: events that break it are refused, flagged or counted, through the real door."""

import json
import re
import subprocess
import time

from cdpd import BUILD, CONFIG, ROOT, running

PLAN = """\
unplanned: flag
events:
  - event: Order Completed
    mode: reject
    schema:
      type: object
      required: [order_id, total]
      properties:
        order_id: {type: string, pattern: "^o-[0-9]+$"}
        total: {type: number, minimum: 0}
        products: {type: array, items: {required: [sku]}}
  - event: Product Viewed
    mode: flag
    schema: {required: [sku]}
  - event: Searched
    mode: accept
    schema: {properties: {query: {type: string}}}
  - {type: page}
  - type: identify
    mode: flag
    schema: {properties: {email: {format: email}}}
"""
USE = "tracking_plan: {{file: plan.yaml}}\n"


def with_plan(daemon, plan=PLAN):
    (daemon.folder / "plan.yaml").write_text(plan)


def planned(plan=PLAN):
    """A running daemon whose plan stands beside its configuration."""
    import contextlib
    import tempfile

    from cdpd import Daemon

    @contextlib.contextmanager
    def run():
        with tempfile.TemporaryDirectory(prefix="cdpd-test-") as folder:
            daemon = Daemon(folder, CONFIG, USE)
            with_plan(daemon, plan)
            try:
                yield daemon.start()
            finally:
                if daemon.process and daemon.process.poll() is None:
                    daemon.kill()

    return run()


def metric(daemon, name, **labels):
    for line in daemon.get("/metrics").body.decode().splitlines():
        if line.startswith(name + "{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
            return float(line.rsplit(" ", 1)[1])
    return None


def message(event, message_id, **properties):
    """As analytics.js sends it."""
    return {
        "type": "track", "event": event, "userId": "u1", "anonymousId": "a1", "messageId": message_id, "properties": properties,
        "context": {"library": {"name": "analytics.js", "version": "next-1.70.0"}, "page": {"path": "/", "url": "https://shop.example/"}},
        "timestamp": "2026-11-01T10:00:00.000Z", "integrations": {},
    }


def test_a_batch_keeps_what_fits_the_plan():
    with planned() as cdpd:
        answer = cdpd.post("/v1/batch", {"sentAt": "2026-11-01T10:00:01.000Z", "batch": [
            message("Order Completed", "good", order_id="o-1", total=5, products=[{"sku": "a"}]),
            message("Order Completed", "negative", order_id="o-2", total=-5),
            message("Order Completed", "poor", order_id="o-3", total=5, products=[{"sku": "a"}, {}]),
            message("Product Viewed", "flagged"),
            message("Searched", "counted", query=7),
            message("Invented", "unplanned"),
        ]})
        assert answer.status == 200
        assert answer.json["accepted"] == 4
        assert answer.json["rejected"] == [
            {"index": 1, "messageId": "negative", "code": "schema_violation", "pointer": "/properties/total", "message": "must be at least 0, is -5"},
            {"index": 2, "messageId": "poor", "code": "schema_violation", "pointer": "/properties/products/1/sku", "message": "is required"},
        ]
        assert cdpd.settled()["events"]["rejected"] == 2
        events = {e["messageId"]: e for e in cdpd.events("user_id:u1")}
        assert set(events) == {"good", "flagged", "counted", "unplanned"}
        assert "violations" not in events["good"] and "violations" not in events["counted"]
        assert events["flagged"]["violations"] == [{"code": "schema_violation", "pointer": "/properties/sku", "message": "is required"}]
        assert events["unplanned"]["violations"][0]["code"] == "unplanned_event"

        rejects = {r["messageId"]: r for r in cdpd.get("/v1/admin/rejects").json["rejects"]}
        assert rejects["negative"]["code"] == "schema_violation" and rejects["negative"]["pointer"] == "/properties/total"
        assert "order_id" in rejects["negative"]["excerpt"]

        trace = cdpd.get("/v1/admin/trace?message_id=flagged").json
        assert trace["events"][0]["violations"] == events["flagged"]["violations"]
        shown = cdpd.ctl("trace", "flagged").stdout
        assert re.search(r"violates\s+/properties/sku: is required", shown), shown
        assert "/properties/total" in cdpd.ctl("trace", "negative").stdout

        assert metric(cdpd, "cdpd_plan_violations_total", event="Order Completed", mode="reject") == 2
        assert metric(cdpd, "cdpd_plan_violations_total", event="Product Viewed", mode="flag") == 1
        assert metric(cdpd, "cdpd_plan_violations_total", event="Searched", mode="accept") == 1
        assert metric(cdpd, "cdpd_plan_unplanned_total", mode="flag") == 1


def test_one_message_gets_the_refusal_as_its_answer():
    with planned() as cdpd:
        answer = cdpd.post("/v1/track", message("Order Completed", "m", order_id="x", total=1))
        assert answer.status == 400
        assert answer.json["code"] == "schema_violation" and answer.json["pointer"] == "/properties/order_id"
        assert answer.json["message"] == "must match ^o-[0-9]+$"


def test_a_flag_does_not_change_the_message():
    """The same message with and without its flag is a duplicate, not a conflict."""
    with planned() as cdpd:
        cdpd.post("/v1/track", message("Product Viewed", "m"))
        with_plan(cdpd, "events: []\n")
        cdpd.reload()
        wait_for_log(cdpd, "configuration reloaded")
        cdpd.post("/v1/track", message("Product Viewed", "m"))
        assert cdpd.settled()["events"]["duplicate"] == 1
        assert cdpd.status()["events"]["rejected"] == 0


def test_the_tail_shows_violations():
    with planned() as cdpd:
        with cdpd.socket() as tail:
            tail.sendall(b"GET /v1/admin/tail HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer test-admin-token\r\n\r\n")
            seen = tail.recv(65536)
            cdpd.post("/v1/track", message("Product Viewed", "m"))
            deadline = time.monotonic() + 60
            while b"/properties/sku" not in seen and time.monotonic() < deadline:
                seen += tail.recv(65536)
            assert b'"violations":[{"code":"schema_violation","pointer":"/properties/sku"' in seen


def wait_for_log(daemon, text, count=1):
    deadline = time.monotonic() + 60
    while daemon.log_text().count(text) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    assert daemon.log_text().count(text) >= count, daemon.log_text()


def test_a_reload_changes_the_plan_or_leaves_it_alone():
    with planned() as cdpd:
        bad = message("Order Completed", "m", order_id="o-1", total=-5)
        assert cdpd.post("/v1/track", bad).status == 400
        with_plan(cdpd, "events:\n  - event: Order Completed\n    schema: {oneOf: []}\n")
        cdpd.reload()
        wait_for_log(cdpd, "reload refused")
        assert "plan.yaml:3: events[0].schema: keyword 'oneOf' is not supported" in cdpd.log_text()
        assert cdpd.post("/v1/track", bad).status == 400
        with_plan(cdpd, "events:\n  - event: Order Completed\n    schema: {properties: {total: {maximum: 0}}}\n    mode: reject\n")
        cdpd.reload()
        wait_for_log(cdpd, "configuration reloaded")
        assert cdpd.post("/v1/track", bad).status == 200


def test_hostile_values_meet_a_plan():
    """Very deep, very wide, very long: each is told in one short reason or taken; the daemon stays."""
    plan = """\
events:
  - event: E
    mode: reject
    schema:
      properties:
        list: {type: array, maxItems: 3, items: {type: integer}}
        text: {type: string, pattern: "^(a+)+$", maxLength: 1000000}
        deep: {properties: {a: {properties: {a: {type: string}}}}}
      additionalProperties: false
"""
    deep = "1"
    for _ in range(58):
        deep = '{"a":' + deep + "}"
    with planned(plan) as cdpd:
        def refused(properties):
            body = b'{"type":"track","userId":"u","event":"E","properties":' + properties + b"}"
            answer = cdpd.post("/v1/track", body)
            assert answer.status in (400, 413), answer
            assert len(answer.body) < 4096
            return answer.json

        assert refused(json.dumps({"list": [1] * 20000}).encode())["pointer"] == "/properties/list"
        assert refused(json.dumps({"list": ["x"] * 10000}).encode())["pointer"] == "/properties/list"
        assert refused(json.dumps({"text": "a" * 60000 + "b"}).encode())["pointer"] == "/properties/text"
        assert refused(b'{"deep":' + deep.encode() + b"}")["pointer"] == "/properties/deep/a/a"
        assert refused(json.dumps({f"k{i}": i for i in range(100000)}).encode())["code"] == "too_large"
        assert refused(json.dumps({f"k{i}": i for i in range(3000)}).encode())["pointer"] == "/properties/k0"
        assert refused(json.dumps({"x" * 50000: 1}).encode())["code"] == "schema_violation"
        assert cdpd.post("/v1/track", {"type": "track", "userId": "u", "event": "E", "properties": {"text": "a" * 60000}}).status == 200
        status = cdpd.settled()["events"]
        assert (status["applied"], status["rejected"]) == (1, 7)


def test_the_shipped_plan_is_taken_and_a_wrong_one_is_not(tmp_path):
    config = tmp_path / "cdpd.yaml"
    config.write_text(f"store: {{path: {tmp_path}/data}}\ntracking_plan: {{file: {ROOT}/conf/tracking-plan.yaml}}\n")
    run = subprocess.run([str(BUILD / "cdpd"), "-n", "-c", str(config)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    config.write_text("tracking_plan:\n  events:\n    - event: A\n      schema: {tpye: string}\n")
    run = subprocess.run([str(BUILD / "cdpd"), "-n", "-c", str(config)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert "cdpd.yaml:4: events[0].schema: keyword 'tpye' is not supported, did you mean 'type'?" in run.stderr


def test_no_plan_no_violations(cdpd):
    cdpd.post("/v1/track", message("Product Viewed", "m"))
    cdpd.settled()
    assert "violations" not in cdpd.events("user_id:u1")[0]
    assert "cdpd_plan" not in cdpd.get("/metrics").body.decode()
