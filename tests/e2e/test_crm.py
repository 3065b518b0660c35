"""The crm destination against fakes of HubSpot, Bitrix24 and amoCRM that are made from their documentation: an update updates, nobody is made twice, whoever dies."""

import json
import threading
import time

import pytest

import crm_amocrm
import crm_bitrix24
import crm_hubspot
from cdpd import CONFIG
from crm_amocrm import AmoCrm
from crm_bitrix24 import Bitrix24, Failure
from crm_hubspot import HubSpot
from crm_server import Answer
from ledger import Ledger

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


def send_to(daemon, kit, more="", contact=None, key=KEY, lead="", speed="requests_per_second: 1000"):
    """`contact`, `key` and `lead` are templates of the mapping."""
    text = f"""\
destinations:
  - name: crm
    plugin: crm
    options: {{provider: {kit.name}, {kit.options}{', ' + more if more else ''}{', ' + speed if speed else ''}}}
    http: {{allow: [127.0.0.1]}}
    mapping:
      contact: {contact or kit.contact}
      {key}
      {lead}
"""
    daemon.write_config(CONFIG + text.replace("{", "{{").replace("}", "}}"))
    daemon.env["CRM"] = kit.secret
    return daemon


def destination(daemon):
    return next(d for d in daemon.get("/v1/admin/destinations").json["destinations"] if d["name"] == "crm")


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


def letters(daemon):
    return [letter["reason"] for letter in daemon.get("/v1/admin/deadletters?destination=crm").json["deadLetters"]]


def metric(daemon, name):
    lines = [line for line in daemon.get("/metrics").body.decode().splitlines() if line.startswith(f"cdpd_plugin_{name}{{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


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
    until(lambda: destination(stopped)["failing"], stopped)
    shown = destination(stopped)
    assert "401" in shown["lastError"], shown
    assert shown["dropped"] == 0 and not kit.fake.contacts
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
