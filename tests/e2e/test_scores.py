"""Scores of models: the worked example of docs/ml.md as it stands, and the destination that scores people, with everything that may go wrong with it."""

import csv
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
import urllib.request

import pytest
from cdpd import ADMIN_TOKEN, BUILD, CONFIG, ROOT, SERVER_KEY, Daemon

TRAIN = BUILD / "xgboost-train"
FEATURES = ["orders", "revenue"]  # not `events`: it counts scores too


def eventually(ask, what, timeout=120):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = ask()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"it never came to be: {what}")


def single(value):
    """As the model has it: 32 bits."""
    return struct.pack("f", value)


def predictions(model, names, rows):
    """What the training program says of these rows; each is a dict, None: missing."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["profile_id", *names])
    for number, row in enumerate(rows):
        writer.writerow([f"{number:08x}", *("" if row.get(name) is None else repr(row[name]) for name in names)])
    path = pathlib.Path(model).parent / "rows.csv"
    path.write_text(text.getvalue())
    run = subprocess.run([TRAIN, "--predict", model, path], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return [float(line) for line in run.stdout.split()]


# ── the example ──────────────────────────────────────────────────────────────


def api(url, path):
    request = urllib.request.Request(url + path, headers={"Authorization": "Bearer demo-admin-token"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """packaging/ml-example.sh as a newcomer runs it, but in a folder of its own and with what is built already."""
    folder = tmp_path_factory.mktemp("ml")
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / "conf" / "quickstart-tokens.yaml").chmod(0o600)
    port = free_port()
    env = {**os.environ, "CDPD_PORT": str(port), "CDPD_KEEP": "1", "CDPD_BUILD": str(BUILD), "CDPD_FOLDER": str(folder)}
    with (folder / "out").open("w") as out:
        run = subprocess.run([ROOT / "packaging" / "ml-example.sh"], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=900, env=env)
    try:
        text = (folder / "out").read_text()
        assert run.returncode == 0, text
        yield folder, f"http://127.0.0.1:{port}", text
    finally:
        pid = folder / "data" / "ml" / "cdpd.pid"
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGTERM)


def shoppers(url):
    people, cursor = [], ""
    for number in range(1, 401):
        try:
            people.append(api(url, f"/v1/profiles/user_id:shopper-{number}"))
        except urllib.error.HTTPError as error:
            assert error.code == 404  # who never came
    return people


def test_the_example_runs_in_one_command(example):
    folder, url, text = example
    assert re.search(r"likely_buyers has [1-9]\d* people", text), text
    assert re.search(r"buys_soon +0\.\d+ +inferred: buys_soon [0-9a-f]{12} +buys-soon ", text), text
    status = api(url, "/v1/admin/status")
    assert status["balanced"] and status["events"]["pending"] == 0
    assert status["destinations"][0]["deadLetters"] == 0


def test_buyers_of_later_have_the_higher_scores(example):
    """Of people the model never saw: what it said of their weeks, against what they did in the week after."""
    match = re.search(r"held out: (\d+) rows, (\d+) of them with a label, AUC ([\d.]+)", example[2])
    assert match and int(match[1]) > 50 and int(match[2]) > 5, example[2]
    assert float(match[3]) > 0.65, match[0]


def test_scores_are_what_the_training_program_says(example):
    """Features online = features offline: the same numbers go into the same trees."""
    folder, url, _ = example
    people = shoppers(url)
    assert len(people) > 300
    names = ["visits", "views", "cart_adds", "orders", "revenue", "looked_at"]
    expected = predictions(folder / "data" / "ml" / "model.json", names, [person["features"] for person in people])
    version = people[0]["traits"]["buys_soon"]["model"]["version"]
    for person, score in zip(people, expected):
        trait = person["traits"]["buys_soon"]
        assert single(trait["value"]) == single(score), person
        assert (trait["provenance"], trait["source"], trait["model"]["name"], trait["model"]["version"]) == ("inferred", "buys-soon", "buys_soon", version)
        assert trait["model"]["scoredAt"] == trait["updatedAt"]
        assert ("likely_buyers" in person["segments"]) == (trait["value"] >= 0.5)


def test_a_set_exported_now_has_the_features_that_are_scored_now(example):
    """The last row of a person whose last event lies before it is what the daemon knows of her."""
    folder, url, _ = example
    rows = {}
    with (folder / "data" / "ml" / "set.csv").open() as file:
        for row in csv.DictReader(file):
            rows[row["profile_id"]] = row
    same = 0
    for person in shoppers(url):
        row = rows.get(person["id"])
        if row and row["point_time"] > person["lastSeen"]:
            assert {name: float(row[name]) for name in ("visits", "orders", "revenue")} == {name: person["features"][name] for name in ("visits", "orders", "revenue")}
            same += 1
    assert same > 0


def test_a_model_that_is_trained_anew_is_taken(example):
    folder, url, _ = example
    data = folder / "data" / "ml"
    old = api(url, "/v1/profiles/user_id:shopper-1")["traits"]["buys_soon"]["model"]["version"]
    subprocess.run([TRAIN, "--rounds", "20", data / "set.csv", data / "model.json"], check=True, timeout=120, stdout=subprocess.DEVNULL)
    serial = 0

    def someone_acts():
        nonlocal serial
        serial += 1
        body = json.dumps({"userId": "shopper-1", "type": "page", "messageId": f"again-{serial}"}).encode()
        request = urllib.request.Request(url + "/v1/events", body, {"X-Write-Key": "demo-server-key"})
        urllib.request.urlopen(request, timeout=30).read()
        time.sleep(0.2)
        return api(url, "/v1/profiles/user_id:shopper-1")["traits"]["buys_soon"]["model"]["version"] != old

    eventually(someone_acts, "a score of the new model")
    person = eventually(lambda: settled_person(url), "everything folded")
    names = ["visits", "views", "cart_adds", "orders", "revenue", "looked_at"]
    (score,) = predictions(data / "model.json", names, [person["features"]])
    assert abs(person["traits"]["buys_soon"]["value"] - score) < 0.001  # min_change of conf/ml/score.yaml


def test_the_page_about_models_tells_what_works(example):
    """The request of docs/ml.md, word by word but for the port."""
    folder, url, _ = example
    (block,) = [text for text in re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "ml.md").read_text(), re.S) if "/v1/traits" in text]
    run = subprocess.run(["bash", "-c", block.replace("http://127.0.0.1:8085", url)], capture_output=True, text=True, timeout=60)
    assert json.loads(run.stdout)["accepted"] == 2, run
    eventually(lambda: settled_person(url), "everything folded")
    churn = api(url, "/v1/profiles/user_id:shopper-1")["traits"]["churn"]
    assert (churn["value"], churn["provenance"], churn["source"]) == (0.83, "inferred", "nightly")
    assert churn["model"] == {"name": "churn", "version": "2026-11", "scoredAt": churn["updatedAt"]}


def settled_person(url):
    status = api(url, "/v1/admin/status")
    if status["events"]["pending"] or status["destinations"][0]["lag"]:
        return None
    return api(url, "/v1/profiles/user_id:shopper-1")


# ── the destination ──────────────────────────────────────────────────────────

DESTINATION = """
segments:
  - name: keen
    when:
      trait: churn
      at_least: 0.5
