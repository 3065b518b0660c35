"""Consent end to end: who may state it, what it opens and closes, links that confirm, and that an acknowledged act survives."""

import base64
import json
import pathlib
import re
import subprocess
import time
import urllib.parse
import uuid

import pytest
from cdpd import ADMIN_TOKEN, CONFIG, READ_TOKEN, SERVER_KEY, WRITE_KEY, running

CONSENT = """
consent:
  purposes:
    - {{name: newsletter, channels: [email, sms]}}
    - {{name: ads, gates: [ingest, crm], events: [Ad Seen]}}
    - {{name: club, channels: [email], double_opt_in: true}}
    - {{name: stats, default: granted, lawful_basis: legitimate_interests}}
    - {{name: storage, tcf: 1}}
    - {{name: ad_reach, tcf: 2, lawful_basis: legitimate_interests}}
    - {{name: campaigns, tcf: 4, gates: [enrich], events: [Ad Click]}}
destinations:
  - {{name: crm, plugin: ndjson, options: {{directory: {folder}/crm}}}}
  - {{name: all, plugin: ndjson, options: {{directory: {folder}/all}}}}
"""


@pytest.fixture(scope="module")
def cdpd():
    with running(extra=CONSENT) as daemon:
        # The purposes are in force once the fold has come to their definition; until then the answer is 503.
        until(lambda: daemon.get("/v1/consents/check?person=user_id:1&purpose=ads").status == 200, "no purposes")
        yield daemon


def say(cdpd, person, purpose, state, key=SERVER_KEY, status=200, **fields):
    answer = cdpd.post("/v1/consents", {"person": person, "purpose": purpose, "state": state, **fields}, key=key)
    assert answer.status == status, answer
    return answer.headers.get("x-cdpd-position") if status == 200 else answer.json


def check(cdpd, person, purpose, channel=None, position=None, status=200):
    query = {"person": person, "purpose": purpose}
    if channel:
        query["channel"] = channel
    if position:
        query["min_position"] = position
    answer = cdpd.get("/v1/consents/check?" + urllib.parse.urlencode(query), token=READ_TOKEN)
    assert answer.status == status, answer
    return answer.json


def link(cdpd, status=200, token=ADMIN_TOKEN, **body):
    answer = cdpd.request("POST", "/v1/links", json.dumps(body).encode(), {"Authorization": f"Bearer {token}"})
    assert answer.status == status, answer
    return answer.json


def follow(cdpd, method, token, **headers):
    return cdpd.request(method, "/r/" + token, headers=headers)


def somebody():
    return f"user_id:{uuid.uuid4().hex[:12]}"


def test_one_call_says_whether_one_may(cdpd):
    person = somebody()
    assert check(cdpd, person, "newsletter", "email") | {"position": None} == {"allowed": False, "state": "none", "reason": "unknown_person", "since": None, "position": None}
    assert check(cdpd, person, "stats")["allowed"] is True
    position = say(cdpd, person, "newsletter", "granted", at="2026-01-02T03:04:05Z")
    answer = check(cdpd, person, "newsletter", "email", position)
    assert answer["allowed"] is True and answer["state"] == "granted" and answer["since"] == "2026-01-02T03:04:05Z" and answer["basis"] == "consent"
    position = say(cdpd, person, "newsletter", "withdrawn", channel="sms")
    assert check(cdpd, person, "newsletter", "sms", position)["reason"] == "withdrawn"
    assert check(cdpd, person, "newsletter", "email")["allowed"] is True
    assert check(cdpd, person, "spam", status=404)["code"] == "unknown_purpose"
    assert check(cdpd, person, "newsletter", "fax", status=404)["code"] == "unknown_channel"
    assert check(cdpd, "nonsense", "newsletter", status=400)["code"] == "invalid_parameter"


