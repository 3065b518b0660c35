"""Zero-party data: forms are read, answered in parts, become declared traits with their provenance, and survive."""

import json
import pathlib
import subprocess
import time
import urllib.parse

import pytest

from cdpd import ADMIN_TOKEN, CONFIG, READ_TOKEN, ROOT, SERVER_KEY, WRITE_KEY, Daemon

FORMS = """\
forms_file: forms.yaml
preferences:
  topics: [news, {{value: events, label: Events}}]
  channels: [email, telegram]
  frequencies: [daily, weekly]
  languages: [en, fr]
  quiet_hours: true
"""

FORMS_FILE = """\
forms:
  - name: fit
    version: 2
    accepts_since: 1
    title: {en: Find your fit, fr: Trouvez votre taille}
    questions:
      - {id: size, type: single, text: {en: Size?, fr: Taille ?}, options: [s, m, {value: l, label: Large}], required: true, trait: size}
      - {id: colours, type: multiple, text: Colours?, options: [black, red, blue], max_choices: 2}
      - {id: occasion, type: text, text: When red?, max_length: 20, when: {question: colours, in: [red]}}
      - {id: waist, type: number, text: Waist?, min: 40, max: 200}
      - {id: love, type: scale, text: How much?, min: 1, max: 5}
      - {id: born, type: date, text: Born?, min: 1900-01-01, max: 2020-12-31, expires: 1s}
    consents:
      - {purpose: newsletter, channels: [email], version: 3, text: Send me offers.}
  - name: jackets
    kind: quiz
    questions:
      - {id: warm, type: single, text: Warmest?, options: [down, wool], correct: down, points: 2}
      - {id: dry, type: multiple, text: Dry?, options: [wax, tex, linen], correct: [wax, tex]}
  - name: welcome
    kind: entry
    questions:
      - {id: adult, type: single, text: Adult?, options: ["yes", "no"], required: true}
      - {id: rules, type: single, text: Whom may one insult?, options: [nobody, newcomers], required: true, correct: nobody}
    pass: {score: 1, require: {question: adult, is: "yes"}}
"""


def with_forms(daemon, text=FORMS_FILE):
    (pathlib.Path(daemon.folder) / "forms.yaml").write_text(text)


@pytest.fixture
def forms(tmp_path):
    daemon = Daemon(tmp_path, CONFIG, FORMS)
    with_forms(daemon)
    daemon.start()
    yield daemon
    if daemon.process and daemon.process.poll() is None:
        daemon.kill()


def answer(daemon, form="fit", key=SERVER_KEY, **body):
    return daemon.post(f"/v1/forms/{form}/responses", body, key=key)


def traits(daemon, position, who="user_id:u1"):
    found = daemon.get(f"/v1/profiles/{who}/traits?min_position={position}")
    assert found.status == 200, found
    return found.json["traits"]


def position(answered):
    assert answered.status == 200, answered
    return answered.headers["x-cdpd-position"]


def test_a_form_is_read_by_any_front_end_and_cached(forms):
    read = forms.get("/v1/forms/fit", token=None)
    assert read.status == 200
    form = read.json
    assert (form["name"], form["version"], form["kind"]) == ("fit", 2, "form")
    assert form["title"] == {"en": "Find your fit", "fr": "Trouvez votre taille"}
    size = form["questions"][0]
    assert size["options"] == [{"value": "s", "label": "s"}, {"value": "m", "label": "m"}, {"value": "l", "label": "Large"}]
    assert size["required"] and form["questions"][2]["when"] == [{"question": "colours", "in": ["red"]}]
    assert form["consents"] == [{"purpose": "newsletter", "channels": ["email"], "text": "Send me offers.", "version": 3, "required": False}]
    etag = read.headers["etag"]
    again = forms.get("/v1/forms/fit", token=None, **{"If-None-Match": etag})
    assert (again.status, again.body) == (304, b"")
    assert forms.get("/v1/forms/nope", token=None).status == 404
    assert "correct" not in forms.get("/v1/forms/jackets", token=None).body.decode()
    assert forms.get("/v1/forms", token=None).status == 401
    assert {f["name"] for f in forms.get("/v1/forms", token=READ_TOKEN).json["forms"]} == {"fit", "jackets", "welcome", "preferences"}


