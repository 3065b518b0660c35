"""What the nats exporter makes of people and changes, against a real server; and what it does when that dies."""

import os
import signal
import time

import pytest

from exporter import Exporter, change, erased, event, gone, person, profile, record, withdrawn
from nats_server import Nats

A, B = person(1), person(2)


@pytest.fixture
def server():
    server = Nats()
    yield server
    server.close()


def connect(server, **options):
    return Exporter("nats", servers=server.url, **options)


def subjects(server, stream):
    return server.ask(f"$JS.API.STREAM.INFO.{stream}")["config"]["subjects"]


def test_a_subject_for_each_kind(server):
    with connect(server, stream="ALL", create_stream="true") as tool:
        batch = [event(A, "Order Completed"), profile(A, email="a@x.org"), change(A, "trait", traits={"plan": {"value": "pro"}}), gone(B, "merged", into=A), erased(B), withdrawn("ads", A)]
        assert tool.verdicts(*batch) == ["ACK"] * 6
    found = server.messages("ALL")
    assert [subject for subject, _, _ in found] == [
        "cdpd.events.track.Order_Completed", f"cdpd.profiles.{A}", f"cdpd.changes.trait.{A}", f"cdpd.profiles.{B}", "cdpd.events.erased._", "cdpd.events.withdrawn._"]
    assert [headers["Nats-Msg-Id"] for _, headers, _ in found] == [delivery for delivery, _ in batch]
    bodies = [body for _, _, body in found]
    assert bodies[1]["identifiers"] == {"email": ["a@x.org"]} and bodies[1]["position"].startswith("c") and bodies[1]["profileId"] == A and bodies[1]["deliveryId"] == batch[1][0]
    assert (bodies[3]["gone"], bodies[3]["mergedInto"]) == ("merged", A) and bodies[5]["purpose"] == "ads"


def test_a_stream_gets_the_subjects_that_it_lacks(server):
    with connect(server, stream="MINE", create_stream="true") as tool:
        assert tool.verdicts(event(A)) == ["ACK"]
        assert subjects(server, "MINE") == ["cdpd.events.>"]
        assert tool.verdicts(event(A), profile(A)) == ["ACK"] * 2
        assert subjects(server, "MINE") == ["cdpd.events.>", "cdpd.profiles.>"]
    server.make_stream("WIDE", ["other.>"])
    options = {"subject": "other.{kind}.{type}", "profile_subject": "other.{kind}", "change_subject": "other.{kind}.{change}"}
    with connect(server, stream="WIDE", create_stream="true", **options) as tool:
        assert tool.verdicts(event(A), profile(A), change(A, "split")) == ["ACK"] * 3
    assert subjects(server, "WIDE") == ["other.>"]
    assert [subject for subject, _, _ in server.messages("WIDE")] == ["other.events.track", "other.profiles", "other.changes.split"]


def test_without_create_stream_a_missing_subject_waits(server):
    server.make_stream("EVENTS", ["cdpd.events.>"])
    with connect(server) as tool:
        answer = tool.hand_over(event(A), profile(A))
        assert answer[0][0] == "ACK" and answer[1][0] == "RETRY" and "no stream takes the subject" in answer[1][1]
        assert subjects(server, "EVENTS") == ["cdpd.events.>"]
        server.make_stream("PEOPLE", ["cdpd.profiles.>"], max_msgs_per_subject=1)
        last = [profile(A, traits={"n": n}) for n in range(5)]
        assert set(tool.verdicts(*last)) == {"ACK"}
    assert [body["traits"] for _, _, body in server.messages("PEOPLE")] == [{"n": 4}]


def test_a_record_that_is_too_large_and_a_kind_of_tomorrow_go_alone(server):
    server.make_stream("SMALL", ["cdpd.>"], max_msg_size=3000)
    with connect(server) as tool:
        answer = tool.hand_over(profile(A), profile(B, traits={"x": "y" * 4000}), record(9, A, {"type": "tomorrow"}), event(A), profile(A, traits={"x": "y" * 2_000_000}))
        assert [verdict for verdict, _ in answer] == ["ACK", "DROP", "DROP", "ACK", "DROP"]
        assert "max_msg_size" in answer[1][1] and "does not know" in answer[2][1]
    assert server.count("SMALL") == 2


def test_kills_of_the_server_and_of_the_tool(server):
    """Everything is there, each person's in order, repetitions apart; within the window of duplicates nothing is there twice."""
    options = {"stream": "ALL", "create_stream": "true", "duplicate_window": "1h", "timeout": "3s"}
    tool, wanted = connect(server, **options), []
    for round_ in range(6):
        batch = [make(person(n % 5), traits={"n": round_ * 100 + n}) for n in range(60) for make in (profile, lambda who, traits: event(who, properties=traits))]
        wanted += [delivery for delivery, _ in batch]
        if round_ in (1, 4):
            server.kill()
            assert set(tool.verdicts(*batch)) == {"RETRY"}
            server.start()
        if round_ == 2:
            os.kill(server.process.pid, signal.SIGSTOP)
            assert set(tool.verdicts(*batch)) == {"RETRY"}
            os.kill(server.process.pid, signal.SIGCONT)
        if round_ in (3, 5):
            tool.say(batch)
            time.sleep(0.01)
            tool.kill()
            tool = connect(server, **options)
        assert set(tool.settle(*batch).values()) == {"ACK"}
    tool.close()
    found = [headers["Nats-Msg-Id"] for _, headers, _ in server.messages("ALL")]
    assert sorted(found) == sorted(wanted), "something is missing or twice"


def test_nobody_overtakes_a_record_of_theirs(server):
    """Three subjects lie in three streams, of which the one of events takes nothing more: later words on the same person come again, behind the one that waits."""
    server.make_stream("EVENTS", ["cdpd.events.>"], max_msgs=1, discard="new")
    server.make_stream("PEOPLE", ["cdpd.profiles.>"])
    with connect(server) as tool:
        assert tool.verdicts(event(B)) == ["ACK"]
        one, two, three, other = profile(A, traits={"n": 1}), event(A), profile(A, traits={"n": 3}), profile(B)
        assert tool.verdicts(one, two, three, other) == ["ACK", "RETRY", "RETRY", "ACK"]
        assert tool.verdicts(two, three) == ["RETRY", "RETRY"]
        server.ask("$JS.API.STREAM.UPDATE.EVENTS", {**server.ask("$JS.API.STREAM.INFO.EVENTS")["config"], "max_msgs": -1})
        assert tool.verdicts(two, three) == ["ACK", "ACK"]
        assert tool.verdicts(three) == ["ACK"]  # known again by its own id
    assert server.count("EVENTS") == 2
    found = [body["deliveryId"] for _, _, body in server.messages("PEOPLE")]
    assert found == [one[0], three[0], other[0], three[0], three[0]]


def test_a_big_batch(server):
    with connect(server, stream="ALL", create_stream="true", timeout="60s") as tool:
        assert set(tool.verdicts(*[event(person(n % 50)) for n in range(5000)])) == {"ACK"}
    assert server.count("ALL") == 5000