def test_errors_name_the_field_and_change_nothing(cdpd):
    person = somebody()
    for fields, code, pointer in (
        ({"purpose": "spam", "state": "granted"}, "unknown_purpose", "/purpose"),
        ({"state": "granted"}, "schema_violation", "/purpose"),
        ({"purpose": "newsletter", "channel": "fax", "state": "granted"}, "unknown_channel", "/channel"),
        ({"purpose": "newsletter", "state": "maybe"}, "schema_violation", "/state"),
        ({"purpose": "newsletter", "state": "pending"}, "schema_violation", "/state"),
        ({"purpose": "newsletter", "state": "granted", "basis": "whim"}, "schema_violation", "/basis"),
        ({"purpose": "newsletter", "state": "granted", "expires_at": "soon"}, "bad_timestamp", "/expires_at"),
        ({"purpose": "newsletter", "state": "granted", "expires_at": "2001-01-01T00:00:00Z"}, "bad_timestamp", "/expires_at"),
        ({"purpose": "newsletter", "state": "denied", "expires_at": "2099-01-01T00:00:00Z"}, "schema_violation", "/expires_at"),
        ({"purpose": "newsletter", "state": "granted", "at": True}, "bad_timestamp", "/at"),
        ({"purpose": "newsletter", "state": "granted", "proof": "yes"}, "schema_violation", "/proof"),
        ({"purpose": "newsletter", "state": "granted", "proof": {"text": 7}}, "schema_violation", "/proof"),
        ({"purpose": "newsletter", "state": "granted", "proof": {"text": "x" * 9000}}, "too_large", "/proof"),
        ({"purpose": "newsletter", "state": "granted", "purposes": []}, "schema_violation", "/purposes"),
        ({"person": "42", "purpose": "newsletter", "state": "granted"}, "invalid_identifier", "/person"),
        ({"person": "shoe:42", "purpose": "newsletter", "state": "granted"}, "invalid_identifier", "/person"),
        ({"person": "", "purpose": "newsletter", "state": "granted"}, "missing_identity", "/person"),
        ({"person": "id:" + "0" * 32, "purpose": "newsletter", "state": "granted"}, "not_found", "/person"),
    ):
        answer = cdpd.post("/v1/consents", {"person": person, **fields}, key=SERVER_KEY)
        assert answer.status >= 400 and answer.json["code"] == code and answer.json["pointer"] == pointer, (fields, answer)
    assert cdpd.post("/v1/consents", b"{broken", key=SERVER_KEY).json["code"] == "invalid_json"
    cdpd.settled()
    assert cdpd.profile(person).status == 404


def test_a_public_key_never_writes_consent(cdpd):
    person = somebody()
    assert say(cdpd, person, "newsletter", "granted", key=WRITE_KEY, status=403)["code"] == "forbidden"
    assert say(cdpd, person, "newsletter", "granted", key="no-such-key", status=401)["code"] == "unknown_key"
    # What looks like one is only an event.
    cdpd.post("/v1/track", {"userId": person[8:], "event": "Consent Granted", "properties": {"purpose": "newsletter", "state": "granted"}, "flags": 64,
                            "enrichment": {"consent": {"salt": "0" * 32, "confirmed": True}}})
    cdpd.settled()
    assert check(cdpd, person, "newsletter")["state"] == "none"


def test_every_namespace_can_be_named(cdpd):
    position = say(cdpd, "email:ada@example.com", "newsletter", "granted", proof={"text": "Send me news", "version": "7", "where": "/signup", "how": "checkbox"})
    assert check(cdpd, "email:ada@example.com", "newsletter", None, position)["allowed"] is True
    profile = cdpd.profile("email:ada@example.com").json
    assert profile["traits"] == {} and profile["consents"][0]["state"] == "granted"
    position = say(cdpd, f"id:{profile['id']}", "newsletter", "withdrawn")
    assert check(cdpd, "email:ada@example.com", "newsletter", None, position)["state"] == "withdrawn"
    say(cdpd, "anonymous_id:a-77", "newsletter", "granted")


def test_identifiers_are_put_where_their_namespace_reads_them():
    namespaces = """
identity:
  namespaces:
    - {{name: user_id, from: userId, max: 1, known: true}}
    - {{name: mail, from: traits.contact.mail, max: 5, known: true}}
    - {{name: device, from: context.device.id}}
    - {{name: card, from: properties.loyalty.card}}
    - {{name: company, from: groupId}}
    - {{name: ghost, from: enrichment.ghost}}
    - {{name: anonymous_id, from: anonymousId}}
"""
    with running(extra=CONSENT + namespaces) as cdpd:
        until(lambda: cdpd.get("/v1/consents/check?person=user_id:1&purpose=ads").status == 200, "no purposes")
        for person in ("user_id:7", "mail:a@b.example", 'device:d"1\\', "card:99", "company:acme", "anonymous_id:a"):
            position = say(cdpd, person, "newsletter", "granted", channel="email")
            assert check(cdpd, person, "newsletter", "email", position)["allowed"] is True, person
            assert cdpd.profile(person).json["fragments"] == 1 and cdpd.profile(person).json["traits"] == {}
        assert say(cdpd, "ghost:boo", "newsletter", "granted", status=400)["pointer"] == "/person"


