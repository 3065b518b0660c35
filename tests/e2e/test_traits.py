"""Traits that servers and models state: provenance, source, what wins, idempotence, and who may."""

import pytest
from cdpd import ADMIN_TOKEN, READ_TOKEN, SERVER_KEY, running


def state(cdpd, ref, token=ADMIN_TOKEN, **body):
    import json
    import urllib.parse

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return cdpd.request("POST", f"/v1/profiles/{urllib.parse.quote(ref, safe=':')}/traits", json.dumps(body).encode(), headers)


def traits(cdpd, ref, position):
    answer = cdpd.get(f"/v1/profiles/{ref}/traits?min_position={position}")
    assert answer.status == 200, answer
    return answer.json["traits"]


def test_a_model_never_hides_what_was_observed_or_declared(cdpd):
    cdpd.post("/v1/identify", {"userId": "u", "traits": {"plan": "free"}}, key=SERVER_KEY)
    first = state(cdpd, "user_id:u", traits={"plan": "gold", "risk": 0.5}, provenance="inferred", source="model-7")
    assert first.status == 200 and first.json["accepted"] == 1
    found = traits(cdpd, "user_id:u", first.headers["x-cdpd-position"])
    assert found["plan"]["value"] == "free" and found["plan"]["provenance"] == "observed"
    assert [(other["value"], other["provenance"], other["source"]) for other in found["plan"]["others"]] == [("gold", "inferred", "model-7")]
    assert found["risk"]["value"] == 0.5 and found["risk"]["provenance"] == "inferred" and found["risk"]["source"] == "model-7"

    second = state(cdpd, "user_id:u", traits={"plan": "platinum"}, provenance="declared", source="crm")
    found = traits(cdpd, "user_id:u", second.headers["x-cdpd-position"])
    assert found["plan"]["value"] == "platinum" and found["plan"]["provenance"] == "declared"
    third = state(cdpd, "user_id:u", traits={"risk": 0.7})
    found = traits(cdpd, "user_id:u", third.headers["x-cdpd-position"])
    assert found["risk"]["value"] == 0.7 and found["risk"]["provenance"] == "observed" and found["risk"]["source"] == "admin"


def test_it_is_an_event_that_survives_and_counts_once(cdpd):
    for _ in range(2):
        answer = state(cdpd, "user_id:v", traits={"tier": 1}, source="batch", messageId="run-1", timestamp="2026-01-02T03:04:05Z")
        assert answer.status == 200
    cdpd.settled()
    events = cdpd.events("user_id:v")
    assert [(event["type"], event["sourceId"], event["messageId"], event["timestamp"]) for event in events] == [("identify", "batch", "run-1", "2026-01-02T03:04:05Z")]
    cdpd.kill()
    cdpd.start()
    profile = cdpd.profile("user_id:v", answer.headers["x-cdpd-position"]).json
    assert profile["traits"]["tier"]["value"] == 1 and profile["features"]["events"] == 1


def test_it_is_nothing_the_person_did(cdpd):
    position = cdpd.track("w", "Seen", timestamp="2026-03-01T00:00:00Z", key=SERVER_KEY)
    before = cdpd.profile("user_id:w", position).json["lastSeen"]
    answer = state(cdpd, "user_id:w", traits={"risk": 1}, provenance="inferred")
    assert cdpd.profile("user_id:w", answer.headers["x-cdpd-position"]).json["lastSeen"] == before


def test_by_email_and_by_profile_id(cdpd):
    answer = state(cdpd, "email:ada@example.org", traits={"tier": 2})
    assert answer.status == 200, answer
    profile = cdpd.profile("email:ada@example.org", answer.headers["x-cdpd-position"]).json
    assert profile["traits"]["tier"]["value"] == 2
    answer = state(cdpd, f"id:{profile['id']}", traits={"tier": 3})
    assert answer.status == 200, answer
    again = cdpd.profile("email:ada@example.org", answer.headers["x-cdpd-position"]).json
    assert again["id"] == profile["id"] and again["traits"]["tier"]["value"] == 3


@pytest.mark.parametrize(
    "ref, body, status, code, pointer",
    [
        ("user_id:x", {"traits": {}}, 400, "schema_violation", "/traits"),
        ("user_id:x", {"traits": [1]}, 400, "schema_violation", "/traits"),
        ("user_id:x", {}, 400, "schema_violation", "/traits"),
        ("user_id:x", {"traits": {"a": 1}, "provenance": "guessed"}, 400, "schema_violation", "/provenance"),
        ("user_id:x", {"traits": {"a": 1}, "source": "a b"}, 400, "schema_violation", "/source"),
        ("user_id:x", {"traits": {"a": 1}, "source": "s" * 65}, 400, "schema_violation", "/source"),
        ("user_id:x", {"traits": {"a": 1}, "timestamp": "soon"}, 400, "bad_timestamp", "/timestamp"),
        ("user_id:x", {"traits": {"a": 1}, "messageId": "m" * 101}, 413, "too_large", "/messageId"),
        ("nobody", {"traits": {"a": 1}}, 400, "invalid_identifier", "/ref"),
        ("shoe_size:42", {"traits": {"a": 1}}, 400, "invalid_identifier", "/ref"),
        ("email:a@example.org", {"traits": {"email": "b@example.org"}}, 400, "invalid_identifier", "/traits"),
        ("id:" + "0" * 32, {"traits": {"a": 1}}, 404, "not_found", "/ref"),
        ("user_id:x", {"traits": {"a": "x" * 70000}}, 413, "too_large", ""),
    ],
)
def test_what_is_refused(cdpd, ref, body, status, code, pointer):
    answer = state(cdpd, ref, **body)
    assert (answer.status, answer.json["code"], answer.json["pointer"]) == (status, code, pointer), answer


def test_who_may(cdpd):
    assert state(cdpd, "user_id:x", token=None, traits={"a": 1}).status == 401
    assert state(cdpd, "user_id:x", token=READ_TOKEN, traits={"a": 1}).status == 403
    assert cdpd.post("/v1/profiles/user_id:x/traits", {"traits": {"a": 1}}, key=SERVER_KEY).status == 401


def test_privacy_rules_hold_here_too(tmp_path):
    extra = "privacy:\n  drop: [traits.ssn]\n"
    with running(extra=extra) as cdpd:
        answer = state(cdpd, "user_id:p", traits={"ssn": "123-45-6789", "tier": 1})
        assert answer.status == 200, answer
        assert set(traits(cdpd, "user_id:p", answer.headers["x-cdpd-position"])) == {"tier"}
