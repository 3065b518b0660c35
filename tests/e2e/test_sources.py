"""Source plugins in the real daemon: signed webhooks become events, are acknowledged when they are durable, and what a plugin does wrong stays its
own trouble."""

import concurrent.futures
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import time

import pytest

from cdpd import BUILD, CONFIG

TEST_PLUGINS = BUILD / "tests" / "plugins" / "so"
SECRET = "s3cret-of-the-shop"
ISOLATED = ""  # test_isolated_errands runs these in processes of their own


def with_source(daemon, *sources):
    """The daemon's own plugins, hooked, and these sources."""
    folder = daemon.folder / "plugins"
    folder.mkdir(mode=0o755, exist_ok=True)
    for path in [*(BUILD / "plugins").glob("*.so"), TEST_PLUGINS / "hooked.so"]:
        if not (folder / path.name).exists():  # a running daemon has mapped it
            shutil.copy(path, folder)
            os.chmod(folder / path.name, 0o755)
    secret = daemon.folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    text = CONFIG.replace("plugins: {{path: {build}/plugins}}", "plugins: {{path: {folder}/plugins}}")
    lines = "".join(f"  - {source}\n" for source in sources)
    daemon.write_config(text.replace("features:\n", lines + "features:\n", 1))
    return daemon


def inbound(options="", keys=""):
    return f"{{{{id: shop, kind: webhook, plugin: inbound, options: {{{{secret: 'file:{{folder}}/secret'{options}}}}}{keys}{ISOLATED}}}}}"


def hooked(keys="", options="refuse: false", name="hook"):
    return f"{{{{id: {name}, kind: webhook, plugin: hooked, options: {{{{{options}}}}}{keys}{ISOLATED}}}}}"


def sign(body, timestamp=None, secret=SECRET):
    return hmac.new(secret.encode(), (f"{timestamp}.".encode() if timestamp else b"") + body, hashlib.sha256).hexdigest()


def deliver(daemon, message, signature=None, **headers):
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    headers["X-Signature"] = signature if signature is not None else sign(body)
    return daemon.request("POST", "/v1/hooks/shop", body, headers)


def ask(daemon, body, source="hook", timeout=60, **headers):
    return daemon.request("POST", f"/v1/hooks/{source}", body.encode(), headers, timeout)


def metric(daemon, start):
    for line in daemon.get("/metrics").body.decode().splitlines():
        if line.startswith(start + " "):
            return float(line.rsplit(" ", 1)[1])
    return 0


def requests(daemon, result, source="hook"):
    return metric(daemon, f'cdpd_source_requests_total{{source="{source}",result="{result}"}}')


def wait_for(what, timeout=60):
    deadline = time.monotonic() + timeout
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def event(n, **fields):
    return {"id": f"m{n}", "event": "Order Completed", "userId": "u1", "timestamp": 1700000000 + n, "total": 5, **fields}


# ── inbound ──


def test_a_signed_post_becomes_an_event(stopped):
    with_source(stopped, inbound()).start()
    answer = deliver(stopped, event(1))
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"ok", "text/plain; charset=utf-8")
    assert stopped.settled()["balanced"]
    (found,) = stopped.events("user_id:u1")
    assert found["messageId"] == "m1" and found["event"] == "Order Completed" and found["properties"]["total"] == 5
    assert found["timestamp"].startswith("2023-11-14T22:13:21")
    assert "ip" not in found.get("context", {}), "the sender's address is not the person's"
    assert metric(stopped, 'cdpd_source_events_total{source="shop",result="accepted"}') == 1


def test_a_wrong_signature_is_refused(stopped):
    with_source(stopped, inbound()).start()
    body = json.dumps(event(1)).encode()
    for signature in ("", "00", "0" * 64, sign(body)[:-1], sign(body + b" "), sign(body, secret="other"), "sha256=" + sign(body)):
        assert deliver(stopped, body, signature).status == 401, signature
    assert stopped.request("POST", "/v1/hooks/shop", body).status == 401
    assert deliver(stopped, body, sign(body).upper()).status == 200
    assert stopped.settled()["balanced"] and len(stopped.events("user_id:u1")) == 1
    assert metric(stopped, 'cdpd_plugin_unsigned_total{instance="source:shop"}') == 8


def test_a_batch_with_its_own_shape(stopped):
    options = ", list: data.items, event: kind, event_name: Something, user_id: who.id, message_id: no, timestamp: at, properties: body"
    with_source(stopped, inbound(options)).start()
    items = [{"no": n, "kind": "Order Completed", "who": {"id": 7}, "at": 1700000000000 + n, "body": {"total": n}} for n in range(50)]
    items += [{"no": "x", "who": {"id": 7}, "body": {"total": 0}}, "no object", {"no": "y", "kind": "A"}]
    assert deliver(stopped, {"data": {"items": items}}).status == 200
    assert stopped.settled()["balanced"]
    found = stopped.events("user_id:7")
    assert sorted(e["messageId"] for e in found) == sorted([str(n) for n in range(50)] + ["x"])
    assert stopped.profile("user_id:7").json["features"]["revenue"] == sum(range(50))
    assert [e["event"] for e in found if e["messageId"] == "x"] == ["Something"]
    rejects = stopped.get("/v1/admin/rejects").json["rejects"]
    assert sorted(r["code"] for r in rejects) == ["missing_identity", "schema_violation"]
    (part,) = [r for r in rejects if r["code"] == "schema_violation"]
    assert part["source"] == "shop" and "no JSON object" in json.dumps(part) and "no object" in json.dumps(part)


