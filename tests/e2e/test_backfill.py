"""A new feature counts what the journal still holds from before its definition: over kills, for segments too, and as the first one did."""

import random
import time

from cdpd import CONFIG, Daemon
from test_segments import wait_for

LATE = """
  - {{name: late_events, type: count}}
  - {{name: late_revenue, type: sum, event: Order Completed, field: properties.total}}
  - {{name: late_first, type: first, event: Order Completed, field: properties.total}}
"""
SEGMENTS = """
segments:
  - {{name: never_ordered, when: {{feature: late_revenue, is: 0}}}}
"""
USERS = 20


def send(daemon, count, first=0):
    for start in range(first, first + count, 500):
        batch = [{"type": "track", "userId": f"u{n % USERS}", "event": "Order Completed" if n % USERS else "Seen", "messageId": f"m{n}", "properties": {"total": n % 7 + 1}}
                 for n in range(start, min(start + 500, first + count))]
        assert daemon.post("/v1/batch", {"batch": batch}).status == 200


def status(daemon):
    return daemon.status()["features"]["counting"]


def features(daemon, user):
    answer = daemon.get(f"/v1/profiles/user_id:u{user}/features")
    assert answer.status == 200, answer
    return answer.json


def test_kills_while_it_counts(tmp_path):
    daemon = Daemon(tmp_path).start()
    try:
        send(daemon, 30000)
        daemon.settled()
        daemon.write_config(CONFIG.replace("\nfeatures:", "\nfeatures:" + LATE.rstrip(), 1) + SEGMENTS)
        daemon.reload()
        wait_for(lambda: status(daemon))
        kills, seen = 0, set()
        while kills < 5:
            daemon.settled()
            counting = status(daemon)
            if counting:
                seen.add(counting["next"])
                assert features(daemon, 3)["counting"] == ["late_events", "late_first", "late_revenue"]
            assert daemon.get("/v1/segments/never_ordered").json["members"] in (0, 1)
            send(daemon, 1, first=100000 + kills)
            time.sleep(random.random() / 2)
            daemon.kill()
            daemon.start()
            kills += 1
        assert seen, "it was over before anybody could look"
        wait_for(lambda: status(daemon) is None)
        for user in range(USERS):
            found = features(daemon, user)
            values = found["features"]
            assert values["late_events"] == values["events"] >= 30000 / USERS
            assert values["late_revenue"] == values["revenue"]
            assert found["since"]["late_events"] == found["since"]["events"]
            assert found["sinceTime"]["late_events"] and found["counting"] == []
        wait_for(lambda: daemon.get("/v1/segments/never_ordered").json["members"] == 1)
        assert "u0" in daemon.get("/v1/segments/never_ordered/members").body.decode()
        assert b"cdpd_backfill_percent 100" in daemon.get("/metrics").body
    finally:
        daemon.stop()