def test_answers_become_declared_traits_that_beat_observed_ones(forms):
    forms.post("/v1/identify", {"userId": "u1", "traits": {"size": "l", "plan": "free"}})
    answered = answer(forms, userId="u1", version=2, answers={"size": "m", "colours": ["red", "black"], "occasion": "Sundays"}, responseId="r1")
    reply = answered.json
    assert (reply["ok"], reply["form"], reply["version"], reply["complete"]) == (True, "fit", 2, True)
    assert reply["next"] == ["waist", "love", "born"]
    # Told later by behaviour, and still not believed before the person.
    forms.post("/v1/identify", {"userId": "u1", "traits": {"size": "s"}, "timestamp": "2026-11-21T00:00:00Z"})
    found = traits(forms, position(answered))
    size = found["size"]
    assert {k: size[k] for k in ("value", "provenance", "source", "form", "version", "question")} == {
        "value": "m", "provenance": "declared", "source": "backend", "form": "fit", "version": 2, "question": "size"}
    assert [(o["value"], o["provenance"]) for o in size["others"]] == [("l", "observed")]
    assert found["fit.colours"]["value"] == ["red", "black"]
    assert found["fit.occasion"]["value"] == "Sundays"
    assert found["plan"]["provenance"] == "observed" and "form" not in found["plan"]
    event = next(e for e in forms.events("user_id:u1") if e["type"] == "track")
    assert event["event"] == "Form Answered" and event["messageId"] == "r1"
    assert event["properties"]["answers"] == {"size": "m", "colours": ["red", "black"], "occasion": "Sundays"}


@pytest.mark.parametrize("answers, pointer, text", [
    ({"size": "xl"}, "/answers/size", 'size: must be one of "s", "m", "l"'),
    ({"size": 3}, "/answers/size", "must be one of"),
    ({"size": "m", "colour": "red"}, "/answers/colour", "did you mean 'colours'"),
    ({"size": "m", "colours": "red"}, "/answers/colours", "must be a list"),
    ({"size": "m", "colours": ["red", "red"]}, "/answers/colours", "twice"),
    ({"size": "m", "colours": ["red", "black", "blue"]}, "/answers/colours", "at most 2"),
    ({"size": "m", "occasion": "never"}, "/answers/occasion", "not asked"),
    ({"size": "m", "colours": ["red"], "occasion": "x" * 21}, "/answers/occasion", "at most 20"),
    ({"size": "m", "colours": ["red"], "occasion": 5}, "/answers/occasion", "must be a text"),
    ({"size": "m", "waist": "wide"}, "/answers/waist", "must be a number"),
    ({"size": "m", "waist": 39}, "/answers/waist", "from 40 to 200"),
    ({"size": "m", "love": 6}, "/answers/love", "from 1 to 5"),
    ({"size": "m", "love": 2.5}, "/answers/love", "between two steps"),
    ({"size": "m", "born": "yesterday"}, "/answers/born", "must be a date"),
    ({"size": "m", "born": "2021-01-01"}, "/answers/born", "from 1900-01-01 to 2020-12-31"),
    ({"colours": []}, "/answers/size", "an answer is required"),
    ({"size": {"refused": True}}, "/answers/size", "cannot be refused"),
])
def test_a_wrong_answer_names_its_question_and_changes_nothing(forms, answers, pointer, text):
    answered = answer(forms, userId="u1", answers=answers)
    assert answered.status == 400
    assert (answered.json["code"], answered.json["pointer"]) == ("schema_violation", pointer)
    assert text in answered.json["message"] and answered.json["message"].startswith(pointer.rsplit("/", 1)[1] + ": ")
    status = forms.settled()
    assert status["events"]["applied"] == 0 and status["events"]["rejected"] == 1
    assert forms.get("/v1/admin/rejects").json["rejects"][0]["pointer"] == pointer


