"""The main job: events in, durable, folded into people, read back."""

import json
import subprocess
import sys
import urllib.parse

from cdpd import ADMIN_TOKEN, READ_TOKEN, ROOT, WRITE_KEY, basic


def anonymous_then_signed_in(cdpd, who="u1", visitor="a1"):
    cdpd.post("/v1/page", {"anonymousId": visitor, "messageId": f"{who}-1", "properties": {"path": "/first"}, "timestamp": "2026-11-01T10:00:00Z"})
    cdpd.post("/v1/page", {"anonymousId": visitor, "messageId": f"{who}-2", "properties": {"path": "/second"}, "timestamp": "2026-11-01T10:01:00Z"})
    cdpd.post("/v1/identify", {"anonymousId": visitor, "userId": who, "messageId": f"{who}-3", "traits": {"email": f"{who}@example.com", "plan": "free"}})
    return cdpd.track(who, "Order Completed", f"{who}-4", properties={"total": 27.5})


def test_anonymous_and_signed_in_parts_join(cdpd):
    position = anonymous_then_signed_in(cdpd)
    answer = cdpd.profile("user_id:u1", position)
    assert answer.status == 200
    profile = answer.json
    assert {i["namespace"] + ":" + i["value"] for i in profile["identifiers"]} == {"user_id:u1", "anonymous_id:a1", "email:u1@example.com"}
    assert profile["traits"]["plan"]["value"] == "free"
    assert profile["traits"]["plan"]["provenance"] == "observed"
    assert profile["features"]["events"] == 4
    assert profile["features"]["orders"] == 1
    assert profile["features"]["revenue"] == 27.5
    assert profile["features"]["first_page"] == "/first"
    assert profile["features"]["last_page"] == "/second"
    assert profile["firstSeen"] == "2026-11-01T10:00:00Z"


def test_every_identifier_leads_to_the_same_person(cdpd):
    position = anonymous_then_signed_in(cdpd)
    ids = {cdpd.profile(ref, position).json["id"] for ref in ("user_id:u1", "anonymous_id:a1", "email:u1@example.com")}
    assert len(ids) == 1
    assert cdpd.profile(f"id:{ids.pop()}").status == 200


def test_events_are_listed_newest_first_with_outcome(cdpd):
    cdpd.profile("user_id:u1", anonymous_then_signed_in(cdpd))
    events = cdpd.events("user_id:u1")
    assert [e["messageId"] for e in events] == ["u1-4", "u1-3", "u1-2", "u1-1"]
    assert all(e["outcome"]["verdict"] == "applied" for e in events)
    assert events[0]["properties"] == {"total": 27.5}
    pages = cdpd.events("user_id:u1", limit=1, type="page")
    assert [e["messageId"] for e in pages] == ["u1-2", "u1-1"]


def test_a_message_counts_once_per_source(cdpd):
    for _ in range(3):
        position = cdpd.track("u1", "Order Completed", "same", properties={"total": 10})
    profile = cdpd.profile("user_id:u1", position).json
    assert profile["features"]["orders"] == 1
    assert profile["features"]["revenue"] == 10
    assert cdpd.settled()["events"]["duplicate"] == 2


def test_same_id_other_content_is_a_conflict_and_the_first_wins(cdpd):
    cdpd.track("u1", "Order Completed", "same", properties={"total": 10})
    position = cdpd.track("u1", "Order Completed", "same", properties={"total": 99})
    assert cdpd.profile("user_id:u1", position).json["features"]["revenue"] == 10
    assert cdpd.settled()["events"]["conflict"] == 1


def test_a_shared_device_does_not_join_two_people(cdpd):
    cdpd.post("/v1/identify", {"anonymousId": "tablet", "userId": "first", "traits": {}})
    answer = cdpd.post("/v1/identify", {"anonymousId": "tablet", "userId": "second", "traits": {"plan": "x"}})
    position = answer.headers["x-cdpd-position"]
    first, second = (cdpd.profile(f"user_id:{who}", position).json for who in ("first", "second"))
    assert first["id"] != second["id"]
    assert "plan" not in first["traits"] and second["traits"]["plan"]["value"] == "x"
    history = cdpd.get("/v1/profiles/user_id:second/history").json
    assert any(not link["linked"] and link["reason"] for link in history["links"]), history


