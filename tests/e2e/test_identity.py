"""Merge and unmerge by people: over HTTP and cdpctl, dry runs, refusals, history, and what a crash leaves."""

import json
import socket
import struct
import subprocess
import time

from cdpd import ADMIN_TOKEN, CONFIG, READ_TOKEN, SERVER_KEY, Daemon, running


def act(cdpd, verb, a, b, reason="", dry=False, token=ADMIN_TOKEN):
    body = json.dumps({"a": a, "b": b, "reason": reason})
    return cdpd.request("POST", f"/v1/profiles/{verb}{'?dry_run=1' if dry else ''}", body, {"Authorization": f"Bearer {token}"})


def identifiers(cdpd, ref):
    return [f"{i['namespace']}:{i['value']}" for i in cdpd.profile(ref).json["identifiers"]]


def history(cdpd, ref):
    return cdpd.get(f"/v1/profiles/{ref}/history").json["links"]


def visitor_and_customer(cdpd):
    """A visitor and a customer who are two persons, folded."""
    cdpd.post("/v1/identify", {"anonymousId": "a1", "messageId": "v1", "traits": {"plan": "free", "city": "Berlin"}, "timestamp": "2026-11-01T10:00:00Z"})
    answer = cdpd.post("/v1/identify", {"userId": "u1", "messageId": "c1", "traits": {"plan": "gold"}, "timestamp": "2026-11-02T10:00:00Z"})
    assert cdpd.profile("user_id:u1", answer.headers["x-cdpd-position"]).status == 200


def test_merge_joins_two_persons_and_says_so(cdpd):
    visitor_and_customer(cdpd)
    answer = act(cdpd, "merge", "user_id:u1", "anonymous_id:a1", "ticket 7")
    assert answer.status == 200, answer
    assert answer.json["status"] == "merged" and answer.json["ok"]
    assert answer.headers["x-cdpd-position"] == answer.json["position"]
    assert identifiers(cdpd, "anonymous_id:a1") == ["user_id:u1", "anonymous_id:a1"]
    assert cdpd.profile("anonymous_id:a1").json["id"] == answer.json["id"]
    (link,) = history(cdpd, "user_id:u1")
    assert (link["rule"], link["linked"], link["actor"], link["note"]) == ("merge", True, "admin", "ticket 7")
    again = act(cdpd, "merge", "anonymous_id:a1", "user_id:u1")
    assert again.status == 200 and again.json["status"] == "already_one"


def test_dry_runs_change_nothing(cdpd):
    visitor_and_customer(cdpd)
    before = cdpd.status()["journal"]["next"]
    preview = act(cdpd, "merge", "user_id:u1", "anonymous_id:a1", dry=True).json
    assert preview["allowed"] and preview["dryRun"] and not preview["alreadyOne"]
    assert preview["identifiers"] == ["user_id:u1", "anonymous_id:a1"]
    assert preview["conflicts"] == [{"trait": "plan", "winner": "gold", "loser": "free"}]
    assert cdpd.status()["journal"]["next"] == before
    assert identifiers(cdpd, "user_id:u1") == ["user_id:u1"]
    assert act(cdpd, "merge", "user_id:u1", "anonymous_id:a1").status == 200
    preview = act(cdpd, "unmerge", "user_id:u1", "anonymous_id:a1", dry=True).json
    assert [link["rule"] for link in preview["cut"]] == ["merge"]
    assert sorted(group["identifiers"] for group in preview["profiles"]) == [["anonymous_id:a1"], ["user_id:u1"]]
    assert identifiers(cdpd, "user_id:u1") == ["user_id:u1", "anonymous_id:a1"]
    assert act(cdpd, "unmerge", "user_id:u1", "anonymous_id:zz", dry=True).status == 404


