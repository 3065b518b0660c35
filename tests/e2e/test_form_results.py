"""What was answered, counted once a person: through second answers, merges, unmerges, erasures, expiry and new versions."""

import json
import threading
import time

import pytest
from cdpd import ADMIN_TOKEN, READ_TOKEN, SERVER_KEY, running

EXTRA = """\
forms:
  - name: meet
    kind: poll
    results: public
    questions:
      - {{id: day, type: single, text: Which day?, options: [friday, saturday, 7]}}
      - {{id: food, type: multiple, text: Food?, options: [soup, bread, cake]}}
      - {{id: nps, type: scale, text: Recommend?, min: 0, max: 10}}
      - {{id: age, type: number, text: Age?, min: 0}}
      - {{id: why, type: text, text: Why?}}
      - {{id: soon, type: single, text: Soon?, options: ["yes", "no"], expires: 1s}}
  - {{name: closed, questions: [{{id: a, type: single, text: A?, options: [x, y]}}]}}
"""


@pytest.fixture(name="daemon")
def _daemon():
    with running(extra=EXTRA) as daemon:
        yield daemon


def answer(daemon, person, form="meet", refused=(), **answers):
    key, value = person.split(":")
    body = {{"user_id": "userId", "anonymous_id": "anonymousId"}[key]: value, "partial": True, "answers": answers, "refused": list(refused)}
    given = daemon.post(f"/v1/forms/{form}/responses", body, key=SERVER_KEY)
    assert given.status == 200, given
    return given.headers["x-cdpd-position"]


def results(daemon, position, form="meet"):
    while True:
        counted = daemon.get(f"/v1/forms/{form}/results?min_position={position}", token=READ_TOKEN)
        if counted.status != 429:
            break
    assert counted.status == 200, counted
    return counted.json


def question(counted, name):
    return next(q for q in counted["questions"] if q["id"] == name)


def counts(counted, name):
    q = question(counted, name)
    return {row["value"]: row["count"] for row in q.get("options", q.get("histogram")) if row["count"]}


