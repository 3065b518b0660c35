"""The crm destination against fakes of HubSpot, Bitrix24 and amoCRM that are made from their documentation: an update updates, nobody is made twice, whoever dies."""

import json
import subprocess
import time

import pytest

import crm_amocrm
import crm_bitrix24
import crm_hubspot
from cdpd import ADMIN_TOKEN, CONFIG, ROOT, SERVER_KEY
from crm_amocrm import AmoCrm
from crm_bitrix24 import Bitrix24, Failure
from crm_hubspot import HubSpot
from crm_server import Answer

KEY = "key: {email: $profile.traits.email, phone: $profile.traits.phone}"
WRITES = {"hubspot": "/batch/up", "bitrix24": "crm.contact.add", "amocrm": "/api/v4/contacts"}


class Kit:
    """What the tests that go through all three need to know of one."""

    def __init__(self, name, fake, options, secret, contact):
        self.name, self.fake, self.options, self.secret, self.contact = name, fake, options, secret, contact

    def people(self):
        """E-mail → name, of every contact."""
        with self.fake.lock:
            if self.name == "hubspot":
                return {one["properties"].get("email"): one["properties"].get("firstname") for one in self.fake.contacts.values()}
            if self.name == "bitrix24":
                return {(one.get("EMAIL") or [{"VALUE": None}])[0]["VALUE"]: one.get("NAME") for one in self.fake.contacts.values()}
            return {next(iter(self.fake.emails(one)), None): one["name"] for one in self.fake.contacts.values()}

    def remove(self):
        with self.fake.lock:
            self.fake.contacts.clear()


def make_kit(name):
    if name == "hubspot":
        fake = HubSpot(requests=1000)
        return Kit(name, fake, f"url: '{fake.url}', token: 'env:CRM'", crm_hubspot.TOKEN, "{firstname: $profile.traits.name}")
    if name == "bitrix24":
        fake = Bitrix24(per_second=1000)
        return Kit(name, fake, "webhook: 'env:CRM'", fake.webhook, "{NAME: $profile.traits.name}")
    fake = AmoCrm(per_second=1000)
    return Kit(name, fake, f"url: '{fake.url}', token: 'env:CRM'", crm_amocrm.TOKEN, "{name: $profile.traits.name}")


@pytest.fixture(params=["hubspot", "bitrix24", "amocrm"])
def kit(request):
    kit = make_kit(request.param)
    yield kit
    kit.fake.close()


@pytest.fixture
def hubspot():
    yield from opened("hubspot")


@pytest.fixture
def bitrix24():
    yield from opened("bitrix24")


@pytest.fixture
def amocrm():
    yield from opened("amocrm")


def opened(name):
    kit = make_kit(name)
    yield kit
    kit.fake.close()


def send_to(daemon, kit, more="", contact=None, key=KEY, lead="", speed="requests_per_second: 1000", records="events", keys=""):
    """`contact`, `key` and `lead` are templates of the mapping; `keys` more of the destination."""
    text = f"""\
destinations:
  - name: crm
    plugin: crm
    options: {{provider: {kit.name}, {kit.options}{', ' + more if more else ''}{', ' + speed if speed else ''}}}
    http: {{allow: [127.0.0.1]}}
    records: [{records}]
    {keys}
    mapping:
      contact: {contact or kit.contact}
      {key}
      {lead}
"""
    daemon.write_config(CONFIG + text.replace("{", "{{").replace("}", "}}"))
    daemon.env["CRM"] = kit.secret
    return daemon


def destination(daemon):
    return next(d for d in daemon.get("/v1/admin/destinations").json["destinations"] if d["plugin"] == "crm")


def until(ask, daemon, timeout=120):
    deadline = time.monotonic() + timeout
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"{destination(daemon)}\n{daemon.log_text()[-4000:]}"
        time.sleep(0.05)
    return answer


def caught_up(daemon):
    def is_done():
        now = destination(daemon)
        return now["lag"] == 0 and not now["failing"]
    daemon.settled()
    until(is_done, daemon)


def identify(daemon, user, message_id=None, **traits):
    message = {"type": "identify", "userId": user, "messageId": message_id or f"{user}-{time.monotonic_ns()}", "traits": traits}
    answer = daemon.post("/v1/identify", message)
    assert answer.status == 200, answer