def test_unmerge_cuts_for_ever_and_a_merge_lifts_it(cdpd):
    cdpd.profile("user_id:u1", cdpd.track("u1", "Visit", anonymousId="kiosk"))
    cdpd.profile("user_id:u2", cdpd.track("u2", "Visit", anonymousId="kiosk"))
    assert identifiers(cdpd, "anonymous_id:kiosk") == ["user_id:u1", "anonymous_id:kiosk"]
    answer = act(cdpd, "unmerge", "user_id:u1", "anonymous_id:kiosk", "a shared kiosk")
    assert answer.status == 200 and answer.json["status"] == "unmerged", answer
    assert answer.json["profiles"]["a"] != answer.json["profiles"]["b"]
    assert identifiers(cdpd, "user_id:u1") == ["user_id:u1"]
    # What the wrong link had kept out was tried again.
    assert identifiers(cdpd, "user_id:u2") == ["user_id:u2", "anonymous_id:kiosk"]
    assert act(cdpd, "unmerge", "user_id:u2", "anonymous_id:kiosk").status == 200
    # The device itself does not bring them together any more.
    cdpd.profile("user_id:u1", cdpd.track("u1", "Visit", anonymousId="kiosk"))
    assert identifiers(cdpd, "user_id:u1") == ["user_id:u1"]
    acts = [link for link in history(cdpd, "user_id:u1") if link["rule"] == "unmerge"]
    assert [(link["cannotLink"], link["note"]) for link in acts] == [(True, "a shared kiosk")]
    refused = [link for link in history(cdpd, "user_id:u1") if link["rule"] == "same_event"]
    assert [link["reason"] for link in refused] == ["cannot_link"]
    answer = act(cdpd, "merge", "user_id:u1", "anonymous_id:kiosk")
    assert answer.status == 200 and answer.json["status"] == "merged", answer
    acts = [link for link in history(cdpd, "user_id:u1") if link["rule"] == "unmerge"]
    assert not any(link["cannotLink"] for link in acts if {link["a"], link["b"]} == {"user_id:u1", "anonymous_id:kiosk"})


def test_refusals_have_their_own_codes_and_stay_visible(cdpd):
    cdpd.profile("user_id:u1", cdpd.track("u1", "Visit"))
    cdpd.profile("user_id:u2", cdpd.track("u2", "Visit"))
    for answer, status, code in (
        (act(cdpd, "merge", "user_id:u1", "user_id:u2"), 409, "unique_conflict"),
        (act(cdpd, "unmerge", "user_id:u1", "user_id:u2"), 409, "not_joined"),
        (act(cdpd, "merge", "user_id:u1", "user_id:nobody"), 404, "not_found"),
        (act(cdpd, "merge", "user_id:u1", "nonsense"), 400, "invalid_parameter"),
        (act(cdpd, "merge", "user_id:u1", "user_id:u1"), 400, "invalid_parameter"),
        (act(cdpd, "unmerge", "user_id:u1", "user_id:u1"), 400, "invalid_parameter"),
        (act(cdpd, "merge", "user_id:u1", ""), 400, "schema_violation"),
        (act(cdpd, "merge", "user_id:u1", "user_id:u2", "x" * 501), 400, "schema_violation"),
        (act(cdpd, "merge", "user_id:u1", "user_id:u2", token=READ_TOKEN), 403, "forbidden"),
    ):
        assert (answer.status, answer.json["code"]) == (status, code), answer
    assert identifiers(cdpd, "user_id:u1") == ["user_id:u1"]
    refused = {link["rule"]: link["reason"] for link in history(cdpd, "user_id:u2")}
    assert refused == {"merge": "unique_conflict", "unmerge": "not_joined"}
    preview = act(cdpd, "merge", "user_id:u1", "user_id:u2", dry=True).json
    assert not preview["allowed"] and preview["limits"] == [{"reason": "unique_conflict", "namespace": "user_id"}]
    assert cdpd.settled()["balanced"]


def test_references_by_id_name_their_own_identifier(cdpd):
    visitor_and_customer(cdpd)
    ids = [cdpd.profile(ref).json["id"] for ref in ("user_id:u1", "anonymous_id:a1")]
    answer = act(cdpd, "merge", f"id:{ids[0]}", f"id:{ids[1]}")
    assert (answer.status, answer.json["a"], answer.json["b"]) == (200, "user_id:u1", "anonymous_id:a1")
    # The old id still leads there, and names the identifier it always named.
    assert act(cdpd, "unmerge", f"id:{ids[0]}", f"id:{ids[1]}").status == 200
    assert cdpd.profile(f"id:{ids[1]}").json["id"] == ids[1]


def test_what_was_acknowledged_survives_a_crash(tmp_path):
    cdpd = Daemon(tmp_path).start()
    try:
        visitor_and_customer(cdpd)
        assert act(cdpd, "merge", "user_id:u1", "anonymous_id:a1").status == 200
        cdpd.kill()
        cdpd.start()
        assert identifiers(cdpd, "anonymous_id:a1") == ["user_id:u1", "anonymous_id:a1"]
        assert act(cdpd, "unmerge", "user_id:u1", "anonymous_id:a1").status == 200
        cdpd.kill()
        cdpd.start()
        assert identifiers(cdpd, "anonymous_id:a1") == ["anonymous_id:a1"]
        assert [link["rule"] for link in history(cdpd, "user_id:u1")] == ["merge", "unmerge"]
        assert cdpd.settled()["balanced"]
    finally:
        if cdpd.process.poll() is None:
            cdpd.kill()