def test_a_retry_counts_once(cdpd):
    person = somebody()
    before = cdpd.settled()["events"]["duplicate"]
    for _ in range(3):
        say(cdpd, person, "newsletter", "granted", messageId="retry-" + person)
    assert cdpd.settled()["events"]["duplicate"] == before + 2
    assert len(cdpd.events(person)) == 1


def test_the_proof_is_kept(cdpd):
    person = somebody()
    proof = {"text": "Ich möchte Post", "version": "7", "where": "https://shop.example/signup", "how": "checkbox"}
    position = say(cdpd, person, "newsletter", "granted", channel="email", proof=proof, basis="legitimate_interests", expires_at="2098-01-01T00:00:00Z")
    answer = cdpd.get(f"/v1/profiles/{person}/consents?min_position={position}", token=READ_TOKEN)
    (record,) = answer.json["consents"]
    assert record["evidence"]["said"]["proof"] == proof and record["evidence"]["identifier"] == person
    assert record["basis"] == "legitimate_interests" and record["expiresAt"] == "2098-01-01T00:00:00Z" and record["position"] == position
    assert cdpd.get("/v1/profiles/user_id:never-seen/consents").status == 404


def test_deny_link_grant_is_granted_and_the_other_way_denied(cdpd):
    anonymous, user = f"a-{uuid.uuid4().hex[:8]}", somebody()
    say(cdpd, f"anonymous_id:{anonymous}", "newsletter", "denied")
    cdpd.post("/v1/identify", {"userId": user[8:], "anonymousId": anonymous})
    position = say(cdpd, user, "newsletter", "granted")
    assert check(cdpd, user, "newsletter", "email", position)["state"] == "granted"
    anonymous, user = f"a-{uuid.uuid4().hex[:8]}", somebody()
    say(cdpd, user, "newsletter", "granted")
    say(cdpd, f"anonymous_id:{anonymous}", "newsletter", "denied")
    position = cdpd.post("/v1/identify", {"userId": user[8:], "anonymousId": anonymous}).headers["x-cdpd-position"]
    assert check(cdpd, user, "newsletter", "email", position)["state"] == "denied"


def lines(folder, kind):
    text = "".join(path.read_text() for path in sorted(pathlib.Path(folder, kind).glob("*")) if path.is_file())
    return [json.loads(line) for line in text.splitlines()]


def until(condition, what, timeout=60):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(what)


def test_gates_at_ingest_and_at_a_destination(cdpd):
    yes, no = somebody(), somebody()
    say(cdpd, yes, "ads", "granted")
    say(cdpd, no, "ads", "denied")
    ids = {}
    for person in (yes, no):
        for event in ("Ad Seen", "Order Completed"):
            ids[person, event] = str(uuid.uuid4())
            cdpd.track(person[8:], event, message_id=ids[person, event])
    last = str(uuid.uuid4())
    cdpd.track(yes[8:], "Order Completed", message_id=last)
    cdpd.settled()
    trace = cdpd.get(f"/v1/admin/trace?message_id={ids[no, 'Ad Seen']}").json
    assert "denied" in json.dumps(trace) and "consent" in json.dumps(trace)
    assert cdpd.status()["balanced"] is True
    until(lambda: last in {row["messageId"] for kind in ("crm", "all") for row in lines(cdpd.folder, kind)}, "nothing was delivered")
    until(lambda: last in {row["messageId"] for row in lines(cdpd.folder, "all")} and last in {row["messageId"] for row in lines(cdpd.folder, "crm")}, "not to both")
    crm, everything = ({row["messageId"] for row in lines(cdpd.folder, kind)} for kind in ("crm", "all"))
    assert ids[no, "Ad Seen"] not in everything and ids[no, "Order Completed"] in everything
    assert ids[no, "Order Completed"] not in crm and ids[yes, "Order Completed"] in crm and ids[yes, "Ad Seen"] in crm
    destinations = {row["name"]: row for row in cdpd.get("/v1/admin/destinations").json["destinations"]}
    assert destinations["crm"]["denied"] > 0 and destinations["all"]["denied"] == 0
    assert b'cdpd_destination_denied_total{destination="crm"}' in cdpd.get("/metrics").body