def test_versions_and_who_may(forms):
    assert answer(forms, userId="u1", version=1, answers={"size": "m"}).json["version"] == 1
    refused = answer(forms, userId="u1", version=3, answers={"size": "m"})
    assert (refused.status, refused.json["pointer"]) == (400, "/version")
    assert answer(forms, key=WRITE_KEY, userId="u1", answers={"size": "m"}).json["code"] == "forbidden"
    assert answer(forms, key="nobody", userId="u1", answers={"size": "m"}).json["code"] == "unknown_key"
    assert answer(forms, answers={"size": "m"}).json["code"] == "missing_identity"
    assert answer(forms, userId="u9", answers={}).json["pointer"] == "/answers/size"
    assert answer(forms, userId="u9", partial=True, answers={}).json["message"] == "there is no answer"
    assert answer(forms, userId="u1", answers=[1]).json["pointer"] == "/answers"
    assert forms.post("/v1/forms/fit/responses", b"{nonsense", key=SERVER_KEY).json["code"] == "invalid_json"
    assert answer(forms, person="email:nobody@example.com", answers={"size": "m"}).status == 404
    assert forms.get("/v1/forms/fit/next?person=user_id:u1", token=None).status == 401
    assert forms.get("/v1/forms/fit/next", token=READ_TOKEN).status == 400


def test_what_is_known_is_asked_no_more(forms):
    def following(limit=1, after=None):
        query = f"&min_position={after}" if after else ""
        found = forms.get(f"/v1/forms/fit/next?person=user_id:u1&limit={limit}{query}", token=READ_TOKEN)
        assert found.status == 200, found
        return [q["id"] for q in found.json["questions"]]

    assert following() == ["size"]
    at = position(answer(forms, userId="u1", partial=True, answers={"size": "m"}))
    assert following(20, at) == ["colours", "waist", "love", "born"]
    at = position(answer(forms, person="user_id:u1", partial=True, answers={"colours": ["red"], "waist": {"refused": True}}, refused=["love"]))
    assert following(20, at) == ["occasion", "born"], "refused once, asked no more; the condition holds now"
    # Merged with what is known: the condition looks at the colours of before.
    at = position(answer(forms, userId="u1", partial=True, answers={"occasion": "Sundays"}))
    assert following(20, at) == ["born"]
    found = traits(forms, at)
    assert found["fit.waist.refused"]["value"] is True and found["fit.waist.refused"]["question"] == "waist"
    assert "fit.waist" not in found
    assert forms.get(f"/v1/forms/fit/next?person=user_id:u1&min_position={at}", token=READ_TOKEN).json["done"] is False


def test_an_answer_expires_and_then_the_observed_value_counts_again(forms):
    forms.post("/v1/identify", {"userId": "u1", "traits": {"fit.born": "1970-01-01"}})
    at = position(answer(forms, userId="u1", partial=True, answers={"born": "1990-05-01"}))
    deadline = time.monotonic() + 30
    while traits(forms, at)["fit.born"]["provenance"] == "declared":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    born = traits(forms, at)["fit.born"]
    assert (born["value"], born["provenance"]) == ("1970-01-01", "observed")
    (old,) = born["others"]
    assert (old["value"], old["provenance"], old["expired"], old["question"]) == ("1990-05-01", "declared", True, "born")
    assert forms.profile("user_id:u1").json["traits"]["fit.born"]["value"] == "1970-01-01"
    assert "born" in [q["id"] for q in forms.get("/v1/forms/fit/next?person=user_id:u1&limit=20", token=READ_TOKEN).json["questions"]]


