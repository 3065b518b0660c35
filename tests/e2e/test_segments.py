"""Segments over HTTP: definitions, members, profiles, the filtered feed, a reload that adds and removes them, a restart."""

import subprocess
import time

import pytest
from cdpd import CONFIG, running
from test_changes import Stream

SEGMENTS = """
segments:
  - {{name: buyers, when: {{feature: orders, at_least: 1}}}}
  - name: big_spenders
    when: {{all: [{{segment: buyers}}, {{feature: revenue, greater: 100}}]}}
  - {{name: active, when: {{field: last_seen, within: 30d}}}}
  - {{name: only_u3, when: {{identifier: user_id, is: u3}}}}
"""
LATER = """
segments:
  - {{name: buyers, when: {{feature: orders, at_least: 2}}}}
  - {{name: seen, when: {{field: event_count, at_least: 1}}}}
"""


@pytest.fixture
def shop():
    with running(extra=SEGMENTS) as daemon:
        yield daemon


def wait_for(condition, timeout=60):
    """What it returns once it is true: for whatever needs no fixed time."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError("it never came true")


def segments(daemon):
    answer = daemon.get("/v1/segments")
    assert answer.status == 200, answer
    return {segment["name"]: segment for segment in answer.json["segments"]}


def members(daemon, name, **query):
    found, cursor = [], ""
    while True:
        answer = daemon.get(f"/v1/segments/{name}/members?limit={query.get('limit', 2)}{cursor}")
        assert answer.status == 200, answer
        found += answer.json["members"]
        if not answer.json["next"]:
            return found
        cursor = f"&cursor={answer.json['next']}"


def test_reading(shop):
    for n in range(5):
        position = shop.track(f"u{n}", "Order Completed", properties={"total": n * 40})
    profile = shop.profile("user_id:u3", position).json
    assert profile["segments"] == ["active", "big_spenders", "buyers", "only_u3"]
    part = shop.get("/v1/profiles/user_id:u1/segments").json
    assert part["segments"] == ["active", "buyers"] and part["now"] and part["position"]
    assert "active big_spenders buyers only_u3" in shop.ctl("profile", "user_id:u3").stdout
    listed = segments(shop)
    assert {name: segment["members"] for name, segment in listed.items()} == {"buyers": 5, "big_spenders": 2, "active": 5, "only_u3": 1}
    one = shop.get("/v1/segments/big_spenders").json
    assert one["members"] == 2 and one["when"]["all"][1] == {"name": "revenue", "op": "greater", "source": "feature", "value": 100}
    found = members(shop, "buyers")
    assert sorted(member["identifier"] for member in found) == [f"user_id:u{n}" for n in range(5)]
    assert len({member["id"] for member in found}) == 5 and all(member["since"] for member in found)
    assert [member["identifier"] for member in members(shop, "only_u3")] == ["user_id:u3"]
    assert found[0]["id"] == shop.profile(found[0]["identifier"]).json["id"]


def test_refusals(shop):
    assert shop.get("/v1/segments/nobody").json["code"] == "not_found"
    assert shop.get("/v1/segments/nobody/members").status == 404
    assert shop.get("/v1/segments/buyers/members?cursor=x").json["code"] == "invalid_parameter"
    assert shop.get("/v1/segments/buyers/members?limit=0").status == 400
    assert shop.get("/v1/segments", token=None).status == 401
    assert shop.get("/v1/segments/" + "x" * 500).status == 404


def test_the_feed(shop):
    stream = Stream(shop, "?segment=big_spenders")
    everything = Stream(shop, "?kind=segment")
    shop.track("u1", "Order Completed", properties={"total": 60})
    shop.track("u1", "Order Completed", properties={"total": 60})
    _, kind, data = stream.next()
    assert kind == "segment" and data["segment"] == "big_spenders" and data["entered"] is True and data["why"] == "event"
    assert data["profile"] == shop.profile("user_id:u1").json["id"] and data["position"]
    seen = [everything.next()[2]["segment"] for _ in range(3)]
    assert sorted(seen) == ["active", "big_spenders", "buyers"]
    stream.close()
    everything.close()


def test_in_and_out_in_one_request_is_two_changes_each():
    config = CONFIG + "\nsegments:\n  - {{name: gold, when: {{trait: plan, is: gold}}}}\n"
    with running(config) as daemon:
        stream = Stream(daemon, "?segment=gold")
        plans = ["gold", "free"] * 20
        times = [f"2026-01-01T00:00:{n:02d}Z" for n in range(len(plans))]
        batch = [{"type": "identify", "userId": "u1", "timestamp": at, "traits": {"plan": plan}} for at, plan in zip(times, plans)]
        assert daemon.post("/v1/batch", {"batch": batch}).status == 200
        assert [stream.next()[2]["entered"] for _ in plans] == [plan == "gold" for plan in plans]
        stream.close()


def test_a_reload_changes_segments(shop):
    for n in range(4):
        position = shop.track(f"u{n}", "Order Completed")
    shop.profile("user_id:u0", shop.track("u0", "Order Completed"))
    stream = Stream(shop, "?segment=seen,only_u3,buyers")
    shop.write_config(CONFIG + LATER)
    shop.reload()
    wait_for(lambda: "seen" in segments(shop) and segments(shop)["seen"]["members"] == 4)
    wait_for(lambda: shop.status()["segments"]["evaluating"] is None)
    assert {name: segment["members"] for name, segment in segments(shop).items()} == {"buyers": 1, "seen": 4}
    assert shop.profile("user_id:u0").json["segments"] == ["buyers", "seen"]
    changes = [stream.next()[2] for _ in range(4 + 3 + 1)]
    assert {change["why"] for change in changes} == {"definition"} and len({change["position"] for change in changes}) == 1
    told = sorted((change["segment"], change["entered"]) for change in changes)
    assert told == [("buyers", False)] * 3 + [("only_u3", False)] + [("seen", True)] * 4
    stream.close()
    assert "Segments  2 defined, everybody evaluated" in shop.ctl("status").stdout


def test_counts_survive_a_kill(shop):
    for n in range(20):
        position = shop.track(f"u{n}", "Order Completed", properties={"total": 1000})
    shop.profile("user_id:u0", position)
    before = {name: segment["members"] for name, segment in segments(shop).items()}
    shop.kill()
    shop.start()
    assert {name: segment["members"] for name, segment in segments(shop).items()} == before
    assert before == {"buyers": 20, "big_spenders": 20, "active": 20, "only_u3": 1}
    status = shop.status()["segments"]
    assert status["defined"] == 4 and status["nextDueAt"] and status["held"] is False and status["evaluating"] is None


def test_time_alone_moves_people_after_a_restart_too():
    config = CONFIG + "\nsegments:\n  - {{name: here, when: {{field: last_seen, within: 1s}}}}\n"
    with running(config) as daemon:
        stream = Stream(daemon, "?segment=here")
        daemon.track("u1", "A")
        assert stream.next()[2]["entered"] is True
        last, _, left = stream.next()  # nothing is sent: the journal ticks
        assert left["entered"] is False and left["why"] == "time" and left["dueAt"] <= left["at"]
        assert daemon.profile("user_id:u1").json["segments"] == []
        position = daemon.track("u2", "A")
        daemon.profile("user_id:u2", position)
        daemon.kill()
        daemon.start()
        resumed = Stream(daemon, "?segment=here", last_id=last)
        assert [resumed.next()[2]["entered"] for _ in range(2)] == [True, False]
        wait_for(lambda: segments(daemon)["here"]["members"] == 0)


def test_a_login_moves_memberships(shop):
    shop.post("/v1/track", {"anonymousId": "a1", "event": "Order Completed", "properties": {"total": 70}})
    position = shop.track("u1", "Order Completed", properties={"total": 70})
    shop.profile("user_id:u1", position)
    position = shop.post("/v1/identify", {"userId": "u1", "anonymousId": "a1"}).headers["x-cdpd-position"]
    assert shop.profile("anonymous_id:a1", position).json["segments"] == ["active", "big_spenders", "buyers"]
    assert segments(shop)["buyers"]["members"] == 1
    assert [member["identifier"] for member in members(shop, "big_spenders")] == ["user_id:u1"]


def test_bad_segments_are_refused_with_their_line(shop):
    shop.write_config(CONFIG + "\nsegments:\n  - {{name: a, when: {{feature: ordres, at_least: 1}}}}\n")
    line = shop.config_file.read_text().splitlines().index("  - {name: a, when: {feature: ordres, at_least: 1}}") + 1
    run = subprocess.run(shop.command("-n"), capture_output=True, text=True, timeout=60)
    assert run.returncode != 0 and f"cdpd.yaml:{line}: " in run.stderr and "did you mean 'orders'" in run.stderr
    shop.reload()
    wait_for(lambda: "reload refused" in shop.log_text())
    assert "buyers" in segments(shop)


def test_metrics(shop):
    shop.profile("user_id:u1", shop.track("u1", "Order Completed"))
    text = shop.get("/metrics").body.decode()
    assert 'cdpd_segment_changes_total{direction="entered"} 2' in text
    assert "cdpd_segment_scan_percent 100" in text
    for name in ("cdpd_due_fired_total", "cdpd_due_next_timestamp_seconds", "cdpd_segment_scan_profiles_total"):
        assert f"\n{name} " in text