# ── TCF ────────────────────────────────────────────────────────────────────


def tcf(consents=(), interests=(), version=2):
    """A TC string written bit by bit, as the IAB's specification lays it out."""
    bits = "".join(format(value, f"0{width}b") for value, width in (
        (version, 6), (16700000001, 36), (16800000002, 36), (300, 12), (7, 12), (1, 6), (4, 6), (13, 6), (150, 12), (4, 6), (0, 2), (0, 12)))
    for chosen in (consents, interests):
        bits += "".join("1" if purpose in chosen else "0" for purpose in range(1, 25))
    bits += format(0, "01b") + format(3, "06b") + format(4, "06b")
    bits += 2 * (format(3, "016b") + "0" + "101")
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    bits += "0" * (-len(bits) % 6)
    return "".join(digits[int(bits[i:i + 6], 2)] for i in range(0, len(bits), 6))


def test_a_tcf_string_states_every_mapped_purpose(cdpd):
    person = somebody()
    answer = cdpd.post("/v1/consents", {"person": person, "tcf": tcf(consents=[1], interests=[2, 4]), "messageId": "m1"}, key=SERVER_KEY)
    assert answer.status == 200 and answer.json["accepted"] == 3, answer
    position = answer.headers["x-cdpd-position"]
    assert check(cdpd, person, "storage", None, position)["state"] == "granted"
    assert check(cdpd, person, "ad_reach")["state"] == "granted"  # by legitimate interest, as configured
    assert check(cdpd, person, "campaigns")["state"] == "denied"  # an interest is no consent
    assert check(cdpd, person, "newsletter")["state"] == "none"
    records = cdpd.get(f"/v1/profiles/{person}/consents").json["consents"]
    proof = next(record for record in records if record["purpose"] == "storage")
    assert proof["evidence"]["said"]["proof"]["text"] == tcf(consents=[1], interests=[2, 4]) and proof["at"] == "2023-03-28T10:40:00.200Z"
    for bad, why in ((tcf(version=1), "version 2"), (tcf()[:30], "cut short"), ("!", "malformed"), (7, "string"), ("A" * 9000, "")):
        answer = cdpd.post("/v1/consents", {"person": person, "tcf": bad}, key=SERVER_KEY)
        assert answer.status in (400, 413) and answer.json["pointer"] == "/tcf" and why in answer.json["message"], answer
    answer = cdpd.post("/v1/consents", {"person": person, "tcf": tcf(), "state": "granted"}, key=SERVER_KEY)
    assert answer.json["rejected"][0]["pointer"] == "/state"


def test_enrichers_see_only_what_the_request_consents_to(cdpd):
    page = {"page": {"url": "https://shop.example/?utm_source=mail"}}
    cases = {
        "none": None, "yes": {"purposes": {"campaigns": True}}, "no": {"purposes": {"campaigns": False}}, "segment": {"categoryPreferences": {"campaigns": True}},
        "tcf": {"tcf": tcf(consents=[4])}, "tcf-no": {"tcf": tcf(consents=[1])}, "tcf-broken": {"tcf": "CO"}, "gpc": {"gpc": True},
    }
    person = somebody()
    for name, consent in cases.items():
        context = {**page, **({"consent": consent} if consent else {})}
        cdpd.track(person[8:], "Ad Click", message_id=name + person, context=context)
    cdpd.track(person[8:], "Order Completed", message_id="other" + person, context=page)
    cdpd.settled()
    enriched = {event["messageId"].removesuffix(person) for event in cdpd.events(person) if event.get("enrichment")}
    assert enriched == {"yes", "segment", "tcf", "other"}
    assert b"cdpd_enrich_denied_total" in cdpd.get("/metrics").body


# ── links ──────────────────────────────────────────────────────────────────