def test_bad_json_is_refused_and_kept(stopped):
    with_source(stopped, inbound()).start()
    for body in (b"", b"{", b"[1,", b'{"a":"\xff"}'):
        assert deliver(stopped, body).status == 400
    assert stopped.settled()["balanced"]
    assert len(stopped.get("/v1/admin/rejects").json["rejects"]) == 4


def test_a_delivery_that_comes_again_counts_once(stopped):
    with_source(stopped, inbound()).start()
    nameless = {k: v for k, v in event(2).items() if k != "id"}
    for _ in range(3):
        assert deliver(stopped, event(1)).status == 200
        assert deliver(stopped, nameless).status == 200
    assert stopped.settled()["balanced"]
    assert stopped.profile("user_id:u1").json["features"]["orders"] == 2


def test_old_deliveries_are_refused(stopped):
    with_source(stopped, inbound(", timestamp_header: X-Time, tolerance: 1h, signature_prefix: 'v1='")).start()
    body, now = json.dumps(event(1)).encode(), int(time.time())
    def at(timestamp, signed_at=None):
        return deliver(stopped, body, "v1=" + sign(body, signed_at or timestamp), **{"X-Time": str(timestamp)}).status
    assert at(now) == 200 and at(now * 1000) == 200
    assert at(now - 7200) == 401 and at(now + 7200) == 401 and at("soon") == 401
    assert at(now, now - 7200) == 401, "the time is signed too"
    assert deliver(stopped, body, "v1=" + sign(body)).status == 401


def test_a_handshake(stopped):
    with_source(stopped, inbound(", challenge_param: hub.challenge, verify_token: 'file:{folder}/secret'")).start()
    assert stopped.get(f"/v1/hooks/shop?hub.challenge=a%20b&hub.verify_token={SECRET}", token=None).body == b"a b"
    assert stopped.get("/v1/hooks/shop?hub.challenge=a&hub.verify_token=guess", token=None).status == 401


def test_a_kill_after_the_answer_loses_nothing(stopped):
    with_source(stopped, inbound()).start()
    acknowledged = set()
    for round_ in range(4):
        def one(n, round_=round_):
            try:
                return f"m{round_ * 1000 + n}" if deliver(stopped, event(round_ * 1000 + n)).status == 200 else None
            except OSError:
                return None
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            tasks = [pool.submit(one, n) for n in range(120)]
            concurrent.futures.wait(tasks[:60])
            stopped.kill()
            acknowledged |= {task.result() for task in tasks} - {None}
        stopped.start()
    assert len(acknowledged) >= 240
    stopped.settled()
    assert acknowledged <= {e["messageId"] for e in stopped.events("user_id:u1")}


# ── what a source may and may not do ──


def test_the_answer_is_exactly_what_was_said(stopped):
    with_source(stopped, hooked()).start()
    answer = ask(stopped, "exact")
    assert (answer.status, answer.body) == (299, b"confirmed")
    assert answer.headers["x-a"] == "b" and answer.headers["content-type"] == "text/odd" and "x-c" not in answer.headers
    assert stopped.get("/v1/hooks/hook?challenge=1%2B1+%3D+2", token=None).body == b"1+1 = 2"
    answer = ask(stopped, '{"type":"track","event":"A","userId":"u1"}')
    assert (answer.status, answer.body) == (200, b"") and "content-type" not in answer.headers
    assert ask(stopped, "header", **{"X-Told": "so"}).body == b"so"


def test_what_fails_is_counted_and_makes_nothing(stopped):
    with_source(stopped, hooked()).start()
    assert ask(stopped, "fail").status == 500 and requests(stopped, "failed") == 1
    assert ask(stopped, "reject").status == 200
    assert stopped.settled()["balanced"] and stopped.profile("user_id:u1").status == 404
    (reject,) = stopped.get("/v1/admin/rejects").json["rejects"]
    assert "made no sense" in json.dumps(reject) and "this part" in json.dumps(reject)
    assert ask(stopped, "many 100000").body == b"2500 -3"
    stopped.settled()
    assert stopped.profile("user_id:u1").json["features"]["events"] == 2500


def test_a_hung_source_is_contained(stopped):
    """Its clients are told to come again, everybody else goes on, and when it returns so does it."""
    with_source(stopped, hooked(", deadline: 50ms"), hooked(name="other")).start()
    answer = ask(stopped, "hang 3000")
    assert answer.status == 503 and answer.json["code"] == "source_unavailable" and int(answer.headers["retry-after"]) > 0
    assert requests(stopped, "timeout") == 1 and metric(stopped, 'cdpd_source_stuck{source="hook"}') == 1
    assert ask(stopped, "many 1").status == 503 and requests(stopped, "refused") >= 1
    assert ask(stopped, "many 1", source="other").status == 200
    stopped.track("u2", "A")
    wait_for(lambda: ask(stopped, "get").status != 503)
    assert metric(stopped, 'cdpd_source_stuck{source="hook"}') == 0
    assert "does not return" in stopped.log_text() and "it is asked again" in stopped.log_text()