destinations:
  - name: churn-score
    plugin: xgboost
    {what}
    options:
      model: {{folder}}/model.json
      trait: churn
      model_name: churn
      reload: 50ms
"""


@pytest.fixture
def model(tmp_path):
    """Of people with few orders, many; more orders, less likely."""
    with (tmp_path / "set.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["profile_id", "point_time", "label", *FEATURES])
        for number in range(400):
            orders = number % 9
            writer.writerow([f"{number * 2654435761 % 2**32:08x}", "", int(orders < 3 or number % 13 == 0), orders, orders * 7.5])
    subprocess.run([TRAIN, tmp_path / "set.csv", tmp_path / "model.json"], check=True, timeout=120, stdout=subprocess.DEVNULL)
    return tmp_path / "model.json"


@pytest.fixture
def scored(model):
    started = []

    def start(what="records: [profiles]", config=CONFIG, **options):
        daemon = Daemon(model.parent, config, DESTINATION.format(what=what), **options)
        started.append(daemon)
        return daemon.start()

    yield start
    for daemon in started:
        if daemon.process and daemon.process.poll() is None:
            daemon.kill()


def order(cdpd, who, number):
    return cdpd.track(who, "Order Completed", f"{who}-{number}", key=SERVER_KEY, properties={"total": 7.5})


def is_quiet(cdpd):
    status = cdpd.status()
    (row,) = status["destinations"]
    return status["events"]["pending"] == 0 and row["lag"] == 0 and not row["snapshot"] and status


def all_right(cdpd, model, people):
    """Everybody's score is the model's answer to her features."""
    if not is_quiet(cdpd):
        return False
    profiles = [cdpd.profile(f"user_id:{who}").json for who in people]
    expected = predictions(model, FEATURES, [profile["features"] for profile in profiles])
    return all("churn" in profile["traits"] and single(profile["traits"]["churn"]["value"]) == single(score) for profile, score in zip(profiles, expected))


def score_events(cdpd, who):
    return [event for event in cdpd.events(f"user_id:{who}") if event["sourceId"] == "churn-score"]


def test_a_score_follows_the_features(scored, model):
    cdpd = scored()
    people = [f"p{i}" for i in range(30)]
    for number, who in enumerate(people):
        for i in range(1 + number % 8):
            order(cdpd, who, i)
    eventually(lambda: all_right(cdpd, model, people), "everybody's score")
    seen = cdpd.profile("user_id:p0").json["lastSeen"]
    before = cdpd.profile("user_id:p0").json["traits"]["churn"]["value"]
    for i in range(1, 9):
        order(cdpd, "p0", i)
    eventually(lambda: all_right(cdpd, model, people), "the new score")
    person = cdpd.profile("user_id:p0").json
    assert person["traits"]["churn"]["value"] < before and before >= 0.5 and "keen" not in person["segments"]
    assert person["lastSeen"] > seen
    # A score is nothing the person did, and it is told as the model's.
    newest = score_events(cdpd, "p0")[0]
    assert newest["properties"]["model"]["name"] == "churn" and newest["timestamp"] >= person["lastSeen"]
    status = cdpd.settled()
    assert status["balanced"] and status["events"]["rejected"] == 0
    # It stands still: scores made of scores would go on for ever.
    received = status["events"]["received"]
    assert cdpd.get("/metrics", token=None).body.count(b'cdpd_plugin_xgboost_refused_total{instance="churn-score"} 0') == 1
    order(cdpd, "p1", 99)
    eventually(lambda: all_right(cdpd, model, people), "p1's score")
    assert cdpd.status()["events"]["received"] <= received + 2


def test_declared_and_observed_beat_the_score(scored, model):
    cdpd = scored()
    order(cdpd, "d", 1)
    eventually(lambda: all_right(cdpd, model, ["d"]), "the score")
    cdpd.post("/v1/identify", {"userId": "d", "traits": {"churn": 0.125}}, key=SERVER_KEY)
    for i in range(2, 6):
        order(cdpd, "d", i)
    eventually(lambda: len(score_events(cdpd, "d")) >= 1 and is_quiet(cdpd), "quiet")
    found = cdpd.get("/v1/profiles/user_id:d/traits").json["traits"]["churn"]
    assert found["value"] == 0.125 and found["provenance"] == "observed"
    assert [other["provenance"] for other in found["others"]] == ["inferred"]


def test_people_of_every_namespace(scored, model):
    """The destination knows a profile's id, the fold knows identifiers: the host finds the one by the other."""
    cdpd = scored()
    answer = cdpd.request("POST", "/v1/profiles/email:ada@example.org/traits", b'{"traits": {"plan": "free"}}', {"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert answer.status == 200, answer
    for ids in ({"anonymousId": "a-1"}, {"userId": "n", "anonymousId": "a-2"}):
        message = {"type": "track", "event": "Order Completed", "properties": {"total": 7.5}, **ids}
        assert cdpd.post("/v1/events", message, key=SERVER_KEY).status == 200
    refs = {"email:ada@example.org": 1, "anonymous_id:a-1": 1, "user_id:n": 2}

    def people():
        found = [cdpd.profile(ref).json for ref in refs]
        return is_quiet(cdpd) and all("churn" in person.get("traits", {}) for person in found) and found

    for person, identifiers in zip(eventually(people, "everybody's score"), refs.values()):
        assert person["traits"]["churn"]["provenance"] == "inferred" and len(person["identifiers"]) == identifiers, person
    assert cdpd.settled()["events"]["rejected"] == 0


def test_kill_9_while_people_are_scored(scored, model):
    """At least once, by the same message ids: whenever it is killed, everybody has the right score in the end, and every event is accounted for."""
    cdpd = scored()
    people = [f"k{i}" for i in range(40)]
    for round_ in range(6):
        for number, who in enumerate(people):
            if (number + round_) % 3:
                order(cdpd, who, round_)
        cdpd.kill()
        cdpd.start()
    for who in people:
        order(cdpd, who, "last")
    eventually(lambda: all_right(cdpd, model, people), "everybody's score")
    status = cdpd.settled()
    assert status["balanced"] and status["events"]["conflict"] == 0, status["events"]


def test_records_of_events_with_a_mapping(scored, model):
    """Without profile records: the mapping brings the features along. What it published itself does not come back to it."""
    cdpd = scored("mapping: {{features: $profile.features, traits: $profile.traits}}")
    people = [f"m{i}" for i in range(10)]
    for number, who in enumerate(people):
        for i in range(1 + number % 4):
            order(cdpd, who, i)
    eventually(lambda: is_quiet(cdpd) and all("churn" in cdpd.profile(f"user_id:{who}").json["traits"] for who in people), "scores")
    (row,) = cdpd.status()["destinations"]
    written = sum(len(score_events(cdpd, who)) for who in people)
    assert row["filtered"] == written >= 10, row
    assert cdpd.settled()["events"]["received"] == written + sum(1 + number % 4 for number in range(10))


def test_who_is_erased_gets_no_score_back(scored, model):
    cdpd = scored()
    order(cdpd, "e", 1)
    order(cdpd, "stays", 1)
    eventually(lambda: all_right(cdpd, model, ["e", "stays"]), "scores")
    cdpd.ctl("erase", "user_id:e", "--wait")
    order(cdpd, "stays", 2)
    eventually(lambda: all_right(cdpd, model, ["stays"]), "the other's score")
    assert cdpd.profile("user_id:e").status == 404


def test_a_broken_model_keeps_the_old_one(scored, model):
    cdpd = scored()
    whole = model.read_bytes()
    order(cdpd, "b", 1)
    eventually(lambda: all_right(cdpd, model, ["b"]), "the score")
    model.write_bytes(whole[: len(whole) // 2])
    eventually(lambda: b'cdpd_plugin_xgboost_reload_failures_total{instance="churn-score"} 1' in cdpd.get("/metrics", token=None).body, "the failure is counted")
    order(cdpd, "b", 2)
    (model.parent / "old.json").write_bytes(whole)
    eventually(lambda: all_right(cdpd, model.parent / "old.json", ["b"]), "a score of the old model")
    assert "the old one stays" in cdpd.log_text()


def test_a_model_that_does_not_fit_is_told_and_waited_for(scored, model):
    """The destination waits; nobody else does, and nothing is lost meanwhile."""
    whole = model.read_bytes()
    model.unlink()
    cdpd = scored()
    position = order(cdpd, "w", 1)
    (row,) = eventually(lambda: [row for row in cdpd.status()["destinations"] if row["failing"]], "failing")
    assert "could not be created" in row["lastError"]
    assert cdpd.profile("user_id:w", position).json["features"]["orders"] == 1
    model.write_bytes(whole)
    eventually(lambda: all_right(cdpd, model, ["w"]), "the score")


def test_it_cannot_be_isolated(scored, model):
    cdpd = scored("records: [profiles]\n    isolated: true")
    position = order(cdpd, "i", 1)
    eventually(lambda: "it cannot be isolated" in cdpd.log_text(), "a reason in the log")
    assert cdpd.profile("user_id:i", position).json["features"]["orders"] == 1


def test_the_configuration_is_checked(model):
    extra = DESTINATION.format(what="records: [profiles]").replace("trait: churn\n      model_name", "trayt: churn\n      model_name")
    daemon = Daemon(model.parent, CONFIG, extra)
    run = subprocess.run(daemon.command("-n"), capture_output=True, text=True, timeout=60)
    assert run.returncode != 0 and "trayt" in run.stderr and "did you mean 'trait'" in run.stderr, run.stderr