def test_a_response_counts_once_and_survives_a_kill(forms):
    for _ in range(3):
        at = position(answer(forms, userId="u1", answers={"size": "m", "waist": 80}, responseId="same"))
    assert forms.settled()["events"]["duplicate"] == 2
    at = position(answer(forms, userId="u1", answers={"size": "s", "waist": 81}, responseId="last"))
    forms.kill()
    forms.start()
    found = traits(forms, at)
    assert (found["size"]["value"], found["fit.waist"]["value"]) == ("s", 81)
    assert found["size"]["form"] == "fit"


def test_a_joined_person_keeps_provenance(forms):
    forms.post("/v1/page", {"anonymousId": "a1", "properties": {}})
    answer(forms, anonymousId="a1", answers={"size": "m"})
    forms.post("/v1/identify", {"userId": "u1", "anonymousId": "a1", "traits": {"size": "l"}})
    at = position(answer(forms, userId="u1", partial=True, answers={"waist": 90}))
    found = traits(forms, at)
    assert (found["size"]["value"], found["size"]["question"]) == ("m", "size")
    assert found["fit.waist"]["value"] == 90


def test_quiz_and_entry_gate(forms):
    reply = answer(forms, "jackets", userId="u1", answers={"warm": "down", "dry": ["tex", "wax"]}).json
    assert reply["score"] == 3
    reply = answer(forms, "jackets", userId="u1", answers={"warm": "wool", "dry": ["wax"]}).json
    assert reply["score"] == 0
    refused = answer(forms, "welcome", userId="u1", answers={"adult": "yes", "rules": "newcomers"})
    assert refused.json["passed"] is False
    partly = answer(forms, "welcome", userId="u2", partial=True, answers={"adult": "yes"}).json
    assert "passed" not in partly and partly["next"] == ["rules"]
    forms.settled()
    let_in = answer(forms, "welcome", userId="u2", partial=True, answers={"rules": "nobody"})
    assert let_in.json["passed"] is True
    found = traits(forms, position(let_in), "user_id:u2")
    assert (found["welcome.passed"]["value"], found["welcome.passed"]["provenance"]) == (True, "declared")


def test_preferences(forms):
    read = forms.get("/v1/preferences?person=user_id:u1", token=READ_TOKEN)
    assert read.status == 200 and read.json["preferences"] == {}
    assert [q["id"] for q in read.json["form"]["questions"]] == ["topics", "channels", "frequency", "language", "quiet_hours"]

    def put(**preferences):
        body = json.dumps({"userId": "u1", "preferences": preferences}).encode()
        return forms.request("PUT", "/v1/preferences", body, {"X-Write-Key": SERVER_KEY})

    wanted = {"topics": ["news"], "frequency": "weekly", "quiet_hours": {"from": "22:00", "to": "07:00"}}
    at = position(put(**wanted))
    assert forms.get(f"/v1/preferences?person=user_id:u1&min_position={at}", token=READ_TOKEN).json["preferences"] == wanted
    at = position(put(topics=["news", "events"], quiet_hours=None))
    now = forms.get(f"/v1/preferences?person=user_id:u1&min_position={at}", token=READ_TOKEN).json["preferences"]
    assert now == {"topics": ["news", "events"], "frequency": "weekly"}
    assert traits(forms, at)["preferences.frequency"]["value"] == "weekly"
    assert put(quiet_hours={"from": "25:00", "to": "07:00"}).json["pointer"] == "/preferences/quiet_hours"


def test_a_changed_form_needs_a_higher_version(forms):
    with_forms(forms, FORMS_FILE.replace("Waist?", "How wide?"))
    forms.reload()
    wait_for_log(forms, "form 'fit' has changed and is still version 2")
    assert forms.get("/v1/forms/fit", token=None).json["questions"][3]["text"] == "Waist?"
    with_forms(forms, FORMS_FILE.replace("Waist?", "How wide?").replace("version: 2", "version: 3"))
    forms.reload()
    wait_for_log(forms, "configuration reloaded")
    form = forms.get("/v1/forms/fit", token=None).json
    assert (form["version"], form["questions"][3]["text"]) == (3, "How wide?")


