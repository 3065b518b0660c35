"""An exporter without a daemon: the test says what is handed over (tests/tools/export_tool.c)."""

import itertools
import json
import subprocess

from cdpd import BUILD

EVENT, PROFILE, CHANGE = 1, 2, 3
GONE = 1
numbers = itertools.count(1)


def person(n):
    return f"{n:032x}"


def record(kind, profile, body, *, flags=0, other="", delivery=None, time_us=1_700_000_000_000_000):
    """(delivery id, line) of one record."""
    n = next(numbers)
    delivery = delivery or f"d{n}"
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    assert "\n" not in text and "\t" not in text
    return delivery, "\t".join(map(str, (kind, flags, delivery, f"p{n}", f"m{n}", profile, other, time_us, text)))


def event(profile, name="A", *, delivery=None, **more):
    return record(EVENT, profile, {"type": "track", "event": name, "messageId": f"x{next(numbers)}", **more}, delivery=delivery)


def profile(id_, *, email=None, delivery=None, time_us=1_700_000_000_000_000, **more):
    body = {"type": "profile", "id": id_, "identifiers": {"email": [email]} if email else {}, "traits": {}, "features": {}, "segments": [], "consents": {},
            "firstSeen": "2026-01-02T03:04:05Z", "lastSeen": "2026-02-03T04:05:06.5Z", "eventCount": 1, "position": f"c{next(numbers)}", **more}
    return record(PROFILE, id_, body, delivery=delivery, time_us=time_us)


def gone(id_, why, into="", delivery=None):
    body = {"type": "profile", "id": id_, "gone": why, **({"mergedInto": into} if into else {}), "position": f"c{next(numbers)}"}
    return record(PROFILE, id_, body, flags=GONE, other=into, delivery=delivery)


def change(id_, kind, *, delivery=None, **more):
    return record(CHANGE, id_, {"type": "change", "kind": kind, "profile": id_, "position": "AtQ1", "at": "2026-11-21T08:30:00Z", **more}, delivery=delivery)


def erased(*ids, time_us=1_800_000_000_000_000):
    return record(EVENT, ids[0], {"type": "erased", "messageId": "r1", "scope": "profile", "profileIds": list(ids), "timestamp": "2027-01-15T08:00:00Z"}, time_us=time_us)


def withdrawn(purpose, *ids, time_us=1_700_000_000_000_000):
    return record(EVENT, ids[0], {"type": "withdrawn", "purpose": purpose, "state": "withdrawn", "profileIds": list(ids), "at": "2026-11-22T09:00:00Z"}, time_us=time_us)


class Exporter:
    def __init__(self, plugin, **options):
        command = [str(BUILD / "tests" / "export_tool"), plugin, *(f"{name}={value}" for name, value in options.items())]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def answer(self):
        lines = []
        while (line := self.process.stdout.readline()) != "end\n":
            assert line, "export_tool ended"
            lines.append(line.rstrip("\n").split("\t", 1))
        return lines

    def say(self, records):
        self.process.stdin.write("".join(line + "\n" for _, line in records) + "\n")
        self.process.stdin.flush()

    def hand_over(self, *records):
        """[verdict, reason] of each."""
        self.say(records)
        answer = self.answer()
        assert len(answer) == len(records)
        return answer

    def verdicts(self, *records):
        return [verdict for verdict, _ in self.hand_over(*records)]

    def settle(self, *records, rounds=200):
        """As the daemon does: what must be handed over again is, until nothing is left. Verdict of each delivery id."""
        left, settled = list(records), {}
        for _ in range(rounds):
            verdicts = self.verdicts(*left)
            settled.update({left[i][0]: verdict for i, verdict in enumerate(verdicts) if verdict != "RETRY"})
            left = [one for one, verdict in zip(left, verdicts) if verdict == "RETRY"]
            if not left:
                return settled
        raise AssertionError(f"{len(left)} records are never taken")

    def counters(self):
        self.process.stdin.write("counters\n")
        self.process.stdin.flush()
        return {name: int(value) for name, value in self.answer()}

    def kill(self):
        self.process.kill()
        self.process.wait(60)
        self.close()

    def close(self):
        if not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        self.process.wait(60)
        self.process.stdout.close()