def test_one_that_never_returns_holds_up_nobody(stopped):
    with_source(stopped, hooked(", deadline: 50ms"), hooked(name="other")).start()
    assert ask(stopped, "hang 100000").status == 503
    with_source(stopped, hooked(name="other")).reload()
    wait_for(lambda: "left behind" in stopped.log_text())
    assert ask(stopped, "many 1").status == 404
    assert ask(stopped, "many 1", source="other").status == 200
    assert stopped.stop() == 0


def test_too_many_at_once_are_told_to_wait(stopped):
    with_source(stopped, hooked(", deadline: 60s, queue: 2")).start()
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: ask(stopped, "hang 400"), range(12)))
    statuses = [answer.status for answer in answers]
    assert statuses.count(200) >= 2 and statuses.count(429) >= 1 and set(statuses) == {200, 429}, statuses
    refused = [answer for answer in answers if answer.status == 429]
    assert all(answer.json["code"] == "overloaded" and answer.headers["retry-after"] for answer in refused)
    assert requests(stopped, "refused") == len(refused) and requests(stopped, "answered") == 12 - len(refused)


def test_limits_hold_for_a_source(stopped):
    with_source(stopped, hooked(", events_per_second: 5")).start()
    assert ask(stopped, "many 2000").status == 200
    answer = ask(stopped, "many 1")
    assert answer.status == 429 and answer.json["code"] == "rate_limited" and int(answer.headers["retry-after"]) >= 1
    assert requests(stopped, "answered") == 1, "it was not even asked"


def test_clients_that_leave_harm_nobody(stopped):
    with_source(stopped, hooked(", deadline: 60s")).start()
    for _ in range(20):
        with stopped.socket() as connection:
            connection.sendall(b"POST /v1/hooks/hook HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nhang 30")
    assert ask(stopped, "many 3").body == b"3 0"
    wait_for(lambda: metric(stopped, 'cdpd_source_queued{source="hook"}') == 0)


def test_what_it_keeps_survives(stopped):
    with_source(stopped, hooked()).start()
    assert [ask(stopped, "keep").body for _ in range(3)] == [b"1", b"2", b"3"]
    stopped.kill()
    stopped.start()
    assert ask(stopped, "keep").body == b"4"


def test_a_reload_begins_anew_what_changed(stopped):
    with_source(stopped, hooked()).start()
    assert stopped.get("/v1/hooks/none", token=None).status == 404
    assert ask(stopped, "many 1", source="web").status == 404
    with_source(stopped, hooked(), hooked(name="second")).reload()
    wait_for(lambda: ask(stopped, "many 1", source="second").status == 200)
    with_source(stopped, hooked(options="refuse: true")).reload()
    wait_for(lambda: ask(stopped, "many 1", source="second").status == 404)
    wait_for(lambda: ask(stopped, "many 1").status == 503)
    with_source(stopped, hooked()).reload()
    wait_for(lambda: ask(stopped, "many 1").status == 200)


@pytest.mark.parametrize("source, complaint", [
    ("{{id: hook, kind: webhook, plugin: hokked}}", "hokked"),
    ("{{id: hook, kind: webhook, plugin: campaign}}", "'campaign' cannot be used as a source: it is for enrich"),
    ("{{id: hook, kind: webhook, plugin: hooked, options: {{refused: true}}}}", "unknown option 'refused' for hooked, did you mean 'refuse'?"),
    ("{{id: hook, kind: server, write_keys: [k], plugin: hooked}}", "only sources of kind webhook have a plugin"),
    ("{{id: hook, kind: webhook, queue: 5}}", "'queue' needs 'plugin'"),
    ("{{id: hook, kind: webhook, plugin: hooked, http: {{allow: ['a b']}}}}", "'a b' is neither a network"),
    ("{{id: 1hook, kind: webhook, plugin: hooked}}", "the name of a source is"),
    ("{{id: hook, kind: webhook, plugin: inbound}}", "secret"),
])
def test_mistakes_are_named(stopped, source, complaint):
    with_source(stopped, source)
    run = subprocess.run(stopped.command("-n"), capture_output=True, text=True, timeout=60)
    assert run.returncode != 0 and complaint in run.stderr and "cdpd.yaml:10: " in run.stderr, run.stderr


def test_a_source_is_no_enricher(stopped):
    with_source(stopped, hooked())
    stopped.config_file.write_text(stopped.config_file.read_text() + "  - {plugin: hooked}\n")
    run = subprocess.run(stopped.command("-n"), capture_output=True, text=True, timeout=60)
    assert run.returncode != 0 and "'hooked' cannot be used as an enricher: it is for source" in run.stderr