def test_who_asks_and_leaves_is_not_waited_for(cdpd):
    """The act goes on without them; the daemon touches nothing of theirs afterwards, and stops as it should."""
    visitor_and_customer(cdpd)
    body = json.dumps({"a": "user_id:u1", "b": "anonymous_id:a1"}).encode()
    for number in range(60):
        verb = ("merge", "unmerge")[number % 2]
        head = f"POST /v1/profiles/{verb} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with cdpd.socket() as connection:
            connection.sendall(head + body)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    # The last of those may stand behind ours and part the two again before we look.
    while act(cdpd, "merge", "user_id:u1", "anonymous_id:a1").status != 200:
        time.sleep(0.05)
    assert cdpd.stop() == 0 and "Sanitizer" not in cdpd.log_text()


def test_cdpctl(cdpd):
    visitor_and_customer(cdpd)
    assert "plan" in cdpd.ctl("merge", "user_id:u1", "anonymous_id:a1", "--dry-run").stdout
    assert "one person now" in cdpd.ctl("merge", "user_id:u1", "anonymous_id:a1", "--reason", "they called").stdout
    assert history(cdpd, "user_id:u1")[0]["note"] == "they called"
    assert json.loads(cdpd.ctl("merge", "user_id:u1", "anonymous_id:a1", "--json").stdout)["status"] == "already_one"
    assert "leave a person of anonymous_id:a1" in cdpd.ctl("unmerge", "user_id:u1", "anonymous_id:a1", "--dry-run").stdout
    assert "two persons now" in cdpd.ctl("unmerge", "user_id:u1", "anonymous_id:a1").stdout
    again = cdpd.ctl("unmerge", "user_id:u1", "anonymous_id:a1", check=False)
    assert again.returncode == 5 and "not one person" in again.stderr
    assert cdpd.ctl("merge", "user_id:u1", "user_id:nobody", check=False).returncode == 1
    assert cdpd.ctl("merge", "user_id:u1", check=False).returncode == 2


def test_identity_changes_reach_the_feed(cdpd):
    visitor_and_customer(cdpd)
    merged = act(cdpd, "merge", "user_id:u1", "anonymous_id:a1").json["id"]
    ids = act(cdpd, "unmerge", "user_id:u1", "anonymous_id:a1").json["profiles"]
    connection = cdpd.connect()
    connection.request("GET", "/v1/changes?since=start&kind=merged,split", headers={"Authorization": f"Bearer {READ_TOKEN}"})
    response = connection.getresponse()
    if response.status != 200:
        raise AssertionError(response.read())
    seen, deadline = [], time.monotonic() + 30
    while len(seen) < 2 and time.monotonic() < deadline:
        line = response.readline()
        if line.startswith(b"data: "):
            seen.append(json.loads(line[6:]))
    connection.close()
    assert [change["kind"] for change in seen] == ["merged", "split"]
    assert (seen[0]["from"], seen[0]["into"]) == (ids["b"], merged)
    assert seen[1]["from"] == merged and set(seen[1]["into"]) == {ids["a"], ids["b"]}


PHONE_CONFIG = CONFIG.replace(
    "kind: browser, write_keys", "kind: browser, default_country: DE, write_keys"
) + """\
identity:
  namespaces:
    - {{name: user_id, from: userId, max: 1, known: true}}
    - {{name: email, from: [traits.email, properties.email], known: true, normalize: email, blocked: [nobody@example.com]}}
    - {{name: phone, from: traits.phone, known: true, normalize: phone}}
    - {{name: anonymous_id, from: anonymousId, max: 45}}
"""


