"""Privacy at ingest: what is named private is in no file of the data directory, its pseudonym is."""

import hashlib
import hmac
import os
import pathlib
import stat
import subprocess
import time

from cdpd import CONFIG, Daemon, running

RULES = """\
privacy:
  drop: [traits.ssn, "properties.products[].note", context.device.id]
  pseudonymize: [traits.email, properties.card, traits.phone]
  truncate_ip: true
"""
SECRETS = {"ssn": "078-05-1120", "email": "canary-person@shop.example", "card": "4111222233334444", "note": "canary-note-77", "device": "canary-device-9",
           "phone": "+33612345678", "ip": "198.51.100.23"}


def raw_files(daemon):
    for path in sorted(pathlib.Path(daemon.data).rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()


def holders(daemon, text):
    return [str(path.relative_to(daemon.data)) for path, content in raw_files(daemon) if text.encode() in content]


def key_of(daemon):
    return bytes.fromhex((daemon.data / "privacy.key").read_text().strip())


def pseudonym(daemon, text):
    return "p_" + hmac.new(key_of(daemon), text.encode(), hashlib.sha256).hexdigest()


def person(message_id="m1", **more):
    """As an SDK sends a signed-in person's order, with everything private in all the places it turns up."""
    traits = {"ssn": SECRETS["ssn"], "email": SECRETS["email"], "phone": SECRETS["phone"], "plan": "pro"}
    return {
        "type": "track", "event": "Order Completed", "userId": "u1", "messageId": message_id, "timestamp": "2026-11-01T10:00:00Z",
        "properties": {"total": 5, "card": SECRETS["card"], "products": [{"sku": "a", "note": SECRETS["note"]}, {"sku": "b", "note": SECRETS["note"]}]},
        "context": {"ip": SECRETS["ip"], "traits": traits, "device": {"id": SECRETS["device"], "os": "x"}, "library": {"name": "analytics.js"}},
        **more,
    }


def identify(message_id="i1"):
    return {"type": "identify", "userId": "u1", "messageId": message_id, "traits": person()["context"]["traits"], "context": {"traits": {"ssn": SECRETS["ssn"]}}}


def test_nothing_private_is_in_any_file():
    with running(extra=RULES) as cdpd:
        answer = cdpd.post("/v1/batch", {"batch": [person(), identify(), {**person("bad"), "type": "nonsense"}, {**person("nobody"), "userId": ""}],
                                         "context": {"traits": {"ssn": SECRETS["ssn"]}, "device": {"id": SECRETS["device"]}}})
        assert answer.status == 200 and answer.json["accepted"] == 2, answer
        # Broken ones: an element, a whole body, a body of nobody known.
        broken = b'{"batch":[' + str(person("broken")).encode() + b',{"type":"page","userId":"u2","messageId":"ok"}]}'
        assert cdpd.post("/v1/batch", broken).json["accepted"] == 1
        assert cdpd.post("/v1/track", b'{"traits":{"ssn":"' + SECRETS["ssn"].encode()).status == 400
        assert cdpd.post("/v1/track", person(), key="no-such-key").status == 401
        assert cdpd.post("/v1/track", person("x" * 200)).status == 413
        cdpd.settled()

        profile = cdpd.profile("user_id:u1").json
        masked = pseudonym(cdpd, SECRETS["email"])
        assert profile["traits"]["email"]["value"] == masked
        assert profile["traits"]["phone"]["value"] == pseudonym(cdpd, SECRETS["phone"])
        assert "ssn" not in profile["traits"] and profile["traits"]["plan"]["value"] == "pro"
        assert cdpd.profile(f"email:{masked}").json["id"] == profile["id"]
        order = next(e for e in cdpd.events("user_id:u1") if e["messageId"] == "m1")
        assert order["properties"] == {"total": 5, "card": pseudonym(cdpd, SECRETS["card"]), "products": [{"sku": "a"}, {"sku": "b"}]}
        assert order["context"]["ip"] == "198.51.100.0" and order["context"]["device"] == {"os": "x"}
        rejects = {r["messageId"]: r for r in cdpd.get("/v1/admin/rejects").json["rejects"] if r.get("messageId")}
        assert masked in rejects["bad"]["excerpt"] and SECRETS["email"] not in rejects["bad"]["excerpt"]

        cdpd.stop()
        for name, secret in SECRETS.items():
            assert holders(cdpd, secret) == [], name
        assert any(name.startswith("journal") for name in holders(cdpd, masked))
        assert holders(cdpd, SECRETS["email"].upper()) == []
        for secret in SECRETS.values():
            assert secret not in cdpd.log_text()


def test_without_rules_the_same_search_finds_them():
    """The test above can fail."""
    with running() as cdpd:
        assert cdpd.post("/v1/track", person()).status == 200
        cdpd.settled()
        cdpd.stop()
        for name, secret in SECRETS.items():
            assert holders(cdpd, secret) != [], name


def test_a_retry_is_a_duplicate_across_a_restart():
    with running(extra=RULES) as cdpd:
        cdpd.post("/v1/track", person())
        cdpd.settled()
        key = key_of(cdpd)
        assert stat.S_IMODE((cdpd.data / "privacy.key").stat().st_mode) == 0o600
        assert cdpd.stop() == 0
        cdpd.start()
        assert key_of(cdpd) == key
        cdpd.post("/v1/track", person())
        status = cdpd.settled()["events"]
        assert (status["applied"], status["duplicate"], status["rejected"]) == (1, 1, 0)


def test_identifiers_as_pseudonyms_still_make_one_person():
    with running(extra="privacy: {{pseudonymize: [userId, anonymousId, traits.email]}}\n") as cdpd:
        cdpd.post("/v1/page", {"anonymousId": "canary-visitor", "messageId": "1"})
        cdpd.post("/v1/identify", {"anonymousId": "canary-visitor", "userId": "canary-user", "messageId": "2", "traits": {"email": "Canary@Shop.Example"}})
        cdpd.post("/v1/identify", {"userId": "canary-user", "messageId": "3", "traits": {"email": "canary@shop.example"}})
        cdpd.settled()
        assert cdpd.profile("user_id:canary-user").status == 404
        profile = cdpd.profile("user_id:" + pseudonym(cdpd, "canary-user")).json
        assert {i["namespace"]: i["value"] for i in profile["identifiers"]} == {
            "user_id": pseudonym(cdpd, "canary-user"), "anonymous_id": pseudonym(cdpd, "canary-visitor"), "email": pseudonym(cdpd, "canary@shop.example")}
        assert len(cdpd.events("user_id:" + pseudonym(cdpd, "canary-user"))) == 3
        cdpd.stop()
        for secret in ("canary-visitor", "canary-user", "anary@"):
            assert holders(cdpd, secret) == []


def test_addresses_of_connections_are_cut():
    with running(extra="privacy: {{truncate_ip: true}}\n") as cdpd:
        cdpd.post("/v1/page", {"anonymousId": "a", "messageId": "1"})
        cdpd.settled()
        assert cdpd.events("anonymous_id:a")[0]["ip"] == "127.0.0.0"
        cdpd.stop()
        assert holders(cdpd, "127.0.0.1") == []
        assert not (cdpd.data / "privacy.key").exists()  # nobody needed it


def test_rules_of_one_source_only(tmp_path):
    config = CONFIG.replace("{{id: backend, kind: server, write_keys: [{server_key}]}}",
                            "{{id: backend, kind: server, write_keys: [{server_key}], privacy: {{drop: [properties.card]}}}}")
    assert config != CONFIG
    with running(config) as cdpd:
        cdpd.post("/v1/track", person("web"))
        cdpd.post("/v1/track", person("server"), key="test-server-key")
        cdpd.settled()
        events = {e["messageId"]: e for e in cdpd.events("user_id:u1")}
        assert "card" in events["web"]["properties"] and "card" not in events["server"]["properties"]


def test_a_key_that_others_can_read_is_refused(tmp_path):
    daemon = Daemon(tmp_path, CONFIG, RULES + "  hash_key_file: {folder}/own.key\n")
    key = tmp_path / "own.key"
    key.write_text("00" * 32)
    key.chmod(0o644)
    run = subprocess.run(daemon.command("-n"), capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and "own.key must not be readable by others: chmod 600" in run.stderr
    key.chmod(0o600)
    run = subprocess.run(daemon.command("-n"), capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    key.write_text("not a key")
    daemon.spawn()
    assert daemon.process.wait(60) != 0
    daemon.process.stdout.close()
    assert "does not hold 64 hex digits" in daemon.log_text()


def test_checking_makes_no_key(tmp_path):
    daemon = Daemon(tmp_path, CONFIG, RULES)
    run = subprocess.run(daemon.command("-n"), capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert not daemon.data.exists()


def test_a_reload_brings_rules_and_their_key():
    with running() as cdpd:
        cdpd.post("/v1/track", person("before"))
        cdpd.write_config(CONFIG + RULES)
        cdpd.reload()
        deadline = time.monotonic() + 60
        while "configuration reloaded" not in cdpd.log_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        cdpd.post("/v1/track", person("after"))
        cdpd.settled()
        events = {e["messageId"]: e for e in cdpd.events("user_id:u1")}
        assert events["before"]["properties"]["card"] == SECRETS["card"]
        assert events["after"]["properties"]["card"] == pseudonym(cdpd, SECRETS["card"])