def test_double_opt_in(cdpd):
    email = f"email:{uuid.uuid4().hex[:8]}@example.com"
    position = say(cdpd, email, "club", "granted", channel="email")
    answer = check(cdpd, email, "club", "email", position)
    assert answer["allowed"] is False and answer["state"] == "pending" and answer["reason"] == "awaiting_confirmation"
    made = link(cdpd, purpose="consent", person=email, consent={"purpose": "club", "channel": "email"}, ttl=3600)
    token = made["token"]
    assert made["url"] == f"{cdpd.url}/r/{token}" and email[6:] not in str(base64.b64decode(token.split(".")[2] + "=="))
    for _ in range(3):  # scanners and previews follow links: nothing happens
        page = follow(cdpd, "GET", token, Accept="text/html")
        assert page.status == 200 and b"<button" in page.body and page.headers["referrer-policy"] == "no-referrer"
    assert follow(cdpd, "HEAD", token).status == 200
    cdpd.settled()
    assert check(cdpd, email, "club", "email")["state"] == "pending"
    answer = follow(cdpd, "POST", token)
    assert answer.status == 200, answer
    assert check(cdpd, email, "club", "email", answer.headers["x-cdpd-position"])["allowed"] is True
    again = follow(cdpd, "POST", token)
    assert again.status == 409 and again.json["code"] == "token_used"
    assert follow(cdpd, "GET", token, Accept="text/html").status == 409
    # Used is used: what she withdraws later no old link brings back, whatever the daemon went through.
    position = say(cdpd, email, "club", "withdrawn")
    assert check(cdpd, email, "club", "email", position)["state"] == "withdrawn"
    assert follow(cdpd, "POST", token).status == 409
    assert token not in cdpd.log_text()


def test_two_clicks_at_once_count_once(cdpd):
    email = f"email:{uuid.uuid4().hex[:8]}@example.com"
    token = link(cdpd, purpose="consent", person=email, consent={"purpose": "club"})["token"]
    answers = [follow(cdpd, "POST", token) for _ in range(5)]
    assert answers[0].status == 200 and {answer.status for answer in answers[1:]} <= {200, 409}
    cdpd.settled()
    history = [event for event in cdpd.events(email) if event["event"] == "Consent Granted"]
    assert len(history) == 1


def test_bad_tokens_have_their_own_errors(cdpd):
    person = somebody()
    say(cdpd, person, "newsletter", "granted")
    cdpd.settled()
    token = link(cdpd, purpose="consent", person=person, consent={"purpose": "club"})["token"]
    head, mac = token.rsplit(".", 1)
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[2] + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(claims | {"c": "newsletter"}).encode()).decode().rstrip("=")
    parts = token.split(".")
    for bad in (token[:-1], token + "A", head + "." + mac[:-2] + ("AA" if mac[-2:] != "AA" else "BB"), f"{parts[0]}.{parts[1]}.{forged}.{mac}",
                f"{parts[0]}.nokey.{parts[2]}.{mac}", "cp1.x", "nonsense", "%20"):
        for method in ("GET", "POST"):
            answer = follow(cdpd, method, bad)
            assert answer.status == 401 and answer.json["code"] == "invalid_token", (bad, answer)
    preferences = link(cdpd, purpose="preferences", person=person, target="https://shop.example/prefs")["token"]
    assert follow(cdpd, "POST", preferences).json["code"] == "invalid_token"
    form = link(cdpd, purpose="form", person=person, target="https://shop.example/form")["token"]
    answer = cdpd.request("POST", "/v1/consents", b'{"purpose":"newsletter","state":"granted"}', {"Authorization": f"Bearer {form}"})
    assert answer.status == 401 and answer.json["code"] == "invalid_token"  # for forms, not for consent
    assert not check(cdpd, person, "club")["allowed"]


def test_a_person_token_speaks_for_its_person_only(cdpd):
    person = somebody()
    say(cdpd, person, "newsletter", "denied")
    cdpd.settled()
    made = link(cdpd, purpose="preferences", person=person, target="https://shop.example/prefs?a=1")
    answer = follow(cdpd, "GET", made["token"])
    assert answer.status == 302 and answer.headers["location"] == f"https://shop.example/prefs?a=1#cdpd_token={made['token']}"
    bearer = {"Authorization": f"Bearer {made['token']}"}
    answer = cdpd.request("POST", "/v1/consents", b'{"purpose":"newsletter","channel":"email","state":"granted"}', bearer)
    assert answer.status == 200, answer
    assert check(cdpd, person, "newsletter", "email", answer.headers["x-cdpd-position"])["allowed"] is True
    # Proved by the token: no second confirmation is asked for.
    answer = cdpd.request("POST", "/v1/consents", b'{"purpose":"club","state":"granted"}', bearer)
    assert check(cdpd, person, "club", None, answer.headers["x-cdpd-position"])["allowed"] is True
    answer = cdpd.request("POST", "/v1/consents", b'{"person":"user_id:other","purpose":"club","state":"granted"}', bearer)
    assert answer.status == 403 and answer.json["pointer"] == "/person"