def test_campaign_enrichment_is_kept_beside_the_event(cdpd):
    url = "https://shop.example/?utm_source=news&utm_medium=email&utm_campaign=autumn&gclid=abc"
    position = cdpd.track("u1", "Visit", "v1", context={"page": {"url": url}})
    cdpd.profile("user_id:u1", position)
    event = cdpd.events("user_id:u1")[0]
    campaign = event["enrichment"]["campaign"]
    assert (campaign["source"], campaign["medium"], campaign["name"]) == ("news", "email", "autumn")
    assert event["context"] == {"page": {"url": url}}, "the event stays as it was sent"


def test_a_batch_keeps_the_good_and_names_the_bad(cdpd):
    batch = [{"type": "track", "userId": "u1", "event": "A", "messageId": "b1"}, {"type": "track", "event": "B", "messageId": "b2"},
             {"type": "track", "userId": "u1", "event": "C", "messageId": "b3"}]
    answer = cdpd.post("/v1/batch", {"batch": batch, "writeKey": WRITE_KEY}, key=None)
    assert answer.status == 200
    assert answer.json["accepted"] == 2
    assert [(r["index"], r["messageId"], r["code"]) for r in answer.json["rejected"]] == [(1, "b2", "missing_identity")]
    assert "destinations" not in answer.json
    rejects = cdpd.get("/v1/admin/rejects").json["rejects"]
    assert rejects[0]["code"] == "missing_identity" and rejects[0]["messageId"] == "b2"


def test_native_json_array_and_ndjson(cdpd):
    events = [{"type": "track", "userId": "n1", "event": "A", "messageId": f"n{i}"} for i in range(3)]
    assert cdpd.post("/v1/events", events).json["accepted"] == 3
    lines = b"\n".join(json.dumps({**e, "messageId": e["messageId"] + "x"}).encode() for e in events) + b"\n{broken\n"
    answer = cdpd.post("/v1/events", lines, **{"Content-Type": "application/x-ndjson"})
    assert answer.json["accepted"] == 3
    assert answer.json["rejected"][0]["code"] == "invalid_json"
    assert cdpd.profile("user_id:n1", answer.headers["x-cdpd-position"]).json["features"]["events"] == 6


def test_everything_survives_a_restart(cdpd):
    position = anonymous_then_signed_in(cdpd)
    before = cdpd.profile("user_id:u1", position).json
    assert cdpd.stop() == 0
    cdpd.start()
    after = cdpd.profile("user_id:u1", position).json
    assert after == {**before, "position": after["position"]}


def test_lookup_and_parts(cdpd):
    cdpd.profile("user_id:u1", anonymous_then_signed_in(cdpd))
    answer = cdpd.request("POST", "/v1/profiles/lookup", json.dumps({"refs": ["user_id:u1", "user_id:nobody"]}), {"Authorization": f"Bearer {READ_TOKEN}"})
    assert answer.status == 200, answer
    for part in ("traits", "features", "identifiers", "segments", "consents"):
        assert cdpd.get(f"/v1/profiles/user_id:u1/{part}").status == 200, part


def test_reads_need_a_token_and_say_so(cdpd):
    assert cdpd.get("/v1/profiles/user_id:u1", token=None).json["code"] == "unauthorized"
    assert cdpd.get("/v1/profiles/user_id:u1", token="wrong").status == 401
    assert cdpd.get("/v1/admin/status", token=READ_TOKEN).status == 403
    assert cdpd.get("/v1/profiles/user_id:u1", token=ADMIN_TOKEN).status == 404
    assert cdpd.get(f"/v1/profiles/user_id:u1?token={READ_TOKEN}", token=None).status in (400, 401)


def test_the_accounting_identity_holds(cdpd):
    cdpd.track("u1", "A", "1")
    cdpd.track("u1", "A", "1")
    cdpd.post("/v1/track", {"event": "nobody"})
    cdpd.post("/v1/track", b"{not json")
    events = cdpd.settled()["events"]
    assert events["received"] == 4
    assert events["applied"] + events["duplicate"] + events["rejected"] == 4
    assert cdpd.status()["balanced"] is True


