"""What destinations answer when somebody must be forgotten: in the receipt of an erasure, and beside a consent that was withdrawn."""

import json

import pytest
from cdpd import CONFIG, SERVER_KEY
from sink import Sink
from test_destinations import post, status_of, wait_for
from test_erasure import erase_and_wait

NDJSON = "  - {{{{name: {name}, plugin: ndjson, options: {{{{directory: '{{folder}}/{name}'}}}}, {more}}}}}\n"
FILE = NDJSON.format(name="file", more="records: [events]")
PEOPLE = NDJSON.format(name="people", more="records: [profiles]")
HOOK = "  - {{{{name: hook, plugin: webhook, options: {{{{url: 'http://127.0.0.1:{port}/'}}}}, http: {{{{allow: [127.0.0.1/32]}}}}}}}}\n"


def configure(daemon, destinations, extra=""):
    daemon.write_config(CONFIG + extra + "destinations:\n" + destinations)


@pytest.fixture
def sink():
    """Takes everything but notices of erasures."""
    sink = Sink(lambda request: (400, b"nobody is forgotten here") if request.json["type"] == "erased" else (204,))
    yield sink
    sink.stop()


def answers(daemon, receipt):
    return {row["name"]: row for row in daemon.get(f"/v1/erasures/{receipt['id']}").json["destinations"]}


def answer_is(daemon, receipt, name, answer):
    return wait_for(daemon, lambda: answers(daemon, receipt).get(name, {}).get("answer") == answer)


def test_an_erasure_says_what_each_destination_answered(stopped, sink):
    configure(stopped, FILE + PEOPLE + HOOK.format(port=sink.port))
    stopped.start()
    post(stopped, "/v1/admin/destinations/people/pause")
    stopped.post("/v1/identify", {"userId": "alice", "traits": {"plan": "gold"}})
    stopped.track("alice", "Order Completed")
    stopped.settled()
    receipt = erase_and_wait(stopped, "user_id:alice")
    answer_is(stopped, receipt, "file", "taken")
    answer_is(stopped, receipt, "hook", "refused")
    told = answers(stopped, receipt)
    assert told["file"]["attempts"] == 1 and told["file"]["at"] and "reason" not in told["file"]
    assert told["hook"]["at"] and "nobody is forgotten here" in told["hook"]["reason"]
    assert told["people"] == {"name": "people", "answer": "waiting", "at": None, "attempts": 0}
    listed = stopped.get("/v1/erasures").json["erasures"][0]
    assert listed["destinations"] == list(told.values())
    assert "refused, " in stopped.ctl("erase", "user_id:alice").stdout

    stopped.kill()  # what was told is on disk
    stopped.start()
    assert {name: row["answer"] for name, row in answers(stopped, receipt).items()} == {"file": "taken", "hook": "refused", "people": "waiting"}
    post(stopped, "/v1/admin/destinations/people/resume")
    answer_is(stopped, receipt, "people", "taken")

    # Handed over again it may be taken after all; who comes too late is told to be so; who is configured no more keeps what it said.
    sink.answer = lambda request: (204,)
    assert post(stopped, "/v1/admin/deadletters/redrive", {"destination": "hook"}).status == 200
    answer_is(stopped, receipt, "hook", "taken")
    configure(stopped, HOOK.format(port=sink.port) + PEOPLE + NDJSON.format(name="late", more="start: now"))
    stopped.reload()
    wait_for(stopped, lambda: "late" in answers(stopped, receipt))
    answer_is(stopped, receipt, "late", "passed_by")
    assert answers(stopped, receipt)["file"]["answer"] == "taken"


def test_a_withdrawal_shows_who_was_told(stopped):
    purposes = "consent:\n  purposes:\n    - {{name: newsletter, gates: [people, file]}}\n    - {{name: ads}}\n"
    configure(stopped, FILE + PEOPLE + NDJSON.format(name="open", more="records: [events]"), extra=purposes)
    stopped.start()

    def say(purpose, state):
        answer = stopped.post("/v1/consents", {"person": "user_id:alice", "purpose": purpose, "state": state}, key=SERVER_KEY)
        assert answer.status == 200, answer
        stopped.settled()

    def consent(purpose):
        return next(row for row in stopped.get("/v1/profiles/user_id:alice/consents").json["consents"] if row["purpose"] == purpose)

    stopped.post("/v1/identify", {"userId": "alice", "traits": {"plan": "gold"}})
    say("newsletter", "granted")
    say("ads", "granted")
    assert "destinations" not in consent("newsletter")
    wait_for(stopped, lambda: status_of(stopped, "people")["lag"] == 0 and status_of(stopped, "people")["delivered"] >= 1)
    post(stopped, "/v1/admin/destinations/people/pause")
    say("newsletter", "withdrawn")
    say("ads", "withdrawn")
    wait_for(stopped, lambda: [row["answer"] for row in consent("newsletter")["destinations"]] == ["taken", "waiting"])
    assert [row["name"] for row in consent("newsletter")["destinations"]] == ["file", "people"]  # `open` has nothing to do with it
    assert consent("ads")["destinations"] == []
    post(stopped, "/v1/admin/destinations/people/resume")
    wait_for(stopped, lambda: [row["answer"] for row in consent("newsletter")["destinations"]] == ["taken", "taken"])
    notices = [json.loads(line) for path in stopped.folder.glob("people/*.ndjson*") for line in path.read_text().splitlines()]
    assert [row["purpose"] for row in notices if row["type"] == "withdrawn"] == ["newsletter"]