def wait_for_log(daemon, text):
    deadline = time.monotonic() + 30
    while text not in daemon.log_text():
        assert time.monotonic() < deadline, daemon.log_text()
        time.sleep(0.05)


@pytest.mark.parametrize("old, new, complaint", [
    ("type: scale", "type: scael", "forms.yaml:11: "),
    ("question: colours", "question: colour", "did you mean 'colours'"),
    ("in: [red]", "in: [green]", "no option of question 'colours'"),
    ("max: 5}", "max: five}", "forms.yaml:11: form 'fit', question 'love': max: 'five' is not a number"),
    ("correct: down", "correct: up", "no option of question 'warm'"),
    ("name: jackets", "name: fit", "forms[1]: name 'fit' is taken by forms[0]"),
    ("    pass:", "    parse:", "did you mean 'pass'"),
])
def test_wrong_definitions_are_refused_with_file_and_line(tmp_path, old, new, complaint):
    daemon = Daemon(tmp_path, CONFIG, FORMS)
    assert old in FORMS_FILE
    with_forms(daemon, FORMS_FILE.replace(old, new))
    run = subprocess.run(daemon.command("-n"), capture_output=True, text=True, timeout=30)
    assert run.returncode != 0 and complaint in run.stderr, run.stderr


def test_the_example_forms_load(tmp_path):
    daemon = Daemon(tmp_path, CONFIG, "forms_file: forms.yaml\n")
    with_forms(daemon, (ROOT / "conf" / "forms.yaml").read_text())
    run = subprocess.run(daemon.command("-n"), capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, run.stderr


def person_token(daemon, purpose, person, **more):
    body = json.dumps({"purpose": purpose, "person": person, "target": "https://shop.example/fit", **more}).encode()
    made = daemon.request("POST", "/v1/links", body, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert made.status == 200, made
    return made.json["token"]


def as_person(daemon, token, method, path, body=None):
    return daemon.request(method, path, json.dumps(body).encode() if body is not None else None, {"Authorization": f"Bearer {token}"})


def test_a_person_token_answers_for_its_person_only(forms):
    forms.track("u1", "Seen")
    forms.settled()
    token = person_token(forms, "form", "user_id:u1")
    answered = as_person(forms, token, "POST", "/v1/forms/fit/responses", {"answers": {"size": "m"}, "userId": "u2"})
    found = traits(forms, position(answered))
    assert (found["size"]["value"], found["size"]["source"]) == ("m", "person")
    assert forms.profile("user_id:u2").status == 404
    following = as_person(forms, token, "GET", "/v1/forms/fit/next?limit=20&person=user_id:u2")
    assert [q["id"] for q in following.json["questions"]] == ["colours", "waist", "love", "born"], "of u1, whatever is asked for"
    # In the body, for front ends that send no headers; refused for another purpose, when changed, and when used twice.
    position(forms.post("/v1/forms/fit/responses", {"token": token, "partial": True, "answers": {"waist": 80}}, key=None))
    assert as_person(forms, token, "PUT", "/v1/preferences", {"preferences": {"topics": ["news"]}}).status in (401, 403)
    assert as_person(forms, token[:-2] + "AA", "POST", "/v1/forms/fit/responses", {"answers": {"size": "s"}}).status in (401, 403)
    preferences = person_token(forms, "preferences", "user_id:u1")
    at = position(as_person(forms, preferences, "PUT", "/v1/preferences", {"preferences": {"topics": ["news"]}}))
    assert as_person(forms, preferences, "GET", f"/v1/preferences?min_position={at}").json["preferences"] == {"topics": ["news"]}
    bound = person_token(forms, "form", "user_id:u1", form="jackets")
    assert as_person(forms, bound, "POST", "/v1/forms/fit/responses", {"answers": {"size": "s"}}).status == 403
    assert as_person(forms, bound, "GET", "/v1/forms/jackets/next").status == 200
    once = person_token(forms, "form", "user_id:u1", single_use=True)
    position(as_person(forms, once, "POST", "/v1/forms/fit/responses", {"answers": {"size": "l"}}))
    forms.settled()
    again = as_person(forms, once, "POST", "/v1/forms/fit/responses", {"answers": {"size": "s"}})
    assert again.status >= 400 and "used" in again.json["code"], again
    assert traits(forms, at)["size"]["value"] == "l"


def test_a_public_key_learns_nothing_of_what_is_known(tmp_path):
    daemon = Daemon(tmp_path, CONFIG.replace("may: [alias]", "may: [alias, declared]"), FORMS)
    with_forms(daemon)
    daemon.start()
    try:
        daemon.profile("user_id:u1", position(answer(daemon, userId="u1", answers={"size": "m", "colours": ["red"]})))
        mine = answer(daemon, key=WRITE_KEY, userId="u1", partial=True, answers={"waist": 80})
        assert mine.json["next"] == ["size", "colours", "love", "born"], "as if nothing had been told before"
        assert answer(daemon, key=WRITE_KEY, userId="u1", partial=True, answers={"occasion": "Sundays"}).status == 400
        assert answer(daemon, key=WRITE_KEY, person="user_id:u1", partial=True, answers={"waist": 80}).json["code"] == "forbidden"
        assert daemon.get("/v1/forms/fit/next?person=user_id:u1", token=WRITE_KEY).status == 401
    finally:
        daemon.kill()


PURPOSES = """\
consent:
  purposes:
    - {{name: newsletter, channels: [email]}}
"""


def test_consents_given_with_a_form_are_acts_of_consent(tmp_path):
    daemon = Daemon(tmp_path, CONFIG.replace("may: [alias]", "may: [alias, declared]"), FORMS + PURPOSES)
    with_forms(daemon)
    daemon.start()
    try:
        def may_send(who, at):
            return daemon.get(f"/v1/consents/check?person={who}&purpose=newsletter&channel=email&min_position={at}").json["allowed"]

        at = position(answer(daemon, userId="u1", answers={"size": "m"}, consents={"newsletter": True}, responseId="r1"))
        assert may_send("user_id:u1", at) is True
        (act,) = [c for c in daemon.get("/v1/profiles/user_id:u1/consents").json["consents"] if c["purpose"] == "newsletter"]
        assert act["evidence"]["said"]["proof"] == {"text": "Send me offers.", "version": "3", "where": "fit", "how": "form"}, act
        answer(daemon, userId="u1", answers={"size": "m"}, consents={"newsletter": True}, responseId="r1")
        assert daemon.settled()["events"]["duplicate"] == 2, "the answers and the consent, each once"
        at = position(answer(daemon, userId="u2", answers={"size": "m"}))
        assert may_send("user_id:u2", at) is False, "not asked is not allowed"
        at = position(answer(daemon, userId="u1", answers={"size": "m"}, consents={"newsletter": False}))
        assert may_send("user_id:u1", at) is False
        # A key that everybody can read declares, but never consents; the answers that came with it are refused too.
        refused = answer(daemon, key=WRITE_KEY, userId="u3", answers={"size": "m"}, consents={"newsletter": True})
        assert (refused.status, refused.json["pointer"]) == (403, "/consents")
        assert daemon.profile("user_id:u3").status == 404
        once = person_token(daemon, "form", "user_id:u2", single_use=True)
        at = position(as_person(daemon, once, "POST", "/v1/forms/fit/responses", {"answers": {"size": "l"}, "consents": {"newsletter": True}}))
        assert may_send("user_id:u2", at) is True
    finally:
        daemon.kill()


def test_a_form_asks_for_purposes_that_exist(tmp_path):
    daemon = Daemon(tmp_path, CONFIG, FORMS + PURPOSES.replace("newsletter", "news"))
    with_forms(daemon)
    run = subprocess.run(daemon.command("-n"), capture_output=True, text=True, timeout=30)
    assert "forms.yaml:2: form 'fit': the purpose 'newsletter' is not one of consent.purposes" in run.stderr, run.stderr


def test_forms_inside_mails(tmp_path):
    daemon = Daemon(tmp_path, CONFIG, FORMS + "amp: {{senders: [news@shop.example]}}\n")
    with_forms(daemon)
    daemon.start()
    try:
        daemon.track("u1", "Seen")
        daemon.settled()
        token = person_token(daemon, "form", "user_id:u1")
        by = {"AMP-Email-Sender": "news@shop.example"}

        def send(fields, headers=by, path="/amp/forms/fit", mime="application/x-www-form-urlencoded"):
            body = fields if isinstance(fields, bytes) else urllib.parse.urlencode(fields, doseq=True).encode()
            return daemon.request("POST", path, body, {"Content-Type": mime, **headers})

        answered = send({"token": token, "size": "m", "colours": ["red", "black"], "waist": "80.5", "love": "3", "occasion": ""})
        assert answered.headers["amp-email-allow-sender"] == "news@shop.example"
        found = traits(daemon, position(answered))
        assert (found["size"]["value"], found["fit.colours"]["value"], found["fit.waist"]["value"], found["fit.love"]["value"]) == ("m", ["red", "black"], 80.5, 3)
        assert found["size"]["source"] == "person" and "fit.occasion" not in found
        # Version 1 of the rules.
        origin = {"Origin": "https://mail.google.com"}
        answered = send({"token": token, "partial": "1", "occasion": "Sundays"}, origin, "/amp/forms/fit?__amp_source_origin=news@shop.example")
        assert answered.status == 200, answered
        assert answered.headers["amp-access-control-allow-source-origin"] == "news@shop.example"
        assert answered.headers["access-control-allow-origin"] == "https://mail.google.com"
        # As mail clients really send it.
        part = 'Content-Disposition: form-data; name="{}"\r\n\r\n{}'
        multipart = "--x1\r\n" + "\r\n--x1\r\n".join(part.format(*field) for field in [("token", token), ("partial", "on"), ("born", "1990-05-01")]) + "\r\n--x1--\r\n"
        assert send(multipart.encode(), mime="multipart/form-data; boundary=x1").status == 200
        wrong = send({"token": token, "size": "xl"})
        assert (wrong.status, wrong.json["pointer"]) == (400, "/answers/size") and wrong.headers["amp-email-allow-sender"]
        assert send({"token": token, "size": "m", "sise": "m"}).json["pointer"] == "/answers/sise"
        # Nobody else's mail, nobody without a token, nothing that is no form.
        assert send({"token": token, "size": "m"}, {"AMP-Email-Sender": "evil@example.com"}).status == 403
        assert send({"token": token, "size": "m"}, {}).status == 403
        assert send({"size": "m"}).status == 401
        assert send(b"--x1\r\nbroken", mime="multipart/form-data; boundary=x1").json["code"] == "invalid_body"
        assert send(b"{}", mime="application/json").json["code"] == "invalid_body"
        listed = daemon.request("GET", f"/amp/lists/jackets?token={token}&limit=5", headers=by)
        assert [item["id"] for item in listed.json["items"]] == ["warm", "dry"], listed
        assert daemon.request("GET", "/amp/lists/jackets?token=cp1.nonsense", headers=by).status in (401, 403)
        assert token not in json.dumps(daemon.get("/v1/admin/rejects").json), "tokens are kept nowhere"
    finally:
        daemon.kill()


def test_no_senders_no_amp(forms):
    assert forms.request("GET", "/amp/lists/fit", headers={"AMP-Email-Sender": "news@shop.example"}).status == 403