def test_addresses_and_numbers_are_one_however_typed(tmp_path):
    cdpd = Daemon(tmp_path, PHONE_CONFIG).start()
    try:
        cdpd.post("/v1/identify", {"userId": "u1", "traits": {"email": " Ann@Example.COM", "phone": "030 / 90 18 20"}})
        cdpd.post("/v1/identify", {"userId": "u2", "traits": {"phone": "030 901820"}}, key=SERVER_KEY)  # of no country
        cdpd.post("/v1/identify", {"userId": "u3", "traits": {"email": "Nobody@example.com"}})
        answer = cdpd.post("/v1/track", {"anonymousId": "a1", "event": "Signed up", "properties": {"email": "ANN@example.com"}})
        profile = cdpd.profile("email:aNN@example.com", answer.headers["x-cdpd-position"]).json
        assert {f"{i['namespace']}:{i['value']}" for i in profile["identifiers"]} == {
            "user_id:u1", "email:ann@example.com", "phone:+4930901820", "anonymous_id:a1"}
        assert profile["traits"]["email"]["value"] == " Ann@Example.COM"
        assert cdpd.profile("phone:+49 30 901820").json["id"] == cdpd.profile("phone:004930901820").json["id"] == profile["id"]
        assert identifiers(cdpd, "user_id:u2") == ["user_id:u2"] and cdpd.profile("user_id:u2").json["traits"]["phone"]["value"] == "030 901820"
        assert identifiers(cdpd, "user_id:u3") == ["user_id:u3"]
        cdpd.kill()
        # Another country from now on: what was sent before stays whose it was.
        cdpd.write_config(PHONE_CONFIG.replace("default_country: DE", "default_country: AT"))
        cdpd.start()
        answer = cdpd.post("/v1/identify", {"userId": "u4", "traits": {"phone": "030 901820"}})
        cdpd.profile("user_id:u4", answer.headers["x-cdpd-position"])
        assert identifiers(cdpd, "user_id:u4") == ["user_id:u4", "phone:+4330901820"]
        assert identifiers(cdpd, "phone:+4930901820") == identifiers(cdpd, "user_id:u1")
    finally:
        if cdpd.process.poll() is None:
            cdpd.kill()


def test_bad_namespaces_are_refused_at_load(tmp_path):
    for line, complaint in (
        ("{{name: email, from: traits.email, normalize: emial}}", "did you mean 'email'"),
        ("{{name: email, from: []}}", "from"),
        ("{{name: email, from: [traits.email, nonsense]}}", "from"),
        ("{{name: email, from: traits.email, blokced: [a]}}", "did you mean 'blocked'"),
    ):
        cdpd = Daemon(tmp_path, CONFIG + f"identity:\n  namespaces:\n    - {line}\n")
        run = subprocess.run(cdpd.command("-n"), capture_output=True, text=True, timeout=60)
        assert run.returncode != 0 and complaint in run.stderr and "cdpd.yaml:" in run.stderr, run.stderr


CONSENTS_AND_SEGMENTS = """
consent:
  purposes:
    - {{name: newsletter, channels: [email]}}
segments:
  - {{name: mailable, when: {{consent: newsletter/email, is: granted}}}}
  - {{name: readers, when: {{feature: events, at_least: 2}}}}
  - {{name: known, when: {{identifier: user_id, exists: true}}}}
"""


def consent(daemon, person, state):
    answer = daemon.post("/v1/consents", {"person": person, "purpose": "newsletter", "channel": "email", "state": state}, key=SERVER_KEY)
    assert answer.status == 200, answer


def test_an_unmerge_gives_each_their_consents_and_segments_back():
    """deny (anonymous), link, grant (signed in) is granted; cut apart, each has what each said."""
    with running(extra=CONSENTS_AND_SEGMENTS) as cdpd:
        consent(cdpd, "anonymous_id:a1", "denied")
        cdpd.post("/v1/identify", {"anonymousId": "a1", "userId": "u1", "messageId": "i1"})
        cdpd.settled()
        assert [c["state"] for c in cdpd.profile("user_id:u1").json["consents"]] == ["denied"]
        consent(cdpd, "user_id:u1", "granted")
        cdpd.settled()
        joined = cdpd.profile("anonymous_id:a1").json
        assert [c["state"] for c in joined["consents"]] == ["granted"] and joined["segments"] == ["known", "mailable", "readers"]
        assert act(cdpd, "unmerge", "user_id:u1", "anonymous_id:a1").status == 200
        visitor, user = cdpd.profile("anonymous_id:a1").json, cdpd.profile("user_id:u1").json
        assert [c["state"] for c in visitor["consents"]] == ["denied"] and visitor["segments"] == []
        assert [c["state"] for c in user["consents"]] == ["granted"] and user["segments"] == ["known", "mailable", "readers"]
        assert {name: cdpd.get(f"/v1/segments/{name}").json["members"] for name in ("known", "mailable", "readers")} == {"known": 1, "mailable": 1, "readers": 1}
        assert act(cdpd, "merge", "user_id:u1", "anonymous_id:a1").status == 200
        again = cdpd.profile("anonymous_id:a1").json  # both words are older than this link: the more careful one holds
        assert again["id"] == user["id"] and again["segments"] == ["known", "readers"]
        assert [c["state"] for c in again["consents"]] == ["denied"]