def test_only_listed_origins_may_speak_from_a_browser():
    listed = "  - {{id: shop, kind: browser, write_keys: [shop-key], origins: ['https://shop.example']}}\nfeatures:"
    with running(config=CONFIG.replace("features:", listed, 1), extra=CONSENT) as cdpd:
        for origin, allowed in (("https://shop.example", "https://shop.example"), ("https://evil.example", None)):
            preflight = cdpd.request("OPTIONS", "/v1/consents", headers={"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"})
            assert preflight.headers.get("access-control-allow-origin") == allowed
        for path in ("/v1/links", "/v1/consents/check"):
            assert "access-control-allow-origin" not in cdpd.request("OPTIONS", path, headers={"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}).headers


def test_cdpctl_shows_consents(cdpd):
    person = somebody()
    position = say(cdpd, person, "newsletter", "withdrawn", channel="sms")
    check(cdpd, person, "newsletter", "sms", position)
    assert re.search(r"newsletter\s+sms\s+withdrawn", cdpd.ctl("profile", person).stdout)
    assert "DENIED" in cdpd.ctl("destinations").stdout
    assert cdpd.ctl("verify", "everything", check=False).returncode == 2
    assert cdpd.ctl("link", person, "--purpose", "spam", check=False).returncode == 1


def test_links_are_refused_by_field(cdpd):
    for body, pointer in (
        ({"purpose": "fun", "person": "user_id:1", "target": "https://x.example"}, "/purpose"),
        ({"purpose": "form", "person": "user_id:1"}, "/target"),
        ({"purpose": "form", "person": "user_id:1", "target": "javascript:alert(1)"}, "/target"),
        ({"purpose": "form", "person": "user_id:1", "target": "https://x.example/<script>"}, "/target"),
        ({"purpose": "form", "person": "nobody", "target": "https://x.example"}, "/person"),
        ({"purpose": "form", "person": "user_id:1", "target": "https://x.example", "ttl": 1}, "/ttl"),
        ({"purpose": "form", "person": "user_id:1", "target": "https://x.example", "single_use": "yes"}, "/single_use"),
        ({"purpose": "form", "person": "user_id:1", "consent": {"purpose": "club"}}, "/consent"),
        ({"purpose": "consent", "person": "user_id:1", "consent": {"purpose": "spam"}}, "/consent/purpose"),
        ({"purpose": "consent", "person": "user_id:1", "consent": {"purpose": "club", "channel": "fax"}}, "/consent/channel"),
    ):
        answer = cdpd.request("POST", "/v1/links", json.dumps(body).encode(), {"Authorization": f"Bearer {ADMIN_TOKEN}"})
        assert answer.status in (400, 404) and answer.json["pointer"] == pointer, (body, answer)


def test_scopes(cdpd):
    made = ("POST", "/v1/links", b"{}", "links"), ("GET", "/v1/consents/check?person=user_id:1&purpose=club", None, "profiles:read"), \
        ("GET", "/v1/profiles/user_id:1/consents", None, "profiles:read"), ("GET", "/v1/admin/consents/verify", None, "admin")
    for method, path, body, scope in made:
        assert cdpd.request(method, path, body).status == 401
        assert cdpd.request(method, path, body, {"Authorization": "Bearer wrong-token-wrong"}).status == 401
        reader = cdpd.request(method, path, body, {"Authorization": f"Bearer {READ_TOKEN}"})
        assert (reader.status == 403) == (scope != "profiles:read"), (path, reader)


# ── durability, the log, the feed ──────────────────────────────────────────


def test_kill_after_the_answer_loses_nothing():
    with running(extra=CONSENT) as cdpd:
        people = [somebody() for _ in range(20)]
        say(cdpd, people[0], "club", "granted")
        token = link(cdpd, purpose="consent", person=people[0], consent={"purpose": "club"})["token"]
        assert follow(cdpd, "POST", token).status == 200
        for person in people:
            say(cdpd, person, "newsletter", "granted", proof={"text": "I agree"})
        cdpd.kill()
        cdpd.start()
        cdpd.settled()
        for person in people:
            assert check(cdpd, person, "newsletter")["allowed"] is True
        assert check(cdpd, people[0], "club")["allowed"] is True
        assert follow(cdpd, "POST", token).json["code"] == "token_used"  # by the same keys, and still used
        answer = cdpd.get("/v1/admin/consents/verify").json
        assert answer["intact"] is True and answer["rows"] == 22 and answer["erased"] == 0 and len(answer["head"]) == 64
        made = cdpd.ctl("link", people[1], "--purpose", "club", "--channel", "email", "--ttl", "600").stdout.strip()
        assert made.startswith(cdpd.url + "/r/cp1.") and cdpd.request("GET", made[len(cdpd.url):]).status == 200
        assert "22 rows" in cdpd.ctl("verify", "consents").stdout
        keys = cdpd.data / "state" / "person-keys"
        assert keys.stat().st_mode & 0o777 == 0o600


def test_keys_are_rotated_by_a_reload():
    with running(extra=CONSENT) as cdpd:
        old = link(cdpd, purpose="consent", person="user_id:1", consent={"purpose": "club"})["token"]
        keys = cdpd.data / "state" / "person-keys"
        keys.write_text("second " + "ab" * 32 + "\n" + keys.read_text())
        cdpd.reload()
        until(lambda: link(cdpd, purpose="consent", person="user_id:1", consent={"purpose": "club"})["token"].startswith("cp1.second."), "the key was not taken")
        assert follow(cdpd, "GET", old).status == 200
        keys.write_text("third " + "cd" * 32 + "\n" + keys.read_text())
        cdpd.reload()
        until(lambda: follow(cdpd, "GET", old).status == 401, "three keys are live")


def test_every_act_is_in_the_feed(cdpd):
    person = somebody()
    say(cdpd, person, "newsletter", "granted")
    say(cdpd, person, "newsletter", "withdrawn")
    position = say(cdpd, person, "newsletter", "granted")
    me = cdpd.profile(person, position).json["id"]
    connection = cdpd.connect()
    connection.request("GET", "/v1/changes?kind=consent&since=start", headers={"Authorization": f"Bearer {READ_TOKEN}"})
    response = connection.getresponse()
    assert response.status == 200
    found = []
    while len(found) < 3:
        line = response.readline().decode()
        assert line, "the feed ended"
        if line.startswith("data:"):
            change = json.loads(line[5:])
            if change["profile"] == me:
                found.append(change)
    connection.close()
    assert [change["state"] for change in found] == ["granted", "withdrawn", "granted"]
    assert [change["previous"] for change in found] == ["none", "granted", "withdrawn"]
    assert found[-1]["position"] == position


def test_wrong_purposes_are_refused_at_load():
    with running() as cdpd:
        for text, complaint in (
            ("consent: {{purposes: [{{name: a, gates: [ingets]}}]}}", "did you mean 'ingest'?"),
            ("consent: {{purposes: [{{name: a, default: yes}}]}}", "denied"),
            ("consent: {{purposes: [{{name: a, events: [X]}}, {{name: b, events: [X]}}]}}", "is for purpose 'a' already"),
            ("consent: {{purposes: [{{name: a, double_opt_in: true, default: granted}}]}}", "double opt-in"),
            ("consent: {{purposes: [{{name: a, channels: [x, x]}}]}}", "named twice"),
            ("consent: {{purposes: [{{name: news}}]}}\ndestinations: [{{plugin: ndjson, purpose: nws, options: {{directory: /x}}}}]", "did you mean 'news'?"),
        ):
            cdpd.write_config(CONFIG + text + "\n")
            run = subprocess.run(cdpd.command("-n"), capture_output=True, text=True, timeout=60)
            assert run.returncode != 0 and complaint in run.stderr + run.stdout and "cdpd.yaml:" in run.stderr + run.stdout, (text, run)
        cdpd.write_config(CONFIG.replace("may: [alias]", "may: [consent]"))
        run = subprocess.run(cdpd.command("-n"), capture_output=True, text=True, timeout=60)
        assert run.returncode != 0 and "only server and webhook sources may write consent" in run.stderr + run.stdout
