"""Forms made over the admin API: versions, refusals, what stands after a restart, a reload and a kill."""

import json
import subprocess
import threading

import pytest
from cdpd import ADMIN_TOKEN, READ_TOKEN, SERVER_KEY, running

EXTRA = """\
forms:
  - {{name: fixed, questions: [{{id: a, type: text, text: A?}}]}}
"""

FIT = {
    "title": {"en": "Find your fit", "fr": "Trouvez votre taille"},
    "questions": [
        {"id": "size", "type": "single", "text": "Which size? \ud83d\udc55", "options": ["s", "m", {"value": 40, "label": "Forty"}], "required": True, "expires": "365d"},
        {"id": "why", "type": "text", "text": "Why / \"why\"?", "when": {"question": "size", "is": "m"}, "help": None},
        {"id": "rating", "type": "scale", "text": "Score", "min": 0, "max": 10, "labels": {"0": "no", "10": "yes"}},
    ],
}


@pytest.fixture(name="daemon")
def _daemon():
    with running(extra=EXTRA) as daemon:
        yield daemon


def put(daemon, name, definition, query="", token=ADMIN_TOKEN):
    return daemon.request("PUT", f"/v1/admin/forms/{name}{query}", json.dumps(definition).encode(), {"Authorization": f"Bearer {token}"})


def delete(daemon, name, query=""):
    return daemon.request("DELETE", f"/v1/admin/forms/{name}{query}", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})


def answer(daemon, name, user, **fields):
    return daemon.post(f"/v1/forms/{name}/responses", {"userId": user, **fields}, key=SERVER_KEY)


def with_question(**changes):
    definition = json.loads(json.dumps(FIT))
    definition["questions"][0].update(changes)
    return definition


def test_a_form_is_put_answered_changed_and_deleted(daemon):
    made = put(daemon, "fit", FIT)
    assert made.status == 201, made
    assert made.json["version"] == 1 and made.json["created"] and made.json["changed"]
    shown = daemon.get("/v1/forms/fit", token=None)
    assert shown.status == 200 and shown.json == made.json["form"]
    assert shown.json["questions"][0]["text"] == "Which size? \U0001f455" and shown.json["questions"][0]["options"][2] == {"value": 40, "label": "Forty"}
    assert shown.json["questions"][1]["text"] == 'Why / "why"?'
    assert [form["name"] for form in daemon.get("/v1/forms").json["forms"]] == ["fixed", "fit"]

    first = answer(daemon, "fit", "u1", version=1, answers={"size": "m", "why": "x", "rating": 7})
    assert first.status == 200 and first.json["version"] == 1, first
    refused = answer(daemon, "fit", "u1", answers={"size": "xl"})
    assert refused.status == 400 and refused.json["pointer"] == "/answers/size"

    again = put(daemon, "fit", {"name": "fit", **FIT})
    assert again.status == 200 and again.json["version"] == 1 and not again.json["changed"] and not again.json["created"]
    again = put(daemon, "fit", {**with_question(), "version": 1})
    assert again.status == 200 and not again.json["changed"]

    changed = put(daemon, "fit", with_question(options=["s", "m", "xl"]))
    assert changed.status == 200 and changed.json["version"] == 2 and changed.json["changed"]
    second = answer(daemon, "fit", "u2", answers={"size": "xl"})
    assert second.status == 200 and second.json["version"] == 2
    old = answer(daemon, "fit", "u3", version=1, answers={"size": "m"})
    assert old.status == 400 and old.json["pointer"] == "/version"
    traits = {user: daemon.profile(f"user_id:{user}", position=second.headers["x-cdpd-position"]).json["traits"]["fit.size"] for user in ("u1", "u2")}
    assert {user: (trait["value"], trait["version"], trait["form"]) for user, trait in traits.items()} == {"u1": ("m", 1, "fit"), "u2": ("xl", 2, "fit")}

    shown = daemon.get("/v1/admin/forms/fit").json
    assert shown["versions"] == [1, 2] and shown["changedBy"] == "admin" and shown["origin"] == "store" and not shown["readOnly"]
    assert shown["definition"]["questions"][0]["options"] == ["s", "m", "xl"]
    assert put(daemon, "fit", shown["definition"]).json["changed"] is False
    assert daemon.get("/v1/admin/forms/fit?version=1").json["definition"]["questions"][0]["options"][2]["value"] == 40
    assert daemon.get("/v1/admin/forms/fit?version=9").status == 404
    fixed = next(form for form in daemon.get("/v1/admin/forms").json["forms"] if form["name"] == "fixed")
    assert fixed["readOnly"] and fixed["origin"] == "config" and fixed["file"].endswith("cdpd.yaml") and fixed["line"] > 1

    assert delete(daemon, "fit", "?dry_run=1").json["deleted"] is False
    assert daemon.get("/v1/forms/fit", token=None).status == 200
    assert delete(daemon, "fit").json == {"name": "fit", "deleted": True, "dryRun": False}
    assert daemon.get("/v1/forms/fit", token=None).status == 404 and delete(daemon, "fit").status == 404
    assert answer(daemon, "fit", "u1", answers={"size": "s"}).status == 404
    assert daemon.profile("user_id:u1").json["traits"]["fit.size"]["value"] == "m"
    assert put(daemon, "fit", FIT).json["version"] == 4, "a number that a form had is never given again"