def act(daemon, verb, a, b):
    done = daemon.request("POST", f"/v1/profiles/{verb}", json.dumps({"a": a, "b": b}).encode(), {"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert done.status == 200, done
    return done.headers["x-cdpd-position"]


def test_every_type_is_counted_and_no_text_is_told(daemon):
    answer(daemon, "user_id:u1", day="friday", food=["soup", "cake"], nps=10, age=40, why="secret words")
    answer(daemon, "user_id:u2", day=7, food=["soup"], nps=7, age=20.5)
    answer(daemon, "user_id:u3", refused=["day"], food=[], nps=10)
    answer(daemon, "user_id:u4", form="closed", a="x")
    position = answer(daemon, "user_id:u5", refused=["day", "nps"])
    counted = results(daemon, position)
    assert counted["form"] == "meet" and counted["kind"] == "poll" and counted["exact"] and counted["respondents"] == 3
    assert counts(counted, "day") == {"friday": 1, 7: 1} and question(counted, "day")["refused"] == 2
    assert counts(counted, "food") == {"soup": 2, "cake": 1} and question(counted, "food")["answered"] == 3
    assert counts(counted, "nps") == {7: 1, 10: 2} and question(counted, "nps")["mean"] == 9 and len(question(counted, "nps")["histogram"]) == 11
    assert question(counted, "age")["mean"] == 30.25
    assert question(counted, "why") == {"id": "why", "type": "text", "answered": 1, "refused": 0}
    assert "secret" not in json.dumps(counted)
    assert [(v["version"], v["respondents"]) for v in counted["versions"]] == [(1, 3)]
    assert results(daemon, position, "closed")["respondents"] == 1
    assert "day (single): 2 answered, 2 refused" in daemon.ctl("forms", "results", "meet").stdout


def test_who_may_see_them(daemon):
    position = answer(daemon, "user_id:u1", day="friday")
    results(daemon, position)
    assert daemon.get("/v1/forms/meet/results", token=None).json["respondents"] == 1
    assert daemon.get("/v1/forms/meet/results", token="nonsense").status == 401
    assert daemon.get("/v1/forms/closed/results", token=None).status == 401
    assert daemon.get("/v1/forms/closed/results", token=READ_TOKEN).json["respondents"] == 0
    assert daemon.get("/v1/forms/nobody/results", token=READ_TOKEN).status == 404


def test_a_person_counts_once_whatever_becomes_of_them(daemon):
    answer(daemon, "user_id:u1", day="friday")
    position = answer(daemon, "user_id:u1", day="saturday", nps=1)
    assert counts(results(daemon, position), "day") == {"saturday": 1}
    position = answer(daemon, "anonymous_id:a1", day="friday", nps=9)
    assert counts(results(daemon, position), "day") == {"saturday": 1, "friday": 1}

    position = act(daemon, "merge", "user_id:u1", "anonymous_id:a1")
    merged = results(daemon, position)
    assert merged["respondents"] == 1 and counts(merged, "day") == {"friday": 1} and counts(merged, "nps") == {9: 1}, "the newest answer of the person"
    position = act(daemon, "unmerge", "user_id:u1", "anonymous_id:a1")
    assert counts(results(daemon, position), "day") == {"saturday": 1, "friday": 1}

    gone = daemon.request("DELETE", "/v1/profiles/user_id:u1", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert gone.status == 202, gone
    left = results(daemon, daemon.track("other", "Anything"))
    while left["respondents"] > 1:
        left = results(daemon, daemon.track("other", "Anything"))
    assert left["respondents"] == 1 and counts(left, "day") == {"friday": 1}


def test_an_expired_answer_does_not_count(daemon):
    position = answer(daemon, "user_id:u1", soon="yes")
    first = results(daemon, position)
    while counts(first, "soon"):
        time.sleep(0.1)
        first = results(daemon, daemon.track("other", "Anything"))
    assert first["respondents"] == 0 and question(first, "soon")["answered"] == 0
    # Who refused, answered, and whose answer ran out may be asked again: that is no refusal.
    answer(daemon, "user_id:u2", refused=["soon"])
    assert question(results(daemon, daemon.track("other", "Anything")), "soon")["refused"] == 1
    answer(daemon, "user_id:u2", soon="no")
    time.sleep(1.1)
    asked = question(results(daemon, daemon.track("other", "Anything")), "soon")
    assert asked["refused"] == 0 and asked["answered"] == 0


def test_versions_are_told_apart(daemon):
    def put(**changes):
        definition = {"kind": "poll", "questions": [{"id": "a", "type": "single", "text": "A?", "options": ["x", "y"], **changes}]}
        put = daemon.request("PUT", "/v1/admin/forms/made", json.dumps(definition).encode(), {"Authorization": f"Bearer {ADMIN_TOKEN}"})
        assert put.status in (200, 201), put

    put()
    for user in range(3):
        answer(daemon, f"user_id:u{user}", form="made", a="y")
    put(options=["x", "z"])
    position = answer(daemon, "user_id:u0", form="made", a="z")
    counted = results(daemon, position, "made")
    assert counted["respondents"] == 3 and counts(counted, "a") == {"z": 1} and question(counted, "a")["other"] == 2
    assert [(v["version"], v["respondents"], v["questions"][0]["other"]) for v in counted["versions"]] == [(1, 2, 2), (2, 1, 0)]
    put(options=["x", "z"], trait="made.other_name")
    position = answer(daemon, "user_id:u0", form="made", a="x")
    counted = results(daemon, position, "made")
    assert counted["respondents"] == 3 and counts(counted, "a") == {"x": 1}, "two traits, one question, one person"


def test_nobody_is_counted_twice_while_people_join_and_part(daemon):
    people = 300
    batch = []
    for i in range(people):
        position = answer(daemon, f"anonymous_id:a{i}", day="friday")
        batch.append(i)
    stop = threading.Event()

    def shuffle():
        for turn in range(1000):
            if stop.is_set():
                return
            i = turn % (people // 2)
            daemon.post("/v1/identify", {"userId": f"u{i}", "anonymousId": f"a{i}", "messageId": f"m{turn}"}, key=SERVER_KEY)

    thread = threading.Thread(target=shuffle)
    thread.start()
    try:
        for turn in range(20):
            counted = results(daemon, daemon.track("other", "Anything"))
            assert counted["respondents"] == people and counts(counted, "day") == {"friday": people}, turn
    finally:
        stop.set()
        thread.join()
