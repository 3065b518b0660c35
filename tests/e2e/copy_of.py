"""A consumer's copy of the store, kept the way docs/subscriptions.md tells: a snapshot, then every change since, applied in order."""

import json
import urllib.parse

from cdpd import ADMIN_TOKEN


def trait_of(shown):
    return {"value": shown["value"], "provenance": shown["provenance"]}


def as_copied(profile):
    """What a copy knows of a profile as GET /v1/profiles shows it."""
    return {
        "identifiers": sorted(f"{i['namespace']}:{i['value']}" for i in profile["identifiers"]),
        "traits": {name: trait_of(shown) for name, shown in profile["traits"].items() if "value" in shown},
        "features": dict(profile["features"]),
        "segments": sorted(profile["segments"]),
    }


class Copy:
    def __init__(self):
        self.people = {}
        self.since = self.until = None
        self.last_row = None
        self.rows = 0

    def _person(self, profile):
        return self.people.setdefault(profile, {"identifiers": [], "traits": {}, "features": {}, "segments": []})

    def take(self, line):
        """One line of a snapshot; False: it was the last."""
        if "since" in line:
            assert self.since in (None, line["since"]), "a resumed snapshot says the same since"
            self.since = line["since"]
        elif "profile" in line:
            self.people[line["profile"]["id"]] = as_copied(line["profile"])
            self.last_row = line["cursor"]
            self.rows += 1
        elif "until" in line:
            self.until = line["until"]
            return False
        else:
            raise AssertionError(line)
        return True

    def apply(self, change):
        kind, profile = change["kind"], change["profile"]
        if set(change) == {"kind", "profile", "position", "at"}:
            return  # of somebody erased since: its body is gone, the erasure comes
        if kind in ("profile", "identifier"):
            person = self._person(profile)
            person["identifiers"] = sorted({*person["identifiers"], *change["identifiers"]})
        elif kind == "trait":
            for name, shown in change["traits"].items():
                if shown["value"] is None and "provenance" not in shown:
                    self._person(profile)["traits"].pop(name, None)
                else:
                    self._person(profile)["traits"][name] = trait_of(shown)
        elif kind == "feature":
            self._person(profile)["features"].update(change["features"])
        elif kind == "segment" and (change["entered"] or profile in self.people):
            segments = set(self._person(profile)["segments"])
            (segments.add if change["entered"] else segments.discard)(change["segment"])
            self._person(profile)["segments"] = sorted(segments)
        elif kind == "merged":
            gone = self.people.pop(change["from"], None)
            person = self._person(change["into"])
            if gone:
                person["identifiers"] = sorted({*person["identifiers"], *gone["identifiers"]})
        elif kind == "split":
            if change["from"] not in change["into"]:
                self.people.pop(change["from"], None)
            for part in change["into"]:
                self._person(part)["identifiers"] = []  # told next
        elif kind == "erased":
            if change["remaining"] == profile:
                self._person(profile)["identifiers"] = []  # told next
            else:
                self.people.pop(profile, None)


def snapshot_lines(daemon, cursor=None, token=ADMIN_TOKEN):
    """The response and its lines, parsed, as they come."""
    connection = daemon.connect(timeout=60)
    query = "?cursor=" + urllib.parse.quote(cursor) if cursor else ""
    connection.request("GET", "/v1/snapshot" + query, headers={"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    assert response.status == 200, response.read()
    assert response.getheader("Content-Type") == "application/x-ndjson"
    return connection, response


def read_lines(response):
    while True:
        line = response.readline()
        if not line:
            return
        yield json.loads(line)