def merge(daemon, a, b):
    body = {"a": a, "b": b, "reason": "test"}
    answer = daemon.request("POST", "/v1/profiles/merge", json.dumps(body), {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"})
    assert answer.status == 200, answer


def letters(daemon):
    return [letter["reason"] for letter in daemon.get("/v1/admin/deadletters").json["deadLetters"]]


def metric(daemon, name):
    lines = [line for line in daemon.get("/metrics").body.decode().splitlines() if line.startswith(f"cdpd_plugin_{name}{{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def is_told(daemon, word):
    return word in (destination(daemon)["lastError"] or "") or word in daemon.log_text()


def no_secret(daemon, kit):
    """Neither in the log nor in what operators are shown."""
    word = kit.secret.rstrip("/").rsplit("/", 1)[-1]
    shown = daemon.log_text() + json.dumps(destination(daemon)) + json.dumps(letters(daemon)) + daemon.get("/metrics").body.decode()
    assert word not in shown


# ── all three ───────────────────────────────────────────────────────────────


def test_a_contact_is_made_and_updated(stopped, kit):
    send_to(stopped, kit).start()
    identify(stopped, "u1", email="Ada@Example.com", name="Ada")
    identify(stopped, "u2", email="bob@example.com", name="Bob")
    caught_up(stopped)
    assert kit.people() == {"ada@example.com": "Ada", "bob@example.com": "Bob"}
    identify(stopped, "u1", name="Ada Lovelace")
    caught_up(stopped)
    assert kit.people() == {"ada@example.com": "Ada Lovelace", "bob@example.com": "Bob"}
    assert metric(stopped, "crm_created_total") == 2 and metric(stopped, "crm_updated_total") >= 1
    no_secret(stopped, kit)


def test_many_go_in_few_requests(stopped, kit):
    send_to(stopped, kit).start()
    for n in range(120):
        identify(stopped, f"u{n}", email=f"u{n}@example.com", name=f"N{n}")
    caught_up(stopped)
    for n in range(120):
        identify(stopped, f"u{n}", name=f"M{n}")
    caught_up(stopped)
    assert kit.people() == {f"u{n}@example.com": f"M{n}" for n in range(120)}


def test_a_contact_that_was_there_is_found(stopped, kit):
    if kit.name == "hubspot":
        kit.fake.put(email="ada@example.com", company="Analytical Engines")
    elif kit.name == "bitrix24":
        kit.fake.put(NAME="?", EMAIL=[{"VALUE": "ADA@example.com", "VALUE_TYPE": "HOME"}])
    else:
        kit.fake.put(name="?", custom_fields_values=[{"field_code": "EMAIL", "values": [{"value": "ADA@example.com", "enum_code": "WORK"}]}])
    send_to(stopped, kit).start()
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    caught_up(stopped)
    assert len(kit.fake.contacts) == 1 and list(kit.people().values()) == ["Ada"]
    assert metric(stopped, "crm_created_total") == 0


def test_an_answer_that_is_lost_makes_nobody_twice(stopped, kit):
    send_to(stopped, kit).start()
    kit.fake.trouble("lose", on=WRITES[kit.name])
    for n in range(5):
        identify(stopped, f"u{n}", email=f"u{n}@example.com", name=f"N{n}")
    caught_up(stopped)
    assert not kit.fake.troubles, "the answers were not lost"
    assert kit.people() == {f"u{n}@example.com": f"N{n}" for n in range(5)} and len(kit.fake.contacts) == 5


def test_kill_9_in_the_middle_makes_nobody_twice(stopped, kit):
    send_to(stopped, kit)
    for round_ in range(3):
        kit.fake.trouble("hang", on=WRITES[kit.name], times=1)
        before = len(kit.fake.requests)
        stopped.start()
        for n in range(10 * round_, 10 * round_ + 10):
            identify(stopped, f"u{n}", f"m{n}", email=f"u{n}@example.com", name=f"N{n}")
        until(lambda before=before: len(kit.fake.requests) > before and not kit.fake.troubles, stopped)
        stopped.kill()
    kit.fake.is_closing = True  # those that hang end
    kit.fake.troubles.clear()
    stopped.start()
    caught_up(stopped)
    assert kit.people() == {f"u{n}@example.com": f"N{n}" for n in range(30)} and len(kit.fake.contacts) == 30


@pytest.mark.parametrize("trouble", ["reset", Answer(500, None), Answer(502, {"x": "<html>"}), Answer(504, None)])
def test_trouble_on_the_other_side_loses_nothing(stopped, kit, trouble):
    send_to(stopped, kit).start()
    kit.fake.trouble(trouble, times=2)
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    until(lambda: destination(stopped)["failing"] or not kit.fake.troubles, stopped)
    caught_up(stopped)
    assert kit.people() == {"ada@example.com": "Ada"} and not letters(stopped)


def test_somebody_who_is_deleted_there_is_made_anew(stopped, kit):
    send_to(stopped, kit).start()
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    caught_up(stopped)
    kit.remove()
    identify(stopped, "u1", name="Ada again")
    caught_up(stopped)
    assert kit.people() == {"ada@example.com": "Ada again"} and not letters(stopped)


def test_one_who_is_wrong_does_not_hold_up_the_others(stopped, kit):
    send_to(stopped, kit).start()
    for n in range(20):
        identify(stopped, f"u{n}", email="no address" if n == 7 else f"u{n}@example.com", name=f"N{n}")
    caught_up(stopped)
    assert sorted(kit.people()) == sorted(f"u{n}@example.com" for n in range(20) if n != 7)
    reasons = until(lambda: letters(stopped), stopped)
    word = {"hubspot": "HubSpot: Property values were not valid", "bitrix24": "Bitrix24: Поле «Рабочий e-mail»", "amocrm": "amoCRM: custom_fields_values.0.values.0.value: This value"}
    assert len(reasons) == 1 and reasons[0].startswith(word[kit.name]), reasons


def test_what_is_no_contact_is_a_dead_letter(stopped, kit):
    send_to(stopped, kit, key="key: {email: $profile.traits.email}\n      colour: green").start()
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    caught_up(stopped)
    until(lambda: letters(stopped), stopped)
    assert letters(stopped) == ["unknown member 'colour' (there are contact, key, lead, lead_key)"]
    assert not kit.fake.contacts


def test_the_wrong_secret_holds_everything_and_is_told(stopped, kit):
    good, kit.secret = kit.secret, kit.secret.rstrip("/") + "-wrong-secret"
    send_to(stopped, kit).start()
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    until(lambda: is_told(stopped, "401"), stopped)
    assert destination(stopped)["dropped"] == 0 and not kit.fake.contacts
    no_secret(stopped, kit)
    stopped.stop()
    kit.secret = good
    send_to(stopped, kit).start()
    caught_up(stopped)
    assert kit.people() == {"ada@example.com": "Ada"}


def test_erased_people_go_there_too(stopped, kit):
    send_to(stopped, kit).start()
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    identify(stopped, "u2", email="bob@example.com", name="Bob")
    caught_up(stopped)
    stopped.ctl("erase", "user_id:u1", "--wait")
    until(lambda: metric(stopped, "crm_erased_total") == 1, stopped)
    caught_up(stopped)
    if kit.name == "amocrm":  # its API deletes nobody: nothing is left but the number
        erased = next(one for one in kit.fake.contacts.values() if one["name"] == "erased")
        assert erased["custom_fields_values"] is None and "Ada" not in str(erased)
        assert len(kit.fake.contacts) == 2
    else:
        assert kit.people() == {"bob@example.com": "Bob"}
    stopped.ctl("erase", "user_id:u2", "--wait")
    until(lambda: metric(stopped, "crm_erased_total") == 2, stopped)


def test_erased_people_may_stay_there(stopped, kit):
    send_to(stopped, kit, more="on_erase: keep").start()
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    caught_up(stopped)
    stopped.ctl("erase", "user_id:u1", "--wait")
    caught_up(stopped)
    assert kit.people() == {"ada@example.com": "Ada"} and metric(stopped, "crm_erased_total") == 0


def test_the_map_survives_a_restart(stopped, kit):
    """Somebody whose address was changed there is still the same."""
    send_to(stopped, kit).start()
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    caught_up(stopped)
    stopped.stop()
    contact = next(iter(kit.fake.contacts.values()))
    if kit.name == "hubspot":
        contact["properties"]["email"] = "new@example.com"
    elif kit.name == "bitrix24":
        contact["EMAIL"][0]["VALUE"] = "new@example.com"
    else:
        contact["custom_fields_values"][0]["values"][0]["value"] = "new@example.com"
    stopped.start()
    identify(stopped, "u1", name="Ada L")
    caught_up(stopped)
    assert len(kit.fake.contacts) == 1 and "Ada L" in kit.people().values()


# ── people, joined and apart ────────────────────────────────────────────────


def test_profiles_are_kept_as_they_are(stopped, kit):
    """A new destination begins with everybody."""
    stopped.start()
    for n in range(8):
        identify(stopped, f"u{n}", email=f"u{n}@example.com", name=f"N{n}")
    stopped.settled()
    stopped.stop()
    send_to(stopped, kit, records="profiles").start()
    until(lambda: len(kit.people()) == 8, stopped)
    identify(stopped, "u3", name="Third")
    until(lambda: kit.people()["u3@example.com"] == "Third", stopped)
    assert len(kit.fake.contacts) == 8


def two_people(daemon):
    identify(daemon, "u1", email="new@example.com", name="Ada")
    answer = daemon.post("/v1/identify", {"type": "identify", "anonymousId": "a1", "messageId": "old", "traits": {"email": "old@example.com", "name": "Ada"}})
    assert answer.status == 200


def test_a_merge_merges(stopped, kit):
    send_to(stopped, kit, records="profiles").start()
    two_people(stopped)
    until(lambda: len(kit.people()) == 2, stopped)
    merge(stopped, "user_id:u1", "email:old@example.com")
    until(lambda: metric(stopped, "crm_merged_total") == 1, stopped)
    caught_up(stopped)
    if kit.name == "amocrm":  # its API merges nobody: the one has all the addresses, the other a tag
        tagged = [one for one in kit.fake.contacts.values() if one["_embedded"]["tags"] == [{"name": "cdpd duplicate"}]]
        stays = next(one for one in kit.fake.contacts.values() if one not in tagged)
        assert len(tagged) == 1 and kit.fake.emails(stays) == ["new@example.com", "old@example.com"]
    else:
        assert len(kit.fake.contacts) == 1
    identify(stopped, "u1", name="Ada Lovelace")
    until(lambda: "Ada Lovelace" in kit.people().values(), stopped)
    caught_up(stopped)
    assert len(kit.fake.contacts) == (2 if kit.name == "amocrm" else 1) and not letters(stopped)


def test_a_merge_whose_answer_is_lost_is_done_once(stopped, kit):
    send_to(stopped, kit, records="profiles").start()
    two_people(stopped)
    until(lambda: len(kit.people()) == 2, stopped)
    caught_up(stopped)
    kit.fake.trouble("lose", on={"hubspot": "/merge", "bitrix24": "mergeBatch", "amocrm": "tags_to_add"}[kit.name])
    merge(stopped, "user_id:u1", "email:old@example.com")
    until(lambda: metric(stopped, "crm_merged_total") == 1 and not kit.fake.troubles, stopped)
    caught_up(stopped)
    identify(stopped, "u1", name="Ada Lovelace")
    until(lambda: "Ada Lovelace" in kit.people().values(), stopped)
    assert len(kit.fake.contacts) == (2 if kit.name == "amocrm" else 1)


def test_who_withdraws_is_marked(stopped, kit):
    field = {"hubspot": "no_marketing", "bitrix24": "UF_CRM_NO", "amocrm": "NO_MAIL"}[kit.name]
    send_to(stopped, kit, more=f"withdrawn_field: {field}", keys="purpose: ads")
    stopped.config_file.write_text(stopped.config_file.read_text() + "consent:\n  purposes:\n    - {name: ads, default: granted}\n")
    stopped.start()
    until(lambda: stopped.get("/v1/consents/check?person=user_id:x&purpose=ads").status == 200, stopped)
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    caught_up(stopped)
    body = {"person": "user_id:u1", "purpose": "ads", "state": "withdrawn", "proof": {"text": "said so"}}
    assert stopped.post("/v1/consents", body, key=SERVER_KEY).status == 200
    until(lambda: field in str(kit.fake.contacts), stopped)
    caught_up(stopped)
    assert len(kit.fake.contacts) == 1 and not letters(stopped)


@pytest.mark.parametrize("name", ["hubspot", "bitrix24", "amocrm"])
def test_the_ready_made_configurations(stopped, name):
    kit = make_kit(name)
    variable = {"hubspot": "HUBSPOT_TOKEN", "bitrix24": "BITRIX24_WEBHOOK", "amocrm": "AMOCRM_TOKEN"}[name]
    text = (ROOT / "conf" / "destinations" / f"{name}.yaml").read_text()
    try:
        check = subprocess.run([str(stopped.build / "cdpd"), "-n", "-c", str(ROOT / "conf" / "destinations" / f"{name}.yaml"), "--set", f"plugins.path={stopped.build}/plugins"],
                               capture_output=True, text=True, env={**stopped.env, variable: kit.secret}, timeout=60)
        assert check.returncode == 0, check.stderr
        text = text.replace("      url: https://example.amocrm.ru ", "      # url: ").replace("    records:", "    http: {allow: [127.0.0.1]}\n    records:")
        text = text.replace(f"      provider: {name}\n", f"      provider: {name}\n" + (f"      url: '{kit.fake.url}'\n" if name != "bitrix24" else ""))
        stopped.write_config(CONFIG + text.replace("{", "{{").replace("}", "}}"))
        stopped.env[variable] = kit.secret
        stopped.start()
        identify(stopped, "u1", email="Ada@example.com ", firstName="Ada", lastName="Lovelace", phone="+44 20 7946 0018", name="Ada L.")
        stopped.track("u2", "Signed Up")
        until(lambda: kit.fake.contacts and kit.people(), stopped)
        caught_up(stopped)
        assert kit.people() == {"ada@example.com": {"amocrm": "Ada Lovelace"}.get(name, "Ada")} and not letters(stopped)
    finally:
        kit.fake.close()


# ── HubSpot ─────────────────────────────────────────────────────────────────


def test_hubspot_one_bad_input_fails_the_batch_and_is_found(stopped, hubspot):
    """Without multi-status answers a batch is all or nothing."""
    hubspot.fake.multi_status = False
    send_to(stopped, hubspot, contact="{firstname: $profile.traits.name, lifecyclestage: $profile.traits.stage}").start()
    stopped.ctl("destinations", "pause", "crm")
    for n in range(60):
        identify(stopped, f"u{n}", email=f"u{n}@example.com", name=f"N{n}", **({"stage": "evangelist-of-nothing"} if n in (11, 40) else {}))
    stopped.settled()
    stopped.ctl("destinations", "resume", "crm")
    until(lambda: len(letters(stopped)) == 2, stopped)
    caught_up(stopped)
    assert len(hubspot.people()) == 58
    assert all("evangelist-of-nothing was not one of the allowed options" in reason for reason in letters(stopped))
    assert len(hubspot.fake.requests) < 40


def test_hubspot_properties_are_text(stopped, hubspot):
    send_to(stopped, hubspot, contact="{firstname: $profile.traits.name, orders: $profile.features.orders, topics: $profile.traits.topics, lastname: $profile.traits.old}").start()
    identify(stopped, "u1", email="ada@example.com", name="Ada", topics=["art", "tea"], old=True)
    caught_up(stopped)
    contact = next(iter(hubspot.fake.contacts.values()))["properties"]
    assert contact["topics"] == "art;tea" and contact["lastname"] == "true" and contact.get("orders", "0") == "0"


def test_hubspot_a_property_that_is_not_there_is_a_dead_letter(stopped, hubspot):
    send_to(stopped, hubspot, contact="{shoe_size: 43}").start()
    identify(stopped, "u1", email="ada@example.com")
    until(lambda: letters(stopped), stopped)
    assert "shoe_size" in letters(stopped)[0] and "does not exist" in letters(stopped)[0]


def test_hubspot_needs_an_address_or_a_property_of_its_own(stopped, hubspot):
    send_to(stopped, hubspot).start()
    identify(stopped, "u1", name="Nameless")
    until(lambda: letters(stopped), stopped)
    assert "`key.email` is not there" in letters(stopped)[0]
    stopped.stop()
    send_to(stopped, hubspot, more="unique_property: cdpd_id").start()
    hubspot.fake.trouble("lose", on="/batch/upsert")
    identify(stopped, "u1", name="Nobody")
    caught_up(stopped)
    assert [one["properties"]["firstname"] for one in hubspot.fake.contacts.values()] == ["Nobody"]


def test_hubspot_an_address_that_another_contact_has(stopped, hubspot):
    send_to(stopped, hubspot).start()
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    caught_up(stopped)
    other = hubspot.fake.put(email="lovelace@example.com", company="Analytical Engines")
    identify(stopped, "u1", email="lovelace@example.com", name="Ada Lovelace")
    until(lambda: metric(stopped, "crm_conflicts_total") == 1, stopped)
    caught_up(stopped)
    assert other["properties"] == {"email": "lovelace@example.com", "company": "Analytical Engines", "firstname": "Ada Lovelace"}
    assert len(hubspot.fake.contacts) == 2 and not letters(stopped)


def test_hubspot_limits(stopped, hubspot):
    """A rolling limit is waited for; the daily one until it may be over."""
    hubspot.fake.trouble(Answer(429, {"status": "error", "message": "You have reached your secondly limit.", "errorType": "RATE_LIMIT", "policyName": "SECONDLY"}), times=2)
    send_to(stopped, hubspot).start()
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    caught_up(stopped)
    assert hubspot.people() == {"ada@example.com": "Ada"} and metric(stopped, "crm_limited_total") == 2
    hubspot.fake.daily = True
    identify(stopped, "u2", email="bob@example.com", name="Bob")
    until(lambda: is_told(stopped, "DAILY"), stopped)
    asked = len(hubspot.fake.requests)
    time.sleep(3)
    assert len(hubspot.fake.requests) == asked, "asked again, though the day's requests are used up"
    assert not letters(stopped)


def test_hubspot_keeps_to_the_limit(stopped, hubspot):
    hubspot.fake.clock.most = 100
    send_to(stopped, hubspot, speed="").start()
    for n in range(30):
        identify(stopped, f"u{n % 3}", email=f"u{n % 3}@example.com", name=f"N{n}")
    caught_up(stopped)
    assert hubspot.fake.clock.refused == 0


# ── Bitrix24 ────────────────────────────────────────────────────────────────


def values(contact, name):
    return [(value["VALUE"], value["VALUE_TYPE"]) for value in contact.get(name, [])]


LISTED = "{NAME: $profile.traits.name, PHONE: {each: profile.traits.phones, do: {VALUE: $item, VALUE_TYPE: MOBILE}}}"


def test_bitrix24_what_people_added_stays(stopped, bitrix24):
    send_to(stopped, bitrix24, contact=LISTED).start()
    identify(stopped, "u1", email="ada@example.com", name="Ada", phones=["+44 20 7946 0018"])
    caught_up(stopped)
    contact = next(iter(bitrix24.fake.contacts.values()))
    contact["PHONE"].append({"ID": "900", "VALUE": "555-1234", "VALUE_TYPE": "HOME", "TYPE_ID": "PHONE"})
    for n in range(3):
        identify(stopped, "u1", name=f"Ada {n}", phones=["+442079460018", "+44 20 7946 0099"])
    caught_up(stopped)
    assert values(contact, "PHONE") == [("+44 20 7946 0018", "MOBILE"), ("555-1234", "HOME"), ("+44 20 7946 0099", "MOBILE")]
    assert values(contact, "EMAIL") == [("ada@example.com", "WORK")] and contact["NAME"] == "Ada 2"


def test_bitrix24_values_may_be_replaced(stopped, bitrix24):
    send_to(stopped, bitrix24, contact=LISTED, more="values: replace").start()
    identify(stopped, "u1", email="ada@example.com", name="Ada", phones=["+44 20 7946 0018"])
    caught_up(stopped)
    contact = next(iter(bitrix24.fake.contacts.values()))
    first = contact["PHONE"][0]["ID"]
    contact["PHONE"].append({"ID": "900", "VALUE": "555-1234", "VALUE_TYPE": "HOME", "TYPE_ID": "PHONE"})
    identify(stopped, "u1", email="ada@example.com", name="Ada", phones=["+44 20 7946 0099"])
    caught_up(stopped)
    assert values(contact, "PHONE") == [("+44 20 7946 0099", "MOBILE")] and contact["PHONE"][0]["ID"] == first


def test_bitrix24_somebody_with_a_phone_only_is_found_by_it(stopped, bitrix24):
    bitrix24.fake.put(NAME="?", PHONE=[{"VALUE": "8 (916) 123-45-67", "VALUE_TYPE": "MOBILE"}])
    send_to(stopped, bitrix24).start()
    identify(stopped, "u1", phone="+7 916 123 45 67", name="Ada")
    caught_up(stopped)
    assert [one["NAME"] for one in bitrix24.fake.contacts.values()] == ["Ada"] and len(bitrix24.fake.contacts) == 1


def test_bitrix24_somebody_without_an_address_is_found_by_our_mark(stopped, bitrix24):
    send_to(stopped, bitrix24).start()
    bitrix24.fake.trouble("lose", on="crm.contact.add")
    identify(stopped, "u1", name="Nobody")
    caught_up(stopped)
    contact, = bitrix24.fake.contacts.values()
    assert contact["ORIGINATOR_ID"] == "cdpd" and len(contact["ORIGIN_ID"]) == 32 and contact["NAME"] == "Nobody"


@pytest.mark.parametrize("crm", ["bitrix24", "amocrm"])
def test_a_lead_for_each_order(stopped, crm):
    kit = make_kit(crm)
    title, add = ("TITLE", "crm.lead.add") if crm == "bitrix24" else ("name", "/api/v4/leads")
    lead = f"lead: {{{title}: 'Order ${{properties.number}}'}}\n      lead_key: $properties.number"
    try:
        send_to(stopped, kit, lead=lead, keys="events: [Order Completed]").start()
        identify(stopped, "u1", email="ada@example.com", name="Ada")
        kit.fake.trouble("lose", on=add)
        for number in ("A1", "A2", "A1"):
            stopped.track("u1", "Order Completed", properties={"number": number, "total": 3})
        caught_up(stopped)
        assert not kit.fake.troubles
        assert sorted(one[title] for one in kit.fake.leads.values()) == ["Order A1", "Order A2"]
        contact, = kit.fake.contacts
        for one in kit.fake.leads.values():
            assert str(contact) in (one.get("CONTACT_ID"), str(one.get("_embedded", {}).get("contacts", [{}])[0].get("id")))
        kit.fake.leads.clear()
        stopped.track("u1", "Order Completed", properties={"number": "A1", "total": 4})
        caught_up(stopped)
        assert [one[title] for one in kit.fake.leads.values()] == ["Order A1"], "a lead that was deleted there is made anew"
    finally:
        kit.fake.close()


def test_hubspot_has_no_leads(stopped, hubspot):
    send_to(stopped, hubspot, lead="lead: {name: x}").start()
    identify(stopped, "u1", email="ada@example.com")
    until(lambda: letters(stopped), stopped)
    assert letters(stopped) == ["HubSpot: there are contacts only, no `lead`"]


@pytest.mark.parametrize("code, status", [("QUERY_LIMIT_EXCEEDED", 503), ("OPERATION_TIME_LIMIT", 429), ("OVERLOAD_LIMIT", 503), ("expired_token", 401), ("INTERNAL_SERVER_ERROR", 500)])
def test_bitrix24_what_holds_everything(stopped, bitrix24, code, status):
    bitrix24.fake.trouble(Answer(status, {"error": code, "error_description": "as documented"}))
    send_to(stopped, bitrix24).start()
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    until(lambda: is_told(stopped, code), stopped)
    assert not letters(stopped)
    if code in ("QUERY_LIMIT_EXCEEDED", "INTERNAL_SERVER_ERROR"):
        caught_up(stopped)
        assert bitrix24.people() == {"ada@example.com": "Ada"}


def test_bitrix24_a_command_that_takes_too_long_is_for_later(stopped, bitrix24):
    bitrix24.fake.failing["crm.contact.add"] = Failure("OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit.")
    send_to(stopped, bitrix24).start()
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    until(lambda: is_told(stopped, "operation time limit"), stopped)
    assert not letters(stopped)


def test_bitrix24_keeps_to_the_bucket(stopped, bitrix24):
    bitrix24.fake.per_second, bitrix24.fake.burst = 2, 20
    send_to(stopped, bitrix24, speed="").start()
    for n in range(12):
        identify(stopped, f"u{n}", email=f"u{n}@example.com", name=f"N{n}")
        caught_up(stopped)
    assert bitrix24.fake.refused == 0 and len(bitrix24.people()) == 12


@pytest.mark.parametrize("how", ["conflict", "old"])
def test_bitrix24_what_cannot_be_merged_is_told(stopped, bitrix24, how):
    bitrix24.fake.conflicts, bitrix24.fake.can_merge = how == "conflict", how != "old"
    send_to(stopped, bitrix24, records="profiles").start()
    two_people(stopped)
    until(lambda: len(bitrix24.people()) == 2, stopped)
    merge(stopped, "user_id:u1", "email:old@example.com")
    reason, = until(lambda: letters(stopped), stopped)
    assert "/crm/contact/merge/?id=" in reason if how == "conflict" else "Method not found" in reason


# ── amoCRM ──────────────────────────────────────────────────────────────────


def test_amocrm_the_search_finds_parts_and_has_pages(stopped, amocrm):
    """Sixty people whose address holds hers, then hers."""
    for n in range(60):
        amocrm.fake.put(name=f"Not Ada {n}", custom_fields_values=[{"field_code": "EMAIL", "values": [{"value": f"{n}ada@example.com", "enum_code": "WORK"}]}])
    amocrm.fake.put(name="?", custom_fields_values=[{"field_code": "EMAIL", "values": [{"value": "x@example.com", "enum_code": "WORK"}, {"value": "ada@example.com", "enum_code": "PRIV"}]}])
    send_to(stopped, amocrm).start()
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    caught_up(stopped)
    assert len(amocrm.fake.contacts) == 61 and amocrm.fake.contacts[1061]["name"] == "Ada"
    assert amocrm.fake.emails(amocrm.fake.contacts[1061]) == ["ada@example.com", "x@example.com"]
    assert [request.query["page"] for request in amocrm.fake.made("GET", "contacts") if "query" in request.query] == [["1"], ["2"]]


def test_amocrm_values_may_be_replaced(stopped, amocrm):
    send_to(stopped, amocrm, more="values: replace").start()
    identify(stopped, "u1", email="ada@example.com", name="Ada", phone="+7 916 123-45-67")
    caught_up(stopped)
    contact, = amocrm.fake.contacts.values()
    contact["custom_fields_values"][0]["values"].append({"value": "more@example.com", "enum_code": "WORK"})
    identify(stopped, "u1", name="Ada L")
    caught_up(stopped)
    assert amocrm.fake.emails() == ["ada@example.com"] and contact["name"] == "Ada L"


@pytest.mark.parametrize("status, word", [(402, "not paid"), (403, "blocked"), (429, "too many requests")])
def test_amocrm_what_holds_everything(stopped, amocrm, status, word):
    amocrm.fake.trouble(crm_amocrm.problem(status, "Payment Required", "as documented"))
    send_to(stopped, amocrm).start()
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    until(lambda: is_told(stopped, word), stopped)
    assert not letters(stopped)
    if status == 429:
        caught_up(stopped)
        assert amocrm.people() == {"ada@example.com": "Ada"}
    else:
        asked = len(amocrm.fake.requests)
        time.sleep(3)
        assert len(amocrm.fake.requests) == asked, "asking on makes it longer"


def test_amocrm_keeps_to_the_limit(stopped, amocrm):
    amocrm.fake.clock.most = 7
    send_to(stopped, amocrm, speed="").start()
    for n in range(15):
        identify(stopped, f"u{n}", email=f"u{n}@example.com", name=f"N{n}")
    caught_up(stopped)
    assert amocrm.fake.clock.refused == 0 and len(amocrm.people()) == 15


@pytest.fixture
def oauth2():
    fake = AmoCrm(per_second=1000, has_oauth2=True)
    client = crm_amocrm.CLIENT
    options = f"url: '{fake.url}', client_id: {client['client_id']}, client_secret: 'env:CRM', redirect_uri: '{client['redirect_uri']}', refresh_token: 'env:REFRESH'"
    yield Kit("amocrm", fake, options, client["client_secret"], "{name: $profile.traits.name}")
    fake.close()


def test_amocrm_refresh_tokens_are_good_for_one_use(stopped, oauth2):
    stopped.env["REFRESH"] = crm_amocrm.FIRST_REFRESH
    send_to(stopped, oauth2)
    for n in range(3):
        stopped.start()
        identify(stopped, "u1", email="ada@example.com", name=f"Ada {n}")
        caught_up(stopped)
        if n == 1:
            oauth2.fake.access = "another"  # it was taken back: the next request is answered 401
            identify(stopped, "u1", name="Ada again")
            caught_up(stopped)
        no_secret(stopped, oauth2)
        assert "def50200" not in stopped.log_text()
        stopped.kill() if n == 0 else stopped.stop()
    assert oauth2.fake.refreshed == 4 and len(oauth2.fake.contacts) == 1 and oauth2.people() == {"ada@example.com": "Ada 2"}


def test_amocrm_a_line_of_tokens_that_broke_is_begun_anew(stopped, oauth2):
    stopped.env["REFRESH"] = crm_amocrm.FIRST_REFRESH
    send_to(stopped, oauth2).start()
    identify(stopped, "u1", email="ada@example.com", name="Ada")
    caught_up(stopped)
    stopped.stop()
    oauth2.fake.refresh = "def50200-somebody-authorised-anew"
    stopped.start()
    identify(stopped, "u1", name="Ada L")
    until(lambda: is_told(stopped, "no access token"), stopped)
    stopped.stop()
    stopped.env["REFRESH"] = oauth2.fake.refresh
    stopped.start()
    caught_up(stopped)
    assert oauth2.people() == {"ada@example.com": "Ada L"}