def test_preflight_and_cors(cdpd):
    answer = cdpd.request("OPTIONS", "/v1/t", headers={"Origin": "https://shop.example", "Access-Control-Request-Method": "POST",
                                                       "Access-Control-Request-Headers": "authorization,x-retry-count"})
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "x-retry-count" in answer.headers["access-control-allow-headers"].lower()
    answer = cdpd.request("POST", "/v1/t", b"{", {"Origin": "https://shop.example", "Authorization": basic(WRITE_KEY)})
    assert answer.status == 400 and answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in cdpd.request("GET", "/v1/profiles/x:y", headers={"Origin": "https://shop.example"}).headers


def test_settings_keep_the_sdk_at_home(cdpd):
    answer = cdpd.get(f"/v1/projects/{WRITE_KEY}/settings", token=None)
    settings = answer.json["integrations"]["Segment.io"]
    host, port = cdpd.address()
    assert settings["apiHost"] == f"{host}:{port}/v1" and settings["protocol"] == "http"
    assert answer.json["metrics"]["sampleRate"] == 0


def test_cdpctl_shows_people_and_traces(cdpd):
    cdpd.profile("user_id:u1", anonymous_then_signed_in(cdpd))
    assert "u1@example.com" in cdpd.ctl("profile", "user_id:u1").stdout
    assert "applied" in cdpd.ctl("trace", "u1-4").stdout
    assert json.loads(cdpd.ctl("--json", "status").stdout)["balanced"] is True
    cdpd.post("/v1/track", {"event": "nobody", "messageId": "lost"})
    assert "missing_identity" in cdpd.ctl("rejects").stdout
    assert "missing_identity" in cdpd.ctl("trace", "lost").stdout
    assert cdpd.ctl("profile", "user_id:nobody", check=False).returncode != 0


def test_the_quickstart_day(stopped):
    """What packaging/quickstart.sh plays, with its own configuration."""
    stopped.as_quickstart()
    overrides = {"listen.http": "127.0.0.1:0", "store.path": stopped.data, "destinations.0.options.directory": stopped.folder / "export",
                 "journal.disk_free_min": "1MiB", "journal.ballast": "1MiB"}
    stopped.start(*[word for key, value in overrides.items() for word in ("--set", f"{key}={value}")])

    def read(path):
        return stopped.get(path, token="demo-admin-token").json

    for _ in range(2):  # twice: the second time changes nothing
        run = subprocess.run([sys.executable, str(ROOT / "packaging" / "quickstart_day.py"), stopped.url], capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr + run.stdout
    anna = read("/v1/profiles/user_id:anna")
    assert anna["features"]["orders"] == 2 and len(anna["features"]["favourites"]["values"]) == 3
    assert anna["traits"]["plan"]["value"] == "premium"
    assert (anna["features"]["country"], anna["features"]["city"]) == ("US", "Seattle")
    assert (anna["features"]["browser"], anna["features"]["came_from"]) == ("Mobile Safari", "search")
    assert anna["features"]["visits_in_the_rain"] == 2
    visit = [e["enrichment"] for e in read("/v1/profiles/user_id:anna/events?limit=100")["events"] if e["messageId"] == "till-anna-0"][0]
    assert visit["geo"]["city"] == "Seattle" and visit["weather"]["precipitation_mm"] == 27.4 and visit["weather"]["provider"] == "archive"
    orders = [e["enrichment"]["currency"] for e in read("/v1/profiles/user_id:anna/events?limit=100")["events"] if e.get("event") == "Order Completed"]
    assert len(orders) == 2 and all(order["base"] == "USD" and order["from"] == "EUR" and order["total"] > 0 for order in orders)
    assert anna["traits"]["size"]["provenance"] == "declared" and anna["traits"]["welcome.passed"]["value"] is True
    assert {i["namespace"] for i in anna["identifiers"]} == {"user_id", "email", "anonymous_id"}
    assert [c["state"] for c in anna["consents"]] == ["granted"]
    assert {"buyers", "mailable", "community"} <= set(anna["segments"])
    assert len(read("/v1/segments/mailable/members")["members"]) == 9
    events = read("/v1/admin/status")["events"]
    assert events["applied"] == events["duplicate"] > 298 and events["pending"] == 0


def test_openapi_and_unknown_routes(cdpd):
    assert b"openapi:" in cdpd.get("/openapi.yaml", token=None).body
    answer = cdpd.get("/nothing/here")
    assert answer.status == 404 and answer.json["code"] == "not_found"
    assert cdpd.request("DELETE", "/v1/track").status == 405
    assert urllib.parse.urlsplit(cdpd.url).port
