"""What the kafka exporter makes of people and changes, on a real broker where there is one; and what it does when that dies."""

import json

import pytest

from exporter import Exporter, change, erased, event, gone, person, profile, record
from kafka import Broker, Mock

A, B = person(1), person(2)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    server = Broker(tmp_path_factory.mktemp("kafka") / "kafka")
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def mock():
    broker = Mock()
    yield broker
    broker.close()


def connect(broker, **options):
    return Exporter("kafka", brokers=broker.brokers, **{"timeout": "20s", **options})


def by_key(rows):
    """Of each key the delivery ids by first appearance: what a reader sees that leaves repetitions out."""
    found = {}
    for _, _, key, delivery, _, _ in rows:
        seen = found.setdefault(key, [])
        if delivery not in seen:
            seen.append(delivery)
    return found


def check_kinds(broker):
    with connect(broker, gone="tombstone", settings="linger.ms=1") as tool:
        batch = [event(A), profile(A, email="a@x.org"), change(A, "profile"), gone(B, "merged", into=A), erased(B)]
        assert set(tool.settle(*batch).values()) == {"ACK"}
    assert [(row[2], row[3]) for row in sorted(broker.peek("cdpd.events"), key=lambda row: row[2])] == [(A, batch[0][0]), (B, batch[4][0])]
    people = {row[2]: row[5] for row in broker.peek("cdpd.profiles")}
    assert json.loads(people[A])["identifiers"] == {"email": ["a@x.org"]} and people[B] == ""
    assert json.loads(broker.peek("cdpd.changes")[0][5])["kind"] == "profile"


def test_kinds(mock):
    check_kinds(mock)


def test_kinds_on_apache_kafka(broker):
    check_kinds(broker)


def test_kills_of_apache_kafka_and_of_the_tool(broker):
    options = {"topic": "kills", "settings": "linger.ms=1,reconnect.backoff.max.ms=500", "timeout": "5s"}
    tool, wanted = connect(broker, **options), {}
    for round_ in range(5):
        batch = [profile(person(n % 7), traits={"n": round_ * 100 + n}) for n in range(100)]
        for n, (delivery, _) in enumerate(batch):
            wanted.setdefault(person(n % 7), []).append(delivery)
        if round_ == 1:
            broker.kill()
            assert set(tool.verdicts(*batch)) == {"RETRY"}
            broker.start()
        if round_ in (2, 4):
            tool.say(batch)
            tool.kill()
            tool = connect(broker, **options)
        assert set(tool.settle(*batch).values()) == {"ACK"}
    tool.close()
    assert by_key(broker.peek("kills")) == wanted


def test_too_large_and_unknown_records_go_alone(broker):
    with connect(broker, topic="large", compression="none", settings="message.max.bytes=3000000") as tool:
        tool.settle(event(A))
        # the client takes it, the broker (message.max.bytes: 1 MB) does not
        answer = tool.hand_over(profile(A), profile(B, traits={"x": "y" * 2_000_000}), record(9, A, {"type": "tomorrow"}), profile(A), profile(B, traits={"x": "y" * 4_000_000}))
        verdicts = [verdict for verdict, _ in answer]
        assert verdicts == ["ACK", "DROP", "DROP", "ACK", "DROP"], answer
        assert "message.max.bytes" in answer[4][1]
    assert len(broker.peek("large")) == 3


def test_a_big_batch(mock):
    with connect(mock, topic="big") as tool:
        batch = [event(person(n % 50)) for n in range(5000)]
        assert set(tool.settle(*batch).values()) == {"ACK"}
    assert len(mock.peek("big")) >= 5000
