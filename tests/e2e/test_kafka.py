"""The kafka destination in the real daemon: nothing lost, delivery ids stable, each person's order kept, whoever is killed."""

import time

import pytest
from cdpd import ADMIN_TOKEN, CONFIG
from kafka import Broker, Mock
from ledger import Ledger

DESTINATION = """\
destinations:
  - name: stream
    plugin: kafka
    options: {{brokers: ["BROKERS"], topic: "cdpd.{{type}}", timeout: 3s, settings: ["linger.ms=1", "reconnect.backoff.max.ms=500"]}}
"""


@pytest.fixture
def mock():
    broker = Mock()
    yield broker
    broker.close()


@pytest.fixture
def broker(tmp_path):
    server = Broker(tmp_path / "kafka")
    try:
        server.start()
        yield server
    finally:
        server.close()


def configure(daemon, broker):
    daemon.write_config(CONFIG + DESTINATION.replace("BROKERS", broker.brokers))
    return daemon


def wait_for(broker, wanted, daemon, timeout=90):
    deadline = time.monotonic() + timeout
    while True:
        rows = broker.peek("cdpd.track")
        missing = wanted - {row[4] for row in rows}
        if not missing:
            return rows
        assert time.monotonic() < deadline, f"{len(missing)} missing\n{daemon.log_text()[-3000:]}"
        time.sleep(0.2)


def check(rows, ordered):
    """`ordered`: message ids of each person in the order in which they were taken."""
    ids, first = {}, {}
    for partition, offset, key, delivery, message, _ in rows:
        assert ids.setdefault(message, delivery) == delivery, f"{message} has two delivery ids"
        seen = first.setdefault(key, [])
        if message not in seen:
            seen.append(message)
    assert len(set(ids.values())) == len(ids)
    for key, expected in ordered.items():
        assert first[key] == expected, f"the order of {key}"


def taken_order(daemon, users):
    """Of each profile id, the order in which its events were taken."""
    daemon.settled()
    order = {}
    for user in users:
        answer = daemon.profile(f"user_id:{user}")
        if answer.status == 200:
            order[answer.json["id"]] = [event["messageId"] for event in reversed(daemon.events(f"user_id:{user}"))]
    return order


def send(daemon, tag, count, users=3):
    for n in range(count):
        # event times count up, so a person's events are listed in the order in which they were taken
        daemon.track(f"u{n % users}", "A", f"{tag}-{n:04d}")
    return {f"{tag}-{n:04d}" for n in range(count)}


def test_a_broker_that_goes_and_comes_back(stopped, mock):
    configure(stopped, mock).start()
    wanted = send(stopped, "up", 30)
    wait_for(mock, wanted, stopped)
    mock.say("down")
    wanted |= send(stopped, "down", 30)
    deadline = time.monotonic() + 60
    while not any(d["failing"] for d in stopped.get("/v1/admin/destinations").json["destinations"]):
        assert time.monotonic() < deadline, stopped.log_text()
        time.sleep(0.1)
    mock.say("up")
    rows = wait_for(mock, wanted, stopped)
    check(rows, taken_order(stopped, ["u0", "u1", "u2"]))
    metrics = stopped.get("/metrics").body.decode()
    assert 'cdpd_plugin_kafka_records_total{instance="stream"}' in metrics


def test_kill_9_repeats_at_most_and_never_skips(stopped, mock):
    configure(stopped, mock)
    ledger = Ledger(users=3)
    for round_ in range(4):
        stopped.start()
        ledger.tag = f"k{round_}"
        ledger.load(stopped, clients=2)
        time.sleep(0.5)
        stopped.kill()
        ledger.join()
    stopped.start()
    stopped.settled()
    rows = wait_for(mock, set().union(*ledger.confirmed.values()), stopped)
    check(rows, {})


def test_an_erased_person_is_told(stopped, mock):
    configure(stopped, mock).start()
    send(stopped, "e", 3, users=1)
    person = stopped.profile("user_id:u0", stopped.track("u0", "A", "last")).json["id"]
    answer = stopped.request("DELETE", "/v1/profiles/user_id:u0", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert answer.status in (200, 202), answer
    deadline = time.monotonic() + 60
    while not (rows := mock.peek("cdpd.erased")):
        assert time.monotonic() < deadline, stopped.log_text()
        time.sleep(0.2)
    assert rows[0][2] == person and '"type":"erased"' in rows[0][5]


def test_apache_kafka(stopped, broker):
    """The real broker: cdpd is killed, the broker is killed, everything arrives, in order."""
    configure(stopped, broker).start()
    wanted = send(stopped, "a", 100)
    wait_for(broker, wanted, stopped)
    stopped.kill()
    stopped.start()
    wanted |= send(stopped, "b", 100)
    stopped.kill()
    broker.kill()
    stopped.start()
    wanted |= send(stopped, "c", 100)
    broker.start()
    rows = wait_for(broker, wanted, stopped, timeout=180)
    check(rows, taken_order(stopped, ["u0", "u1", "u2"]))


def test_a_stop_does_not_wait_for_a_broker(stopped, mock):
    daemon = configure(stopped, mock)
    daemon.write_config(daemon.config_file.read_text().replace("timeout: 3s", "timeout: 25s").replace("{", "{{").replace("}", "}}"))
    daemon.start()
    wanted = send(daemon, "up", 3)
    wait_for(mock, wanted, daemon)
    mock.say("down")
    wanted |= send(daemon, "down", 3)
    daemon.settled()
    time.sleep(0.5)  # it is most likely inside export_batch now; the stop must end well in any case
    assert daemon.stop(timeout=60) == 0, daemon.log_text()
    mock.say("up")
    daemon.start()
    check(wait_for(mock, wanted, daemon), {})