def test_wrong_definitions_are_refused_with_pointers_and_change_nothing(daemon):
    cases = [
        (with_question(type="singel"), "/questions/0/type"),
        (with_question(options=["s", "s"]), "/questions/0/options/1"),
        (with_question(when={"question": "rating", "at_least": 3}), "/questions/0/when/question"),
        (with_question(expires="365 suns"), "/questions/0/expires"),
        (with_question(requird=True), "/questions/0/requird"),
        (with_question(required="true"), "/questions/0/required"),
        (with_question(text={"en": ["x"]}), "/questions/0/text"),
        ({**FIT, "name": "other"}, "/name"),
        ({**FIT, "version": 0}, "/version"),
        ({**FIT, "results": "secret"}, "/results"),
        ({"questions": "none"}, "/questions"),
        ({}, ""),
        ([], ""),
    ]
    for definition, pointer in cases:
        for query in ("", "?dry_run=1"):
            refused = put(daemon, "fit", definition, query)
            assert refused.status == 400 and refused.json["code"] == "schema_violation", (definition, refused)
            assert refused.json["pointer"] == pointer and refused.json["errors"][0]["pointer"] == pointer, (definition, refused)
    refused = put(daemon, "fit", with_question(type="singel")).json
    assert "did you mean 'single'?" in refused["message"], refused
    several = put(daemon, "fit", {"questions": [{"id": "a", "type": "scale", "text": "A"}, {"id": "b", "type": "text", "text": "B", "min": 1}]}).json
    assert {fault["pointer"] for fault in several["errors"]} == {"/questions/0", "/questions/1"}, several
    assert daemon.request("PUT", "/v1/admin/forms/fit", b'{"questions":[', {"Authorization": f"Bearer {ADMIN_TOKEN}"}).json["code"] == "invalid_json"
    twice = daemon.request("PUT", "/v1/admin/forms/fit", b'{"questions":[{"id":"a","id":"b"}]}', {"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert twice.status == 400 and twice.json["pointer"] == "/questions/0", twice
    assert put(daemon, "preferences", FIT).status == 400 and put(daemon, "No.Good", FIT).status in (400, 404)
    for method in ("PUT", "DELETE"):
        clash = daemon.request(method, "/v1/admin/forms/fixed", json.dumps(FIT).encode(), {"Authorization": f"Bearer {ADMIN_TOKEN}"})
        assert clash.status == 409 and clash.json["code"] == "form_in_config", clash
    assert put(daemon, "fit", FIT, token=READ_TOKEN).status == 403
    assert put(daemon, "fit", FIT, "?dry_run=1").json["version"] == 1
    assert put(daemon, "fit", FIT, "?dry_run=2").status == 400
    assert daemon.get("/v1/forms/fit", token=None).status == 404 and not (daemon.data / "state" / "forms").exists()
    put(daemon, "fit", {**FIT, "version": 7})
    low = put(daemon, "fit", {**with_question(required=False), "version": 7})
    assert low.status == 400 and low.json["pointer"] == "/version"
    assert put(daemon, "fit", with_question(required=False)).json["version"] == 8


def test_forms_outlive_restart_reload_and_kill(daemon):
    put(daemon, "fit", FIT)
    put(daemon, "gone", FIT)
    delete(daemon, "gone")
    daemon.kill()
    # What a crash between writing and renaming leaves is nobody's form.
    (daemon.data / "state" / "forms" / "fit.2.json.new").write_text('{"format":1,"na')
    daemon.start()
    assert daemon.get("/v1/admin/forms/fit").json["version"] == 1
    assert daemon.get("/v1/forms/gone", token=None).status == 404
    before = daemon.log_text().count("configuration reloaded")
    daemon.reload()
    while daemon.log_text().count("configuration reloaded") == before:
        pass
    assert daemon.get("/v1/forms/fit", token=None).status == 200
    assert put(daemon, "fit", with_question(required=False)).json["version"] == 2
    assert daemon.stop() == 0
    daemon.start()
    assert daemon.get("/v1/forms/fit", token=None).json["version"] == 2
    assert put(daemon, "gone", FIT).json["version"] == 3


def check(daemon):
    return subprocess.run(daemon.command("-n"), capture_output=True, text=True, timeout=60, check=False)


def test_a_name_stands_in_the_configuration_or_in_the_store(daemon):
    put(daemon, "fit", FIT)
    put(daemon, "late", FIT)
    delete(daemon, "late")
    text = daemon.config_file.read_text()
    form = "  - {name: fit, version: 5, questions: [{id: a, type: text, text: A?}]}\n"
    daemon.config_file.write_text(text + form)
    line = (text + form).count("\n")
    run = check(daemon)
    assert run.returncode == 1 and f"cdpd.yaml:{line}: form 'fit' was made over the API too" in run.stderr, run.stderr
    daemon.reload()
    while "reload refused" not in daemon.log_text():
        pass
    assert daemon.get("/v1/forms/fit", token=None).json["questions"][0]["id"] == "size"
    daemon.stop()
    assert daemon.spawn().wait(30) == 1
    daemon.process.stdout.close()
    daemon.config_file.write_text(text + form.replace("fit, version: 5", "late, version: 2"))
    run = check(daemon)
    assert run.returncode == 1 and "deleted as version 2: give it version 3" in run.stderr, run.stderr
    daemon.config_file.write_text(text + form.replace("fit, version: 5", "late, version: 3"))
    assert check(daemon).returncode == 0
    daemon.start()
    assert daemon.get("/v1/forms/late", token=None).json["version"] == 3
    daemon.stop()
    daemon.config_file.write_text(text)
    stored = daemon.data / "state" / "forms" / "fit.1.json"
    good = stored.read_text()
    for bad, why in ((good[:-20], "is not a form"), (good.replace('"format":1', '"format":2'), "newer cdpd"), (good.replace('"single"', '"double"'), "/questions/0/type")):
        stored.write_text(bad)
        run = check(daemon)
        assert run.returncode == 1 and why in run.stderr and "fit.1.json" in run.stderr, run.stderr
    stored.write_text(good)
    daemon.start()


def test_puts_from_many_sides_are_versions_one_after_the_other(daemon):
    seen, lock = [], threading.Lock()

    def work(side):
        for i in range(10):
            made = put(daemon, "fit", with_question(help=f"{side} {i}"))
            assert made.status in (200, 201), made
            with lock:
                seen.append(made.json["version"])
            shown = daemon.get("/v1/forms/fit", token=None)
            assert shown.json["version"] >= made.json["version"], "a version that was given is there for everybody at once"

    threads = [threading.Thread(target=work, args=(side,)) for side in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(1, 61))
    versions = daemon.get("/v1/admin/forms/fit").json["versions"]
    assert versions == list(range(11, 61)), "the last fifty are kept"


def test_cdpctl_handles_forms(daemon, tmp_path):
    file = tmp_path / "fit.json"
    file.write_text(json.dumps(FIT))
    assert "version 1" in daemon.ctl("forms", "put", "fit", str(file)).stdout
    assert "unchanged" in daemon.ctl("forms", "put", "fit", str(file)).stdout
    listed = daemon.ctl("forms").stdout
    assert "fit" in listed and "fixed" in listed and "config" in listed
    assert json.loads(daemon.ctl("forms", "show", "fit").stdout)["version"] == 1
    file.write_text(json.dumps(with_question(type="singel")))
    run = daemon.ctl("forms", "put", "fit", str(file), check=False)
    assert run.returncode == 5 and "/questions/0/type" in run.stderr, run.stderr
    file.write_text(json.dumps(with_question(required=False)))
    assert "would be version 2" in daemon.ctl("--dry-run", "forms", "put", "fit", str(file)).stdout
    daemon.ctl("forms", "delete", "fit")
    assert daemon.ctl("forms", "show", "fit", check=False).returncode == 1
    assert daemon.ctl("forms", "drop", "fit", check=False).returncode == 2
    assert daemon.ctl("forms", "put", "fit", check=False).returncode == 2


def test_a_put_that_was_answered_survives_a_kill(daemon):
    """Killed at any moment: what was acknowledged is there, and the newest version is a whole one."""
    acked = 0
    for turn in range(4):
        stop = threading.Event()

        def work(turn=turn, stop=stop):
            nonlocal acked
            for i in range(100000):
                try:
                    made = put(daemon, "fit", with_question(help=f"{turn} {i}"))
                except OSError:
                    return
                if made.status in (200, 201):
                    acked = made.json["version"]
                    stop.set()

        thread = threading.Thread(target=work)
        thread.start()
        stop.wait(60)
        daemon.kill()
        thread.join()
        daemon.start()
        shown = daemon.get("/v1/admin/forms/fit").json
        assert shown["version"] in (acked, acked + 1), (shown["version"], acked)
        acked = shown["version"]


def test_links_answer_a_form_of_the_store(daemon):
    put(daemon, "fit", FIT)
    daemon.track("u1", "Seen")
    daemon.settled()
    admin = {"Authorization": f"Bearer {ADMIN_TOKEN}"}

    def link(form):
        order = {"purpose": "form", "person": "user_id:u1", "form": form, "target": "https://shop.example/f"}
        return daemon.request("POST", "/v1/links", json.dumps(order).encode(), admin)

    assert link("none").json["pointer"] == "/form"
    token = link("fit").json["token"]
    given = daemon.request("POST", "/v1/forms/fit/responses", json.dumps({"answers": {"size": "m"}}).encode(), {"Authorization": f"Bearer {token}"})
    assert given.status == 200, given
    assert daemon.profile("user_id:u1", position=given.headers["x-cdpd-position"]).json["traits"]["fit.size"]["value"] == "m"
    following = daemon.get("/v1/forms/fit/next?person=user_id:u1", token=READ_TOKEN).json
    assert [question["id"] for question in following["questions"]] == ["why"]


def test_a_purpose_that_a_stored_form_asks_for_may_not_go():
    with running(extra="consent: {{purposes: [{{name: news, channels: [email]}}, {{name: other}}]}}\n") as daemon:
        consent = {"purpose": "news", "channels": ["email"], "text": "Send me news"}
        assert put(daemon, "fit", {**FIT, "consents": [{**consent, "purpose": "spam"}]}).status == 400
        assert put(daemon, "fit", {**FIT, "consents": [{**consent, "channels": ["sms"]}]}).status == 400
        assert put(daemon, "fit", {**FIT, "consents": [consent]}).status == 201
        good = daemon.config_file.read_text()
        daemon.config_file.write_text(good.replace("{name: news, channels: [email]}, ", ""))
        run = check(daemon)
        assert run.returncode == 1 and "fit.1.json" in run.stderr and "'news' is not one of consent.purposes" in run.stderr, run.stderr
        daemon.reload()
        while "reload refused" not in daemon.log_text():
            pass
        assert daemon.get("/v1/forms/fit", token=None).status == 200
        daemon.config_file.write_text(good)
