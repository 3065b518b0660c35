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


# ── models ───────────────────────────────────────────────────────────────────

MODEL = {"provenance": "inferred", "model": {"name": "churn", "version": "2026-11"}}


def state_many(cdpd, token=ADMIN_TOKEN, **body):
    import json

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return cdpd.request("POST", "/v1/traits", json.dumps(body).encode(), headers)


def test_a_score_says_which_model_and_when(cdpd):
    answer = state(cdpd, "user_id:m", traits={"churn": 0.25}, timestamp="2026-02-03T04:05:06Z", **MODEL)
    assert answer.status == 200, answer
    score = traits(cdpd, "user_id:m", answer.headers["x-cdpd-position"])["churn"]
    assert score["model"] == {"name": "churn", "version": "2026-11", "scoredAt": "2026-02-03T04:05:06Z"}, score
    assert (score["value"], score["provenance"], score["source"]) == (0.25, "inferred", "admin")
    assert cdpd.profile("user_id:m").json["traits"]["churn"] == score
    # An older score of another model loses, a newer one wins; what was observed wins over both and has no model.
    state(cdpd, "user_id:m", traits={"churn": 0.9}, provenance="inferred", model={"name": "old"}, timestamp="2026-01-01T00:00:00Z")
    answer = state(cdpd, "user_id:m", traits={"churn": 0.3}, provenance="inferred", model={"name": "new"}, timestamp="2026-03-01T00:00:00Z")
    score = traits(cdpd, "user_id:m", answer.headers["x-cdpd-position"])["churn"]
    assert score["value"] == 0.3 and score["model"]["name"] == "new" and "version" not in score["model"]
    answer = state(cdpd, "user_id:m", traits={"churn": 1})
    found = traits(cdpd, "user_id:m", answer.headers["x-cdpd-position"])["churn"]
    assert found["value"] == 1 and "model" not in found and found["others"][0]["model"]["name"] == "new"
    cdpd.settled()
    cdpd.kill()
    cdpd.start()
    assert traits(cdpd, "user_id:m", answer.headers["x-cdpd-position"])["churn"] == found


def test_a_payload_never_chooses_its_class(cdpd):
    """What an ordinary source says of a model is an observed trait like any other."""
    answer = cdpd.post("/v1/identify", {"userId": "c", "traits": {"churn": 0.5}, "properties": {"model": {"name": "churn"}}, "provenance": "declared"}, key=SERVER_KEY)
    found = traits(cdpd, "user_id:c", answer.headers["x-cdpd-position"])["churn"]
    assert found["provenance"] == "observed" and "model" not in found


def test_scores_of_many_in_one_request(cdpd):
    position = cdpd.post("/v1/identify", {"userId": "known", "traits": {"churn": 0}}, key=SERVER_KEY).headers["x-cdpd-position"]
    known = cdpd.profile("user_id:known", position).json["id"]
    before = cdpd.settled()["events"]
    items = [{"ref": f"user_id:u{i}", "traits": {"churn": i / 10}} for i in range(5)]
    items += [{"ref": f"id:{known}", "traits": {"churn": 0.5, "tier": 1}, "messageId": "one", "timestamp": "2026-05-01T00:00:00Z"}]
    wrong = [
        {"ref": "id:" + "0" * 32, "traits": {"churn": 1}},
        {"ref": "shoe:1", "traits": {"churn": 1}},
        {"ref": "user_id:x"},
        {"traits": {"churn": 1}},
        {"ref": "user_id:x", "traits": {}},
        {"ref": "user_id:x", "traits": {"churn": 1}, "timestamp": "soon"},
        {"ref": "id:rubbish", "traits": {"churn": 1}},
        7,
    ]
    answer = state_many(cdpd, items=items + wrong, source="nightly", **MODEL)
    assert answer.status == 200 and answer.json["accepted"] == 6, answer
    told = [(row["index"], row["code"], row["pointer"]) for row in answer.json["rejected"]]
    assert told == [
        (6, "not_found", "/ref"),
        (7, "invalid_identifier", "/ref"),
        (8, "schema_violation", "/traits"),
        (9, "schema_violation", "/ref"),
        (10, "schema_violation", "/traits"),
        (11, "bad_timestamp", "/timestamp"),
        (12, "invalid_parameter", "/ref"),
        (13, "schema_violation", "/ref"),
    ]
    position = answer.headers["x-cdpd-position"]
    for i in range(5):
        score = traits(cdpd, f"user_id:u{i}", position)["churn"]
        assert (score["value"], score["source"], score["model"]["name"], score["model"]["version"]) == (i / 10, "nightly", "churn", "2026-11")
    found = traits(cdpd, "user_id:known", position)
    assert found["churn"]["value"] == 0 and found["churn"]["others"][0]["model"]["scoredAt"] == "2026-05-01T00:00:00Z"
    assert found["tier"]["value"] == 1
    after = cdpd.settled()["events"]
    assert after["received"] - before["received"] == 14 and after["applied"] - before["applied"] == 6, (before, after)
    # A resend with message ids is idempotent.
    assert state_many(cdpd, items=[items[5]], source="nightly", **MODEL).status == 200
    assert cdpd.settled()["events"]["applied"] == after["applied"]


@pytest.mark.parametrize(
    "body, pointer",
    [
        ({"items": []}, "/items"),
        ({"items": {}}, "/items"),
        ({}, "/items"),
        ({"items": [{"ref": "user_id:x", "traits": {"a": 1}}], "provenance": "guessed"}, "/provenance"),
        ({"items": [{"ref": "user_id:x", "traits": {"a": 1}}], "model": {"name": "m"}}, "/model"),
        ({"items": [{"ref": "user_id:x", "traits": {"a": 1}}], "provenance": "inferred", "model": "m"}, "/model"),
        ({"items": [{"ref": "user_id:x", "traits": {"a": 1}}], "provenance": "inferred", "model": {}}, "/model/name"),
        ({"items": [{"ref": "user_id:x", "traits": {"a": 1}}], "provenance": "inferred", "model": {"name": "m" * 65}}, "/model/name"),
        ({"items": [{"ref": "user_id:x", "traits": {"a": 1}}], "provenance": "inferred", "model": {"name": "m", "version": "v" * 65}}, "/model/version"),
        ({"items": [{"ref": "user_id:x", "traits": {"a": 1}}], "timestamp": "soon"}, "/timestamp"),
    ],
)
def test_what_is_refused_of_many(cdpd, body, pointer):
    answer = state_many(cdpd, **body)
    assert answer.status == 400 and answer.json["pointer"] == pointer, answer
    assert cdpd.settled()["events"]["applied"] == 0


def test_a_request_of_many_is_one_transaction_up_to_the_limit(tmp_path):
    with running(extra="limits:\n  batch_events: 10\n") as cdpd:
        items = [{"ref": f"user_id:{i}", "traits": {"a": 1}} for i in range(21)]
        assert state_many(cdpd, items=items).status == 413
        answer = state_many(cdpd, items=items[:12])
        assert answer.json["accepted"] == 10 and [row["index"] for row in answer.json["rejected"]] == [10, 11]


def test_who_may_state_of_many(cdpd):
    body = {"items": [{"ref": "user_id:x", "traits": {"a": 1}}]}
    assert state_many(cdpd, token=None, **body).status == 401
    assert state_many(cdpd, token=READ_TOKEN, **body).status == 403


def test_a_segment_on_a_score():
    extra = "segments:\n  - name: at_risk\n    when:\n      trait: churn\n      at_least: 0.5\n"
    with running(extra=extra) as cdpd:
        answer = state_many(cdpd, items=[{"ref": f"user_id:{i}", "traits": {"churn": i / 10}} for i in range(10)], **MODEL)
        cdpd.profile("user_id:9", answer.headers["x-cdpd-position"])
        members = cdpd.get("/v1/segments/at_risk/members").json
        assert len(members["members"]) == 5, members
        answer = state(cdpd, "user_id:9", traits={"churn": 0.1}, **MODEL)
        assert cdpd.profile("user_id:9", answer.headers["x-cdpd-position"]).json["segments"] == []
